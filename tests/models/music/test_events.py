"""What a grid means: onsets of every token, and grids written from onsets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from music_grids import grids, needs_music, real

from echelon_engine.vocabulary import STEPS
from echelon_models.music import events as ev
from echelon_models.music import tokens
from echelon_models.music.tokens import TRACKS


def written(**tracks: str) -> ev.Grid:
    """Return a grid of names a track: rests where nothing is said."""
    cells = np.zeros((len(TRACKS), STEPS), np.uint8)
    for name, words in tracks.items():
        row = [tokens.token_of(word) for word in words.split()]
        cells[TRACKS.index(name), : len(row)] = row
    return cells


def reference(grid: ev.Grid) -> list[tuple[int, ...]]:
    """Return the onsets by the words of the page, cell by cell: the definition, slowly."""
    found = []
    for track, row in enumerate(grid.tolist()):
        velocity, articulation, duration, effects, last, broken = 0.65, "", 1, 0, -1, -1
        for step, token in enumerate(row):
            kind, name = tokens.TOKENS[token].category, tokens.TOKENS[token].name
            if kind == "dynamics":
                velocity = tokens.VELOCITIES[tokens.DYNAMICS.index(name)]
            elif kind == "duration":
                duration = tokens.SIXTEENTHS[tokens.DURATIONS.index(name)]
            elif kind == "articulation":
                articulation = "" if articulation == name else name
            elif kind == "effect":
                effects ^= 1 << tokens.EFFECTS.index(name)
            elif name == "break":
                broken = step // 16
            elif kind in ("pitch", "drum", "structure") and broken != step // 16:
                if kind != "structure":
                    last = token
                if last >= 0:
                    number = tokens.ARTICULATIONS.index(articulation) + 1 if articulation else 0
                    count = 2 if name == "fill" else 1
                    found.append((step, track, last, count, velocity, number, duration, effects))
    found.sort()
    onsets = []
    for step, track, token, count, velocity, number, duration, effects in found:
        length = duration * {1: 0.5, 2: 1.1}.get(number, 1.0)
        later = [s for s, t, *_ in found if t == track and s > step]
        room = (later[0] - step if later else np.inf) - (0.5 if count == 2 else 0)
        drum = token >= 50
        gain = velocity * {3: 1.25, 4: 0.4}.get(number, 1.0)
        sound = token - 50 if drum else token + 35
        gate = np.inf if drum else min(length, room)
        onsets.append((track, step, int(drum), sound, count, number, duration, effects, velocity, gain, gate))
    return onsets


@settings(max_examples=100, deadline=None)
@given(grids())
def test_events_follow_the_page_cell_by_cell(grid: ev.Grid) -> None:
    """The fast reading gives what a slow reading by the words of the specification gives."""
    found, wanted = ev.events(grid), np.array(reference(grid), ev.EVENT)
    for field in ev.EVENT.names or ():
        np.testing.assert_allclose(found[field], wanted[field], rtol=1e-6, err_msg=field)


@settings(max_examples=200, deadline=None)
@given(grids())
def test_written_grid_means_the_same(grid: ev.Grid) -> None:
    """`events(grid(events(g))) == events(g)` for every grid of the 81 tokens, and writing again changes nothing."""
    found = ev.events(grid)
    again = ev.grid(found)
    np.testing.assert_array_equal(ev.events(again), found)
    np.testing.assert_array_equal(ev.grid(ev.events(again)), again)


@settings(max_examples=30, deadline=None)
@given(grids(), st.randoms(use_true_random=False))
def test_order_gain_and_gate_of_the_onsets_do_not_matter_in_writing(grid: ev.Grid, random: object) -> None:
    """A grid is written from what its tokens say alone; `derived` puts back order, gain and gate."""
    found = ev.events(grid)
    shuffled = found.copy()
    random.shuffle(order := list(range(len(found))))  # type: ignore[attr-defined]
    shuffled = shuffled[order]
    shuffled["gain"], shuffled["gate"] = 7.0, 7.0
    np.testing.assert_array_equal(ev.grid(shuffled), ev.grid(found))
    np.testing.assert_array_equal(ev.derived(shuffled), found)


@needs_music
@pytest.mark.parametrize("name", ["bach", "dmp", "ewld", "fmc", "freedoom", "gmd", "lmms"])
def test_real_grids_are_read_and_written(name: str) -> None:
    """Every grid of real music is read; a sample of them written from its onsets means the same."""
    data = real(name)
    index, found = ev.many(data)
    assert len(found) == int((data > 0).sum())  # these hold sounds alone
    assert len(np.unique(index)) == len(data)
    for grid in data[:: max(1, len(data) // 60)]:
        np.testing.assert_array_equal(ev.grid(ev.events(grid)), grid)


@settings(max_examples=20, deadline=None)
@given(st.lists(grids(), max_size=4))
def test_many_grids_at_once_are_the_same_as_one_by_one(several: list[ev.Grid]) -> None:
    """Reading N grids gives each one's onsets, in order."""
    index, found = ev.many(np.array(several, np.uint8).reshape(-1, len(TRACKS), STEPS))
    singles = [ev.events(grid) for grid in several]
    assert index.tolist() == [n for n, single in enumerate(singles) for _ in single]
    if singles:
        np.testing.assert_array_equal(found, np.concatenate(singles))


def test_articulation_is_switched_off_by_its_own_token() -> None:
    """Accent, accent is none; accent, ghost is ghost; three times is on again."""
    found = ev.events(written(BASS="accent C2 accent C2 accent accent accent C2 ghost C2 ghost accent C2"))
    assert found["articulation"].tolist() == [3, 0, 3, 4, 3]
    np.testing.assert_allclose(found["gain"], [0.8125, 0.65, 0.8125, 0.26, 0.8125], rtol=1e-6)


def test_break_silences_the_bar_and_repeat_means_what_was_heard() -> None:
    """A sound cut off by a break is not repeated after it, and its modifiers count."""
    bar = "C2 ~ break E2 ff " + "~ " * 11
    found = ev.events(written(LEAD=bar + "repeat"))
    assert found["step"].tolist() == [0, 16]
    assert found["sound"].tolist() == [36, 36]
    assert found["velocity"].tolist() == [np.float32(0.65), 1.0]


def test_repeat_and_fill_of_nothing_are_silent() -> None:
    """Before a track's first onset there is nothing to repeat."""
    assert ev.events(written(LEAD="repeat fill C4 fill"))["step"].tolist() == [2, 3]


def test_lengths_end_at_the_next_onset_of_their_track_alone() -> None:
    """Half notes are cut by the next onset, or ring over the end of the grid; drums ring out."""
    grid = written(PAD="half C4 ~ ~ E4", KICK="half ~ bd bd")
    grid[TRACKS.index("PAD"), 31] = tokens.token_of("G4")
    found = ev.events(grid)
    assert found["gate"].tolist() == [3.0, np.inf, np.inf, 8.0, 8.0]


def test_strikes_split_a_fill() -> None:
    """A fill sounds twice, half a step apart, and its second strike ends the first."""
    found = ev.events(written(ARP="quarter C4 fill", HH="hh fill"))
    index, position, gate = ev.strikes(found)
    arp = found["track"][index] == TRACKS.index("ARP")
    assert list(zip(position[arp], gate[arp], strict=True)) == [(1.0, 1.0), (2.0, 0.5), (2.5, 4.0)]
    assert position[~arp].tolist() == [0.0, 1.0, 1.5]
    assert np.isinf(gate[~arp]).all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"step": 1, "velocity": 1.0}, "PAD step 1: needs 1 silent cells before it (ff), and there are 0"),
        ({"step": 0}, "PAD step 0: has two onsets"),
        ({"step": 2, "count": 2, "sound": 61}, "PAD step 2: is a fill of C#4"),
        ({"velocity": 0.7}, "velocity 0.7: velocities are"),
        ({"duration": 5}, "PAD step 3: duration 5: durations are"),
        ({"sound": 85}, "sound 85: pitches are MIDI 36..84"),
        ({"track": 12}, "track 12 step 3: track 12: tracks are 0..11"),
        ({"step": 32}, "steps are 0..31"),
        ({"count": 3}, "once or twice"),
        ({"effects": 32}, "five effects"),
        ({"articulation": 5}, "articulations are"),
        ({"kind": 2}, "0 is a pitch"),
    ],
)
def test_what_no_grid_says_is_refused_with_place_and_reason(change: dict[str, float], said: str) -> None:
    """Onsets without room for their state, or of values without a token, raise `EventError`."""
    onsets = ev.events(written(PAD="C4 ~ ~ C4"))
    for field, value in change.items():
        onsets[field][1] = value
    with pytest.raises(ev.EventError) as caught:
        ev.grid(onsets)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("grid", "said"),
    [
        (np.zeros((12, 16), np.uint8), "12 tracks by 32 steps"),
        (np.zeros((12, 32)), "whole numbers"),
        (np.full((12, 32), tokens.MASK), "KICK step 0: token 81: the mask never leaves"),
        (np.full((12, 32), -1), "token -1: tokens are 0..80"),
        (np.zeros((2, 12, 32), int), "several grids"),
    ],
)
def test_what_is_no_grid_is_refused(grid: np.ndarray, said: str) -> None:
    """Wrong shapes, kinds and tokens raise `GridError`, the mask by its name."""
    with pytest.raises(ev.GridError) as caught:
        ev.events(grid)
    assert said in str(caught.value)
