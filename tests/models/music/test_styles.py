"""Style files: the ones that ship are whole, and whatever is wrong is refused with its place and a remedy."""

import contextlib
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echelon_models.music import harmony, preview, styles
from echelon_models.music.sections import SECTIONS
from echelon_models.music.styles import CHORD_TRACKS, StyleError, load, names, parse

HOUSE = (styles.FOLDER / "house.toml").read_text("utf-8")


def test_the_styles_that_ship() -> None:
    """At least house, techno, breakbeat and ambient are there, and each says what it is."""
    assert {"house", "techno", "breakbeat", "ambient"} <= set(names())
    for name in names():
        style = load(name)
        assert style.name == name
        assert style.about
        assert len(style.levels_db) == len(style.pans) == len(style.tracks) == 12


@pytest.mark.parametrize("name", names())
def test_every_section_has_parts_enough_for_the_density(name: str) -> None:
    """Every track that a section lets play has something to play, and sections differ in which tracks play."""
    style = load(name)
    for section, playing in enumerate(style.playing):
        for index in playing:
            track = style.tracks[index]
            assert track is not None
            assert not any(part.silent for part in track.parts[section]), (SECTIONS[section], styles.TRACKS[index])
    assert len(set(style.playing)) >= 4
    assert set(CHORD_TRACKS) & style.playing[1]


@pytest.mark.parametrize("name", names())
def test_chords_stay_in_the_scale_unless_the_style_says_so(name: str) -> None:
    """Only a style that borrows chords has tones outside its scale."""
    style = load(name)
    scale = harmony.shifted(style.scale, style.root)
    strange = any(harmony.mask(found.tones) & ~scale for bars in style.progressions for bar in bars for found in bar)
    assert style.borrowed or not strange


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("swing = 0.55", "swng = 0.55", ["house.toml: swng", "did you mean 'swing'"]),
        ("swing = 0.55", "swing = 0.9", ["swing = 0.9", "0.5 to 0.7"]),
        ("swing = 0.55", "swing = nan", ["swing = nan", "0.5 to 0.7"]),
        ("swing = 0.55", "swing = true", ["swing = True", "0.5 to 0.7"]),
        ("tempo = [116, 122, 128]", "tempo = [128, 122, 116]", ["tempo", "rising"]),
        ("tempo = [116, 122, 128]", 'tempo = "fast"', ["tempo = 'fast'", "rising"]),
        ("onsets_a_bar = [8, 62]", "onsets_a_bar = [62]", ["onsets_a_bar", "rising"]),
        ('root = "A"', 'root = "H"', ["harmony.root = 'H'", "is no note"]),
        ('scale = "minor"', 'scale = "minr"', ["harmony.scale = 'minr'", "did you mean 'minor'"]),
        ('scale = "minor"', 'scale = "blues"', ["harmony.scale = 'blues'", "seven notes"]),
        ('melody = "minor_pentatonic"', 'melody = "blues"', ["harmony.melody", "borrowed = true"]),
        ('"i", "VI", "iv", "v"', '"i", "VI", "iv", "V"', ["harmony.progression[3]", "G# is not in the scale", "'v'"]),
        ('"i", "VI", "iv", "v"', '"i", "Xi", "iv", "v"', ["harmony.progression[1]", "'Xi'", "Roman numeral"]),
        ('"i", "VI", "iv", "v"', '"i", "i i i", "iv"', ["harmony.progression", "one or two chords"]),
        ('bd = ["1...1...1...1..."', 'bd = ["1...1...1...1.."', ["tracks.KICK.bd", "15 cells", "add 1"]),
        ('bd = ["1...1...1...1..."', 'bd = ["1...1...x...1..."', ["tracks.KICK.bd", "cell 9 is 'x'", "1..9"]),
        ("[tracks.KICK]", "[tracks.KIK]", ["tracks.KIK", "did you mean 'KICK'"]),
        ('oh = "..1...1...1...1."', 'ohh = "..1...1...1...1."', ["tracks.HH.ohh", "did you mean 'oh'"]),
        ('velocity = "mp"', 'velocity = "loud"', ["tracks.SNARE.velocity = 'loud'", "pp, p, mp"]),
        ("level_db = -5.0", "level_db = 20", ["tracks.SNARE.level_db = 20", "-60 to 6"]),
        ('Intro = "KICK', 'Intro = "KICKS', ["sections.Intro", "'KICKS' is no track", "did you mean 'KICK'"]),
        ('effects = "lpf"', 'effects = "lpg"', ["effects = 'lpg'", "no effect", "did you mean 'lpf'"]),
        ('KICK = "........k...!..."', 'KICK = "........k...?..."', ["fills[0].KICK", "cell 13 is '?'"]),
        ('BASS = "........!......."', 'BASS = "........!"', ["fills[2].BASS", "9 cells"]),
        ('length = "half"', 'length = "long"', ["length = 'long'", "one of 16th"]),
        ("[tracks.SNARE.Build]", "[tracks.SNARE.Built]", ["tracks.SNARE.Built", "did you mean 'Build'"]),
        ('about = "deep', r'about = "\u001b[31mdeep', ["house.toml: about", r"letter 1, '\x1b'", "cannot be printed"]),
        ("crash = true", r'"\u001b[2J" = true', [r"house.toml: '\x1b[2J'", "no such key"]),
        ("[harmony]", "[harmony", ["house.toml", "is not TOML", "line"]),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(old: str, new: str, said: list[str]) -> None:
    """The message names the file, the key, the value, the rule and, where there is one, the nearest right name."""
    assert old in HOUSE
    with pytest.raises(StyleError) as caught:
        parse(HOUSE.replace(old, new, 1), "house.toml")
    for part in ("house.toml", *said):
        assert part in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_missing_key_or_track_is_named() -> None:
    """A style without its sections, or with a section of a track that has no part, says so."""
    with pytest.raises(StyleError, match=r"harmony\.root: is missing"):
        parse("tempo = [100, 110, 120]")
    without = HOUSE[: HOUSE.index("[tracks.VOX]")] + HOUSE[HOUSE.index("[tracks.AMB]") :]
    with pytest.raises(StyleError, match=r"sections\.Build.*lets VOX play, which has no part; write \[tracks\.VOX\]"):
        parse(without)


def test_own_styles_come_first_and_unknown_names_are_refused(tmp_path: Path) -> None:
    """A folder of one's own adds styles and replaces those that ship; an unknown name meets its neighbour."""
    (tmp_path / "mine.toml").write_text(HOUSE, "utf-8")
    (tmp_path / "house.toml").write_text(HOUSE.replace("swing = 0.55", "swing = 0.6"), "utf-8")
    assert "mine" in names(tmp_path)
    assert load("mine", tmp_path).name == "mine"
    assert load("house", tmp_path).swing == 0.6
    assert load("house").swing == 0.55
    assert load(str(tmp_path / "mine.toml")).tempo == load("house").tempo
    with pytest.raises(StyleError, match="did you mean 'techno'"):
        load("tekno")
    with pytest.raises(StyleError, match="cannot be read"):
        load(str(tmp_path / "none.toml"))
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(StyleError, match="not UTF-8"):
        load(str(tmp_path / "bytes.toml"))


@settings(deadline=None, max_examples=60)
@given(st.integers(0, len(HOUSE) - 1), st.integers(0, 40), st.text(max_size=12))
def test_no_damage_to_a_file_raises_anything_else(at: int, cut: int, put: str) -> None:
    """However a file is damaged it is read, or refused as a style."""
    with contextlib.suppress(StyleError):
        assert parse(HOUSE[:at] + put + HOUSE[at + cut :]).name == "style"


def test_the_example_of_the_page_is_a_whole_style() -> None:
    """What the page of the format shows can be copied: it is read, every section has its tracks, and it plays."""
    page = (styles.FOLDER / "README.md").read_text("utf-8")
    (example,) = re.findall(r"^```toml\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    style = parse(example, "mine.toml")
    assert all(style.playing[: SECTIONS.index("Outro")])
    scores = preview.rehearse(style, preview.course("wave", 8))
    assert any((score.grid != scores[0].grid).any() for score in scores)
