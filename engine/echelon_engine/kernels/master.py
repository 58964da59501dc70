"""What all tracks of the ensemble go through: brightness, width, intensity, and a saturation that leaves headroom."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_engine._jit import kernel
from echelon_engine.kernels import svf
from echelon_engine.kernels.console import BLOCK_HZ, CEILING, CUT, DRIVEN, SIDE, STAGE

_ONE, _TWO, _ZERO = np.float32(1.0), np.float32(2.0), np.float32(0.0)


@kernel
def clear(ensemble: Any) -> None:
    """Forget what the low-pass and the DC blocker hold."""
    for b in range(6):
        ensemble.band[b] = _ZERO
        ensemble.low[b] = _ZERO
    for c in range(2):
        ensemble.blocked[c] = _ZERO
        ensemble.blocked_in[c] = _ZERO


@kernel
def brighten(ensemble: Any, levels: NDArray[np.float32], frames: int) -> None:
    """Add the pitched buses, through the low-pass of `brightness` (Simper's equations, see `svf`), to `direct`."""
    table, bus, direct = ensemble.work.table, ensemble.bus, ensemble.direct
    band, low = ensemble.band, ensemble.low
    k = np.float32(1.4142)
    for i in range(frames):
        g = svf.coefficient(table, levels[i, CUT])
        a1 = _ONE / (_ONE + g * (g + k))
        for b in range(6):
            v1 = a1 * (band[b] + g * (bus[b, i] - low[b]))
            v2 = low[b] + g * v1
            band[b] = _TWO * v1 - band[b]
            low[b] = _TWO * v2 - low[b]
            direct[b, i] += v2


@kernel
def finish(out: NDArray[np.float32], ensemble: Any, levels: NDArray[np.float32]) -> float:
    """Write `ensemble.direct` through width, intensity and saturation to `out`; return the power before the last.

    Both sides saturate by x / sqrt(1 + (x / c)^2), which never passes c = CEILING; a constant is taken out before.
    """
    direct, frames = ensemble.direct, out.shape[0]
    pole = np.float32(math.exp(-2.0 * math.pi * BLOCK_HZ / ensemble.rate_hz))
    inverse = _ONE / (CEILING * CEILING)
    last_left, last_right = ensemble.blocked_in[0], ensemble.blocked_in[1]
    left, right = ensemble.blocked[0], ensemble.blocked[1]
    power = _ZERO
    for i in range(frames):
        middle = np.float32(0.5) * (direct[0, i] + direct[1, i])
        side = np.float32(0.5) * (direct[0, i] - direct[1, i]) * levels[i, SIDE]
        driven = levels[i, DRIVEN]
        x, y = driven * (middle + side), driven * (middle - side)
        left = x - last_left + pole * left
        right = y - last_right + pole * right
        last_left, last_right = x, y
        # both sides saturate together: x / sqrt(1 + (x / c)^2), never above c
        stage = levels[i, STAGE]
        out[i, 0] = stage * left / math.sqrt(_ONE + left * left * inverse)
        out[i, 1] = stage * right / math.sqrt(_ONE + right * right * inverse)
        power += left * left + right * right
    ensemble.blocked_in[0], ensemble.blocked_in[1] = last_left, last_right
    ensemble.blocked[0], ensemble.blocked[1] = left, right
    return float(power)
