"""A piece: grids in a row with their tempo, what every file format here reads into and writes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from echelon_engine.vocabulary import STEPS
from echelon_models.music.events import Events, Grid, GridError, check, many

SLOWEST_BPM, FASTEST_BPM = 20.0, 400.0
USUAL_BPM = 120.0


@dataclass(frozen=True, slots=True)
class Piece:
    """Grids played one after the other: `grids` uint8 (N, 12, 32), `bpm` float32 (N,), 0 where none is known.

    `notes` says what a person should know about how it was read.
    """

    grids: Grid
    bpm: NDArray[np.float32]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of grids."""
        return len(self.grids)

    def part(self, first: int, last: int) -> Piece:
        """Return grids number `first` to `last`, counted from 1. Raises `GridError` where there are none."""
        if not len(self):
            raise GridError("the file", "holds no grids", "give one with music in it")
        if not 1 <= first <= last <= len(self):
            asked = f"{first}" if first == last else f"{first}-{last}"
            raise GridError(f"grid {asked}", f"there are {len(self)}, counted from 1", f"ask for 1-{len(self)}")
        chosen = slice(first - 1, last)
        return Piece(self.grids[chosen], self.bpm[chosen], self.notes)

    def at(self, bpm: float) -> Piece:
        """Return the same grids at another tempo."""
        return piece(self.grids, [bpm] * len(self), self.notes)

    @property
    def tempi(self) -> NDArray[np.float64]:
        """Return the tempo of each grid: its own, or the one before, the next known, at last 120."""
        known = np.flatnonzero(self.bpm > 0)
        if not len(known):
            return np.full(len(self), USUAL_BPM)
        before = np.searchsorted(known, np.arange(len(self)), side="right") - 1
        return np.asarray(self.bpm[known[np.maximum(before, 0)]], np.float64)


def piece(grids: ArrayLike, bpm: float | Sequence[float] = 0.0, notes: Sequence[str] = ()) -> Piece:
    """Return a piece of one grid (12, 32) or several (N, 12, 32). Raises `GridError` for bad cells or tempi."""
    cells = check(grids)
    cells = cells[None] if cells.ndim == 2 else cells
    tempi = np.broadcast_to(np.asarray(bpm, np.float32), (len(cells),)).copy()
    for number, tempo in enumerate(tempi.tolist(), 1):
        if not (tempo == 0 or SLOWEST_BPM <= tempo <= FASTEST_BPM):
            rule = f"tempi are {SLOWEST_BPM:g}..{FASTEST_BPM:g} bpm, or 0 for unknown"
            raise GridError(f"grid {number}: {tempo:g} bpm", rule, "give a tempo in that range")
    return Piece(cells, tempi, tuple(notes))


def absolute(what: Piece) -> tuple[Events, NDArray[np.int64], NDArray[np.float64]]:
    """Return all onsets of a piece with their step from its start, and their gate as it is heard.

    Heard: cut by the track's next onset also where that is in a later grid. Steps int64, gates float64 in sixteenths,
    infinite for drums.
    """
    index, found = many(what.grids)
    step = index * STEPS + found["step"]
    gate = found["gate"].astype(np.float64)
    for track in np.unique(found["track"]):
        own = np.flatnonzero(found["track"] == track)
        room = np.append(np.diff(step[own]).astype(float), np.inf) - 0.5 * (found["count"][own] == 2)
        gate[own] = np.where(found["kind"][own] == 0, np.minimum(gate[own], room), np.inf)
    return found, step.astype(np.int64), gate
