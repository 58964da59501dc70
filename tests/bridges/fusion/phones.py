"""A phone that swings and turns by formulas, so that what it feels is known exactly."""

from collections.abc import Iterator

import numpy as np
from senders import G, Phone

from echelon_engine import quaternion as qt

RATE_HZ = 60.0
SWING_HZ = 1.0
SWING_MPS = 1.5


def swing(seconds: float, *, turning: bool = True, begin_s: float = 0.0, still_s: float = 1.0) -> Iterator[Phone]:
    """A second of rest, then a hand that goes up and down at `SWING_HZ` with `SWING_MPS` at most while it tilts."""
    for n in range(round(seconds * RATE_HZ)):
        t = n / RATE_HZ
        moving = t >= still_s
        phase = 2 * np.pi * SWING_HZ * (t - still_s)
        world = np.array([0.0, 0.0, SWING_MPS * 2 * np.pi * SWING_HZ * np.cos(phase) if moving else 0.0])
        tilt = 0.6 * np.sin(2 * np.pi * 0.4 * (t - still_s)) if moving and turning else 0.0
        rate = 0.6 * 2 * np.pi * 0.4 * np.cos(2 * np.pi * 0.4 * (t - still_s)) if moving and turning else 0.0
        attitude = qt.about([1.0, 0.0, 0.0], np.array(0.9 + tilt))  # phone to world, z up
        inverse = attitude * [-1.0, -1.0, -1.0, 1.0]

        def seen(vector: np.ndarray, inverse: np.ndarray = inverse) -> tuple[float, ...]:
            return tuple(float(v) for v in qt.rotate(inverse, vector))

        yield Phone(
            user_acceleration=seen(world),
            gravity=seen(np.array([0.0, 0.0, G])),
            angular_rate=(float(rate), 0.0, 0.0),
            rotation=tuple(map(float, attitude)),
            time_s=begin_s + t,
        )


def true_velocity(seconds: float, still_s: float = 1.0) -> np.ndarray:
    """The leaky integral (0.4 s) of the swing's upward acceleration, in closed steps of 1/6000 s, at each sample."""
    fine = 100
    v, found = 0.0, []
    for n in range(round(seconds * RATE_HZ) * fine):
        t = n / RATE_HZ / fine
        if n % fine == 0:
            found.append(v)
        a = SWING_MPS * 2 * np.pi * SWING_HZ * np.cos(2 * np.pi * SWING_HZ * (t - still_s)) if t >= still_s else 0.0
        v += (a - v / 0.4) / RATE_HZ / fine
    return np.array(found)
