"""Writes what is heard to WAV files, in a thread of its own, from the sound ring."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from echelon_engine import rings
from echelon_engine.config import Config
from echelon_engine.errors import UserError
from echelon_engine.wav import WavWriter, mend

CHUNK_FRAMES = 8192
PERIOD_S = 0.05


def unused(path: Path) -> Path:
    """Return the first of name-2.wav, name-3.wav .. beside `path` that does not exist."""
    part = 2
    while (beside := path.with_stem(f"{path.stem}-{part}")).exists():
        part += 1
    return beside


def takes(path: Path) -> list[Path]:
    """Return the recordings that exist under this name: name.wav, name-2.wav .. up to the first that does not."""
    found, part, take = [], 2, path
    while take.exists():
        found.append(take)
        take, part = path.with_stem(f"{path.stem}-{part}"), part + 1
    return found


class Recorder:
    """Empties `ring` (the shared `sound`) into `writer` every 50 ms until `close`.

    A file that is full (4 GiB) is followed by the writer that `follow()` opens, without a sample lost. An error ends
    only the recording: `error` then says why, and what was written stays readable.
    """

    def __init__(self, ring: Any, writer: WavWriter, follow: Callable[[], WavWriter]) -> None:
        self._ring, self._writer, self._follow = ring, writer, follow
        self._stop = threading.Event()
        self.frames = 0
        self.error = ""
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    @property
    def path(self) -> Path:
        """The file that is being written."""
        return self._writer.path

    def _run(self) -> None:
        chunk = np.zeros((CHUNK_FRAMES, 2), np.float32)
        try:
            while True:
                last = self._stop.is_set()
                while n := rings.pop_sound(chunk, self._ring):
                    self._write(chunk[:n])
                if last:
                    break
                self._stop.wait(PERIOD_S)
            self._writer.close()
        except (UserError, OSError) as error:
            self.error = str(error)
            with contextlib.suppress(UserError, OSError):
                self._writer.close()

    def _write(self, sound: Any) -> None:
        while len(sound):
            room = self._writer.max_frames - self._writer.frames
            if room <= 0:
                self._writer.close()
                self._writer = self._follow()
                continue
            self._writer.write(sound[:room])
            self.frames += len(sound[:room])
            sound = sound[room:]

    def close(self) -> None:
        """Write what is left, finish the file."""
        self._stop.set()
        self._thread.join(timeout=10)


def start(config: Config, shared: Any, say: Callable[..., None]) -> Recorder | None:
    """Return what records `shared["sound"]` to the configured file.

    After a restart it is a new file beside the first, so that nothing is lost, and one that cannot be opened is only a
    warning: the show goes on. At the start it raises `UserError`.
    """
    first = Path(config.output.record)

    def open_writer(path: Path) -> WavWriter:
        return WavWriter(path, config.audio.rate_hz, encoding=config.output.record_format)

    restarted = int(shared["header"]["epoch"]) > 1
    for take in takes(first):
        mend(take)
    try:
        writer = open_writer(unused(first) if first.exists() else first)  # no take is ever overwritten
    except UserError as error:
        if not restarted:
            raise
        say("warning", text=f"recording has stopped: {error}")
        say("recording", path=str(first), seconds=0.0, error=str(error))
        return None
    return Recorder(shared["sound"], writer, lambda: open_writer(unused(first)))
