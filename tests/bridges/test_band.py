"""The conductor at work: one grid a bar, from what was heard until its last beat, in whatever stretches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from echelon_bridges.band import Band
from echelon_engine import live, live_table
from echelon_engine.config_file import make
from echelon_engine.errors import UsageError, UserError
from echelon_engine.live import initial_settings
from echelon_engine.memory import CONTROL, LATENT_STATE_NAMES
from echelon_engine.offline import render
from echelon_engine.vocabulary import MODES, SECTIONS
from echelon_models.music.styles import FOLDER

TENSION = LATENT_STATE_NAMES.index("tension")
BAR_FRAMES = 120  # at 120 bpm
HOUSE = FOLDER / "house.toml"


def heard(bars: float, *, epoch: int = 1, grid: int = 1) -> NDArray[Any]:
    """Return the control records of a body that gets wilder and calmer, at 120 bpm."""
    made = np.zeros(round(bars * BAR_FRAMES), CONTROL)
    frames = np.arange(len(made))
    made["epoch"], made["frame"], made["state"], made["grid"] = epoch, frames, 2, grid
    made["beat"] = frames / 30.0
    made["bar"] = made["beat"] // 4
    made["energy"] = 0.6 + 0.5 * np.sin(frames / 300.0)
    made["c"], made["tempo_bpm"] = 0.7, 120.0
    made["latent"][:, TENSION] = 0.5 + 0.5 * np.cos(frames / 200.0)
    made["band"] = 0.5 + 0.5 * np.sin(frames[:, None] / 250.0 + np.arange(15))
    return made


def conducted(band: Band, records: NDArray[Any], setting: Any, sizes: list[int] | None = None) -> list[Any]:
    """Feed records in stretches of these sizes, over and over, and return every answer; one each by default."""
    grids, begin, turn = [], 0, 0
    while begin < len(records):
        size = (sizes or [1])[turn % len(sizes or [1])]
        turn += 1
        if (grid := band.feed(records[begin : begin + size], setting)) is not None:
            grids.append(grid[0])
        begin += size
    return grids


def own_styles(folder: Path, **texts: str) -> str:
    """Write styles of a person's own and return their folder."""
    for name, text in texts.items():
        (folder / f"{name}.toml").write_text(text, "utf-8")
    return str(folder)


def setting_of(config: Any) -> Any:
    """Return the settings that an engine with this configuration starts with."""
    return initial_settings(config)[0]


@settings(deadline=None, max_examples=8)
@given(st.lists(st.integers(1, 90), min_size=1, max_size=5))
def test_stretches_do_not_matter(sizes: list[int]) -> None:
    """The same records give the same grids, bit for bit, however many come at once."""
    config, records = make({}), heard(6.5)
    one_by_one = conducted(Band(config), records, setting_of(config))
    in_parts = conducted(Band(config), records, setting_of(config), sizes)
    assert [grid.tobytes() for grid in in_parts] == [grid.tobytes() for grid in one_by_one]


def test_answers_once_a_bar_at_its_last_beat() -> None:
    """Each bar is asked for once, when the last beat of the bar before begins, and grids are numbered on."""
    config, records = make({}), heard(8)
    band = Band(config, numbered_from=100)
    first = band.first()
    assert (int(first["number"][0]), int(first["bar"][0])) == (101, 0)
    answers = {}
    for i in range(len(records)):
        if (grid := band.feed(records[i : i + 1], setting_of(config))) is not None:
            answers[round(float(records["beat"][i]), 6)] = (int(grid["bar"][0]), int(grid["number"][0]))
    assert answers == {4.0 * bar - 1.0: (bar, 101 + bar) for bar in range(1, 9)}


def test_other_motion_other_grids() -> None:
    """A body that does something else hears something else, and another seed plays the same motion differently."""
    config = make({})
    still = heard(6)
    still["energy"], still["band"] = 0.03, 0.1
    wild, calm = (conducted(Band(config), records, setting_of(config)) for records in (heard(6), still))
    assert any((a["cell"] != b["cell"]).any() for a, b in zip(wild, calm, strict=True))
    seeded = conducted(Band(make({"band.seed": 7})), heard(6), setting_of(config))
    assert any((a["cell"] != b["cell"]).any() for a, b in zip(wild, seeded, strict=True))


def test_style_and_mode_take_effect_with_the_next_bar() -> None:
    """A style or mode that is chosen is that of the next grid, with its key, tempo and levels; the others stay."""
    config = make({})
    band, records = Band(config), heard(6)
    setting = setting_of(config)
    before = conducted(band, records[: 3 * BAR_FRAMES], setting)
    live.apply(setting, "style", "techno", config)
    live.apply(setting, "mode", "rules", config)
    after = conducted(band, records[3 * BAR_FRAMES :], setting)
    names = live_table.styles()
    assert {names[grid["style"]] for grid in before} == {"house"}
    assert {names[grid["style"]] for grid in after} == {"techno"}
    assert [int(grid["bar"]) for grid in before + after] == [1, 2, 3, 4, 5, 6]
    assert before[-1]["tempo_bpm"] != after[0]["tempo_bpm"]
    assert before[-1]["scale"] != after[0]["scale"]
    assert not band.take_notices()


def test_modes_that_are_not_installed_change_nothing() -> None:
    """A mode that nobody can play leaves the band as it is."""
    config = make({})
    setting = setting_of(config)
    expected = conducted(Band(config), heard(4), setting)
    setting["mode"] = MODES.index("coupled")
    assert [g.tobytes() for g in conducted(Band(config), heard(4), setting)] == [g.tobytes() for g in expected]


def test_replaced_audio_process_gets_a_grid_at_once() -> None:
    """A new epoch without a grid is answered with its first record, for its bar 0; then once a bar again."""
    config = make({})
    band = Band(config)
    band.first()
    setting = setting_of(config)
    played = conducted(band, heard(2.9), setting)
    assert [int(grid["bar"]) for grid in played] == [1, 2, 3]
    new = heard(1.9, epoch=2, grid=0)
    grid = band.feed(new[:1], setting)
    assert grid is not None
    assert int(grid["bar"][0]) == 0
    assert int(grid["number"][0]) > int(played[-1]["number"])
    assert [int(grid["bar"]) for grid in conducted(band, new[1:], setting)] == [1, 2]


def test_restarted_bridges_leave_the_grid_that_plays() -> None:
    """A band that joins music which has a grid waits for its turn, and its numbers are none that were there before."""
    config = make({})
    records = heard(2.5, grid=5_000)
    answers = conducted(Band(config), records[10:], setting_of(config))
    assert [int(grid["bar"]) for grid in answers] == [1, 2]
    assert [int(grid["number"]) for grid in answers] == [5_001, 5_002]


def test_a_conductor_that_joins_goes_on_in_the_section() -> None:
    """Music that another conductor began keeps its section, and a style that is no good meanwhile is only noticed."""
    records = heard(2.5, grid=5_000)
    records["section"] = SECTIONS.index("climax")
    band = Band(make({"band.style": "gone"}), going_on=True)
    setting = setting_of(make({}))
    answers = conducted(band, records[10:], setting)
    assert {SECTIONS[grid["section"]] for grid in answers} == {"climax"}
    (notice,) = band.take_notices()
    assert "'gone'" in notice
    live.apply(setting, "style", "techno", make({}))
    assert conducted(band, heard(1.0, epoch=2), setting)[0]["tempo_bpm"] == 132


def test_energy_scale_is_the_performers_in_focus() -> None:
    """A performer whose energy counts more is answered as one who moves more."""
    config = make({"motion.performers": 2})
    setting = setting_of(config)
    setting["focus"] = 1
    plain = conducted(Band(config), heard(6), setting)
    setting["energy_scale"][0] = 5.0
    assert [g.tobytes() for g in conducted(Band(config), heard(6), setting)] == [g.tobytes() for g in plain]
    setting["energy_scale"][1] = 0.05
    assert [g.tobytes() for g in conducted(Band(config), heard(6), setting)] != [g.tobytes() for g in plain]


def test_numbers_that_are_none_never_reach_a_grid() -> None:
    """Records that are not finite make grids that can be played."""
    config, records = make({}), heard(4)
    records["energy"], records["c"], records["latent"], records["band"] = np.nan, np.inf, np.nan, np.nan
    for grid in conducted(Band(config), records, setting_of(config)):
        assert (grid["cell"] <= 80).all()
        assert all(np.isfinite(grid[name]).all() for name in ("swing", "tempo_bpm", "level_db", "pan"))


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"band.style": "hose"}, "did you mean 'house'"),
        ({"band.style": "x.toml"}, "`echelon-engine styles` lists them"),
    ],
)
def test_unknown_style_is_refused(values: dict[str, Any], text: str) -> None:
    """A style that does not exist is named, with the nearest that does."""
    with pytest.raises(UsageError, match=text):
        Band(make(values))


def test_own_style_that_is_no_good_is_refused_at_the_start(tmp_path: Path) -> None:
    """A style file with a mistake says where it is."""
    folder = own_styles(tmp_path, mine=HOUSE.read_text().replace('"minor"', '"mnor"'))
    with pytest.raises(UserError, match=r"mine\.toml: harmony\.scale = 'mnor'"):
        Band(make({"band.style": "mine", "band.styles": folder}))


def test_style_that_goes_bad_is_said_once_and_the_music_goes_on(tmp_path: Path) -> None:
    """A style whose file is damaged, removed and mended while it plays: told each time, played as it last was good."""
    good = HOUSE.read_text()
    config = make({"band.style": "mine", "band.styles": own_styles(tmp_path, mine=good)})
    band, setting, records = Band(config), setting_of(config), heard(12)

    def bars(first: int, last: int) -> tuple[list[Any], list[str]]:
        grids = conducted(band, records[first * BAR_FRAMES : last * BAR_FRAMES], setting)
        assert len(grids) == last - first
        return grids, band.take_notices()

    before, told = bars(0, 2)
    assert told == []
    own_styles(tmp_path, mine=good.replace("tempo = ", "tmpo = "))
    during, told = bars(2, 5)
    assert len(told) == 1
    assert "mine.toml: tmpo" in told[0]
    assert "goes on" in told[0]
    assert (during[-1]["tempo_bpm"], during[-1]["style"]) == (before[-1]["tempo_bpm"], before[-1]["style"])
    assert during[-1]["cell"].any()
    (tmp_path / "mine.toml").unlink()
    _, told = bars(5, 7)
    assert [text.startswith(f"{tmp_path / 'mine.toml'}: is gone") for text in told] == [True]
    own_styles(tmp_path, mine=good.replace("116, 122, 128", "116, 119, 128"))
    mended, told = bars(7, 9)
    assert told == []
    assert mended[-1]["tempo_bpm"] == 119


def test_style_that_is_no_good_when_asked_for_leaves_the_one_that_plays(tmp_path: Path) -> None:
    """Choosing a style with a mistake in it is a warning, and the band stays in the style it has."""
    config = make({"band.styles": own_styles(tmp_path, aaa="tempo = [1]\n")})
    band, setting = Band(config), setting_of(config)
    live.apply(setting, "style", "aaa", config)
    grids = conducted(band, heard(3), setting)
    names = live_table.styles(str(tmp_path))
    assert {names[grid["style"]] for grid in grids} == {"house"}
    assert len(band.take_notices()) == 1
    live.apply(setting, "style", "techno", config)
    assert {names[grid["style"]] for grid in conducted(band, heard(2, epoch=2), setting)} == {"techno"}


@pytest.fixture(scope="module")
def rendered() -> dict[int, Any]:
    """A few bars of the dancer with the band, rendered in blocks of three sizes."""
    from echelon_bridges.motion.dancer import Dancer
    from echelon_models.weights import load_all

    config = make({})
    weights = load_all(config.models)
    frames = Dancer(seed=1, tempo_bpm=96.0).frames(60 * 20, 60 * 5)
    frames["time_ns"] -= frames["time_ns"][0]
    return {
        block: render(frames, 4.5, setting_of(config), weights, block_frames=block, composer=Band(config))
        for block in (128, 512, 2048)
    }


def test_block_size_changes_nothing(rendered: dict[int, Any]) -> None:
    """Renders in blocks of 128, 512 and 2048 give the same samples and the same grids."""
    plain = rendered[512]
    assert len(set(plain.records["grid"].tolist())) > 2
    assert plain.records["track"].max() > 0.01
    for other in (rendered[128], rendered[2048]):
        assert other.sound.tobytes() == plain.sound.tobytes()
        assert np.array_equal(other.records["grid"], plain.records["grid"])
        assert np.array_equal(other.records["band"], plain.records["band"])


def test_grids_change_on_bar_lines(rendered: dict[int, Any]) -> None:
    """Every grid plays from the first control frame after a bar line on, the bar for which it was made."""
    records = rendered[512].records
    changes = np.flatnonzero(np.diff(records["grid"])) + 1
    later = changes[records["bar"][changes] > 0]
    assert len(later) >= 2
    for i in later:
        assert records["beat"][i] - 4 * records["bar"][i] < 0.1
