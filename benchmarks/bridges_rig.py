"""The real bridges process under measurement, with a stand-in for the callback: what it costs, plays and says.

The stand-in is a thread here: 60 times a second it takes limb frames and latents from the shared block and writes a
control record that moves, and a note now and then. Processor time is that of the bridges process with all its threads,
user and system; the embedded NATS server is a process of its own and not in it.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from echelon_engine import rings
from echelon_engine.block import SharedBlock
from echelon_engine.config_file import make, to_json
from echelon_engine.memory import CONTROL, DEVICES, EVENT, LIMB_FRAME, NOTE_OFF, NOTE_ON, PRESENT

RATE_HZ = 60
BEATS_PER_FRAME = 2.0 / RATE_HZ
NOTE_FRAMES = 12
PATIENCE_S = 60.0
STOP_S = 5.0


class Callback(threading.Thread):
    """Does at the shared block what the audio callback does. Counts frames of bodies: `played` all, `kept` those
    numbered from `ours` on.
    """

    def __init__(self, shared: Any, ours: int) -> None:
        super().__init__(daemon=True)
        self.played = self.kept = self.latents = 0
        self._shared, self._ours = shared, ours
        self._ended = threading.Event()
        self._frame, self._devices = np.zeros(1, LIMB_FRAME), np.zeros(1, DEVICES)
        self._control, self._event = np.zeros(1, CONTROL), np.zeros(1, EVENT)
        random = np.random.default_rng(1)
        self._positions, self._latents, self._z = (random.random((97, n)) for n in (32, 25, 32))
        for _ in range(2):  # compiled or loaded before anybody is measured
            self._take()
        self._control["epoch"] = self._event["epoch"] = 1

    def run(self) -> None:
        begin, frame = time.monotonic(), 0
        while not self._ended.wait(max(begin + frame / RATE_HZ - time.monotonic(), 0.0)):
            self._take()
            self._emit(frame)
            frame += 1

    def _take(self) -> None:
        for ring in self._shared["frames"]:
            while rings.pop(self._frame, ring):
                self.played += 1
                self.kept += int(self._frame["number"][0] >= self._ours)
        self.latents += rings.take(self._devices, self._shared["devices"])

    def _emit(self, frame: int) -> None:
        now_ns, control, event = time.monotonic_ns(), self._control, self._event
        control["frame"], control["sample"], control["time_ns"] = frame, 800 * frame, now_ns
        control["motion_arrival_ns"], control["dac_ns"] = now_ns - 15_000_000, now_ns + 10_000_000
        control["flags"], control["tempo_bpm"] = PRESENT, 120.0
        control["beat"], control["bar"] = BEATS_PER_FRAME * frame, int(BEATS_PER_FRAME * frame / 4)
        control["position"], control["z"] = self._positions[frame % 97], self._z[frame % 97]
        control["latent"], control["y"] = self._latents[frame % 97], self._z[frame % 97]
        control["x"], control["c"], control["energy"] = self._z[frame % 97, :6], 0.5, self._z[frame % 97, 0]
        if frame % (NOTE_FRAMES // 2) == 0:
            event["frame"], event["sample"], event["time_ns"] = frame, 800 * frame, now_ns
            event["kind"] = NOTE_OFF if frame % NOTE_FRAMES else NOTE_ON
            event["key"], event["pitch"], event["velocity"] = 1, 60.0, 0.5
            rings.push(self._shared["events"], event)
        rings.push(self._shared["records"], control)

    def restart_counts(self) -> None:
        """Count from 0 again."""
        self.played = self.kept = self.latents = 0

    def end(self) -> None:
        """End the thread."""
        self._ended.set()
        self.join()


class Served:
    """The bridges process on a block of its own: `callback`, `ports`, `cpu_s()`, `ask()`, `said`; made by `serve`."""

    def __init__(self, name: str, shared: Any, settings: dict[str, Any], ours: int) -> None:
        shared["counters"]["start_ns"] = time.monotonic_ns()
        self.said: dict[str, dict[str, Any]] = {}  # the newest event of each kind
        self.texts: list[str] = []
        self._answers = 0
        self._changed = threading.Condition()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "echelon_bridges.bridges_process", "--name", name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        threading.Thread(target=self._listen, daemon=True).start()
        self._tell(to_json(make({"engine.name": name, "session.log": "", **settings})))
        self.wait_for("ready")
        self.callback = Callback(shared, ours)
        self.callback.start()

    def _tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            event = json.loads(line)
            with self._changed:
                self.said[event["event"]] = event
                if "text" in event:
                    self.texts.append(event["text"])
                self._changed.notify_all()

    def wait_for(self, event: str) -> dict[str, Any]:
        """Return the newest event of a kind once there is one."""
        with self._changed:
            if not self._changed.wait_for(lambda: event in self.said or "error" in self.said, PATIENCE_S):
                raise RuntimeError(f"the bridges did not say {event}: {self.texts}")
            if event not in self.said:
                raise RuntimeError(f"the bridges ended: {self.said['error']['text']}")
            return self.said[event]

    def ask(self, **request: Any) -> dict[str, Any]:
        """Return the answer to a request."""
        with self._changed:
            self.said.pop("answer", None)
        self._answers += 1
        self._tell(json.dumps({**request, "id": self._answers}))
        return self.wait_for("answer")

    def cpu_s(self) -> float:
        """Return the seconds of processor that the process has used, user and system, with all its threads."""
        # Linux: the clock of another process is the complement of its number, shifted by 3, and 2 for "scheduled time".
        return time.clock_gettime(~self.process.pid << 3 | 2)

    def rss_mb(self) -> float:
        """Return its resident memory in megabytes."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)

    def end(self) -> None:
        """End the process and the stand-in."""
        self.callback.end()
        self.process.terminate()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextlib.contextmanager
def serve(settings: dict[str, Any], ours: int = 0) -> Iterator[Served]:
    """Run the bridges with these settings until the block is left."""
    name = f"load{os.getpid()}"
    block = SharedBlock.create(name)
    try:
        served = Served(name, block.shared, settings, ours)
        try:
            yield served
        finally:
            served.end()
    finally:
        block.unlink()
