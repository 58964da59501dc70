"""Programs that send one message a sensor: known by their first path element, and everybody else by the last one.

An address is `/PREFIX/NAME` or, a number a message, `/PREFIX/NAME/x`; the prefix, where there is one, is the device,
and so is a text before the numbers. `NAME_deg` tells degrees.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

from echelon_bridges.protocol.osc import Message
from echelon_bridges.protocol.reading import Readings, number

# Last path element, in lower case and without _ and -, to the quantity it tells.
NAMES = {
    "accel": "acceleration",
    "acc": "acceleration",
    "accelerometer": "acceleration",
    "accelerate": "acceleration",
    "acceleration": "acceleration",
    "accxyz": "acceleration",
    "accelerationincludinggravity": "acceleration",
    "linearacceleration": "user_acceleration",
    "linearaccel": "user_acceleration",
    "linacc": "user_acceleration",
    "useracceleration": "user_acceleration",
    "useraccel": "user_acceleration",
    "gravity": "gravity",
    "grav": "gravity",
    "gyro": "angular_rate",
    "gyroscope": "angular_rate",
    "rrate": "angular_rate",
    "rotationrate": "angular_rate",
    "quat": "rotation",
    "quaternion": "rotation",
    "attitude": "rotation",
    "rotationvector": "rotation",
    "gamerotationvector": "rotation",
    "euler": "euler",
    "orientation": "euler",
    "ypr": "euler",
}
AXES = {"x": 0, "y": 1, "z": 2, "w": 3}
FLAT = 18  # numbers of one flat message: five quantities and the raw angular rate


class Dialect(NamedTuple):
    """What a program calls its sensors where that differs from NAMES; its address names no device."""

    app: str
    names: dict[str, str]


# By the first path element.
DIALECTS = {
    "gyrosc": Dialect("gyrosc", {"gyro": "euler", "accel": "user_acceleration"}),  # it tells gravity apart
    "tdlidar": Dialect("tdlidar", {"rotation": "angular_rate"}),
    "pdparty": Dialect("pdparty", {}),
}
# Names that only one program has, of addresses without a device: its units and signs are known by them.
ALONE = {
    "accxyz": "touchosc",
    "accelerometer": "sensors2osc",
    "gyroscope": "sensors2osc",
    "gravity": "sensors2osc",
    "linearacceleration": "sensors2osc",
    "rotationvector": "sensors2osc",
    "gamerotationvector": "sensors2osc",
    "orientation": "",  # azimuth, pitch and roll in degrees, long given up by Android: the rotation vector is better
}
VISUALIZER = frozenset({"acc", "quat", "euler"})  # names of SensorVisualizer, which puts w first


class Address(NamedTuple):
    """An address taken apart: its elements, without the axis where the last one is one, and the sensor's plain name."""

    parts: tuple[str, ...]
    sensor: str
    axis: int
    degrees: bool


@lru_cache(maxsize=512)  # a phone says the same addresses again and again
def _take_apart(address: str) -> Address:
    parts = [part for part in address.split("/") if part]
    axis = -1
    sensor = _plain(parts[-1]) if parts else ""
    if len(parts) > 1 and sensor in AXES:
        axis = AXES[sensor]
        del parts[-1]
        sensor = _plain(parts[-1])
    degrees = sensor.endswith("deg") and sensor[:-3] in NAMES
    return Address(tuple(parts), sensor[:-3] if degrees else sensor, axis, degrees)


def take(message: Message, found: Readings) -> None:
    """Add what one message says."""
    parts, last, axis, degrees = _take_apart(message.address)
    if last == "sensors" and len(message.args) == FLAT:
        _take_flat(message, "osc:" + "/".join(parts[:-1]) if len(parts) > 1 else "", found)
        return
    args = message.args
    dialect = DIALECTS.get(parts[0].lower()) if len(parts) > 1 else None
    label = ""
    if dialect is None and len(args) > 1 and isinstance(args[0], str) and _is_name(args[0]):
        label, args = args[0], args[1:]
    device = ""
    quantity = NAMES.get(last)
    if dialect is not None:
        quantity = dialect.names.get(last) or quantity
        app = dialect.app
    else:
        named = [*parts[:-1], label] if label else parts[:-1]
        device = "osc:" + "/".join(named) if named else ""
        app = _app_of(last, len(named))
    if quantity is None or not app or (axis == 3 and quantity != "rotation"):
        found.unknown += 1
        return
    if degrees:
        args = tuple(math.radians(number(value)) for value in args)
    found.add(app, device, quantity, args, axis=axis)


def _app_of(last: str, names: int) -> str:
    """Return which program calls a sensor so, behind so many names of a device."""
    if last == "ypr":
        return "headtracker"
    if last == "accxyz":
        return "touchosc"
    if not names:
        return ALONE.get(last, "osc")
    if last == "linearacceleration":  # Android's name, so its unit; at rest nothing would tell
        return "android"
    return "sensorvisualizer" if last in VISUALIZER and names == 1 else "osc"


def _is_name(text: str) -> bool:
    return text[:1].isalpha() and text.lower() not in ("nan", "inf", "infinity")


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def _take_flat(message: Message, device: str, found: Readings) -> None:
    """Acceleration, acceleration without gravity, roll pitch yaw, rate, gravity, rate without bias: three each."""
    for at, quantity in ((0, "acceleration"), (3, "user_acceleration"), (6, "euler"), (12, "gravity")):
        found.add("rime", device, quantity, message.args[at : at + 3])
    found.add("rime", device, "angular_rate", message.args[15:18])
