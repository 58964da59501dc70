"""Programs that send one message a sensor: known by their first path element, and everybody else by the last one.

An address is `/PREFIX/NAME` or, a number a message, `/PREFIX/NAME/x`; the prefix, where there is one, is the device.
"""

from __future__ import annotations

from typing import NamedTuple

from echelon_bridges.protocol.osc import Message
from echelon_bridges.protocol.reading import Readings

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
    """What a program calls its sensors where that differs from NAMES, and whether it names a device in the address."""

    app: str
    names: dict[str, str]


# By the first path element.
DIALECTS = {
    "gyrosc": Dialect("gyrosc", {"gyro": "euler"}),
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


def take(message: Message, found: Readings) -> None:
    """Add what one message says."""
    parts = [part for part in message.address.split("/") if part]
    axis = -1
    last = _plain(parts[-1]) if parts else ""
    if len(parts) > 1 and last in AXES:
        axis = AXES[last]
        del parts[-1]
        last = _plain(parts[-1])
    if parts == ["sensors"] and len(message.args) == FLAT:
        _take_flat(message, found)
        return
    dialect = DIALECTS.get(parts[0].lower()) if len(parts) > 1 else None
    if dialect is not None:
        quantity = dialect.names.get(last) or NAMES.get(last)
        app, device = dialect.app, ""
    else:
        quantity = NAMES.get(last)
        device = "osc:" + "/".join(parts[:-1]) if len(parts) > 1 else ""
        if last == "ypr":
            app = "headtracker"
        elif last == "accxyz":
            app = "touchosc"
        elif device:
            app = "sensorvisualizer" if last in VISUALIZER and len(parts) == 2 else "osc"
        else:
            app = ALONE.get(last, "osc")
    if quantity is None or not app or (axis == 3 and quantity != "rotation"):
        found.unknown += 1
    else:
        found.add(app, device, quantity, message.args, axis=axis)


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def _take_flat(message: Message, found: Readings) -> None:
    """Acceleration, acceleration without gravity, roll pitch yaw, rate, gravity, rate without bias: three each."""
    for at, quantity in ((0, "acceleration"), (3, "user_acceleration"), (6, "euler"), (12, "gravity")):
        found.add("rime", "", quantity, message.args[at : at + 3])
    found.add("rime", "", "angular_rate", message.args[15:18])
