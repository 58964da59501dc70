"""The parts of messages: values with their names and units, derived from the tables of the engine."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from echelon_engine.memory import LATENT_STATE_NAMES
from echelon_engine.parameters import PARAMETERS


def about(unit: str, text: str, **rules: Any) -> Meta:
    """Return what a field is: its unit ("" where it has none), a line of explanation, rules that msgspec checks."""
    return Meta(description=text, extra={"unit": unit}, **rules)


def finite(values: Any) -> NDArray[np.float64]:
    """Return numbers as float64, same shape, with 0 for each that is not finite: JSON has no word for those."""
    return np.nan_to_num(np.asarray(values, np.float64), nan=0.0, posinf=0.0, neginf=0.0)


# The ten scalars of a bar's conditioning (spec/equilibrium.md, "Dynamics and LatentState"), in its order.
DYNAMICS = (
    "curvature", "curvature_rate", "periodicity", "internal_tempo", "phase", "tension", "grounding", "verticality",
    "coherence", "lr_pan",
)  # fmt: skip
LATENT_UNITS = {"curvature_rate": "1/s", "internal_tempo": "bpm", "phase": "beats"}

# One float a lane, by name: positions 0..1 in one, values in the lane's unit in the other.
Positions: Any = msgspec.defstruct("Positions", [(p.name, float) for p in PARAMETERS], frozen=True)
Positions.__doc__ = "Where each of the 32 lanes stands, 0..1."
Values: Any = msgspec.defstruct(
    "Values", [(p.name, Annotated[float, about(p.unit, p.about)]) for p in PARAMETERS], frozen=True
)
Values.__doc__ = "The 32 parameters in their units."
Latent: Any = msgspec.defstruct(
    "Latent", [(name, Annotated[float, about(LATENT_UNITS.get(name, ""), "")]) for name in LATENT_STATE_NAMES],
    frozen=True,
)  # fmt: skip
Latent.__doc__ = "LatentState: the 25 measures of the motion."


class Statistic(Struct, frozen=True):
    """One scalar over one bar."""

    now: Annotated[float, about("", "at the bar's last control frame")]
    mean: Annotated[float, about("", "over the bar")]
    deviation: Annotated[float, about("", "standard deviation over the bar")]
    slope: Annotated[float, about("1/s", "of the line of least squares, a second")]


Dynamics: Any = msgspec.defstruct("Dynamics", [(name, Statistic) for name in DYNAMICS], frozen=True)
Dynamics.__doc__ = "Ten measures of the motion over one bar, four statistics of each."


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
