"""Commitment and tempo of a body, from its motion energy: lag evidence, an extended Kalman filter, an onset follower.

    energy(t) = mean + amplitude cos(phase(t)),   one beat = one peak of energy (phase 0)

1. Lag evidence finds the tempo for any wave shape: exponentially forgetting averages of (E(t) - E(t - lag))^2 over
   the lags 8..107 frames, normalised to an autocorrelation as in YIN and McLeod's pitch method:
   r(lag) = 1 - <(E(t) - E(t-lag))^2> / (<E(t)^2 + E(t-lag)^2> - <E(t) + E(t-lag)>^2 / 2).
2. A fading-memory extended Kalman filter (Sorenson & Sacks 1971) follows mean, p = amplitude cos(phase),
   q = amplitude sin(phase) and omega from there; the lag is a second, weak measurement of its omega.
3. Commitment is the larger of the rhythm (strength of r through a soft threshold, up to 1) and the onset (motion that
   stands out against the last seconds, up to 0.55), smoothed.

Source: spec/equilibrium.md, "Commitment and tempo".
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from echelon_engine._jit import inlined, kernel
from echelon_engine.memory import CONTROL_RATE_HZ

SLOW_AVERAGE_S = 2.0  # of c: eight times the 250 ms of a spike, shorter than a phrase
ENERGY_LIMIT_MPS = 10.0  # RMS over all limbs; nobody moves the whole body faster
QUIET_MPS = 0.06  # between the machine's "still" (0.03) and "resume" (0.08)
SLEEP_S = 2.0  # quiet for longer: the next motion is a new beginning
HOLD_FRAMES = 15  # without measurements: c holds this long, then fades
ONSET_CEILING = 0.55

LAG_FIRST, LAGS = 8, 100  # frames; beats are sought at lags 17..104, 35 to 212 a minute
_SHORTEST, _LONGEST = 17, 104
_HISTORY = 128

COMMITMENT = np.dtype(
    [
        ("c", np.float32),  # commitment 0..1
        ("slow_average", np.float32),  # of c, time constant SLOW_AVERAGE_S
        ("transition_intensity", np.float32),  # positive part of c - slow_average
        ("internal_tempo_bpm", np.float32),  # 0 until the first rhythm is heard, then held
        ("phase", np.float32),  # [0, 1), 0 at the peak of energy
        ("strength", np.float32),  # of the repetition, 0..1: 1 repeats exactly
        ("explained", np.float32),  # share of the energy's variance that the filter predicts, at most 1
        ("refused", np.int64),  # energies that were not finite, negative or beyond ENERGY_LIMIT_MPS for a moment
        ("begun", np.int64),
        ("awake", np.int64),
        ("locked", np.int64),  # the Kalman filter runs
        ("missed", np.int64),  # control frames since the last measurement
        ("glitches", np.int64),  # refused in a row
        ("frames", np.int64),  # since this motion began
        ("newest", np.int64),  # index of the newest energy in the history
        ("quiet", np.float64),  # seconds since energy was above QUIET_MPS
        ("energy", np.float64),  # last good value
        ("fast", np.float64),  # energy over 40 ms
        ("slow", np.float64),  # energy over 1.5 s
        ("onset", np.float64),
        ("mean", np.float64),  # energy and its variance over the memory of the lags
        ("variance", np.float64),
        ("filter", np.float64, (4,)),  # mean, p, q, omega (rad per frame)
        ("covariance", np.float64, (4, 4)),
        ("scratch", np.float64, (4,)),
        ("error", np.float64),  # mean squared prediction error of the filter
        ("history", np.float32, (2 * _HISTORY,)),  # newest first, written twice so that it is never cut
        ("difference", np.float32, (LAGS,)),  # <(E(t) - E(t - lag))^2>
        ("square", np.float32, (LAGS,)),  # <E(t)^2 + E(t - lag)^2>
        ("sum", np.float32, (LAGS,)),  # <E(t) + E(t - lag)>
        ("correlation", np.float32, (LAGS,)),
    ],
    align=True,
)

_DT = 1.0 / CONTROL_RATE_HZ
_FLOOR_MPS = 0.02  # variations under this are nobody's rhythm
_LEAST_FRAMES = 60  # of products behind a lag that is looked at


def _gain(seconds: float) -> float:
    """Return the per-frame gain of a one-pole smoother with this time constant."""
    return 1.0 - math.exp(-_DT / seconds)


_FAST, _SLOW, _ONSET_RELEASE = _gain(0.04), _gain(1.5), _gain(0.6)
_LAG, _ERROR = _gain(1.4), _gain(1.0)
_C_UP, _C_DOWN, _C_AVERAGE = _gain(0.04), _gain(0.25), _gain(SLOW_AVERAGE_S)
_ABSENT = _gain(0.5)
_TEMPO = _gain(0.25)
_PHASE = 0.15
_LOCK = 0.2  # strength from which the Kalman filter starts and listens to the lags
_MEMORY_S = 0.7  # of the Kalman filter
_ENERGY = np.array([1.0, 1.0, 0.0, 0.0])  # what the two sensors see of (mean, p, q, omega)
_OMEGA = np.array([0.0, 0.0, 0.0, 1.0])
_LAG_SD = 0.01  # standard deviation of the lags' tempo
_NEARLY = 0.72  # of the highest peak: a shorter beat is preferred to a better one
_NOISE_SHARE = 0.2  # measurement variance as a share of the energy's variance


@inlined
def _ramp(x: float, low: float, high: float) -> float:
    """Return 0 below `low`, 1 above `high`, a smooth cubic between."""
    t = min(max((x - low) / (high - low), 0.0), 1.0)
    return t * t * (3.0 - 2.0 * t)


@kernel
def _lags(state: Any, energy: np.float32) -> None:
    """Put one energy (m/s, float32) into the history and the averages of every lag, and renew `correlation`."""
    state.newest = state.newest - 1 if state.newest > 0 else _HISTORY - 1
    newest = state.newest
    history, difference, square, total = state.history, state.difference, state.square, state.sum
    history[newest] = energy
    history[newest + _HISTORY] = energy
    known = min(state.frames - LAG_FIRST, LAGS)
    floor = np.float32(2.0 * _FLOOR_MPS * _FLOOR_MPS)
    half = np.float32(0.5)
    for i in range(known):
        past = history[newest + LAG_FIRST + i]
        gain = max(np.float32(_LAG), np.float32(1.0) / np.float32(state.frames - LAG_FIRST - i))
        step = energy - past
        both = energy + past
        difference[i] += gain * (step * step - difference[i])
        square[i] += gain * (energy * energy + past * past - square[i])
        total[i] += gain * (both - total[i])
        spread = max(square[i] - half * total[i] * total[i], np.float32(0.0))
        state.correlation[i] = np.float32(1.0) - (difference[i] + floor) / (spread + floor)


@kernel
def _vertex(correlation: Any, middle: int, reach: int) -> float:
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
def _beat(state: Any) -> float:
    """Return the beat's length in frames, 0 where nothing repeats; sets `strength`.

    The shortest lag whose peak is nearly the highest wins, so one beat is one peak; the peaks at its multiples
    refine it.
    """
    r = state.correlation
    state.strength = np.float32(0.0)
    last = min(state.frames - _LEAST_FRAMES, _LONGEST)
    highest = np.float32(0.1)
    best = 0
    for attempt in range(2):
        lowest = np.float32(1.0)
        for lag in range(LAG_FIRST, last + 1):
            i = lag - LAG_FIRST
            lowest = min(lowest, r[i])
            if lag >= _SHORTEST and r[i] > r[i - 1] and r[i] >= r[i + 1]:
                peak = min(r[i], r[i] - lowest)  # a peak stands out from a valley before it
                if attempt == 0:
                    highest = max(highest, peak)
                elif peak >= np.float32(_NEARLY) * highest:
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
        refined = _vertex(r, lag, min(max(2, best // 5), LAG_FIRST + LAGS - 1 - lag)) / multiple
        if multiple == 1:
            beat = refined if refined > 0.0 else beat
        elif r[lag - LAG_FIRST] < np.float32(0.7) * top or abs(refined - beat) > 0.05 * beat:
            break
        else:
            beat = refined
        multiple += 1
    # Old enough to be believed: noise repeats itself by chance in short windows.
    heard = _ramp(np.float64(state.frames - best), 60.0, 110.0)
    state.strength = np.float32(min(max(np.float64(min(top, highest)), 0.0), 1.0) * heard)
    return beat


@kernel
def _lock(state: Any, omega: float) -> None:
    """Start the Kalman filter at this tempo (rad per frame), knowing the mean and nothing of the phase."""
    variance = state.variance + _FLOOR_MPS * _FLOOR_MPS
    for i in range(4):
        for j in range(4):
            state.covariance[i, j] = 0.0
    state.filter[0] = state.mean
    state.filter[1] = 0.0
    state.filter[2] = 0.0
    state.filter[3] = omega
    state.covariance[0, 0] = variance
    state.covariance[1, 1] = 4.0 * variance
    state.covariance[2, 2] = 4.0 * variance
    state.covariance[3, 3] = (0.02 * omega) ** 2
    state.error = variance
    state.locked = 1


@kernel
def _correct(x: Any, P: Any, h: Any, sensor: Any, error: float, noise: float) -> None:
    """Correct state `x` (4) and covariance `P` (4, 4) by a measurement `sensor` . x that was `error` off; `h` scratch.

    S = H P H' + R,  x <- x + P H' e / S,  P <- P - P H' H P / S; P stays symmetric. All float64.
    """
    seen = noise
    for i in range(4):
        h[i] = 0.0
        for j in range(4):
            h[i] += P[i, j] * sensor[j]
        seen += h[i] * sensor[i]
    for i in range(4):
        x[i] += h[i] * error / seen
        for j in range(4):
            P[i, j] -= h[i] * h[j] / seen


@kernel
def _follow(state: Any, energy: float, measured: bool, omega_lag: float) -> None:
    """Advance the Kalman filter by one frame; correct it by `energy` (m/s) where `measured`, and by the lag's omega.

    Predict: (p, q) turned by omega, P <- F P F' / lambda, F the derivative of the turn.
    """
    x, P = state.filter, state.covariance
    variance = state.variance + _FLOOR_MPS * _FLOOR_MPS
    c, s = math.cos(x[3]), math.sin(x[3])
    p = c * x[1] - s * x[2]
    q = s * x[1] + c * x[2]
    x[1], x[2] = p, q
    # F P, then (F P) F': rows and columns 1 and 2 turn, and lean on omega by d(p, q) / d omega = (-q, p).
    for j in range(4):
        one = c * P[1, j] - s * P[2, j] - q * P[3, j]
        two = s * P[1, j] + c * P[2, j] + p * P[3, j]
        P[1, j], P[2, j] = one, two
    for i in range(4):
        one = c * P[i, 1] - s * P[i, 2] - q * P[i, 3]
        two = s * P[i, 1] + c * P[i, 2] + p * P[i, 3]
        P[i, 1], P[i, 2] = one, two
    # Forgetting stops where nothing is left to forget, so that silence does not blow the covariance up.
    growth = 1.0 + 0.5 * _DT / _MEMORY_S
    g = growth if P[0, 0] + P[1, 1] + P[2, 2] < 4.0 * variance else 1.0
    h = growth if P[3, 3] < (0.03 * x[3]) ** 2 else 1.0
    for i in range(4):
        for j in range(4):
            P[i, j] *= (h if i == 3 else g) * (h if j == 3 else g)
    if measured:
        error = energy - x[0] - x[1]
        state.error += _ERROR * (error * error - state.error)
        _correct(x, P, state.scratch, _ENERGY, error, _NOISE_SHARE * variance)
        if omega_lag > 0.0:
            _correct(x, P, state.scratch, _OMEGA, omega_lag - x[3], (_LAG_SD * omega_lag) ** 2)
    healthy = True
    for i in range(4):
        if not (abs(x[i]) < 100.0 and P[i, i] >= 0.0):
            healthy = False
    if not healthy:
        state.locked = 0


@kernel
def step(state: Any, energy_mps: float, measured: bool) -> None:
    """Advance commitment, tempo and phase by one control frame (1/60 s).

    `state` is a COMMITMENT record, all zeros at the start; results are its first seven fields. `energy_mps`: RMS of the
    limbs' world-space speeds, m/s, any float; values that are not finite, negative, or above 10 m/s for fewer than
    four frames are replaced by the last good one and counted in `refused`. `measured` False says that no new real
    motion arrived: the energy is not looked at, the filter coasts, and after 250 ms c fades. No errors.
    Source: spec/equilibrium.md, "Commitment and tempo".
    """
    energy = state.energy
    if measured:
        if not (math.isfinite(energy_mps) and energy_mps >= 0.0):
            state.refused += 1
        elif energy_mps > ENERGY_LIMIT_MPS:
            state.glitches += 1
            if state.glitches < 4:
                state.refused += 1
            else:
                energy = ENERGY_LIMIT_MPS
        else:
            state.glitches = 0
            energy = energy_mps
        state.energy = energy
        state.missed = 0
        wake = False
        if state.begun == 0:  # the averages start where the body is, not at zero
            state.begun = 1
            state.fast = energy
            wake = True
        state.fast += _FAST * (energy - state.fast)
        if state.fast > QUIET_MPS:
            wake = state.awake == 0
            state.quiet = 0.0
        else:
            state.quiet += _DT
            if state.quiet > SLEEP_S:
                state.awake = 0
        if wake:
            state.awake = 1
            state.frames = 0
            state.locked = 0
            state.mean = energy
            state.variance = 0.0
        # Onset: how far the last 40 ms stand above the last 1.5 s.
        novelty = (state.fast - state.slow) / (state.slow + 0.15)
        onset = ONSET_CEILING * _ramp(novelty, 0.2, 0.6) * _ramp(state.fast, 0.08, 0.14)
        state.onset = max(onset, state.onset * (1.0 - _ONSET_RELEASE))
        state.slow += _SLOW * (energy - state.slow)
    else:
        state.missed += 1
        if state.missed > 4 * HOLD_FRAMES:
            state.awake = 0

    rhythm = 0.0
    explained = 0.0
    floor = _FLOOR_MPS * _FLOOR_MPS
    bpm = np.float64(state.internal_tempo_bpm)
    phase = np.float64(state.phase)
    if state.awake == 0:
        state.strength = np.float32(0.0)
        state.locked = 0
    elif state.missed <= HOLD_FRAMES:
        # A short hole in the stream is filled with the last energy, so that lags stay lags.
        state.frames += 1
        gain = max(_LAG, 1.0 / state.frames)
        away = energy - state.mean
        state.mean += gain * away
        state.variance += gain * ((1.0 - gain) * away * away - state.variance)
        _lags(state, np.float32(energy))
        beat = _beat(state)
        strength = np.float64(state.strength)
        omega_lag = 2.0 * math.pi / beat if beat > 0.0 else 0.0
        if strength > _LOCK and (state.locked == 0 or abs(state.filter[3] - omega_lag) > 0.06 * omega_lag):
            _lock(state, omega_lag)
        if state.locked == 1:
            _follow(state, energy, measured, omega_lag if strength > _LOCK else 0.0)
        if state.locked == 1:
            # A rhythm is forgotten when the next peak does not come.
            period = 2.0 * math.pi / max(state.filter[3], 0.01) * _DT
            late = max(period, 0.5)
            explained = 1.0 - (state.error + floor) / (state.variance + floor)
            rhythm = max(_ramp(strength, 0.35, 0.6), _ramp(explained, 0.2, 0.42)) * (
                1.0 - _ramp(state.quiet, late, late + 0.5)
            )
            bpm = 60.0 / period
            phase = math.atan2(state.filter[2], state.filter[1]) / (2.0 * math.pi)

    # The published tempo and phase follow the filter as far as it is believed, and run on without it.
    tempo = np.float64(state.internal_tempo_bpm)
    if rhythm > 0.5:
        if abs(bpm - tempo) > 0.08 * tempo:
            tempo = bpm
        else:
            tempo += _TEMPO * (bpm - tempo)
    turn = np.float64(state.phase) + tempo / 60.0 * _DT
    lag = phase - turn
    turn += _PHASE * rhythm * (lag - math.floor(lag + 0.5))
    turn32 = np.float32(turn - math.floor(turn))
    state.phase = turn32 if turn32 < np.float32(1.0) else np.float32(0.0)
    state.internal_tempo_bpm = np.float32(tempo)

    state.explained = np.float32(explained)
    c: float = np.float64(state.c)
    if state.missed == 0:
        target = max(rhythm, state.onset)
        c += (_C_UP if target > c else _C_DOWN) * (target - c)
    elif state.missed > HOLD_FRAMES:
        state.onset *= 1.0 - _ABSENT
        c -= _ABSENT * c
    state.c = np.float32(c)
    average = np.float64(state.slow_average)
    average += _C_AVERAGE * (c - average)
    state.slow_average = np.float32(average)
    state.transition_intensity = np.float32(max(c - average, 0.0))
