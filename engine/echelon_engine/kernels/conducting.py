"""From how the body moves to the band's 15 parameters, 60 times a second: by rules, or by 16 continuous mappings.

    rules       tension > 0.7: hats denser          energy > 0.8 m/s: bass up
                energy < 0.3 m/s: pad up            transition_intensity > 0.5: reverb up
    continuous  every parameter is the weighted mean of the mappings of `band.MAPPINGS` that drive it

A rule that holds goes on holding until its source is back by a margin. Parameters never jump: they move by at most
their whole range in 250 ms, also when the mode is changed.
Source: spec/seeds/3, sections 2.3 and 5.1; spec/music.md, "The conductor".
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_engine._jit import kernel
from echelon_engine.band import BAND_LANE, BAND_LANES, BAND_NEUTRAL, MAPPINGS, SOURCES, mapped, mapping_arrays
from echelon_engine.kernels.finite import finite_number

RULES, CONTINUOUS = 0, 1
FULL_RANGE_S = 0.25  # the quickest a parameter crosses its whole range
RULE_RAMP_S = 0.5  # time constant with which a rule comes and goes

CONDUCTING = np.dtype(
    [
        ("refused", np.int64),  # control frames with a source that was not finite
        ("begun", np.int64),
        ("source", np.float64, (len(SOURCES),)),  # last good values
        ("smoothed", np.float64, (len(MAPPINGS),)),
        ("holds", np.int64, (4,)),  # 1 while the rule holds
        ("applied", np.float64, (4,)),  # 0..1: how far it has come
        ("value", np.float64, (BAND_LANES,)),  # the parameters
    ],
    align=True,
)

_SOURCE, _PARAMETER, _NUMBER, _CURVE, _SENSE = mapping_arrays()
_NEUTRAL = BAND_NEUTRAL.copy()
_mapped = kernel(mapped)
_WEIGHTS = np.zeros(BAND_LANES)
np.add.at(_WEIGHTS, _PARAMETER, _NUMBER[:, 3])
assert (_WEIGHTS > 0.0).all()  # no parameter without a mapping
# Each rule: its source, the threshold where it begins, where it ends, the parameter it moves and where to.
_RULE_SOURCE = np.array([SOURCES.index(name) for name in ("tension", "energy", "energy", "transition_intensity")])
_RULE_BEGINS = np.array([0.7, 0.8, 0.3, 0.5])
_RULE_ENDS = np.array([0.6, 0.65, 0.4, 0.3])
_RULE_LANE = np.array([BAND_LANE[name] for name in ("hat_density", "bass_weight", "pad_level", "reverb")])
_RULE_TARGET = np.array([0.9, 0.8, 1.0, 0.7])


@kernel
def step(parameter: NDArray[np.float32], state: Any, source: NDArray[np.float64], mode: int, dt: float) -> None:
    """Write the 15 parameters (float32, 0..1, order of `band.BAND`) of this control frame.

    `state` is a CONDUCTING record, all zeros at the start (all parameters neutral); `source` (14, float64) in the order
    of `band.SOURCES`, a value that is not finite counts as its last good one; `mode` RULES or CONTINUOUS; `dt` seconds
    since the last call. No errors.
    """
    value = state.value
    if state.begun == 0:
        state.begun = 1
        for lane in range(BAND_LANES):
            value[lane] = _NEUTRAL[lane]
        for m in range(_SOURCE.shape[0]):
            state.smoothed[m] = _NEUTRAL[_PARAMETER[m]]
    good = True
    for i in range(state.source.shape[0]):
        if finite_number(source[i]):
            state.source[i] = source[i]
        else:
            good = False
    if not good:
        state.refused += 1

    # Both modes are followed all the time, so that neither has to catch up when the mode is changed.
    for m in range(_SOURCE.shape[0]):
        u = _mapped(state.source[_SOURCE[m]], _NUMBER[m, 0], _NUMBER[m, 1], _CURVE[m], _SENSE[m])
        state.smoothed[m] += (1.0 - math.exp(-dt / _NUMBER[m, 2])) * (u - state.smoothed[m])
    come = 1.0 - math.exp(-dt / RULE_RAMP_S)
    for r in range(4):
        v, begins, ends = state.source[_RULE_SOURCE[r]], _RULE_BEGINS[r], _RULE_ENDS[r]
        sign = 1.0 if begins > ends else -1.0
        if sign * v > sign * begins:
            state.holds[r] = 1
        elif sign * v < sign * ends:
            state.holds[r] = 0
        state.applied[r] += come * (state.holds[r] - state.applied[r])

    most = dt / FULL_RANGE_S
    for lane in range(BAND_LANES):
        target = _NEUTRAL[lane]
        if mode == CONTINUOUS:
            target = 0.0
            for m in range(_SOURCE.shape[0]):
                if _PARAMETER[m] == lane:
                    target += _NUMBER[m, 3] / _WEIGHTS[lane] * state.smoothed[m]
        else:
            for r in range(4):
                if _RULE_LANE[r] == lane:
                    target += state.applied[r] * (_RULE_TARGET[r] - target)
        value[lane] += min(max(target - value[lane], -most), most)
        parameter[lane] = np.float32(min(max(value[lane], 0.0), 1.0))
