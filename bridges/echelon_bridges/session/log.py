"""Keeps a session while it is played: an outlet whose own thread writes what the callback took and emitted.

The thread writes ten times a second, whole records in one call, so a kill loses at most the record that was being
written (`tap.Taps` keeps what was not yet written). Files are handed to the disk every 10 s and at the end: a power cut
may cost that much, and ends the file at a whole record. A full disk or a vanished folder ends the log, not the music.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from numpy.typing import NDArray

from echelon_bridges.messages.bars import BarTracker
from echelon_bridges.messages.grids import Book
from echelon_bridges.session import folder as folders
from echelon_bridges.session import format as form
from echelon_bridges.session.writer import Files, Tail, known_first
from echelon_engine import live_table
from echelon_engine.config import Config
from echelon_engine.errors import UserError
from echelon_engine.memory import CONTROL_RATE_HZ, TOOK_GRID

PERIOD_S = 0.1
CHECK_S = 1.0
SYNC_S = 10.0
CLOSE_S = 2.0
MOST_WAITING = 16 << 20  # bytes, two minutes and more; what comes then is lost and counted
BATCH = 32 << 10  # bytes that are written at once: a third of a second
PATIENCE_NS = 2_000_000_000  # for a stuck disk: then rings get their places back all the same
MARK_CHARS = 1000

Totals = tuple[int, int, int]  # control records, events, inputs


class SessionLog:
    """Logs one run of the engine into one folder; made by `open`. Its methods are called from one thread.

    Order of a turn: `inputs`, `offer`, `gaps`, with what `tap.Taps.take` returned; then `Taps.release(log.settled)`.
    Arrays are kept, not copied: they are not to be changed later. Nothing here blocks or raises; `report` says what
    failed, under `error`.
    """

    name = "session"

    def __init__(
        self,
        files: Files,
        engine: str,
        opened: dict[str, Any],
        styles: Sequence[str] = (),
        renew: Callable[[], Files] | None = None,
    ) -> None:
        """Log into `files`; with `renew` they are an earlier session's, which goes on, or is followed by a new one.

        `styles` are the names of all styles, in the order of their numbers.
        """
        self.path = files.folder
        self.error = ""
        self.lost = 0  # records that found no room because the disk was too slow
        self._files, self._renew, self._opened = files, renew, opened
        self._grids = Book(styles)
        self._engine, self._tracker = engine, BarTracker(engine, files.folder.name, self._grids)
        self._waiting: deque[tuple[str, Any]] = deque()
        self._bytes_in = self._bytes_out = 0  # each has one writer
        self._given: Totals = (0, 0, 0)
        self._written: Totals = (0, 0, 0)
        self._overdue: Totals = (0, 0, 0)
        self._ages: deque[tuple[int, Totals]] = deque(maxlen=1024)
        self._now_ns = 0
        self._control: tuple[int, int] | None = None  # epoch and frame of the last one that was given
        self._sound: tuple[int, int] | None = None  # the last one before anything was dropped
        self._drops: tuple[int, int, int, int] = (0, 0, 0, 0)
        self._torn_epoch = -1  # the life of which it was said
        self._frames = 0
        self._tail = Tail()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="session", daemon=True)
        self._thread.start()

    @classmethod
    def open(cls, config: Config, shared: Any, *, run: str | None = None) -> SessionLog:
        """Begin a session below `config.session.log`, or go on with the one that this run of the engine began.

        `run` tells runs of the engine apart (by default: the parent process is the supervisor). Raises `UserError`.
        """
        run = folders.this_run() if run is None else run
        opened = folders.stamps(int(shared["counters"]["frames"])) | {"epoch": int(shared["header"]["epoch"])}
        engine = config.engine.name

        def new() -> Files:
            folder = folders.make(config.session.log, engine)
            return Files(folder, form.pack_header(folders.about(config, folder, run, opened["sample"])))

        styles = live_table.styles(config.band.styles)
        found = folders.unfinished(config.session.log, engine, run) if opened["epoch"] > 1 else None
        if found is not None:
            with contextlib.suppress(UserError):
                return cls(Files(found), engine, opened, styles, new)
        return cls(new(), engine, opened, styles)

    def inputs(self, inputs: NDArray[Any]) -> None:
        """Log what the callback took: memory.INPUT (n,)."""
        if len(inputs):
            self._give("inputs", inputs, inputs.nbytes, (0, 0, len(inputs)))

    def offer(self, controls: NDArray[Any], events: NDArray[Any], now_ns: int) -> None:
        """Log memory.CONTROL (n,) and memory.EVENT (m,); `now_ns` is CLOCK_MONOTONIC."""
        self._now_ns = now_ns
        if len(controls) or len(events):
            size = controls.nbytes + events.nbytes
            self._give("music", (controls, events), size, (len(controls), len(events), 0))
        if len(controls):
            self._control = int(controls["epoch"][-1]), int(controls["frame"][-1])

    def body(self, performer: int, frames: NDArray[Any]) -> None:
        """Do nothing: the bodies that are heard come with the inputs."""

    def gaps(self, counters: Any) -> str:
        """Log what the callback had to drop (memory.COUNTERS), where that has grown.

        Return what a person is to be told, once in each life of the audio process; "" where there is nothing to say.
        """
        drops = (
            int(counters["dropped_records"]),
            int(counters["dropped_events"]),
            int(counters["dropped_inputs"]),
            self.lost,
        )
        said = ""
        if drops != self._drops:
            names = ("records", "events", "inputs", "log")
            note = dict(zip(names, drops, strict=True)) | {"after": self._sound, "until": self._control}
            self._waiting.append(("gap", note))
            records, _, inputs, lost = (now - before for now, before in zip(drops, self._drops, strict=True))
            # Records are missing behind the last one that came; what it took, behind the last before the turn.
            kept = self._sound if inputs or lost else self._control
            said = self._torn(records + inputs + lost, kept)
            self._drops = drops
        self._sound = self._control
        return said

    def _torn(self, missing: int, kept: tuple[int, int] | None) -> str:
        """Return what a person is to be told of a session that plays again up to the life and frame of `kept`."""
        epoch = self._control[0] if self._control else 0
        if missing <= 0 or epoch == self._torn_epoch:  # note events that are missing are not needed to play it
            return ""
        self._torn_epoch = epoch
        frame = kept[1] if kept and kept[0] == epoch else 0
        place = f"after {frame / CONTROL_RATE_HZ:.1f} s of life {epoch}"
        return (
            f"the session lacks {missing} records {place}: nobody took them in time (bridges that stood still, or a "
            "slow disk); it can be played again up to there, and looked at as a whole"
        )

    def changed_weights(self, path: str) -> None:
        """Note that other weights play from here on: what follows cannot be played again from this log."""
        self.mark(f"other weights: {path}")
        self.lost += 1

    def mark(self, text: str) -> None:
        """Note something that the operator saw, with this moment; at most 1000 characters."""
        epoch, frame = self._control or (0, 0)
        note = {"text": text[:MARK_CHARS], "epoch": epoch, "frame": frame}
        self._waiting.append(("mark", note | {"monotonic_ns": time.monotonic_ns(), "wall_s": time.time()}))

    @property
    def settled(self) -> Totals:
        """How many of the control records, events and inputs that were given are written, or given up."""
        if self.error:
            return self._given
        while self._ages and self._now_ns - self._ages[0][0] > PATIENCE_NS:
            self._overdue = self._ages.popleft()[1]
        written, overdue = self._written, self._overdue
        return max(written[0], overdue[0]), max(written[1], overdue[1]), max(written[2], overdue[2])

    def report(self) -> dict[str, Any]:
        """Return what is written so far, and under `error` why no more is."""
        files = self._files
        counts = {"path": str(self.path), "seconds": round(self._frames / CONTROL_RATE_HZ, 1)}
        counts |= {"bytes": files.bytes, "bars": files.bars, "lost": self.lost}
        return counts | ({"error": self.error} if self.error else {})

    def close(self) -> None:
        """Write what waits and end; 2 s at most."""
        self._stop.set()
        self._thread.join(CLOSE_S)

    def _give(self, kind: str, item: Any, size: int, counts: Totals) -> None:
        given = self._given
        self._given = given[0] + counts[0], given[1] + counts[1], given[2] + counts[2]
        if self.error:
            return
        if self._bytes_in - self._bytes_out > MOST_WAITING:
            self.lost += sum(counts)
            kind, item, size = "lost", None, 0
        self._waiting.append((kind, (item, size, counts)))
        self._bytes_in += size
        if counts[0]:
            self._ages.append((self._now_ns, self._given))

    def _run(self) -> None:
        try:
            self._begin()
            checked = synced = time.monotonic()
            while True:
                last = self._stop.wait(PERIOD_S)
                while self._waiting:
                    self._write()
                now = time.monotonic()
                if now - checked > CHECK_S:
                    checked = now
                    self._files.check()
                if now - synced > SYNC_S:
                    synced = now
                    self._files.sync()
                if last:
                    break
            self._end()
        except UserError as error:
            self._fail(str(error))
        except FileNotFoundError:
            self._fail(f"{self.path}: was moved or removed while it was written; start again to keep a session")
        except OSError as error:
            self._fail(f"{self.path}: no more can be written ({error.strerror or error}); free some space there")
        except Exception as error:  # whatever it is, only the log may end
            self._fail(f"{self.path}: {type(error).__name__}: {error}; please report this")
        finally:
            with contextlib.suppress(OSError):
                self._files.close()

    def _fail(self, reason: str) -> None:
        self.error = reason
        self._waiting.clear()

    def _begin(self) -> None:
        if self._renew is not None:
            try:
                self._tail = self._files.mend()
            except UserError:  # damaged: it stays as it is
                self._files.close()
                self._files = self._renew()
                self.path = self._files.folder
                self._tracker = BarTracker(self._engine, self.path.name, self._grids)
        self._grids.add(self._tail.grids)
        self._files.write([form.pack_note(form.OPENED, self._opened | {"mended": self._tail.mended})])
        if len(self._tail.unbarred):
            self._bars(self._tail.unbarred, self._tail.unbarred_events)

    def _end(self) -> None:
        now_ns, wall_s = time.monotonic_ns(), time.time()
        if (bar := self._tracker.unfinished(now_ns, wall_s)) is not None:
            self._files.write_bars([bar])
        self._files.write([form.pack_note(form.CLOSED, {"monotonic_ns": now_ns, "wall_s": wall_s})])
        self._files.sync()

    def _write(self) -> None:
        """Write what waits, or the first 32 KiB of it, in one call, then the bars that ended."""
        notes: list[bytes] = []
        inputs: list[NDArray[Any]] = []
        music: list[tuple[NDArray[Any], NDArray[Any]]] = []
        done, size = self._written, 0
        while self._waiting and size < BATCH:
            kind, value = self._waiting.popleft()
            if kind == "mark":
                notes.append(form.pack_note(form.MARK, value))
            elif kind == "gap":
                notes += self._gap(value)
            else:
                item, bytes_, counts = value
                done = done[0] + counts[0], done[1] + counts[1], done[2] + counts[2]
                size += bytes_
                if kind == "inputs":
                    inputs.append(item)
                elif kind == "music":
                    music.append(item)
        # Inputs first: whatever byte a kill hits, a control record is never without what was taken for it.
        records = []
        if inputs:
            taken = form.joined(inputs)
            records = self._inputs(taken)
            if (grids := taken["kind"] == TOOK_GRID).any():
                self._grids.add(taken[grids]["grid"])
        if music:
            controls, events = (form.joined(each) for each in zip(*music, strict=True))
            controls, events = self._unknown(controls), self._events(events)
            records += form.pack_rows(form.CONTROLS, controls) + form.pack_rows(form.EVENTS, events)
        if records or notes:
            self._files.write(records + notes)
        self._bytes_out += size
        self._written = done
        if music:
            self._frames += len(controls)
            self._bars(controls, events)

    def _bars(self, controls: NDArray[Any], events: NDArray[Any]) -> None:
        bars = self._tracker.feed(controls, events, time.monotonic_ns(), time.time())
        if bars:
            self._files.write_bars(bars)

    def _gap(self, note: dict[str, Any]) -> list[bytes]:
        """Return the record of a gap; after a restart, none for what was noted before it."""
        known = {name: note[name] for name in ("records", "events", "inputs")}
        if note["after"] is None and not note["log"] and all(known[k] == self._tail.gap.get(k, 0) for k in known):
            return []
        return [form.pack_note(form.GAP, note | {"after": note["after"] or self._tail.control})]

    # Bridges that were killed may have written what they had not yet given back: the rings then have it once more.

    def _unknown(self, controls: NDArray[Any]) -> NDArray[Any]:
        epoch, frame = self._tail.control
        if frame < 0:
            return controls
        known = (controls["epoch"] == epoch) & (controls["frame"] <= frame)
        return controls[~known] if known.any() else controls

    def _inputs(self, inputs: NDArray[Any]) -> list[bytes]:
        packed = form.pack_inputs(inputs)
        return packed[known_first(self._tail.inputs, packed) :] if self._tail.inputs else packed

    def _events(self, events: NDArray[Any]) -> NDArray[Any]:
        if self._tail.events:
            events = events[known_first(self._tail.events, form.pack_rows(form.EVENTS, events)) :]
        return events
