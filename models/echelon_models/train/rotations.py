"""The few operations on poses that augmentation needs: quaternions x y z w, and where the bones are.

Arrays float64 (..., 4) and (..., 3), vectorised over any leading shape. `multiply(a, b)` turns by `b` first.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_engine.kernels.neutral import PARENT

Floats = NDArray[np.float64]


def multiply(a: Any, b: Any) -> Floats:
    """Return the Hamilton product a b."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    av, aw, bv, bw = a[..., :3], a[..., 3:], b[..., :3], b[..., 3:]
    vector = aw * bv + bw * av + np.cross(av, bv)
    return np.concatenate([vector, aw * bw - np.sum(av * bv, axis=-1, keepdims=True)], axis=-1)


def rotate(q: Any, v: Any) -> Floats:
    """Return the vectors v turned by the unit quaternions q."""
    q, v = np.asarray(q, np.float64), np.asarray(v, np.float64)
    t = 2.0 * np.cross(q[..., :3], v)
    turned: Floats = v + q[..., 3:] * t + np.cross(q[..., :3], t)
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
    for bone, parent in enumerate(PARENT):
        if parent >= 0:
            turned[:, bone] = multiply(turned[:, parent], turned[:, bone])
    return turned


def positions(local: Any, offsets: Any) -> Floats:
    """Return where the bones are relative to the root, (n, 27, 3) m, from local rotations and offsets (n or 1, 27, 3).

    p_bone = p_parent + R_parent offset_bone; the root's own offset is ignored.
    """
    turned, offsets = world(local), np.asarray(offsets, np.float64)
    place = np.zeros((*turned.shape[:2], 3))
    for bone, parent in enumerate(PARENT):
        if parent >= 0:
            place[:, bone] = place[:, parent] + rotate(turned[:, parent], offsets[:, bone])
    return place


def offsets(local: Any, place: Any) -> Floats:
    """Return the bones' offsets from their parents, (1, 27, 3) m, that poses have: the inverse of `positions`."""
    step = max(1, len(local) // 50)
    turned, place = world(np.asarray(local)[::step]), np.asarray(place, np.float64)[::step]
    parents = np.maximum(PARENT, 0)
    found: Floats = np.median(rotate(conjugate(turned[:, parents]), place - place[:, parents]), axis=0)
    return found[None]
