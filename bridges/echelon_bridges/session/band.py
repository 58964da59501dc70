"""What the band played in a session: its bars, its sections, its onsets in time, and all of it as grids. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from echelon_bridges.session.reader import Life
from echelon_engine.memory import CONTROL_RATE_HZ, GRID, TOOK_GRID
from echelon_engine.vocabulary import BEATS_PER_BAR, SECTIONS, STEPS, STEPS_PER_BAR, STEPS_PER_BEAT

if TYPE_CHECKING:
    from echelon_models.music.piece import Piece


class Bar(NamedTuple):
    """One bar that the band played: of the musical clock, the memory.GRID that played, beats a minute at its end."""

    bar: int
    grid: Any
    tempo_bpm: float


class Span(NamedTuple):
    """A section: seconds from the start of the life to its end, and the numbers of section and style."""

    begin_s: float
    end_s: float
    section: int
    style: int

    @property
    def name(self) -> str:
        """The section's name."""
        return SECTIONS[self.section] if 0 <= self.section < len(SECTIONS) else str(self.section)


def grids(life: Life) -> NDArray[Any]:
    """Return every grid that the callback took, memory.GRID (n,), in order."""
    taken = life.inputs["kind"] == TOOK_GRID
    return np.ascontiguousarray(life.inputs["grid"][taken]) if taken.any() else np.zeros(0, GRID)


def bars(life: Life) -> list[Bar]:
    """Return the bars of a life with the grid that played in each; bars without one are left out."""
    known = {int(grid["number"]): grid for grid in grids(life)}
    controls = life.controls
    if not len(controls) or not known:
        return []
    ends = np.append(np.flatnonzero(np.diff(controls["bar"])), len(controls) - 1)
    return [
        Bar(int(last["bar"]), known[int(last["grid"])], float(last["tempo_bpm"]))
        for last in controls[ends]
        if int(last["grid"]) in known
    ]


def spans(life: Life) -> list[Span]:
    """Return the sections of a life in order; nothing where the band had no grid."""
    controls = life.controls
    playing = controls["grid"] != 0
    if not playing.any():
        return []
    controls = controls[playing]
    seconds = controls["frame"] / CONTROL_RATE_HZ
    changes = np.flatnonzero(np.diff(controls["section"]) | np.diff(controls["style"])) + 1
    begins = np.concatenate([[0], changes])
    ends = [*seconds[changes].tolist(), float(seconds[-1]) + 1.0 / CONTROL_RATE_HZ]
    return [
        Span(float(seconds[i]), end, int(controls["section"][i]), int(controls["style"][i]))
        for i, end in zip(begins.tolist(), ends, strict=True)
    ]


def summary(life: Life, styles: Sequence[str]) -> list[str]:
    """Return one line a style: how long each of its sections lasted."""
    lengths: dict[int, dict[str, float]] = {}
    for span in spans(life):
        own = lengths.setdefault(span.style, {})
        own[span.name] = own.get(span.name, 0.0) + span.end_s - span.begin_s
    return [
        f"{styles[style] if 0 <= style < len(styles) else f'style {style}'}: "
        + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in sections.items())
        for style, sections in lengths.items()
    ]


def _half(found: Any, half: int) -> Any:
    return found[found["step"] // STEPS_PER_BAR == half]


def _alike(some: Any, others: Any) -> bool:
    """Return whether onsets are the same but for what comes after them, which may end them sooner."""
    return len(some) == len(others) and all(
        np.array_equal(some[name], others[name]) for name in some.dtype.names if name != "gate"
    )


def onsets(life: Life) -> tuple[NDArray[np.float64], Any]:
    """Return when the band's onsets were, seconds (n,) from the start of the life, and the onsets (events.EVENT).

    Their steps are those in their grid. Swing is the style's own.
    """
    from echelon_models.music.events import EVENT, events

    times, found = [], []
    seconds, beats = life.controls["frame"] / CONTROL_RATE_HZ, life.controls["beat"]
    for each in bars(life):
        here = _half(events(each.grid["cell"]), each.bar % 2)
        step = here["step"].astype(np.int64) % STEPS_PER_BAR
        swung = np.where(step % 2, 2.0 * max(float(each.grid["swing"]), 0.5) - 1.0, 0.0)
        beat = each.bar * BEATS_PER_BAR + (step + swung) / STEPS_PER_BEAT
        played = beat <= beats[-1]
        times.append(np.interp(beat[played], beats, seconds))
        found.append(here[played])
    if not times:
        return np.zeros(0), np.zeros(0, EVENT)
    return np.concatenate(times), np.concatenate(found)


def piece(life: Life) -> Piece:
    """Return the music of a life as grids of two bars each, from an even bar on, as it was heard.

    A grid came for every bar: where the second of two bars was of another one, its onsets are taken from there, and
    `notes` count what one grid cannot say of both.
    """
    from echelon_models.music.events import events
    from echelon_models.music.nearest import nearest
    from echelon_models.music.nearest import summary as losses_of
    from echelon_models.music.piece import FASTEST_BPM, SLOWEST_BPM
    from echelon_models.music.piece import piece as made_of
    from echelon_models.music.tokens import TRACKS

    pairs: dict[int, dict[int, Bar]] = {}
    for each in bars(life):
        pairs.setdefault(each.bar // 2, {})[each.bar % 2] = each
    cells: list[NDArray[np.uint8]] = []
    tempi: list[float] = []
    lost: Counter[str] = Counter()
    for halves in pairs.values():
        parts = [_half(events(halves[half].grid["cell"]), half) for half in sorted(halves)]
        newest = halves[max(halves)]
        found = np.concatenate(parts)
        if len(halves) == 2 and _alike(_half(events(newest.grid["cell"]), 0), parts[0]):
            cells.append(newest.grid["cell"])
        else:
            grid, losses = nearest(found)
            cells.append(grid)
            lost.update(losses_of(losses))
        tempi.append(min(max(float(np.mean([half.tempo_bpm for half in halves.values()])), SLOWEST_BPM), FASTEST_BPM))
    notes = [f"what one grid cannot say of two: {field} of {count} onsets" for field, count in sorted(lost.items())]
    return made_of(np.array(cells, np.uint8).reshape(-1, len(TRACKS), STEPS), tempi, notes)
