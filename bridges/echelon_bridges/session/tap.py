"""Reads a ring without giving its places back at once: what a killed process had in hand is there for the next."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_bridges.session.format import joined
from echelon_engine._jit import kernel
from echelon_engine.atomics import store_release


@kernel
def _give_back(read: Any, count: Any) -> None:
    """Tell the producer that the first `count` items of a ring, ever, are read; `read` is the ring's, uint64 (8,)."""
    store_release(read.ctypes.data, count)


class Tap:
    """The one consumer of an SPSC ring. `take` copies what is new; `release` gives places back when all is done with.

    A ring holds 8 s and more of what is logged: until a record is in the file its place in the ring is kept, and
    bridges that are killed and started again take it once more (`SessionLog` then leaves out what it has already).
    """

    def __init__(self, ring: Any) -> None:
        self._items, self._read = ring["item"], ring["read"]
        self._written = memoryview(ring["written"])  # looked at hundreds of times a second
        self._capacity = len(self._items)
        self._begin = self._next = int(self._read[0])
        self._nothing = np.zeros(0, self._items.dtype)
        _give_back(np.zeros(8, np.uint64), np.uint64(0))  # compiled or loaded now, not in the first turn
        self.taken = 0  # since this tap began
        self._released = 0

    @property
    def has_more(self) -> bool:
        """Whether `take` would return anything."""
        return bool(self._written[0] != self._next)

    def take(self) -> NDArray[Any]:
        """Return what was pushed since the last call, oldest first: a copy (n,); n may be 0."""
        # The producer publishes an item before its number: whoever sees the number finds the item.
        written = self._written[0]
        count = written - self._next
        if not count:
            return self._nothing
        first = self._next % self._capacity
        whole = self._items[first : first + count]
        items = joined([whole, self._items[: count - len(whole)]])
        self._next = written
        self.taken += count
        return items

    def release(self, count: int) -> None:
        """Give back the places of the first `count` items that were taken since this tap began."""
        count = min(count, self.taken)
        if count > self._released:
            self._released = count
            _give_back(self._read, np.uint64(self._begin + count))


class Taps:
    """The taps of control records, notes and what the callback took, in the order that a log needs.

    Control records are taken before the inputs: all that the callback took until a control record is then in the same
    turn or an earlier one, and a log that is cut anywhere plays up to its last control record.
    """

    def __init__(self, shared: Any) -> None:
        self._taps = Tap(shared["records"]), Tap(shared["events"]), Tap(shared["inputs"])

    @property
    def have_more(self) -> bool:
        """Whether `take` would return anything."""
        controls, events, inputs = self._taps
        return controls.has_more or events.has_more or inputs.has_more

    def take(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Return what is new: memory.CONTROL (n,), memory.EVENT (m,), memory.INPUT (k,)."""
        controls, events, inputs = self._taps
        return controls.take(), events.take(), inputs.take()

    def release(self, settled: tuple[int, int, int] | None = None) -> None:
        """Give back as many places as `SessionLog.settled` says; None: all that was taken."""
        for i, tap in enumerate(self._taps):
            tap.release(tap.taken if settled is None else settled[i])
