"""The engine's state: Idle, Warmup, Active, Transitioning; the gate's pull toward fast, and the fade of Idle.

    Idle -> Warmup          at the first motion frame ever
    Warmup -> Active        after 24 frames, gate pull b = 1 - n/24
    Active -> Transitioning c - slow_average(c) > 0.25, b = the excess; back under 0.1
    any -> Idle             `idle_seconds` without motion: no frames, or energy under 0.03 m/s
    Idle -> Active          energy above 0.08 m/s, at once (Warmup again where it was never Active)

Source: spec/equilibrium.md, "State machine".
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from echelon_engine._jit import kernel
from echelon_engine.kernels.finite import finite_number
from echelon_engine.memory import CONTROL_RATE_HZ

IDLE, WARMUP, ACTIVE, TRANSITIONING = 0, 1, 2, 3  # their names: memory.ENGINE_STATES

WARMUP_FRAMES = 24
STILL_MPS = 0.03  # under it nobody moves
RESUME_MPS = 0.08  # above it Idle ends
SPIKE, SETTLED = 0.25, 0.1  # c above its slow average: begins and ends Transitioning
FADE_OUT_S = 3.0  # Idle's fade of the sound, a raised cosine
FADE_IN_S = 0.05  # and back; the caller ramps across each control period, so neither clicks

MACHINE = np.dtype(
    [
        ("state", np.int64),  # IDLE ..
        ("bias", np.float32),  # b, pull of DELL gated's gate toward fast, 0..1
        ("level", np.float32),  # of the sound at the end of this control period, 0..1
        ("frozen", np.int64),  # 1: the models keep their states (Idle)
        ("refused", np.int64),  # arguments that were not finite
        ("started", np.int64),  # a motion frame was seen
        ("was_active", np.int64),  # Active was reached
        ("warm", np.int64),  # frames of Warmup
        ("still", np.int64),  # control frames without motion
        ("fade", np.float64),  # position in the fade, 0 silent .. 1 full
        ("energy", np.float64),  # last good values
        ("excess", np.float64),
    ],
    align=True,
)


@kernel
def step(state: Any, moved: bool, energy: float, c: float, c_slow: float, idle_seconds: float) -> None:
    """Advance the machine by one control frame (1/60 s).

    `state` is a MACHINE record, all zeros at the start (Idle, silent); results are its first four fields. `moved`: a
    real motion frame arrived for this control frame; `energy` m/s (believed only if `moved`); `c` and its slow average
    0..1; `idle_seconds` how long without motion means Idle, default 5. Arguments that are not finite are replaced by
    the last good value and counted. No errors. Source: spec/equilibrium.md, "State machine".
    """
    if finite_number(energy):
        state.energy = energy if moved else 0.0
    else:
        state.refused += 1
        if not moved:
            state.energy = 0.0
    if finite_number(c) and finite_number(c_slow):
        state.excess = c - c_slow
    else:
        state.refused += 1
    patience = idle_seconds if finite_number(idle_seconds) and idle_seconds > 0.0 else 5.0

    state.still = 0 if moved and state.energy >= STILL_MPS else state.still + 1
    now = state.state
    if now == IDLE:
        if moved and state.started == 0:
            now = WARMUP
        elif moved and state.energy > RESUME_MPS:
            now = ACTIVE if state.was_active == 1 else WARMUP
        if now != IDLE:
            state.started = 1
            state.warm = 0
            state.still = 0
    elif state.still >= math.floor(patience * CONTROL_RATE_HZ + 0.5):
        now = IDLE
    elif now == WARMUP:
        state.warm += 1
        if state.warm >= WARMUP_FRAMES:
            now = ACTIVE
    elif now == ACTIVE:
        if state.excess > SPIKE:
            now = TRANSITIONING
    elif state.excess < SETTLED:
        now = ACTIVE
    if now == ACTIVE:
        state.was_active = 1
    state.state = now

    bias = 0.0
    if now == WARMUP:
        bias = 1.0 - state.warm / WARMUP_FRAMES
    elif now == TRANSITIONING:
        bias = min(max(state.excess, 0.0), 1.0)
    state.bias = np.float32(bias)
    state.frozen = 1 if now == IDLE else 0

    step_out, step_in = 1.0 / (FADE_OUT_S * CONTROL_RATE_HZ), 1.0 / (FADE_IN_S * CONTROL_RATE_HZ)
    state.fade = max(state.fade - step_out, 0.0) if now == IDLE else min(state.fade + step_in, 1.0)
    state.level = np.float32(0.5 - 0.5 * math.cos(math.pi * state.fade))
