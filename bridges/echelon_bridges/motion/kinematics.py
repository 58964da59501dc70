"""Forward kinematics of one live frame, compiled: a fiftieth of the time that arrays of 27 bones take in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

from echelon_bridges.motion.skeleton import LIMBS, PARENTS
from echelon_engine._jit import kernel

_PARENTS = np.array(PARENTS, np.int64)
assert all(parent < bone for bone, parent in enumerate(PARENTS))


@kernel
def normalise(good: Any, rotations: Any) -> int:
    """Copy rotations `(27, 4)` float64 to `good`, made unit length; return how many were refused.

    One that is not finite or whose length lies outside 0.5..2 leaves what was there.
    """
    refused = 0
    for bone in range(LIMBS):
        x, y, z, w = rotations[bone, 0], rotations[bone, 1], rotations[bone, 2], rotations[bone, 3]
        squared = x * x + y * y + z * z + w * w
        if 0.25 < squared < 4.0:  # false for NaN and infinity too
            scale = 1.0 / np.sqrt(squared)
            good[bone, 0], good[bone, 1], good[bone, 2], good[bone, 3] = x * scale, y * scale, z * scale, w * scale
        else:
            refused += 1
    return refused


@kernel
def place(rotation: Any, position: Any, world: Any, local: Any, offsets: Any) -> None:
    """Write `rotation` `(27, 4)` float32, `local` with w >= 0, and `position` `(27, 3)` float32, metres from the root.

    `local` `(27, 4)` float64 unit x y z w, `offsets` `(27, 3)` float64 from the parent; `world` `(27, 7)` is scratch.
    """
    # world_b = world_p local_b;  position_b = position_p + rotate(world_p, offset_b): parents come before children
    for bone in range(LIMBS):
        x, y, z, w = local[bone, 0], local[bone, 1], local[bone, 2], local[bone, 3]
        sign = -1.0 if w < 0.0 else 1.0
        rotation[bone, 0], rotation[bone, 1] = sign * x, sign * y
        rotation[bone, 2], rotation[bone, 3] = sign * z, sign * w
        px, py, pz = 0.0, 0.0, 0.0
        if bone > 0:
            above = world[_PARENTS[bone]]
            ax, ay, az, aw = above[0], above[1], above[2], above[3]
            ox, oy, oz = offsets[bone, 0], offsets[bone, 1], offsets[bone, 2]
            # rotate(a, o) = o + w t + a x t,  t = 2 a x o
            tx, ty, tz = 2.0 * (ay * oz - az * oy), 2.0 * (az * ox - ax * oz), 2.0 * (ax * oy - ay * ox)
            px = above[4] + ox + aw * tx + (ay * tz - az * ty)
            py = above[5] + oy + aw * ty + (az * tx - ax * tz)
            pz = above[6] + oz + aw * tz + (ax * ty - ay * tx)
            x, y, z, w = (
                aw * x + ax * w + ay * z - az * y,
                aw * y - ax * z + ay * w + az * x,
                aw * z + ax * y - ay * x + az * w,
                aw * w - ax * x - ay * y - az * z,
            )
        world[bone, 0], world[bone, 1], world[bone, 2], world[bone, 3] = x, y, z, w
        world[bone, 4], world[bone, 5], world[bone, 6] = px, py, pz
        position[bone, 0], position[bone, 1], position[bone, 2] = px, py, pz
