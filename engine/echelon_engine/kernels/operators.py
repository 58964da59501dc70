"""Two parallel modulator -> carrier pairs of phase modulation, at twice the rate, then a half-band decimator."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_engine._jit import kernel
from echelon_engine.kernels.sine import sine

SEGMENT = 64  # samples rendered at a time, at most
PAIRS = 16  # half-band of 4 * 16 - 1 taps, of which 32 and the middle one are not zero
EVEN = 2 * PAIRS


def half_band() -> NDArray[np.float32]:
    """Return the even taps of a half-band lowpass, float32 (32,), by a Kaiser window (beta 8: about -80 dB)."""
    n = np.arange(-(2 * PAIRS - 1), 2 * PAIRS, dtype=np.float64)
    taps = 0.5 * np.sinc(n / 2) * np.kaiser(n.size, 8.0)
    even = taps[::2]
    return (0.5 * even / even.sum()).astype(np.float32)


_TAPS = half_band()

OPERATORS = np.dtype(
    [
        ("phase", np.int64, (4,)),  # 2^64 is one turn, wraps by itself
        ("even", np.float32, (EVEN - 1,)),  # history of the decimator: samples 0, 2, 4, ..
        ("odd", np.float32, (PAIRS,)),  # and 1, 3, 5, ..
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
        ("even", np.float32, (EVEN - 1 + SEGMENT,)),
        ("odd", np.float32, (PAIRS + SEGMENT,)),
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
    for k in range(EVEN - 1):
        ops.even[k] = 0.0
    for k in range(PAIRS):
        ops.odd[k] = 0.0


@kernel
def render(
    out: NDArray[np.float32], work: Any, ops: Any, fundamental_hz: float, rate_hz: float, begin: int, frames: int
) -> None:
    """Write `frames` <= 64 samples of both pairs to `out` (float32), peak about 1.

    Reads `work.ratio` and `work.index` (rad) from sample `begin` on. Phase modulation after Chowning 1973:

        y = 1/2 sum over pairs (m, c) = (1, 2), (3, 4) of  sin(p_c + I_m sin p_m + I_c sin p_c)

    so the index of a modulator bends its carrier, and the index of a carrier bends itself, feed-forward: a saw-like
    brightness without the chaos of a feedback loop. An index I fills n(I) = 3.6 + 1.5 I partials to -66 dB; both indices
    of a pair shrink together so that the highest stays below 1.45 times the rate, whose image at the double rate is
    above 0.55; the decimator takes what lies between. Carriers fade out from 0.38 to 0.44 of the rate.
    """
    top = np.float32(1.45 * rate_hz)
    hz = np.float32(fundamental_hz)
    fade_from = np.float32(0.44 * rate_hz)
    fade = np.float32(1.0 / (0.06 * rate_hz))
    for pair in range(2):
        m = 2 * pair
        c = m + 1
        for i in range(frames):
            f_m = hz * work.ratio[m, begin + i]
            f_c = hz * work.ratio[c, begin + i]
            swing = work.index[m, begin + i] * f_m + work.index[c, begin + i] * f_c
            room = (top - f_c - np.float32(3.6) * max(f_m, f_c)) * np.float32(1.0 / 1.5)
            keep = min(max(room, _ZERO) / (swing + _ONE), _ONE) * _PER_RADIAN
            work.depth[m, i] = work.index[m, begin + i] * keep
            work.depth[c, i] = work.index[c, begin + i] * keep
            work.level[pair, i] = np.float32(0.5) * min(max((fade_from - f_c) * fade, _ZERO), _ONE)

    # two half samples per sample; 0.9 of a turn at most, so that the step fits a signed number
    scale = fundamental_hz / (2.0 * rate_hz)
    for k in range(4):
        phase = ops.phase[k]
        for i in range(frames):
            step = np.int64(min(scale * work.ratio[k, begin + i], 0.45) * _TURN)
            work.turn[k, 0, i] = np.float32(np.int32(phase >> 32)) * _TO_FLOAT
            phase += step
            work.turn[k, 1, i] = np.float32(np.int32(phase >> 32)) * _TO_FLOAT
            phase += step
        ops.phase[k] = phase

    for k in range(EVEN - 1):
        work.even[k] = ops.even[k]
    for k in range(PAIRS):
        work.odd[k] = ops.odd[k]
    for i in range(frames):
        work.even[EVEN - 1 + i] = 0.0
        work.odd[PAIRS + i] = 0.0
    for pair in range(2):
        m = 2 * pair
        c = m + 1
        for i in range(frames):
            p = work.turn[c, 0, i]
            bend = work.depth[m, i] * sine(work.turn[m, 0, i]) + work.depth[c, i] * sine(p)
            work.even[EVEN - 1 + i] += work.level[pair, i] * sine(p + bend)
        for i in range(frames):
            p = work.turn[c, 1, i]
            bend = work.depth[m, i] * sine(work.turn[m, 1, i]) + work.depth[c, i] * sine(p)
            work.odd[PAIRS + i] += work.level[pair, i] * sine(p + bend)

    # half-band: out[n] = 1/2 odd[n - 16] + sum_k h[k] even[n - k]
    for i in range(frames):
        out[i] = np.float32(0.5) * work.odd[i]
    for k in range(EVEN):
        tap = _TAPS[k]
        for i in range(frames):
            out[i] += tap * work.even[EVEN - 1 + i - k]
    for k in range(EVEN - 1):
        ops.even[k] = work.even[frames + k]
    for k in range(PAIRS):
        ops.odd[k] = work.odd[frames + k]
