"""Rings, triple buffer and seqlock: nothing torn, nothing lost, between two real processes."""

import os
import subprocess
import sys
import time

import numpy as np
import pytest

from echelon_engine import rings
from echelon_engine.block import BlockError, SharedBlock, new_shared, path_of
from echelon_engine.memory import CONTROL, LIMB_FRAME, SCHEMA, SETTINGS

COUNT = 20_000
NAME = f"rings-{os.getpid()}"


def fill(item: np.ndarray, number: int) -> None:
    """Write the same number into every field that a torn copy would mix."""
    item["number"] = number
    item["rotation"] = number % 4096
    item["position"] = number % 4096


def whole(item: np.ndarray) -> bool:
    """Say whether all fields come from one write."""
    want = float(item["number"][0] % 4096)
    return bool((item["rotation"] == want).all() and (item["position"] == want).all())


def produce(name: str, count: int) -> None:
    """Push `count` numbered frames and publish as many settings, as another process."""
    block = SharedBlock.attach(name)
    item, settings, control = np.zeros(1, LIMB_FRAME), np.zeros(1, SETTINGS), np.zeros(1, CONTROL)
    for number in range(count):
        fill(item, number)
        while not rings.push(block.shared["frames"][0], item):
            time.sleep(0.0005)
        settings["override"] = number
        settings["tempo_bpm"] = number
        rings.publish(block.shared["settings"], settings)
        control["y"], control["z"], control["latent"] = number, number, number
        rings.write_snapshot(block.shared["snapshot"], control)


@pytest.fixture
def block():
    """A shared block of its own, removed afterwards."""
    made = SharedBlock.create(NAME)
    yield made
    made.unlink()
    made.close()


def test_two_processes_lose_and_tear_nothing(block: SharedBlock) -> None:
    """Every frame arrives once, in order and whole; settings and snapshots are whole and never go backwards."""
    other = subprocess.Popen([sys.executable, __file__, NAME, str(COUNT)])
    item, settings, control = np.zeros(1, LIMB_FRAME), np.zeros(1, SETTINGS), np.zeros(1, CONTROL)
    last_settings, last_control, received = -1.0, -1.0, 0
    deadline = time.monotonic() + 60
    while received < COUNT and time.monotonic() < deadline:
        if rings.pop(item, block.shared["frames"][0]):
            assert item["number"][0] == received
            assert whole(item)
            received += 1
        if rings.take(settings, block.shared["settings"]):
            assert (settings["override"][0] == settings["tempo_bpm"][0]).all()
            assert settings["tempo_bpm"][0] > last_settings
            last_settings = settings["tempo_bpm"][0]
        if rings.read_snapshot(control, block.shared["snapshot"]):
            newest = control["y"][0, 0]
            assert (control["y"] == newest).all()
            assert (control["z"] == newest).all()
            assert (control["latent"] == newest).all()
            assert newest >= last_control
            last_control = newest
    assert other.wait(timeout=60) == 0
    assert received == COUNT
    assert last_settings == COUNT - 1 or rings.take(settings, block.shared["settings"])


def test_a_consumer_may_stall_four_seconds_at_full_rate() -> None:
    """Frames of 120 Hz, control records of 60 Hz and sound at 96 kHz survive a stall of 4 s without a drop."""
    shared = new_shared(96000, 512)
    frame, control = np.zeros(1, LIMB_FRAME), np.zeros(1, CONTROL)
    sound = np.zeros((512, 2), np.float32)
    assert all(rings.push(shared["frames"][0], frame) for _ in range(4 * 120))
    assert all(rings.push(shared["records"], control) for _ in range(4 * 60))
    assert all(rings.push_sound(shared["sound"], sound) == 0 for _ in range(4 * 96000 // 512))


def test_a_full_ring_counts_the_drop_and_keeps_the_oldest() -> None:
    """Pushing into a full ring returns False, counts one drop and leaves the waiting items alone."""
    shared = new_shared(48000, 512)
    ring = shared["records"]
    control = np.zeros(1, CONTROL)
    capacity = len(ring["item"])
    for number in range(capacity):
        control["frame"] = number
        assert rings.push(ring, control)
    assert not rings.push(ring, control)
    assert ring["dropped"][0] == 1
    assert rings.pop(control, ring)
    assert control["frame"][0] == 0


def test_sound_wraps_around_the_ring() -> None:
    """Samples come out as they went in, across the end of the buffer."""
    shared = new_shared(48000, 512)
    ring = shared["sound"]
    n = len(ring["item"]) - 100
    out = np.zeros((1000, 2), np.float32)
    ring["written"][0] = ring["read"][0] = n
    sound = np.arange(2000, dtype=np.float32).reshape(1000, 2)
    assert rings.push_sound(ring, sound) == 0
    assert rings.pop_sound(out, ring) == 1000
    assert (out == sound).all()
    assert rings.pop_sound(out, ring) == 0


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [("magic", 0, "not a block"), ("schema", SCHEMA - 1, "schema"), ("schema", SCHEMA + 1, "schema")],
)
def test_a_foreign_or_older_block_is_refused(block: SharedBlock, field: str, value: int, message: str) -> None:
    """Attaching says what is wrong with the block instead of reading it."""
    block.shared["header"][field] = value
    with pytest.raises(BlockError, match=message):
        SharedBlock.attach(NAME)


def test_a_short_file_is_refused(block: SharedBlock) -> None:
    """A file of another size is not mapped."""
    other = path_of(f"{NAME}-short")
    other.write_bytes(b"x" * 100)
    try:
        with pytest.raises(BlockError, match="100 bytes"):
            SharedBlock.attach(f"{NAME}-short")
    finally:
        other.unlink()


def test_a_missing_block_names_the_remedy() -> None:
    """Without an engine of that name the message says how to start one."""
    with pytest.raises(BlockError, match="echelon-engine run"):
        SharedBlock.attach("no-such-engine")


if __name__ == "__main__":
    produce(sys.argv[1], int(sys.argv[2]))
