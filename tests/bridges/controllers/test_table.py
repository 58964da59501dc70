"""The map of controllers: what people may write in it, and that learning never breaks it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echelon_bridges.controllers import table
from echelon_engine import config_file, live
from echelon_engine.errors import UsageError, UserError


def test_the_example_of_the_documentation_is_read(tmp_path: Path) -> None:
    """What the module's docstring shows is a valid map."""
    text = (table.__doc__ or "").partition("[controllers]")[2].partition("\n\n")[0]
    path = tmp_path / "map.toml"
    path.write_text("[controllers]" + "\n".join(line.strip() for line in text.splitlines()))
    rows = table.read(path)
    assert rows["cc 1 74"] == table.Row("cc 1 74", "lane.filter_cutoff", 0.0, 1.0, "pickup")
    assert rows["cc 1 7"] == table.Row("cc 1 7", "master", -40.0, 0.0, "jump")
    assert rows["note 10 36"].value == "dorian"
    assert rows["clock"].key == "tempo"
    assert rows["note 10 37"].value == "next"
    assert rows["note 10 38"].value == "back"
    assert rows["cc 1 20"] == table.Row("cc 1 20", "style", 0.0, 1.0, "jump")


SOURCES = st.one_of(
    st.builds("cc {} {}".format, st.integers(1, 16), st.integers(0, 119)),
    st.builds("nrpn {} {}".format, st.integers(1, 16), st.integers(0, 16383)),
    st.builds("note {} {}".format, st.integers(1, 16), st.integers(0, 127)),
    st.builds("bend {}".format, st.integers(1, 16)),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40).map("osc /{}".format),
)


@settings(deadline=None, max_examples=100)
@given(st.dictionaries(SOURCES, st.sampled_from(live.names()), max_size=20))
def test_what_is_stored_is_read_back(tmp_path_factory: pytest.TempPathFactory, entries: dict[str, str]) -> None:
    """Any map comes back as it was, whatever characters its addresses have."""
    path = tmp_path_factory.mktemp("map") / "deep" / "map.toml"
    rows = {row.source: row for row in (table.make_row(source, key) for source, key in entries.items())}
    table.store(path, rows)
    assert table.read(path) == rows
    assert [each.name for each in path.parent.iterdir()] == ["map.toml"]


def test_every_field_is_stored(tmp_path: Path) -> None:
    """Ends, mode and value of a row survive."""
    rows = {
        source: table.make_row(source, entry)
        for source, entry in {
            "cc 1 7": {"key": "master", "low": -40, "high": -6.5, "mode": "jump"},
            "note 1 1": {"key": "mute", "mode": "toggle"},
            "note 1 2": {"key": "lane.gain", "value": "off"},
        }.items()
    }
    table.store(tmp_path / "map.toml", rows)
    assert table.read(tmp_path / "map.toml") == rows


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[controllers]\n"cc 1 74" = "lane.gian"', "lane.gain"),
        ('[controllers]\n"cc 17 74" = "tempo"', "no controller"),
        ('[controllers]\n"cc 1 120" = "tempo"', "no controller"),
        ('[controllers]\n"knob" = "tempo"', "no controller"),
        ('[controllers]\n"osc fader" = "tempo"', "no controller"),
        ('[controllers]\n"cc 1 1" = 5', "must name"),
        ('[controllers]\n"cc 1 1" = {key = "tempo", low = 5}', "from 20 to 300"),
        ('[controllers]\n"cc 1 1" = {key = "tempo", low = nan}', "from 20 to 300"),
        ('[controllers]\n"cc 1 1" = {key = "tempo", mode = "toggle"}', "pickup or jump"),
        ('[controllers]\n"cc 1 1" = {key = "scale", value = "dorain"}', "dorian"),
        ('[controllers]\n"cc 1 1" = {key = "tempo", shape = 1}', "no such field"),
        ('[controllers]\n"clock" = "master"', "tempo alone"),
        ('[controllers]\n"note 1 1" = {key = "mode", value = "diffusion"}', "not installed"),
        ("[other]\n", "one table"),
        ("controllers = 5\n", "one table"),
        ("[controllers\n", "TOML"),
    ],
)
def test_mistakes_are_explained(tmp_path: Path, text: str, words: str) -> None:
    """A wrong line is named with the file, and what would be right."""
    path = tmp_path / "map.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        table.read(path)
    assert words in str(caught.value)
    assert "map.toml" in str(caught.value)


def test_a_map_that_cannot_be_written_is_told_and_kept(tmp_path: Path) -> None:
    """Where the file cannot be written, the old one stays and a person reads why."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="cannot be written"):
        table.store(tmp_path / "file" / "map.toml", {})
    assert (tmp_path / "file").read_text() == "x"


def test_a_changed_map_comes_into_force_and_a_broken_one_does_not(tmp_path: Path) -> None:
    """The running engine takes a new map; a mistake leaves the former rows in force and is reported."""
    path = tmp_path / "map.toml"
    watched = table.Watched(path)
    assert not watched.rows
    table.store(path, {"cc 1 1": table.make_row("cc 1 1", "tempo")})
    assert watched.refresh()
    assert not watched.refresh()
    path.write_text("[controllers]\n'cc 1 1' = 'tmpo'")
    os.utime(path, ns=(1, 1))
    assert not watched.refresh()
    assert "cc 1 1" in watched.rows
    assert "tempo" in watched.problem
    path.unlink()
    assert watched.refresh()
    assert not watched.rows
    assert not watched.problem


def test_the_map_lies_beside_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The learned map is the person's own unless midi.map names another."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert table.path_of(config_file.make({})).name == table.FILE
    assert table.path_of(config_file.make({})).parent == config_file.default_path().parent
    assert table.path_of(config_file.make({"midi.map": "/x/y.toml"})) == Path("/x/y.toml")
