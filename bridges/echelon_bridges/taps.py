"""A tempo from taps: two to eight of them, by the median of what lies between. Pure."""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from statistics import median

MOST_TAPS = 8
PAUSE_NS = 2_000_000_000  # after which one taps anew
BOUNCE_NS = 180_000_000  # sooner is the same tap: 300 bpm are 200 ms
ODD = 1.5  # times longer or shorter than the median: another tempo begins
SLOWEST_BPM, FASTEST_BPM = 30.0, 300.0


class Taps:
    """The taps that count, newest last."""

    def __init__(self) -> None:
        self._taps: deque[int] = deque(maxlen=MOST_TAPS)

    def __len__(self) -> int:
        """Return how many taps count."""
        return len(self._taps)

    def tap(self, time_ns: int) -> float | None:
        """Take a tap at the time when it was felt; return the tempo in bpm, in tenths, None for a first tap.

        A pause, or an interval unlike the others, begins anew with this tap; a bounce is no tap.
        """
        taps = self._taps
        if taps:
            interval = time_ns - taps[-1]
            if 0 <= interval < BOUNCE_NS:
                return None
            usual = median(self._intervals()) if len(taps) > 1 else interval
            if interval < 0 or interval > PAUSE_NS or not usual / ODD <= interval <= usual * ODD:
                taps.clear()
        taps.append(time_ns)
        if len(taps) < 2:
            return None
        return min(max(round(60e9 / median(self._intervals()), 1), SLOWEST_BPM), FASTEST_BPM)

    def _intervals(self) -> list[int]:
        return [later - earlier for earlier, later in pairwise(self._taps)]
