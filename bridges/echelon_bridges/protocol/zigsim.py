"""ZIG SIM: one bundle a tick with `/UUID/deviceinfo` and a `/UUID/SENSOR` for each sensor, or one JSON object.

The UUID is the device's name; its user may edit it, and leave it empty.
Source: the app's ServiceManager.swift, MotionService.swift and Utils.swift (1-10/ZIGSIMPlus_iOS_Public).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache

from echelon_bridges.protocol.osc import Message
from echelon_bridges.protocol.reading import Readings

SENSORS = {
    "accel": "user_acceleration",
    "gravity": "gravity",
    "gyro": "angular_rate",
    "quaternion": "rotation",
}
ABOUT = "deviceinfo"


def path(message: Message) -> tuple[str, str]:
    """Return (everything before the last element, last element in lower case) of a message's address."""
    return _split(message.address)


@lru_cache(maxsize=512)  # a phone says the same addresses again and again
def _split(address: str) -> tuple[str, str]:
    prefix, _, last = address.rpartition("/")
    return prefix.lstrip("/"), last.lower()


def owns(messages: list[Message]) -> bool:
    """Return whether a bundle is ZIG SIM's: it says about the device, or has its sensors of one device only."""
    names = [path(message) for message in messages]
    if any(last == ABOUT for _, last in names):
        return True
    prefix = names[0][0]
    return prefix != "" and all(before == prefix and last in SENSORS for before, last in names)


def take_bundle(messages: list[Message], found: Readings) -> None:
    """Add the readings of a bundle that `owns` says is ZIG SIM's."""
    for message in messages:
        uuid, last = path(message)
        quantity = SENSORS.get(last)
        if quantity is None:
            found.unknown += last != ABOUT
        else:
            found.add("zigsim", f"zigsim:{uuid}" if uuid else "", quantity, message.args)


def take_json(value: Mapping[str, object], found: Readings) -> bool:
    """Add the readings of ZIG SIM's JSON object; False where it is none."""
    sensors = value.get("sensordata")
    if not isinstance(sensors, dict):
        return False
    about = value.get("device")
    uuid = about.get("uuid") if isinstance(about, dict) else None
    device = f"zigsim:{uuid}" if isinstance(uuid, str) and uuid else ""
    time_s = stamp(value.get("timestamp"))
    for name, body in sensors.items():
        quantity = SENSORS.get(str(name).lower())
        if quantity is None:
            found.unknown += 1
        elif isinstance(body, dict):
            axes = [body.get("x"), body.get("y"), body.get("z")]
            if quantity == "rotation":
                axes.append(body.get("w"))
            found.add("zigsim", device, quantity, axes, time_s)
        else:
            found.refused += 1
    return True


def stamp(value: object) -> float | None:
    """Return Unix seconds of an ISO 8601 date and time, UTC where it names no zone, or None where it is none."""
    if not isinstance(value, str) or not 10 < len(value) <= 40:
        return None
    try:
        when = datetime.fromisoformat(value.strip().replace(" +", "+").replace(" -", "-"))
        return when.replace(tzinfo=when.tzinfo or UTC).timestamp()
    except (ValueError, OverflowError):
        return None
