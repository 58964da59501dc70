"""LatentState: 25 numbers, 60 times a second, that say how the body moves; order: memory.LATENT_STATE_NAMES.

| part | definition |
|---|---|
| position, velocity, acceleration | P z (now), P v and P a (50 ms ago, dynamics.py) |
| micro_tension | RMS over z's 96 elements and 250 ms of z above 6 Hz (2nd-order Butterworth) |
| rotational_energy, kinetic_energy | mean over limbs of omega^2 / 2 and speed^2 / 2 |
| curvature | floored, V0 = 0.5 per second; its rate d/dt log(1 + curvature) through a 50 ms differentiator |
| grounding | mean of the share of kinetic energy below the pelvis, and of foot contact (a slow foot at floor height) |
| verticality | cosine between root -> head and up: 1 upright, 0 lying, -1 upside down |
| tension | leaky accumulator, 0.8 in seconds of wild motion, leaks in 3 s |
| coherence | mean cosine between the limbs' velocities and their mean; near 0 at rest |
| predicted | position + 250 ms velocity; its confidence judges the prediction made 250 ms ago |
| lr_pan (beside it) | (right - left) / (right + left) kinetic energy of arms and legs: -1 only the left side moves |

Ratios carry a floor, so that they rest at a neutral value instead of flickering when nothing moves.
Source: spec/equilibrium.md, "Dynamics and LatentState".
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_engine._jit import inlined, kernel
from echelon_engine.kernels import dynamics, periodicity
from echelon_engine.kernels.dense import finite
from echelon_engine.kernels.dynamics import DYNAMICS, Z, bend, gram
from echelon_engine.kernels.finite import finite_number
from echelon_engine.kernels.periodicity import PERIODICITY
from echelon_engine.memory import CONTROL_RATE_HZ, LATENT_STATE_NAMES, LIMBS

SIZE = len(LATENT_STATE_NAMES)
SPEED_FLOOR = 0.5  # V0 of the curvature, latent units per second
AHEAD_FRAMES = 15  # 250 ms
CONFIDENCE_SCALE = 0.25  # latent units: a prediction this far off is worth 1/e
BOUND = 1e4  # of every number here
MOVING_MPS = 0.05  # limb speed that counts as little: the floor of the ratios

LATENT = np.dtype(
    [
        ("lr_pan", np.float32),  # -1..1
        ("refused", np.int64),  # control frames with arguments that were not finite
        ("begun", np.int64),
        ("slot", np.int64),  # in the two rings of 250 ms
        ("dynamics", DYNAMICS),
        ("periodicity", PERIODICITY),
        ("z", np.float32, (Z,)),  # last good values
        ("speed", np.float32, (LIMBS, 3)),
        ("omega", np.float32, (LIMBS,)),
        ("position", np.float32, (LIMBS, 3)),
        ("origin", np.float32, (3,)),
        ("residual", np.float64),
        ("energy", np.float64),
        ("tempo_bpm", np.float64),
        ("phase", np.float64),
        ("high1", np.float32, (Z,)),  # the high-pass at 6 Hz
        ("high2", np.float32, (Z,)),
        ("micro", np.float64, (AHEAD_FRAMES,)),  # its mean squares
        ("predicted", np.float64, (AHEAD_FRAMES, 2)),
        ("log_curvature", np.float64),  # smoothed
        ("tension", np.float64),
        ("floor_m", np.float64),  # height of the ground, from the lowest foot
        ("floor_known", np.int64),
    ],
    align=True,
)

_DT = 1.0 / CONTROL_RATE_HZ
_NECK_HEAD = 10
_FEET = (21, 25)
_SIDE = np.zeros(LIMBS)  # -1 left, +1 right
_SIDE[11:15] = _SIDE[19:23] = -1.0
_SIDE[15:19] = _SIDE[23:27] = 1.0
_BELOW = np.zeros(LIMBS)
_BELOW[19:27] = 1.0
# Butterworth high-pass, 2nd order, bilinear transform: b = (g, -2g, g).
_W = math.tan(math.pi * 6.0 / CONTROL_RATE_HZ)
_A0 = 1.0 + math.sqrt(2.0) * _W + _W * _W
_B = np.float32(1.0 / _A0)
_A1 = np.float32(2.0 * (_W * _W - 1.0) / _A0)
_A2 = np.float32((1.0 - math.sqrt(2.0) * _W + _W * _W) / _A0)

_RATE_S = 0.05
_TENSION_UP_S, _TENSION_DOWN_S = 0.75, 3.0
# Where each drives the tension half as strongly as it can: about three times the median of a dancing body.
_CURVATURE_HALF, _ACCELERATION_HALF = 15.0, 50.0
_FLOOR_RISE_MPS = 0.02
_PAN_S = 0.15


@inlined
def _within(x: float, limit: float) -> float:
    return min(max(x, -limit), limit)


@kernel
def _accept(kept: NDArray[np.float32], given: NDArray[np.float32], limit: float) -> bool:
    """Copy a float32 vector within +-`limit` if every element is finite; else keep what was and say False."""
    good = finite(given)
    if good:
        bound = np.float32(limit)
        for i in range(kept.shape[0]):
            kept[i] = min(max(given[i], -bound), bound)
    return good


@kernel
def _accept_limbs(kept: NDArray[np.float32], given: NDArray[np.float32], limit: float) -> bool:
    """Do as `_accept` does, with a vector per limb: float32 (27, 3); one bad number refuses its limb alone."""
    bound = np.float32(limit)
    good = True
    for i in range(LIMBS):
        x, y, z = given[i, 0], given[i, 1], given[i, 2]
        if finite_number(x) and finite_number(y) and finite_number(z):
            kept[i, 0] = min(max(x, -bound), bound)
            kept[i, 1] = min(max(y, -bound), bound)
            kept[i, 2] = min(max(z, -bound), bound)
        else:
            good = False
    return good


@inlined
def _kept(value: float, last: float) -> float:
    return _within(value, BOUND) if finite_number(value) else last


@kernel
def _micro_tension(state: Any, z: NDArray[np.float32]) -> float:
    """Return the RMS of z (96, float32) above 6 Hz over the last 250 ms."""
    s1, s2 = state.high1, state.high2
    if state.begun == 0:
        for i in range(Z):  # at rest where the first z is
            s1[i] = -_B * z[i]
            s2[i] = _B * z[i]
    total = np.float32(0.0)
    for i in range(Z):
        high = _B * z[i] + s1[i]
        s1[i] = np.float32(-2.0) * _B * z[i] - _A1 * high + s2[i]
        s2[i] = _B * z[i] - _A2 * high
        total += high * high
    state.micro[state.slot] = total / Z
    mean = 0.0
    for k in range(AHEAD_FRAMES):
        mean += state.micro[k]
    return math.sqrt(mean / AHEAD_FRAMES)


@kernel
def _body(latent: NDArray[np.float32], state: Any) -> None:
    """Write the energies, grounding, verticality, coherence and lr_pan of the body in `state`."""
    speed, omega, position = state.speed, state.omega, state.position
    least = MOVING_MPS * MOVING_MPS
    mean_x = 0.0
    mean_y = 0.0
    mean_z = 0.0
    for i in range(LIMBS):
        mean_x += speed[i, 0] / LIMBS
        mean_y += speed[i, 1] / LIMBS
        mean_z += speed[i, 2] / LIMBS
    whole = math.sqrt(mean_x * mean_x + mean_y * mean_y + mean_z * mean_z)
    kinetic = 0.0
    rotational = 0.0
    below = 0.0
    sides = 0.0
    lean = 0.0
    cosines = 0.0
    for i in range(LIMBS):
        square = speed[i, 0] ** 2 + speed[i, 1] ** 2 + speed[i, 2] ** 2
        kinetic += square
        rotational += omega[i] ** 2
        below += _BELOW[i] * square
        lean += _SIDE[i] * square
        sides += abs(_SIDE[i]) * square
        along = speed[i, 0] * mean_x + speed[i, 1] * mean_y + speed[i, 2] * mean_z
        cosines += along / (math.sqrt(square) * whole + least)
    latent[8] = np.float32(0.5 * rotational / LIMBS)
    latent[9] = np.float32(0.5 * kinetic / LIMBS)
    latent[18] = np.float32(_within(cosines / LIMBS, 1.0))
    pan = lean / (sides + 8.0 * least)
    state.lr_pan += np.float32(_DT / _PAN_S * (pan - state.lr_pan))

    # The ground: where the lowest foot was, creeping up so that one wrong low frame is forgotten.
    lowest = min(position[_FEET[0], 1], position[_FEET[1], 1]) + state.origin[1]
    if state.floor_known == 0 or lowest < state.floor_m:
        state.floor_known = 1
        state.floor_m = float(lowest)
    else:
        state.floor_m += min(_FLOOR_RISE_MPS * _DT, lowest - state.floor_m)
    contact = 0.0
    for foot in _FEET:
        height = position[foot, 1] + state.origin[1] - state.floor_m
        pace = math.sqrt(speed[foot, 0] ** 2 + speed[foot, 1] ** 2 + speed[foot, 2] ** 2)
        low = _within((0.12 - height) / 0.08, 1.0)
        slow = _within((1.0 - pace) / 0.7, 1.0)
        contact = max(contact, max(low, 0.0) * max(slow, 0.0))
    latent[15] = np.float32(0.5 * (below / (kinetic + LIMBS * least) + contact))
    x, y, z = position[_NECK_HEAD, 0], position[_NECK_HEAD, 1], position[_NECK_HEAD, 2]
    latent[16] = np.float32(_within(y / (math.sqrt(x * x + y * y + z * z) + 1e-6), 1.0))


@kernel
def step(
    latent: NDArray[np.float32],
    state: Any,
    z: NDArray[np.float32],
    P: NDArray[np.float32],
    residual: float,
    converged: int,
    iterations: int,
    speed: NDArray[np.float32],
    omega: NDArray[np.float32],
    position: NDArray[np.float32],
    origin: NDArray[np.float32],
    present: bool,
    energy: float,
    tempo_bpm: float,
    phase: float,
) -> None:
    """Write LatentState (25, float32) of one control frame (1/60 s), and `state.lr_pan`.

    `state`: a LATENT record, all zeros at the start. z (96): LIM-RPS' latent, P (2, 96) its principal directions, then
    its residual, converged (0 or 1) and iterations. The body, float32: `speed` (27, 3) world velocities m/s, `omega`
    (27,) rad/s, `position` (27, 3) relative to the root and heading-free, m, `origin` (3,) of the root in the world, m;
    `present` False: its six numbers and lr_pan become 0. `energy` m/s; tempo (beats a minute) and phase [0, 1) of
    commitment.py. An argument with a value that is not finite is replaced by its last good value, and the frame
    counted in `refused`; every output is finite and within +-1e4. No errors.
    """
    good = _accept(state.z[:], z, 100.0)
    good &= _accept_limbs(state.speed[:], speed, 50.0)
    good &= _accept(state.omega[:], omega, 100.0)
    good &= _accept_limbs(state.position[:], position, 10.0)
    good &= _accept(state.origin[:], origin, 1000.0)
    good &= finite_number(residual) and finite_number(energy) and finite_number(tempo_bpm) and finite_number(phase)
    state.residual = _kept(residual, state.residual)
    state.energy = _kept(energy, state.energy)
    state.tempo_bpm = _kept(tempo_bpm, state.tempo_bpm)
    state.phase = _kept(phase, state.phase)
    if not good:
        state.refused += 1

    dynamics.differentiate(state.dynamics, state.z[:])
    v, a = state.dynamics.velocity[:], state.dynamics.acceleration[:]
    norm = 0.0
    for i in range(Z):
        norm += state.z[i] * state.z[i]
    for row in range(2):
        now = 0.0
        first = 0.0
        second = 0.0
        for i in range(Z):
            now += P[row, i] * state.z[i]
            first += P[row, i] * v[i]
            second += P[row, i] * a[i]
        latent[row] = np.float32(now)
        latent[2 + row] = np.float32(first)
        latent[4 + row] = np.float32(second)
    latent[6] = np.float32(math.sqrt(norm))
    latent[7] = np.float32(_micro_tension(state, state.z[:]))

    vv, aa, va = gram(v, a)
    curved = bend(vv, aa, va, SPEED_FLOOR)
    level = math.log1p(curved)
    if state.begun == 0:
        state.log_curvature = level
    rate = (level - state.log_curvature) / _RATE_S
    state.log_curvature += _DT / _RATE_S * (level - state.log_curvature)
    latent[10] = np.float32(min(curved, BOUND))
    latent[11] = np.float32(rate)
    # Tension: curvature (of a motion worth the name) and acceleration drive it by half each; at rest neither does.
    bent = curved * curved
    drive = 0.5 * bent / (bent + _CURVATURE_HALF**2) * vv / (vv + SPEED_FLOOR**2)
    drive += 0.5 * aa / (aa + _ACCELERATION_HALF**2)
    state.tension += _DT * (drive * (1.0 - state.tension) / _TENSION_UP_S - state.tension / _TENSION_DOWN_S)
    latent[17] = np.float32(state.tension)

    periodicity.step(state.periodicity, _within(max(state.energy, 0.0), 10.0))
    latent[12] = state.periodicity.strength
    latent[13] = np.float32(state.tempo_bpm)
    latent[14] = np.float32(state.phase)
    if present:
        _body(latent, state)
    else:
        for i in (8, 9, 15, 16, 18):
            latent[i] = np.float32(0.0)
        state.lr_pan *= np.float32(1.0 - _DT / _PAN_S)
        state.floor_known = 0

    # confidence = exp(-error^2 / scale^2) of what was predicted for now; before that the body counts as at rest.
    if state.begun == 0:
        for k in range(AHEAD_FRAMES):
            state.predicted[k, 0] = latent[0]
            state.predicted[k, 1] = latent[1]
    missed = (latent[0] - state.predicted[state.slot, 0]) ** 2 + (latent[1] - state.predicted[state.slot, 1]) ** 2
    latent[21] = np.float32(math.exp(-missed / CONFIDENCE_SCALE**2))
    for row in range(2):
        ahead = latent[row] + AHEAD_FRAMES * _DT * latent[2 + row]
        state.predicted[state.slot, row] = ahead
        latent[19 + row] = np.float32(ahead)
    latent[22] = np.float32(state.residual)
    latent[23] = np.float32(1.0 if converged else 0.0)
    latent[24] = np.float32(iterations)
    state.slot = (state.slot + 1) % AHEAD_FRAMES
    state.begun = 1
    for i in range(SIZE):
        value = np.float64(latent[i])
        latent[i] = np.float32(_within(value, BOUND) if finite_number(value) else 0.0)
