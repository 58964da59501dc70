"""Where the bones of poses are: forward kinematics of the 27 limbs, and poses between poses, in NumPy.

Rotations are quaternions x y z w (`quaternion`), local to the parent bone; places are metres relative to the root.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_engine import quaternion as qt
from echelon_engine.kernels.neutral import PARENT

Floats = NDArray[np.float64]
Numbers = qt.Numbers
Frames = NDArray[Any]  # of memory.LIMB_FRAME

LIMBS = len(PARENT)
ABOVE = np.maximum(PARENT, 0)  # each bone's parent; the root stands above itself
SAMPLED_FRAMES = 50  # of a motion, that its body is measured by


def _levels() -> tuple[tuple[NDArray[np.intp], NDArray[np.intp]], ...]:
    """Return (bones, parents) of each generation below the root, so that kinematics runs a generation at a time."""
    depth = [0] * LIMBS
    for bone in range(1, LIMBS):
        depth[bone] = depth[PARENT[bone]] + 1
    generations = [np.flatnonzero(np.array(depth) == level) for level in range(1, max(depth) + 1)]
    return tuple((bones, ABOVE[bones]) for bones in generations)


def _ancestors() -> tuple[NDArray[np.intp], ...]:
    """Return, for pointer jumping, each bone's ancestor 1, 2, 4 .. generations up; 27 stands above the root.

    Replacing every transform M by M[ancestor] M, for each of these tables in turn, carries all bones into the root's
    frame in as many steps as the depth has binary digits (Hillis and Steele, 1986), a third of a walk by generations.
    """
    table = np.array([parent if parent >= 0 else LIMBS for parent in PARENT] + [LIMBS], dtype=np.intp)
    result = []
    while np.any(table != LIMBS):
        result.append(table)
        table = table[table]
    return tuple(result)


LEVELS = _levels()
ANCESTORS = _ancestors()


def world_rotations(local: Numbers) -> Floats:
    """Return the bones' rotations `(..., 27, 4)` relative to the frame of the root's parent."""
    world = np.array(local, dtype=np.float64)
    for bones, parents in LEVELS:
        world[..., bones, :] = qt.multiply(world[..., parents, :], world[..., bones, :])
    return world


def positions(local: Numbers, offsets: Numbers) -> Floats:
    """Return bone positions `(..., 27, 3)` in metres relative to the root, from local rotations `(..., 27, 4)`.

    `offsets` `(27, 3)`, or `(..., 27, 3)` where the body changes, are the bones' offsets from their parents, metres;
    the root's own is ignored.
    """
    local = np.asarray(local, dtype=np.float64)
    matrix = np.empty((*local.shape[:-2], LIMBS + 1, 4, 4))
    matrix[..., LIMBS, :, :] = np.eye(4)
    matrix[..., :LIMBS, :, :] = qt.to_matrix(local)
    matrix[..., 1:LIMBS, :3, 3] = np.asarray(offsets)[..., 1:, :]
    for above in ANCESTORS:
        matrix = matrix[..., above, :, :] @ matrix
    return matrix[..., :LIMBS, :3, 3]


def offsets(local: Numbers, position: Numbers) -> Floats:
    """Return the bones' offsets from their parents `(27, 3)`, metres, that poses `(n, 27, ..)` have: the median's.

    The inverse of `positions`: o_bone = R_parent^-1 (p_bone - p_parent).
    """
    step = max(1, len(local) // SAMPLED_FRAMES)
    world = world_rotations(local[::step])
    place = np.asarray(position[::step], dtype=np.float64)
    found: Floats = np.median(qt.rotate(qt.conjugate(world[:, ABOVE]), place - place[:, ABOVE]), axis=0)
    return found


def between(result: Frames, a: Frames, b: Frames, t: Floats) -> Frames:
    """Return `result` with poses the fraction `t` `(n,)` of the way from `a` to `b`, frames of LIMB_FRAME `(n,)`.

    Bones turn the shortest way and move straight, the root too; the heading goes the short way round.
    """
    rotation = qt.slerp(a["rotation"], b["rotation"], np.broadcast_to(t[:, None], a["rotation"].shape[:2]))
    result["rotation"] = qt.canonical(rotation)
    result["position"] = a["position"] + t[:, None, None] * (b["position"] - a["position"])
    way = np.remainder(b["heading"].astype(np.float64) - a["heading"] + np.pi, 2.0 * np.pi) - np.pi
    result["heading"] = np.remainder(a["heading"] + t * way + np.pi, 2.0 * np.pi) - np.pi
    result["origin"] = a["origin"] + t[:, None] * (b["origin"] - a["origin"])
    return result
