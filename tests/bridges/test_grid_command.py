"""`grid`: what a person types and reads."""

from pathlib import Path

import numpy as np
import pytest

from echelon_bridges import cli
from echelon_models.music import files, tokens
from echelon_models.music.piece import piece


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """Return a text file of two grids."""
    cells = np.zeros((2, 12, 32), np.uint8)
    cells[:, 0, ::4] = tokens.token_of("bd")
    cells[1, 4, 1:5] = [tokens.token_of(word) for word in ("ghost", "quarter", "lpf", "C#3")]
    files.write(tmp_path / "house.txt", piece(cells, 124))
    return tmp_path / "house.txt"


def test_grid_goes_through_every_format(house: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Text to MIDI to arrays to text gives the same text."""
    mid, npz, txt = (house.with_name(name) for name in ("a.mid", "a.npz", "a.txt"))
    for source, target in ((house, mid), (mid, npz), (npz, txt)):
        assert cli.main(["grid", "convert", str(source), str(target)]) == 0
    assert txt.read_text() == house.read_text()
    assert capsys.readouterr().out.splitlines()[0] == f"{mid}: 2 grids"


def test_convert_picks_grids_and_sets_the_tempo(house: Path) -> None:
    """`--pick 2 --bpm 90` writes the second grid at 90 bpm."""
    target = house.with_name("b.npz")
    assert cli.main(["grid", "convert", str(house), str(target), "--pick", "2", "--bpm", "90"]) == 0
    found = files.read(target)
    assert (len(found), found.bpm.tolist()) == (1, [90])
    assert found.grids[0, 4].any()


def test_show_prints_text_that_can_be_read_again(house: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`show` prints what the file says, `--pick` one grid of it."""
    assert cli.main(["grid", "show", str(house)]) == 0
    assert capsys.readouterr().out == house.read_text()
    assert cli.main(["grid", "show", str(house), "--pick", "2"]) == 0
    assert capsys.readouterr().out.count("KICK") == 1


def test_show_of_many_grids_shows_the_first_and_says_how_to_see_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a data set the first four are shown."""
    files.write(tmp_path / "a.npz", piece(np.zeros((9, 12, 32), np.uint8)))
    assert cli.main(["grid", "show", str(tmp_path / "a.npz")]) == 0
    said = capsys.readouterr().out
    assert said.count("KICK") == 4
    assert "9 grids in all: see more with --pick 5-9" in said


def test_events_lists_onsets(house: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line an onset, with grid, place, track, sound and state."""
    assert cli.main(["grid", "events", str(house), "--pick", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 8 + 1
    bass = next(line for line in lines if "BASS" in line).split()
    assert bass == ["1", "1.2.1", "BASS", "C#3", "1", "0.65", "0.26", "4", "4", "ghost", "lpf"]
    assert lines[1].split() == ["1", "1.1.1", "KICK", "bd", "1", "0.65", "0.65", "1", "rings", "-", "-"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "an action is missing"),
        (["shwo", "a.txt"], 2, "grid show FILE, grid convert IN OUT"),
        (["convert", "house.txt"], 2, "`grid convert` takes IN OUT"),
        (["show", "absent.txt"], 1, "no such file of grids"),
        (["show", "house.wav"], 2, "grids are read from"),
        (["convert", "house.txt", "a.wav"], 2, "grids are written to"),
        (["convert", "house.txt", "no/a.mid"], 1, "its folder does not exist"),
        (["show", "house.txt", "--pick", "3"], 1, "there are 2, counted from 1"),
        (["show", "house.txt", "--pick", "0"], 1, "there are 2"),
        (["show", "house.txt", "--pick", "1-"], 2, "is a number or two"),
        (["show", "house.txt", "--bpm", "1000"], 1, "tempi are 20..400 bpm"),
        (["show", "house.txt", "--bpm", "nan"], 1, "tempi are 20..400 bpm"),
    ],
)
def test_mistakes_are_one_line_with_a_remedy(
    house: Path,
    words: list[str],
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Wrong words, files, suffixes, numbers and tempi are refused, and nothing is written."""
    monkeypatch.chdir(house.parent)
    assert cli.main(["grid", *words]) == code
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1
    assert [path.name for path in house.parent.iterdir()] == ["house.txt"]
