"""One phone: what its messages say becomes the twelve numbers that the engine hears, memory.DEVICES."""

from __future__ import annotations

import math
from collections.abc import Sequence

from echelon_bridges.fusion.clocks import RESTART_S, DeviceClock
from echelon_bridges.fusion.gravity import STANDARD, RestTest, Splitter
from echelon_bridges.fusion.jitter import Jitter
from echelon_bridges.fusion.rate import Rate
from echelon_bridges.fusion.vectors import ZERO, shortest_turn, towards, turned
from echelon_bridges.motion.vector import Vector, length
from echelon_bridges.protocol.reading import Reading

LEAK_S = 0.4  # of the velocity, as the engine's own
BIAS_S = 2.0  # what a phone reads for longer is a tilt or a bias, no movement
REST_MPS2, REST_RADPS, REST_S = 0.25, 0.12, 0.2  # a phone this quiet for so long does not move
STOP_S = 0.05  # time constant with which its velocity then ends
SHOWN_S = 0.2
LARGEST_MPS2, LARGEST_MPS = 160.0, 20.0
STEPPING = ("acceleration", "user_acceleration")
FRESH_NS = 1_000_000_000  # of a quantity: older ones are forgotten
LOST_NS = 1_000_000_000  # a device silent for so long is not present
UPRIGHT: Vector = (0.0, -1.0, 0.0)  # gravity on a phone held or worn upright


class Device:
    """A phone over time. `take` gets its readings; `latent()` is what it does now.

    Velocity is a leaky integral in the world, told in the phone's axes: dv/dt = a - w x v - v / 0.4 s, where a is the
    user's acceleration less its mean of 2 s, and a phone at rest (under 0.25 m/s^2 and 0.12 rad/s for 0.2 s) comes to
    a stop. `unit` is what the resting magnitude says (see `gravity.RestTest`); it overrules what a message declares.
    """

    def __init__(self, name: str, app: str, host: str, performer: int) -> None:
        self.name, self.app, self.host, self.performer = name, app, host, performer
        self.arrival_ns = 0  # newest datagram
        self.time_ns = 0  # of the newest acceleration, on the engine's clock
        self.frames = self.refused = self.unknown = 0
        self.clock = DeviceClock()
        self.jitter = Jitter()
        self.rate = Rate()
        self.acceleration: Vector = ZERO
        self.velocity: Vector = ZERO
        self.peak_mps2 = self.peak_mps = 0.0  # of the last moments, for those who look
        self._rest = RestTest()
        self._splitter = Splitter()
        self._gravity: Vector | None = None
        self._rate: Vector | None = None
        self._rotation: tuple[float, ...] = ()
        self._seen: dict[str, int] = {}  # quantity -> arrival
        self._last_s: dict[str, float] = {}  # quantity -> the sender's time
        self._axes: dict[str, dict[int, float]] = {}  # of senders that tell one axis a message
        self._bias: Vector = ZERO
        self._quiet_s = 0.0
        self._neutral: Vector | None = None  # gravity as it was when the performer stood upright

    def take(self, readings: Sequence[Reading], arrival_ns: int, delay_ns: int) -> int:
        """Take the readings of one datagram; return how many accelerations came. `delay_ns` is the de-jitter's."""
        self.arrival_ns = arrival_ns
        before = self.frames
        for reading in readings:
            values = reading.values if reading.axis < 0 else self._whole(reading)
            if values is not None:
                self._take(reading, values, arrival_ns, delay_ns)
        return self.frames - before

    def _whole(self, reading: Reading) -> tuple[float, ...] | None:
        """Return all axes once each of them has come."""
        axes = self._axes.setdefault(reading.quantity, {})
        count = 4 if reading.quantity == "rotation" else 3
        if reading.axis < count:
            axes[reading.axis] = reading.values[0]
        if len(axes) < count:
            return None
        values = tuple(axes[axis] for axis in range(count))
        axes.clear()
        return values

    def _take(self, reading: Reading, values: tuple[float, ...], arrival_ns: int, delay_ns: int) -> None:
        kind, time_s = reading.quantity, reading.time_s
        if time_s is not None and kind not in STEPPING:  # those that step are judged by the clock
            last_s = self._last_s.get(kind)
            if last_s is not None and last_s - RESTART_S < time_s <= last_s:
                return
            self._last_s[kind] = time_s
        self._seen[kind] = arrival_ns
        if kind == "rotation":
            if len(values) != 4:
                return
            x, y, z, w = values
            size = math.sqrt(x * x + y * y + z * z + w * w)
            if size > 0.5:
                self._rotation = (x / size, y / size, z / size, w / size)
            return
        if len(values) != 3:
            return
        vector: Vector = (values[0], values[1], values[2])
        if kind == "angular_rate":
            self._rate = vector
        elif kind in ("acceleration", "gravity"):
            size = length(vector)
            self._rest.take(size)
            if kind == "gravity" and size > 1e-3 and (reading.unit != "?" or self._rest.unit):
                sign = self._sign(reading) / size
                self._gravity = (-sign * vector[0], -sign * vector[1], -sign * vector[2])
            elif kind == "acceleration" and not self._fresh("user_acceleration", arrival_ns):
                self._accelerate(reading, vector, arrival_ns, delay_ns, raw=True)
        elif kind == "user_acceleration":
            self._accelerate(reading, vector, arrival_ns, delay_ns, raw=False)

    def _fresh(self, kind: str, now_ns: int) -> bool:
        seen = self._seen.get(kind)
        return seen is not None and now_ns - seen < FRESH_NS

    @property
    def unit(self) -> str:
        """What the magnitude at rest says this device counts in, "" as long as it does not say."""
        return self._rest.unit

    def _sign(self, reading: Reading) -> float:
        """Return -1 where a sender that declares no unit counts in g: then its sign is Apple's, too."""
        return -1.0 if reading.unit == "?" and self._rest.unit == "g" else 1.0

    def _accelerate(self, reading: Reading, vector: Vector, arrival_ns: int, delay_ns: int, raw: bool) -> None:
        unit = self._rest.unit or reading.unit
        if unit == "?":
            return  # not known yet
        step = self.clock.step(reading.time_s, arrival_ns)
        if step is None:
            return
        self.time_ns, dt = step
        if reading.time_s is None:
            self.jitter.untimed(arrival_ns)
        else:
            self.jitter.timed(self.time_ns, arrival_ns, delay_ns)
        self.frames += 1
        scale = (STANDARD if unit == "g" else 1.0) * self._sign(reading)
        a: Vector = (vector[0] * scale, vector[1] * scale, vector[2] * scale)
        rate = self._rate if self._fresh("angular_rate", arrival_ns) else None
        if raw:
            if (down := self._told_down(arrival_ns)) is not None:
                a = (a[0] + STANDARD * down[0], a[1] + STANDARD * down[1], a[2] + STANDARD * down[2])
            else:
                a = self._splitter.step(a, rate, dt)
        self._move(a, rate, dt)

    def _told_down(self, now_ns: int) -> Vector | None:
        """Return the direction of gravity where the device says it: as such, or by its attitude."""
        if self._gravity is not None and self._fresh("gravity", now_ns):
            return self._gravity
        if self._rotation and self._fresh("rotation", now_ns):
            x, y, z, w = self._rotation  # the world's up seen from the phone is the third row of its matrix
            return (-2.0 * (x * z - y * w), -2.0 * (y * z + x * w), 2.0 * (x * x + y * y) - 1.0)
        return None

    def _move(self, a: Vector, rate: Vector | None, dt: float) -> None:
        size = length(a)
        if size > LARGEST_MPS2:
            a = (a[0] * LARGEST_MPS2 / size, a[1] * LARGEST_MPS2 / size, a[2] * LARGEST_MPS2 / size)
        self.acceleration = a
        velocity, bias = self.velocity, self._bias
        if dt == 0.0:
            velocity = ZERO
        elif rate is not None:
            velocity, bias = turned(velocity, rate, dt), turned(bias, rate, dt)
        self._bias = bias = towards(bias, a, 1.0 - math.exp(-dt / BIAS_S))
        a = (a[0] - bias[0], a[1] - bias[1], a[2] - bias[2])
        turning = 0.0 if rate is None else length(rate)
        self._quiet_s = self._quiet_s + dt if length(a) < REST_MPS2 and turning < REST_RADPS else 0.0
        # v <- v exp(-dt / tau) + a dt
        keep = math.exp(-dt / (LEAK_S if self._quiet_s < REST_S else STOP_S))
        velocity = (velocity[0] * keep + a[0] * dt, velocity[1] * keep + a[1] * dt, velocity[2] * keep + a[2] * dt)
        speed = length(velocity)
        if speed > LARGEST_MPS:
            velocity = (
                velocity[0] * LARGEST_MPS / speed, velocity[1] * LARGEST_MPS / speed, velocity[2] * LARGEST_MPS / speed,
            )  # fmt: skip
        self.velocity = velocity
        fade = math.exp(-dt / SHOWN_S)
        self.peak_mps2, self.peak_mps = max(self.peak_mps2 * fade, length(a)), max(self.peak_mps * fade, speed)

    def down(self) -> Vector:
        """Return the direction of gravity in the phone's axes, length 1; zeros where nothing tells it."""
        told = self._told_down(self.arrival_ns)
        if told is not None:
            return told
        up = self._splitter.up
        return ZERO if up is None else (-up[0], -up[1], -up[2])

    def is_present(self, now_ns: int) -> bool:
        """Return whether it moves somebody: heard within a second, and it tells accelerations or where down is."""
        return now_ns - self.arrival_ns < LOST_NS and (self.frames > 0 or self.down() != ZERO)

    def recentre(self) -> None:
        """Take the way it is worn now for upright (what its lean is counted from), and its speed for none."""
        down = self.down()
        self._neutral = down if length(down) > 0.5 else None
        self.velocity, self._bias = ZERO, ZERO

    def latent(self, now_ns: int, worn: bool = False) -> tuple[float, ...]:
        """Return user acceleration m/s^2, angular rate rad/s, direction of gravity, velocity m/s: 12 numbers.

        All in the phone's axes; `worn` turns them so that the posture of the last `recentre` counts as upright. What
        is older than a second is 0.
        """
        rate = self._rate if self._rate is not None and self._fresh("angular_rate", now_ns) else ZERO
        rows = (self.acceleration, rate, self.down(), self.velocity)
        if worn and self._neutral is not None:
            neutral = self._neutral
            rows = tuple(shortest_turn(neutral, UPRIGHT, row) for row in rows)  # type: ignore[assignment]
        return (*rows[0], *rows[1], *rows[2], *rows[3])
