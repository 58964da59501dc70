"""Values that never jump: many lanes, each on a straight line to its aim, with rounded corners."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from echelon_engine._jit import kernel

SEGMENT = 64
LANES = 96
ROUND_S = 0.002  # of each of the two one-poles that round the corners: a corner alone is a faint click

_LANE = (np.float32, (LANES,))
GLIDE = np.dtype(
    [
        ("line", *_LANE),
        ("step", *_LANE),
        ("aim", *_LANE),
        ("left", np.int32, (LANES,)),  # samples to the aim
        ("first", *_LANE),
        ("second", *_LANE),
        ("round", np.float32),
        ("now", np.float32, (SEGMENT, LANES)),  # out: the lanes at each sample
    ],
    align=True,
)


@kernel
def init(glide: Any, rate_hz: float) -> None:
    """Prepare a zeroed GLIDE record; every lane rests at 0."""
    glide.round = 1.0 - math.exp(-1.0 / (ROUND_S * rate_hz))


@kernel
def head(glide: Any, lane: int, aim: float, frames: int) -> None:
    """Let a lane reach `aim` within `frames` samples and the rounding; 0 frames: be there at once."""
    glide.aim[lane] = aim
    if frames <= 0:
        glide.line[lane] = aim
        glide.first[lane] = aim
        glide.second[lane] = aim
        glide.left[lane] = 0
        return
    glide.left[lane] = frames
    glide.step[lane] = (aim - glide.line[lane]) / frames


@kernel
def settle(glide: Any) -> None:
    """Be where every lane is heading: for when nothing is heard."""
    for k in range(LANES):
        glide.line[k] = glide.aim[k]
        glide.first[k] = glide.aim[k]
        glide.second[k] = glide.aim[k]
        glide.left[k] = 0


@kernel
def render(glide: Any, frames: int) -> None:
    """Write the lanes of the next `frames` <= 64 samples to `glide.now`, float32 (64, LANES)."""
    line, step, aim, left = glide.line, glide.step, glide.aim, glide.left
    first, second, now, r = glide.first, glide.second, glide.now, glide.round
    for i in range(frames):
        for k in range(LANES):
            x = line[k] + step[k] if left[k] > 1 else aim[k]
            left[k] = max(left[k] - np.int32(1), np.int32(0))
            line[k] = x
            y = first[k] + r * (x - first[k])
            first[k] = y
            z = second[k] + r * (y - second[k])
            second[k] = z
            now[i, k] = z
