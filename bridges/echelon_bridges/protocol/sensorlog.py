"""SensorLog's JSON: one flat object whose keys are its column names, units in brackets, numbers often as text."""

from __future__ import annotations

from collections.abc import Mapping

from echelon_bridges.protocol.reading import Readings, seconds
from echelon_bridges.protocol.zigsim import stamp

# Quantity, and the keys of its numbers without their units.
COLUMNS = (
    ("acceleration", [f"accelerometerAcceleration{axis}" for axis in "XYZ"]),
    ("user_acceleration", [f"motionUserAcceleration{axis}" for axis in "XYZ"]),
    ("gravity", [f"motionGravity{axis}" for axis in "XYZ"]),
    ("angular_rate", [f"motionRotationRate{axis}" for axis in "XYZ"]),
    ("rotation", [f"motionQuaternion{axis}" for axis in "XYZW"]),
    ("euler", ["motionPitch", "motionRoll", "motionYaw"]),
)
TIMES = ("motionTimestamp_sinceReboot", "accelerometerTimestamp_sinceReboot", "loggingTime")
MARKS = frozenset(key for _, keys in COLUMNS for key in keys)


def take_json(value: Mapping[str, object], found: Readings) -> bool:
    """Add the readings of one row; False where none of its keys is a column of SensorLog's motion."""
    row = {key.partition("(")[0]: each for key, each in value.items()}
    if MARKS.isdisjoint(row):
        return False
    time_s = None
    for key in TIMES:
        time_s = seconds(row.get(key)) if time_s is None else time_s
    if time_s is None:
        time_s = stamp(row.get("loggingTime"))
    name = row.get("deviceID") or row.get("identifierForVendor")
    device = f"sensorlog:{name}" if isinstance(name, str) else ""
    for quantity, keys in COLUMNS:
        if any(key in row for key in keys):
            found.add("sensorlog", device, quantity, [row.get(key) for key in keys], time_s)
    return True
