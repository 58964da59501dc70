"""DELL coupled: 27 limbs of 8 numbers to the latent z (32) that conductor and diffusion read.

A fast equilibrium is relaxed four steps a frame, a slow one six steps at each boundary, and each drives the other.
Source: spec/equilibrium.md, "DELL coupled"; contraction is certified when the weights are loaded.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_engine._jit import kernel
from echelon_engine.kernels.dense import affine, finite, padded, panels, tanh
from echelon_engine.simd import plain

INPUTS, HIDDEN, LATENT = 216, 128, 32
BOUNDARY_FRAMES = 24  # a boundary after frames 23, 47 .. unless the beat decides

_f4 = np.float32

WEIGHTS = np.dtype(
    [
        ("W_in", _f4, panels(HIDDEN, INPUTS)),
        ("W_rec", _f4, panels(HIDDEN, HIDDEN)),
        ("W_lift", _f4, panels(HIDDEN, LATENT)),
        ("W_out", _f4, panels(LATENT, HIDDEN)),
        ("W_slow", _f4, panels(LATENT, LATENT)),
        ("U_slow", _f4, panels(LATENT, LATENT)),
        ("b_fast", _f4, (HIDDEN,)),
        ("b_slow", _f4, (LATENT,)),
        ("slow_to_fast", _f4),  # 0.3
        ("fast_to_slow", _f4),  # 0.5
        ("mix", _f4),  # z = mix x_fast + (1 - mix) y_slow
        ("k_fast", np.int64),
        ("k_slow", np.int64),
    ],
    align=True,
)

# All zeros is the start of the specification.
STATE = np.dtype(
    [
        ("limbs", _f4, (padded(INPUTS),)),  # scratch
        ("drive", _f4, (HIDDEN,)),  # scratch
        ("h", _f4, (HIDDEN,)),
        ("fresh", _f4, (HIDDEN,)),  # scratch
        ("x_fast", _f4, (LATENT,)),
        ("y_slow", _f4, (LATENT,)),
        ("lifted", _f4, (LATENT,)),  # scratch
        ("pulled", _f4, (LATENT,)),  # scratch
        ("total", _f4, (LATENT,)),  # sum of x_fast since the last boundary
        ("zero", _f4, (LATENT,)),  # stays zero: the bias of a layer that has none
        ("count", np.int64),  # frames since the last boundary
        ("resets", np.int64),  # times the state turned non-finite and restarted from zero
        ("refused", np.int64),  # frames whose input was not finite: everything held
    ],
    align=True,
)


@kernel
def step(z: NDArray[_f4], state: Any, weights: Any, limbs: NDArray[_f4], boundary: bool) -> None:
    """Advance one control frame and write z; float32 (32,), |z| <= mix |x_fast| + (1 - mix), from limbs (216,).

    `boundary`: run the slow solver after this frame (frames 23, 47 .. or the beats of the musical clock). Non-finite
    input holds everything and counts in `refused`; a non-finite state restarts from zero and counts in `resets`.
    """
    if not finite(plain(limbs)):
        state.refused += 1
        return
    h, x_fast, y_slow, total = state.h, state.x_fast, state.y_slow, state.total
    for i in range(INPUTS):
        state.limbs[i] = limbs[i]
    # drive = W_in limbs + b_fast + 0.3 W_lift y_slow
    for i in range(LATENT):
        state.lifted[i] = weights.slow_to_fast * y_slow[i]
    affine(plain(state.drive), plain(weights.W_lift), plain(state.lifted), plain(weights.b_fast))
    affine(plain(state.drive), plain(weights.W_in), plain(state.limbs), plain(state.drive))
    # h <- tanh(drive + W_rec h)
    for _ in range(weights.k_fast):
        affine(plain(state.fresh), plain(weights.W_rec), plain(h), plain(state.drive))
        for i in range(HIDDEN):
            h[i] = tanh(state.fresh[i])
    affine(plain(x_fast), plain(weights.W_out), plain(h), plain(state.zero))
    for i in range(LATENT):
        total[i] += x_fast[i]
    state.count += 1

    if boundary:
        # s = W_slow (0.5 mean(x_fast since the last boundary)) + b_slow;   y_slow <- tanh(s + U_slow y_slow)
        scale = weights.fast_to_slow / np.float32(state.count)
        for i in range(LATENT):
            state.lifted[i] = scale * total[i]
            total[i] = np.float32(0.0)
        state.count = 0
        affine(plain(state.pulled), plain(weights.W_slow), plain(state.lifted), plain(weights.b_slow))
        for _ in range(weights.k_slow):
            affine(plain(state.lifted), plain(weights.U_slow), plain(y_slow), plain(state.pulled))
            for i in range(LATENT):
                y_slow[i] = tanh(state.lifted[i])

    if not (finite(plain(h)) and finite(plain(x_fast)) and finite(plain(y_slow)) and finite(plain(total))):
        for i in range(HIDDEN):
            h[i] = np.float32(0.0)
        for i in range(LATENT):
            x_fast[i] = y_slow[i] = total[i] = np.float32(0.0)
        state.count = 0
        state.resets += 1
        return
    for i in range(LATENT):
        z[i] = weights.mix * x_fast[i] + (np.float32(1.0) - weights.mix) * y_slow[i]


@kernel
def coherence(state: Any) -> float:
    """Return the cosine between x_fast and y_slow, -1..1; 0 while either is still zero."""
    dot, fast, slow = np.float32(0.0), np.float32(0.0), np.float32(0.0)
    for i in range(LATENT):
        dot += state.x_fast[i] * state.y_slow[i]
        fast += state.x_fast[i] * state.x_fast[i]
        slow += state.y_slow[i] * state.y_slow[i]
    scale = np.sqrt(np.float64(fast) * np.float64(slow))
    return np.float64(dot) / scale if scale > 1e-12 else 0.0
