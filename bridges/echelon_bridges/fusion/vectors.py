"""How a phone's vectors move and turn: plain tuples of three, too small for arrays to pay."""

from __future__ import annotations

from echelon_bridges.motion.vector import Vector, cross, length

ZERO: Vector = (0.0, 0.0, 0.0)


def towards(a: Vector, b: Vector, share: float) -> Vector:
    """Return a + share (b - a)."""
    return (a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1]), a[2] + share * (b[2] - a[2]))


def turned(a: Vector, rate: Vector, dt: float) -> Vector:
    """Return what a vector that stands still in the world is, `dt` later, in axes that turn at `rate` rad/s: -w x a."""
    turn = cross(rate, a)
    return (a[0] - turn[0] * dt, a[1] - turn[1] * dt, a[2] - turn[2] * dt)


def shortest_turn(a: Vector, b: Vector, v: Vector) -> Vector:
    """Return `v` turned as the shortest turn from the unit vector `a` to the unit vector `b` does (Rodrigues).

    Where they are opposite the axis is any across them.
    """
    cosine = a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
    if cosine < -0.9999:
        axis = cross(a, (1.0, 0.0, 0.0) if abs(a[0]) < 0.9 else (0.0, 1.0, 0.0))
        size = length(axis)
        dot = (axis[0] * v[0] + axis[1] * v[1] + axis[2] * v[2]) / size
        return (
            2.0 * dot * axis[0] / size - v[0],
            2.0 * dot * axis[1] / size - v[1],
            2.0 * dot * axis[2] / size - v[2],
        )
    # v cos + (k x v) + k (k . v) / (1 + cos), with k = a x b
    k = cross(a, b)
    side = cross(k, v)
    dot = (k[0] * v[0] + k[1] * v[1] + k[2] * v[2]) / (1.0 + cosine)
    return (
        v[0] * cosine + side[0] + k[0] * dot,
        v[1] * cosine + side[1] + k[1] * dot,
        v[2] * cosine + side[2] + k[2] * dot,
    )
