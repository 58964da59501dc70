"""Commitment and tempo of a body, from its motion energy: lag evidence, an extended Kalman filter, an onset follower.

    energy(t) = mean + amplitude cos(phase(t)),   one beat = one peak of energy (phase 0)

1. Lag evidence (beat.py) finds the tempo for any wave shape.
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

from echelon_engine._jit import kernel
from echelon_engine.kernels import beat
from echelon_engine.kernels.beat import BEAT, FLOOR_MPS, ramp
from echelon_engine.kernels.finite import finite_number
from echelon_engine.memory import CONTROL_RATE_HZ

SLOW_AVERAGE_S = 2.0  # of c: eight times the 250 ms of a spike, shorter than a phrase
ENERGY_LIMIT_MPS = 10.0  # RMS over all limbs; nobody moves the whole body faster
QUIET_MPS = 0.06  # between the machine's "still" (0.03) and "resume" (0.08)
SLEEP_S = 2.0  # quiet for longer: the next motion is a new beginning
HOLD_FRAMES = 15  # without measurements: c holds this long, then fades
ONSET_CEILING = 0.55

COMMITMENT = np.dtype(
    [
        ("c", np.float32),  # commitment 0..1
        ("slow_average", np.float32),  # of c, time constant SLOW_AVERAGE_S
        ("transition_intensity", np.float32),  # positive part of c - slow_average
        ("internal_tempo_bpm", np.float32),  # 0 until the first rhythm is heard, then held
        ("phase", np.float32),  # [0, 1), 0 at the peak of energy
        ("explained", np.float32),  # share of the energy's variance that the filter predicts, at most 1
        ("refused", np.int64),  # energies that were not finite, negative or beyond ENERGY_LIMIT_MPS for a moment
        ("begun", np.int64),
        ("awake", np.int64),
        ("locked", np.int64),  # the Kalman filter runs
        ("missed", np.int64),  # control frames since the last measurement
        ("glitches", np.int64),  # refused in a row
        ("quiet", np.float64),  # seconds since energy was above QUIET_MPS
        ("energy", np.float64),  # last good value
        ("fast", np.float64),  # energy over 40 ms
        ("slow", np.float64),  # energy over 1.5 s
        ("onset", np.float64),
        ("beat", BEAT),
        ("filter", np.float64, (4,)),  # mean, p, q, omega (rad per frame)
        ("covariance", np.float64, (4, 4)),
        ("scratch", np.float64, (4,)),
        ("error", np.float64),  # mean squared prediction error of the filter
    ],
    align=True,
)

_DT = 1.0 / CONTROL_RATE_HZ


def _gain(seconds: float) -> float:
    """Return the per-frame gain of a one-pole smoother with this time constant."""
    return 1.0 - math.exp(-_DT / seconds)


_FAST, _SLOW, _ONSET_RELEASE = _gain(0.04), _gain(1.5), _gain(0.6)
_ERROR = _gain(1.0)
_C_UP, _C_DOWN, _C_AVERAGE = _gain(0.04), _gain(0.25), _gain(SLOW_AVERAGE_S)
_ABSENT = _gain(0.5)
_TEMPO = _gain(0.25)
_PHASE = 0.15
_LOCK = 0.2  # strength from which the Kalman filter starts and listens to the lags
_MEMORY_S = 0.7  # of the Kalman filter
_ENERGY = np.array([1.0, 1.0, 0.0, 0.0])  # what the two sensors see of (mean, p, q, omega)
_OMEGA = np.array([0.0, 0.0, 0.0, 1.0])
_LAG_SD = 0.01  # standard deviation of the lags' tempo
_NOISE_SHARE = 0.2  # measurement variance as a share of the energy's variance


@kernel
def _lock(state: Any, omega: float) -> None:
    """Start the Kalman filter at this tempo (rad per frame), knowing the mean and nothing of the phase."""
    variance = state.beat.variance + FLOOR_MPS * FLOOR_MPS
    for i in range(4):
        for j in range(4):
            state.covariance[i, j] = 0.0
    state.filter[0] = state.beat.mean
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
    variance = state.beat.variance + FLOOR_MPS * FLOOR_MPS
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

    `state` is a COMMITMENT record, all zeros at the start; results are its first six fields. `energy_mps`: RMS of the
    limbs' world-space speeds, m/s, any float; values that are not finite, negative, or above 10 m/s for fewer than
    four frames are replaced by the last good one and counted in `refused`. `measured` False says that no new real
    motion arrived: the energy is not looked at, the filter coasts, and after 250 ms c fades. No errors.
    Source: spec/equilibrium.md, "Commitment and tempo".
    """
    energy = state.energy
    if measured:
        if not (finite_number(energy_mps) and energy_mps >= 0.0):
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
            state.locked = 0
            beat.begin(state.beat, energy)
        # Onset: how far the last 40 ms stand above the last 1.5 s.
        novelty = (state.fast - state.slow) / (state.slow + 0.15)
        onset = ONSET_CEILING * ramp(novelty, 0.2, 0.6) * ramp(state.fast, 0.08, 0.14)
        state.onset = max(onset, state.onset * (1.0 - _ONSET_RELEASE))
        state.slow += _SLOW * (energy - state.slow)
    else:
        state.missed += 1
        if state.missed > 4 * HOLD_FRAMES:
            state.awake = 0

    rhythm = 0.0
    explained = 0.0
    floor = FLOOR_MPS * FLOOR_MPS
    bpm: float = np.float64(state.internal_tempo_bpm)
    phase: float = np.float64(state.phase)
    if state.awake == 0:
        state.locked = 0
    elif state.missed <= HOLD_FRAMES:
        # A short hole in the stream is filled with the last energy, so that lags stay lags.
        beat.put(state.beat, energy)
        frames = beat.find(state.beat)
        strength = np.float64(state.beat.strength)
        omega_lag = 2.0 * math.pi / frames if frames > 0.0 else 0.0
        if strength > _LOCK and (state.locked == 0 or abs(state.filter[3] - omega_lag) > 0.06 * omega_lag):
            _lock(state, omega_lag)
        if state.locked == 1:
            _follow(state, energy, measured, omega_lag if strength > _LOCK else 0.0)
        if state.locked == 1:
            # A rhythm is forgotten when the next peak does not come.
            period = 2.0 * math.pi / max(state.filter[3], 0.01) * _DT
            late = max(period, 0.5)
            explained = 1.0 - (state.error + floor) / (state.beat.variance + floor)
            rhythm = max(ramp(strength, 0.35, 0.6), ramp(explained, 0.2, 0.42)) * (
                1.0 - ramp(state.quiet, late, late + 0.5)
            )
            bpm = 60.0 / period
            phase = math.atan2(state.filter[2], state.filter[1]) / (2.0 * math.pi)

    # The published tempo and phase follow the filter as far as it is believed, and run on without it.
    tempo: float = np.float64(state.internal_tempo_bpm)
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
