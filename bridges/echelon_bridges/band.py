"""The conductor at work: once a bar, from what the callback heard of the body to the grid that it plays next.

    band = Band(config)
    publish(band.first())                                    # before the first block
    grid = band.feed(records, settings)                      # with each new control record; None for most

It answers at the last beat of each bar, from the records until then, so that live or offline, whatever the blocks, the
same motion gives the same notes.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_engine import live
from echelon_engine.config import Config
from echelon_engine.memory import GRID, MODES
from echelon_models.music import styles
from echelon_models.music.conductor import Conductor
from echelon_models.music.score import Heard, Score
from echelon_models.music.styles import Style

BEATS_PER_BAR = 4
ASKED_BEAT = 3  # of each bar: a beat before the bar line


class Band:
    """A conductor with the styles that a person may choose from. Raises `UserError` for a style that is no good.

    Grids are numbered on from `numbered_from`. A style that cannot be read when it is asked for later is said once in
    `take_notices`, and the last one goes on.
    """

    def __init__(self, config: Config, numbered_from: int = 0) -> None:
        self._folder = Path(config.band.styles) if config.band.styles else None
        self._names = live.styles(config.band.styles)
        style = config.band.style.lower()
        self._loaded: dict[str, Style | None] = {style: styles.load(style, self._folder)}
        self._style = self._names.index(style)
        self._conductor = Conductor(self._loaded[style] or styles.load(style), config.band.seed, config.band.mode)
        self._asked = -1  # bar for which was answered last
        self._heard: list[NDArray[Any]] = []
        self._number = numbered_from
        self._epoch = -1
        self._notices: list[str] = []

    def take_notices(self) -> list[str]:
        """Return what people should know, once."""
        notices, self._notices = self._notices, []
        return notices

    def first(self) -> NDArray[Any]:
        """Return the grid with which a performance begins, GRID (1,): nothing was heard yet, and it plays at once."""
        return self._grid(0, self._conductor.compose(0, Heard(active=True)))

    def feed(self, records: NDArray[Any], settings: Any) -> NDArray[Any] | None:
        """Take new memory.CONTROL (n,), rising in time; return the next bar's GRID (1,) when its time has come.

        `settings` is the memory.SETTINGS in force. Of several bars at once only the last is answered.
        """
        answer = None
        for i in range(len(records)):
            record = records[i]
            if record["epoch"] != self._epoch:  # another audio process, whose clock begins at beat 0
                self._epoch, self._asked = int(record["epoch"]), -1
                self._heard.clear()
            bar = math.floor((float(record["beat"]) + BEATS_PER_BAR - ASKED_BEAT) / BEATS_PER_BAR)
            self._heard.append(records[i : i + 1].copy())
            if bar > self._asked and bar > 0:
                self._asked = bar
                answer = self._answer(bar, settings)
        return answer

    def _answer(self, bar: int, settings: Any) -> NDArray[Any]:
        heard, self._heard = np.concatenate(self._heard), []
        self._follow(settings)
        scale = float(settings["energy_scale"][int(settings["focus"])])
        told = Heard.of_records(heard, heard["band"][-1])
        return self._grid(bar, self._conductor.compose(bar, replace(told, energy=told.energy * scale)))

    def _follow(self, settings: Any) -> None:
        """Take the style and the mode that are asked for now."""
        wanted = int(settings["style"])
        if wanted != self._style and 0 <= wanted < len(self._names):
            name = self._names[wanted]
            if name not in self._loaded:
                try:
                    self._loaded[name] = styles.load(name, self._folder)
                except styles.StyleError as error:
                    self._loaded[name] = None
                    self._notices.append(f"{error}; the band goes on in its style")
            if (style := self._loaded[name]) is not None:
                self._style, self._conductor.style = wanted, style
        mode = MODES[int(settings["mode"])]
        if mode != self._conductor.mode and mode in live.INSTALLED:
            self._conductor.mode = mode

    def _grid(self, bar: int, score: Score) -> NDArray[Any]:
        style = self._conductor.style
        self._number += 1
        made = np.zeros(1, GRID)
        made["number"], made["bar"] = self._number, bar
        made["section"], made["style"] = score.section, self._style
        made["root"], made["scale"] = style.root, style.scale
        made["chord"], made["cell"] = score.chord, score.grid
        made["swing"] = score.swing
        made["tempo_low"], made["tempo_bpm"], made["tempo_high"] = style.tempo
        made["level_db"], made["pan"] = style.levels_db, style.pans
        return made
