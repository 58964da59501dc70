"""The bridges conduct, turn by turn: grids for every bar, and nothing that goes wrong there ends anything else."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bridges_stage import Stage

from echelon_bridges.session.live import Script
from echelon_engine import rings
from echelon_engine.live import initial_settings
from echelon_engine.memory import CONTROL, GRID, INPUT, TOOK_CLOCK, TOOK_GRID
from echelon_models.music.styles import FOLDER


def taken(stage: Stage) -> Any:
    """Return the grid that the callback would take now; None without a new one."""
    grid = np.zeros(1, GRID)
    return grid[0] if rings.take(grid, stage.shared["grids"]) else None


def play_bars(stage: Stage, bars: float, first: float = 0.0, number: int = 1) -> None:
    """Be the callback: push control records of so many bars, at 120 bpm, with a grid of this number."""
    records = np.zeros(round(120 * bars), CONTROL)
    frames = round(120 * first) + np.arange(len(records))
    records["epoch"], records["frame"], records["grid"], records["tempo_bpm"] = 1, frames, number, 120.0
    records["beat"], records["state"], records["band"] = frames / 30.0, 2, 0.5
    records["bar"] = records["beat"] // 4
    for i in range(len(records)):
        assert rings.push(stage.shared["records"], records[i : i + 1])
    ring = stage.shared["records"]
    stage.until(lambda: ring["read"][0] == ring["written"][0])


def test_bridges_conduct_and_tell_of_every_grid(stage: Stage) -> None:
    """The first grid waits before a sound is made, one follows for each bar, and those who tell know them all."""
    bridges = stage.start()
    first = taken(stage)
    assert first["bar"] == 0
    assert first["cell"].any()
    play_bars(stage, 0.5, number=int(first["number"]))
    assert taken(stage) is None
    play_bars(stage, 0.5, 0.5, number=int(first["number"]))
    second = taken(stage)
    assert second["bar"] == 1
    for grid in (first, second):
        assert bridges.outlets.grids.cells(int(grid["number"])) == grid["cell"].tolist()
    stage.kill()
    again = stage.start()
    assert again.outlets.grids.grid(int(second["number"])) is not None, "a restart reads them from the shared memory"


def test_a_style_that_goes_bad_is_a_warning_and_grids_go_on(stage: Stage, tmp_path: Path) -> None:
    """The file of the style that plays is damaged: one warning, and a grid for every bar all the same."""
    mine = tmp_path / "mine.toml"
    mine.write_text((FOLDER / "techno.toml").read_text())
    bridges = stage.start(band__style="mine", band__styles=str(tmp_path))
    settings = initial_settings(bridges._config)
    rings.publish(stage.shared["settings"], settings)
    taken(stage)
    play_bars(stage, 1.5)
    assert taken(stage)["bar"] == 1
    assert stage.texts("warning") == []
    mine.write_text("tempo = [1, 2]\n")
    play_bars(stage, 1.0, 1.5)
    grid = taken(stage)
    assert grid["bar"] == 2
    assert grid["tempo_bpm"] == 132
    play_bars(stage, 1.0, 2.5)
    assert taken(stage)["bar"] == 3
    (warning,) = stage.texts("warning")
    assert "mine.toml" in warning
    assert "goes on" in warning


def test_a_conductor_that_fails_ends_nothing_else(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error inside the conductor is told once, the loop turns on, and the next bar may be composed again."""
    bridges = stage.start()
    taken(stage)
    band = bridges._band
    compose = band._conductor.compose

    def fail(*_: Any) -> Any:
        raise RuntimeError("no chord")

    monkeypatch.setattr(band._conductor, "compose", fail)
    play_bars(stage, 2.5)
    assert taken(stage) is None
    (warning,) = stage.texts("warning")
    assert "RuntimeError: no chord" in warning
    monkeypatch.setattr(band._conductor, "compose", compose)
    play_bars(stage, 1.0, 2.5)
    assert taken(stage)["bar"] == 3


def test_grids_of_a_session_that_is_played_again_are_known(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a session plays, those who tell of the band know the session's grids, and no other grid is handed over."""
    items = np.zeros(3, INPUT)
    items["kind"] = (TOOK_CLOCK, TOOK_GRID, TOOK_CLOCK)
    items["grid"]["number"][1], items["grid"]["cell"][1] = 77, 5
    monkeypatch.setattr(Script, "open", lambda config, shared: (Script(items, shared["script"]), []))
    stage.shared["counters"]["start_ns"], stage.shared["header"]["scripted"] = 0, 1
    bridges = stage.start()
    stage.until(lambda: stage.shared["script"]["written"][0] == len(items))
    assert bridges.outlets.grids.cells(77) == [[5] * 32] * 12
    assert taken(stage) is None
