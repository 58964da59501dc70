"""SensorLog's JSON: one flat object whose keys are its column names, units in brackets, numbers often as text."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

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
NAMES = ("deviceID", "identifierForVendor")


class Columns(NamedTuple):
    """The keys of a row by what they tell, as they are in it; None for one that is missing."""

    quantities: list[tuple[str, list[Any]]]
    times: list[Any]
    names: list[Any]


@lru_cache(maxsize=64)  # a phone sends the same keys again and again
def _columns(keys: tuple[str, ...]) -> Columns | None:
    """Return where what is in a row of these keys; None where none of them is a column of SensorLog's motion."""
    whole = {key.partition("(")[0]: key for key in keys}
    quantities = [
        (quantity, [whole.get(column) for column in columns])
        for quantity, columns in COLUMNS
        if not whole.keys().isdisjoint(columns)
    ]
    times, names = ([whole.get(column) for column in columns] for columns in (TIMES, NAMES))
    return Columns(quantities, times, names) if quantities else None


def take_json(value: Mapping[str, object], found: Readings) -> bool:
    """Add the readings of one row; False where none of its keys is a column of SensorLog's motion."""
    columns = _columns(tuple(value))
    if columns is None:
        return False
    time_s = None
    for key in columns.times:
        time_s = seconds(value.get(key)) if time_s is None else time_s
    if time_s is None:
        time_s = stamp(value.get(columns.times[-1]))
    name = value.get(columns.names[0]) or value.get(columns.names[1])
    device = f"sensorlog:{name}" if isinstance(name, str) else ""
    for quantity, keys in columns.quantities:
        found.add("sensorlog", device, quantity, [value.get(key) for key in keys], time_s)
    return True
