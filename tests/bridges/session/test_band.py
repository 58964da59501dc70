"""What a session tells of the band: bars with their grids, sections, onsets in time, a file of music, a picture."""

import importlib.util
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from performances import Performance
from sessions import RUN, config, open_log, turns, written

from echelon_bridges import cli
from echelon_bridges.session import band, playback
from echelon_bridges.session.log import SessionLog
from echelon_bridges.session.reader import Session
from echelon_engine import live_table
from echelon_engine.band import BAND
from echelon_engine.block import new_shared
from echelon_engine.memory import TOOK_GRID
from echelon_engine.state import Weights
from echelon_engine.vocabulary import SECTIONS
from echelon_models.music import files
from echelon_models.music.events import events


def test_bars_carry_what_the_band_played(kept_concert: Path, concert: Performance) -> None:
    """Each line of bars.jsonl has the grid that played, section, style, mode, activations and the 15 parameters."""
    taken = concert.inputs[concert.inputs["kind"] == TOOK_GRID]["grid"]
    cells = {int(grid["number"]): grid["cell"].tolist() for grid in taken}
    lines = [json.loads(line) for line in (kept_concert / "bars.jsonl").read_text().splitlines()]
    assert len(lines) >= 3
    for line in lines:
        played = concert.controls[concert.controls["bar"] == line["bar"]]
        assert line["grid_number"] == int(played["grid"][-1])
        assert line["grid"] == cells[line["grid_number"]]
        assert line["genre"] == "house"
        assert line["section"] == SECTIONS[played["section"][-1]]
        assert line["mode"] == "continuous"
        assert line["activations"] == pytest.approx(played["track"].mean(axis=0).tolist(), abs=1e-5)
        assert list(line["parameters"]) == [row.name for row in BAND]
        assert list(line["parameters"].values()) == pytest.approx(played["band"].mean(axis=0).tolist(), abs=1e-5)
    assert max(max(line["activations"]) for line in lines) > 0.01
    assert len({line["grid_number"] for line in lines}) >= 3


def test_a_restart_still_knows_the_grid_that_plays(tmp_path: Path, concert: Performance) -> None:
    """Bars that end after bridges were killed carry the grid that was taken before."""
    first = open_log(tmp_path)
    parts = list(turns(concert))
    cut = next(i for i, (_, controls, _) in enumerate(parts) if len(controls) and controls["beat"][-1] > 5.0)
    for inputs, controls, notes in parts[:cut]:
        first.inputs(inputs)
        first.offer(controls, notes, 0)
    written(first)
    first.close()
    again = open_log(tmp_path, epoch=2)
    for inputs, controls, notes in parts[cut:]:
        again.inputs(inputs)
        again.offer(controls, notes, 0)
    written(again)
    again.close()
    assert again.path == first.path
    bars = [json.loads(line) for line in (first.path / "bars.jsonl").read_text().splitlines()]
    assert all(bar["grid"] is not None for bar in bars)


def test_a_damaged_header_of_styles_harms_nothing(kept_concert: Path) -> None:
    """The session says the names of the styles; one number without a name is shown as a number."""
    session = Session.open(kept_concert)
    assert session.styles == live_table.styles()
    (life,) = session.lives()
    assert band.summary(life, session.styles)[0].startswith("house: intro ")
    assert band.summary(life, ())[0].startswith(f"style {live_table.styles().index('house')}: intro ")


def test_onsets_are_when_the_clock_was_there(kept_concert: Path) -> None:
    """The session's onsets are those of the grids, each at the moment of its step."""
    (life,) = Session.open(kept_concert).lives()
    seconds, found = band.onsets(life)
    played = band.bars(life)
    first = events(played[0].grid["cell"])
    wanted = first[first["step"] < 16]
    assert [int(each) for each in found["step"][: len(wanted)]] == wanted["step"].tolist()
    beats = np.interp(seconds, life.controls["frame"] / 60.0, life.controls["beat"])
    steps = found["step"].astype(int) % 16
    straight = steps % 2 == 0
    np.testing.assert_allclose((beats * 4.0 - steps)[straight] % 16 % 15.9999, 0.0, atol=0.02)
    assert len(np.unique((beats // 4)[:-1])) >= 3


def test_sections_are_where_the_records_say(kept_concert: Path) -> None:
    """Spans cover the time in which the band played, without a hole."""
    (life,) = Session.open(kept_concert).lives()
    found = band.spans(life)
    assert found[0].begin_s < 0.1
    assert found[-1].end_s == pytest.approx(life.seconds, abs=0.02)
    for before, after in itertools.pairwise(found):
        assert before.end_s == after.begin_s
    assert found[0].name == "intro"


def test_music_is_exported_as_it_was_heard(
    kept_concert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The MIDI file and the text of a session hold the onsets of every bar, at the tempo at which they were played."""
    (life,) = Session.open(kept_concert).lives()
    played = band.bars(life)
    for name in ("a.mid", "a.txt"):
        assert cli.main(["sessions", "export", str(kept_concert), str(tmp_path / name)]) == 0
        found = files.read(tmp_path / name)
        assert len(found) == len({each.bar // 2 for each in played})
        assert found.tempi[0] == pytest.approx(played[0].tempo_bpm, abs=0.5)
        for each in played:
            wanted = events(each.grid["cell"])
            heard = events(found.grids[each.bar // 2])
            for field in ("track", "step", "sound"):
                assert (
                    heard[heard["step"] // 16 == each.bar % 2][field].tolist()
                    == wanted[wanted["step"] // 16 == each.bar % 2][field].tolist()
                )
    assert cli.main(["sessions", "export", str(kept_concert), str(tmp_path / "a.npz")]) == 0
    with np.load(tmp_path / "a.npz") as arrays:
        assert len(arrays["grids"]) >= 3
    assert cli.main(["sessions", "export", str(kept_concert), str(tmp_path / "a.wav")]) == 2
    assert ".npz" in capsys.readouterr().err


def test_a_session_without_a_band_says_so(kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a grid there is no music to export, and nothing of the band is told."""
    assert cli.main(["sessions", "export", str(kept), str(tmp_path / "a.mid")]) == 1
    assert "the band did not play" in capsys.readouterr().err
    assert all(band.spans(life) == [] for life in Session.open(kept).lives())
    assert all(len(band.onsets(life)[0]) == 0 for life in Session.open(kept).lives())


def test_inspect_tells_of_the_band(kept_concert: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`sessions inspect` says the style, how long each section lasted, and how many grids were taken."""
    assert cli.main(["sessions", "inspect", str(kept_concert)]) == 0
    said = capsys.readouterr().out
    assert "band: house: intro " in said
    assert " grid" in said


@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="matplotlib is not installed")
def test_plot_shows_sections_and_grids(kept_concert: Path, tmp_path: Path) -> None:
    """The picture of a session with the band is not that of the same session without its grids."""
    from matplotlib import pyplot as plt

    target = tmp_path / "a.png"
    assert cli.main(["sessions", "plot", str(kept_concert), str(target)]) == 0
    assert plt.imread(target)[..., :3].std() > 0.05


def test_a_session_with_the_band_is_played_again_byte_for_byte(
    kept_concert: Path, concert: Performance, weights: Weights
) -> None:
    """The grids are in the session: what is played again are the bytes that were heard, and the same records."""
    (played,) = playback.play(Session.open(kept_concert), weights)
    assert played.sound.tobytes() == concert.sound[: len(played.sound)].tobytes()
    assert np.array_equal(played.records["grid"], concert.controls["grid"][: len(played.records)])
    assert len(played.sound) > 5 * 48000


def test_log_names_styles_of_a_persons_own(tmp_path: Path, concert: Performance) -> None:
    """The names of styles are those that the configuration's folder adds."""
    own = tmp_path / "own"
    own.mkdir()
    (own / "aaa.toml").write_text("")
    from msgspec.structs import replace

    with_own = replace(config(tmp_path), band=replace(config(tmp_path).band, styles=str(own)))
    log = SessionLog.open(with_own, new_shared(48000, 512), run=RUN)
    for inputs, controls, notes in turns(concert):
        log.inputs(inputs)
        log.offer(controls, notes, 0)
    written(log)
    log.close()
    session = Session.open(log.path)
    assert session.styles == live_table.styles(str(own))
    index = live_table.styles().index("house")
    assert {bar["genre"] for bar in session.bars} == {live_table.styles(str(own))[index]}
