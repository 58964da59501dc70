"""The stage: one place where every change ends, whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from echelon_bridges.stage import Stage
from echelon_engine import config_file
from echelon_engine.errors import UsageError, UserError
from echelon_engine.vocabulary import TRACK_NAMES
from echelon_models.music.styles import FOLDER

SHOW = """
[[cue]]
name = "opening"
style = "ambient"
master = "-12 dB"
[[cue]]
name = "groove"
style = "techno"
track.pad.solo = true
"energy_scale.0" = 2.0
"""


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """A stage with a show of two cues."""
    (tmp_path / "show.toml").write_text(SHOW)
    return Stage(config_file.make({"show.file": str(tmp_path / "show.toml")}))


def test_a_cue_is_one_change(stage: Stage) -> None:
    """All of a cue's settings are in the record that replaces the former one, which is untouched."""
    before = stage.settings
    copy = before.tobytes()
    report = stage.cue("next")
    assert (report["number"], report["of"], report["name"], report["next"]) == (1, 2, "opening", "groove")
    assert stage.settings is not before
    assert before.tobytes() == copy
    assert stage.values()["style"] == "ambient"
    assert stage.values()["cue"] == "opening"
    assert stage.set("cue", "groove", 0) == "groove"
    values = stage.values()
    assert (values["style"], values["track.pad.solo"], values["energy_scale.0"]) == ("techno", "on", "2")
    assert values["master"] == "-12 dB"
    assert stage.cue("back")["name"] == "opening"
    assert stage.values()["style"] == "ambient"


def test_a_cue_that_is_refused_changes_nothing(stage: Stage) -> None:
    """At the end of the show, or for a name that is not there, settings and place stay."""
    stage.cue("2")
    before = stage.settings
    for wrong in ("next", "nowhere"):
        with pytest.raises(UserError):
            stage.cue(wrong)
    assert stage.settings is before
    assert stage.number == 2


def test_without_a_show_it_is_said() -> None:
    """A cue is refused with what to do, and nothing is reported."""
    stage = Stage(config_file.make({}))
    assert stage.report() is None
    for ask in (lambda: stage.cue("next"), lambda: stage.set("cue", "next", 0), stage.cues):
        with pytest.raises(UserError, match="--show FILE"):
            ask()


def test_taps_set_a_fixed_tempo(stage: Stage) -> None:
    """From the second tap on the tempo is theirs, whoever set it before."""
    stage.set("tempo_source", "performer", 0)
    assert stage.set("tap", "", 10**9) == "1 tap"
    assert stage.values()["tempo_source"] == "performer"
    assert stage.set("tap", "now", 10**9 + 400_000_000) == "150 bpm"
    assert (stage.values()["tempo"], stage.values()["tempo_source"]) == ("150 bpm", "fixed")
    assert stage.values()["tap"] == "2 taps"
    with pytest.raises(UsageError, match="now"):
        stage.set("tap", "later", 0)


@pytest.mark.parametrize("mode", ["diffusion", "coupled"])
def test_modes_that_are_not_there_are_refused_everywhere(stage: Stage, mode: str) -> None:
    """Neither `set` nor a start takes a mode whose models are not installed."""
    with pytest.raises(UsageError, match="not installed"):
        stage.set("mode", mode, 0)
    with pytest.raises(UsageError, match="not installed"):
        Stage(config_file.make({"band.mode": mode}))


def test_an_external_tempo_that_nobody_gives_is_told() -> None:
    """Without a MIDI input or Link there is no clock to hear; with one, it must tick."""
    alone = Stage(config_file.make({}))
    assert not alone.deaf({})
    alone.set("tempo_source", "external", 0)
    assert "midi.input or clock.link" in alone.deaf({})
    keyed = Stage(config_file.make({"midi.input": "keys", "clock.source": "external"}))
    assert not keyed.deaf({})  # nothing is known yet
    assert "no MIDI clock comes in at keys" in keyed.deaf({"midi_in": {"clock_bpm": 0.0}})
    assert not keyed.deaf({"midi_in": {"clock_bpm": 120.0}})
    assert not Stage(config_file.make({"clock.link": True, "clock.source": "external"})).deaf({})


def test_choices_step_around() -> None:
    """Next and back go through the styles and the modes that are there, around the end, and through scales."""
    stage = Stage(config_file.make({}))
    first = stage.values()["style"]
    seen = [stage.set("style", "next", 0) for _ in range(5)]
    assert len(set(seen)) == 5
    assert seen[-1] == first
    assert [stage.set("mode", "next", 0) for _ in range(3)] == ["rules", "continuous", "rules"]
    assert stage.set("scale", "next", 0) != stage.set("scale", "next", 0)
    assert stage.set("tempo_source", "back", 0) == "fixed"


def test_every_track_can_be_muted_and_soloed() -> None:
    """Each of the twelve has its keys, and no other track moves."""
    stage = Stage(config_file.make({}))
    for i, track in enumerate(TRACK_NAMES):
        stage.set(f"track.{track}.mute", "on", 0)
        stage.set(f"track.{track}.solo", "on", 0)
        assert stage.settings["track_mute"][0].tolist() == [1] * (i + 1) + [0] * (11 - i)
        assert stage.settings["track_solo"][0].tolist() == [1] * (i + 1) + [0] * (11 - i)


@pytest.mark.parametrize("kind", ["broken", "folder", "pipe", "junk", "gone"])
def test_a_style_that_cannot_be_loaded_is_refused_and_nothing_changes(tmp_path: Path, kind: str) -> None:
    """`set style` and a cue name the file and the reason, keep all settings, and take the style once it is mended."""
    own = tmp_path / "own"
    own.mkdir()
    file, good = own / "mine.toml", (FOLDER / "house.toml").read_text()
    file.write_text(good)
    (tmp_path / "show.toml").write_text("[[cue]]\nname = 'a'\nmaster = -20\nstyle = 'mine'\n")
    stage = Stage(config_file.make({"show.file": str(tmp_path / "show.toml"), "band.styles": str(own)}))
    file.unlink()
    match kind:
        case "broken":
            file.write_text("tempo = [1]\n")
        case "folder":
            file.mkdir()
        case "pipe":
            os.mkfifo(file)
        case "junk":
            file.write_bytes(b"\xff\xff")
    before = stage.settings
    said = {
        "broken": "mine.toml: ",
        "folder": f"{file}: is a folder",
        "pipe": f"{file}: is no regular file",
        "junk": f"{file}: is not UTF-8",
        "gone": f"{file}: is gone",
    }[kind]
    for ask in (lambda: stage.set("style", "Mine", 0), lambda: stage.set("cue", "next", 0), lambda: stage.cue("a")):
        with pytest.raises(UserError, match=said):
            ask()
    assert stage.settings is before
    assert stage.number == 0
    assert stage.set("style", "next", 0) == "synthwave"  # house, mine, synthwave: stepping goes past it
    assert stage.set("style", "back", 0) == "house"
    if file.is_dir():
        file.rmdir()
    file.unlink(missing_ok=True)
    file.write_text(good)
    assert stage.set("style", "mine", 0) == "mine"
    assert "mine" in stage.choices()["style"]
