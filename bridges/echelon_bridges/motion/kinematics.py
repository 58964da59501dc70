"""One live frame, compiled: a fiftieth of the time that arrays of 27 bones take in NumPy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from echelon_bridges.motion.pose import follow_heading
from echelon_bridges.motion.skeleton import LIMBS, PARENTS
from echelon_engine._jit import inlined, kernel

_PARENTS = np.array(PARENTS, np.int64)
assert all(parent < bone for bone, parent in enumerate(PARENTS))
_follow_heading = kernel(follow_heading)

BODY = np.dtype(
    [
        ("offsets", np.float64, (LIMBS, 3)),  # m from the parent
        ("last", np.float64, (LIMBS, 4)),  # the last good rotation of each bone, unit x y z w
        ("world", np.float64, (LIMBS, 7)),  # scratch: rotation and place of each bone
        ("origin", np.float64, (3,)),  # m, the last that was finite
        ("heading", np.float64),  # radians
    ],
    align=True,
)


@kernel
def frame(
    frames: Any, bodies: Any, rotations: Any, x: float, y: float, z: float, time_ns: int, arrival_ns: int, number: int,
    valid: int, flags: int,
) -> int:  # fmt: skip
    """Write one memory.LIMB_FRAME (1,) of local `rotations` (27, 4) float64 and the root's place, metres.

    `bodies` is BODY (1,). Returns how many bones were refused: one whose rotation is not finite or whose length lies
    outside 0.5..2 stays as it was. So does the root whose place is not finite.
    """
    out, body = frames[0], bodies[0]
    refused = 0
    for bone in range(LIMBS):
        a, b, c, d = rotations[bone, 0], rotations[bone, 1], rotations[bone, 2], rotations[bone, 3]
        squared = a * a + b * b + c * c + d * d
        if 0.25 < squared < 4.0:  # false for NaN and infinity too
            scale = 1.0 / np.sqrt(squared)
            body.last[bone, 0], body.last[bone, 1] = a * scale, b * scale
            body.last[bone, 2], body.last[bone, 3] = c * scale, d * scale
        else:
            refused += 1
    if abs(x) + abs(y) + abs(z) < np.inf:  # false for NaN too
        body.origin[0], body.origin[1], body.origin[2] = x, y, z
    body.heading = _follow_heading(body.heading, body.last[0, 0], body.last[0, 1], body.last[0, 2], body.last[0, 3])
    out.time_ns, out.arrival_ns, out.number, out.valid, out.flags = time_ns, arrival_ns, number, valid, flags
    out.heading = body.heading
    for i in range(3):
        out.origin[i] = body.origin[i]
    _place(out, body)
    return refused


@inlined
def _place(out: Any, body: Any) -> None:
    """Write `rotation` with w >= 0 and `position`, heading-free and relative to the root."""
    # The root less its heading: Ry(-heading) q.
    s, c = math.sin(-0.5 * body.heading), math.cos(0.5 * body.heading)
    for bone in range(LIMBS):
        x, y, z, w = body.last[bone, 0], body.last[bone, 1], body.last[bone, 2], body.last[bone, 3]
        if bone == 0:
            x, y, z, w = c * x + s * z, c * y + s * w, c * z - s * x, c * w - s * y
        sign = -1.0 if w < 0.0 else 1.0
        out.rotation[bone, 0], out.rotation[bone, 1] = sign * x, sign * y
        out.rotation[bone, 2], out.rotation[bone, 3] = sign * z, sign * w
        px, py, pz = 0.0, 0.0, 0.0
        if bone > 0:
            # world_b = world_p local_b;  position_b = position_p + rotate(world_p, offset_b): parents come first
            above = body.world[_PARENTS[bone]]
            ax, ay, az, aw = above[0], above[1], above[2], above[3]
            ox, oy, oz = body.offsets[bone, 0], body.offsets[bone, 1], body.offsets[bone, 2]
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
        here = body.world[bone]
        here[0], here[1], here[2], here[3] = x, y, z, w
        here[4], here[5], here[6] = px, py, pz
        out.position[bone, 0], out.position[bone, 1], out.position[bone, 2] = px, py, pz
