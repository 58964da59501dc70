"""ADSR envelope with exponential segments that start wherever the level is, so a retrigger does not click."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_engine._jit import kernel

IDLE, ATTACK, DECAY, RELEASE = 0, 1, 2, 3

ENVELOPE = np.dtype(
    [
        ("level", np.float64),
        ("target", np.float64),  # where the current segment heads
        ("rate", np.float64),  # share of the way gone per sample
        ("sustain", np.float64),
        ("decay_rate", np.float64),
        ("release_rate", np.float64),
        ("stage", np.int64),
    ],
    align=True,
)

OVERSHOOT = 1.3  # an analog attack heads above 1 and is cut there
ATTACK_TAUS = math.log(OVERSHOOT / (OVERSHOOT - 1.0))
LOG_1000 = math.log(1000.0)  # nepers of a fall by 60 dB


@kernel
def start(env: Any, attack_s: float, decay_s: float, sustain: float, release_s: float, rate_hz: float) -> None:
    """Begin the attack of `env` from its present level.

    `attack_s` is the time from 0 to 1; decay and release times are those of a fall by 60 dB towards their end.
    The segments are the charging curves of analog generators: level += (target - level) rate.
    """
    env.rate = 1.0 - math.exp(-ATTACK_TAUS / max(attack_s * rate_hz, 1.0))
    env.decay_rate = 1.0 - math.exp(-LOG_1000 / max(decay_s * rate_hz, 1.0))
    env.release_rate = 1.0 - math.exp(-LOG_1000 / max(release_s * rate_hz, 1.0))
    env.sustain = sustain
    env.target = OVERSHOOT
    env.stage = ATTACK


@kernel
def release(env: Any) -> None:
    """Let `env` fall from its present level; nothing happens when it is idle."""
    if env.stage != IDLE:
        env.stage = RELEASE
        env.target = 0.0
        env.rate = env.release_rate


@kernel
def render(out: NDArray[np.float32], env: Any, frames: int) -> None:
    """Write `frames` levels 0..1 to `out`, float32 (>= frames,), one per sample."""
    level = env.level
    for i in range(frames):
        level += (env.target - level) * env.rate
        if env.stage == ATTACK and level >= 1.0:
            level = 1.0
            env.stage = DECAY
            env.target = env.sustain
            env.rate = env.decay_rate
        out[i] = level
    env.level = level
    if env.stage == RELEASE and level < 1e-6:
        env.stage = IDLE
        env.level = 0.0
        env.target = 0.0
