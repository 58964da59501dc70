"""Single quaternions x y z w as tuples of floats: for one rotation at a time, ten times faster than arrays of one."""

from __future__ import annotations

import math
from collections.abc import Sequence

Quaternion = tuple[float, float, float, float]

IDENTITY: Quaternion = (0.0, 0.0, 0.0, 1.0)


def multiply(a: Quaternion, b: Quaternion) -> Quaternion:
    """Return the Hamilton product a b: first b, then a."""
    ax, ay, az, aw = a
    bx, by, bz, bw = b
    return (
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
        aw * bw - ax * bx - ay * by - az * bz,
    )


def conjugate(q: Quaternion) -> Quaternion:
    """Return the inverse of a unit quaternion."""
    return (-q[0], -q[1], -q[2], q[3])


def normalise(q: Sequence[float]) -> Quaternion:
    """Return q / |q|; the zero quaternion becomes the identity."""
    x, y, z, w = q
    length = math.sqrt(x * x + y * y + z * z + w * w)
    return (x / length, y / length, z / length, w / length) if length > 1e-12 else IDENTITY


def rotate(q: Quaternion, v: Sequence[float]) -> tuple[float, float, float]:
    """Return the vector `v` turned by the unit quaternion `q`."""
    x, y, z, _ = multiply(multiply(q, (v[0], v[1], v[2], 0.0)), conjugate(q))
    return (x, y, z)


def slerp(a: Quaternion, b: Quaternion, t: float) -> Quaternion:
    """Return the rotation the fraction `t` of the shortest way from `a` to `b`."""
    dot = a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + a[3] * b[3]
    sign = -1.0 if dot < 0.0 else 1.0
    theta = math.acos(min(1.0, abs(dot)))
    sine = math.sin(theta)
    wa, wb = (1.0 - t, t) if sine < 1e-6 else (math.sin((1.0 - t) * theta) / sine, math.sin(t * theta) / sine)
    wb *= sign
    return normalise((wa * a[0] + wb * b[0], wa * a[1] + wb * b[1], wa * a[2] + wb * b[2], wa * a[3] + wb * b[3]))
