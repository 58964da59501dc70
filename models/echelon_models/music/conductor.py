"""The conductor: once a bar, from what was heard of the body to the grid that is played next.

    heard -> section (sections) -> chords (harmony) -> onsets by density (patterns) -> pitches -> a grid

`compose(bar, heard)` returns two bars; at an even bar its first half is played, at an odd bar its second, so half of
each grid is what was already said. It depends on the style, the seed and what was heard so far, and on nothing else.
Source: spec/music.md, "The conductor".
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from echelon_engine.errors import UserError, nearest
from echelon_engine.vocabulary import INSTALLED_MODES, MODES
from echelon_models.music import events as ev
from echelon_models.music import tokens
from echelon_models.music.arranger import EMPTY, Arranger, Bar
from echelon_models.music.patterns import BAR, fit, onsets
from echelon_models.music.score import Heard, Score
from echelon_models.music.sections import Form
from echelon_models.music.style import Style

REPEAT_WITHIN = 3  # sixteenths
RULES_DENSITY = (0.35, 0.50, 0.65, 0.85, 0.30, 0.30)  # of each section in the mode `rules`, which moves none by itself


class ModeError(UserError):
    """A mode that does not exist, or whose composer is not installed."""


class Conductor:
    """The composer of the modes `rules` and `continuous`: both write notes alike, and differ in who moves `parameter`.

    In `rules` the section alone says how dense it is. `style` and `mode` may be changed between calls and hold from
    the next bar. Raises `ModeError`.
    """

    def __init__(self, style: Style, seed: int = 1, mode: str = "continuous") -> None:
        self.style = style
        self.seed = seed
        self.form = Form()
        self._mode = check_mode(mode)
        self._arranger = Arranger(seed)
        self._played: dict[int, Bar] = {}  # the newest bars by their numbers
        self._before: tuple[int, Form, dict[int, int]] = (-1, replace(self.form), {})

    @property
    def mode(self) -> str:
        """The mode, one of INSTALLED_MODES."""
        return self._mode

    @mode.setter
    def mode(self, mode: str) -> None:
        self._mode = check_mode(mode)

    def compose(self, bar: int, heard: Heard) -> Score:
        """Return the two bars of which `bar` (0, 1, 2 ..) is one, as they are to be played from there on.

        At an even bar both halves are new, the second as it would be if nothing changed; at an odd bar the second is
        made anew and the first is what was played. The same bar may be asked for again.
        """
        if bar == self._before[0]:  # asked again, after a style or a mode was changed: as if it were the first time
            self.form, self._arranger.pitch = replace(self._before[1]), dict(self._before[2])
        else:
            self._before = (bar, replace(self.form), dict(self._arranger.pitch))
        self.form.advance(bar, heard.energy, heard.tension, heard.c, heard.active)
        if self._mode == "rules":
            heard = heard.but("rhythmic_density", RULES_DENSITY[self.form.section])
        here = self._arranger.bar(self.style, self.form, bar, heard)
        if bar % 2:
            halves = (self._played.get(bar - 1, EMPTY), here)
        else:
            halves = (here, self._arranger.bar(self.style, self.form, bar + 1, heard, ahead=True))
        self._played = {bar: here} if bar % 2 == 0 else {bar - 1: halves[0], bar: here}
        chord = np.array([*halves[0].chords, *halves[1].chords], np.uint32)
        return Score(write(halves), chord, self.form.section, self.style.swing)


def write(halves: tuple[Bar, Bar]) -> NDArray[np.uint8]:
    """Return two bars as a grid, uint8 (12, 32): every onset of theirs, its state as far as cells can say it.

    A pitch played again within a beat is written as `repeat`, and a track that breaks off says so.
    """
    rows = [fit(first + [n.later() for n in second]) for first, second in zip(*(h.rows for h in halves), strict=True)]
    grid = ev.grid(onsets(rows))
    for track, row in enumerate(rows):
        for before, note in pairwise(row):
            near = note.step - before.step <= REPEAT_WITHIN and before.step // BAR == note.step // BAR
            if near and note.sound == before.sound and note.strikes == 1 and not note.drum:
                grid[track, note.step] = tokens.REPEAT
    for half, bar in enumerate(halves):
        for track, step in bar.breaks.items():
            silent = np.flatnonzero(grid[track, half * BAR + step : half * BAR + BAR] == tokens.REST)
            if len(silent):
                grid[track, half * BAR + step + silent[0]] = tokens.BREAK
    return grid


def check_mode(mode: str) -> str:
    """Return the mode if it can be played here. Raises `ModeError`."""
    if mode not in MODES:
        raise ModeError(f"mode {mode!r}", "no such mode", nearest(mode, MODES) or "modes are " + ", ".join(MODES))
    if mode not in INSTALLED_MODES:
        raise ModeError(f"mode {mode!r}", "is not installed", f"play {' or '.join(INSTALLED_MODES)}")
    return mode
