"""From the network's 32 unbounded outputs to physical values: sigmoid, overrides, slew, curve."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_engine._jit import kernel
from echelon_engine.kernels.finite import finite_number
from echelon_engine.parameters import CURVES, LANES, curve_arrays

LOW, HIGH, CURVE = curve_arrays()
LOG, SQUARE = CURVES.index("log"), CURVES.index("square")
SLEW = np.float32(0.12)  # a lane crosses its whole range in 8.3 control frames, 139 ms: bounded whatever the body does
RATIO_LANES = 4
SNAPS = np.array([0.25, 0.5, 1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16], np.float32)


@kernel
def positions(position: NDArray[np.float32], last_y: NDArray[np.float32], y: NDArray[np.float32], settings: Any) -> int:
    """Move `position` (32,) 0..1 one control frame toward sigmoid(y) or a person's override; return lanes refused.

    A lane of `y` that is not finite keeps its last value (`last_y`, (32,)). No lane moves more than `SLEW`.
    """
    refused = 0
    for lane in range(LANES):
        if finite_number(y[lane]):
            last_y[lane] = y[lane]
        else:
            refused += 1
        target = np.float32(1.0) / (np.float32(1.0) + np.exp(-last_y[lane]))
        if settings.override_on[lane] and finite_number(settings.override[lane]):
            target = min(max(settings.override[lane], np.float32(0.0)), np.float32(1.0))
        step = target - position[lane]
        position[lane] += min(max(step, -SLEW), SLEW)
    return refused


@kernel
def values(value: NDArray[np.float32], position: NDArray[np.float32], snap_ratios: int) -> None:
    """Turn positions (32,) 0..1 into physical `value` (32,) by the table; ratios may snap to small integer ratios."""
    for lane in range(LANES):
        p = position[lane]
        if CURVE[lane] == LOG:
            value[lane] = LOW[lane] * np.exp(p * np.log(HIGH[lane] / LOW[lane]))
        elif CURVE[lane] == SQUARE:
            value[lane] = LOW[lane] + p * p * (HIGH[lane] - LOW[lane])
        else:
            value[lane] = LOW[lane] + p * (HIGH[lane] - LOW[lane])
    if snap_ratios:
        for lane in range(RATIO_LANES):
            nearest = SNAPS[0]
            for i in range(SNAPS.shape[0]):
                # nearest by ratio, so that the snap points divide the log scale where the ear does
                if abs(np.log(value[lane] / SNAPS[i])) < abs(np.log(value[lane] / nearest)):
                    nearest = SNAPS[i]
            value[lane] = nearest
