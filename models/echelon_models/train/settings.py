"""Which settings are drawn where each lane can be heard, and the phrase that makes them heard."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from echelon_engine.parameters import LANE, LANES
from echelon_models.train.phrase import Note, Phrase

# Hard and centred: operators, filter. Long and low: envelopes, room. High, soft, short, far left: what velocity and key
# move, what follows a release. Six at once, short, far right: the ceiling, the width. All in octaves: what operators
# play then lies at the same multiples of the pitch.
PROBE = Phrase(
    (
        Note(0.02, 0.36, 57.0, 1.0, 0.0),
        Note(0.7, 1.4, 45.0, 0.5, 0.0),
        Note(1.6, 1.72, 69.0, 0.25, -0.9),
        *(Note(2.0, 2.14, 45.0, 1.0, 0.9) for _ in range(6)),
    ),
    2.56,
)

# Positions outside of which a lane, or what it acts on, falls silent; all others are drawn from the whole range.
_HEARD: dict[str, tuple[float, float]] = {
    **{f"index_{k}": (0.2, 0.95) for k in range(1, 5)},
    "amp_attack": (0.0, 0.7),
    "amp_decay": (0.2, 0.85),
    "amp_sustain": (0.1, 0.9),
    "amp_release": (0.1, 0.85),
    "exciter_attack": (0.0, 0.7),
    "exciter_decay": (0.2, 0.85),
    "exciter_sustain": (0.2, 0.9),
    "exciter_release": (0.1, 0.85),
    "filter_cutoff": (0.35, 1.0),
    "filter_envelope": (0.1, 0.9),
    "body_damping": (0.0, 0.85),
    "reverb_decay": (0.0, 0.9),
    "reverb_mix": (0.2, 0.85),
    "gain": (0.4, 1.0),
    "ceiling": (0.0, 0.7),
}


def limits() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the lowest and highest position of each lane that `draw` gives, float64 (32,) each."""
    low, high = np.zeros(LANES), np.ones(LANES)
    for name, (least, most) in _HEARD.items():
        low[LANE[name]], high[LANE[name]] = least, most
    return low, high


def draw(rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a random setting in which each lane has something to act on, positions 0..1, float64 (32,)."""
    low, high = limits()
    return ordered(rng.uniform(low, high))


def ordered(position: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the setting with its operator pairs in the order of their carriers' ratios, float64 (32,).

    Operators (1, 2) and (3, 4) are added and nothing tells them apart: exchanging the pairs gives the same sound, so
    one order stands for both.
    """
    return position if position[1] <= position[3] else exchanged(position)


def exchanged(lanes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what stands for the lanes, float64 (32,), with the two pairs of operators exchanged."""
    swapped = lanes.copy()
    swapped[[0, 1, 2, 3, 4, 5, 6, 7]] = lanes[[2, 3, 0, 1, 6, 7, 4, 5]]
    return swapped
