"""`styles`, and what `run`, `render` and `doctor` say of styles: what a person types and reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from echelon_bridges import cli, control, doctor, lock
from echelon_engine import config_file, live_table
from echelon_models.music import files
from echelon_models.music.styles import FOLDER

HOUSE = (FOLDER / "house.toml").read_text()


@pytest.fixture(autouse=True)
def _nothing_of_this_person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config_file, "default_path", lambda: tmp_path / "none.toml")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder with a good and a bad style."""
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "mine.toml").write_text(HOUSE.replace('about = "', 'about = "my own '))
    (folder / "bad.toml").write_text(HOUSE.replace('"minor"', '"mnor"'))
    return folder


def test_list_shows_every_style_and_what_is_wrong(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every style that can be chosen has a line with tempo and scale; one that is no good says why."""
    assert cli.main(["styles", "--set", f"band.styles={own}"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert set(lines) == {"style", *live_table.styles(str(own))}
    assert "116-122-128" in lines["house"]
    assert "A minor" in lines["house"]
    assert "my own" in lines["mine"]
    assert str(own / "mine.toml") in lines["mine"]
    assert "NO GOOD" in lines["bad"]
    assert "did you mean 'minor'?" in lines["bad"]
    assert cli.main(["styles"]) == 0
    assert "mine" not in capsys.readouterr().out


@pytest.mark.parametrize("name", live_table.STYLES)
def test_show_tells_chords_tracks_and_where_the_file_is(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`show` says what a musician needs to choose a style or to copy it."""
    assert cli.main(["styles", "show", name]) == 0
    said = capsys.readouterr().out
    assert str(FOLDER / f"{name}.toml") in said
    for part in ("tempo", "scale", "Intro", "Climax", "Outro", "KICK", "levels"):
        assert part in said


def test_check_says_place_and_reason(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A good file is 0, a bad one 2 with file, key, value and rule; so is one that is missing."""
    assert cli.main(["styles", "check", str(own / "mine.toml")]) == 0
    assert "can be played: A minor, 116 to 128 bpm" in capsys.readouterr().out
    for name, parts in {
        str(own / "bad.toml"): ("bad.toml: harmony.scale = 'mnor'", "is one of major", "did you mean 'minor'?"),
        str(own / "none.toml"): ("none.toml", "cannot be read"),
        "house": ("ends in .toml", "styles show house"),
        str(own): ("is a folder",),
    }.items():
        assert cli.main(["styles", "check", name]) == 2
        said = capsys.readouterr().err
        for part in parts:
            assert part in said
    (own / "Mine.toml").write_text(HOUSE)
    assert cli.main(["styles", "check", str(own / "Mine.toml")]) == 0
    assert "call it mine.toml" in capsys.readouterr().out


def test_preview_writes_bars_in_every_format(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same bars as text and MIDI, others with another seed or energy; a file of one's own by name and by path."""
    targets = [own / "a.txt", own / "a.mid"]
    for target in targets:
        assert cli.main(["styles", "preview", "house", str(target), "--bars", "8"]) == 0
    assert "4 grids of house, Intro" in capsys.readouterr().out
    text, midi = (files.read(target) for target in targets)
    assert len(text) == len(midi) == 4
    assert text.tempi[0] == 122
    for more in (["--seed", "5"], ["--energy", "0.1"]):
        assert cli.main(["styles", "preview", "house", str(own / "b.txt"), "--bars", "8", *more]) == 0
        assert (own / "b.txt").read_text() != targets[0].read_text()
    for name in ("mine", str(own / "mine.toml")):
        assert cli.main(["styles", "preview", name, str(own / "c.txt"), "--set", f"band.styles={own}"]) == 0


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["show", "hose"], "did you mean 'house'?"),
        (["show"], "`styles show` takes NAME"),
        (["shaw", "house"], "no such action"),
        (["preview", "house", "a.wav"], "grids are written to"),
        (["preview", "house", "a.txt", "--bars", "1"], "2 to 64"),
        (["preview", "house", "a.txt", "--energy", "2"], "a number from 0 to 1"),
        (["--set", "band.styles=/no/such/folder"], "no such folder"),
    ],
)
def test_mistakes_are_answered(words: list[str], part: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be is said in one line, with what can."""
    assert cli.main(["styles", *words]) in (1, 2)
    assert part in capsys.readouterr().err


@pytest.mark.parametrize("command", [["run", "--device", "null"], ["render", "dancer", "x.wav"]])
@pytest.mark.parametrize(
    ("setting", "part"),
    [("band.style=tecno", "did you mean 'techno'?"), ("band.mode=diffusion", "not installed")],
)
def test_unknown_style_or_mode_is_wrong_use(
    command: list[str], setting: str, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """`run` and `render` refuse it before anything is started, with exit code 2 and the nearest name."""
    assert cli.main([*command, "--set", setting]) == 2
    assert part in capsys.readouterr().err


@pytest.mark.parametrize("command", [["run", "--device", "null"], ["render", "dancer", "x.wav"], ["styles"]])
def test_folder_of_styles_that_is_not_there_is_refused(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """`run` and `render` say it before anything is started, in the words of `styles`."""
    assert cli.main([*command, "--set", "band.styles=/no/such/folder"]) == 1
    assert "band.styles = '/no/such/folder': no such folder" in capsys.readouterr().err


def test_style_file_that_is_no_good_fails_the_start(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A chosen style with a mistake in its file is refused with the place, as any file that will not do."""
    wrong = ["--set", f"band.styles={own}", "--set", "band.style=bad"]
    assert cli.main(["run", "--device", "null", *wrong]) == 1
    assert "bad.toml: harmony.scale" in capsys.readouterr().err


def test_doctor_checks_the_style_and_the_folder(own: Path) -> None:
    """The chosen style, a folder that is missing, and every bad file in one that is there are findings."""

    def rows(**values: str) -> dict[str, list[doctor.Row]]:
        found: dict[str, list[doctor.Row]] = {}
        for row in doctor.styles(config_file.make({f"band.{name}": value for name, value in values.items()})):
            found.setdefault(row.subject, []).append(row)
        return found

    assert doctor.styles in doctor.CHECKS
    plain = rows()
    assert [row.verdict for row in plain["style"]] == ["ok"]
    assert "styles" not in plain
    (unknown,) = rows(style="hose")["style"]
    assert (unknown.verdict, unknown.remedy) == ("fail", "did you mean 'house'?")
    (bad,) = rows(style="bad", styles=str(own))["style"]
    assert bad.verdict == "fail"
    assert "harmony.scale" in bad.text
    assert [row.verdict for row in rows(styles=str(own))["styles"]] == ["warn"]
    assert [row.verdict for row in rows(styles=str(own / "none"))["styles"]] == ["fail"]
    (own / "bad.toml").unlink()
    (good,) = rows(styles=str(own))["styles"]
    assert (good.verdict, good.text.split()[0]) == ("ok", "1")


def test_the_styles_that_come_with_it_are_the_ones_in_the_folder() -> None:
    """The engine numbers the styles by name without looking at the models' folder: both must list the same."""
    assert list(live_table.STYLES) == sorted(path.stem for path in FOLDER.glob("*.toml"))


def test_the_list_of_settings_has_the_engines_own_styles_and_says_when_a_tempo_waits(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`set --list` shows the choices of the running engine, and that `tempo` is for the source `fixed`."""
    told = {"tempo": "110 bpm", "tempo_source": "style", "style": "mine"}
    monkeypatch.setattr(lock, "is_held", lambda _name: True)
    monkeypatch.setattr(control, "request", lambda *_, **__: {"values": told, "choices": {"style": ["house", "mine"]}})
    lines = []
    for told["tempo_source"] in ("style", "fixed"):
        assert cli.main(["set", "--list"]) == 0
        lines.append({line.split()[0]: line for line in capsys.readouterr().out.splitlines()})
    assert "one of house, mine, or next, back" in lines[0]["style"]
    assert "in force with tempo_source fixed, now it is style" in lines[0]["tempo"]
    assert "in force" not in lines[1]["tempo"]
