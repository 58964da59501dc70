"""The band's 15 parameters and the 16 mappings that drive them: one table for kernels, conductor, pages and documents.

Parameters are positions 0..1. Those used by the `composer` shape the next bar's notes; those of the `mix` move the
sound at every control frame. A mapping takes one number of the control record into 0..1 and smooths it; where several
drive one parameter it is their weighted mean. Source: spec/music.md, "The conductor"; spec/seeds/3, sections 2.3, 5.1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping as NumbersByName
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Use = Literal["composer", "mix"]
MappingCurve = Literal["linear", "log"]
Sense = Literal["up", "down", "size"]

# The numbers of a control record that mappings read, in the order of the kernel's `source`. What is not a field of
# memory.CONTROL itself is one of memory.LATENT_STATE_NAMES.
SOURCES = (
    "energy", "c", "tension", "curvature", "curvature_rate", "periodicity", "coherence", "grounding", "verticality",
    "prediction_confidence", "rotational_energy", "micro_tension", "transition_intensity", "lr_pan",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class BandParameter:
    """One position 0..1: who uses it, what 0 and 1 mean in `unit`, and where it stands when nothing moves it.

    `low` and `high` are the ends; a parameter with a `middle` means that value at 0.5 and is linear on both sides.
    `brightness` runs exponentially between its ends.
    """

    lane: int
    name: str
    use: Use
    unit: str
    low: float
    high: float
    neutral: float
    about: str
    middle: float | None = None

    def value(self, position: float) -> float:
        """Return what a position 0..1 (clipped) means, in `unit`."""
        p = min(max(position, 0.0), 1.0)
        if self.unit == "Hz":
            return self.low * math.pow(self.high / self.low, p)
        if self.middle is not None:
            below, above = self.middle - self.low, self.high - self.middle
            return self.middle + (2.0 * p - 1.0) * (below if p < 0.5 else above)
        return self.low + p * (self.high - self.low)


def _parameters() -> tuple[BandParameter, ...]:
    c: Use = "composer"
    m: Use = "mix"
    rows: list[tuple[str, Use, str, float, float, float, str]] = [
        ("rhythmic_density", c, "", 0.0, 1.0, 0.50, "how many of a style's onsets are played"),
        ("hat_density", c, "", 0.0, 1.0, 0.45, "the same for hats and shakers"),
        ("melodic_range", c, "semitones", 2.0, 14.0, 0.50, "how far lead and arpeggio reach to either side"),
        ("harmonic_tension", c, "", 0.0, 1.0, 0.25, "from triads to sevenths, ninths and suspensions"),
        ("arrangement_stability", c, "", 0.0, 1.0, 0.70, "1 repeats itself, 0 varies every bar"),
        ("syncopation", c, "", 0.0, 1.0, 0.40, "from notes on the beat to notes between beats"),
        ("fill_rate", c, "", 0.0, 1.0, 0.40, "how often and how long phrases end in fills"),
        ("articulation", c, "", 0.0, 1.0, 0.50, "from staccato to legato"),
        ("bass_weight", m, "dB", -6.0, 4.0, 0.50, "level of bass and kick"),
        ("pad_level", m, "dB", -12.0, 3.0, 0.80, "level of pad, vox and amb"),
        ("intensity", m, "dB", -15.0, 3.0, 0.80, "level and hardness of the whole band"),
        ("brightness", m, "Hz", 400.0, 16000.0, 0.80, "low-pass over the pitched tracks"),
        ("reverb", m, "", 0.0, 1.0, 0.30, "how much goes into the room"),
        ("delay", m, "", 0.0, 1.0, 0.25, "how much goes into the echo"),
        ("width", m, "", 0.0, 1.0, 0.70, "from mono to full stereo"),
    ]
    middle = {"bass_weight": 0.0}
    return tuple(BandParameter(lane, *row, middle=middle.get(row[0])) for lane, row in enumerate(rows))


BAND: tuple[BandParameter, ...] = _parameters()
BAND_LANE: dict[str, int] = {p.name: p.lane for p in BAND}
BAND_LANES = len(BAND)
BAND_NEUTRAL: NDArray[np.float64] = np.array([p.neutral for p in BAND])


SENSES: tuple[Sense, ...] = ("up", "down", "size")
_DOWN, _SIZE = SENSES.index("down"), SENSES.index("size")


def mapped(value: float, low: float, high: float, log: int, sense: int) -> float:
    """Return where a mapping puts a finite value of its source, 0..1; `log` 0 or 1, `sense` an index into SENSES.

        u = (v - low) / (high - low)   or, `log`,   log(v / low) / log(high / low),   clipped to 0..1

    with v the value, or its size where the sense is `size`; `down` takes 1 - u. Plain, so that kernels compile it.
    """
    v = abs(value) if sense == _SIZE else value
    u = math.log(max(v, low) / low) / math.log(high / low) if log else (v - low) / (high - low)
    u = min(max(u, 0.0), 1.0)
    return 1.0 - u if sense == _DOWN else u


@dataclass(frozen=True, slots=True)
class Mapping:
    """One source onto one parameter by `mapped`, smoothed by a one-pole filter of `smooth_s` seconds."""

    source: str
    parameter: str
    low: float
    high: float
    curve: MappingCurve
    sense: Sense
    smooth_s: float
    weight: float = 1.0

    def position(self, value: float) -> float:
        """Return where a value of the source puts the parameter, 0..1."""
        return mapped(value, self.low, self.high, self.curve == "log", SENSES.index(self.sense))


# Ranges: about the 5th and 95th percentile of a quiet and of a wild dance; wider where little change is wanted.
MAPPINGS: tuple[Mapping, ...] = (
    Mapping("periodicity", "rhythmic_density", 0.05, 0.80, "linear", "up", 1.0, 0.25),
    Mapping("energy", "rhythmic_density", 0.05, 1.80, "log", "up", 0.4, 0.75),
    Mapping("rotational_energy", "hat_density", 0.02, 4.0, "log", "up", 0.4),
    Mapping("curvature", "melodic_range", 1.0, 40.0, "log", "up", 1.5),
    Mapping("tension", "harmonic_tension", 0.10, 0.68, "linear", "up", 1.5),
    Mapping("prediction_confidence", "arrangement_stability", 0.30, 1.0, "linear", "up", 3.0),
    Mapping("curvature_rate", "syncopation", 1.0, 25.0, "linear", "size", 1.5),
    Mapping("transition_intensity", "fill_rate", 0.0, 0.40, "linear", "up", 2.0),
    Mapping("coherence", "articulation", 0.0, 0.80, "linear", "up", 1.0),
    Mapping("grounding", "bass_weight", 0.20, 0.80, "linear", "up", 0.8),
    Mapping("energy", "pad_level", 0.02, 60.0, "log", "down", 1.5),
    Mapping("energy", "intensity", 0.01, 1.0, "log", "up", 0.4),
    Mapping("micro_tension", "brightness", 0.00002, 0.01, "log", "up", 0.5),
    Mapping("verticality", "reverb", 0.75, 1.10, "linear", "down", 1.0),
    Mapping("c", "delay", -0.20, 1.20, "linear", "down", 1.0),
    Mapping("lr_pan", "width", -0.40, 0.80, "linear", "size", 0.6),
)


def settled(sources: NumbersByName[str, float]) -> NDArray[np.float64]:
    """Return the 15 parameters that sources (all of SOURCES, by name) lead to if they stay as they are."""
    total, weight = np.zeros(BAND_LANES), np.zeros(BAND_LANES)
    for mapping in MAPPINGS:
        lane = BAND_LANE[mapping.parameter]
        total[lane] += mapping.weight * mapping.position(sources[mapping.source])
        weight[lane] += mapping.weight
    return total / weight


def mapping_arrays() -> tuple[
    NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]
]:
    """Return the mappings for kernels, a row each: source, parameter, numbers (float64), curve, sense.

    int64 (16,) but the numbers, (16, 4): low, high, smooth_s, weight. Curve 1 is log; sense 0 up, 1 down, 2 size.
    """
    source = np.array([SOURCES.index(m.source) for m in MAPPINGS], np.int64)
    parameter = np.array([BAND_LANE[m.parameter] for m in MAPPINGS], np.int64)
    number = np.array([(m.low, m.high, m.smooth_s, m.weight) for m in MAPPINGS], np.float64)
    curve = np.array([m.curve == "log" for m in MAPPINGS], np.int64)
    sense = np.array([SENSES.index(m.sense) for m in MAPPINGS], np.int64)
    return source, parameter, number, curve, sense
