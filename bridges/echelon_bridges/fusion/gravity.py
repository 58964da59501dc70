"""Gravity and the user's own acceleration of a phone, from whatever it sends: told, derived from attitude, or filtered.

Vectors are in the phone's axes, right-handed. An accelerometer reads the specific force f = a + g up: at rest 9.81
m/s^2 along the axis that points up.
"""

from __future__ import annotations

import math
from statistics import median

from echelon_bridges.fusion.vectors import towards, turned
from echelon_bridges.motion.vector import Vector, length

STANDARD = 9.80665  # m/s^2
BETWEEN = math.sqrt(STANDARD)  # geometric mean of 1 g and 9.81 m/s^2
SAMPLES = 16
REST_SPREAD = 0.15  # of the median: a window that varies less is a phone at rest
PATIENCE = 120  # samples without rest, then the median decides
WITH_GYRO_S, WITHOUT_GYRO_S = 1.0, 0.3
TRUSTED = 0.2  # a specific force this far off 1 g (as a share) says nothing about up
LEAST_TRUST = 0.1  # of a phone without a gyroscope, whose up must follow anyhow


class RestTest:
    """Whether a sender counts in g or in m/s^2: at rest its accelerometer reads 1 or 9.81, whatever it declares.

    `unit` is "" until 16 samples in a row spread by less than 15 %: a phone at rest. Their median is compared with the
    geometric mean 3.13. A phone that never rests is judged by the median of 120 samples: shaken by 3 g on average is
    nobody, and no one is weightless.
    """

    def __init__(self) -> None:
        self.unit = ""
        self._newest: list[float] = []

    def take(self, magnitude: float) -> None:
        """Take the magnitude of a raw acceleration or of gravity."""
        if self.unit:
            return
        self._newest.append(magnitude)
        if len(self._newest) < SAMPLES:
            return
        window = self._newest[-SAMPLES:]
        middle = median(window)
        if max(window) - min(window) > REST_SPREAD * middle:
            if len(self._newest) < PATIENCE:
                return
            middle = median(self._newest)
        if middle > 0.05:  # a sensor that is switched off reads 0
            self.unit = "g" if middle < BETWEEN else "m/s2"
        self._newest.clear()


class Splitter:
    """Tells up from a raw acceleration: a complementary filter with a gyroscope, a low pass without.

    up <- up - w x up dt            (what stands still in the world turns the other way in the phone's axes)
    up <- up + k (f / |f| - up),    k = trust (1 - exp(-dt / tau)), then made a unit vector again

    tau = 1.0 s with a gyroscope, 0.3 s without; trust falls from 1 to 0 (to 0.1 without a gyroscope) as |f| leaves 1 g
    by 20 %. Source: Mahony, Hamel and Pflimlin 2008, the passive filter's gravity part.
    """

    def __init__(self) -> None:
        self.up: Vector | None = None

    def step(self, force: Vector, rate: Vector | None, dt: float) -> Vector:
        """Return the user's acceleration in m/s^2 of a specific force in m/s^2 and, where known, a rate in rad/s."""
        size = length(force)
        if self.up is None:
            if size < 0.5 * STANDARD:
                return (0.0, 0.0, 0.0)
            self.up = (force[0] / size, force[1] / size, force[2] / size)
        up = self.up
        trust = max(1.0 - abs(size / STANDARD - 1.0) / TRUSTED, 0.0)
        tau = WITH_GYRO_S
        if rate is not None:
            up = turned(up, rate, dt)
        else:
            tau, trust = WITHOUT_GYRO_S, max(trust, LEAST_TRUST)
        if size > 0.0:
            scale = 1.0 / size
            seen = (force[0] * scale, force[1] * scale, force[2] * scale)
            up = towards(up, seen, trust * (1.0 - math.exp(-dt / tau)))
        size = length(up)
        if size > 1e-3:
            self.up = up = (up[0] / size, up[1] / size, up[2] / size)
        return (force[0] - STANDARD * up[0], force[1] - STANDARD * up[1], force[2] - STANDARD * up[2])
