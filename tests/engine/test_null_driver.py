"""The null driver keeps real time with the callback, whatever Python does."""

import ctypes
import time

import pytest

from echelon_engine.block import new_shared
from echelon_engine.drivers import NullDriver, ask_for_priority
from echelon_engine.state import new_engine

pytestmark = pytest.mark.realtime


def missed_while_the_gil_is_held(counters) -> float:
    """Hold the GIL for 2 s; return by which share the number of blocks differs from what the clock says."""
    before, start = int(counters["blocks"]), time.monotonic()
    ctypes.PyDLL(None).usleep(2_000_000)  # a PyDLL call keeps the GIL
    blocks, seconds = int(counters["blocks"]) - before, time.monotonic() - start
    expected = seconds * 48000 / 512
    return max(abs(blocks - expected) - 1.0, 0.0) / expected


def test_blocks_go_on_while_the_gil_is_held(settings, weights) -> None:
    """With the GIL held for 2 s the number of blocks stays within 1 % of what the clock says."""
    shared = new_shared(48000, 512)
    engine = new_engine(shared, settings[0], weights, rate_hz=48000)
    driver = NullDriver(engine)
    driver.start()
    try:
        counters = shared["counters"]
        deadline = time.monotonic() + 5
        while counters["thread_id"] == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        ask_for_priority(int(counters["thread_id"]), 70)
        time.sleep(0.2)
        # A stall of the whole machine is no proof against the callback: one quiet window of three is enough.
        assert any(missed_while_the_gil_is_held(counters) <= 0.01 for _ in range(3))
    finally:
        driver.stop()


def test_it_stops_and_starts_again(settings, weights) -> None:
    """After stop() no block runs; start() goes on."""
    shared = new_shared(48000, 256)
    engine = new_engine(shared, settings[0], weights, rate_hz=48000, block_frames=256)
    driver = NullDriver(engine)
    driver.start()
    time.sleep(0.2)
    driver.stop()
    stopped = int(shared["counters"]["blocks"])
    assert stopped > 10
    time.sleep(0.1)
    assert int(shared["counters"]["blocks"]) == stopped
    driver.start()
    time.sleep(0.2)
    driver.stop()
    assert int(shared["counters"]["blocks"]) > stopped
