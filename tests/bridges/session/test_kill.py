"""Bridges killed with -9 while they log: nothing is lost that the rings still hold, and the session plays again."""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from performances import BLOCK, RATE, perform
from sessions import config, written

from echelon_bridges.session import format as form
from echelon_bridges.session.log import SessionLog
from echelon_bridges.session.reader import Session
from echelon_bridges.session.tap import Taps
from echelon_engine import config_file
from echelon_engine.block import SharedBlock
from echelon_engine.config import Config
from echelon_engine.live import initial_settings
from echelon_engine.replay import replay

WRITER = """
import signal, sys, time
from echelon_bridges.session import log as log_module
from echelon_bridges.session.tap import Taps
from echelon_engine import config_file
from echelon_engine.block import SharedBlock

log_module.PERIOD_S = 0.03  # so that a kill finds records that are not yet written, or in the middle of a write
ended = []
signal.signal(signal.SIGTERM, lambda *_: ended.append(1))
block = SharedBlock.attach(sys.argv[1])
log = log_module.SessionLog.open(config_file.from_json(sys.argv[2]), block.shared, run="test")
taps = Taps(block.shared)
print("ready", flush=True)
while True:
    last = bool(ended)
    controls, events, inputs = taps.take()
    log.inputs(inputs)
    log.offer(controls, events, time.monotonic_ns())
    log.gaps(block.shared["counters"])
    taps.release(log.settled)
    if last:
        break
    time.sleep(0.002)
log.close()
print(log.report(), flush=True)
"""


@pytest.fixture
def block() -> SharedBlock:
    """A shared block of an engine of its own."""
    made = SharedBlock.create(f"test-kill-{os.getpid()}", RATE, BLOCK)
    yield made
    made.unlink()
    made.close()


def test_a_session_survives_kills_of_the_bridges(tmp_path: Path, block: SharedBlock, dance, weights) -> None:
    """Killed three times at random moments and started again, bridges keep one session without a hole or a double: it
    plays the bytes that were heard."""
    rng = np.random.default_rng(int(time.time()))
    name = block.path.name.split("-", 2)[2].removesuffix(".block")
    argv = [sys.executable, "-c", WRITER, name, config_file.to_json(config(tmp_path))]
    writers: list[subprocess.Popen[str]] = []

    def start() -> None:
        if writers:
            block.shared["header"]["epoch"] += 1  # as the supervisor does when it restarts a process
        writers.append(subprocess.Popen(argv, stdout=subprocess.PIPE, text=True))
        assert writers[-1].stdout is not None
        assert writers[-1].stdout.readline() == "ready\n"

    kills = {80: None, 200: None, 380: None}
    cut = []

    def each_block(number: int) -> None:
        time.sleep(0.002)
        if number == 3:
            start()
        if number in kills:
            time.sleep(float(rng.uniform(0.0, 0.006)))
            writers[-1].kill()
            writers[-1].wait()
            cut.append(next(tmp_path.iterdir()).joinpath("frames").read_bytes())
        if number - 40 in kills:
            start()

    try:
        with contextlib.ExitStack() as stack:
            stack.callback(lambda: [writer.kill() for writer in writers])
            heard = perform(dance, initial_settings(Config()), weights, shared=block.shared, each_block=each_block)
            writers[-1].terminate()
            assert writers[-1].wait(20) == 0
        assert "error" not in writers[-1].stdout.read()
    finally:
        for writer in writers:
            writer.wait()
            writer.stdout.close()
    (folder,) = tmp_path.iterdir()
    session = Session.open(folder)
    assert session.notes == ()
    assert len(session.opened) == 4
    life = session.life(1)
    assert life.whole
    assert len(life.controls) == -(-len(heard.sound) * 60 // RATE)
    now = (folder / "frames").read_bytes()
    for earlier in cut:  # of what was there, at most a cut record is gone
        kept = form.scan(earlier)
        assert now.startswith(earlier[: kept.end])
        assert kept.only_cut
    controls, inputs, end = life.playable()
    again = replay(controls, inputs, weights, rate_hz=RATE).sound[:end]
    assert len(again) > 5.9 * RATE
    assert again.tobytes() == heard.sound[: len(again)].tobytes()
    assert np.abs(again).max() > 0.01
    bars = [bar["bar"] for bar in session.bars]
    assert bars == sorted(set(bars))
    assert all(bar["complete"] for bar in session.bars[:-1])


def test_killed_between_writing_and_giving_back(tmp_path: Path, block: SharedBlock, dance, weights) -> None:
    """What was written but not given back to the rings comes once more, and is left out."""
    perform(dance, initial_settings(Config()), weights, shared=block.shared, seconds=4)
    given = []
    for epoch in (1, 2):
        block.shared["header"]["epoch"] = epoch
        taps, log = Taps(block.shared), SessionLog.open(config(tmp_path), block.shared, run="x")
        controls, events, inputs = taps.take()
        given.append((len(controls), len(events), len(inputs)))
        log.inputs(inputs[: len(inputs) // epoch])
        log.inputs(inputs[len(inputs) // epoch :])
        log.offer(controls, events, 0)
        written(log)
        log.close()
    assert given[0] == given[1]
    session = Session.open(log.path)
    assert len(session.opened) == 2
    assert [session.count(kind) for kind in (16, 17)] == list(given[0][:2])
    assert len(session.life(1).inputs) == given[0][2]
    assert session.life(1).whole
    assert session.whole
