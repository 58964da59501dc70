"""Controllers take settings over without a jump, release them to others, and press buttons once."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest

from echelon_bridges.controllers.moves import Moves
from echelon_bridges.controllers.table import make_row
from echelon_engine.errors import UserError
from echelon_engine.parameters import LANE

SECOND = 1_000_000_000


class FakeDesk:
    """Holds settings as the supervisor shows them; asking can be held up, or fail."""

    def __init__(self, **values: str) -> None:
        self.values = values
        self.sets: list[tuple[str, str]] = []
        self.answers = threading.Event()
        self.answers.set()
        self.gone = False

    def set(self, key: str, value: str, time_ns: int = 0) -> None:
        """Remember it."""
        self.sets.append((key, value))

    def ask(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Answer with the values."""
        self.answers.wait(10)
        if self.gone:
            raise UserError("engine", "is not running")
        return {"values": dict(self.values)}


def moves_of(desk: FakeDesk, **entries: Any) -> Moves:
    """Return the moves of a map; c7 stands for "cc 1 7"."""
    rows = {f"cc 1 {name[1:]}": make_row(f"cc 1 {name[1:]}", entry) for name, entry in entries.items()}
    return Moves(desk, lambda: rows)


def lanes(gain: float) -> Any:
    """Return the positions of all lanes."""
    position = np.zeros(32, np.float32)
    position[LANE["gain"]] = gain
    return position


def answered(moves: Moves) -> None:
    """Wait until the present values are known."""
    deadline = time.monotonic() + 10
    while moves._answered < moves._asking and time.monotonic() < deadline:
        time.sleep(0.001)


def test_a_fader_picks_a_lane_up_where_it_is() -> None:
    """Below the lane it moves nothing; passing it, it takes it and then moves it by every step."""
    desk = FakeDesk()
    moves = moves_of(desk, c7="lane.gain")
    moves.lanes(lanes(0.5))
    for i, value in enumerate((0.1, 0.2, 0.4)):
        assert moves.move("cc 1 7", value, i * 10**7)
    assert not desk.sets
    assert moves.report()["to_pick_up"] == ["cc 1 7"]
    for i, value in enumerate((0.6, 0.9, 0.9, 0.0)):
        moves.move("cc 1 7", value, (3 + i) * 10**7)
    assert desk.sets == [("lane.gain", "0.60000"), ("lane.gain", "0.90000"), ("lane.gain", "0.00000")]
    assert not moves.report()["to_pick_up"]


def test_a_rested_fader_keeps_what_nobody_moved_and_loses_what_somebody_did() -> None:
    """After a rest it goes on where the lane still is; where the body has moved the lane, it picks it up anew."""
    desk = FakeDesk()
    moves = moves_of(desk, c7="lane.gain")
    moves.lanes(lanes(0.5))
    moves.move("cc 1 7", 0.5, 0)
    moves.lanes(lanes(0.49))  # it may stand a little off
    moves.move("cc 1 7", 0.6, 5 * SECOND)
    assert desk.sets[-1] == ("lane.gain", "0.60000")
    moves.lanes(lanes(0.1))
    moves.move("cc 1 7", 0.7, 10 * SECOND)
    assert len(desk.sets) == 2
    moves.move("cc 1 7", 0.05, 10 * SECOND + 10**7)
    assert desk.sets[-1] == ("lane.gain", "0.05000")


def test_a_setting_is_picked_up_once_its_value_is_known() -> None:
    """Until the engine has said where the master is, a fader waits, and never blocks whoever reads the port."""
    desk = FakeDesk(master="-40 dB")
    moves = moves_of(desk, c7="master")
    desk.answers.clear()
    before = time.monotonic()
    for i in range(20):
        moves.move("cc 1 7", 0.2 + i * 0.01, i)
    assert time.monotonic() - before < 5
    assert not desk.sets
    desk.answers.set()
    answered(moves)
    moves.move("cc 1 7", 0.45, 21)
    assert not desk.sets
    moves.move("cc 1 7", 0.55, 22)
    assert desk.sets == [("master", "-36")]
    moves.close()


def test_an_engine_that_does_not_answer_is_moved_all_the_same() -> None:
    """Where nobody knows the present value, there is nothing to jump from."""
    desk = FakeDesk()
    desk.gone = True
    moves = moves_of(desk, c7="master")
    moves.move("cc 1 7", 0.5, 0)
    answered(moves)
    moves.move("cc 1 7", 0.25, 1)
    assert desk.sets == [("master", "-60")]
    moves.close()


@pytest.mark.parametrize(
    ("entry", "value", "text"),
    [
        ({"key": "lane.gain", "mode": "jump"}, 0.25, "0.25000"),
        ({"key": "lane.gain", "mode": "jump", "low": 1, "high": 0}, 0.25, "0.75000"),
        ({"key": "master", "mode": "jump", "low": -40, "high": 0}, 0.5, "-20"),
        ({"key": "tempo", "mode": "jump"}, 1.0, "300"),
        ("mute", 0.7, "on"),
        ("mute", 0.2, "off"),
        ("scale", 0.0, "major"),
        ("mode", 0.0, "rules"),
        ("mode", 1.0, "continuous"),
        ("style", 0.99, "techno"),
        ({"key": "style", "low": 1, "high": 0}, 1.0, "ambient"),
        ({"key": "tempo_source", "low": 0.25, "high": 0.5}, 0.0, "style"),
        ("track.vox.solo", 1.0, "on"),
        ({"key": "energy_scale.3", "mode": "jump"}, 1.0, "10"),
        ({"key": "velocity_scale.0", "mode": "jump"}, 0.0, "0.1"),
        ("scale", 1.0, "chromatic"),
        ({"key": "root", "mode": "jump"}, 0.5, "54"),
        ({"key": "focus", "mode": "jump"}, 1.0, "3"),
    ],
)
def test_values_are_written_as_their_key_is(entry: Any, value: float, text: str) -> None:
    """Each kind of setting gets the text that `set` takes."""
    desk = FakeDesk()
    moves_of(desk, c7=entry).move("cc 1 7", value, 0)
    assert [found for _, found in desk.sets] == [text]


def test_buttons_press_once() -> None:
    """Panic and set values are asked for when a button goes down, not again while it is held, nor when it goes up."""
    desk = FakeDesk()
    moves = moves_of(desk, c1="panic", c2={"key": "lane.gain", "value": "off"})
    for value in (1.0, 0.8, 0.0, 1.0):
        moves.move("cc 1 1", value, 0)
    moves.move("cc 1 2", 1.0, 0)
    assert desk.sets == [("panic", "now"), ("panic", "now"), ("lane.gain", "off")]


def test_a_toggle_turns_over_what_is() -> None:
    """A pad in toggle mode sets the other of on and off, as the engine has it now."""
    desk = FakeDesk(mute="on")
    moves_of(desk, c1={"key": "mute", "mode": "toggle"}).move("cc 1 1", 1.0, 0)
    deadline = time.monotonic() + 10
    while not desk.sets and time.monotonic() < deadline:
        time.sleep(0.001)
    assert desk.sets == [("mute", "off")]


def test_what_is_not_mapped_is_remembered_for_learning() -> None:
    """A controller without a setting moves nothing and is reported with its moves and value."""
    desk = FakeDesk()
    moves = moves_of(desk)
    assert not moves.move("osc /1/x", 0.5, 0)
    assert not moves.move("osc /1/x", 0.75, 1)
    assert moves.report()["heard"] == {"osc /1/x": [2, 0.75]}
    assert moves.report()["unmapped"] == 2
    for i in range(10000):
        moves.move(f"osc /{i}", 0.5, i)
    assert len(moves._touched) <= 4096
