"""Units, signs and orders of every sending program, in one table, with the source that says so.

"wire" in a source is the page of wire formats, section 3. Apple's core motion counts gravity downwards (-1 g on z for a
phone on its back) and so the user's acceleration against its direction, since their sum is what the accelerometer says
and that is 0 in free fall; Android counts the other way round.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import NamedTuple

XYZW = (0, 1, 2, 3)
WXYZ = (1, 2, 3, 0)  # where x, y, z and w are found in what is sent
PITCH_ROLL_YAW = (0, 1, 2)
ROLL_PITCH_YAW = (1, 0, 2)
YAW_PITCH_ROLL = (1, 2, 0)

_APPLE = frozenset({"acceleration", "user_acceleration", "gravity"})
_G = MappingProxyType(
    {"acceleration": "g", "user_acceleration": "g", "gravity": "g", "angular_rate": "rad/s", "euler": "rad"}
)
_SI = MappingProxyType(
    {"acceleration": "m/s2", "user_acceleration": "m/s2", "gravity": "m/s2", "angular_rate": "rad/s", "euler": "rad"}
)
_OPEN = MappingProxyType(
    {"acceleration": "?", "user_acceleration": "?", "gravity": "?", "angular_rate": "rad/s", "euler": "rad"}
)


class App(NamedTuple):
    """How one program sends.

    `turned`: quantities whose sign is opposite to ours; `quaternion_order`, `euler_order`: where x y z w, and the turns
    about x y z (pitch, roll, yaw of a phone), are found in what is sent; `source` of all this.
    """

    name: str
    units: MappingProxyType[str, str]
    turned: frozenset[str]
    quaternion_order: tuple[int, int, int, int]
    euler_order: tuple[int, int, int]
    source: str


APPS: dict[str, App] = {
    app.name: app
    for app in (
        App("zigsim", _G, _APPLE, XYZW, PITCH_ROLL_YAW, "wire: MotionService.swift of ZIG SIM"),
        # Receivers disagree about the order; most of those seen read w first, as does the one "fully compatible".
        App("gyrosc", _G, _APPLE, WXYZ, PITCH_ROLL_YAW, "wire: SensorVisualizer and one clone, against another"),
        App("touchosc", _OPEN, frozenset(), XYZW, PITCH_ROLL_YAW, "wire: g and m/s^2 both seen"),
        App("sensors2osc", _SI, frozenset(), XYZW, YAW_PITCH_ROLL, "wire: Android's units, SensorEvent"),
        App("android", _SI, frozenset(), XYZW, YAW_PITCH_ROLL, "Android's SensorEvent"),
        App("sensorlog", _G, _APPLE, XYZW, PITCH_ROLL_YAW, "its own column names"),
        App("tdlidar", _G, _APPLE, XYZW, PITCH_ROLL_YAW, "wire: tdlidar.github.io"),
        App("pdparty", _G, _APPLE, XYZW, PITCH_ROLL_YAW, "wire: core motion's values"),
        App("rime", _G, _APPLE, XYZW, ROLL_PITCH_YAW, "wire: its wiki"),
        App("sensorvisualizer", _OPEN, frozenset(), WXYZ, ROLL_PITCH_YAW, "wire: its README"),
        App("osc", _OPEN, frozenset(), XYZW, PITCH_ROLL_YAW, "none: a program that is not in this table"),
        App(
            "headtracker", MappingProxyType({"euler": "deg"}), frozenset(), XYZW, YAW_PITCH_ROLL,
            "wire: M1-AirPodOSC, Headitude",
        ),
        App(
            "vrchat", MappingProxyType({"position": "m", "euler": "deg"}), frozenset(), XYZW, PITCH_ROLL_YAW,
            "docs.vrchat.com/docs/osc-trackers",
        ),
    )
}  # fmt: skip
