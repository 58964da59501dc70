"""Does prediction_confidence keep its word: how good it says predictions are now, and how good this one turns out.

LatentState's confidence is exp(-error^2 / scale^2) of what was predicted for this frame 250 ms ago. A listener takes it
for the quality of what is predicted now, so it is calibrated if, among frames that say c, predictions earn c on
average 250 ms later. NumPy alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from echelon_models.train.intervals import Interval, bootstrap

CONFIDENCE = 21  # its place in LatentState
AHEAD_FRAMES = 15
BINS = 10


class Calibration(NamedTuple):
    """Reliability of the confidence over frames.

    `said`, `earned` float64 (10,): means within the bins 0..0.1 .. 0.9..1 of what is said, NaN in an empty bin;
    `share` (10,) of the frames. `error`: mean |said - earned| over the bins by share; `spread`: mean |said - earned|
    over frames, how far a single one is off; `rank`: Spearman correlation of said and earned, 1 is best.
    """

    said: NDArray[np.float64]
    earned: NDArray[np.float64]
    share: NDArray[np.float64]
    error: Interval
    spread: Interval
    rank: Interval


def calibration(latents: Sequence[NDArray[np.floating]], sources: Sequence[str], *, rounds: int = 500) -> Calibration:
    """Return the reliability over recordings' LatentStates (n, 25), 60 a second; intervals draw whole `sources`.

    Recordings of 250 ms or less count nothing. Raises ValueError where none is longer.
    """
    pairs = [
        (np.asarray(each[:-AHEAD_FRAMES, CONFIDENCE], np.float64), np.asarray(each[AHEAD_FRAMES:, CONFIDENCE], float))
        for each in latents
        if len(each) > AHEAD_FRAMES
    ]
    if not pairs:
        raise ValueError(f"{len(latents)} recordings: none is longer than 250 ms; give longer ones")
    names = [name for each, name in zip(latents, sources, strict=True) if len(each) > AHEAD_FRAMES]
    said, earned = (np.concatenate(values) for values in zip(*pairs, strict=True))
    bins = np.minimum((said * BINS).astype(int), BINS - 1)
    # Everything the errors need, recording by recording: counts and sums in each bin.
    number = np.repeat(np.arange(len(pairs)), [len(values) for values, _ in pairs])
    cell = number * BINS + bins

    def table(weights: NDArray[np.float64] | None) -> NDArray[np.float64]:
        return np.bincount(cell, weights, len(pairs) * BINS).reshape(-1, BINS).astype(np.float64)

    counts, sums_said, sums_earned = table(None), table(said), table(earned)
    absolute = np.bincount(number, np.abs(said - earned), len(pairs))

    def error(rows: NDArray[np.int64]) -> float:
        gap = np.abs(sums_said[rows].sum(0) - sums_earned[rows].sum(0))
        return float(gap.sum() / counts[rows].sum())

    def spread(rows: NDArray[np.int64]) -> float:
        return float(absolute[rows].sum() / counts[rows].sum())

    starts = np.concatenate([[0], np.cumsum([len(values) for values, _ in pairs])])

    def rank(rows: NDArray[np.int64]) -> float:
        chosen = np.concatenate([np.arange(starts[k], starts[k + 1]) for k in rows])
        return _spearman(said[chosen], earned[chosen])

    total = counts.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = [sums.sum(0) / total for sums in (sums_said, sums_earned)]
    return Calibration(
        means[0],
        means[1],
        total / total.sum(),
        bootstrap(names, error, rounds=rounds),
        bootstrap(names, spread, rounds=rounds),
        bootstrap(names, rank, rounds=min(rounds, 100)),
    )


def _spearman(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    ranks = []
    for values in (a, b):
        _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
        ranks.append((np.cumsum(counts) - (counts - 1) / 2)[which])  # equal values share their mean rank
    if min(rank.std() for rank in ranks) == 0.0:
        return float("nan")
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])
