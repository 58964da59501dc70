"""Which phone is in which hand: the one that is shaken when its holder is asked to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

LEAST_MPS2 = 3.0  # RMS of a phone that is shaken on purpose; dancing calmly stays below
AHEAD = 2.0  # times the RMS of any other: a hand that only follows the body moves less


class Shaken:
    """Gathers what phones do while one of them is to be shaken. `take` rows of `Hub.report_devices`, then ask `which`.

    The energy of a phone is the mean square of its acceleration's peaks; rows of bodies are left out.
    """

    def __init__(self) -> None:
        self._squares: dict[str, float] = {}
        self._count = 0

    def take(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Take one look at all devices."""
        self._count += 1
        for row in rows:
            if row.get("kind") == "phone":
                name = str(row.get("name", ""))
                fresh = float(row.get("silent_s") or 0.0) < 1.0
                square = float(row.get("mps2") or 0.0) ** 2 if fresh else 0.0
                self._squares[name] = self._squares.get(name, 0.0) + square

    def rms(self) -> dict[str, float]:
        """Return the RMS acceleration of every phone, m/s^2, the most shaken first."""
        found = {name: (square / max(self._count, 1)) ** 0.5 for name, square in self._squares.items()}
        return dict(sorted(found.items(), key=lambda each: -each[1]))

    def which(self) -> str | None:
        """Return the phone that was shaken, or None where none was, or two were."""
        ranked = list(self.rms().items())
        if not ranked or ranked[0][1] < LEAST_MPS2:
            return None
        if len(ranked) > 1 and ranked[0][1] < AHEAD * ranked[1][1]:
            return None
        return ranked[0][0]
