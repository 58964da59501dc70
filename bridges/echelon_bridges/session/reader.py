"""A session as it was kept: its lives, bars and marks, and what is missing.

A life is one `epoch`: what one audio process played, from its control frame 0 on. `Session.open` reads where the whole
records are; a life's arrays are read when they are asked for.
"""

from __future__ import annotations

import json
import mmap
import struct
from bisect import bisect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_bridges.session import format as form
from echelon_bridges.session.folder import BARS, FRAMES
from echelon_engine.errors import UserError
from echelon_engine.memory import CONTROL, CONTROL_RATE_HZ, EVENT, SHARED, TOOK_SETTINGS

_EPOCH_FRAME = struct.Struct("<qq")  # which a control record begins with
GAP_FRAMES = 3 * SHARED["records"]["item"].shape[0]  # a turn is never longer than the ring of control records


@dataclass(frozen=True)
class Life:
    """What one audio process took and emitted: memory.CONTROL, INPUT and EVENT in the order of the log.

    `plays` counts the control frames, from 0, that can be played again byte for byte; `missing` says what is not there.
    """

    epoch: int
    controls: NDArray[Any]
    inputs: NDArray[Any]
    events: NDArray[Any]
    plays: int
    missing: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """How long it is, holes included."""
        frames = self.controls["frame"]
        return float(frames[-1] - frames[0] + 1) / CONTROL_RATE_HZ if len(frames) else 0.0

    @property
    def whole(self) -> bool:
        """Whether nothing of it is missing."""
        return not self.missing

    def playable(self, most_frames: int | None = None) -> tuple[NDArray[Any], NDArray[Any], int]:
        """Return control records and inputs for `echelon_engine.replay.replay`, and the sample at which to end it.

        The sound is right up to that sample, where the last of the control records begins: what came while that one was
        played may not have been written any more. Raises `UserError` where nothing can be played.
        """
        if not self.plays:
            why = "; ".join(self.missing) or "it has no whole control frame"
            raise UserError(f"life {self.epoch} of this session", f"cannot be played again: {why}", "play its motion")
        plays = self.plays if most_frames is None else min(self.plays, most_frames)
        controls = self.controls[: plays + 1]
        return controls, self.inputs[self.inputs["frame"] < plays], int(controls["sample"][-1])


class Session:
    """An open session. `header` as written, `bars` one dict a bar, `marks` the operator's, `notes` what is wrong."""

    def __init__(self, path: Path, data: Any, found: form.Scan) -> None:
        self.path, self._data, self._scan = path, data, found
        self.header = found.header
        self.rate_hz = int(found.header.get("rate_hz", 0))
        places = found.places
        self.opened, self.marks, self.gaps, closed = (
            form.unpack_notes(data, places.get(kind, [])) for kind in (form.OPENED, form.MARK, form.GAP, form.CLOSED)
        )
        self._closed = bool(closed) and max(places[form.CLOSED]) >= max(max(each) for each in places.values())
        self.bars, notes = _read_bars(path.parent / BARS)
        if found.lost:
            notes.insert(0, found.lost)
        elif not self._closed:
            notes.insert(0, "it was not closed: it is being played, was killed, or its disk was full")
        self.notes = tuple(notes)
        self.epochs = self._epochs()
        self._inputs: NDArray[Any] | None = None

    @classmethod
    def open(cls, path: str | Path) -> Session:
        """Open a session by its folder or its file `frames`; raises `UserError` where it is none, or another version's.

        A cut file opens with what there is up to that place, a damaged one also with what is behind the damage.
        """
        path = Path(path)
        frames = path / FRAMES if path.is_dir() else path
        try:
            with frames.open("rb") as file:
                empty = file.seek(0, 2) == 0
                data = b"" if empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            remedy = "name the folder of one session; `echelon-engine sessions DIR` lists them"
            raise UserError(str(path), f"is no session ({error.strerror or error})", remedy) from None
        found = form.scan(data)
        if found.foreign:
            remedy = "read it with the version that wrote it" if found.header else "name the folder of a session"
            made = found.header.get("product", {})
            version = f" (product version {made.get('version')})" if isinstance(made, dict) and made else ""
            raise UserError(str(frames), found.foreign + version, remedy)
        if not isinstance(found.header.get("rate_hz"), int):
            raise UserError(str(frames), found.stopped or "its header names no rate", "nothing of it can be read")
        return cls(frames, data, found)

    @property
    def name(self) -> str:
        """What the session is called: its folder's name."""
        return str(self.header.get("session") or self.path.parent.name)

    @property
    def styles(self) -> tuple[str, ...]:
        """The names of the styles that could be chosen, in the order of their numbers."""
        found = self.header.get("styles", ())
        return tuple(str(name) for name in found) if isinstance(found, list) else ()

    @property
    def whole(self) -> bool:
        """Whether it was closed, and nothing is cut or was dropped."""
        return self._closed and not self.notes and not self.gaps

    @property
    def seconds(self) -> float:
        """How long its lives are together."""
        return sum(count for _, count in self.epochs) / CONTROL_RATE_HZ

    @property
    def bytes(self) -> int:
        """Size of the file `frames`."""
        return self._scan.size

    def count(self, kind: int) -> int:
        """Return how many records of a kind (`format`) there are."""
        return len(self._scan.places.get(kind, []))

    def lives(self) -> list[Life]:
        """Return every life, in order."""
        return [self.life(epoch) for epoch, _ in self.epochs]

    def life(self, epoch: int) -> Life:
        """Return the life of one epoch."""
        controls = self._rows(form.CONTROLS, CONTROL, epoch)
        events = self._rows(form.EVENTS, EVENT, epoch)
        if self._inputs is None:
            self._inputs = form.unpack_inputs(self._data, self._scan.places)
        inputs = self._inputs[self._inputs["epoch"] == epoch]
        plays, missing = _judge(epoch, controls, inputs, self.gaps)
        plays = self._up_to_damage(epoch, plays, missing)
        return Life(epoch, controls, inputs, events, plays, tuple(missing))

    def wall_s(self, time_ns: int) -> float:
        """Return the wall clock (seconds since 1970) of an engine time: what aligns the log with a video."""
        stamp = self.header.get("started", {})
        for each in self.opened:  # the newest stamp before that moment: clocks drift apart
            if each.get("monotonic_ns", 0) <= time_ns:
                stamp = each
        return float(stamp.get("wall_s", 0.0)) + (time_ns - int(stamp.get("monotonic_ns", 0))) / 1e9

    def _up_to_damage(self, epoch: int, plays: int, missing: list[str]) -> int:
        """Return how many of a life's frames that play are told by what lies before any damage; say what may be not.

        Inputs stand before the control records of their frames. A note of a gap comes later than what it is about, by a
        turn of the bridges that wrote and the one before.
        """
        places = self._scan.places.get(form.CONTROLS, [])
        doubtful = []
        for begin, end in self._scan.damage:
            behind = bisect(places, begin)
            before_epoch, frame = _EPOCH_FRAME.unpack_from(self._data, places[behind - 1]) if behind else (0, -1)
            next_epoch = _EPOCH_FRAME.unpack_from(self._data, places[behind])[0] if behind < len(places) else 1 << 62
            if before_epoch <= epoch <= next_epoch:
                sure = frame if before_epoch == epoch else -1
                doubtful.append(sure)
                single = end - begin - form.AROUND in form.SIZES.values()  # no note is as long as one of these
                plays = min(plays, max(sure - (0 if single else GAP_FRAMES), 0))
        if doubtful:
            more = f", and in {len(doubtful) - 1} more places" if len(doubtful) > 1 else ""
            missing.append(f"what was damaged after control frame {doubtful[0]}{more}")
        return plays

    def _rows(self, kind: int, record: np.dtype[Any], epoch: int) -> NDArray[Any]:
        places = [
            at
            for at in self._scan.places.get(kind, [])
            if int.from_bytes(self._data[at : at + 8], "little", signed=True) == epoch
        ]
        return form.unpack_rows(self._data, places, record)

    def _epochs(self) -> list[tuple[int, int]]:
        """Return (epoch, control records) in the order in which they began."""
        counts: dict[int, int] = {}
        for at in self._scan.places.get(form.CONTROLS, []):
            epoch = int.from_bytes(self._data[at : at + 8], "little", signed=True)
            counts[epoch] = counts.get(epoch, 0) + 1
        return sorted(counts.items())


def _judge(
    epoch: int, controls: NDArray[Any], inputs: NDArray[Any], gaps: list[dict[str, Any]]
) -> tuple[int, list[str]]:
    """Return how many control frames can be played again, and what is missing."""
    missing = []
    frames = controls["frame"]
    follow = frames == np.arange(len(frames))
    rising = np.r_[controls["sample"][:1] == 0, np.diff(controls["sample"]) > 0]
    wrong = np.flatnonzero(~(follow & rising))
    plays = int(wrong[0]) if len(wrong) else len(frames)
    if len(wrong):
        missing.append(
            f"control frames from {plays} to {int(frames[plays]) - 1}"
            if frames[plays] > plays
            else f"the order of its control frames from {plays} on"
        )
    plays -= plays > 0  # the last one may lack commands
    if not len(inputs) or inputs["kind"][0] != TOOK_SETTINGS or inputs["frame"][0] != 0:
        missing.append("the settings it began with")
        plays = 0
    before: dict[str, Any] = {}
    for gap in gaps:
        grown = any(gap.get(name) and gap.get(name) != before.get(name) for name in ("inputs", "log"))
        before = gap
        after, until = _place(gap.get("after"), (0, -1)), _place(gap.get("until"), (1 << 62, 0))
        if not grown or not after[0] <= epoch <= until[0]:
            continue
        kept = after[1] if after[0] == epoch else -1
        missing.append(f"some of what it took after control frame {kept}")
        plays = min(plays, max(kept, 0))
    return plays, missing


def _place(value: Any, default: tuple[int, int]) -> tuple[int, int]:
    """Return an epoch and frame as JSON has it."""
    if isinstance(value, list) and len(value) == 2 and all(isinstance(part, int) for part in value):
        return value[0], value[1]
    return default


def _read_bars(path: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the bars of a file of JSON lines, and notes about what is no whole line."""
    try:
        data = path.read_bytes()
    except OSError as error:
        return [], [f"{path.name} cannot be read ({error.strerror})"]
    bars, notes, bad = [], [], 0
    whole, newline, rest = data.rpartition(b"\n")
    for line in (whole + newline).splitlines():
        try:
            bar = json.loads(line)
        except (ValueError, RecursionError):
            bar = None
        if isinstance(bar, dict):
            bars.append(bar)
        else:
            bad += 1
    if rest:
        notes.append(f"the last line of {path.name} is cut")
    if bad:
        notes.append(f"{bad} lines of {path.name} are damaged")
    return bars, notes
