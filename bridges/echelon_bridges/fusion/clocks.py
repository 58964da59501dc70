"""A phone's clock: offset and drift by `SenderClock`, with what its stamps say about order, loss and restarts."""

from __future__ import annotations

from echelon_bridges.protocol.senderclock import SenderClock

RESTART_S = 1.0  # a stamp this far back is another clock, not a late datagram
GAP_S = 0.25  # nothing is integrated across a longer gap
PERIOD_SHARE = 0.05


class DeviceClock:
    """Turns the stamps of one device into engine time and steps; counts what was lost (as far as stamps tell)."""

    def __init__(self) -> None:
        self.clock = SenderClock()
        self.lost = self.late = self.restarts = 0
        self.stamped = False
        self.period_s = 0.0
        self._last_s: float | None = None
        self._last_ns = 0

    @property
    def drift_ppm(self) -> float | None:
        """How much faster than ours the device's clock runs, in millionths."""
        return self.clock.drift_ppm if self.stamped else None

    def step(self, time_s: float | None, arrival_ns: int) -> tuple[int, float] | None:
        """Return (engine time in ns, seconds since the step before), or None for a sample that is late or repeated.

        The seconds are 0 at the first sample, after a gap of 0.25 s and after a restart. A device without stamps is
        taken to sample evenly: bursts are spread by its mean period.
        """
        if time_s is None:
            return arrival_ns, self._even(arrival_ns)
        self.stamped = True
        last = self._last_s
        if last is not None and last - RESTART_S < time_s <= last:
            self.late += 1
            return None
        dt = 0.0
        if last is not None:
            dt = time_s - last
            if dt < 0.0:
                self.restarts += 1
                self.clock.reset()
            elif self.period_s > 0.0 and dt < 100.0 * self.period_s:
                self.lost += max(round(dt / self.period_s) - 1, 0)
            if not 0.0 < dt < GAP_S:
                dt = 0.0
            elif self.period_s == 0.0:
                self.period_s = dt
            elif dt < 1.5 * self.period_s:
                self.period_s += PERIOD_SHARE * (dt - self.period_s)
        self._last_s = time_s
        return self.clock.engine_ns(round(time_s * 1e9), arrival_ns), dt

    def _even(self, arrival_ns: int) -> float:
        gap_s = 1e-9 * (arrival_ns - self._last_ns)
        self._last_ns = arrival_ns
        if not 0.0 <= gap_s < GAP_S:
            return 0.0
        self.period_s = self.period_s + PERIOD_SHARE * (gap_s - self.period_s) if self.period_s else gap_s
        return self.period_s
