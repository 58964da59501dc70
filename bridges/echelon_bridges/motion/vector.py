"""Single vectors x y z as tuples of floats: the companions of `scalar`'s quaternions."""

from __future__ import annotations

import math
from collections.abc import Sequence

from echelon_bridges.motion import scalar as one

Vector = tuple[float, float, float]


def plus(a: Sequence[float], b: Sequence[float]) -> Vector:
    """Return a + b."""
    return (a[0] + b[0], a[1] + b[1], a[2] + b[2])


def minus(a: Sequence[float], b: Sequence[float]) -> Vector:
    """Return a - b."""
    return (a[0] - b[0], a[1] - b[1], a[2] - b[2])


def scaled(a: Sequence[float], factor: float) -> Vector:
    """Return `a` times a number."""
    return (a[0] * factor, a[1] * factor, a[2] * factor)


def cross(a: Sequence[float], b: Sequence[float]) -> Vector:
    """Return a x b."""
    return (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])


def length(a: Sequence[float]) -> float:
    """Return |a|."""
    return math.sqrt(a[0] * a[0] + a[1] * a[1] + a[2] * a[2])


def between(u: Sequence[float], v: Sequence[float]) -> one.Quaternion:
    """Return the smallest rotation of the direction of `u` to that of `v`; the identity where one has none."""
    ux, uy, uz = u
    product = length(u) * length(v)
    if product < 1e-9:
        return one.IDENTITY
    dot = (ux * v[0] + uy * v[1] + uz * v[2]) / product
    if dot < -0.999999:  # opposite: half a turn about any axis across
        across = cross(u, (0.0, 0.0, 1.0) if abs(uz) < 0.9 * length(u) else (0.0, 1.0, 0.0))
        return one.normalise((*across, 0.0))
    x, y, z = scaled(cross(u, v), 1.0 / product)
    return one.normalise((x, y, z, 1.0 + dot))


def from_axes(x: Vector, y: Vector, z: Vector) -> one.Quaternion:
    """Return the rotation that turns the axes into three vectors of length 1, across each other and right-handed.

    By the largest of the four squares (Shepperd, 1978).
    """
    trace = x[0] + y[1] + z[2]
    largest = max(x[0], y[1], z[2], trace)
    if largest == trace:
        q = (y[2] - z[1], z[0] - x[2], x[1] - y[0], 1.0 + trace)
    elif largest == x[0]:
        q = (1.0 + x[0] - y[1] - z[2], x[1] + y[0], x[2] + z[0], y[2] - z[1])
    elif largest == y[1]:
        q = (x[1] + y[0], 1.0 + y[1] - z[2] - x[0], y[2] + z[1], z[0] - x[2])
    else:
        q = (x[2] + z[0], y[2] + z[1], 1.0 + z[2] - x[0] - y[1], x[1] - y[0])
    return one.normalise(q)
