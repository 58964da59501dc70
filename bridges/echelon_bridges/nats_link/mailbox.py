"""What the bridges leave for the link: bounded, never waited for; one side writes, the link's thread reads.

Only operations that Python makes whole by themselves are used (a deque's append and popleft, an assignment), so no
lock can hold the bridges up.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from echelon_bridges.messages import build
from echelon_bridges.messages.bars import BarTracker
from echelon_bridges.messages.fields import copied
from echelon_bridges.messages.grids import Book
from echelon_bridges.messages.table import Bar, Grid
from echelon_engine.memory import ALL_OFF, CONTROL_RATE_HZ, NOTE_OFF, NOTE_ON

NEWEST = 4  # continuous messages that may wait: a block of the callback may bring some at once
WAITING_EVENTS = 1024
OUTBOX = 4096  # bars and grids, over an hour at 120 bpm
SOUNDING_NOTES = 256
GRACE_NS = round(0.5e9 / CONTROL_RATE_HZ)


class Numbered(NamedTuple):
    """One record that was due, and the number of its message."""

    sequence: int
    record: Any


@dataclass(slots=True)
class Continuous:
    """The newest records of a continuous subject, thinned to its rate; counts what was due."""

    period_ns: int
    due: int = 0
    waiting: deque[Numbered] = field(default_factory=lambda: deque(maxlen=NEWEST))
    _next_ns: int = -(1 << 62)

    def offer(self, record: Any, time_ns: int) -> None:
        """Take a record, which nobody else changes, if one is due at `time_ns` (of the record itself)."""
        # Half a control period of grace: a rate of 60 takes all of 60 records a second, whatever they are rounded to.
        if self._next_ns - GRACE_NS > time_ns > self._next_ns - 4 * self.period_ns:
            return
        on_grid = abs(time_ns - self._next_ns) <= self.period_ns
        self._next_ns = (self._next_ns if on_grid else time_ns) + self.period_ns
        self.due += 1
        self.waiting.append(Numbered(self.due, record))


class Mailbox:
    """Control records thinned to `rate_hz`, notes in order, bars and grids in order, the newest body of each performer.

    `book` knows the grids that play, and is filled by who offers records.
    """

    def __init__(self, engine: str, session: str, rate_hz: float, book: Book | None = None) -> None:
        self._period_ns = round(1e9 / rate_hz)
        self.book = Book() if book is None else book
        self._engine, self._session = engine, session
        self._bars = BarTracker(engine, session, self.book)
        self.controls = Continuous(self._period_ns)
        self.bodies: dict[int, Continuous] = {}
        self.performers = Continuous(self._period_ns)
        self.events: deque[Any] = deque()
        self.events_lost = 0
        self.outbox: deque[Bar | Grid] = deque()
        self.bars_lost = 0  # grids, too
        self.newest: Any = None  # memory.CONTROL
        self.newest_bar: Bar | None = None
        self.newest_grid: Grid | None = None
        self._playing: tuple[int, int] | None = None  # epoch and number of the grid in the newest record
        self._grids = 0
        self.sounding: dict[int, Any] = {}  # key -> memory.EVENT that began it

    def offer(self, controls: NDArray[Any], events: NDArray[Any], now_ns: int, wall_s: float) -> None:
        """Take what the callback emitted: memory.CONTROL (n,) and memory.EVENT (m,)."""
        if len(controls):
            kept = copied(controls)
            for record in kept:
                self.controls.offer(record, int(record["time_ns"]))
            self.newest = kept[-1]
        if len(events):
            for event in copied(events):
                self._note(event)
        for bar in self._bars.feed(controls, events, now_ns, wall_s):
            self.newest_bar = bar
            self._store(bar)
        for i in self._changes(controls):
            self._grids += 1
            made = build.Stamp(self._engine, self._grids, now_ns, wall_s)
            if (grid := build.grid(kept[i], self._session, made, self.book)) is not None:
                self.newest_grid = grid
                self._store(grid)

    def _store(self, message: Bar | Grid) -> None:
        if len(self.outbox) < OUTBOX:
            self.outbox.append(message)
        else:
            self.bars_lost += 1  # the newest: order is kept, and what is in flight stays

    def _changes(self, controls: NDArray[Any]) -> list[int]:
        """Return which of these records are the first with the grid that they name."""
        found = []
        for i, playing in enumerate(zip(controls["epoch"].tolist(), controls["grid"].tolist(), strict=True)):
            if playing[1] and playing != self._playing:
                found.append(i)
            self._playing = playing
        return found

    def _note(self, event: Any) -> None:
        if len(self.events) < WAITING_EVENTS:
            self.events.append(event)
        else:
            self.events_lost += 1
        kind, key = int(event["kind"]), int(event["key"])
        if kind == NOTE_ON and len(self.sounding) < SOUNDING_NOTES:
            self.sounding[key] = event
        elif kind == NOTE_OFF:
            self.sounding.pop(key, None)
        elif kind == ALL_OFF:
            self.sounding = {}

    def everybody(self, states: NDArray[Any]) -> None:
        """Take what all performers do, performers.PERFORMER (n,)."""
        self.performers.offer(states, int(states["time_ns"][0]))

    def body(self, performer: int, frames: NDArray[Any]) -> None:
        """Take limb frames, memory.LIMB_FRAME (n,), of one performer."""
        subject = self.bodies.get(performer)
        if subject is None:
            subject = self.bodies[performer] = Continuous(self._period_ns)
        for frame in copied(frames):
            subject.offer(frame, int(frame["time_ns"]))

    def sounding_notes(self) -> NDArray[Any] | list[Any]:
        """Return the events that began what sounds now: memory.EVENT (n,)."""
        rows = list(self.sounding.copy().values())
        return np.array(rows) if rows else rows
