"""A real nats-server and a NATS outlet under test, fed as the bridges feed it."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engines import wait_for
from numpy.typing import NDArray

from echelon_bridges.messages.grids import Book
from echelon_bridges.nats_link.outlet import NatsOutlet
from echelon_engine.config import Config, Engine, Nats
from echelon_engine.errors import UserError
from echelon_engine.memory import CONTROL, EVENT, GRID, LIMB_FRAME

_BESIDE = Path(sysconfig.get_path("scripts")) / "nats-server"
PROGRAM = str(_BESIDE) if _BESIDE.is_file() else shutil.which("nats-server")
needs_nats = [
    pytest.mark.skipif(
        PROGRAM is None or importlib.util.find_spec("nats") is None, reason="the extra `nats` is not installed"
    ),
    pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning"),  # of nats-py
]
with contextlib.suppress(ImportError):
    importlib.import_module("nats")  # before any thread does: two at once would wait for each other
PERIOD_NS = round(1e9 / 60)
NO_EVENTS = np.zeros(0, EVENT)
NO_CONTROLS = np.zeros(0, CONTROL)


def free_tcp_port() -> int:
    """Return a TCP port of loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A nats-server that can be killed, stopped and started again on its port and store."""

    def __init__(self, folder: Path, settings: dict[str, Any] | None = None, *, jetstream: bool = True) -> None:
        self.port = free_tcp_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self._settings = folder / "server.conf"
        store = {"jetstream": {"store_dir": str(folder / "store")}} if jetstream else {}
        self._settings.write_text(
            json.dumps({"host": "127.0.0.1", "port": self.port, **store, **(settings or {})}), "utf-8"
        )
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it and wait until it listens."""
        assert PROGRAM is not None
        self.process = subprocess.Popen(
            [PROGRAM, "-c", str(self._settings)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for(self._listens, "nats-server")

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 0.5) as line:
            line.settimeout(0.5)
            return line.recv(4) == b"INFO"
        return False

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; after SIGKILL it is gone when this returns."""
        assert self.process is not None
        self.process.send_signal(number)
        if number == signal.SIGKILL:
            self.process.wait()

    def close(self) -> None:
        """End it, stopped or not."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()


class FakeDesk:
    """Answers like the desk of a running engine and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.notes: list[tuple[Any, ...]] = []

    def ask(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Answer as the control socket does."""
        self.asked.append(fields)
        match fields:
            case {"command": "set", "key": "unknown"}:
                raise UserError("unknown", "no such live setting", "settable are master")
            case {"command": "set"}:
                return {"key": fields["key"], "value": fields["value"]}
            case {"command": "cue"}:
                return {"cue": {"number": 2, "name": fields["which"]}}
            case {"command": "get"}:
                return {"values": {"master": "0 dB", "mute": "off"}}
            case {"command": "status"}:
                return {"status": STATUS}
        raise AssertionError(fields)

    def note_on(self, key: int, pitch: float, velocity: float, pan: float = 0.0) -> bool:
        """Remember it."""
        self.notes.append((key, pitch, velocity, pan))
        return True

    def note_off(self, key: int) -> bool:
        """Remember it."""
        self.notes.append((key,))
        return True


STATUS: dict[str, Any] = {
    "uptime_s": 1.0,
    "state": "active",
    "blocks": 10,
    "expected_blocks": 10,
    "underruns": 0,
    "late_blocks": 0,
    "overload_blocks": 0,
    "load_p50": 0.1,
    "load_p99": 0.2,
    "load_max": 0.3,
    "latency_ms": None,
    "drops": {"records": 0},
    "sensors": [],
}


def controls(first: int, count: int, *, bar_frames: int = 120, start_ns: int = 0) -> NDArray[Any]:
    """Return `count` control records from frame `first` on, `bar_frames` to a bar."""
    made = np.zeros(count, CONTROL)
    frames = first + np.arange(count)
    made["epoch"], made["frame"], made["state"], made["tempo_bpm"] = 1, frames, 2, 4 * 3600.0 / bar_frames
    made["time_ns"] = start_ns + frames * PERIOD_NS
    made["beat"], made["bar"] = frames * 4.0 / bar_frames, frames // bar_frames
    made["position"], made["z"] = 0.5, (frames % 7)[:, None]
    return made


def note_event(key: int, kind: int = 1) -> NDArray[Any]:
    """Return one note event of this moment."""
    made = np.zeros(1, EVENT)
    made["kind"], made["key"], made["pitch"], made["velocity"], made["epoch"] = kind, key, 60.0 + key, 0.5, 1
    made["time_ns"] = time.monotonic_ns()
    return made


def limb_frame(number: int) -> NDArray[Any]:
    """Return one limb frame of this moment."""
    made = np.zeros(1, LIMB_FRAME)
    made["rotation"][..., 3] = 1.0
    made["number"], made["time_ns"], made["valid"] = number, time.monotonic_ns(), (1 << 27) - 1
    return made


class Stage:
    """An outlet, its fake desk, what it said and what it injected; `play` feeds it from a thread at 60 Hz.

    With `grids` every bar has a new one, whose number is the bar's, counted from 1.
    """

    def __init__(self, name: str = "echelon", *, grids: bool = False, **nats: Any) -> None:
        self._grids = grids
        self._book = Book(("house",))
        self.config = Config(engine=Engine(name=name), nats=Nats(**nats))
        self.desk = FakeDesk()
        self.said: list[tuple[str, str]] = []
        self.injected: list[tuple[int, str, bytes, int]] = []
        self.outlet = NatsOutlet(
            self.config,
            self.desk,  # type: ignore[arg-type]
            lambda *motion: self.injected.append(motion),
            lambda event, text: self.said.append((event, text)),
            session="s",
            book=self._book,
        )
        self.frame = 0
        self.longest_s = 0.0
        self._ended = threading.Event()
        self._player: threading.Thread | None = None

    def offer(self, count: int, events: NDArray[Any] = NO_EVENTS, *, bar_frames: int = 120) -> None:
        """Offer the next control records."""
        made = controls(self.frame, count, bar_frames=bar_frames)
        made["time_ns"] += self._start_ns
        if self._grids:
            made["grid"] = made["bar"] + 1
            new = np.zeros(count, GRID)
            new["number"], new["bar"], new["cell"] = made["grid"], made["bar"], (made["grid"] % 81)[:, None, None]
            self._book.add(new)
        self.frame += count
        began = time.perf_counter()
        self.outlet.offer(made, events, time.monotonic_ns())
        self.longest_s = max(self.longest_s, time.perf_counter() - began)

    def play(self, *, bar_frames: int = 120) -> None:
        """Offer a record 60 times a second until `close`."""

        def feed() -> None:
            begin = time.monotonic()
            while not self._ended.wait(max(begin + self.frame / 60.0 - time.monotonic(), 0.0)):
                self.offer(1, bar_frames=bar_frames)

        self._start_ns = time.monotonic_ns()
        self._player = threading.Thread(target=feed, daemon=True)
        self._player.start()

    _start_ns = 0

    def connected(self) -> bool:
        """Return whether the outlet says so."""
        return bool(self.outlet.report()["connected"])

    def said_with(self, *parts: str) -> bool:
        """Return whether one sentence has all of these parts."""
        return any(all(part in text for part in parts) for _, text in self.said)

    def close(self) -> float:
        """Stop playing, close the outlet, return how many seconds that took."""
        self._ended.set()
        if self._player is not None:
            self._player.join()
        began = time.monotonic()
        self.outlet.close()
        return time.monotonic() - began


@contextlib.asynccontextmanager
async def client(url: str, **options: Any) -> AsyncIterator[Any]:
    """Connect as anybody else would."""
    import nats

    async def quiet(_: Exception) -> None:
        pass

    connection = await nats.connect(url, **{"error_cb": quiet, **options})
    try:
        yield connection
    finally:
        await connection.close()


def run(work: Callable[[], Awaitable[Any]], patience_s: float = 60.0) -> Any:
    """Run an asynchronous part of a test with a bound on its time."""
    return asyncio.run(asyncio.wait_for(work(), patience_s))  # type: ignore[arg-type]


async def stored_ids(connection: Any, name: str = "echelon") -> list[str]:
    """Return the ids of all stored bars and grids in the order of the stream."""
    stream = connection.jetstream(timeout=10)
    info = await stream.stream_info(f"ECHELON_{name}")
    ids = []
    for sequence in range(info.state.first_seq, info.state.last_seq + 1):
        message = await stream.get_msg(f"ECHELON_{name}", sequence)
        ids.append(json.loads(message.data)["id"])
    return ids


if __name__ == "__main__":
    sys.exit("a helper of tests")


async def listen(connection: Any, subject: str) -> asyncio.Queue[Any]:
    """Subscribe and return the queue of messages."""
    waiting: asyncio.Queue[Any] = asyncio.Queue()
    await connection.subscribe(subject, cb=waiting.put)
    await connection.flush()
    return waiting
