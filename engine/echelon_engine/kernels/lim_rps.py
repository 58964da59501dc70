"""LIM-RPS: the sensors' latents (96) to the one latent z (96) on which they agree.

A damped monotone step toward the sensors' encodings, contracting by construction: after k iterations the distance to
the unique fixed point is at most q^k / (1 - q) times the first step. Source: spec/equilibrium.md, "LIM-RPS".
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_engine._jit import kernel
from echelon_engine.kernels.dense import affine, clip, finite, padded, panels
from echelon_engine.kernels.finite import finite_number
from echelon_engine.simd import plain

LATENT, HIDDEN, SENSOR = 96, 128, 32
LIMBS, DEVICE = 216, 12
LIMIT = 10.0
CONVERGED = 0.01  # residual at which the equilibrium counts as found, and the engine stops iterating
FADE_FRAMES = 60  # an absent device's last value fades to 0 over 1 s

_f4 = np.float32

WEIGHTS = np.dtype(
    [
        ("W_1", _f4, panels(HIDDEN, LATENT)),
        ("W_2", _f4, panels(HIDDEN, HIDDEN)),
        ("W_3", _f4, panels(LATENT, HIDDEN)),
        ("b_1", _f4, (HIDDEN,)),
        ("b_2", _f4, (HIDDEN,)),
        ("E_body", _f4, panels(SENSOR, LIMBS)),
        ("E_left", _f4, panels(SENSOR, DEVICE)),
        ("E_right", _f4, panels(SENSOR, DEVICE)),
        ("P", _f4, (2, LATENT)),
        ("gamma", _f4),
        ("tau", _f4),
        ("rate", _f4),  # certified contraction factor q
        ("iterations", np.int64),
    ],
    align=True,
)

# All zeros is the start of the specification, with no device ever seen.
STATE = np.dtype(
    [
        ("z", _f4, (LATENT,)),
        ("operator", _f4, (LATENT,)),  # B(z), scratch
        ("first", _f4, (HIDDEN,)),  # scratch
        ("second", _f4, (HIDDEN,)),  # scratch
        ("zero", _f4, (LATENT,)),  # stays zero: the bias of a layer that has none
        ("limbs", _f4, (padded(LIMBS),)),  # last finite body
        ("device", _f4, (2, padded(DEVICE))),  # last finite value of the left and right device
        ("faded", _f4, (padded(DEVICE),)),  # scratch
        ("code", _f4, (SENSOR,)),  # scratch
        ("freshness", _f4, (2,)),  # left, right: 1 present, falling to 0 within a second of absence
        ("residual", _f4),  # L2 norm of the last step
        ("converged", np.int64),
        ("used", np.int64),  # iterations of the last frame
        ("resets", np.int64),  # times the state turned non-finite and restarted from zero
        ("refused", np.int64),  # non-finite inputs that were held at their last value
    ],
    align=True,
)


@kernel
def step(z: NDArray[_f4], state: Any, weights: Any, e: NDArray[_f4], stop: float) -> None:
    """Relax from the last frame's latent and write z; float32 (96,), within +-10, from encodings e (96,).

    Iterates until the residual is <= `stop`, at most `weights.iterations` times (below 0: always as many). Non-finite
    e holds everything and counts in `refused`; a non-finite state restarts from zero and counts in `resets`.
    """
    if not finite(plain(e)):
        state.refused += 1
        return
    inner, first, second = state.z, state.first, state.second
    limit, half_root = np.float32(LIMIT), np.float32(np.sqrt(0.5))
    step_size = (np.float32(1.0) - weights.tau) * weights.gamma
    residual = np.float32(0.0)
    used = 0
    # z <- clip((1 - tau)(z - gamma B(z)) + tau e, -10, 10),  B(z) = W_3 act(W_2 act(W_1 z + b_1) + b_2)
    while used < weights.iterations:
        affine(plain(first), plain(weights.W_1), plain(inner), plain(weights.b_1))
        for i in range(HIDDEN):
            first[i] = max(first[i], np.float32(0.0)) * half_root
        affine(plain(second), plain(weights.W_2), plain(first), plain(weights.b_2))
        for i in range(HIDDEN):
            second[i] = max(second[i], np.float32(0.0)) * half_root
        affine(plain(state.operator), plain(weights.W_3), plain(second), plain(state.zero))
        squared = np.float32(0.0)
        for i in range(LATENT):
            # The same as above less z, so that a small step is not the difference of two large numbers.
            move = weights.tau * (e[i] - inner[i]) - step_size * state.operator[i]
            new = clip(inner[i] + move, limit)
            move = new - inner[i] if abs(new) >= limit else move
            squared += move * move
            inner[i] = new
        residual = np.sqrt(squared)
        used += 1
        if residual <= stop:
            break
    if not finite_number(residual):
        for i in range(LATENT):
            inner[i] = np.float32(0.0)
        state.resets += 1
        return
    state.residual = residual
    state.converged = 1 if residual <= np.float32(CONVERGED) else 0
    state.used = used
    for i in range(LATENT):
        z[i] = inner[i]


@kernel
def encode(
    e: NDArray[_f4],
    state: Any,
    weights: Any,
    limbs: NDArray[_f4],
    left: NDArray[_f4],
    right: NDArray[_f4],
    left_fresh: bool,
    right_fresh: bool,
) -> None:
    """Write e = [E_body limbs; E_left left; E_right right]; float32 (96,) from (216,), (12,), (12,).

    A device that is not fresh contributes its last value, faded to 0 over one second; `state.freshness` says how far.
    Non-finite values are held at their last finite ones and count in `refused`.
    """
    if finite(plain(limbs)):
        for i in range(LIMBS):
            state.limbs[i] = limbs[i]
    else:
        state.refused += 1
    affine(plain(state.code), plain(weights.E_body), plain(state.limbs), plain(state.zero))
    for i in range(SENSOR):
        e[i] = state.code[i]
    for hand in range(2):
        value, fresh = (plain(left), left_fresh) if hand == 0 else (plain(right), right_fresh)
        if fresh and not finite(value):
            state.refused += 1
            fresh = False
        if fresh:
            for i in range(DEVICE):
                state.device[hand, i] = value[i]
            state.freshness[hand] = np.float32(1.0)
        else:
            state.freshness[hand] = max(state.freshness[hand] - np.float32(1.0 / FADE_FRAMES), np.float32(0.0))
        for i in range(DEVICE):
            state.faded[i] = state.freshness[hand] * state.device[hand, i]
        encoder = plain(weights.E_left) if hand == 0 else plain(weights.E_right)
        affine(plain(state.code), encoder, plain(state.faded), plain(state.zero))
        for i in range(SENSOR):
            e[SENSOR * (hand + 1) + i] = state.code[i]
