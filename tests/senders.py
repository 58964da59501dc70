"""Every program's datagrams as it sends them, for all tests: phones, trackers and bodies, well and badly behaved.

A stream is a list of (seconds of arrival, bytes). Phones say what a `Phone` does, each in its own units and signs.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from echelon_bridges.motion.skeleton import INDEX, REST_OFFSETS
from echelon_bridges.protocol import mocopi, osc, vmc
from echelon_engine import quaternion as qt

G = 9.80665
Stream = list[tuple[float, bytes]]
Triple = Sequence[float]
CALM = np.tile(qt.IDENTITY, (27, 1))


@dataclass(frozen=True)
class Phone:
    """What a phone feels, in its own axes: m/s^2 (gravity as read at rest: up is positive), rad/s, x y z w."""

    user_acceleration: Triple = (0.0, 0.0, 0.0)
    gravity: Triple = (0.0, 0.0, G)
    angular_rate: Triple = (0.0, 0.0, 0.0)
    rotation: Sequence[float] = (0.0, 0.0, 0.0, 1.0)
    time_s: float = 0.0

    @property
    def acceleration(self) -> list[float]:
        """What its accelerometer reads, m/s^2."""
        return [u + g for u, g in zip(self.user_acceleration, self.gravity, strict=True)]


def floats(address: str, values: Iterable[float]) -> bytes:
    """Return an OSC message of float32."""
    args = [float(value) for value in values]
    return osc.encode_message(address, "f" * len(args), args)


def apple(values: Triple) -> list[float]:
    """Return m/s^2 as core motion says it: in g, and with the opposite sign."""
    return [-value / G for value in values]


def zigsim(phone: Phone, name: str = "abc", *, sensors: str = "accel gravity gyro quaternion") -> list[bytes]:
    """ZIG SIM, OSC: one bundle a tick, immediate."""
    said = {
        "accel": apple(phone.user_acceleration),
        "gravity": apple(phone.gravity),
        "gyro": phone.angular_rate,
        "quaternion": phone.rotation,
    }
    about = osc.encode_message(f"/{name}/deviceinfo", "ssssii", ["iPhone X", name, "ios", "17.0", 1125, 2436])
    return [osc.encode_bundle([about, *(floats(f"/{name}/{key}", said[key]) for key in sensors.split())])]


def zigsim_json(phone: Phone, name: str = "abc") -> list[bytes]:
    """ZIG SIM, JSON."""

    def xyz(values: Triple) -> dict[str, float]:
        return dict(zip("xyzw", map(float, values), strict=False))

    stamp = datetime.fromtimestamp(phone.time_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    about = {"name": "iPhone X", "uuid": name, "os": "ios", "osversion": "17.0"}
    about |= {"displaywidth": 1125, "displayheight": 2436}  # type: ignore[dict-item]
    sensors = {
        "accel": xyz(apple(phone.user_acceleration)),
        "gravity": xyz(apple(phone.gravity)),
        "gyro": xyz(phone.angular_rate),
        "quaternion": xyz(phone.rotation),
    }
    return [json.dumps({"device": about, "timestamp": stamp, "sensordata": sensors}).encode()]


def gyrosc(phone: Phone, name: str = "", *, text: bool = False) -> list[bytes]:
    """GyrOSC: single messages, w first; `text`: a clone that writes numbers as strings."""
    x, y, z, w = phone.rotation
    said = {
        "rrate": phone.angular_rate,
        "accel": apple(phone.user_acceleration),
        "grav": apple(phone.gravity),
        "quat": (w, x, y, z),
    }
    if text:
        return [
            osc.encode_message(f"/gyrosc/{key}", "s" * len(values), [str(float(v)) for v in values])
            for key, values in said.items()
        ]
    return [floats(f"/gyrosc/{key}", values) for key, values in said.items()]


def touchosc(phone: Phone, name: str = "", *, in_g: bool = False) -> list[bytes]:
    """TouchOSC: acceleration only, Android's way, or in g as an iPhone."""
    return [floats("/accxyz", apple(phone.acceleration) if in_g else phone.acceleration)]


def sensors2osc(phone: Phone, name: str = "", *, axes: bool = False) -> list[bytes]:
    """Sensors2OSC: a message a sensor, or as older ones a message an axis."""
    said: dict[str, Sequence[float]] = {
        "accelerometer": phone.acceleration,
        "linearacceleration": phone.user_acceleration,
        "gravity": phone.gravity,
        "gyroscope": phone.angular_rate,
    }
    if axes:
        return [
            floats(f"/{key}/{axis}", [v]) for key, value in said.items() for axis, v in zip("xyz", value, strict=True)
        ]
    said["rotationvector"] = [*phone.rotation, -1.0]  # accuracy comes fifth
    return [floats(f"/{key}", value) for key, value in said.items()]


def sensorlog(phone: Phone, name: str = "", *, text: bool = True) -> list[bytes]:
    """SensorLog, JSON: column names with units, numbers as text."""
    said = {f"accelerometerAcceleration{a}(G)": v for a, v in zip("XYZ", apple(phone.acceleration), strict=True)}
    for key, unit, values in (
        ("motionUserAcceleration", "G", apple(phone.user_acceleration)),
        ("motionGravity", "G", apple(phone.gravity)),
        ("motionRotationRate", "rad/s", phone.angular_rate),
        ("motionQuaternion", "R", phone.rotation),
    ):
        said |= {f"{key}{a}({unit})": float(v) for a, v in zip("XYZW", values, strict=False)}
    said |= {"motionTimestamp_sinceReboot(s)": phone.time_s}
    row = {key: repr(value) for key, value in said.items()} if text else said
    return [json.dumps({"loggingTime(txt)": "2026-11-22T10:00:00.000+01:00", **row}).encode()]


def android(phone: Phone, name: str = "") -> list[bytes]:
    """Android's sensor events as JSON, one a datagram."""
    x, y, z, w = phone.rotation
    said: dict[str, Sequence[float]] = {
        "accelerometer": phone.acceleration,
        "linear_acceleration": phone.user_acceleration,
        "gravity": phone.gravity,
        "gyroscope": phone.angular_rate,
        "rotation_vector": [x, y, z, w, 0.05],
    }
    return [
        json.dumps(
            {
                "type": f"android.sensor.{key}",
                "timestamp": round(phone.time_s * 1e9),
                "values": [float(v) for v in value],
            }
        ).encode()
        for key, value in said.items()
    ]


def tdlidar(phone: Phone, name: str = "") -> list[bytes]:
    """TDLidar: angular rate, a message an axis."""
    return [floats(f"/tdlidar/motion/rotation/{a}", [v]) for a, v in zip("xyz", phone.angular_rate, strict=True)]


def sensorvisualizer(phone: Phone, name: str = "dev") -> list[bytes]:
    """SensorVisualizer's addresses: a device, w first."""
    x, y, z, w = phone.rotation
    said = {"acc": phone.acceleration, "gyro": phone.angular_rate, "quat": (w, x, y, z), "mag": (30.0, 0.0, -20.0)}
    return [floats(f"/{name}/{key}", value) for key, value in said.items()]


def rime(phone: Phone, name: str = "") -> list[bytes]:
    """RIME: 18 numbers in one message."""
    values = [*apple(phone.acceleration), *apple(phone.user_acceleration), 0.1, 0.2, 0.3]
    return [floats("/sensors", [*values, *phone.angular_rate, *apple(phone.gravity), *phone.angular_rate])]


PHONES: dict[str, Callable[..., list[bytes]]] = {
    "zigsim": zigsim,
    "zigsim_json": zigsim_json,
    "gyrosc": gyrosc,
    "touchosc": touchosc,
    "sensors2osc": sensors2osc,
    "sensorlog": sensorlog,
    "android": android,
    "tdlidar": tdlidar,
    "sensorvisualizer": sensorvisualizer,
    "rime": rime,
}


def vrchat(trackers: dict[str, tuple[Triple, Triple | None]], *, bundle: bool = True) -> list[bytes]:
    """Trackers "1" .. "8" and "head": Unity's position in metres and Euler angles in degrees (or None)."""
    single = []
    for part, (position, euler) in trackers.items():
        single.append(floats(f"/tracking/trackers/{part}/position", position))
        if euler is not None:
            single.append(floats(f"/tracking/trackers/{part}/rotation", euler))
    return [osc.encode_bundle(single)] if bundle else single


def gesture(n: int) -> np.ndarray:
    """Return rotations (27, 4) of a body that raises its left arm and turns, a little more with each frame."""
    turns = CALM.copy()
    turns[0] = qt.about([0, 1, 0], np.array(0.02 * n))
    turns[INDEX["l_up_arm"]] = qt.about([0, 0, 1], np.array(0.03 * n))
    return turns


def mocopi_frames(
    frames: int,
    *,
    rate_hz: float = 60.0,
    begin_s: float = 0.0,
    first_number: int = 1928,
    first_time_s: float = 0.0,
    unix: bool = True,
    drift_ppm: float = 0.0,
    skeleton_every_s: float = 3.6,
    pose: Callable[[int], np.ndarray] = gesture,
) -> Stream:
    """A mocopi app from pressing start: `time` from 0, `fnum` going on, a skeleton packet now and then.

    `drift_ppm`: its clock runs so much faster than the one arrival is told by.
    """
    found: Stream = []
    skeleton_at = 0.0
    for n in range(frames):
        at = begin_s + n / rate_hz
        if n / rate_hz >= skeleton_at:
            found.append((at, mocopi.encode_skeleton(REST_OFFSETS)))
            skeleton_at += skeleton_every_s
        said_s = first_time_s + n / rate_hz * (1.0 + drift_ppm * 1e-6)
        found.append(
            (
                at,
                mocopi.encode_frame(
                    first_number + n,
                    said_s,
                    pose(n),
                    [0.0, 0.93, 0.0],
                    REST_OFFSETS,
                    unix_s=1.7e9 + begin_s + said_s if unix else None,
                ),
            )
        )
    return found


def vmc_frames(
    frames: int,
    *,
    rate_hz: float = 60.0,
    begin_s: float = 0.0,
    first_time_s: float = 0.0,
    drift_ppm: float = 0.0,
    bundle: bool = True,
    pose: Callable[[int], np.ndarray] = gesture,
) -> Stream:
    """A VMC performer, one bundle a frame or single messages."""
    return [
        (begin_s + n / rate_hz, data)
        for n in range(frames)
        for data in vmc.encode_frame(
            first_time_s + n / rate_hz * (1.0 + drift_ppm * 1e-6), pose(n), [0.0, 0.93, 0.0], bundle=bundle
        )
    ]


def lossy(stream: Stream, share: float, seed: int = 1) -> Stream:
    """Lose a share of the datagrams, as when one of two fragments is lost."""
    rng = np.random.default_rng(seed)
    return [each for each in stream if rng.random() >= share]


def doubled(stream: Stream, every: int) -> Stream:
    """Every so many datagrams one comes twice."""
    return [each for n, one in enumerate(stream) for each in ([one, one] if n % every == every - 1 else [one])]


def swapped(stream: Stream, every: int) -> Stream:
    """Every so many datagrams one changes places with the next, arrival times staying in order."""
    data = [each for _, each in stream]
    for n in range(every, len(data) - 1, every):
        data[n], data[n + 1] = data[n + 1], data[n]
    return [(seconds, each) for (seconds, _), each in zip(stream, data, strict=True)]


def bursty(stream: Stream, longest_s: float = 0.166, seed: int = 1) -> Stream:
    """Hold datagrams back for up to so long, in order, as a busy Wi-Fi does."""
    rng = np.random.default_rng(seed)
    found: Stream = []
    before = 0.0
    for seconds, data in stream:
        held = seconds + (longest_s * rng.random() if rng.random() < 0.2 else 0.002 * rng.random())
        before = max(before + 2e-6, held)
        found.append((before, data))
    return found


def stopped_and_started(frames: int = 120, *, app_too: bool = False, **options: object) -> Stream:
    """A mocopi performer that stops and starts again 2 s later; `app_too`: the app itself is started again."""
    first = mocopi_frames(frames, **options)  # type: ignore[arg-type]
    number = 0 if app_too else 1928 + frames + 120
    return first + mocopi_frames(frames, begin_s=first[-1][0] + 2.0, first_number=number, **options)  # type: ignore[arg-type]


def truncated(data: bytes, size: int = 1472) -> bytes:
    """What a receiver would get of a datagram of which it kept the first fragment only."""
    return data[:size]
