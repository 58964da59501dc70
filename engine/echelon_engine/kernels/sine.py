"""A fast sine for audio: one odd polynomial after folding, so loops over it vectorise."""

from __future__ import annotations

from typing import Any

import numpy as np

from echelon_engine._jit import inlined

_QUARTER = np.float32(0.25)
_HALF = np.float32(0.5)
# sin(2 pi u) on |u| <= 1/4, odd minimax of degree 9 (Remez by reweighted least squares), error -169 dB;
# float32 rounding leaves about -125 dB.
_C1 = np.float32(6.2831851601)
_C3 = np.float32(-41.3416550314)
_C5 = np.float32(81.6010040729)
_C7 = np.float32(-76.5497822853)
_C9 = np.float32(39.5367060061)


@inlined
def sine(turns: Any) -> Any:
    """Return sin(2 pi turns), float32; `turns` float32, any finite value, error below -110 dB for |turns| <= 4.

    A sine is a cosine a quarter turn later, and that is even: the argument folds to a triangle u in -1/4..1/4 turn
    without a branch; then an odd polynomial is evaluated.
    A pure sine has no partial to fold; what modulates the phase decides the bandwidth (see `operators`).
    """
    t = abs(turns - _QUARTER)
    u = abs((t - np.float32(np.int32(t))) - _HALF) - _QUARTER
    q = u * u
    return u * (_C1 + q * (_C3 + q * (_C5 + q * (_C7 + q * _C9))))
