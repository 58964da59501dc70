"""Velocity, acceleration and curvature of the body's latent z (96), by a differentiating filter of known delay.

A parabola is fitted to the last seven frames (Savitzky & Golay 1964) and read at its middle, so v and a are those of
DELAY_FRAMES = 3 control frames (50 ms) ago: exact for a parabola, free of drift, and nothing lasts longer than 117 ms.
Source: spec/equilibrium.md, "Dynamics and LatentState".
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_engine._jit import inlined, kernel
from echelon_engine.memory import CONTROL_RATE_HZ

Z = 96
TAPS = 7
DELAY_FRAMES = 3

DYNAMICS = np.dtype(
    [
        ("velocity", np.float32, (Z,)),  # per second
        ("acceleration", np.float32, (Z,)),  # per second squared
        ("begun", np.int64),
        ("newest", np.int64),  # row of the newest z
        ("history", np.float32, (TAPS, Z)),
    ],
    align=True,
)

# Oldest first. v = sum k z_k / 28, a = sum (k^2 - 4) z_k / 42, k = -3 .. 3, per frame.
_K = np.arange(-3.0, 4.0)
_VELOCITY = (_K / 28.0 * CONTROL_RATE_HZ).astype(np.float32)
_ACCELERATION = ((_K * _K - 4.0) / 42.0 * CONTROL_RATE_HZ**2).astype(np.float32)


@kernel
def differentiate(state: Any, z: NDArray[np.float32]) -> None:
    """Take z (96, float32, finite) of this control frame and renew `velocity` and `acceleration` of 3 frames ago.

    `state` is a DYNAMICS record, all zeros at the start; the first z is taken to have been there for ever.
    """
    v, a = state.velocity, state.acceleration
    repeats = 1
    if state.begun == 0:
        state.begun = 1
        repeats = TAPS
    for _ in range(repeats):
        state.newest = (state.newest + 1) % TAPS
        row = state.history[state.newest]
        for i in range(Z):
            row[i] = z[i]
    for i in range(Z):
        v[i] = np.float32(0.0)
        a[i] = np.float32(0.0)
    for tap in range(TAPS):
        row = state.history[(state.newest + 1 + tap) % TAPS]
        first, second = _VELOCITY[tap], _ACCELERATION[tap]
        for i in range(Z):
            v[i] += first * row[i]
            a[i] += second * row[i]


@inlined
def gram(v: NDArray[np.float32], a: NDArray[np.float32]) -> tuple[float, float, float]:
    """Return |v|^2, |a|^2 and v . a in float64; v and a are float arrays of one shape (n,)."""
    vv = 0.0
    aa = 0.0
    va = 0.0
    for i in range(v.shape[0]):
        vi, ai = np.float64(v[i]), np.float64(a[i])
        vv += vi * vi
        aa += ai * ai
        va += vi * ai
    return vv, aa, va


@inlined
def bend(vv: float, aa: float, va: float, floor: float) -> float:
    """Return sqrt(|v|^2 |a|^2 - (v.a)^2) / (|v|^2 + floor^2)^1.5, 0 where the denominator is 0."""
    below = vv + floor * floor
    below *= np.sqrt(below)
    if below <= 0.0:  # also where the speed is so small that its cube is 0
        return 0.0
    return float(np.sqrt(max(vv * aa - va * va, 0.0)) / below)


@kernel
def curvature(v: NDArray[np.float32], a: NDArray[np.float32]) -> float:
    """Return the curvature |v x a| / |v|^3 in any dimension, in its Gram form; float arrays (n,), 0 at v = 0.

    Source: spec/README.md, the table of contradictions; spec/equilibrium.md.
    """
    vv, aa, va = gram(v, a)
    return bend(vv, aa, va, 0.0)
