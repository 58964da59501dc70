"""The files of a session as they grow: whole records appended, a cut end mended, nothing overwritten."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from echelon_bridges.messages.table import Bar
from echelon_bridges.session import format as form
from echelon_bridges.session.folder import BARS, FRAMES
from echelon_engine.errors import UserError
from echelon_engine.memory import CONTROL, EVENT, GRID, TOOK_GRID

TAIL = 1024  # newest inputs and notes that are kept to recognise those that come again: a ring holds no more
TAIL_GRIDS = 64  # the one that plays, and any of a bar that is not written yet, are among the newest
LONGEST_BAR = 60 * 64  # control records that are looked at for bars that are not written yet
CHUNK = 1 << 20


@dataclass(slots=True)
class Tail:
    """How a session ended that goes on now."""

    control: tuple[int, int] = (0, -1)  # epoch and frame of the last control record
    inputs: set[bytes] = field(default_factory=set)  # framed, the newest
    events: set[bytes] = field(default_factory=set)
    unbarred: NDArray[Any] = field(default_factory=lambda: np.zeros(0, CONTROL))  # after the last bar that is written
    unbarred_events: NDArray[Any] = field(default_factory=lambda: np.zeros(0, EVENT))
    grids: NDArray[Any] = field(default_factory=lambda: np.zeros(0, GRID))  # the newest that were taken
    gap: dict[str, Any] = field(default_factory=dict)
    mended: int = 0  # bytes of the cut end


def _append(path: Path, *, new: bool = False) -> int:
    return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | (os.O_CREAT | os.O_EXCL if new else 0), 0o600)


class Files:
    """`frames` and `bars.jsonl` of one session, open for appending. Every method may raise OSError."""

    def __init__(self, folder: Path, header: bytes = b"") -> None:
        """Begin a new session with this header, or, without one, open a session to go on (then call `mend`)."""
        self.folder = folder
        self.bytes = 0  # whole, in `frames`
        self.bars = 0
        try:
            self._frames = _append(folder / FRAMES, new=bool(header))
            try:
                bars = folder / BARS
                self._bars = _append(bars, new=not bars.exists())
                if header:
                    self._put(self._frames, header)
                self.bytes = os.fstat(self._frames).st_size
                self._bars_bytes = os.fstat(self._bars).st_size
            except OSError:
                os.close(self._frames)
                raise
        except OSError as error:
            rule = f"no session can be kept there ({error.strerror})"
            raise UserError(str(folder), rule, "free some space, or choose another folder with session.log") from None

    @staticmethod
    def _put(descriptor: int, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]

    def write(self, records: list[bytes]) -> None:
        """Append framed records; where the disk refuses some, those that it took whole stay, the rest is taken back."""
        data = b"".join(records)
        try:
            self._put(self._frames, data)
        except OSError:
            room = os.fstat(self._frames).st_size - self.bytes
            for record in records:
                if room < len(record):
                    break
                room -= len(record)
                self.bytes += len(record)
            with contextlib.suppress(OSError):
                os.ftruncate(self._frames, self.bytes)
            raise
        self.bytes += len(data)

    def write_bars(self, bars: list[Bar]) -> None:
        """Append one line a bar."""
        data = b"".join(msgspec.json.encode(bar) + b"\n" for bar in bars)
        try:
            self._put(self._bars, data)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._bars, self._bars_bytes)
            raise
        self._bars_bytes += len(data)
        self.bars += len(bars)

    def check(self) -> None:
        """Raise OSError where the folder was moved away or removed: what is written would be nowhere."""
        for name, descriptor in ((FRAMES, self._frames), (BARS, self._bars)):
            found, held = (self.folder / name).stat(), os.fstat(descriptor)
            if (found.st_dev, found.st_ino) != (held.st_dev, held.st_ino):
                raise FileNotFoundError(2, f"{name} was replaced by somebody")

    def sync(self) -> None:
        """Ask the disk to keep what was written through a power cut."""
        for descriptor in (self._frames, self._bars):
            getattr(os, "fdatasync", os.fsync)(descriptor)

    def close(self) -> None:
        """Close both files."""
        os.close(self._frames)
        os.close(self._bars)

    def mend(self) -> Tail:
        """Take away what a kill left half written, and return how the session ended. Raises `UserError` for damage."""
        tail = Tail()
        with mmap.mmap(self._frames, 0, access=mmap.ACCESS_READ) as data:
            found = form.scan(data)
            if not found.only_cut:
                raise UserError(str(self.folder / FRAMES), found.lost, "this session ends there; a new one begins")
            self._read_tail(tail, data, found)
        tail.mended = found.lost_bytes
        if tail.mended:
            os.ftruncate(self._frames, found.end)
        self.bytes = found.end
        last_bar = self._mend_bars()
        if len(tail.unbarred):
            controls = tail.unbarred
            after = (controls["epoch"] > last_bar[0]) | (controls["epoch"] == last_bar[0]) & (
                controls["bar"] > last_bar[1]
            )
            tail.unbarred = controls[after]
        if len(tail.unbarred):
            first = tail.unbarred[0]
            events = tail.unbarred_events
            tail.unbarred_events = events[
                (events["epoch"] > first["epoch"])
                | (events["epoch"] == first["epoch"]) & (events["frame"] >= first["frame"])
            ]
        return tail

    @staticmethod
    def _read_tail(tail: Tail, data: Any, found: form.Scan) -> None:
        def framed(places: list[int]) -> set[bytes]:
            ends = ((at, form.HEAD.unpack_from(data, at - form.HEAD.size)[1]) for at in places[-TAIL:])
            return {bytes(data[at - form.HEAD.size : at + length + form.CRC.size]) for at, length in ends}

        controls = form.unpack_rows(data, found.places.get(form.CONTROLS, [])[-LONGEST_BAR:], CONTROL)
        if len(controls):
            tail.control = int(controls["epoch"][-1]), int(controls["frame"][-1])
            tail.unbarred = controls
        events = found.places.get(form.EVENTS, [])[-TAIL:]
        tail.events = framed(events)
        tail.unbarred_events = form.unpack_rows(data, events, EVENT)
        tail.inputs = framed(sorted(at for kind in form.TAKEN for at in found.places.get(kind, [])[-TAIL:])[-TAIL:])
        grids = {TOOK_GRID: found.places.get(TOOK_GRID, [])[-TAIL_GRIDS:]}
        tail.grids = form.unpack_inputs(data, grids)["grid"].copy()
        gaps = form.unpack_notes(data, found.places.get(form.GAP, [])[-1:])
        tail.gap = gaps[0] if gaps else {}

    def _mend_bars(self) -> tuple[int, int]:
        """Take away a cut last line; return epoch and bar of the last whole one."""
        size = os.fstat(self._bars).st_size
        kept, at, end = b"", size, size
        while at > 0:  # back to the beginning of the last whole line
            at = max(0, at - CHUNK)
            kept = os.pread(self._bars, min(CHUNK, end - at), at) + kept
            end = at
            if kept.count(b"\n") >= 2:
                break
        whole = kept[: kept.rfind(b"\n") + 1]
        self._bars_bytes = size - (len(kept) - len(whole))
        if self._bars_bytes < size:
            os.ftruncate(self._bars, self._bars_bytes)
        lines = whole.splitlines()
        try:
            last = json.loads(lines[-1])
            return int(last["epoch"]), int(last["bar"])
        except (IndexError, ValueError, KeyError, TypeError, RecursionError):
            return 0, -1


def known_first(known: set[bytes], new: list[bytes]) -> int:
    """Return how many at the beginning of `new` are known; from the first that is not, `known` is empty: all is new."""
    for count, record in enumerate(new):
        if record not in known:
            known.clear()
            return count
    return len(new)
