"""How a controller moves a setting, so that nothing jumps on stage.

A knob or fader takes a setting over when it passes where the setting is now (pickup): body and hand may move the same
lane, and whoever comes second does not tear it away. `mode = "jump"` follows at once; wheels that spring back,
pressure, pads and switches always do. A controller that rested for a second asks anew: where somebody else has moved
the setting since, it is picked up again.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from echelon_bridges.controllers.table import JUMP, TOGGLE, Row
from echelon_engine import live, live_table
from echelon_engine.config import Config
from echelon_engine.errors import UserError
from echelon_engine.parameters import LANE

if TYPE_CHECKING:
    from echelon_bridges.desk import Desk

REST_NS = 1_000_000_000  # a controller that moves again after so long begins a new gesture
NEAR = 0.03  # of the whole way: as good as passed
SOFT = 1 / 127  # the softest key
RECENT = 8  # controllers that the report names


@dataclass(slots=True)
class Touch:
    """What is known of one controller: its last value 0..1 and when; whether it has the setting; what it said last."""

    value: float
    when_ns: int
    count: int = 0
    holds: bool = False
    text: str = ""
    asked: int = 0  # number of the inquiry that its gesture waits for


class Moves:
    """Turns moves of controllers into settings. `move` never blocks: present values are asked for in a thread."""

    def __init__(self, desk: Desk, rows: Callable[[], dict[str, Row]], config: Config | None = None) -> None:
        self._desk, self._rows, self._config = desk, rows, config or Config()
        self._touched: dict[str, Touch] = {}
        self._lanes: list[float] | None = None
        self._values: dict[str, str] = {}
        self._asking, self._answered = 0, 0
        self._wanted = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False
        self.moved = 0
        self.unmapped = 0

    def lanes(self, position: Any) -> None:
        """Take where the 32 lanes are, 0..1: CONTROL.position of the newest record."""
        self._lanes = position.tolist()

    def move(self, source: str, value: float, now_ns: int) -> bool:
        """Take a controller's value 0..1; return whether the map has it."""
        touch = self._touched.get(source)
        if touch is None:
            if len(self._touched) >= 4096:
                self._touched.clear()
            touch = self._touched[source] = Touch(-1.0, now_ns - 2 * REST_NS)
        before, rested = touch.value, now_ns - touch.when_ns > REST_NS
        touch.value, touch.when_ns = value, now_ns
        touch.count += 1
        row = self._rows().get(source)
        if row is None:
            self.unmapped += 1
            return False
        kind = live_table.LIVE[row.key].kind if row.key in live_table.LIVE else "lane"
        if row.value or kind in ("count", "tap") or row.mode == TOGGLE:
            # A button: once a press, however softly a key is struck.
            threshold = SOFT if source.startswith("note ") else 0.5
            if value >= threshold > before:
                self._press(row, kind, now_ns)
            return True
        if row.mode != JUMP and not self._has(touch, row, before, rested):
            return True
        text = _text(row, kind, value, live.choices(row.key, self._config) if kind in live.STEPPED else ())
        if text != touch.text or not touch.holds:
            self._desk.set(row.key, text)
            self.moved += 1
        touch.text, touch.holds = text, True
        return True

    def _press(self, row: Row, kind: str, now_ns: int) -> None:
        self.moved += 1
        if row.mode == TOGGLE:
            self._toggle(row.key)
        elif kind == "tap":
            self._desk.set(row.key, "now", now_ns)
        else:
            self._desk.set(row.key, row.value or "now")

    def _toggle(self, key: str) -> None:
        """Ask for the present value, then set the other one; in a thread, for asking blocks."""

        def toggle() -> None:
            with contextlib.suppress(UserError):
                now = self._desk.ask({"command": "get"})["values"].get(key)
                self._desk.set(key, "off" if now == "on" else "on")

        threading.Thread(target=toggle, name="toggle", daemon=True).start()

    def _has(self, touch: Touch, row: Row, before: float, rested: bool) -> bool:
        """Return whether the controller has the setting, or takes it with this move."""
        if touch.holds and not rested:
            return True
        if rested:
            touch.asked = self._inquire(row.key)
        if touch.asked > self._answered:
            return False  # its next move comes in a few milliseconds
        here = self._where(row)
        if here is None:
            touch.holds = True  # nothing known to jump from
        else:
            # Where it left the setting, the setting still is; or it is near; or it has passed it.
            kept = touch.holds and before >= 0.0 and abs(before - here) <= NEAR
            passed = before >= 0.0 and (before - here) * (touch.value - here) <= 0.0
            touch.holds = kept or passed or abs(touch.value - here) <= NEAR
        return touch.holds

    def _where(self, row: Row) -> float | None:
        """Return where on the controller's way its setting is now; outside 0..1 where the way does not reach."""
        if row.key.startswith(live.LANE_PREFIX):
            lane = row.key[len(live.LANE_PREFIX) :]
            here = None if self._lanes is None else self._lanes[LANE[lane]]
        else:
            match = live.NUMBER.match(self._values.get(row.key, ""))
            here = float(match[1]) if match else None
        if here is None or row.high == row.low:
            return None
        return (here - row.low) / (row.high - row.low)

    def _inquire(self, key: str) -> int:
        """Have the settings' present values asked for; return the number to wait for, 0 for what is known anyway."""
        if key.startswith(live.LANE_PREFIX):
            return 0
        with self._wanted:
            self._asking += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._learn_values, name="controllers", daemon=True)
                self._thread.start()
            self._wanted.notify()
            return self._asking

    def _learn_values(self) -> None:
        while True:
            with self._wanted:
                while self._answered == self._asking and not self._closed:
                    self._wanted.wait()
                if self._closed:
                    return
                number = self._asking
            values: dict[str, str] = {}
            with contextlib.suppress(UserError):
                values = dict(self._desk.ask({"command": "get"})["values"])
            self._values, self._answered = values, number

    def report(self) -> dict[str, Any]:
        """Return counts, and the controllers that moved last as {source: [moves, value]}: what `learn` looks at."""
        newest = sorted(self._touched.items(), key=lambda item: -item[1].when_ns)[:RECENT]
        rows = self._rows()
        waiting = [
            source for source, touch in newest if source in rows and not touch.holds and rows[source].mode != JUMP
        ]
        return {
            "moved": self.moved,
            "unmapped": self.unmapped,
            "to_pick_up": waiting,
            "heard": {source: [touch.count, round(touch.value, 4)] for source, touch in newest},
        }

    def close(self) -> None:
        """End the thread."""
        with self._wanted:
            self._closed = True
            self._wanted.notify()


def _text(row: Row, kind: str, value: float, choices: tuple[str, ...]) -> str:
    """Return what a controller's value 0..1 sets: `low` + value (`high` - `low`), as the kind of key is written; of a
    choice, the one of `choices` that lies there.
    """
    number = row.low + value * (row.high - row.low)
    if kind == "flag":
        return "on" if number >= 0.5 else "off"
    if choices:
        return choices[min(int(number * len(choices)), len(choices) - 1)]
    if kind in ("whole", "note", "channel"):
        return str(round(number))
    return f"{number:.5f}" if kind == "lane" else f"{number:.6g}"
