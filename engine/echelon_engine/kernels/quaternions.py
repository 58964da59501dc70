"""Unit quaternions [x y z w], one per limb in a flat row: interpolate all, measure the angle between two."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from echelon_engine._jit import inlined, kernel

NEARLY_EQUAL = 0.9995


@kernel
def slerp_limbs(
    out: NDArray[np.float32], a: NDArray[np.float32], b: NDArray[np.float32], fraction: float, limbs: int
) -> None:
    """Write the unit quaternions `fraction` of the way from a's to b's, the short way round; rows of float32, 4 a limb.

    slerp(a, b, f) = (sin((1 - f) u) a + sin(f u) b) / sin u, cos u = a . b (Shoemake 1985, Animating rotation with
    quaternion curves), written as a step away from `a` so that equal quaternions give exactly `a`; nearly equal ones
    take the straight line. The result keeps the hemisphere of `a`; a fraction above 1 extrapolates along the same arc.
    `out` may be `a`. A zero quaternion in `a` gives zeros.
    """
    for at in range(0, 4 * limbs, 4):
        cosine = 0.0
        for j in range(at, at + 4):
            cosine += a[j] * b[j]
        sign = math.copysign(1.0, cosine)
        toward = fraction
        excess = 0.0
        if abs(cosine) < NEARLY_EQUAL:
            angle = math.acos(abs(cosine))
            scale = 1.0 / math.sin(angle)
            toward = math.sin(fraction * angle) * scale
            excess = math.sin((1.0 - fraction) * angle) * scale + toward - 1.0
        square = 0.0
        for j in range(at, at + 4):
            value = a[j] + toward * (sign * b[j] - a[j]) + excess * a[j]
            out[j] = value
            square += value * value
        scale = 1.0 / math.sqrt(square) if square > 0.0 else 0.0
        for j in range(at, at + 4):
            out[j] *= scale


@inlined
def angle_between(a: NDArray[np.float32], b: NDArray[np.float32], at: int) -> float:
    """Return the angle in radians, 0..pi, of the rotation from quaternion a[at:at+4] to b's, free of either's sign.

    From the chord, which keeps its digits for small angles where acos of the dot product loses them:
    angle = 4 asin(min(|a - b|, |a + b|) / 2).
    """
    near = 0.0
    far = 0.0
    for j in range(at, at + 4):
        near += (a[j] - b[j]) ** 2
        far += (a[j] + b[j]) ** 2
    return 4.0 * math.asin(min(0.5 * math.sqrt(min(near, far)), 1.0))
