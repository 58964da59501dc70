"""The same motion with other joints: few poses were measured, and what a phone feels follows from any.

    q_k <- delta_k q_k,   p_k <- p_parent + R_parent offset_k

Every joint is turned by a rotation of its own that stays for the whole recording, and the positions are computed again
from the bones, so the motion keeps its rhythm and its bones, and no joint its angle. Angular speeds are those between
neighbouring local rotations: they stay. Turned joints may bend where no body bends. NumPy alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from echelon_models.train.devices import PARENT, Array, inverse_rotate, multiply

LIMBS = 27
_BACK = np.array([-1.0, -1.0, -1.0, 1.0])


def _spreads() -> Array:
    degrees = np.zeros(LIMBS)
    degrees[0], degrees[1:11] = 10.0, 4.0  # root (never about the vertical: limb frames have no heading), spine
    for first in (11, 15):  # shoulder, upper arm, forearm, hand
        degrees[first : first + 4] = 8.0, 40.0, 25.0, 20.0
    for first in (19, 23):  # thigh, shin, foot
        degrees[first : first + 3] = 12.0, 10.0, 8.0
    return degrees


SPREAD_DEG = _spreads()  # standard deviation of each joint's turn


def turned(limbs: NDArray[np.float32], rng: np.random.Generator, scale: float = 1.0) -> NDArray[np.float32]:
    """Return limbs (n, 216) with every joint turned by one draw of `scale` times SPREAD_DEG; 0 changes nothing."""
    made = limbs.reshape(-1, LIMBS, 8).astype(np.float64)
    local, place = made[..., :4].copy(), made[..., 4:7].copy()
    local /= np.linalg.norm(local, axis=-1, keepdims=True).clip(1e-6)
    place[:, 0] = 0.0  # where limb 0 has the root's way and height: the others' positions count from the root
    before, after = np.zeros_like(local), np.zeros_like(local)
    for k, parent in enumerate(PARENT):
        axis = rng.normal(size=3) * np.radians(SPREAD_DEG[k]) * scale / np.sqrt(3.0)
        if parent < 0:
            axis[1] = 0.0
        angle = float(np.linalg.norm(axis))
        delta = np.append(axis * (np.sin(angle / 2) / max(angle, 1e-12)), np.cos(angle / 2))
        own = multiply(delta, local[:, k])
        own *= np.where(own[:, 3:] < 0, -1.0, 1.0)
        made[:, k, :4] = own
        if parent < 0:
            before[:, k], after[:, k] = local[:, k], own
            continue
        offset = inverse_rotate(before[:, parent], place[:, k] - place[:, parent])
        origin = made[:, parent, 4:7] if PARENT[parent] >= 0 else np.zeros_like(offset)
        made[:, k, 4:7] = origin + inverse_rotate(after[:, parent] * _BACK, offset)
        before[:, k], after[:, k] = multiply(before[:, parent], local[:, k]), multiply(after[:, parent], own)
    return made.reshape(limbs.shape).astype(np.float32)
