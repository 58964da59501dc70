"""The pose a body relaxes to when its sensors fall silent: standing, arms hanging, in the 27-limb skeleton.

Offsets are the rest pose that a mocopi sends for a body of 1.65 m; parents are its `bnid` tree.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

ROOT, TORSO_7, HEAD, LEFT_HAND, RIGHT_HAND = 0, 7, 10, 14, 18
LEFT_UPPER_ARM, RIGHT_UPPER_ARM = 12, 16

PARENT = (-1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 7, 11, 12, 13, 7, 15, 16, 17, 0, 19, 20, 21, 0, 23, 24, 25)
ARM_DROP_DEG = 75.0
STANDING_HEIGHT_M = 0.933


def _offsets() -> NDArray[np.float64]:
    """Return each limb's offset from its parent in the T-pose, float64 (27, 3), metres, +X to the body's left."""
    spine = [(0.0, up, 0.0) for up in (0.0, 0.051, 0.056, 0.060, 0.065, 0.076, 0.095, 0.106, 0.048, 0.048, 0.048)]
    arm = [(0.012, -0.076, 0.075), (0.130, 0.033, -0.033), (0.292, 0.0, 0.0), (0.242, 0.0, 0.0)]
    leg = [(0.092, -0.042, 0.020), (0.0, -0.388, 0.0), (0.0, -0.404, 0.0), (0.008, -0.099, 0.125)]
    mirrored = [[(-x, y, z) for x, y, z in side] for side in (arm, leg)]
    return np.array([*spine, *arm, *mirrored[0], *leg, *mirrored[1]])


def _neutral() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return local rotations (27, 4) and positions relative to the root (27, 3) of the neutral pose, float32."""
    rotation = np.zeros((len(PARENT), 4))
    rotation[:, 3] = 1.0
    half = math.radians(ARM_DROP_DEG) / 2
    rotation[LEFT_UPPER_ARM] = (0.0, 0.0, -math.sin(half), math.cos(half))
    rotation[RIGHT_UPPER_ARM] = (0.0, 0.0, math.sin(half), math.cos(half))
    offset = _offsets()
    position = np.zeros((len(PARENT), 3))
    turn = np.tile(np.eye(3), (len(PARENT), 1, 1))
    for limb, parent in enumerate(PARENT):
        sine = 2 * rotation[limb, 2] * rotation[limb, 3]  # every rotation here is about Z alone
        cosine = 1 - 2 * rotation[limb, 2] ** 2
        local = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
        if parent >= 0:
            position[limb] = position[parent] + turn[parent] @ offset[limb]
            turn[limb] = turn[parent] @ local
    return rotation.astype(np.float32), position.astype(np.float32)


NEUTRAL_ROTATION, NEUTRAL_POSITION = _neutral()
# The same as one row of limb_window.py: rotations, positions, positions in the world, origin, heading.
_STANDING = np.array([0.0, STANDING_HEIGHT_M, 0.0, 0.0], np.float32)
NEUTRAL: NDArray[np.float32] = np.concatenate(
    [NEUTRAL_ROTATION.ravel(), NEUTRAL_POSITION.ravel(), (NEUTRAL_POSITION + _STANDING[:3]).ravel(), _STANDING]
)
