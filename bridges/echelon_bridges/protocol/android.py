"""Android's sensor events as JSON: `{"type": "android.sensor.accelerometer", "timestamp": ns, "values": [x, y, z]}`."""

from __future__ import annotations

from collections.abc import Mapping

from echelon_bridges.protocol.reading import Readings, seconds

PREFIX = "android.sensor."
SENSORS = {
    "accelerometer": "acceleration",
    "linear_acceleration": "user_acceleration",
    "gravity": "gravity",
    "gyroscope": "angular_rate",
    "rotation_vector": "rotation",
    "game_rotation_vector": "rotation",
}


def take_json(value: Mapping[str, object], found: Readings) -> bool:
    """Add the reading of one sensor event; False where it is none."""
    kind = value.get("type")
    if not isinstance(kind, str) or not kind.startswith(PREFIX):
        return False
    quantity = SENSORS.get(kind[len(PREFIX) :])
    values = value.get("values")
    if quantity is None:
        found.unknown += 1
    else:
        found.add(
            "android",
            "",
            quantity,
            values if isinstance(values, list) else (),
            seconds(value.get("timestamp"), 1e-9),
        )
    return True
