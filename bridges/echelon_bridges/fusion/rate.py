"""Events a second, told over at least one second whoever asks how often."""

from __future__ import annotations

LEAST_NS = 1_000_000_000


class Rate:
    """Follows a count that rises."""

    def __init__(self) -> None:
        self._count = 0
        self._since_ns: int | None = None
        self._hz = 0.0

    def hz(self, count: int, now_ns: int) -> float:
        """Return the rate of `count` over the last second or more; 0 at first."""
        if self._since_ns is None:
            self._since_ns, self._count = now_ns, count
        elif (span_ns := now_ns - self._since_ns) >= LEAST_NS:
            self._hz = round((count - self._count) * 1e9 / span_ns, 1)
            self._since_ns, self._count = now_ns, count
        return self._hz
