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
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_bridges.style_shelf import Stamp, StyleShelf
from echelon_engine.config import Config
from echelon_engine.errors import UsageError, UserError, nearest
from echelon_engine.memory import CONTROL, GRID
from echelon_engine.vocabulary import BEATS_PER_BAR, INSTALLED_MODES, MODES
from echelon_models.music.conductor import Conductor
from echelon_models.music.score import Heard, Score
from echelon_models.music.sections import Form
from echelon_models.music.style import Style, StyleError

ASKED_BEAT = 3  # of each bar: a beat before the bar line
KNOWN = "`echelon-engine styles` lists them"


class Band:
    """A conductor with the styles that a person may choose from. Raises `UserError` for a style that is no good.

    Grids are numbered on from `numbered_from`. When `going_on` in the middle of a show, a style that is no good is only
    noticed. A style's file is read when it is asked for, and again when it has
    changed; one that cannot be read is said once in `take_notices`, and the band goes on in the style it has.
    """

    def __init__(self, config: Config, numbered_from: int = 0, *, going_on: bool = False) -> None:
        self._shelf = StyleShelf(config.band.styles)
        self._told: dict[str, Stamp] = {}  # the state in which a style that is no good was told
        self._notices: list[str] = []
        try:
            self._style, style = self._open(config.band.style)
        except UserError as error:
            if not going_on:
                raise
            self._notices.append(f"{error}; the band goes on in another style")
            self._style, style = self._open(Config().band.style)
        self._conductor = Conductor(style, config.band.seed, config.band.mode)
        self._asked = -1  # bar for which was answered last
        self._heard: list[bytes] = []  # the records since then
        self._number = numbered_from
        self._epoch = -1
        self._begun = False  # the first grid waits for the audio process to come

    def _open(self, style: str) -> tuple[int, Style]:
        """Return number and style of a name. Raises `UserError`."""
        name = style.lower()
        names = self._shelf.names
        if name not in names:
            raise UsageError(f"band.style = {name!r}", "no such style", nearest(name, names) or KNOWN)
        return names.index(name), self._shelf.get(name)

    def take_notices(self) -> list[str]:
        """Return what people should know, once."""
        notices, self._notices = self._notices, []
        return notices

    def first(self) -> NDArray[Any]:
        """Return the grid with which a performance begins, GRID (1,): nothing was heard yet, and it plays at once."""
        self._begun = True
        return self._grid(0, self._conductor.compose(0, Heard(active=True)))

    def feed(self, records: NDArray[Any], settings: Any) -> NDArray[Any] | None:
        """Take new memory.CONTROL (n,), rising in time; return the next GRID (1,) when its time has come.

        `settings` is the memory.SETTINGS in force. Of several bars at once only the last is answered. An audio process
        that replaced another has no grid: it gets one at once.
        """
        answer = None
        for record in records:
            beat = float(record["beat"])
            bar = math.floor((beat + BEATS_PER_BAR - ASKED_BEAT) / BEATS_PER_BAR)
            if record["epoch"] != self._epoch:  # another audio process, whose clock begins at beat 0
                waits, joins = not self._begun and not record["grid"], self._epoch < 0 and record["grid"]
                self._epoch, self._asked = int(record["epoch"]), math.floor(beat / BEATS_PER_BAR)
                self._begun = False
                self._heard.clear()
                if joins:  # music that another conductor began
                    self._conductor.form = Form(section=int(record["section"]), begun=True)
                if waits:
                    self._heard.append(record.tobytes())
                    answer = self._answer(self._asked, settings)
            self._heard.append(record.tobytes())
            if bar > self._asked:
                answer = self._answer(bar, settings)
        return answer

    def _answer(self, bar: int, settings: Any) -> NDArray[Any]:
        self._asked = max(bar, self._asked)
        heard = np.frombuffer(b"".join(self._heard), CONTROL)  # bytes: record by record NumPy goes field by field
        self._heard.clear()
        self._number = max(self._number, int(heard["grid"][-1]))
        self._follow(settings)
        scale = float(settings["energy_scale"][int(settings["focus"])])
        told = Heard.of_records(heard, heard["band"][-1])
        return self._grid(bar, self._conductor.compose(bar, replace(told, energy=told.energy * scale)))

    def _follow(self, settings: Any) -> None:
        """Take the style and the mode that are asked for now."""
        wanted = int(settings["style"])
        if 0 <= wanted < len(self._shelf.names) and (style := self._read(wanted)) is not None:
            self._style, self._conductor.style = wanted, style
        mode = MODES[int(settings["mode"])]
        if mode != self._conductor.mode and mode in INSTALLED_MODES:
            self._conductor.mode = mode

    def _read(self, number: int) -> Style | None:
        """Return a style as its file is now; None, said once for each state of the file, where it is no good."""
        name = self._shelf.names[number]
        try:
            style = self._shelf.get(name)
        except StyleError as error:
            stamp = self._shelf.stamp(name)
            if name not in self._told or self._told[name] != stamp:
                self._notices.append(f"{error}; the band goes on in its style")
            self._told[name] = stamp
            return None
        self._told.pop(name, None)
        return style

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
