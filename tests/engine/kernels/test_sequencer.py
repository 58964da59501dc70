"""The kernel that reads grids strikes exactly what `events(grid)` says."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from music_grids import grids, needs_music, real
from numpy.typing import NDArray

from echelon_engine.kernels import sequencer
from echelon_engine.memory import STEPS, TRACKS
from echelon_models.music import events as ev
from echelon_models.music import tokens


def struck(cell: NDArray[np.uint8], first: int = 0) -> list[tuple[Any, ...]]:
    """Return what the kernel does from step `first` on: (step, track, sound, count, velocity, gain, effects, length)."""
    state = np.zeros(1, sequencer.SEQUENCER)[0]
    sequencer.enter(state, cell, first)
    found = []
    for step in range(first, STEPS):
        sequencer.read(state, cell, step)
        for track in range(TRACKS):
            if state["sound"][track] >= 0:
                found.append(
                    (
                        step,
                        track,
                        int(state["sound"][track]),
                        1 + int(state["again"][track]),
                        round(sequencer.velocity(state, track), 4),
                        round(sequencer.gain(state, track), 4),
                        int(state["effects"][track]),
                        round(sequencer.sixteenths(state, track), 4),
                    )
                )
    return found


def meant(cell: NDArray[np.uint8], first: int = 0) -> list[tuple[Any, ...]]:
    """Return the same of `events(grid)`."""
    found = []
    for e in ev.events(cell):
        sound = int(e["sound"]) + (sequencer.DRUM_SOUND if e["kind"] == ev.DRUM else 0)
        gain = float(ev.GAIN_FACTORS[e["articulation"]])
        length = float(e["duration"]) * float(ev.LENGTH_FACTORS[e["articulation"]])
        if e["step"] >= first:
            found.append(
                (
                    int(e["step"]),
                    int(e["track"]),
                    sound,
                    int(e["count"]),
                    round(float(e["velocity"]), 4),
                    round(gain, 4),
                    int(e["effects"]),
                    round(length, 4),
                )
            )
    return found


@settings(max_examples=120, deadline=None)
@given(grids())
def test_every_grid_is_played_as_it_is_meant(cell: NDArray[np.uint8]) -> None:
    """Sounds, fills, velocities, gains, effects and lengths of arbitrary grids are those of `events`."""
    assert struck(cell) == meant(cell)


@settings(max_examples=60, deadline=None)
@given(grids())
def test_the_second_half_sounds_as_after_the_first(cell: NDArray[np.uint8]) -> None:
    """A grid that is entered at its second bar has heard, silently, what its first bar says."""
    assert struck(cell, 16) == meant(cell, 16)


@needs_music
@pytest.mark.parametrize("name", ["freedoom", "gmd", "lmms"])
def test_real_grids_are_played_as_they_are_meant(name: str) -> None:
    """The same of real music."""
    found = real(name)
    for cell in found[:: max(1, len(found) // 20)]:
        assert struck(cell) == meant(cell)


def test_tokens_are_those_of_the_vocabulary() -> None:
    """The ids written into the kernel are those of the table; what is beyond it is a rest."""
    for name in ("FIRST_PITCH", "FIRST_DRUM", "FIRST_DYNAMICS", "FIRST_ARTICULATION", "FIRST_DURATION", "FIRST_EFFECT"):
        assert getattr(sequencer, name) == getattr(tokens, name)
    assert (sequencer.REPEAT, sequencer.FILL, sequencer.BREAK) == (tokens.REPEAT, tokens.FILL, tokens.BREAK)
    assert len(tokens.TRACKS) == TRACKS
    assert struck(np.full((TRACKS, STEPS), 255, np.uint8)) == []
