"""The 32 parameters of the instrument: one table from which bridges, pages and documents are derived."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Curve = Literal["linear", "log", "square"]
LANES = 32


@dataclass(frozen=True, slots=True)
class Parameter:
    """One lane: what it is called, in which unit and range, and how a position 0..1 becomes a value.

    Curves: `linear`  low + p (high - low);  `log`  low (high / low)^p;  `square`  low + p^2 (high - low).
    A `latched` lane is read by a voice at its note-on and then kept; the others move sounding voices.
    """

    lane: int
    name: str
    unit: str
    low: float
    high: float
    curve: Curve
    latched: bool
    about: str

    def value(self, position: float) -> float:
        """Return the value at a position 0..1 (clipped), in the lane's unit."""
        p = min(max(position, 0.0), 1.0)
        if self.curve == "log":
            return self.low * math.pow(self.high / self.low, p)
        if self.curve == "square":
            return self.low + p * p * (self.high - self.low)
        return self.low + p * (self.high - self.low)

    def position(self, value: float) -> float:
        """Return the position 0..1 of a value, the inverse of `value`."""
        v = min(max(value, self.low), self.high)
        if self.curve == "log":
            return math.log(v / self.low) / math.log(self.high / self.low)
        linear = (v - self.low) / (self.high - self.low)
        return math.sqrt(linear) if self.curve == "square" else linear


def _table() -> tuple[Parameter, ...]:
    rows: list[tuple[str, str, float, float, Curve, bool, str]] = [
        *((f"ratio_{n}", "", 0.25, 16.0, "log", False, f"frequency ratio of operator {n}") for n in range(1, 5)),
        *((f"index_{n}", "rad", 0.0, 8.0, "square", False, f"modulation index of operator {n}") for n in range(1, 5)),
        ("amp_attack", "s", 0.001, 2.0, "log", True, "amplitude attack"),
        ("amp_decay", "s", 0.005, 4.0, "log", True, "amplitude decay"),
        ("amp_sustain", "", 0.0, 1.0, "linear", True, "amplitude sustain level"),
        ("amp_release", "s", 0.005, 8.0, "log", True, "amplitude release"),
        ("exciter_attack", "s", 0.001, 2.0, "log", True, "exciter attack"),
        ("exciter_decay", "s", 0.005, 4.0, "log", True, "exciter decay"),
        ("exciter_sustain", "", 0.0, 1.0, "linear", True, "exciter sustain level"),
        ("exciter_release", "s", 0.005, 8.0, "log", True, "exciter release"),
        ("filter_cutoff", "Hz", 40.0, 16000.0, "log", False, "filter cutoff"),
        ("filter_q", "", 0.5, 20.0, "log", False, "filter resonance"),
        ("filter_drive", "dB", 0.0, 24.0, "linear", False, "drive into the filter"),
        ("filter_envelope", "oct", -4.0, 4.0, "linear", False, "how far the exciter envelope moves the cutoff"),
        ("body_structure", "", 0.0, 1.0, "linear", False, "from string to bar: inharmonicity of the body"),
        ("body_brightness", "", 0.0, 1.0, "linear", False, "how long high partials ring beside low ones"),
        ("body_damping", "", 0.0, 1.0, "linear", False, "0 rings long, 1 is choked"),
        ("body_position", "", 0.0, 1.0, "linear", True, "where the body is struck, 0 edge, 1 middle"),
        ("reverb_size", "", 0.0, 1.0, "linear", False, "size of the room"),
        ("reverb_decay", "s", 0.2, 12.0, "log", False, "time to decay by 60 dB"),
        ("reverb_predelay", "ms", 0.0, 120.0, "linear", False, "delay before the room answers"),
        ("reverb_mix", "", 0.0, 1.0, "linear", False, "0 dry, 1 wet, equal power"),
        ("gain", "dB", -18.0, 0.0, "linear", False, "level of the instrument"),
        ("pan", "", -1.0, 1.0, "linear", False, "-1 left, 1 right, equal power"),
        ("width", "", 0.0, 1.0, "linear", False, "0 mono, 1 full stereo"),
        ("ceiling", "dB", -12.0, 0.0, "linear", False, "the limiter lets no sample above it"),
    ]  # fmt: skip
    return tuple(Parameter(lane, *row) for lane, row in enumerate(rows))


PARAMETERS: tuple[Parameter, ...] = _table()
LANE: dict[str, int] = {p.name: p.lane for p in PARAMETERS}
assert len(PARAMETERS) == LANES

CURVES: tuple[Curve, ...] = ("linear", "log", "square")


def curve_arrays() -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Return (low, high, curve) of all lanes for kernels: float32 (32,), float32 (32,), int64 (32,) index of CURVES."""
    low = np.array([p.low for p in PARAMETERS], np.float32)
    high = np.array([p.high for p in PARAMETERS], np.float32)
    curve = np.array([CURVES.index(p.curve) for p in PARAMETERS], np.int64)
    return low, high, curve
