"""The player: frames ahead of time, once each, and marked where the motion leaps."""

from typing import Any

import numpy as np
import pytest

from echelon_bridges.player import AHEAD_NS, Once, Player
from echelon_engine import rings
from echelon_engine.block import new_shared
from echelon_engine.memory import BREAK, LIMB_FRAME

START_NS = 5_000_000_000
RATE_HZ = 50.0
STEP_NS = 20_000_000


def clip(count: int = 1000) -> Once:
    """A clip whose frames know their number."""
    frames = np.zeros(count, LIMB_FRAME)
    frames["number"] = np.arange(count)
    frames["time_ns"] = np.arange(count) * STEP_NS
    return Once(frames, RATE_HZ)


@pytest.fixture
def shared() -> Any:
    """A block of its own."""
    return new_shared(48000, 512)


def popped(ring: Any) -> np.ndarray:
    """Return everything in a ring."""
    found = []
    frame = np.zeros(1, LIMB_FRAME)
    while rings.pop(frame, ring):
        found.append(frame[0].copy())
    return np.array(found, LIMB_FRAME)


def test_every_frame_once_and_ahead_of_its_time(shared: Any) -> None:
    """However unevenly it is called, each frame is pushed once, in order, stamped on the engine's clock, in time."""
    ring = shared["frames"][0]
    player = Player(clip(), ring, START_NS)
    found = []
    for now_ns in (START_NS, START_NS + 3_000_000, START_NS + 400_000_000, START_NS + 401_000_000):
        player.feed(now_ns)
        frames = popped(ring)
        assert (frames["time_ns"] < now_ns + AHEAD_NS).all()
        found.append(frames)
    frames = np.concatenate(found)
    assert frames["number"].tolist() == list(range(len(frames)))
    assert len(frames) == (400_000_000 + AHEAD_NS) // STEP_NS
    assert (frames["time_ns"] == START_NS + frames["number"] * STEP_NS).all()
    assert not frames["flags"].any()


def test_end_is_noticed(shared: Any) -> None:
    """A clip that is over is said to have ended, and nothing more is pushed."""
    player = Player(clip(3), shared["frames"][0], 0)
    for i in range(4):
        player.feed(i * 1_000_000_000)
    assert player.ended
    assert (player.sent, len(popped(shared["frames"][0]))) == (3, 3)


@pytest.mark.parametrize("away_ns", [40_000_000, 2_000_000_000])
def test_a_restart_repeats_nothing_and_marks_its_first_frame(shared: Any, away_ns: int) -> None:
    """A new player goes on after the newest frame in the ring, or at the present if that is later, with one BREAK."""
    ring = shared["frames"][0]
    Player(clip(), ring, START_NS).feed(START_NS + 1_000_000_000)
    before = popped(ring)
    now_ns = START_NS + 1_000_000_000 + away_ns
    again = Player(clip(), ring, START_NS)
    again.skip_to(now_ns)
    again.feed(now_ns)
    again.feed(now_ns + STEP_NS)
    after = popped(ring)
    assert after["number"][0] == max(before["number"][-1] + 1, (now_ns - START_NS) // STEP_NS)
    assert (np.diff(after["number"]) == 1).all()
    assert after["flags"][0] == BREAK
    assert not after["flags"][1:].any()
    assert (after["time_ns"] == START_NS + after["number"] * STEP_NS).all()


def test_it_moves_to_another_performer(shared: Any) -> None:
    """After `move_to` the motion goes on in the other ring from the present, beginning with BREAK."""
    player = Player(clip(), shared["frames"][0], START_NS)
    player.feed(START_NS + 500_000_000)
    old = popped(shared["frames"][0])
    player.move_to(shared["frames"][2], START_NS + 500_000_000)
    player.feed(START_NS + 510_000_000)
    new = popped(shared["frames"][2])
    assert len(popped(shared["frames"][0])) == 0
    assert new["flags"][0] == BREAK
    assert new["number"][0] == 500_000_000 // STEP_NS < old["number"][-1]
