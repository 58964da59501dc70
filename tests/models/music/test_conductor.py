"""The conductor's music: it follows the body, keeps to its style's harmony, varies and ends; and never fails."""

import itertools
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import spearmanr

from echelon_bridges.motion.dancer import Dancer
from echelon_engine.band import BAND, BAND_LANE, BAND_LANES
from echelon_engine.memory import CONTROL
from echelon_models.music import events as ev
from echelon_models.music import preview, tokens
from echelon_models.music.conductor import MODES, Conductor, ModeError
from echelon_models.music.preview import course, imagined, rehearse
from echelon_models.music.score import Heard, Score
from echelon_models.music.sections import CLIMAX, GROOVE, INTRO, OUTRO
from echelon_models.music.styles import CHORD_TRACKS, Style, load, names

LEAD = tokens.TRACKS.index("LEAD")
MINUTES = 3.0
DANCE_BPM = 96.0


@cache
def style(name: str) -> Style:
    """Return a style that ships."""
    return load(name)


def sounding(bar: int, score: Score) -> Any:
    """Return the onsets of the bar itself, steps 0..15."""
    found = ev.events(score.grid)
    own = found[found["step"] // 16 == bar % 2]
    own["step"] %= 16
    return own


def count(bar: int, score: Score) -> int:
    """Return how many onsets the bar has."""
    return len(sounding(bar, score))


@cache
def dance(name: str, seed: int = 1) -> tuple[list[Score], NDArray[np.float64], list[Heard]]:
    """Return the scores of three minutes with the built-in dancer's plan, its energy in each bar, and what was heard.

    The body's energy is that of the dancer's own plan, bar by bar of its own tempo, and is heard as on stage: the
    parameters as they are when the bar begins.
    """
    plan = Dancer(seed, DANCE_BPM)
    seconds = 240.0 / style(name).tempo[1]
    times = np.arange(round(MINUTES * 60 * 60)) / 60.0
    energy = np.array([plan.bar(int(t * DANCE_BPM / 240.0)).energy for t in times])
    energy = np.convolve(energy, np.ones(30) / 30, "same")  # a body does not jump
    bars = int(MINUTES * 60 / seconds)
    edges = [round(bar * seconds * 60) for bar in range(bars + 1)]
    inside = np.array([energy[a:b].mean() for a, b in itertools.pairwise(edges)])
    heard = [imagined(energy[max(edge - 20, 0) : edge + 1].mean()) for edge in edges[:-1]]
    return rehearse(style(name), heard, seed), inside, heard


@pytest.mark.parametrize("name", names())
def test_notes_follow_the_body(name: str) -> None:
    """Over a three-minute dance note density rises and falls with motion energy: rank correlation at least 0.6."""
    scores, energy, _ = dance(name)
    density = np.array([count(bar, score) for bar, score in enumerate(scores)])
    bars = len(scores) // 2 * 2
    rho = spearmanr(density[:bars].reshape(-1, 2).mean(1), energy[:bars].reshape(-1, 2).mean(1)).statistic
    print(f"{name}: rank correlation of energy and density {rho:.2f}, {density.min()} to {density.max()} onsets a bar")
    assert rho >= 0.6
    assert density.max() >= 2.5 * density.min()


@pytest.mark.parametrize("name", names())
def test_the_piece_has_a_form(name: str) -> None:
    """Three minutes pass several sections, Climax among them, and no bar is silent."""
    scores, _, _ = dance(name)
    passed = [section for section, _ in itertools.groupby(score.section for score in scores)]
    assert len(set(passed)) >= 4
    assert len(passed) >= 6
    assert all(count(bar, score) for bar, score in enumerate(scores))


@pytest.mark.parametrize("name", names())
def test_harmony(name: str) -> None:
    """Chord tracks play tones of the sounding chord, everything stays in what the style allows, beats bear melody."""
    scores, _, heard = dance(name)
    tense = [Heard(0.8, 0.5, 0.8, True, np.full(BAND_LANES, 0.95))] * 32
    for bar, score in [*enumerate(scores), *enumerate(rehearse(style(name), tense))]:
        for onset in sounding(bar, score):
            if onset["kind"] != ev.PITCH:
                continue
            bit = 1 << int(onset["sound"]) % 12
            chord = int(score.chord[2 * (bar % 2) + onset["step"] // 8])
            assert bit & style(name).allowed
            if onset["track"] in CHORD_TRACKS or (onset["track"] == LEAD and onset["step"] % 4 == 0):
                assert bit & chord
            elif onset["track"] == LEAD:
                assert bit & (chord | style(name).melody | style(name).allowed)
    assert len(heard) == len(scores)


def alike(one: set[Any], other: set[Any]) -> float:
    """Return what two bars have in common, 0..1."""
    return len(one & other) / max(len(one | other), 1)


@pytest.mark.parametrize("name", names())
def test_neighbours_are_related_and_sections_differ(name: str) -> None:
    """Consecutive grids of a section have clearly more in common than grids of different sections, yet rarely all."""
    scores, _, _ = dance(name)
    said = [
        {(int(e["track"]), int(e["step"]), int(e["kind"]) * int(e["sound"])) for e in ev.events(score.grid)}
        for score in scores[1::2]
    ]
    sections = [score.section for score in scores[1::2]]
    near = [
        alike(a, b)
        for (a, b), (s, t) in zip(itertools.pairwise(said), itertools.pairwise(sections), strict=True)
        if s == t
    ]
    far = [alike(said[i], said[j]) for i in range(len(said)) for j in range(i) if sections[i] != sections[j]]
    print(f"{name}: neighbours {np.mean(near):.2f}, different sections {np.mean(far):.2f}")
    assert np.mean(near) > np.mean(far) + 0.12
    assert len({frozenset(bar) for bar in said}) > 0.8 * len(said)


@settings(deadline=None, max_examples=20)
@given(
    st.sampled_from(names()),
    st.integers(0, 99),
    st.integers(0, 12),
    st.lists(st.floats(0, 1), min_size=15, max_size=15),
)
def test_density_only_adds_onsets(name: str, seed: int, bars: int, parameters: list[float]) -> None:
    """All else equal, more rhythmic density keeps every onset and adds some; likewise hats with hat density."""
    before: set[Any] = set()
    for density in np.linspace(0.0, 1.0, 9):
        parameter = np.array(parameters)
        parameter[BAND_LANE["fill_rate"]] = 0.0
        parameter[BAND_LANE["rhythmic_density"]] = 0.5
        heard = [Heard(0.5, 0.3, 0.5, True, parameter)] * bars
        parameter = parameter.copy()
        parameter[BAND_LANE["rhythmic_density"]] = density
        last = rehearse(style(name), [*heard, Heard(0.5, 0.3, 0.5, True, parameter)], seed)[-1]
        now = {(int(e["track"]), int(e["step"])) for e in sounding(bars, last)}
        assert before <= now
        before = now


def test_full_density_is_far_more_than_none() -> None:
    """From still to wild the number of onsets grows at least threefold in every style."""
    for name in names():
        counts = [
            np.mean([count(bar, s) for bar, s in enumerate(rehearse(style(name), [imagined(e)] * 16)) if bar >= 8])
            for e in (0.0, 1.0)
        ]
        assert counts[1] >= 3.0 * counts[0], (name, counts)


@pytest.mark.parametrize("name", names())
def test_rest_ends_in_silence_and_motion_is_answered_at_once(name: str) -> None:
    """A body at rest gets an Outro that thins out and ends; the first bar of a new Intro sounds."""
    scores = rehearse(style(name), [*course("idle", 40), imagined(0.2)])
    counts = [count(bar, score) for bar, score in enumerate(scores)]
    assert [score.section for score in scores[20:40]] == [OUTRO] * 20
    assert counts[20] > 0
    assert counts[24:40] == [0] * 16
    assert counts[40] > 0
    assert counts[0] > 0
    assert sounding(0, scores[0])["step"].min() <= 3


@pytest.mark.parametrize("name", names())
def test_the_words_of_the_vocabulary_are_used(name: str) -> None:
    """A dance says dynamics, articulations, durations, effects and repeats; with a beat also fills and breaks."""
    said = {int(token) for score in dance(name)[0] for token in np.unique(score.grid)}
    categories = {tokens.TOKENS[token].category for token in said}
    assert {"dynamics", "articulation", "duration", "effect", "structure"} <= categories
    assert tokens.REPEAT in said
    if name != "ambient":
        assert {tokens.FILL, tokens.BREAK} <= said


def test_an_odd_bar_repeats_the_half_that_was_played() -> None:
    """The first half of a grid at an odd bar is what the even bar before it said, so its state counts the same."""
    conductor = Conductor(style("breakbeat"), 3)
    first: list[Any] = []
    for bar, heard in enumerate(course("wave", 32)):
        found = ev.events(conductor.compose(bar, heard).grid)
        half = found[found["step"] < 16][["track", "step", "kind", "sound"]].tolist()
        if bar % 2:
            assert half == first
        first = half


def test_same_inputs_same_grids() -> None:
    """Style, seed and what was heard decide everything; another seed plays differently."""

    def play(seed: int) -> NDArray[np.uint8]:
        return np.stack([score.grid for score in rehearse(style("house"), course("wave", 24), seed)])

    assert np.array_equal(play(1), play(1))
    assert not np.array_equal(play(1), play(2))


def test_a_bar_may_be_asked_for_again() -> None:
    """Asked again the same bar has the same notes, and what follows is as if it had been asked once."""
    once, twice = Conductor(style("house")), Conductor(style("house"))
    for bar, heard in enumerate(course("wave", 24)):
        expected = once.compose(bar, heard)
        for _ in range(1 + bar % 3):
            got = twice.compose(bar, heard)
            assert np.array_equal(got.grid, expected.grid)
            assert np.array_equal(got.chord, expected.chord)


def test_style_and_mode_change_at_the_next_bar() -> None:
    """A new style is heard in the next composed bar, in its own key, and the form goes on."""
    conductor = Conductor(style("house"))
    for bar in range(10):
        before = conductor.compose(bar, imagined(0.6))
    conductor.style = style("techno")
    conductor.mode = "rules"
    after = conductor.compose(10, imagined(0.6))
    assert after.swing == style("techno").swing != before.swing
    assert conductor.mode == "rules"
    for onset in sounding(10, after):
        assert onset["kind"] == ev.DRUM or 1 << int(onset["sound"]) % 12 & style("techno").allowed


def test_rules_make_sections_as_dense_as_they_are_called() -> None:
    """Without mappings a Climax has more onsets than a Groove, and a Groove more than an Intro."""
    still = Heard(0.3, 0.3, 0.5, True)
    heard = [replace(still, energy=energy) for energy in (0.1, 0.15, 0.2, 0.3, 0.5, 0.8, 1.2, 1.5) for _ in range(4)]
    by_section: dict[int, list[int]] = {}
    for bar, score in enumerate(rehearse(style("house"), heard, mode="rules")):
        by_section.setdefault(score.section, []).append(count(bar, score))
    mean = {section: np.mean(counts) for section, counts in by_section.items()}
    assert mean[INTRO] < mean[GROOVE] < mean[CLIMAX]


def test_modes_that_are_not_there_say_so() -> None:
    """Diffusion and coupled are known but not installed; a typing error meets its neighbour."""
    for mode in MODES[2:]:
        with pytest.raises(ModeError, match="is not installed; play rules or continuous"):
            Conductor(style("house"), mode=mode)
    with pytest.raises(ModeError, match="did you mean 'continuous'"):
        Conductor(style("house"), mode="continous")
    conductor = Conductor(style("house"), mode="rules")
    with pytest.raises(ModeError):
        conductor.mode = "diffusion"
    assert conductor.mode == "rules"


finite = st.floats(allow_nan=True, allow_infinity=True)


@settings(deadline=None, max_examples=25)
@given(
    st.sampled_from(names()),
    st.integers(0, 2**63),
    st.lists(
        st.tuples(
            st.integers(0, 1000), finite, finite, finite, st.booleans(), st.lists(finite, min_size=15, max_size=15)
        ),
        min_size=1,
        max_size=12,
    ),
)
def test_whatever_is_heard_a_grid_comes_out(name: str, seed: int, calls: Iterable[Any]) -> None:
    """Any number, NaN included, any bar in any order: the answer is a valid grid with four chords."""
    conductor = Conductor(style(name), seed)
    for bar, energy, tension, c, active, parameter in calls:
        score = conductor.compose(bar, Heard(energy, tension, c, active, np.array(parameter)))
        ev.check(score.grid)
        assert 0.0 <= conductor.form.drive <= 1.0
        assert score.chord.shape == (4,)
        assert score.chord.dtype == np.uint32
        assert score.grid.dtype == np.uint8


def test_records_are_heard() -> None:
    """Control records give their means, the newest state and the parameters; none at all is a body at rest."""
    records = np.zeros(3, CONTROL)
    records["energy"] = (0.2, 0.4, 0.6)
    records["c"] = 0.5
    records["state"] = (0, 2, 2)
    heard = Heard.of_records(records, np.full(BAND_LANES, 0.25, np.float32))
    assert heard.energy == pytest.approx(0.4)
    assert heard.c == pytest.approx(0.5)
    assert heard.active
    assert heard.of("width") == 0.25
    assert not Heard.of_records(records[:0], heard.parameter).active
    assert len(heard.parameter) == len(BAND)


def test_the_preview_writes_what_is_played(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command writes a file that reads back as the grids that sounded, and refuses what it cannot do."""
    target = tmp_path / "house.txt"
    assert preview.main(["house", str(target), "--bars", "8", "--energy", "up"]) == 0
    assert "4 grids of house, Intro" in capsys.readouterr().out
    from echelon_models.music import files

    scores = rehearse(style("house"), course("up", 8))
    assert np.array_equal(files.read(target).grids, np.stack([score.grid for score in scores[1::2]]))
    assert preview.main(["hose", str(target)]) != 0
    assert "did you mean 'house'" in capsys.readouterr().err
    assert preview.main(["house", str(target), "--energy", "loud"]) != 0
