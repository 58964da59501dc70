"""Two parallel modulator -> carrier pairs of phase modulation, at twice the rate, then a half-band decimator."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_engine._jit import kernel
from echelon_engine.kernels.sine import sine

SEGMENT = 64  # samples rendered at a time, at most
TAPS = 40  # of the decimator, on the even and as many on the odd half samples


def decimator() -> NDArray[np.float32]:
    """Return a lowpass of 80 taps at the double rate as its even and odd taps, turned round, float32 (2, 40).

    Sinc under a Kaiser window (beta 6.2: -65 dB): flat to 0.4 of the rate, stopped from 0.5 on, so nothing folds.
    """
    n = np.arange(2 * TAPS, dtype=np.float64) - (TAPS - 0.5)
    taps = np.sinc(0.45 * n) * np.kaiser(n.size, 6.2)
    taps /= taps.sum()
    return np.ascontiguousarray(np.stack([taps[0::2], taps[1::2]])[:, ::-1], np.float32)


_TAPS = decimator()

OPERATORS = np.dtype(
    [
        ("phase", np.int64, (4,)),  # 2^64 is one turn, wraps by itself
        ("past", np.float32, (2, TAPS)),  # of the decimator: half samples 0, 2, 4, .. and 1, 3, 5, ..
    ],
    align=True,
)

_LINE = (np.float32, (SEGMENT,))
WORK = np.dtype(
    [
        ("ratio", np.float32, (4, SEGMENT)),  # in: ratios and indices of the four operators per sample
        ("index", np.float32, (4, SEGMENT)),
        ("depth", np.float32, (4, SEGMENT)),  # indices in turns after the clamp
        ("level", np.float32, (2, SEGMENT)),  # of the carriers
        ("turn", np.float32, (4, 2, SEGMENT)),  # phases at the even and odd half samples
        ("wave", np.float32, (2, TAPS + SEGMENT)),  # both pairs at the even and odd half samples, after their past
    ],
    align=True,
)

_TURN = 2.0**64
_TO_FLOAT = np.float32(2.0**-32)
_PER_RADIAN = np.float32(1.0 / (2.0 * math.pi))
_ZERO = np.float32(0.0)
_ONE = np.float32(1.0)


@kernel
def clear(ops: Any) -> None:
    """Set all phases to zero and forget the past."""
    for k in range(4):
        ops.phase[k] = 0
    for half in range(2):
        for k in range(TAPS):
            ops.past[half, k] = 0.0


@kernel
def render(
    out: NDArray[np.float32],
    work: Any,
    ops: Any,
    swell: NDArray[np.float32],
    fundamental_hz: float,
    rate_hz: float,
    frames: int,
) -> None:
    """Write `frames` <= 64 samples of both pairs to `out` (float32), peak about 1.

    Reads `work.ratio` and `work.index` (rad), one column per sample; `swell` float32 0..1 scales the indices.
    Phase modulation after Chowning 1973:

        y = 1/2 sum over pairs (m, c) = (1, 2), (3, 4) of  sin(p_c + I_m sin p_m + I_c sin p_c)

    so the index of a modulator bends its carrier, and the index of a carrier bends itself, feed-forward: a saw-like
    brightness without the chaos of a feedback loop. An index I fills n(I) = 3.6 + 1.5 I partials to -66 dB; both
    indices of a pair shrink together so that the highest stays below 1.45 times the rate, whose image at the double
    rate is above 0.55; the decimator takes what lies between. Carriers fade out from 0.38 to 0.44 of the rate.
    """
    top = np.float32(1.45 * rate_hz)
    hz = np.float32(fundamental_hz)
    fade_from = np.float32(0.44 * rate_hz)
    fade = np.float32(1.0 / (0.06 * rate_hz))
    for pair in range(2):
        m = 2 * pair
        c = m + 1
        for i in range(frames):
            f_m = hz * work.ratio[m, i]
            f_c = hz * work.ratio[c, i]
            swing = work.index[m, i] * f_m + work.index[c, i] * f_c
            room = (top - f_c - np.float32(3.6) * max(f_m, f_c)) * np.float32(1.0 / 1.5)
            keep = min(max(room, _ZERO) / (swing + _ONE), swell[i]) * _PER_RADIAN
            work.depth[m, i] = work.index[m, i] * keep
            work.depth[c, i] = work.index[c, i] * keep
            work.level[pair, i] = np.float32(0.5) * min(max((fade_from - f_c) * fade, _ZERO), _ONE)

    # two half samples per sample; 0.9 of a turn at most, so that the step fits a signed number
    scale = fundamental_hz / (2.0 * rate_hz)
    for k in range(4):
        phase = ops.phase[k]
        for i in range(frames):
            step = np.int64(min(scale * work.ratio[k, i], 0.45) * _TURN)
            work.turn[k, 0, i] = np.float32(np.int32(phase >> 32)) * _TO_FLOAT
            phase += step
            work.turn[k, 1, i] = np.float32(np.int32(phase >> 32)) * _TO_FLOAT
            phase += step
        ops.phase[k] = phase

    for half in range(2):
        for k in range(TAPS):
            work.wave[half, k] = ops.past[half, k]
        for i in range(frames):
            p = work.turn[1, half, i]
            q = work.turn[3, half, i]
            bend_p = work.depth[0, i] * sine(work.turn[0, half, i]) + work.depth[1, i] * sine(p)
            bend_q = work.depth[2, i] * sine(work.turn[2, half, i]) + work.depth[3, i] * sine(q)
            work.wave[half, TAPS + i] = work.level[0, i] * sine(p + bend_p) + work.level[1, i] * sine(q + bend_q)

    # out[n] = sum over k of h[2k] even[n - k] + h[2k + 1] odd[n - k - 1], taps turned round
    for i in range(frames):
        out[i] = 0.0
    for k in range(TAPS):
        even = _TAPS[0, k]
        odd = _TAPS[1, k]
        for i in range(frames):
            out[i] += even * work.wave[0, 1 + i + k] + odd * work.wave[1, i + k]
    for half in range(2):
        for k in range(TAPS):
            ops.past[half, k] = work.wave[half, frames + k]
