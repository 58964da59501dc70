"""Bars: what each bar of the performance was, from control records and note events. Pure: no clock, no transport."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_bridges.messages.fields import (
    DYNAMICS,
    SILENCE_DB,
    BandPositions,
    Dynamics,
    Statistic,
    finite,
    levels_db,
    mode_name,
    section_name,
    state_name,
)
from echelon_bridges.messages.grids import Book
from echelon_bridges.messages.table import Bar
from echelon_engine.memory import CONTROL, CONTROL_RATE_HZ, LATENT_STATE_NAMES, NOTE_ON
from echelon_engine.vocabulary import BEATS_PER_BAR

MOST_FRAMES = 60 * 64  # of one bar; a slower one is made from its first frames and its last
_LATENT = [LATENT_STATE_NAMES.index(name) for name in DYNAMICS if name in LATENT_STATE_NAMES]


def bar_id(session: str, epoch: int, bar: int) -> str:
    """Return the id of one bar: no two of one engine are the same."""
    return f"{session}-{epoch}-{bar}"


def grid_id(session: str, epoch: int, bar: int) -> str:
    """Return the id of the grid that begins in a bar: no two are the same, and none is a bar's."""
    return f"{bar_id(session, epoch, bar)}-grid"


class BarTracker:
    """Derives one `Bar` a bar; give it every control record and event, in order.

    A bar is finished by the first record of another one. The bar in which the tracker began, one with missing records,
    and the one cut off by a replaced audio process (`epoch`) say `complete: false`. `book` knows the grids that play.
    """

    def __init__(self, engine: str, session: str, book: Book | None = None) -> None:
        self.engine, self.session = engine, session
        self._book = Book() if book is None else book
        self._sequence = 0
        self._records = np.zeros(256, CONTROL)  # of the bar in progress; grows with the longest
        self._frames = 0
        self._onsets: list[tuple[int, int]] = []  # epoch, frame

    def feed(self, controls: NDArray[Any], events: NDArray[Any], now_ns: int, wall_s: float) -> list[Bar]:
        """Take records of memory.CONTROL (n,) and memory.EVENT (m,), n and m may be 0; return the bars that ended.

        `now_ns` (CLOCK_MONOTONIC, or the engine's time when not live) and `wall_s` (seconds since 1970) are this moment
        on both clocks.
        """
        if len(events):
            begun = events[events["kind"] == NOTE_ON]
            self._onsets.extend(zip(begun["epoch"].tolist(), begun["frame"].tolist(), strict=True))
        if not len(controls):
            return []
        bars: list[Bar] = []
        for part in _runs(controls):
            if self._frames:
                last = self._records[self._frames - 1]
                if part["bar"][0] != last["bar"] or part["epoch"][0] != last["epoch"]:
                    bars.append(self._finish(part[0], now_ns, wall_s))
            self._keep(part)
        return bars

    def _keep(self, part: NDArray[Any]) -> None:
        end = self._frames + len(part)
        if end > MOST_FRAMES:
            self._records[self._frames - 1] = part[-1]
            return
        if end > len(self._records):
            grown = np.zeros(2 * end, CONTROL)
            grown[: self._frames] = self._records[: self._frames]
            self._records = grown
        into = self._records[self._frames : end].view(np.uint8)
        into[:] = np.frombuffer(part.tobytes(), np.uint8)  # bytes: copying field by field takes ten times as long
        self._frames = end

    def unfinished(self, now_ns: int, wall_s: float) -> Bar | None:
        """Return the bar in progress as it is, `complete: false`, and forget it; None when there is none."""
        return self._finish(None, now_ns, wall_s) if self._frames else None

    def _finish(self, following: Any, now_ns: int, wall_s: float) -> Bar:
        """Return the bar that was collected; `following` is the first record after it, None at the end."""
        records, self._frames = self._records[: self._frames], 0
        first, last = records[0], records[-1]
        epoch, bar = int(first["epoch"]), int(first["bar"])
        ends_here = following is not None and following["epoch"] == epoch
        period_ns = 1e9 / CONTROL_RATE_HZ
        end_ns = int(following["time_ns"]) if ends_here else int(last["time_ns"]) + round(period_ns)
        begins_here = first["beat"] - BEATS_PER_BAR * bar < 1.5 * first["tempo_bpm"] / 60.0 / CONTROL_RATE_HZ
        whole = ends_here and int(following["bar"]) == bar + 1 and following["frame"] - first["frame"] == len(records)
        end_frame = int(following["frame"]) if ends_here else int(last["frame"]) + 1
        self._sequence += 1
        return Bar(
            sequence=self._sequence,
            engine=self.engine,
            monotonic_ns=now_ns,
            wall_s=wall_s,
            session=self.session,
            id=bar_id(self.session, epoch, bar),
            epoch=epoch,
            bar=bar,
            frame=int(first["frame"]),
            frames=len(records),
            complete=bool(begins_here and whole),
            time_ns=int(first["time_ns"]),
            begin_wall_s=round(wall_s - (now_ns - int(first["time_ns"])) / 1e9, 6),
            seconds=round((end_ns - int(first["time_ns"])) / 1e9, 6),
            tempo_bpm=round(float(last["tempo_bpm"]), 3),
            state=state_name(int(last["state"])),
            commitment=_mean(records["c"]),
            energy=_mean(records["energy"]),
            loudness_db=_level_db(records["loudness_db"]),
            notes=self._count_notes(epoch, end_frame),
            z=finite(last["z"]).round(6).tolist(),
            dynamics=_dynamics(records),
            **self._band(records),
        )

    def _band(self, records: NDArray[Any]) -> dict[str, Any]:
        """Return what the band did; the grid is the one at the bar's end, the first record may be of the one before."""
        last = records[-1]
        number = int(last["grid"])
        if not number:
            return {}
        return {
            "activations": np.minimum(finite(records["track"]).mean(axis=0), 1.0).round(6).tolist(),
            "genre": self._book.style(int(last["style"])),
            "section": section_name(int(last["section"])),
            "mode": mode_name(int(last["mode"])),
            "parameters": BandPositions(*finite(records["band"]).mean(axis=0).round(6).tolist()),
            "grid_number": number,
            "grid": self._book.cells(number),
        }

    def _count_notes(self, epoch: int, end_frame: int) -> int:
        """Return how many notes began before the frame, and forget them."""
        here = [onset for onset in self._onsets if onset < (epoch, end_frame)]
        self._onsets = [onset for onset in self._onsets if onset >= (epoch, end_frame)]
        return len(here)


def _runs(controls: NDArray[Any]) -> list[NDArray[Any]]:
    """Return the records cut wherever the bar or the epoch differs from the record before."""
    if len(controls) == 1:
        return [controls]  # as it is nearly always when live
    return np.split(controls, np.flatnonzero(np.diff(controls["bar"]) | np.diff(controls["epoch"])) + 1)


def _mean(values: NDArray[Any]) -> float:
    return round(float(finite(values).mean()), 6)


def _level_db(levels: NDArray[Any]) -> float:
    # L = 10 log10(mean(10^(L_i / 10)))
    power = np.power(10.0, levels_db(levels) / 10.0)
    return round(max(10.0 * float(np.log10(power.mean())), SILENCE_DB), 3)


def _dynamics(records: NDArray[Any]) -> Any:
    """Return the statistics of the ten scalars over the control records of one bar."""
    columns = finite(np.column_stack([records["latent"][:, _LATENT], records["lr_pan"]]))  # frames x 10
    seconds = (records["time_ns"] - records["time_ns"][0]) / 1e9
    seconds = seconds - seconds.mean()
    spread = float(np.dot(seconds, seconds))
    mean = columns.mean(axis=0)
    # slope = sum((t - mean t) v) / sum((t - mean t)^2)
    slope = seconds @ columns / spread if spread > 0.0 else np.zeros(len(DYNAMICS))
    rows = np.stack([columns[-1], mean, columns.std(axis=0), slope], axis=1).round(6).tolist()
    return Dynamics(*(Statistic(*row) for row in rows))
