"""The scales that can be named, for settings and styles alike."""

from __future__ import annotations

from typing import Literal, get_args

# Bit i of a scale: semitone i above the root belongs to it.
SCALES: dict[str, int] = {
    name: sum(1 << step for step in steps)
    for name, steps in {
        "major": (0, 2, 4, 5, 7, 9, 11),
        "minor": (0, 2, 3, 5, 7, 8, 10),
        "harmonic_minor": (0, 2, 3, 5, 7, 8, 11),
        "dorian": (0, 2, 3, 5, 7, 9, 10),
        "phrygian": (0, 1, 3, 5, 7, 8, 10),
        "lydian": (0, 2, 4, 6, 7, 9, 11),
        "mixolydian": (0, 2, 4, 5, 7, 9, 10),
        "pentatonic": (0, 2, 4, 7, 9),
        "minor_pentatonic": (0, 3, 5, 7, 10),
        "blues": (0, 3, 5, 6, 7, 10),
        "hirajoshi": (0, 2, 3, 7, 8),
        "whole_tone": (0, 2, 4, 6, 8, 10),
        "chromatic": tuple(range(12)),
    }.items()
}
Scale = Literal[
    "major",
    "minor",
    "harmonic_minor",
    "dorian",
    "phrygian",
    "lydian",
    "mixolydian",
    "pentatonic",
    "minor_pentatonic",
    "blues",
    "hirajoshi",
    "whole_tone",
    "chromatic",
]
assert set(get_args(Scale)) == set(SCALES)
