"""Which tracker is where on a body that stands upright: by height and side.

Nothing says which tracker is where, so calibration decides: the performer stands upright and looks straight ahead,
arms hanging or spread, on the floor (y = 0). Forward is where the head tracker looks, Unity's +z without one. With the
body's height H (from the head tracker; else the default body's) and the distance to the left of its middle:

    above 0.45 H and further out than 0.1 H:  upper arms, the outermost on either side
    below 0.18 H: feet,  0.18 .. 0.42 H: knees,  by side
    0.42 .. 0.62 H: hip,  above: chest,  whichever is nearest to 0.53 H and 0.73 H
"""

from __future__ import annotations

import numpy as np

from echelon_bridges.motion.vector import Vector

HIP, CHEST, HEAD = "hip", "chest", "head"
HEIGHT_M = 1.75  # of the default body
EYES_M = 1.66  # where its head tracker is
HIP_M = 0.95  # where its hip tracker is


def assign(places: dict[str, Vector], height_m: float) -> dict[str, str]:
    """Return part -> limb for trackers at `places` (x to the left, y up, z ahead; metres) on a standing body."""
    found: dict[str, str] = {HEAD: HEAD} if HEAD in places else {}
    others = {part: place for part, place in places.items() if part != HEAD}
    middle = _middle_of(places)
    sides: dict[str, list[tuple[float, str]]] = {"arm": [], "foot": [], "knee": []}
    trunk: list[tuple[float, str]] = []
    for part, (x, y, _) in others.items():
        ratio = y / height_m
        if ratio > 0.45 and abs(x - middle) > 0.1 * height_m:
            sides["arm"].append((x - middle, part))
        elif ratio < 0.18:
            sides["foot"].append((x - middle, part))
        elif ratio < 0.42:
            sides["knee"].append((x - middle, part))
        else:
            trunk.append((ratio, part))
    for limb, group in sides.items():
        group.sort()
        if len(group) >= 2:
            found[group[-1][1]], found[group[0][1]] = f"l_{limb}", f"r_{limb}"
        elif group:
            found[group[0][1]] = f"l_{limb}" if group[0][0] >= 0.0 else f"r_{limb}"
    for limb, nominal, low, high in ((HIP, 0.53, 0.42, 0.62), (CHEST, 0.73, 0.62, 2.0)):
        inside = [(abs(ratio - nominal), part) for ratio, part in trunk if low <= ratio < high]
        if inside:
            found[min(inside)[1]] = limb
    return found


def middle_of_body(local: dict[str, Vector], places: dict[str, str]) -> tuple[float, float]:
    """Return how far left and ahead the middle of the standing body is: the head's, the feet's or the trunk's."""
    by_limb = {limb: local[part] for part, limb in places.items()}
    for limbs in ((HEAD,), ("l_foot", "r_foot"), (HIP,), (CHEST,)):
        if all(limb in by_limb for limb in limbs):
            x, z = (sum(by_limb[limb][k] for limb in limbs) / len(limbs) for k in (0, 2))
            return x, z
    return _middle_of(local), 0.0


def _middle_of(places: dict[str, Vector]) -> float:
    if HEAD in places:
        return places[HEAD][0]
    return float(np.median([x for x, _, _ in places.values()]))
