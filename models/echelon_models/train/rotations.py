"""The few operations on poses that augmentation needs: quaternions x y z w, and where the bones are.

Arrays float64 (..., 4) and (..., 3), vectorised over any leading shape. `multiply(a, b)` turns by `b` first.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_engine.kernels.neutral import PARENT

Floats = NDArray[np.float64]


def _levels() -> tuple[tuple[NDArray[np.intp], NDArray[np.intp]], ...]:
    """Return (bones, parents) of each generation below the root."""
    depth = [0] * len(PARENT)
    for bone in range(1, len(PARENT)):
        depth[bone] = depth[PARENT[bone]] + 1
    generations = [np.flatnonzero(np.array(depth) == level) for level in range(1, max(depth) + 1)]
    return tuple((bones, np.array(PARENT)[bones]) for bones in generations)


LEVELS = _levels()


def multiply(a: Any, b: Any) -> Floats:
    """Return the Hamilton product a b."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    ax, ay, az, aw = np.moveaxis(a, -1, 0)
    bx, by, bz, bw = np.moveaxis(b, -1, 0)
    product = np.empty(np.broadcast_shapes(a.shape, b.shape))
    product[..., 0] = aw * bx + ax * bw + ay * bz - az * by
    product[..., 1] = aw * by - ax * bz + ay * bw + az * bx
    product[..., 2] = aw * bz + ax * by - ay * bx + az * bw
    product[..., 3] = aw * bw - ax * bx - ay * by - az * bz
    return product


def rotate(q: Any, v: Any) -> Floats:
    """Return the vectors v turned by the unit quaternions q: v + 2 w (u x v) + 2 u x (u x v)."""
    q, v = np.asarray(q, np.float64), np.asarray(v, np.float64)
    x, y, z, w = np.moveaxis(q, -1, 0)
    v0, v1, v2 = np.moveaxis(v, -1, 0)
    t0, t1, t2 = 2.0 * (y * v2 - z * v1), 2.0 * (z * v0 - x * v2), 2.0 * (x * v1 - y * v0)
    turned = np.empty((*np.broadcast_shapes(q.shape[:-1], v.shape[:-1]), 3))
    turned[..., 0] = v0 + w * t0 + y * t2 - z * t1
    turned[..., 1] = v1 + w * t1 + z * t0 - x * t2
    turned[..., 2] = v2 + w * t2 + x * t1 - y * t0
    return turned


def conjugate(q: Any) -> Floats:
    """Return the inverse of unit quaternions."""
    inverse: Floats = np.asarray(q, np.float64) * np.array([-1.0, -1.0, -1.0, 1.0])
    return inverse


def from_vector(v: Any) -> Floats:
    """Return the rotation about the direction of v (..., 3) by its length in radians."""
    v = np.asarray(v, np.float64)
    half = 0.5 * np.linalg.norm(v, axis=-1, keepdims=True)
    return np.concatenate([0.5 * np.sinc(half / np.pi) * v, np.cos(half)], axis=-1)


def slerp(a: Any, b: Any, t: Any) -> Floats:
    """Return the fraction t (...) of the shortest way from a to b; beyond 1 it goes on past b (Shoemake, 1985)."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    t = np.asarray(t, np.float64)[..., None]
    cosine = np.sum(a * b, axis=-1, keepdims=True)
    b = np.where(cosine < 0.0, -b, b)
    angle = np.arccos(np.clip(np.abs(cosine), 0.0, 1.0))
    sine = np.sin(angle)
    near = sine < 1e-6
    sine = np.where(near, 1.0, sine)
    way = np.where(near, 1.0 - t, np.sin((1.0 - t) * angle) / sine) * a
    way += np.where(near, t, np.sin(t * angle) / sine) * b
    return way / np.linalg.norm(way, axis=-1, keepdims=True)  # type: ignore[no-any-return]


def canonical(q: Floats) -> Floats:
    """Return the one of q and -q whose scalar part is not negative."""
    return np.where(q[..., 3:] < 0.0, -q, q)


def mean(q: Any) -> Floats:
    """Return the mean rotation (k, 4) of q (n, k, 4), whatever their signs: the main axis of sum q q^T."""
    q = np.asarray(q, np.float64)
    _, vectors = np.linalg.eigh(np.einsum("nki,nkj->kij", q, q))
    return canonical(vectors[..., -1])


def world(local: Any) -> Floats:
    """Return the bones' rotations (n, 27, 4) in the root's frame from those local to their parents."""
    turned = np.array(local, np.float64)
    for bones, parents in LEVELS:
        turned[:, bones] = multiply(turned[:, parents], turned[:, bones])
    return turned


def positions(local: Any, offsets: Any) -> Floats:
    """Return where the bones are relative to the root, (n, 27, 3) m, from local rotations and offsets (n or 1, 27, 3).

    p_bone = p_parent + R_parent offset_bone; the root's own offset is ignored.
    """
    turned, offsets = world(local), np.asarray(offsets, np.float64)
    place = np.zeros((*turned.shape[:2], 3))
    for bones, parents in LEVELS:
        place[:, bones] = place[:, parents] + rotate(turned[:, parents], offsets[:, bones])
    return place


def offsets(local: Any, place: Any) -> Floats:
    """Return the bones' offsets from their parents, (1, 27, 3) m, that poses have: the inverse of `positions`."""
    step = max(1, len(local) // 50)
    turned, place = world(np.asarray(local)[::step]), np.asarray(place, np.float64)[::step]
    parents = np.maximum(PARENT, 0)
    found: Floats = np.median(rotate(conjugate(turned[:, parents]), place - place[:, parents]), axis=0)
    return found[None]
