"""Shows: what people may write in them, what is refused and how, and what a cue does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from echelon_bridges import show
from echelon_engine import config_file, live
from echelon_engine.config import Config
from echelon_engine.errors import UsageError, UserError

CONFIG = Config()


def written(path: Path, text: str) -> Path:
    """Return a file with this text."""
    file = path / "show.toml"
    file.write_text(text)
    return file


def test_the_example_of_the_documentation_is_read(tmp_path: Path) -> None:
    """What the module's docstring shows is a valid show: presets, dots as keys or quoted, units as people write."""
    text = (show.__doc__ or "").partition("checked whole at the start.\n")[2].partition("A cue changes")[0]
    played = show.read(written(tmp_path, text), CONFIG)
    assert [cue.name for cue in played.cues] == ["opening", "groove"]
    settings = live.initial_settings(CONFIG)[0]
    shown = show.apply(settings, played.cues[0], CONFIG)
    assert shown["style"] == "ambient"
    assert settings["band_db"] == -12.0
    assert settings["track_mute"][0] == 1
    assert settings["velocity_scale"][0] == 1.5
    assert shown["lane.filter_cutoff"].endswith("(900 Hz)")
    show.apply(settings, played.cues[1], CONFIG)
    assert settings["track_mute"][0] == 0
    assert not settings["override_on"].any()
    assert settings["band_db"] == -12.0  # a cue changes what it names, and nothing else


def test_a_cues_own_setting_is_stronger_than_its_preset(tmp_path: Path) -> None:
    """Of presets the later wins, and what the cue says itself wins over both."""
    text = (
        "[presets.a]\nmaster = -3\ntempo = 100\n[presets.b]\nmaster = -6\nband_level = -1\n"
        '[[cue]]\nname = "x"\nuse = ["a", "b"]\nband_level = -2\n'
    )
    (cue,) = show.read(written(tmp_path, text), CONFIG).cues
    assert dict(cue.settings) == {"master": "-6", "tempo": "100", "band_level": "-2"}


def test_the_order_within_a_cue_is_no_trap(tmp_path: Path) -> None:
    """A tempo makes its source fixed unless the cue names another, wherever that stands; so with the focus."""
    config = config_file.make({"motion.performers": 2})
    text = '[[cue]]\nname = "x"\ntempo_source = "performer"\nvelocity_scale = 3\ntempo = 90\nfocus = 1\n'
    (cue,) = show.read(written(tmp_path, text), config).cues
    settings = live.initial_settings(config)[0]
    show.apply(settings, cue, config)
    assert live.shown(settings, "tempo_source") == "performer"
    assert settings["tempo_bpm"] == 90.0
    np.testing.assert_array_equal(settings["velocity_scale"][:2], np.float32([2.0, 3.0]))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["must be a list", "[[cue]]"]),
        ("[[cue]", ["TOML"]),
        ("[cue]\nname = 'x'", ["must be a list"]),
        ("[[cues]]\nname = 'x'", ["cues", "'cue'"]),
        ("[[cue]]\nstyle = 'house'", ["cue 1: has no name"]),
        ("[[cue]]\nname = ''", ["1 to 64"]),
        ("[[cue]]\nname = '3'", ["cue 1 '3'", "number"]),
        ("[[cue]]\nname = 'Next'", ["next or back"]),
        ("[[cue]]\nname = 'x'\n[[cue]]\nname = 'X'", ["cue 2", "another cue"]),
        ("[[cue]]\nname = 'x'\nstile = 'house'", ["cue 1 'x': stile", "'style'"]),
        ("[[cue]]\nname = 'x'\ntrack.kik.mute = true", ["track.kik.mute", "'track.kick.mute'"]),
        ("[[cue]]\nname = 'x'\ntempo = 900", ["cue 1 'x': tempo = '900'", "20 to 300 bpm"]),
        ("[[cue]]\nname = 'x'\nstyle = 'hause'", ["style = 'hause'", "'house'"]),
        ("[[cue]]\nname = 'x'\nmode = 'diffusion'", ["mode = 'diffusion'", "not installed"]),
        ("[[cue]]\nname = 'x'\nstyle = 'next'", ["depends on what went before"]),
        ("[[cue]]\nname = 'x'\ntempo = [1]", ["cue 1 'x': tempo", "a number, a text"]),
        ("[[cue]]\nname = 'x'\nlane.gian = 1", ["lane.gian", "'gain'"]),
        ("[[cue]]\nname = 'x'\nfocus = 1", ["focus = '1'", "motion.performers"]),
        ("[[cue]]\nname = 'x'\ncue = 'x'", ["cue 1 'x': cue", "no such live setting"]),
        ("[[cue]]\nname = 'x'\nuse = 'quiet'", ["list of presets"]),
        ("[[cue]]\nname = 'x'\nuse = ['quit']\n[presets.quiet]\n", ["'quiet'"]),
        ("[[cue]]\nname = 'x'\n[presets.quiet]\nmster = 1", ["preset 'quiet': mster", "'master'"]),
        ("[[cue]]\nname = 'x'\nmute = true\n'track.kick.pan' = 0\ntrack.kick.pan = 1", ["written twice"]),
        ("presets = 3\n[[cue]]\nname = 'x'", ["presets"]),
    ],
)
def test_mistakes_are_refused_with_their_place(tmp_path: Path, text: str, words: list[str]) -> None:
    """What is wrong is named with the file, the cue or preset, the key, the rule and the nearest name."""
    with pytest.raises(UsageError) as caught:
        show.read(written(tmp_path, text), CONFIG)
    for word in ["show.toml", *words]:
        assert word in str(caught.value)


def test_a_file_that_is_not_there_or_too_large(tmp_path: Path) -> None:
    """The path is named."""
    with pytest.raises(UsageError, match=r"none\.toml"):
        show.read(tmp_path / "none.toml", CONFIG)
    with pytest.raises(UsageError, match="larger than"):
        show.read(written(tmp_path, "#" * (show.FILE_BYTES + 1)), CONFIG)


def test_steps_names_and_numbers() -> None:
    """Next and back stop at the ends, numbers count from 1, names have any case; a wrong one gets a hint."""
    played = show.Show("s", tuple(show.Cue(name, ()) for name in ("Opening", "groove", "end")))
    assert played.place("next", 0) == 1
    assert played.place("back", 3) == 2
    assert played.place("3", 0) == 3
    assert played.place("opening", 2) == 1
    with pytest.raises(UserError, match="cue 3 is the last"):
        played.place("next", 3)
    for number in (0, 1):
        with pytest.raises(UserError, match="no cue comes before"):
            played.place("back", number)
    with pytest.raises(UsageError, match="'groove'"):
        played.place("grove", 0)
    for wrong in ("0", "4", "-1", "²"):
        with pytest.raises(UsageError, match="cues are 1 to 3"):
            played.place(wrong, 0)


@pytest.mark.parametrize("place", ["cue", "preset"])
def test_a_style_whose_file_is_broken_is_refused_at_the_start(tmp_path: Path, place: str) -> None:
    """A show that names a style by a good name with a bad file says cue or preset, file, place and reason."""
    (tmp_path / "bad.toml").write_text("tempo = [1]\n")
    config = config_file.make({"band.styles": str(tmp_path)})
    text = {
        "cue": "[[cue]]\nname = 'x'\nstyle = 'Bad'\n",
        "preset": "[[cue]]\nname = 'x'\n[presets.q]\nstyle = 'bad'\n",
    }[place]
    with pytest.raises(UsageError, match=f"show.toml: {place} .*bad.toml: .*: is "):
        show.read(written(tmp_path, text), config)
