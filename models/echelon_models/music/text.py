"""Grids as text that people read, compare and edit: a line a track, 32 cells in groups of four.

    # anything after "# " at the start of a word is a comment
    grid 1  124 bpm
    KICK  bd  .   .   .  | bd  .   .   .  | ...
    BASS  8   C2  .   .  | leg G2  .   .  | ...

Tracks that are left out are silent; a file without a `grid` line is one grid. Cells take the short names below, or the
names of spec/music.md, in any case, `.` or `~` for a rest, flats too. `|` may stand between groups, and is checked.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from echelon_engine.errors import UserError, nearest
from echelon_engine.vocabulary import STEPS, STEPS_PER_BAR, STEPS_PER_BEAT
from echelon_models.music import tokens
from echelon_models.music.piece import FASTEST_BPM, SLOWEST_BPM, Piece, piece
from echelon_models.music.tokens import TRACKS

# Where the name of a token is longer than a cell of three.
SHORT = {
    "~": ".",
    "perc": "per",
    "stac": "stc",
    "legato": "leg",
    "accent": "acc",
    "ghost": "gho",
    "16th": "16",
    "8th": "8",
    "dotted-8th": "8.",
    "quarter": "4",
    "half": "2",
    "delay": "dly",
    "reverb": "rev",
    "dist": "dst",
    "repeat": "rep",
    "fill": "fil",
    "break": "brk",
}
NAMES = tuple(SHORT.get(token.name, token.name) for token in tokens.TOKENS)
LEGEND = (
    "# . rest, C2..C6, bd sd hh oh cp rim tom per, pp p mp mf f ff, stc leg acc gho (again: off),",
    "# 16 8 8. 4 2 durations, lpf hpf dly rev dst (again: off), rep fil brk",
)
_SHORT_IDS = {name.lower(): number for number, name in enumerate(NAMES)}
_WORDS = re.compile(r"\||[^\s|]+")
_LONGEST = 20  # characters of a word that a message shows


class TextError(UserError):
    """Text that is no grid: file, line and column, what stands there, the nearest that may."""


class _Word(NamedTuple):
    text: str
    column: int  # from 1


class _Place(NamedTuple):
    name: str
    line: int

    def error(self, word: _Word, rule: str, remedy: str) -> TextError:
        shown = word.text if len(word.text) <= _LONGEST else word.text[:_LONGEST] + "..."
        said = f": {shown!r}" if word.text else ""
        return TextError(f"{self.name} line {self.line}, column {word.column}{said}", rule, remedy)


def write(what: Piece, *, legend: bool = True) -> str:
    """Return the grids of a piece as text, which `read` turns back into the same cells and tempi."""
    width = max(map(len, TRACKS))
    lines = list(LEGEND) if legend else []
    for number, (grid, bpm) in enumerate(zip(what.grids, what.bpm, strict=True), 1):
        lines += [""] * bool(lines) + [f"grid {number}" + (f"  {bpm:.9g} bpm" if bpm else "")]
        for track, row in zip(TRACKS, grid.tolist(), strict=True):
            cells = [f"{NAMES[token]:<3}" for token in row]
            beats = [" ".join(cells[n : n + STEPS_PER_BEAT]) for n in range(0, STEPS, STEPS_PER_BEAT)]
            half = STEPS_PER_BAR // STEPS_PER_BEAT
            bars = "  |  ".join(" | ".join(beats[n : n + half]) for n in range(0, len(beats), half))
            lines.append(f"{track:<{width}}  {bars}".rstrip())
    return "\n".join(lines) + "\n"


def read(text: str, name: str = "text") -> Piece:
    """Return the piece that a text holds. Raises `TextError` with line and column.

    `name` is the file's, for messages.
    """
    grids: list[dict[str, list[int]]] = []
    tempi: list[float] = []
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        at = _Place(name, number)
        words = _split(line)
        if not words:
            continue
        head = words[0].text.upper()
        if head == "GRID":
            grids.append({})
            tempi.append(_tempo(words[1:], at))
            continue
        if head not in TRACKS:
            remedy = nearest(head, [track.lower() for track in TRACKS]).upper().replace("DID YOU MEAN", "did you mean")
            raise at.error(words[0], "no such track", remedy or f"tracks are {' '.join(TRACKS)}")
        if not grids:
            grids.append({})
            tempi.append(0.0)
        if head in grids[-1]:
            raise at.error(words[0], "this track was there before", "begin the next grid with a line `grid`")
        grids[-1][head] = _cells(words[1:], at, len(line))
    if not grids:
        raise TextError(name, "holds no grid", "write a line a track, for example KICK followed by 32 cells")
    cells = [[grid.get(track, [tokens.REST] * STEPS) for track in TRACKS] for grid in grids]
    return piece(np.array(cells, np.uint8), tempi)


def _split(line: str) -> list[_Word]:
    words = []
    for found in _WORDS.finditer(line):
        if found[0].startswith("#"):
            break
        words.append(_Word(found[0], found.start() + 1))
    return words


def _tempo(words: list[_Word], at: _Place) -> float:
    """Return the tempo of a line `grid 3  124 bpm`, 0 where it says none; what stands before it is a title."""
    if not words or words[-1].text.lower() != "bpm":
        return 0.0
    if len(words) < 2:
        raise at.error(words[-1], "the tempo is missing", "write for example `grid 1  124 bpm`")
    try:
        bpm = float(words[-2].text)
    except ValueError:
        bpm = 0.0
    if not SLOWEST_BPM <= bpm <= FASTEST_BPM:
        rule = f"no tempo of {SLOWEST_BPM:g}..{FASTEST_BPM:g} bpm"
        raise at.error(words[-2], rule, "write for example `grid 1  124 bpm`")
    return bpm


def _cells(words: list[_Word], at: _Place, end: int) -> list[int]:
    """Return the 32 tokens of a track's line."""
    row: list[int] = []
    for word in words:
        if word.text == "|":
            if len(row) % STEPS_PER_BEAT:
                rule = f"stands after {len(row)} cells, and a group has {STEPS_PER_BEAT}"
                raise at.error(word, rule, "add or remove a cell before it")
        elif len(row) == STEPS:
            raise at.error(word, f"is one cell too many: a track has {STEPS}", "remove a cell")
        else:
            row.append(_token(word, at))
    if len(row) < STEPS:
        rule = f"the line ends after {len(row)} cells, and a track has {STEPS}"
        raise at.error(_Word("", end + 1), rule, f"add {STEPS - len(row)}: `.` is a rest")
    return row


def _token(word: _Word, at: _Place) -> int:
    short = _SHORT_IDS.get(word.text.lower())
    if short is not None:
        return short
    try:
        return tokens.token_of(word.text)
    except tokens.TokenError:
        known = [*_SHORT_IDS, *tokens.BY_NAME]
        remedy = nearest(word.text[:_LONGEST], known) or "cells are . C2..C6 bd sd hh, or see the names above the grid"
        raise at.error(word, "no such token", remedy) from None
