"""Rotations as quaternions x y z w (scalar last) over arrays of any leading shape.

Every function takes and returns float64 arrays `(..., 4)` for rotations and `(..., 3)` for vectors, and broadcasts.
The product `multiply(a, b)` turns by `b` first, then by `a`, as matrices do.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Numbers = Any  # whatever np.asarray makes float64 of

IDENTITY = np.array([0.0, 0.0, 0.0, 1.0])

# M(q) as a linear map of the 16 products q_i q_j, homogeneous 4 x 4, row-major: M = (q q^T) @ TO_MATRIX.
# The corner element is |q|^2, so unit quaternions give a proper rigid transform without translation.
_products = np.zeros((4, 4, 4, 4))
for _row, _column, _terms in (
    (0, 0, ((3, 3, 1), (0, 0, 1), (1, 1, -1), (2, 2, -1))),
    (0, 1, ((0, 1, 2), (3, 2, -2))),
    (0, 2, ((0, 2, 2), (3, 1, 2))),
    (1, 0, ((0, 1, 2), (3, 2, 2))),
    (1, 1, ((3, 3, 1), (1, 1, 1), (0, 0, -1), (2, 2, -1))),
    (1, 2, ((1, 2, 2), (3, 0, -2))),
    (2, 0, ((0, 2, 2), (3, 1, -2))),
    (2, 1, ((1, 2, 2), (3, 0, 2))),
    (2, 2, ((3, 3, 1), (2, 2, 1), (0, 0, -1), (1, 1, -1))),
    (3, 3, ((0, 0, 1), (1, 1, 1), (2, 2, 1), (3, 3, 1))),
):
    for _i, _j, _sign in _terms:
        _products[_i, _j, _row, _column] = _sign
TO_MATRIX: Floats = _products.reshape(16, 16)


def multiply(a: Numbers, b: Numbers) -> Floats:
    """Return the Hamilton product a b: first b, then a."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    ax, ay, az, aw = a[..., 0], a[..., 1], a[..., 2], a[..., 3]
    bx, by, bz, bw = b[..., 0], b[..., 1], b[..., 2], b[..., 3]
    product = np.empty(np.broadcast_shapes(a.shape, b.shape))
    product[..., 0] = aw * bx + ax * bw + ay * bz - az * by
    product[..., 1] = aw * by - ax * bz + ay * bw + az * bx
    product[..., 2] = aw * bz + ax * by - ay * bx + az * bw
    product[..., 3] = aw * bw - ax * bx - ay * by - az * bz
    return product


def conjugate(q: Numbers) -> Floats:
    """Return the conjugate, which is the inverse of a unit quaternion."""
    inverse: Floats = np.asarray(q, dtype=np.float64) * np.array([-1.0, -1.0, -1.0, 1.0])
    return inverse


def normalise(q: Numbers) -> Floats:
    """Return q / |q|; the zero quaternion becomes the identity."""
    q = np.asarray(q, dtype=np.float64)
    length = np.linalg.norm(q, axis=-1, keepdims=True)
    return np.where(length > 1e-12, q / np.maximum(length, 1e-12), IDENTITY)


def canonical(q: Numbers) -> Floats:
    """Return the one of q and -q (the same rotation) whose scalar part is not negative."""
    q = np.asarray(q, dtype=np.float64)
    chosen: Floats = np.where(q[..., 3:] < 0.0, -q, q)
    return chosen


def rotate(q: Numbers, v: Numbers) -> Floats:
    """Return the vectors `v` turned by the unit quaternions `q`: with t = 2 u x v, v + w t + u x t."""
    q, v = np.asarray(q, dtype=np.float64), np.asarray(v, dtype=np.float64)
    x, y, z, w = q[..., 0], q[..., 1], q[..., 2], q[..., 3]
    v0, v1, v2 = v[..., 0], v[..., 1], v[..., 2]
    t0, t1, t2 = 2.0 * (y * v2 - z * v1), 2.0 * (z * v0 - x * v2), 2.0 * (x * v1 - y * v0)
    turned = np.empty((*np.broadcast_shapes(q.shape[:-1], v.shape[:-1]), 3))
    turned[..., 0] = v0 + w * t0 + (y * t2 - z * t1)
    turned[..., 1] = v1 + w * t1 + (z * t0 - x * t2)
    turned[..., 2] = v2 + w * t2 + (x * t1 - y * t0)
    return turned


def about(axis: Numbers, angle: Numbers) -> Floats:
    """Return the rotation by `angle` radians about the unit vector `axis`."""
    half = 0.5 * np.asarray(angle, dtype=np.float64)[..., None]
    axis = np.asarray(axis, dtype=np.float64)
    return np.concatenate([np.sin(half) * axis, np.broadcast_to(np.cos(half), half.shape)], axis=-1)


def from_vector(v: Numbers) -> Floats:
    """Return the rotation about the direction of `v` by its length in radians."""
    v = np.asarray(v, dtype=np.float64)
    half = 0.5 * np.linalg.norm(v, axis=-1, keepdims=True)
    return np.concatenate([0.5 * np.sinc(half / np.pi) * v, np.cos(half)], axis=-1)


def from_euler(degrees: Numbers, order: str) -> Floats:
    """Return the rotation of intrinsic Euler angles `(..., 3)` in degrees, applied as a BVH writes them.

    `order` names the axes as the channels come, for example "ZXY": R = Rz Rx Ry.
    """
    angles = np.radians(np.asarray(degrees, dtype=np.float64))
    result: Floats = np.broadcast_to(IDENTITY, (*angles.shape[:-1], 4)).copy()
    for k, letter in enumerate(order):
        result = multiply(result, about(np.eye(3)["XYZ".index(letter)], angles[..., k]))
    return result


def to_matrix(q: Numbers) -> Floats:
    """Return homogeneous 4 x 4 matrices `(..., 4, 4)` of unit quaternions."""
    q = np.asarray(q, dtype=np.float64)
    outer = (q[..., :, None] * q[..., None, :]).reshape(*q.shape[:-1], 16)
    matrix: Floats = (outer @ TO_MATRIX).reshape(*q.shape[:-1], 4, 4)
    return matrix


def angle(a: Numbers, b: Numbers) -> Floats:
    """Return the angle between two rotations, radians, 0..pi; accurate near zero."""
    d = multiply(conjugate(a), b)
    size: Floats = 2.0 * np.arctan2(np.linalg.norm(d[..., :3], axis=-1), np.abs(d[..., 3]))
    return size


def slerp(a: Numbers, b: Numbers, t: Numbers) -> Floats:
    """Return the rotation the fraction `t` of the shortest way from `a` to `b` (Shoemake, SIGGRAPH 1985).

    Beyond 1 it goes on past `b`.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    t = np.asarray(t, dtype=np.float64)[..., None]
    dot = np.sum(a * b, axis=-1, keepdims=True)
    b = np.where(dot < 0.0, -b, b)
    theta = np.arccos(np.clip(np.abs(dot), 0.0, 1.0))
    sine = np.sin(theta)
    near = sine < 1e-6
    safe = np.where(near, 1.0, sine)
    wa = np.where(near, 1.0 - t, np.sin((1.0 - t) * theta) / safe)
    wb = np.where(near, t, np.sin(t * theta) / safe)
    return normalise(wa * a + wb * b)


def mean(q: Numbers) -> Floats:
    """Return the mean rotation `(k, 4)` of `q` `(n, k, 4)`, whatever their signs: the main axis of sum q q^T."""
    q = np.asarray(q, dtype=np.float64)
    _, vectors = np.linalg.eigh(np.einsum("nki,nkj->kij", q, q))
    return canonical(vectors[..., -1])


def continuous(q: Numbers) -> Floats:
    """Return q with signs chosen so that neighbours along axis 0 lie in one hemisphere."""
    q = np.asarray(q, dtype=np.float64)
    if len(q) < 2:
        return np.array(q)
    dots = np.sum(q[1:] * q[:-1], axis=-1)
    signs = np.concatenate([np.ones((1, *dots.shape[1:])), np.cumprod(np.where(dots < 0.0, -1.0, 1.0), axis=0)])
    result: Floats = q * signs[..., None]
    return result


def between(u: Numbers, v: Numbers) -> Floats:
    """Return the smallest rotation that turns the direction of `u` into that of `v`."""
    u, v = np.asarray(u, dtype=np.float64), np.asarray(v, dtype=np.float64)
    u = u / np.linalg.norm(u, axis=-1, keepdims=True)
    v = v / np.linalg.norm(v, axis=-1, keepdims=True)
    w = 1.0 + np.sum(u * v, axis=-1, keepdims=True)
    if np.any(w < 1e-9):  # opposite directions: half a turn about any axis across
        across = np.cross(u, np.eye(3)[int(np.argmin(np.abs(np.atleast_2d(u)[0])))])
        half_turn = np.concatenate([across / np.linalg.norm(across, axis=-1, keepdims=True), 0.0 * w], axis=-1)
        return np.where(w < 1e-9, half_turn, normalise(np.concatenate([np.cross(u, v), w], axis=-1)))
    return normalise(np.concatenate([np.cross(u, v), w], axis=-1))


def from_matrix(m: Any) -> Floats:
    """Return the unit quaternion of one 3 x 3 rotation matrix (Shepperd, 1978)."""
    m = np.asarray(m, dtype=np.float64)
    trace = m[0, 0] + m[1, 1] + m[2, 2]
    k = int(np.argmax([m[0, 0], m[1, 1], m[2, 2], trace]))
    if k == 3:
        q = [m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1], 1.0 + trace]
    else:
        i, j, n = k, (k + 1) % 3, (k + 2) % 3
        q = [0.0, 0.0, 0.0, m[n, j] - m[j, n]]
        q[i] = 1.0 + m[i, i] - m[j, j] - m[n, n]
        q[j] = m[j, i] + m[i, j]
        q[n] = m[n, i] + m[i, n]
    return normalise(np.array(q))
