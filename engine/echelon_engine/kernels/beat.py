"""The length of a beat in a motion energy of any shape: a forgetting autocorrelation and its first high peak.

Exponentially forgetting averages <..> over the lags 8..107 control frames, normalised as in YIN (de Cheveigné &
Kawahara 2002) and McLeod's pitch method (2005):

    r(lag) = 1 - <(E(t) - E(t-lag))^2> / (<E(t)^2 + E(t-lag)^2> - <E(t) + E(t-lag)>^2 / 2)

1 where the energy repeats exactly, near 0 for noise. The shortest lag whose peak is nearly the highest is the beat, so
one beat is one peak; the peaks at its multiples refine it. Alternating strong and weak peaks may count as one beat.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_engine._jit import inlined, kernel
from echelon_engine.memory import CONTROL_RATE_HZ

LAG_FIRST, LAGS = 8, 100  # control frames
SHORTEST, LONGEST = 17, 104  # where beats are sought: 212 to 35 a minute
LEAST_FRAMES = 60  # of products behind a lag that is looked at
HISTORY = 128
FLOOR_MPS = 0.02  # variations under this are nobody's rhythm
MEMORY = 1.0 - np.exp(-1.0 / (1.4 * CONTROL_RATE_HZ))  # gain per frame: forgets with 1.4 s
NEARLY = 0.72  # of the highest peak: a shorter beat is preferred to a better one

BEAT = np.dtype(
    [
        ("strength", np.float32),  # of the repetition, 0..1; 0 until it is old enough to be believed
        ("frames", np.int64),  # since `begin`
        ("newest", np.int64),  # index of the newest energy in the history
        ("mean", np.float64),  # of the energy and
        ("variance", np.float64),  # its variance, over the same memory
        ("history", np.float32, (2 * HISTORY,)),  # newest first, written twice so that it is never cut
        ("difference", np.float32, (LAGS,)),  # <(E(t) - E(t - lag))^2>
        ("square", np.float32, (LAGS,)),  # <E(t)^2 + E(t - lag)^2>
        ("sum", np.float32, (LAGS,)),  # <E(t) + E(t - lag)>
        ("correlation", np.float32, (LAGS,)),  # r
    ],
    align=True,
)


@inlined
def ramp(x: float, low: float, high: float) -> float:
    """Return 0 below `low`, 1 above `high`, a smooth cubic between."""
    t = min(max((x - low) / (high - low), 0.0), 1.0)
    return t * t * (3.0 - 2.0 * t)


@kernel
def begin(state: Any, energy: float) -> None:
    """Forget everything: a new motion begins at this energy (m/s). The averages need no clearing."""
    state.frames = 0
    state.strength = np.float32(0.0)
    state.mean = energy
    state.variance = 0.0


@kernel
def put(state: Any, energy: float) -> None:
    """Put the energy (m/s, finite) of this control frame into all averages, and renew `correlation`."""
    state.frames += 1
    forget = max(MEMORY, 1.0 / state.frames)
    away = energy - state.mean
    state.mean += forget * away
    state.variance += forget * ((1.0 - forget) * away * away - state.variance)
    now = np.float32(energy)
    state.newest = state.newest - 1 if state.newest > 0 else HISTORY - 1
    newest = state.newest
    history, difference, square, total = state.history, state.difference, state.square, state.sum
    history[newest] = now
    history[newest + HISTORY] = now
    known = min(state.frames - LAG_FIRST, LAGS)
    floor = np.float32(2.0 * FLOOR_MPS * FLOOR_MPS)
    half = np.float32(0.5)
    for i in range(known):
        past = history[newest + LAG_FIRST + i]
        gain = max(np.float32(MEMORY), np.float32(1.0) / np.float32(state.frames - LAG_FIRST - i))
        step = now - past
        both = now + past
        difference[i] += gain * (step * step - difference[i])
        square[i] += gain * (now * now + past * past - square[i])
        total[i] += gain * (both - total[i])
        spread = max(square[i] - half * total[i] * total[i], np.float32(0.0))
        state.correlation[i] = np.float32(1.0) - (difference[i] + floor) / (spread + floor)


@kernel
def _vertex(correlation: NDArray[np.float32], middle: int, reach: int) -> float:
    """Return the lag (frames) of the peak near `middle`: vertex of the parabola through +-`reach` lags; 0: none."""
    lean = 0.0
    level = 0.0
    bend = 0.0
    count = 2 * reach + 1
    squares = reach * (reach + 1) * count / 3.0
    if middle - reach < LAG_FIRST or middle + reach >= LAG_FIRST + LAGS:
        return 0.0
    for j in range(-reach, reach + 1):
        y = correlation[middle + j - LAG_FIRST]
        lean += j * y
        level += y
        bend += j * j * y
    # Least squares of y = level + lean j + bend j^2, whose normal equations part into odd and even.
    fourths = squares * (3.0 * reach * reach + 3.0 * reach - 1.0) / 5.0
    lean /= squares
    bend = (bend - level * squares / count) / (fourths - squares * squares / count)
    if bend >= 0.0:
        return 0.0
    shift = -0.5 * lean / bend
    return middle + shift if abs(shift) <= reach else 0.0


@kernel
def find(state: Any) -> float:
    """Return the beat's length in frames, 0 where nothing repeats; sets `strength`.

    The shortest lag whose peak is nearly the highest wins, so one beat is one peak; the peaks at its multiples
    refine it.
    """
    r = state.correlation
    state.strength = np.float32(0.0)
    last = min(state.frames - LEAST_FRAMES, LONGEST)
    highest = np.float32(0.1)
    best = 0
    for attempt in range(2):
        lowest = np.float32(1.0)
        for lag in range(LAG_FIRST, last + 1):
            i = lag - LAG_FIRST
            lowest = min(lowest, r[i])
            if lag >= SHORTEST and r[i] > r[i - 1] and r[i] >= r[i + 1]:
                peak = min(r[i], r[i] - lowest)  # a peak stands out from a valley before it
                if attempt == 0:
                    highest = max(highest, peak)
                elif peak >= np.float32(NEARLY) * highest:
                    best = lag
                    break
    if best == 0:
        return 0.0
    for lag in range(best, min(best + best // 4, last) + 1):  # noise makes small peaks on the flank of the true one
        if r[lag - LAG_FIRST] > r[best - LAG_FIRST]:
            best = lag
    top = r[best - LAG_FIRST]
    beat = float(best)
    multiple = 1
    while multiple * beat <= last:
        lag = int(multiple * beat + 0.5)
        refined = _vertex(r[:], lag, min(max(2, best // 5), LAG_FIRST + LAGS - 1 - lag)) / multiple
        if multiple == 1:
            beat = refined if refined > 0.0 else beat
        elif r[lag - LAG_FIRST] < np.float32(0.7) * top or abs(refined - beat) > 0.05 * beat:
            break
        else:
            beat = refined
        multiple += 1
    # Old enough to be believed: noise repeats itself by chance in short windows.
    heard = ramp(np.float64(state.frames - best), 60.0, 110.0)
    state.strength = np.float32(min(max(np.float64(min(top, highest)), 0.0), 1.0) * heard)
    return beat
