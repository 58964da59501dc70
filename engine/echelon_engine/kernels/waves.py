"""Band-limited saws in closed form, and a fast power of two.

A saw is the sum of all partials a^k sin(k q) / k:

    w(q; a) = arctan(a sin q / (1 - a cos q))

(J. A. Moorer, "The synthesis of complex audio spectra by means of discrete summation formulas", JAES 24, 1976,
integrated term by term). a near 0 is a sine, a near 1 a saw; q may be phase-modulated (Chowning 1973).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from echelon_engine._jit import inlined
from echelon_engine.kernels.sine import sine

_ONE = np.float32(1.0)
_QUARTER, _RIGHT_ANGLE = np.float32(0.25), np.float32(math.pi / 2.0)


@inlined
def exp2(x: Any) -> Any:
    """Return 2^x for |x| <= 6, relative error below 2e-6: (2^(x/8))^8 with a Taylor polynomial."""
    u = x * (0.125 * math.log(2.0))
    y = 1.0 + u * (1.0 + u * (0.5 + u * (1.0 / 6.0 + u * (1.0 / 24.0 + u * (1.0 / 120.0 + u / 720.0)))))
    y *= y
    y *= y
    return y * y


@inlined
def saw(turns: Any, a: Any) -> Any:
    """Return arctan(a sin q / (1 - a cos q)), float32, |error| < 3e-6; `turns` float32 |turns| <= 3, 0 <= a < 1."""
    y = a * sine(turns)
    x = _ONE - a * sine(turns + _QUARTER)
    n = abs(y)
    t = min(n, x) / max(n, x)
    q = t * t
    # minimax of degree 11 on 0..1
    angle = np.float32(0.05265332) + q * np.float32(-0.01172120)
    angle = np.float32(0.19354346) + q * (np.float32(-0.11643287) + q * angle)
    angle = t * (np.float32(0.99997726) + q * (np.float32(-0.33262347) + q * angle))
    if n > x:
        angle = _RIGHT_ANGLE - angle
    return math.copysign(angle, y)
