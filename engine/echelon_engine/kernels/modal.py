"""Modal bank: 32 decaying rotations side by side, from stiff string to bar."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_engine._jit import inlined, kernel
from echelon_engine.kernels.envelope import LOG_1000

MODES = 32
_PER_MODE = (np.float32, (MODES,))

MODAL = np.dtype(
    [
        ("re", *_PER_MODE),  # state: a phasor per mode
        ("im", *_PER_MODE),
        ("c", *_PER_MODE),  # its step: r cos(theta), r sin(theta)
        ("s", *_PER_MODE),
        ("b", *_PER_MODE),  # how much of the input enters
        ("wc", *_PER_MODE),  # how the step itself turns while ramping
        ("ws", *_PER_MODE),
        ("db", *_PER_MODE),
        ("c_end", *_PER_MODE),
        ("s_end", *_PER_MODE),
        ("b_end", *_PER_MODE),
        ("theta", np.float64, (MODES,)),  # radians per sample at the end of the ramp
        ("decay", np.float64, (MODES,)),  # nepers per sample at the end of the ramp
        ("theta_step", np.float64, (MODES,)),  # per sample while ramping
        ("decay_step", np.float64, (MODES,)),
        ("left", np.int64),  # samples of the ramp still to go
    ],
    align=True,
)


@inlined
def stiffness(structure: Any) -> Any:
    """Return the inharmonicity B of a body: 0 at structure 0 (string), 1 at structure 1 (bar)."""
    return structure * structure * structure * (0.1 + 0.9 * structure * structure)


@inlined
def decay_slope(brightness: Any) -> Any:
    """Return q in decay(f) = decay(f0) (f / f0)^q: 1.8 for brightness 0, 0.05 for 1."""
    return 0.05 + 1.75 * (1.0 - brightness)


@kernel
def tune(
    bank: Any,
    shape: NDArray[np.float32],
    fundamental_hz: float,
    structure: float,
    t60_s: float,
    brightness: float,
    rate_hz: float,
    frames: int,
) -> None:
    """Head for a new body within `frames` samples (0: be there at once).

    `shape` float32 (32,): input weight of each mode (strike position); modes above 0.45 of the rate get none.
    `t60_s` is the decay by 60 dB of the first mode; `structure` and `brightness` 0..1.
    Stiff string or bar (Fletcher & Rossing 1998; Bilbao 2009, ch. 7), scaled so that the first mode stays in tune:
    f_k = f_1 k sqrt((1 + B k^2) / (1 + B)), from harmonic (B = 0) towards a bar's k^2.
    Decay grows as a power of frequency: decay_k = ln(1000) / (t60 rate) (f_k / f_1)^q.
    While it ramps the step of a mode turns by a constant each sample, so frequency and log decay move linearly.
    """
    stiff = stiffness(structure)
    slope = 0.5 * decay_slope(brightness)
    first = 2.0 * math.pi * fundamental_hz / rate_hz
    slowest = LOG_1000 / (max(t60_s, 1e-3) * rate_hz)
    for k in range(MODES):
        n2 = (k + 1.0) * (k + 1.0)
        ratio2 = n2 * (1.0 + stiff * n2) / (1.0 + stiff)
        theta = first * math.sqrt(ratio2)
        weight = float(shape[k])
        if theta > 0.9 * math.pi:
            weight = 0.0
            theta = 0.9 * math.pi
        decay = min(slowest * math.exp(slope * math.log(ratio2)), 1.0)
        radius = math.exp(-decay)
        bank.c_end[k] = radius * math.cos(theta)
        bank.s_end[k] = radius * math.sin(theta)
        bank.b_end[k] = weight
        if frames > 0:
            # from where the step is now, `left` steps before the end of the ramp under way
            bank.theta_step[k] = (theta - bank.theta[k] + bank.left * bank.theta_step[k]) / frames
            bank.decay_step[k] = (decay - bank.decay[k] + bank.left * bank.decay_step[k]) / frames
            grow = math.exp(-bank.decay_step[k])
            bank.wc[k] = grow * math.cos(bank.theta_step[k])
            bank.ws[k] = grow * math.sin(bank.theta_step[k])
            bank.db[k] = (weight - bank.b[k]) / frames
        else:
            bank.c[k] = bank.c_end[k]
            bank.s[k] = bank.s_end[k]
            bank.b[k] = weight
        bank.theta[k] = theta
        bank.decay[k] = decay
    bank.left = frames


@kernel
def clear(bank: Any) -> None:
    """Silence every mode."""
    for k in range(MODES):
        bank.re[k] = 0.0
        bank.im[k] = 0.0


@inlined
def step(bank: Any, x: Any) -> Any:
    """Feed one float32 sample to all modes; return the sum of their displacements, float32.

    z_k <- r e^{j theta} z_k + b_k x, output sum of Im z_k (modal synthesis: Adrien 1991): a blow starts without a jump,
    and a change of the step moves neither amplitude nor phase. The loops run over the modes, so they vectorise.
    """
    total = np.float32(0.0)
    for k in range(MODES):
        re = bank.c[k] * bank.re[k] - bank.s[k] * bank.im[k] + bank.b[k] * x
        im = bank.s[k] * bank.re[k] + bank.c[k] * bank.im[k]
        bank.re[k] = re
        bank.im[k] = im
        total += im
    if bank.left > 0:
        for k in range(MODES):
            c = bank.c[k] * bank.wc[k] - bank.s[k] * bank.ws[k]
            s = bank.c[k] * bank.ws[k] + bank.s[k] * bank.wc[k]
            bank.c[k] = c
            bank.s[k] = s
            bank.b[k] += bank.db[k]
        bank.left -= 1
        if bank.left == 0:
            for k in range(MODES):
                bank.c[k] = bank.c_end[k]
                bank.s[k] = bank.s_end[k]
                bank.b[k] = bank.b_end[k]
    return total


@kernel
def render(out: NDArray[np.float32], bank: Any, x: NDArray[np.float32]) -> None:
    """Write the response of the bank to `x` (float32) to `out` (float32, same length)."""
    for i in range(out.shape[0]):
        out[i] = step(bank, x[i])
