"""What the conductor is told and what it answers, once a bar; and who else may answer in its place."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from echelon_engine.band import BAND_LANE, BAND_NEUTRAL
from echelon_engine.memory import ENGINE_STATES, LATENT_STATE_NAMES

_TENSION = LATENT_STATE_NAMES.index("tension")
_IDLE = ENGINE_STATES.index("idle")


@dataclass(frozen=True, slots=True)
class Heard:
    """What the control records said since the last bar: means over them, and the band's parameters at their end.

    `energy` in m/s, `tension` and `c` 0..1, `parameter` (15,) 0..1 in the order of `band.BAND`, `active` whether the
    engine is not idle.
    """

    energy: float = 0.0
    tension: float = 0.0
    c: float = 0.0
    active: bool = False
    parameter: NDArray[np.float64] = field(default_factory=BAND_NEUTRAL.copy)

    @classmethod
    def of_records(cls, records: NDArray[Any], parameter: NDArray[Any]) -> Heard:
        """Return what control records (memory.CONTROL, one or more, rising in time) say, with the band's parameters."""
        if not len(records):
            return cls(parameter=np.array(parameter, np.float64))
        return cls(
            energy=float(records["energy"].mean()),
            tension=float(records["latent"][:, _TENSION].mean()),
            c=float(records["c"].mean()),
            active=bool(records["state"][-1] != _IDLE),
            parameter=np.array(parameter, np.float64),
        )

    def but(self, name: str, value: float) -> Heard:
        """Return the same with another value of one parameter."""
        parameter = self.parameter.copy()
        parameter[BAND_LANE[name]] = value
        return replace(self, parameter=parameter)

    def of(self, name: str) -> float:
        """Return a parameter of the band by its name, 0..1; neutral where it is not finite."""
        lane = BAND_LANE[name]
        value = float(self.parameter[lane])
        return min(max(value, 0.0), 1.0) if math.isfinite(value) else float(BAND_NEUTRAL[lane])


@dataclass(frozen=True, slots=True)
class Score:
    """What is to be played: `grid` uint8 (12, 32), `chord` uint32 (4,) pitch classes of its half bars, and the form."""

    grid: NDArray[np.uint8]
    chord: NDArray[np.uint32]
    section: int  # of sections.SECTIONS
    swing: float


class Composer(Protocol):
    """Whoever can fill bars: `compose` is asked for every bar in turn, and may be asked again after a gap."""

    def compose(self, bar: int, heard: Heard) -> Score:
        """Return what is played from `bar` on."""
        ...
