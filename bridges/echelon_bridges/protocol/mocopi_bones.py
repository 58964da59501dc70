"""The bones of a mocopi frame as the app itself writes it, compiled: bytes to rotations."""

from __future__ import annotations

from typing import Any

import numpy as np

from echelon_bridges.motion.skeleton import LIMBS
from echelon_engine._jit import inlined, kernel

# Clearly within 0.25 < |q|^2 < 4: what is nearer to a limit goes the long way round, whose sums are rounded otherwise.
LEAST_SQUARED, LARGEST_SQUARED = 0.26, 3.9
LARGEST_PLACE_M = 3e4


@kernel
def read(rotations: Any, root: Any, data: Any, packet: Any, fixed: Any, begin: int, step: int) -> bool:
    """Read `rotations` (27, 4) and `root` (3,) m, float64, of a datagram uint8 (n,): seven floats every `step` bytes.

    False, and anything in both, where a bit that is set in `fixed` (n,) differs from that of `packet` (n,), or a number
    is not clearly within its limits.
    """
    different = np.uint8(0)
    for i in range(data.shape[0]):
        different |= (data[i] ^ packet[i]) & fixed[i]
    if different:
        return False
    for bone in range(LIMBS):
        at = begin + bone * step
        squared = 0.0
        for i in range(4):
            value = _float(data, at + 4 * i)
            rotations[bone, i] = value
            squared += value * value
        if not LEAST_SQUARED < squared < LARGEST_SQUARED:  # false for NaN and infinity too
            return False
        for i in range(3):
            place_m = _float(data, at + 16 + 4 * i)
            if not abs(place_m) < LARGEST_PLACE_M:
                return False
            if bone == 0:
                root[i] = place_m
    return True


@inlined
def _float(data: Any, at: int) -> float:
    """Return the little-endian float32 that begins at a byte."""
    first, second, third, fourth = data[at], data[at + 1], data[at + 2], data[at + 3]
    word = np.uint32(first) | np.uint32(second) << 8 | np.uint32(third) << 16 | np.uint32(fourth) << 24
    return np.float64(np.uint32(word).view(np.float32))
