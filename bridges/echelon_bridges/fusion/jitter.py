"""How evenly a stream arrives: lateness against the quickest datagram, and whether the de-jitter delay covers it."""

from __future__ import annotations

from collections import deque

KEPT = 512  # newest frames that the figures speak of: 8 s at 60 Hz
PERIOD_SHARE = 0.005  # how fast the period of a sender without a clock is learned, after the first 200 frames
SLEW = 0.002  # how fast its schedule may move later: above any clock's drift
PAUSE_NS = 250_000_000  # after a longer gap the schedule begins anew


class Jitter:
    """Lateness of the newest frames in nanoseconds, and how many in all came later than the de-jitter delay."""

    def __init__(self) -> None:
        self.late = 0
        self.frames = 0
        self._kept: deque[int] = deque(maxlen=KEPT)
        self._due = 0.0
        self._period = 0.0
        self._even = 0  # frames since the schedule began
        self._last_ns = 0

    def timed(self, time_ns: int, arrival_ns: int, delay_ns: int) -> None:
        """Take a frame made at `time_ns` on the engine's clock; it is late if it arrives more than `delay_ns` after."""
        self._add(max(arrival_ns - time_ns, 0), delay_ns)

    def untimed(self, arrival_ns: int, delay_ns: int) -> None:
        """Take a frame of a sender that does not say when it was made.

        A schedule of even periods runs along and is never later than an arrival: due = min(due + period, arrival),
        drawn later by `SLEW` of the time, so that lateness is what the network added.
        """
        gap = arrival_ns - self._last_ns
        self._last_ns = arrival_ns
        if not 0 <= gap < PAUSE_NS:
            self._due, self._period, self._even = float(arrival_ns), 0.0, 0
            return
        self._even += 1
        self._period += max(PERIOD_SHARE, 1.0 / self._even) * (gap - self._period)
        self._due = min(self._due + self._period + SLEW * gap, float(arrival_ns))
        self._add(int(arrival_ns - self._due), delay_ns)

    def _add(self, lateness_ns: int, delay_ns: int) -> None:
        self.frames += 1
        self.late += lateness_ns > delay_ns
        self._kept.append(lateness_ns)

    def percentiles_ms(self) -> tuple[float, float] | None:
        """Return p50 and p99 of the newest frames' lateness in milliseconds; None before the second frame."""
        if not self._kept:
            return None
        ordered = sorted(self._kept)
        last = len(ordered) - 1
        return round(ordered[last // 2] * 1e-6, 2), round(ordered[-(-last * 99 // 100)] * 1e-6, 2)
