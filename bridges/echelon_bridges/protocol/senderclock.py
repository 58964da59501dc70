"""A sender's clock on the engine's clock: the datagram that was least delayed tells the offset.

`arrival = sender + offset + delay` with a delay that is never negative: so the smallest `arrival - sender` of the last
seconds is the offset plus the shortest delay. The estimate falls at once and rises slowly (clock drift), or in one step
where the path itself has become longer.
"""

from __future__ import annotations

WINDOW_NS = 2_000_000_000
SLEW = 0.005  # how fast the estimate may rise: far above the drift of any clock (1667 ppm were measured)
STEP_NS = 50_000_000  # a path that became this much longer is taken over at once


class SenderClock:
    """Maps sender time to engine time, nanoseconds. `reset` when the sender's clock restarts."""

    def __init__(self) -> None:
        self._offset: int | None = None
        self.reset()

    def reset(self) -> None:
        """Forget the offset."""
        self._offset = None
        self._begin = self._last = 0
        self._lowest: int | None = None  # of the window going on
        self._before: int | None = None  # of the window before

    def engine_ns(self, sender_ns: int, arrival_ns: int) -> int:
        """Return when, on the engine's clock, the sender made what arrived now; never after its arrival."""
        delay = arrival_ns - sender_ns
        if self._offset is None:
            self._offset = delay
            self._begin = self._last = arrival_ns
        if self._lowest is None or delay < self._lowest:
            self._lowest = delay
        if arrival_ns - self._begin > WINDOW_NS:
            self._before, self._lowest, self._begin = self._lowest, delay, arrival_ns
        if delay < self._offset:
            self._offset = delay
        elif self._before is not None:
            target = min(self._before, self._lowest)
            if target - self._offset > STEP_NS:
                self._offset = target
            elif target > self._offset:
                self._offset = min(target, self._offset + int(SLEW * max(0, arrival_ns - self._last)))
        self._last = arrival_ns
        return sender_ns + self._offset
