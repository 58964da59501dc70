"""Bootstrap intervals that respect what belongs together: whole recordings are drawn, not their frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Interval(NamedTuple):
    """A figure with the interval that holds it in 95 of 100 resamplings of the recordings."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


def bootstrap(
    groups: Sequence[Any] | NDArray[Any],
    statistic: Callable[[NDArray[np.int64]], float],
    *,
    rounds: int = 1000,
    seed: int = 0,
) -> Interval:
    """Return a statistic over all rows and its percentile interval; `statistic(rows)` computes it from row numbers.

    `groups` (rows,) says which rows are drawn together. Source: Davison & Hinkley 1997, section 3.8.
    """
    _, which = np.unique(np.asarray(groups), return_inverse=True)
    members = [np.flatnonzero(which == k) for k in range(which.max() + 1)]
    rng = np.random.default_rng(seed)
    drawn = [
        statistic(np.concatenate([members[k] for k in rng.integers(0, len(members), len(members))]))
        for _ in range(rounds)
    ]
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return Interval(statistic(np.arange(len(which))), float(low), float(high))


def ratio(numerator: NDArray[np.floating], denominator: NDArray[np.floating]) -> Callable[[NDArray[np.int64]], float]:
    """Return the statistic sum(numerator) / sum(denominator) over rows."""
    return lambda rows: float(numerator[rows].sum() / max(float(denominator[rows].sum()), 1e-30))
