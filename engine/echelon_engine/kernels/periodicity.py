"""How strongly the energy repeats itself over the last 4 s: the peak of its normalised autocorrelation.

    r(lag) = Pearson correlation of E(t-j) with E(t-j-lag), both within the last 240 control frames

The lag products are updated by what enters and leaves the window; each frame one of them is summed afresh, so that
rounding never accumulates for longer than 1.5 s. Source: spec/equilibrium.md, "Dynamics and LatentState".
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from echelon_engine._jit import kernel

WINDOW = 240  # control frames
FIRST, LAGS = 8, 97  # 8..104 frames; a peak counts from lag 17 on, 212 a minute
SHORTEST = 17
FLOOR_MPS = 0.02  # variations under this are nobody's rhythm

_INVERSE = 1.0 / (WINDOW - FIRST - np.arange(LAGS))

PERIODICITY = np.dtype(
    [
        ("strength", np.float32),  # 0..1
        ("oldest", np.int64),  # index of the oldest energy of the window
        ("fresh", np.int64),  # lag that is summed afresh next
        ("history", np.float64, (2 * WINDOW,)),  # oldest first from `oldest`, written twice so that it is never cut
        ("product", np.float64, (LAGS,)),  # sum of E(t-j) E(t-j-lag)
        ("r", np.float64, (LAGS,)),
        ("spread", np.float64, (LAGS,)),
    ],
    align=True,
)


@kernel
def step(state: Any, energy: float) -> None:
    """Take the energy (m/s, finite) of this control frame and renew `strength`; `state`: PERIODICITY."""
    history, product, r, spread = state.history, state.product, state.r, state.spread
    # Out goes the oldest with its later partners, in comes the newest with its earlier ones.
    leaving = history[state.oldest]
    for i in range(LAGS):
        product[i] -= leaving * history[state.oldest + FIRST + i]
    history[state.oldest] = energy
    history[state.oldest + WINDOW] = energy
    state.oldest = (state.oldest + 1) % WINDOW
    begin = state.oldest
    end = begin + WINDOW - 1
    for i in range(LAGS):
        product[i] += energy * history[end - FIRST - i]
    lag = FIRST + state.fresh
    again = 0.0
    for j in range(begin + lag, begin + WINDOW):
        again += history[j] * history[j - lag]
    product[state.fresh] = again
    state.fresh = (state.fresh + 1) % LAGS

    total = 0.0
    squares = 0.0
    for j in range(begin, begin + WINDOW):
        total += history[j]
        squares += history[j] * history[j]
    # Sums of the later part (without the `lag` oldest) and of the earlier part (without the `lag` newest).
    later, later2, earlier, earlier2 = total, squares, total, squares
    for lag in range(1, FIRST + LAGS):
        old, new = history[begin + lag - 1], history[end - lag + 1]
        later -= old
        later2 -= old * old
        earlier -= new
        earlier2 -= new * new
        i = lag - FIRST
        if i >= 0:
            count = WINDOW - lag
            inverse = _INVERSE[i]
            floor = count * FLOOR_MPS * FLOOR_MPS
            r[i] = product[i] - later * earlier * inverse
            spread[i] = (max(later2 - later * later * inverse, 0.0) + floor) * (
                max(earlier2 - earlier * earlier * inverse, 0.0) + floor
            )
    for i in range(LAGS):
        r[i] /= math.sqrt(spread[i])
    # A peak stands out from a valley before it.
    lowest = 1.0
    best = 0.0
    for i in range(1, LAGS - 1):
        lowest = min(lowest, r[i])
        if i >= SHORTEST - FIRST and r[i] > r[i - 1] and r[i] >= r[i + 1]:
            best = max(best, min(r[i], r[i] - lowest))
    state.strength = np.float32(min(max(best, 0.0), 1.0))
