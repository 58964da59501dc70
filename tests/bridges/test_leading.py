"""Who leads the band, without a device: styles and modes on bar lines, an external clock's beat."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from echelon_bridges.band import Band
from echelon_bridges.midi.clock_in import ClockIn
from echelon_bridges.midi.messages import START
from echelon_bridges.motion.dancer import Dancer
from echelon_bridges.stage import Stage
from echelon_engine import config_file, offline
from echelon_engine.memory import COMMAND, LIMB_FRAME, TEMPO
from echelon_engine.state import Weights
from echelon_models.weights import load_all

RATE = 48000


@pytest.fixture(scope="module")
def weights() -> Weights:
    """The built-in weights."""
    return load_all(config_file.make({}).models)


class Changing:
    """A conductor, and a person who changes settings after so many control frames."""

    def __init__(self, stage: Stage, changes: dict[int, tuple[str, str]]) -> None:
        self._band, self._stage, self._changes = Band(stage.config), stage, changes
        self._frames = 0

    def first(self) -> NDArray[Any]:
        """Return the first grid."""
        return self._band.first()

    def feed(self, records: NDArray[Any], settings: Any) -> NDArray[Any] | None:
        """Return what the conductor returns, by the settings in force then."""
        self._frames += len(records)
        for frame in [frame for frame in self._changes if frame <= self._frames]:
            self._stage.set(*self._changes.pop(frame), 0)
        return self._band.feed(records, self._stage.settings[0])


def test_styles_and_modes_change_on_bar_lines_alone(weights: Weights) -> None:
    """A style asked for anywhere within a bar is played from the next bar line or the one after, and never within."""
    stage = Stage(config_file.make({"clock.tempo_bpm": 240.0, "band.style": "house"}))
    changes = {70: ("style", "techno"), 130: ("mode", "rules"), 190: ("style", "back"), 310: ("style", "ambient")}
    dance = Dancer(1, 96.0).frames(60 * 20, 60 * 8)
    dance["time_ns"] -= dance["time_ns"][0]
    records = offline.render(
        dance, 8.0, stage.settings[0], weights, composer=Changing(stage, changes), block_frames=512
    ).records
    style, beat = records["style"], records["beat"]
    turns = np.flatnonzero(np.diff(style[1:])) + 2  # the first record is older than the first grid
    assert len(turns) == 3
    for turn, asked in zip(turns, (70, 190, 310), strict=True):
        # A control frame is told before the steps that begin with it: the next one tells of them.
        assert beat[turn] % 4.0 < 2.5 * 4.0 / 60.0, "within a bar"
        assert 0 < turn - asked <= 121, "later than the second bar line"
    assert len(set(style[turns])) == 3


@pytest.mark.parametrize("tempo_bpm", [93.0, 126.0])
def test_an_external_clock_leads_by_its_beat(weights: Weights, tempo_bpm: float) -> None:
    """Ticks with 3 ms of jitter bring the clock to their tempo, and its beats to theirs."""
    stage = Stage(config_file.make({"clock.source": "external", "band.enabled": False}))
    rng = np.random.default_rng(4)
    clock, commands = ClockIn(), []
    clock.pulse(START)
    begin_ns = 200_000_000
    for i in range(24 * 40):
        due_ns = begin_ns + i * 60e9 / tempo_bpm / 24
        beat = clock.tick(round(due_ns + rng.uniform(-1.5e6, 1.5e6)))
        if beat is not None:
            command = np.zeros(1, COMMAND)
            command["time_ns"], command["kind"] = beat.time_ns, TEMPO
            command["value"][0, :2] = beat.tempo_bpm, beat.phase
            commands.append(command)
    seconds = 18.0
    records = offline.render(
        np.zeros(0, LIMB_FRAME), seconds, stage.settings[0], weights, commands=np.concatenate(commands)
    ).records
    settled = records[records["sample"] > 12 * RATE]
    true = (settled["time_ns"] - begin_ns) * tempo_bpm / 60e9
    off_s = ((settled["beat"] - true + 0.5) % 1.0 - 0.5) * 60 / tempo_bpm
    assert np.abs(settled["tempo_bpm"] - tempo_bpm).max() < 0.02 * tempo_bpm
    assert np.abs(off_s).max() < 0.005
