"""A sender's clock on the engine's clock: the datagram that was least delayed tells the offset.

`arrival = sender + offset + delay` with a delay that is never negative: so the smallest `arrival - sender` of the last
seconds is the offset plus the shortest delay. The estimate falls at once and rises slowly (clock drift), or in one step
where the path itself has become longer. How that smallest value moves from window to window is the drift.
"""

from __future__ import annotations

from collections import deque
from statistics import median

WINDOW_NS = 2_000_000_000
WINDOWS = 16  # from which the drift is told: half a minute
LEAST_WINDOWS = 4
SLEW = 0.005  # how fast the estimate may rise: far above the drift of any clock (1667 ppm were measured)
STEP_NS = 50_000_000  # a path that became this much longer is taken over at once


class SenderClock:
    """Maps sender time to engine time, nanoseconds. `reset` when the sender's clock restarts."""

    def __init__(self) -> None:
        self._offset: int | None = None
        self._floor: deque[tuple[int, int]] = deque(maxlen=WINDOWS)  # arrival and delay of each window's quickest
        self.reset()

    def reset(self) -> None:
        """Forget the offset."""
        self._offset = None
        self._begin = self._last = 0
        self._lowest: int | None = None  # of the window going on
        self._lowest_ns = 0  # when that arrived
        self._before: int | None = None  # of the window before
        self._floor.clear()

    def engine_ns(self, sender_ns: int, arrival_ns: int) -> int:
        """Return when, on the engine's clock, the sender made what arrived now; never after its arrival."""
        delay = arrival_ns - sender_ns
        if self._offset is None:
            self._offset = delay
            self._begin = self._last = arrival_ns
        if arrival_ns - self._begin > WINDOW_NS:
            if self._lowest is not None:
                self._floor.append((self._lowest_ns, self._lowest))
            self._before, self._lowest, self._begin = self._lowest, None, arrival_ns
        if self._lowest is None or delay < self._lowest:
            self._lowest, self._lowest_ns = delay, arrival_ns
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

    @property
    def drift_ppm(self) -> float | None:
        """How much faster than ours the sender's clock runs, in millionths; None before 8 s.

        The median slope between the windows' quickest datagrams (Theil and Sen): one window without a quick datagram
        does not bend it.
        """
        points = list(self._floor)
        if len(points) < LEAST_WINDOWS:
            return None
        slopes = [
            (later - delay) / (then - ns)
            for i, (ns, delay) in enumerate(points)
            for then, later in points[i + 1 :]
            if then > ns
        ]
        return -1e6 * median(slopes) if slopes else None
