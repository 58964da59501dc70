"""The kernel that reads grids strikes exactly what `events(grid)` says."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from music_grids import grids, needs_music, real
from numpy.typing import NDArray

from echelon_engine.kernels import sequencer
from echelon_engine.vocabulary import STEPS, TRACKS
from echelon_models.music import events as ev
from echelon_models.music import tokens

Onset = tuple[int, int, int, int, float, float, int, float]


def now(state: Any, step: int, track: int) -> Onset:
    """Return what a track strikes at this step: step, track, sound, count, velocity, gain, effects, length."""
    velocity, gain = sequencer.velocity(state, track), sequencer.gain(state, track)
    length = sequencer.sixteenths(state, track)
    sound, again, effects = (int(state[name][track]) for name in ("sound", "again", "effects"))
    return step, track, sound, 1 + again, round(velocity, 4), round(gain, 4), effects, round(length, 4)


def struck(cell: NDArray[np.uint8], first: int = 0) -> list[Onset]:
    """Return what the kernel strikes from step `first` on."""
    state = np.zeros(1, sequencer.SEQUENCER)[0]
    sequencer.enter(state, cell, first)
    found: list[Onset] = []
    for step in range(first, STEPS):
        sequencer.read(state, cell, step)
        found += [now(state, step, track) for track in range(TRACKS) if state["sound"][track] >= 0]
    return found


def meant(cell: NDArray[np.uint8], first: int = 0) -> list[Onset]:
    """Return the same of `events(grid)`."""
    found: list[Onset] = []
    for e in ev.events(cell)[ev.events(cell)["step"] >= first]:
        sound = int(e["sound"]) + (sequencer.DRUM_SOUND if e["kind"] == ev.DRUM else 0)
        gain = round(float(ev.GAIN_FACTORS[e["articulation"]]), 4)
        length = round(float(e["duration"]) * float(ev.LENGTH_FACTORS[e["articulation"]]), 4)
        step, track, count, effects = (int(e[name]) for name in ("step", "track", "count", "effects"))
        found += [(step, track, sound, count, round(float(e["velocity"]), 4), gain, effects, length)]
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
