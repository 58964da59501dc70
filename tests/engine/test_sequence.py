"""The band in the callback: on its samples, on its bar lines, whatever the block, and again byte for byte."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from echelon_engine import offline
from echelon_engine.memory import GRID
from echelon_engine.vocabulary import STEPS, TRACKS

RATE = 48000
BD, HH = 50, 52
KICK, HAT = 0, 2


def grid(number: int = 1, **hits: list[int]) -> NDArray[Any]:
    """Return a GRID (1,) with onsets of kick and hat at these steps."""
    made = np.zeros(1, GRID)
    made["number"], made["tempo_bpm"], made["swing"] = number, 120.0, 0.5
    for track, token, steps in ((KICK, BD, hits.get("kick", [])), (HAT, HH, hits.get("hat", []))):
        made["cell"][0, track, steps] = token
    return made


class Written:
    """A composer that gives `grids[bar]` a beat before that bar."""

    def __init__(self, first: NDArray[Any], later: dict[int, NDArray[Any]] | None = None) -> None:
        self._first, self._later = first, later or {}

    def first(self) -> NDArray[Any]:
        """Return the first grid."""
        return self._first

    def feed(self, records: NDArray[Any], settings: Any) -> NDArray[Any] | None:
        """Return the grid of the bar that is a beat away, once."""
        for record in records:
            bar = int((record["beat"] + 1.0) // 4)
            if bar in self._later:
                return self._later.pop(bar)
        return None


@pytest.fixture
def play(settings, weights) -> Callable[..., offline.Rendering]:
    """Render the band alone: nobody dances."""
    settings["notes_from_motion"] = 0
    settings["tempo_bpm"], settings["tempo_source"] = 120.0, 0

    def rendered(composer: Written, seconds: float = 2.5, **options: Any) -> offline.Rendering:
        return offline.render(
            np.zeros(0, offline.LIMB_FRAME), seconds, settings[0], weights, composer=composer, **options
        )

    return rendered


def first_difference(one: offline.Rendering, other: offline.Rendering) -> int:
    """Return the first sample in which two renderings differ."""
    return int(np.flatnonzero((one.sound != other.sound).any(axis=1))[0])


@pytest.mark.parametrize("bpm", [120.0, 93.7, 174.0])
def test_onsets_fall_on_their_samples(play, settings, bpm: float) -> None:
    """From step to step the first sample that changes moves by exactly the rounded sixteenth: no jitter."""
    settings["tempo_bpm"] = bpm
    silent = play(Written(grid()), 3.0)
    steps = [4, 5, 7, 10, 15]
    found = [first_difference(play(Written(grid(kick=[step])), 3.0), silent) for step in steps]
    meant = np.array([round(step * 15.0 * RATE / bpm) for step in steps])
    assert (np.array(found) - meant == found[0] - meant[0]).all()
    assert 0 <= found[0] - meant[0] <= 72 + 16  # the limiter looks ahead


def test_swing_moves_the_second_of_two_sixteenths(play, settings) -> None:
    """At 2/3, an odd sixteenth comes a third of an eighth late, an even one on time."""
    silent = play(Written(grid()))
    straight = {step: first_difference(play(Written(grid(kick=[step]))), silent) for step in (4, 5)}
    settings["swing"] = 2.0 / 3.0
    swung = {step: first_difference(play(Written(grid(kick=[step]))), silent) for step in (4, 5)}
    assert swung[4] == straight[4]
    assert abs(swung[5] - straight[5] - RATE / 24.0) <= 1.0


def test_a_new_grid_waits_for_the_bar_line(play) -> None:
    """What was handed over a beat before is heard from the bar line on, in the right half."""
    kick = grid(1, kick=[0, 16])
    both = grid(2, kick=[0, 16], hat=list(range(STEPS)))
    changed, same = play(Written(kick, {1: both}), 4.0), play(Written(kick), 4.0)
    at = first_difference(changed, same)
    assert 2 * RATE <= at <= 2 * RATE + 72 + 16
    assert list(changed.records["grid"][[1, 119, 125]]) == [1, 1, 2]


def test_without_a_new_grid_the_last_is_repeated(play) -> None:
    """The record's steps go round, and the second time sounds like the first."""
    rendering = play(Written(grid(kick=[0, 8, 16, 24])), 9.0)
    tracks = rendering.records["track"][:, KICK]
    steps = rendering.records["step"]
    assert list(steps[[10, 250]]) == [1, 1]
    loud = [float(tracks[frame : frame + 12].max()) for frame in (0, 60, 120, 180)]
    assert min(loud) > 0.25 * max(loud) > 1e-3  # nobody dances: the band grows softer


def test_output_with_a_band_does_not_depend_on_the_block(dance, settings, weights) -> None:
    """Blocks of 64, 512 and 2048 frames give the same bytes, new grids included."""
    random = np.random.default_rng(3)

    def written() -> Written:
        grids = [grid(n + 1) for n in range(4)]
        for each in grids:
            each["cell"] = np.where(random.random((TRACKS, STEPS)) < 0.4, random.integers(0, 81, (TRACKS, STEPS)), 0)
            each["chord"], each["swing"] = 0b10010001, 0.6
        return Written(grids[0], dict(enumerate(grids[1:], 1)))

    found = []
    for block in (64, 512, 2048):
        random = np.random.default_rng(3)
        found.append(offline.render(dance, 7.0, settings[0], weights, composer=written(), block_frames=block))
    assert found[0].records["track"].max() > 0.01
    assert found[0].records["grid"][-1] == 4
    for other in found[1:]:
        assert other.sound.tobytes() == found[0].sound.tobytes()
        assert other.records["band"].tobytes() == found[0].records["band"].tobytes()


def test_mute_solo_and_switch(play, settings) -> None:
    """A muted track is silent, a solo leaves the others out, and the switch ends the band."""
    both = grid(kick=[0, 8, 16, 24], hat=list(range(STEPS)))
    settings["track_mute"][0, KICK] = 1
    muted = play(Written(both))
    assert muted.records["track"][:, KICK].max() == 0.0 < muted.records["track"][:, HAT].max()
    settings["track_mute"] = 0
    settings["track_solo"][0, HAT] = 1
    assert np.allclose(play(Written(both)).sound, muted.sound, atol=1e-6)
    settings["track_solo"] = 0
    assert play(Written(both)).records["track"][:, KICK].max() > 0.05
    settings["band"] = 0
    assert np.abs(play(Written(both)).sound).max() == 0.0


def test_the_band_rests_with_a_body_that_rests(play) -> None:
    """Nobody there: after the patience the band has faded out, though its grid goes on."""
    rendering = play(Written(grid(kick=[0, 4, 8, 12, 16, 20, 24, 28])), 11.0)
    level = np.abs(rendering.sound).max(axis=1)
    assert level[: 3 * RATE].max() > 0.02
    assert level[-RATE:].max() < 1e-3


def test_nonsense_in_a_grid_is_played_as_rests(play) -> None:
    """Ids beyond the vocabulary and numbers that are none harm nothing."""
    wrong = grid(kick=[4])
    wrong["cell"][0, 5:] = 255
    wrong["level_db"], wrong["pan"], wrong["swing"] = np.nan, np.inf, np.nan
    wrong["tempo_bpm"] = np.nan
    rendering = play(Written(wrong))
    assert np.isfinite(rendering.sound).all()
