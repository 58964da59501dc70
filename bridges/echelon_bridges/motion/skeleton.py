"""The 27 bones that every performer is played with: names, parents and the default body.

The order is mocopi's bone number. Basis: right-handed, +Y up, +Z forward, +X the body's left, metres; the rest pose is
a T-pose with every rotation the identity.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# name, parent, offset from the parent in the rest pose (m). The right side mirrors the left.
_HALF: tuple[tuple[str, int, tuple[float, float, float]], ...] = (
    ("root", -1, (0.0, 0.933, 0.0)),
    ("torso_1", 0, (0.0, 0.051, 0.0)),
    ("torso_2", 1, (0.0, 0.056, 0.0)),
    ("torso_3", 2, (0.0, 0.060, 0.0)),
    ("torso_4", 3, (0.0, 0.065, 0.0)),
    ("torso_5", 4, (0.0, 0.076, 0.0)),
    ("torso_6", 5, (0.0, 0.095, 0.0)),
    ("torso_7", 6, (0.0, 0.106, 0.0)),
    ("neck_1", 7, (0.0, 0.048, 0.0)),
    ("neck_2", 8, (0.0, 0.048, 0.0)),
    ("head", 9, (0.0, 0.048, 0.0)),
    ("l_shoulder", 7, (0.012, -0.076, 0.075)),
    ("l_up_arm", 11, (0.130, 0.033, -0.033)),
    ("l_low_arm", 12, (0.292, 0.0, 0.0)),
    ("l_hand", 13, (0.242, 0.0, 0.0)),
    ("r_shoulder", 7, (-0.012, -0.076, 0.075)),
    ("r_up_arm", 15, (-0.130, 0.033, -0.033)),
    ("r_low_arm", 16, (-0.292, 0.0, 0.0)),
    ("r_hand", 17, (-0.242, 0.0, 0.0)),
    ("l_up_leg", 0, (0.092, -0.042, 0.020)),
    ("l_low_leg", 19, (0.0, -0.388, 0.0)),
    ("l_foot", 20, (0.0, -0.404, 0.0)),
    ("l_toes", 21, (0.008, -0.099, 0.125)),
    ("r_up_leg", 0, (-0.092, -0.042, 0.020)),
    ("r_low_leg", 23, (0.0, -0.388, 0.0)),
    ("r_foot", 24, (0.0, -0.404, 0.0)),
    ("r_toes", 25, (-0.008, -0.099, 0.125)),
)

NAMES: tuple[str, ...] = tuple(name for name, _, _ in _HALF)
PARENTS: tuple[int, ...] = tuple(parent for _, parent, _ in _HALF)
INDEX: dict[str, int] = {name: i for i, name in enumerate(NAMES)}
REST_OFFSETS: NDArray[np.float64] = np.array([offset for _, _, offset in _HALF])
REST_OFFSETS.setflags(write=False)
LIMBS = len(NAMES)
ALL_VALID = (1 << LIMBS) - 1

ROOT, TORSO_7, HEAD = INDEX["root"], INDEX["torso_7"], INDEX["head"]

LEG_LENGTH_M = 0.81  # thigh and shank together, of the bodies that files of unknown unit are scaled to

# Heights of the seven torso bones between the hips and torso_7: where a spine of fewer joints is read off.
TORSO_HEIGHTS: NDArray[np.float64] = np.array([0.100, 0.210, 0.328, 0.456, 0.606, 0.793, 1.0])


def mirror(bone: int) -> int:
    """Return the bone on the other side of the body; bones of the middle are their own mirror."""
    name = NAMES[bone]
    other = {"l_": "r_", "r_": "l_"}.get(name[:2])
    return INDEX[other + name[2:]] if other and name != "root" else bone
