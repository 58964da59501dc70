"""The desk: what waits to be asked of the supervisor, and commands to the callback."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest

from echelon_bridges.desk import Desk
from echelon_engine import rings
from echelon_engine.errors import UserError
from echelon_engine.memory import COMMAND, PRODUCERS, TEMPO, ring

SHARED = np.dtype([("commands", ring(COMMAND, 256), (PRODUCERS,))], align=True)


class Asked(Desk):
    """A desk whose supervisor is a list; it takes nothing until it is let."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.open = threading.Event()
        self.told: list[str] = []
        self.shared = np.zeros(1, SHARED)[0]
        super().__init__("desk", self.shared, self.told.append)

    def ask(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Remember it, refusing one key."""
        self.open.wait(10)
        self.asked.append(fields)
        if fields["key"] == "style":
            raise UserError("style", "is none")
        return {}

    def sent(self, count: int) -> list[tuple[str, str]]:
        """Let it take so many requests and return them."""
        self.open.set()
        deadline = time.monotonic() + 30
        while len(self.asked) < count and time.monotonic() < deadline:
            time.sleep(0.002)
        return [(fields["key"], fields["value"]) for fields in self.asked]


def test_settings_are_merged_and_steps_are_counted() -> None:
    """Of a setting the newest value is sent; every cue, tap and step is, with the time of those that have one."""
    desk = Asked()
    desk.set("mute", "on")  # taken at once, and held up
    time.sleep(0.05)
    for i in range(3):
        desk.set("tempo", str(100 + i))
        desk.set("cue", "next")
        desk.set("tap", "now", 1000 + i)
        desk.set("scale", "next")
    sent = desk.sent(11)
    assert sent[0] == ("mute", "on")
    assert sorted(sent[1:]) == sorted([("tempo", "102"), *[("cue", "next"), ("tap", "now"), ("scale", "next")] * 3])
    assert [fields["time_ns"] for fields in desk.asked if fields["key"] == "tap"] == [1000, 1001, 1002]
    assert "time_ns" not in desk.asked[0]
    desk.close()


def test_a_refusal_is_told_once() -> None:
    """However often a setting is refused, people read it once."""
    desk = Asked()
    desk.open.set()
    for i in range(5):
        desk.set("style", str(i))
        desk.sent(len(desk.asked) + 1)
    desk.close()
    assert len(desk.told) == 1
    assert desk.refusals == len(desk.asked)


def test_an_external_beat_reaches_the_callback() -> None:
    """Tempo and phase lie in the command ring with their time; a note after it is for now."""
    desk = Asked()
    assert desk.tempo(123, 97.5, 0.25)
    assert desk.note_on(5, 60.0, 0.5)
    desk.open.set()
    desk.close()
    found = np.zeros(1, COMMAND)
    assert rings.pop(found, desk.shared["commands"][0])
    assert (int(found["time_ns"][0]), int(found["kind"][0])) == (123, TEMPO)
    assert found["value"][0].tolist() == pytest.approx([97.5, 0.25, 0.0, 0.0])
    assert rings.pop(found, desk.shared["commands"][0])
    assert int(found["time_ns"][0]) == 0
