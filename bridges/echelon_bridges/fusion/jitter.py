"""How evenly a stream arrives: lateness against the quickest datagram, and whether the de-jitter delay covers it."""

from __future__ import annotations

from collections import deque

import numpy as np

KEPT = 512  # newest frames that the figures speak of: 8 s at 60 Hz
STRETCH = 64  # frames over which a sender without a clock is taken to be even: a lost one bends only its stretch
PAUSE_NS = 250_000_000  # no stretch goes on across a longer gap


class Jitter:
    """Lateness of the newest frames, and how many in all came later than the de-jitter delay.

    Of senders that say when a frame was made it is arrival less that time, on the engine's clock. Others are taken to
    be even: lateness is what an arrival lies after the straight line through its stretch of 64, less the least of it.
    """

    def __init__(self) -> None:
        self.late = 0  # of frames that say when they were made
        self._kept: deque[int] = deque(maxlen=KEPT)
        self._stretch: list[int] = []

    def timed(self, time_ns: int, arrival_ns: int, delay_ns: int) -> None:
        """Take a frame made at `time_ns` on the engine's clock; it is late if it arrives more than `delay_ns` after."""
        lateness_ns = max(arrival_ns - time_ns, 0)
        self.late += lateness_ns > delay_ns
        self._kept.append(lateness_ns)

    def untimed(self, arrival_ns: int) -> None:
        """Take a frame of a sender that does not say when it was made."""
        stretch = self._stretch
        if stretch and not 0 <= arrival_ns - stretch[-1] < PAUSE_NS:
            stretch.clear()
        stretch.append(arrival_ns)
        if len(stretch) == STRETCH:
            # arrival_i = begin + i period + lateness_i
            i = np.arange(STRETCH) - 0.5 * (STRETCH - 1)
            arrival = np.array(stretch, dtype=np.float64) - stretch[0]
            lateness = arrival - i * (float(i @ arrival) / float(i @ i))
            self._kept.extend((lateness - lateness.min()).astype(np.int64).tolist())
            stretch.clear()

    def percentiles_ms(self) -> tuple[float, float] | None:
        """Return p50 and p99 of the newest frames' lateness in milliseconds; None before there are any."""
        if not self._kept:
            return None
        ordered = sorted(self._kept)
        last = len(ordered) - 1
        return round(ordered[last // 2] * 1e-6, 2), round(ordered[-(-last * 99 // 100)] * 1e-6, 2)
