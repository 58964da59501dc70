"""The dancer's vocabulary: what each move does to the body's angles, over the beats of a bar.

A move maps beats since the bar's start `u` (N,) and a `Bar` to angles that differ from standing. Degrees, except
`sway`, `crouch`, `jump`, feet (metres). Written for the left side leading; `dance` mirrors them. Beats of a strike are
where the arm arrives: the hand is fastest just before it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Angles = dict[str, Floats]

# Angle names and their value when standing at ease. `raise` is above the horizontal, `front` away from sideways.
STANDING: dict[str, float] = {
    "sway": 0.0, "sway_front": 0.0, "crouch": 0.012, "jump": 0.0,
    "pelvis_yaw": 0.0, "pelvis_lean": 0.0, "pelvis_side": 0.0, "bend": 2.0, "bend_side": 0.0, "twist": 0.0,
    "nod": 0.0, "look": 0.0, "tilt": 0.0,
    "l_raise": -76.0, "l_front": 8.0, "l_roll": 0.0, "l_elbow": 16.0, "l_wrist": 0.0,
    "r_raise": -76.0, "r_front": 8.0, "r_roll": 0.0, "r_elbow": 16.0, "r_wrist": 0.0,
    "l_out": 0.0, "l_ahead": 0.0, "l_lift": 0.0, "r_out": 0.0, "r_ahead": 0.0, "r_lift": 0.0,
}  # fmt: skip
_MIRRORED = ("sway", "pelvis_yaw", "pelvis_side", "bend_side", "twist", "look", "tilt")  # change sign on the other side


@dataclass(frozen=True)
class Bar:
    """What is danced in a bar: move, energy 0..1, side that leads (+1 left, -1 right) and four chances 0..1."""

    name: str
    energy: float
    side: float
    chance: tuple[float, ...]


def neutral(count: int) -> Angles:
    """Return the angles of standing at ease, `count` frames each."""
    return {name: np.full(count, value) for name, value in STANDING.items()}


def smooth(t: ArrayLike) -> Floats:
    """Return 6 t^5 - 15 t^4 + 10 t^3 of t clipped to 0..1: from 0 to 1 with speed and acceleration 0 at both ends."""
    t = np.clip(np.asarray(t, dtype=np.float64), 0.0, 1.0)
    result: Floats = t * t * t * (10.0 + t * (6.0 * t - 15.0))
    return result


def bump(u: Floats, begin: float, top: float, end: float) -> Floats:
    """Return a rise from `begin` to 1 at `top` and a fall to 0 at `end`, beats; C2."""
    return smooth((u - begin) / (top - begin)) * (1.0 - smooth((u - top) / (end - top)))


def swing(u: Floats, period: float, shift: float = 0.0) -> Floats:
    """Return a cosine of `period` beats with its top `shift` beats after the bar's start."""
    return np.cos(math.tau * (u - shift) / period)


def accent(u: Floats, period: float, shift: float = 0.0, haste: float = 0.5) -> Floats:
    """Return a wave 0..1 that hurries to its top, reached `shift` beats into each `period`, and returns in its own
    time.

    The phase runs up to `1 + haste` times as fast on the way to the top; `haste` below 1 keeps the wave one-humped.
    """
    phase = math.tau * (u - shift) / period
    return 0.5 + 0.5 * np.cos(phase + haste * (np.cos(phase) - 1.0))


def still(u: Floats, bar: Bar) -> Angles:
    """Stand and breathe."""
    return {"crouch": 0.006 * swing(u, 8.0), "nod": 2.0 + 0.0 * u}


def sway(u: Floats, bar: Bar) -> Angles:
    """Shift the weight from foot to foot, one foot a beat; the arms hang and follow."""
    e = 0.5 + 0.8 * bar.energy
    beat, two = swing(u, 1.0), swing(u, 2.0)
    return {
        "sway": 0.075 * e * two, "crouch": 0.025 * e * (1.0 - beat), "bend_side": -7.0 * e * two, "tilt": 5.0 * e * two,
        "pelvis_side": 4.0 * e * two, "pelvis_yaw": 7.0 * e * two, "twist": -5.0 * e * two,
        "l_front": 34.0 * e * two, "r_front": -34.0 * e * two, "l_raise": 8.0 + 9.0 * e * beat,
        "r_raise": 8.0 + 9.0 * e * beat, "l_elbow": 16.0 + 16.0 * e * two, "r_elbow": 16.0 - 16.0 * e * two,
    }  # fmt: skip


def float_(u: Floats, bar: Bar) -> Angles:
    """Let one arm rise like smoke and sink again."""
    up = bump(u, -0.5, 2.2, 4.5)
    late = bump(u, 0.1, 2.8, 4.5)
    return {
        "l_raise": 98.0 * up, "l_front": 42.0 * late, "l_elbow": 34.0 * (1.0 - up), "l_wrist": 30.0 * late - 15.0 * up,
        "sway": 0.05 * up, "bend_side": -8.0 * late, "look": 24.0 * up, "nod": -8.0 * up,
        "crouch": 0.02 * swing(u, 2.0),
        "r_raise": 10.0 * late, "twist": 10.0 * late,
    }  # fmt: skip


def groove(u: Floats, bar: Bar) -> Angles:
    """Step from side to side, fists pumping, one arm on each beat."""
    e = 0.45 + 0.75 * bar.energy
    two = swing(u, 2.0)
    left, right = accent(u, 2.0), accent(u, 2.0, 1.0)
    lift = 0.11 * e
    return {
        "sway": 0.085 * e * two, "crouch": 0.05 * e * (1.0 - swing(u, 1.0)), "pelvis_yaw": 10.0 * e * two,
        "pelvis_side": 5.0 * e * two, "twist": -14.0 * e * two, "bend_side": -5.0 * e * two, "bend": 6.0 * e + 0.0 * u,
        "nod": 7.0 * e * swing(u, 1.0), "l_raise": 18.0 + 68.0 * e * left, "r_raise": 18.0 + 68.0 * e * right,
        "l_front": 20.0 + 44.0 * e * left, "r_front": 20.0 + 44.0 * e * right,
        "l_elbow": 24.0 + 78.0 * e * (1.0 - left), "r_elbow": 24.0 + 78.0 * e * (1.0 - right),
        "r_lift": lift * bump(np.mod(u, 2.0), 0.1, 0.55, 1.0),
        "l_lift": lift * bump(np.mod(u + 1.0, 2.0), 0.1, 0.55, 1.0),
        "l_out": 0.03 + 0.0 * u, "r_out": 0.03 + 0.0 * u,
    }  # fmt: skip


def strike(u: Floats, bar: Bar) -> Angles:
    """Strike with the leading arm on beats one and three, with the other on two and four; the trunk follows."""
    e = 0.5 + 0.62 * bar.energy
    first, second = accent(u, 2.0, 0.0, 0.7), accent(u, 2.0, 1.0, 0.7)
    up = 30.0 + 60.0 * bar.chance[1]
    return {
        "l_raise": 34.0 + up * e * first, "l_front": 12.0 + 70.0 * e * first, "l_elbow": 112.0 * e * (1.0 - first),
        "r_raise": 34.0 + (100.0 - 0.8 * up) * e * second, "r_front": 12.0 + 70.0 * e * second,
        "r_elbow": 112.0 * e * (1.0 - second), "twist": 22.0 * e * (second - first),
        "pelvis_yaw": 9.0 * e * (second - first),
        "bend": 9.0 * e * swing(u, 1.0, -0.1), "crouch": 0.05 * e * (1.0 + swing(u, 1.0)),
        "sway": 0.05 * e * swing(u, 2.0),
        "l_out": 0.07 + 0.0 * u, "r_out": 0.07 + 0.0 * u, "l_ahead": 0.05 + 0.0 * u, "r_ahead": -0.05 + 0.0 * u,
        "nod": 6.0 * e * swing(u, 1.0),
    }  # fmt: skip


def wave(u: Floats, bar: Bar) -> Angles:
    """Draw great circles with both arms, one after the other, the trunk leaning after them."""
    e = 0.28 + 0.85 * bar.energy
    late = 1.0 if bar.chance[1] < 0.5 else 0.5
    return {
        "l_raise": 70.0 + 62.0 * e * swing(u, 2.0, 0.6), "l_front": 24.0 + 50.0 * e * swing(u, 2.0, 1.1),
        "r_raise": 70.0 + 62.0 * e * swing(u, 2.0, 0.6 + late), "r_front": 24.0 + 50.0 * e * swing(u, 2.0, 1.1 + late),
        "l_elbow": 24.0 + 18.0 * swing(u, 2.0, 1.2), "r_elbow": 24.0 + 18.0 * swing(u, 2.0, 1.2 + late),
        "l_wrist": 25.0 * swing(u, 2.0, 0.9), "r_wrist": 25.0 * swing(u, 2.0, 0.9 + late),
        "bend_side": 13.0 * e * swing(u, 4.0), "sway": -0.08 * e * swing(u, 4.0),
        "twist": 16.0 * e * swing(u, 4.0, 1.0),
        "crouch": 0.05 * e * (1.0 + swing(u, 2.0)), "tilt": 8.0 * e * swing(u, 4.0, 0.4), "l_out": 0.05 + 0.0 * u,
        "r_out": 0.05 + 0.0 * u,
    }  # fmt: skip


def lunge(u: Floats, bar: Bar) -> Angles:
    """Step far out to the side on beat one, reach along the floor, and gather the leg again on three."""
    e = 0.55 + 0.5 * bar.energy
    out = bump(u, -0.4, 1.0, 3.4)
    arm = accent(u, 2.0, 1.0) * bump(u, -0.5, 0.9, 4.2)
    return {
        "l_out": 0.42 * e * out, "l_lift": 0.09 * (bump(u, -0.4, 0.2, 0.9) + bump(u, 1.9, 2.6, 3.4)),
        "sway": 0.26 * e * out, "crouch": 0.12 * e * out, "bend_side": -16.0 * e * out, "pelvis_lean": 10.0 * e * out,
        "twist": 16.0 * e * out, "look": 26.0 * out, "l_raise": 24.0 + 104.0 * e * arm,
        "l_front": 14.0 + 46.0 * e * arm,
        "l_elbow": 84.0 * (1.0 - arm), "r_raise": 30.0 + 88.0 * e * bump(u, 0.4, 2.0, 4.2),
        "r_front": 52.0 * e * accent(u, 2.0), "r_elbow": 26.0 + 50.0 * e * accent(u, 2.0), "bend": 10.0 * e * out,
    }  # fmt: skip


def reach(u: Floats, bar: Bar) -> Angles:
    """Sink into a crouch, then spring up and throw both arms to the sky on beat three."""
    e = 0.5 + 0.5 * bar.energy
    low, high = bump(u, -0.5, 1.3, 2.7), bump(u, 1.4, 2.85, 4.6)
    air = bump(u, 2.2, 2.8, 3.4)
    return {
        "crouch": 0.33 * e * low, "bend": 30.0 * e * low - 10.0 * high, "pelvis_lean": 14.0 * e * low,
        "nod": 14.0 * low - 24.0 * high,
        "l_raise": 6.0 * low + 140.0 * e * high, "r_raise": 6.0 * low + 140.0 * e * high,
        "l_front": 44.0 * low + 14.0 * high, "r_front": 44.0 * low + 14.0 * high,
        "l_elbow": 70.0 * low + 6.0, "r_elbow": 70.0 * low + 6.0, "jump": 0.15 * (e - 0.4) * air,
        "l_out": 0.06 + 0.0 * u, "r_out": 0.06 + 0.0 * u, "l_wrist": 20.0 * high, "r_wrist": 20.0 * high,
    }  # fmt: skip


def spin(u: Floats, bar: Bar) -> Angles:
    """Wind up, turn on one foot with the arms gathered, and open them wide on beat four."""
    wind, round_, open_ = bump(u, -0.5, 0.45, 1.1), bump(u, 0.4, 1.6, 2.9), bump(u, 2.2, 3.0, 4.5)
    return {
        "twist": -28.0 * wind + 10.0 * round_, "crouch": 0.08 * wind + 0.06 * open_, "sway": 0.085 * round_,
        "r_lift": 0.30 * round_, "r_ahead": 0.10 * round_, "r_out": -0.04 * round_ + 0.08 * open_,
        "l_raise": 76.0 * wind + 62.0 * round_ + 92.0 * open_, "r_raise": 70.0 * wind + 62.0 * round_ + 92.0 * open_,
        "l_front": 50.0 * round_ - 8.0 * open_, "r_front": 40.0 * wind + 50.0 * round_ - 8.0 * open_,
        "l_elbow": 66.0 * round_ + 4.0, "r_elbow": 66.0 * round_ + 4.0, "bend": -6.0 * open_, "nod": -8.0 * open_,
        "look": 20.0 * wind - 12.0 * round_,
    }  # fmt: skip


MOVES: dict[str, Callable[[Floats, Bar], Angles]] = {
    "still": still, "sway": sway, "float": float_, "groove": groove, "strike": strike, "wave": wave, "lunge": lunge,
    "reach": reach, "spin": spin,
}  # fmt: skip


def dance(bar: Bar, u: Floats) -> Angles:
    """Return what the bar's move adds to standing, at beats `u` (N,) since its start, mirrored if need be."""
    angles = MOVES[bar.name](u, bar)
    if bar.side > 0.0:
        return angles
    swapped = {"l_": "r_", "r_": "l_"}
    return {
        swapped.get(name[:2], name[:2]) + name[2:]: -value if name in _MIRRORED else value
        for name, value in angles.items()
    }


def turn(bar: Bar, u: Floats) -> Floats:
    """Return how far the whole body has turned within the bar, radians; whole turns once it is over."""
    if bar.name != "spin":
        return np.zeros(len(u))
    rounds = 2.0 if bar.energy > 0.9 and bar.chance[3] < 0.4 else 1.0
    return -bar.side * rounds * math.tau * smooth((u - 0.35) / 2.6)
