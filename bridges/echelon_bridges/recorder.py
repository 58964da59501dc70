"""Writes what is heard to a WAV file, in a thread of its own, from the sound ring."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from echelon_engine import rings
from echelon_engine.errors import UserError
from echelon_engine.wav import WavWriter

CHUNK_FRAMES = 8192
PERIOD_S = 0.05


class Recorder:
    """Empties `ring` (the shared `sound`) into `writer` every 50 ms until `close`; an error ends only the recording."""

    def __init__(self, ring: Any, writer: WavWriter) -> None:
        self._ring, self._writer = ring, writer
        self._stop = threading.Event()
        self.frames = 0
        self.error = ""
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        chunk = np.zeros((CHUNK_FRAMES, 2), np.float32)
        try:
            while True:
                last = self._stop.is_set()
                while n := rings.pop_sound(chunk, self._ring):
                    self._writer.write(chunk[:n])
                    self.frames += n
                if last:
                    break
                self._stop.wait(PERIOD_S)
            self._writer.close()
        except (UserError, OSError) as error:
            self.error = str(error)

    def close(self) -> None:
        """Write what is left, finish the file."""
        self._stop.set()
        self._thread.join(timeout=10)
