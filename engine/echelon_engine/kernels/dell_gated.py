"""DELL gated: motion state and commitment to the 32 numbers behind the instrument's parameters.

A fast network answers every frame, a slow one is asked every `slow_every` frames and approached in between; a gate
mixes them. Source: spec/equilibrium.md, "DELL gated". Nothing contracts by construction, so states are clipped to +-10.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_engine._jit import kernel
from echelon_engine.kernels.dense import affine, clip, finite, padded, panels, sigmoid
from echelon_engine.kernels.finite import finite_number
from echelon_engine.simd import plain

INPUTS, WIDTH, HIDDEN, OUTPUTS = 6, 128, 256, 32
LIMIT = 10.0
_JOINED = padded(INPUTS + 1 + WIDTH)  # [x; c; z], 135 padded to 136

_f4 = np.float32

# Matrices are panels, packed from the transpose of the file; see dense.py.
WEIGHTS = np.dtype(
    [
        ("W_f1", _f4, panels(HIDDEN, _JOINED)),  # columns x c z
        ("W_f2", _f4, panels(WIDTH, HIDDEN)),
        ("W_g", _f4, panels(WIDTH, 2 * WIDTH)),  # columns h_fast h_slow
        ("W_y", _f4, panels(OUTPUTS, WIDTH + 1)),  # columns z c
        ("W_s1", _f4, panels(HIDDEN, _JOINED)),
        ("W_s2", _f4, panels(WIDTH, HIDDEN)),
        ("b_f1", _f4, (HIDDEN,)),
        ("b_f2", _f4, (WIDTH,)),
        ("b_g", _f4, (WIDTH,)),
        ("b_y", _f4, (OUTPUTS,)),
        ("b_s1", _f4, (HIDDEN,)),
        ("b_s2", _f4, (WIDTH,)),
        ("a_fast", _f4),  # dt / tau_fast
        ("a_slow", _f4),  # dt / tau_slow
        ("slow_every", np.int64),  # frames between two evaluations of the slow network
    ],
    align=True,
)

# All zeros is the start of the specification.
STATE = np.dtype(
    [
        ("joined", _f4, (_JOINED,)),  # [x; c; z], scratch
        ("hidden", _f4, (HIDDEN,)),  # scratch
        ("pair", _f4, (2 * WIDTH,)),  # [h_fast; h_slow] as the gate reads them
        ("fresh", _f4, (WIDTH,)),  # output of the fast network, scratch
        ("target", _f4, (WIDTH,)),
        ("gate", _f4, (WIDTH,)),  # g of the last frame
        ("z", _f4, (WIDTH,)),
        ("readout", _f4, (padded(WIDTH + 1),)),  # [z; c], scratch
        ("y", _f4, (OUTPUTS,)),
        ("gate_mean", _f4),
        ("frame", np.int64),
        ("clipped", np.int64),  # frames in which some state sat on the clip
        ("resets", np.int64),  # times the state turned non-finite and restarted from zero
        ("refused", np.int64),  # frames whose input was not finite: everything held
    ],
    align=True,
)


@kernel
def step(y: NDArray[_f4], state: Any, weights: Any, x: NDArray[_f4], c: float, bias: float) -> None:
    """Advance one control frame and write y; float32 (32,), unbounded, from x (6,) and c, bias in 0..1.

    `bias` is the state machine's pull of the gate toward the fast network. Non-finite input holds everything
    and counts in `refused`; a non-finite state restarts from zero, counts in `resets` and leaves y as it was.
    """
    commitment, pull = np.float32(c), np.float32(bias)
    if not (finite(plain(x)) and finite_number(commitment) and finite_number(pull)):
        state.refused += 1
        return
    limit = np.float32(LIMIT)
    joined, hidden, pair, z = state.joined, state.hidden, state.pair, state.z
    for i in range(INPUTS):
        joined[i] = x[i]
    joined[INPUTS] = commitment
    for i in range(WIDTH):
        joined[INPUTS + 1 + i] = z[i]

    # target <- relu(u W_s1 + b_s1) W_s2 + b_s2   at frames 0, slow_every, 2 slow_every ..
    if state.frame % weights.slow_every == 0:
        affine(plain(hidden), plain(weights.W_s1), plain(joined), plain(weights.b_s1))
        for i in range(HIDDEN):
            hidden[i] = np.float32(0.0) if hidden[i] < np.float32(0.0) else hidden[i]  # NaN stays NaN
        affine(plain(state.target), plain(weights.W_s2), plain(hidden), plain(weights.b_s2))

    # h_fast <- (1 - a_F) h_fast + a_F (relu(u W_f1 + b_f1) W_f2 + b_f2);  h_slow <- (1 - a_S) h_slow + a_S target
    affine(plain(hidden), plain(weights.W_f1), plain(joined), plain(weights.b_f1))
    for i in range(HIDDEN):
        hidden[i] = np.float32(0.0) if hidden[i] < np.float32(0.0) else hidden[i]  # NaN stays NaN
    affine(plain(state.fresh), plain(weights.W_f2), plain(hidden), plain(weights.b_f2))
    a_fast, a_slow, one = weights.a_fast, weights.a_slow, np.float32(1.0)
    for i in range(WIDTH):
        pair[i] = clip((one - a_fast) * pair[i] + a_fast * state.fresh[i], limit)
        pair[WIDTH + i] = clip((one - a_slow) * pair[WIDTH + i] + a_slow * state.target[i], limit)

    # g = sigmoid([h_fast; h_slow] W_g + b_g);  g <- b + (1 - b) g;  z = g h_fast + (1 - g) h_slow
    gate = state.gate
    affine(plain(gate), plain(weights.W_g), plain(pair), plain(weights.b_g))
    check, opened = np.float32(0.0), np.float32(0.0)
    pinned = 0
    for i in range(WIDTH):
        g = pull + (one - pull) * sigmoid(gate[i])
        gate[i] = g
        z[i] = clip(g * pair[i] + (one - g) * pair[WIDTH + i], limit)
        opened += g
        check += np.float32(0.0) * (z[i] + pair[i] + pair[WIDTH + i] + state.target[i])
        pinned += int(abs(pair[i]) >= limit) + int(abs(pair[WIDTH + i]) >= limit)
    if check != np.float32(0.0):
        for i in range(WIDTH):
            pair[i] = pair[WIDTH + i] = z[i] = gate[i] = state.target[i] = np.float32(0.0)
        state.frame = 0
        state.resets += 1
        return
    state.gate_mean = opened / np.float32(WIDTH)
    if pinned > 0:
        state.clipped += 1

    # y = [z; c] W_y + b_y
    readout = state.readout
    for i in range(WIDTH):
        readout[i] = z[i]
    readout[WIDTH] = commitment
    affine(plain(state.y), plain(weights.W_y), plain(readout), plain(weights.b_y))
    for i in range(OUTPUTS):
        y[i] = state.y[i]
    state.frame += 1
