"""Grids as text: the same cells back, edits by hand understood, mistakes shown with their place."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from music_grids import grids

from echelon_engine.vocabulary import STEPS
from echelon_models.music import events as ev
from echelon_models.music import text, tokens
from echelon_models.music.piece import piece
from echelon_models.music.tokens import TRACKS

REST = ". " * STEPS


@settings(max_examples=40, deadline=None)
@given(st.lists(grids(), min_size=1, max_size=3), st.sampled_from([0, 60, 123.456, 174]))
def test_text_gives_back_the_same_cells(several: list[ev.Grid], bpm: float) -> None:
    """Writing and reading changes no cell and no tempo; each line is a track of 32 aligned cells."""
    wanted = piece(np.array(several), bpm)
    said = text.write(wanted)
    found = text.read(said)
    np.testing.assert_array_equal(found.grids, wanted.grids)
    np.testing.assert_array_equal(found.bpm, wanted.bpm)
    lines = [line for line in said.splitlines() if line.split(" ")[0] in TRACKS]
    assert len(lines) == 12 * len(several)
    assert len({line.index("|") for line in lines}) == 1


def test_short_names_are_as_distinct_as_the_long_ones() -> None:
    """81 short names of three characters at most, each of which is read as its token."""
    assert len(set(text.NAMES)) == tokens.COUNT
    assert max(map(len, text.NAMES)) <= 3
    for token, name in enumerate(text.NAMES):
        row = text.read(f"LEAD {name} " + ". " * (STEPS - 1)).grids[0, 6]
        assert row[0] == token


def test_text_by_hand_is_understood() -> None:
    """Long names, any case, flats, comments, Windows lines, tracks left out, no `grid` line."""
    said = (
        "\ufeff# mine\r\nBASS quarter DB3 "
        + "~ " * 2
        + "| "
        + ". " * 28
        + "# bass\r\n\r\nkick BD "
        + ". " * 31
        + "\r\n"
    )
    found = text.read(said)
    assert found.grids.shape == (1, 12, 32)
    assert found.grids[0, 4, :2].tolist() == [tokens.token_of("quarter"), tokens.token_of("C#3")]
    assert int((found.grids > 0).sum()) == 3


def test_grid_lines_separate_and_carry_tempi() -> None:
    """`grid` begins a grid, whatever stands on its line, with a tempo at its end or none."""
    found = text.read(f"grid the intro 90 bpm\nGRID\nKICK {REST}\ngrid 3  120.5 BPM\n")
    assert found.bpm.tolist() == [90, 0, 120.5]


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ("KICK bdd", "a.txt line 1, column 6: 'bdd': no such token; did you mean 'bd'?"),
        ("# x\n  KIKC bd", "a.txt line 2, column 3: 'KIKC': no such track; did you mean 'KICK'?"),
        (f"KICK {REST} hh", "column 71: 'hh': is one cell too many: a track has 32"),
        ("KICK bd | .", "column 9: '|': stands after 1 cells, and a group has 4"),
        ("KICK bd .", "line 1, column 10: the line ends after 2 cells, and a track has 32; add 30"),
        (f"KICK {REST}\nkick {REST}", "line 2, column 1: 'kick': this track was there before"),
        ("", "a.txt: holds no grid"),
        ("# only a comment", "holds no grid"),
        ("grid 500 bpm", "line 1, column 6: '500': no tempo of 20..400 bpm"),
        ("grid nan bpm", "'nan': no tempo"),
        ("grid bpm", "the tempo is missing"),
        ("KICK " + "x" * 500, "'xxxxxxxxxxxxxxxxxxxx...'"),
    ],
)
def test_mistakes_are_shown_with_line_and_column(said: str, wanted: str) -> None:
    """File, line, column, the word, the rule and the nearest that would do."""
    with pytest.raises(text.TextError) as caught:
        text.read(said, "a.txt")
    assert wanted in str(caught.value)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([*TRACKS, *text.NAMES, "grid", "bpm", "|", "#", "12", "\n", "\0", "é"]), max_size=90))
def test_any_words_are_read_or_refused(words: list[str]) -> None:
    """Whatever stands in a file gives grids or a `TextError`."""
    try:
        found = text.read(" ".join(words))
    except text.TextError:
        return
    ev.check(found.grids)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(said: str) -> None:
    """The same for arbitrary characters."""
    try:
        ev.check(text.read(said).grids)
    except text.TextError:
        return
