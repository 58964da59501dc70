"""The parts of messages: values with their names and units, derived from the tables of the engine."""

from __future__ import annotations

import struct
from math import isfinite
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from echelon_engine.band import BAND
from echelon_engine.memory import ENGINE_STATES, LATENT_STATE_NAMES
from echelon_engine.parameters import PARAMETERS
from echelon_engine.vocabulary import MODES, SECTIONS

SILENCE_DB = -200.0


def about(unit: str, text: str, **rules: Any) -> Meta:
    """Return what a field is: its unit ("" where it has none), a line of explanation, rules that msgspec checks."""
    return Meta(description=text, extra={"unit": unit}, **rules)


def state_name(index: int) -> Any:
    """Return the name of an engine's state by its index; one that is none is the first."""
    return ENGINE_STATES[index if 0 <= index < len(ENGINE_STATES) else 0]


def section_name(index: int) -> Any:
    """Return the name of a section of the music by its index; one that is none is the first."""
    return SECTIONS[index if 0 <= index < len(SECTIONS) else 0]


def mode_name(index: int) -> Any:
    """Return the name of the conductor's mode by its index; one that is none is the first."""
    return MODES[index if 0 <= index < len(MODES) else 0]


def finite(values: Any) -> NDArray[np.float64]:
    """Return numbers as float64, same shape, with 0 for each that is not finite: JSON has no word for those."""
    return _or(values, 0.0)


def copied(records: NDArray[Any]) -> NDArray[Any]:
    """Return a read-only copy of structured records (n,): their bytes, since copying field by field takes 20 times."""
    return np.frombuffer(records.tobytes(), records.dtype)


_CODES = {"i8": "q", "i4": "i", "u8": "Q", "u4": "I", "u1": "B", "f8": "d", "f4": "f"}  # of struct


class Scalars:
    """The numbers of a record that are no arrays, by name: as Python numbers, and all in one turn.

    Asked of NumPy one by one they take ten times as long.
    """

    def __init__(self, record: np.dtype[Any]) -> None:
        form, at, names = "=", 0, []
        for name, (kind, offset) in ((name, field[:2]) for name, field in (record.fields or {}).items()):
            if not kind.shape:
                form += f"{offset - at}x{_CODES[kind.str[1:]]}"
                at = offset + kind.itemsize
                names.append(name)
        self._struct, self._names = struct.Struct(form), names

    def of(self, raw: bytes) -> dict[str, Any]:
        """Return those of a record in bytes."""
        return dict(zip(self._names, self._struct.unpack_from(raw), strict=True))


def levels_db(values: Any) -> NDArray[np.float64]:
    """Return levels in dBFS as float64, same shape, none below SILENCE_DB; what is not finite is silence."""
    return np.maximum(_or(values, SILENCE_DB), SILENCE_DB)


def level_db(value: float) -> float:
    """Return one level like `levels_db`, rounded to 3 decimals."""
    return round(max(value, SILENCE_DB), 3) if isfinite(value) else SILENCE_DB


def _or(values: Any, instead: float) -> NDArray[np.float64]:
    numbers = np.asarray(values, np.float64)
    known = np.isfinite(numbers)
    return numbers if known.all() else np.where(known, numbers, instead)


# The ten scalars of a bar's conditioning (spec/equilibrium.md, "Dynamics and LatentState"), in its order.
DYNAMICS = (
    "curvature", "curvature_rate", "periodicity", "internal_tempo", "phase", "tension", "grounding", "verticality",
    "coherence", "lr_pan",
)  # fmt: skip
_LATENT_ABOUT: dict[str, tuple[str, str]] = {
    "position_x": ("", "of the latent z of LIM-RPS, projected to a plane"),
    "position_y": ("", "the same, second axis"),
    "velocity_x": ("1/s", "its derivative"),
    "velocity_y": ("1/s", "the same, second axis"),
    "acceleration_x": ("1/s2", "its second derivative"),
    "acceleration_y": ("1/s2", "the same, second axis"),
    "norm": ("", "length of z"),
    "micro_tension": ("", "RMS of z above 6 Hz over 250 ms"),
    "rotational_energy": ("rad2/s2", "mean over limbs of angular speed squared, halved"),
    "kinetic_energy": ("m2/s2", "mean over limbs of speed squared, halved"),
    "curvature": ("", "of the path of z"),
    "curvature_rate": ("1/s", "of log(1 + curvature)"),
    "periodicity": ("", "strongest repetition of the energy within 4 s, 0..1"),
    "internal_tempo": ("bpm", "of the performer"),
    "phase": ("beats", "of that tempo, 0..1"),
    "grounding": ("", "share of the motion below the pelvis, and foot contact"),
    "verticality": ("", "axis from pelvis to head against gravity"),
    "tension": ("", "leaky sum of curvature and acceleration, 0..1"),
    "coherence": ("", "mean cosine between the limbs' velocities and the body's"),
    "predicted_x": ("", "position 250 ms ahead"),
    "predicted_y": ("", "the same, second axis"),
    "prediction_confidence": ("", "by how well the last 250 ms were predicted, 0..1"),
    "residual": ("", "of the fixed point of LIM-RPS"),
    "converged": ("", "1: the residual is within its bound"),
    "iterations": ("", "that LIM-RPS took"),
}

# One float a lane, by name: positions 0..1 in one, values in the lane's unit in the other.
Positions: Any = msgspec.defstruct("Positions", [(p.name, float) for p in PARAMETERS], frozen=True)
Positions.__doc__ = "Where each of the 32 lanes stands, 0..1."
Values: Any = msgspec.defstruct(
    "Values", [(p.name, Annotated[float, about(p.unit, p.about)]) for p in PARAMETERS], frozen=True
)
Values.__doc__ = "The 32 parameters in their units."
Latent: Any = msgspec.defstruct(
    "Latent", [(name, Annotated[float, about(*_LATENT_ABOUT[name])]) for name in LATENT_STATE_NAMES],
    frozen=True,
)  # fmt: skip
Latent.__doc__ = "LatentState: the 25 measures of the motion."
BandPositions: Any = msgspec.defstruct(
    "BandPositions", [(p.name, Annotated[float, about("", p.about)]) for p in BAND], frozen=True
)
BandPositions.__doc__ = "The band's 15 parameters, 0..1."

assert SECTIONS == ("intro", "groove", "build", "climax", "breakdown", "outro")
SectionName = Literal["intro", "groove", "build", "climax", "breakdown", "outro"]
assert MODES == ("rules", "continuous", "diffusion", "coupled")
ModeName = Literal["rules", "continuous", "diffusion", "coupled"]


class BandState(Struct, frozen=True):
    """What the band plays, and what moves it."""

    grid: Annotated[int, about("", "number of the grid that plays, rises from grid to grid")]
    step: Annotated[int, about("", "of the grid's 32 sixteenths, from 0")]
    section: Annotated[SectionName, about("", "of the arrangement")]
    style: Annotated[str | None, about("", "its name; null: not known")]
    mode: Annotated[ModeName, about("", "of the conductor")]
    parameters: Annotated[BandPositions, about("", "0..1, by name")]


class Statistic(Struct, frozen=True):
    """One scalar over one bar."""

    now: Annotated[float, about("", "at the bar's last control frame")]
    mean: Annotated[float, about("", "over the bar")]
    deviation: Annotated[float, about("", "standard deviation over the bar")]
    slope: Annotated[float, about("1/s", "of the line of least squares, a second")]


Dynamics: Any = msgspec.defstruct("Dynamics", [(name, Statistic) for name in DYNAMICS], frozen=True)
Dynamics.__doc__ = "Ten measures of the motion over one bar, four statistics of each."


# What one body does, in the messages of the one that is heard and of all performers.
Commitment = Annotated[float, about("", "0..1")]
MotionState = Annotated[list[float], about("", "motion state: left up, forward; right up, forward; lean forward, left")]
MotionKnown = Annotated[list[bool], about("", "whether each component of x has a source")]


class Performer(Struct, frozen=True):
    """One body, as the engine derives it for the one that is heard."""

    performer: Annotated[int, about("", "from 0")]
    present: Annotated[bool, about("", "a body was measured within the last second")]
    commitment: Commitment
    energy: Annotated[float, about("m/s", "RMS of its limbs' speeds")]
    tempo_bpm: Annotated[float, about("bpm", "internal tempo; 0 before the first rhythm")]
    phase: Annotated[float, about("", "of the beat, 0..1")]
    x: MotionState
    x_valid: MotionKnown


class Note(Struct, frozen=True):
    """A note that began or ended, or all of them at once."""

    kind: Annotated[Literal["on", "off", "all_off"], about("", "all_off: panic ended everything")]
    key: Annotated[int, about("", "names the note between its on and its off")]
    pitch: Annotated[float, about("MIDI note", "fractional")]
    velocity: Annotated[float, about("", "0..1")]
    pan: Annotated[float, about("", "-1 left, 1 right")]
    source: Annotated[Literal["body", "other"], about("", "the performer's body, or somebody's command")]
    epoch: Annotated[int, about("", "grows when the audio process is replaced; frames count from 0 again")]
    frame: Annotated[int, about("", "control frame")]
    sample: Annotated[int, about("samples", "sample time")]
    time_ns: Annotated[int, about("ns", "engine time, CLOCK_MONOTONIC when live")]


Row3 = Annotated[list[float], Meta(min_length=3, max_length=3)]
Row4 = Annotated[list[float], Meta(min_length=4, max_length=4)]
Cells = Annotated[
    list[Annotated[list[Annotated[int, Meta(ge=0, le=80)]], Meta(min_length=32, max_length=32)]],
    Meta(min_length=12, max_length=12),
]
