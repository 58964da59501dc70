"""Bars derived from control records and events."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from echelon_bridges.messages.bars import BarTracker
from echelon_bridges.messages.grids import MOST_GRIDS, Book
from echelon_bridges.messages.table import Bar
from echelon_engine.memory import CONTROL, EVENT, GRID, LATENT_STATE_NAMES, NOTE_OFF, NOTE_ON
from echelon_engine.vocabulary import MODES, SECTIONS

PERIOD_NS = 1_000_000_000 / 60
TENSION = LATENT_STATE_NAMES.index("tension")


def records(count: int, *, first: int = 0, epoch: int = 1, tempo_bpm: float = 120.0) -> NDArray[np.void]:
    """Return control records of a steady clock: at 120 bpm a bar is 120 frames."""
    made = np.zeros(count, CONTROL)
    frames = first + np.arange(count)
    made["epoch"], made["frame"], made["tempo_bpm"] = epoch, frames, tempo_bpm
    made["time_ns"] = np.round(frames * PERIOD_NS)
    made["beat"] = frames / 60.0 * tempo_bpm / 60.0
    made["bar"] = made["beat"] // 4
    made["state"] = 2
    made["latent"][:, TENSION] = frames / 60.0
    made["z"] = frames[:, None]
    made["loudness_db"] = -20.0
    return made


def notes(*frames: int, kind: int = NOTE_ON, epoch: int = 1) -> NDArray[np.void]:
    """Return one event a frame number."""
    made = np.zeros(len(frames), EVENT)
    made["epoch"], made["frame"], made["kind"] = epoch, frames, kind
    return made


NONE = notes()


def fed(tracker: BarTracker, controls: NDArray[np.void], events: NDArray[np.void] = NONE) -> list[Bar]:
    """Feed at a fixed moment."""
    return tracker.feed(controls, events, 10_000_000_000, 1_700_000_000.0)


def test_bar_carries_statistics() -> None:
    """A whole bar says when it was, its statistics, its latent at the end and how many notes began in it."""
    bars = fed(BarTracker("e", "s"), records(241), np.concatenate([notes(0, 119, 120), notes(5, kind=NOTE_OFF)]))
    assert [(bar.bar, bar.id, bar.sequence, bar.frames, bar.complete) for bar in bars] == [
        (0, "s-1-0", 1, 120, True),
        (1, "s-1-1", 2, 120, True),
    ]
    second = bars[1]
    times = np.arange(120, 240) / 60.0
    tension = second.dynamics.tension
    assert (tension.now, tension.mean) == (round(239 / 60, 6), round(float(times.mean()), 6))
    assert abs(tension.deviation - times.std()) < 1e-6
    assert abs(tension.slope - 1.0) < 1e-5
    assert second.z == [239.0] * 32
    assert second.state == "active"
    assert abs(second.loudness_db + 20.0) < 1e-3
    assert [bar.notes for bar in bars] == [2, 1]
    assert second.time_ns == 2_000_000_000
    assert second.seconds == 2.0
    assert second.begin_wall_s == 1_700_000_000.0 - 8.0
    assert (second.pattern, second.activations, second.genre, second.section, second.grid) == (None,) * 5


def grids(*numbers: int) -> NDArray[np.void]:
    """Return grids of these numbers, whose cells differ."""
    made = np.zeros(len(numbers), GRID)
    made["number"] = numbers
    made["cell"] = np.array(numbers)[:, None, None] % 81
    return made


def test_bar_carries_what_the_band_played() -> None:
    """The grid, section, style and mode are those at the bar's end; levels and parameters are means over it."""
    book = Book(("house", "techno"))
    book.add(grids(5, 6))
    controls = records(241)
    controls["grid"][:121], controls["grid"][121:] = 5, 6  # the record on the bar line is of the grid before
    controls["section"], controls["style"], controls["mode"] = SECTIONS.index("build"), 1, MODES.index("rules")
    controls["track"] = np.arange(241)[:, None] / 240.0
    controls["track"][:, 3] = 7.0
    controls["band"][:, 2] = np.arange(241) / 240.0
    first, second = fed(BarTracker("e", "s", book), controls)
    assert (first.grid_number, second.grid_number) == (5, 6)
    assert first.grid == [[5] * 32] * 12
    assert (first.section, first.genre, first.mode) == ("build", "techno", "rules")
    assert first.activations is not None
    assert abs(first.activations[0] - 59.5 / 240.0) < 1e-6
    assert first.activations[3] == 1.0
    assert first.parameters is not None
    assert abs(first.parameters.melodic_range - 59.5 / 240.0) < 1e-6
    assert first.pattern is None


def test_bar_of_an_unknown_grid_says_all_but_its_cells() -> None:
    """A grid or style that nobody told of has no cells and no name; numbers that are none become nought."""
    controls = records(121)
    controls["grid"], controls["style"], controls["track"], controls["band"] = 9, 4, np.nan, np.inf
    (bar,) = fed(BarTracker("e", "s", Book(("house",))), controls)
    assert (bar.grid, bar.genre, bar.grid_number, bar.section) == (None, None, 9, "intro")
    assert bar.activations == [0.0] * 12


def test_book_keeps_the_newest_grids() -> None:
    """Of many grids the newest are known; one that comes again under its number counts as it is now; 0 is none."""
    book = Book()
    for number in range(200):
        book.add(grids(number))
    assert book.grid(0) is None
    assert book.grid(200 - MOST_GRIDS - 1) is None
    assert book.cells(200 - MOST_GRIDS) is not None
    assert book.cells(199) is book.cells(199)
    changed = grids(199)
    changed["cell"] = 3
    book.add(changed)
    assert book.cells(199) == [[3] * 32] * 12
    changed["cell"] = 4
    assert book.cells(199) == [[3] * 32] * 12


def test_unknown_numbers_are_nought() -> None:
    """A number that is not finite never reaches a message."""
    controls = records(121)
    for name in ("c", "energy", "loudness_db", "z"):
        controls[name] = np.nan
    controls["latent"] = np.inf
    (bar,) = fed(BarTracker("e", "s"), controls)
    statistics = [getattr(bar.dynamics, name) for name in bar.dynamics.__struct_fields__]
    values = [value for row in statistics for value in (row.now, row.mean, row.deviation, row.slope)]
    assert np.isfinite([*values, *bar.z, bar.energy, bar.commitment, bar.loudness_db]).all()


def test_missing_parts_are_said() -> None:
    """The bar in which the tracker began, and one with a missing record, are not complete."""
    tracker = BarTracker("e", "s")
    controls = np.delete(records(480 + 1 - 30, first=30), [200])
    assert [(bar.bar, bar.complete) for bar in fed(tracker, controls)] == [
        (0, False),
        (1, False),
        (2, True),
        (3, True),
    ]


def test_replaced_audio_process_ends_a_bar() -> None:
    """A new epoch begins again at bar 0; the bar that it cut off is not complete, and no id comes twice."""
    bars = fed(BarTracker("e", "s"), np.concatenate([records(150), records(121, epoch=2)]))
    assert [(bar.epoch, bar.bar, bar.complete) for bar in bars] == [(1, 0, True), (1, 1, False), (2, 0, True)]
    assert bars[1].seconds == round(30 / 60, 6)
    assert len({bar.id for bar in bars}) == 3


def test_unfinished_bar() -> None:
    """At the end the bar in progress can be had, and only once."""
    tracker = BarTracker("e", "s")
    assert tracker.unfinished(0, 0.0) is None
    fed(tracker, records(150))
    bar = tracker.unfinished(0, 0.0)
    assert bar is not None
    assert (bar.bar, bar.frames, bar.complete) == (1, 30, False)
    assert tracker.unfinished(0, 0.0) is None


def test_endless_bar_stays_small() -> None:
    """A bar that never ends takes bounded memory, and its end still says the latest."""
    tracker = BarTracker("e", "s")
    controls = records(60)
    for turn in range(200):
        controls["bar"], controls["frame"] = 0, np.arange(60) + 60 * turn
        controls["z"] = turn
        fed(tracker, controls)
    bar = tracker.unfinished(0, 0.0)
    assert bar is not None
    assert bar.frames < 60 * 66
    assert bar.z[0] == 199.0


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 90), min_size=1, max_size=12))
def test_batches_do_not_matter(sizes: list[int]) -> None:
    """However records arrive, the bars are the same."""
    controls = records(sum(sizes))
    events = notes(*range(0, len(controls), 7))
    whole = fed(BarTracker("e", "s"), controls, events)
    tracker, parts, begin = BarTracker("e", "s"), [], 0
    for size in sizes:
        batch = controls[begin : begin + size]
        inside = (events["frame"] >= begin) & (events["frame"] < begin + size)
        parts += fed(tracker, batch, events[inside])
        begin += size
    assert parts == whole
