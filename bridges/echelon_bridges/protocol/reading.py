"""What a phone or a tracker said, as typed values in one basis, whichever program sent it.

Basis of a phone: right-handed, x to the right of its screen, y to its top, z out of it. Acceleration and gravity are
what an accelerometer at rest reads on Android: +9.81 m/s^2 along the axis that points up; Apple's opposite sign is
turned. User acceleration is how the phone's speed changes. Rotation turns the phone's axes into the world's (z up).
Basis of a tracker (`part` is not empty): Unity's as sent, left-handed, +y up, +z forward, metres; `euler` in degrees
about x, y, z.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from echelon_bridges.protocol.apps import APPS, App

# Largest magnitude that is believed of one number, in the quantity's largest unit.
LIMITS = {
    "acceleration": 4000.0,  # m/s^2; sensors of phones end at 16 g
    "user_acceleration": 4000.0,
    "gravity": 100.0,
    "angular_rate": 1000.0,  # rad/s; sensors of phones end at 35
    "rotation": 2.0,
    "position": 1e4,  # m
    "euler": 1e4,  # degrees; turns may be counted on
}
QUANTITIES = tuple(LIMITS)
NAME_CHARACTERS = 64  # of a device's name; longer ones are cut
SHORTEST, LONGEST = 0.5, 2.0  # a quaternion's length
TIME_LIMIT_S = 1e11


class Reading(NamedTuple):
    """One quantity of one device, as one message said it; every number is finite.

    `device`: as the sender names itself ("zigsim:abc"), "" where nothing in the datagram does: then its address is its
    name. `values`: three, of `rotation` four (x y z w, length 1, w of any sign). A message that tells one axis has
    `axis` 0, 1 or 2 (x, y, z; of a rotation 3 is w) and one value; whole ones have -1. `unit`: "m/s2", "g", "?" (one of
    these two: the magnitude at rest tells; where it is g the sign may be Apple's), "rad/s", "m", "rad", "deg", "" of a
    rotation. `time_s`: the sender's clock, seconds from any origin, None where the format has none. `part`: a tracker
    of a body, "1" .. "8" or "head".
    """

    device: str
    app: str
    quantity: str
    values: tuple[float, ...]
    unit: str
    time_s: float | None = None
    part: str = ""
    axis: int = -1


@dataclass(slots=True)
class Readings:
    """All of one datagram: `refused` counts values that were no such quantity (not finite, too large, a quaternion of
    length outside 0.5..2, missing numbers), `unknown` messages and keys that say nothing about motion.
    """

    readings: list[Reading] = field(default_factory=list)
    refused: int = 0
    unknown: int = 0

    def add(
        self,
        app: str,
        device: str,
        quantity: str,
        raw: Sequence[object],
        time_s: float | None = None,
        part: str = "",
        axis: int = -1,
    ) -> None:
        """Take the numbers `raw` of one quantity as `app` sends them, or count them as refused."""
        self.add_numbers(app, device, quantity, [number(value) for value in raw[:4]], time_s, part, axis)

    def add_numbers(
        self,
        app: str,
        device: str,
        quantity: str,
        raw: Sequence[float],
        time_s: float | None = None,
        part: str = "",
        axis: int = -1,
    ) -> None:
        """Take what `add` does, as floats; those after the fourth say nothing."""
        how = APPS[app]
        values = _rotation(raw, how, axis) if quantity == "rotation" else _vector(raw, how, quantity, axis)
        if values is None:
            self.refused += 1
            return
        unit = how.units.get(quantity, "")
        self.readings.append(Reading(device[:NAME_CHARACTERS], app, quantity, values, unit, time_s, part, axis))


def number(value: object) -> float:
    """Return an argument as a float: numbers, flags and numbers written as text; NaN for everything else."""
    if type(value) is float:
        return value
    if isinstance(value, (int, float)):
        try:
            return float(value)
        except OverflowError:
            return math.inf
    if isinstance(value, str) and len(value) <= 40 and "_" not in value:
        try:
            return float(value)
        except ValueError:
            return math.nan
    return math.nan


def seconds(value: object, scale: float = 1.0) -> float | None:
    """Return a time stamp `value * scale` in seconds, or None where it is none."""
    time_s = number(value) * scale
    return time_s if abs(time_s) < TIME_LIMIT_S else None


def _vector(raw: Sequence[float], how: App, quantity: str, axis: int) -> tuple[float, ...] | None:
    if len(raw) < (3 if axis < 0 else 1):
        return None
    limit = LIMITS[quantity]
    if axis >= 0:
        value = raw[0]
        if not -limit <= value <= limit:  # true for NaN
            return None
        return (-value,) if quantity in how.turned else (value,)
    x, y, z = raw[:3]
    if not (-limit <= x <= limit and -limit <= y <= limit and -limit <= z <= limit):
        return None
    if quantity == "euler":
        first, second, third = how.euler_order
        return raw[first], raw[second], raw[third]
    return (-x, -y, -z) if quantity in how.turned else (x, y, z)


def _rotation(raw: Sequence[float], how: App, axis: int) -> tuple[float, ...] | None:
    if axis >= 0:
        return (raw[0],) if raw and abs(raw[0]) <= LONGEST else None
    if len(raw) == 3:  # the vector part of a unit quaternion, as Android's first rotation vectors were
        x, y, z = raw
        rest = 1.0 - (x * x + y * y + z * z)
        if not rest >= -1e-3:
            return None
        w = math.sqrt(max(0.0, rest))
    elif len(raw) >= 4:
        first, second, third, fourth = how.quaternion_order
        x, y, z, w = raw[first], raw[second], raw[third], raw[fourth]
    else:
        return None
    squared = x * x + y * y + z * z + w * w
    if not SHORTEST**2 <= squared <= LONGEST**2:  # true for NaN
        return None
    length = math.sqrt(squared)
    return (x / length, y / length, z / length, w / length)
