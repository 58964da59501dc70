"""The embedded server: nats-server on loopback with JetStream, a child that dies with this process.

One engine, one store: `<folder>/<engine>`. Where another NATS server (of another engine, say) has the port, that one is
used instead; when it goes, this engine starts its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from echelon_engine.errors import UserError

LOOPBACK = "127.0.0.1"
START_S = 5.0
LEAVE_S = 3.0  # for an earlier server of this very engine to go
STOP_S = 0.4
HUNG_S = 60.0  # a server of our own that lets nobody connect for so long is replaced
MEMORY_BYTES = 64 << 20  # JetStream's memory store, which nothing here uses
LOG_BYTES = 1 << 20


def binary() -> str:
    """Return the path of nats-server: the extra's, or the system's. Raises `UserError` where there is none."""
    beside = Path(sysconfig.get_path("scripts")) / "nats-server"
    found = str(beside) if beside.is_file() else shutil.which("nats-server")
    if found is None:
        raise UserError("nats.url = embedded", "needs the program nats-server", "pip install 'echelon-engine[nats]'")
    return found


def folder_of(engine: str, configured: str) -> Path:
    """Return where the embedded server of an engine keeps its files: never the same for two engines."""
    if configured:
        return Path(configured).expanduser() / engine
    state = os.environ.get("XDG_STATE_HOME", "") or "~/.local/state"
    return Path(state).expanduser() / "echelon" / "nats" / engine


def greeting(port: int, patience_s: float = 1.0, host: str = LOOPBACK) -> dict[str, Any] | None:
    """Return what a NATS server on this port says first; {} from something else, None from nobody. Blocks."""
    try:
        with socket.create_connection((host, port), patience_s) as line:
            line.settimeout(patience_s)
            with line.makefile("rb") as stream:
                first = stream.readline(65536)
            line.sendall(b"")
    except TimeoutError:
        return {}
    except OSError:
        return None
    with contextlib.suppress(ValueError):
        word, _, rest = first.partition(b" ")
        if word == b"INFO":
            return dict(json.loads(rest))
    return {}


class EmbeddedServer:
    """The server of the engine `name`; use it from one thread, which must outlive it."""

    def __init__(self, name: str, port: int, folder: str, notice: Callable[[str], None]) -> None:
        self.name, self.folder = name, folder_of(name, folder)
        self.starts = 0
        self._port, self._notice = port, notice
        self._process: subprocess.Popen[bytes] | None = None
        self._address = 0
        self._own_name = f"echelon-{name}"
        self._trusted_s = 0.0

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    async def ensure(self) -> str:
        """Return the URL of a server that runs, after starting one if there is need. Raises `UserError`."""
        if self.pid is not None and time.monotonic() - self._trusted_s < HUNG_S:
            return f"nats://{LOOPBACK}:{self._address}"
        self.stop()
        if self._port and (found := await self._found()) is not None:
            if "server_id" not in found:
                raise UserError(
                    f"port {self._port}",
                    "is taken by something that is no NATS server",
                    "set nats.port to another, or 0",
                )
            return self._joined()
        try:
            self._address = await self._start()
        except UserError:
            # Another engine without its server may have started one a moment before.
            if not (self._port and "server_id" in (await self._found() or {})):
                raise
            return self._joined()
        self.trust()
        self._notice(f"NATS server on {LOOPBACK}:{self._address}, bars are stored in {self.folder}")
        return f"nats://{LOOPBACK}:{self._address}"

    def _joined(self) -> str:
        """Say that another's server is used, and return its URL."""
        self._notice(
            f"port {self._port} is taken by a NATS server: using that one, bars are stored there; "
            "set nats.port to another for one of its own"
        )
        return f"nats://{LOOPBACK}:{self._port}"

    def trust(self) -> None:
        """Note that the server is connected to now."""
        self._trusted_s = time.monotonic()

    async def _found(self) -> dict[str, Any] | None:
        """Return what answers on the port; an earlier server of this engine (its process was killed) is waited for."""
        deadline = time.monotonic() + LEAVE_S
        while True:
            found = await asyncio.to_thread(greeting, self._port)
            if not found or found.get("server_name") != self._own_name or time.monotonic() > deadline:
                return found
            await asyncio.sleep(0.1)

    async def _start(self) -> int:
        """Start the server and return its port once it answers."""
        program, ports = binary(), self.folder / "ports"
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            ports.mkdir(mode=0o700, exist_ok=True)
            for stale in ports.iterdir():
                stale.unlink()
            settings, log = self.folder / "server.conf", self.folder / "server.log"
            log.unlink(missing_ok=True)
            settings.write_text(json.dumps(self._settings(ports, log), indent=1), "utf-8")
        except OSError as error:
            remedy = "set nats.folder to one that can be written"
            raise UserError(str(self.folder), f"cannot be written ({error.strerror})", remedy) from None
        keeper = str(Path(__file__).with_name("keeper.py"))
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", keeper, str(os.getpid()), program, "-c", str(settings)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.starts += 1
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise UserError(
                    f"port {self._port}", f"nats-server ended: {_fatal(log)}", "set nats.port to another, or 0"
                )
            for path in ports.glob("*.ports"):
                with contextlib.suppress(OSError, ValueError, KeyError, IndexError):
                    port = int(json.loads(path.read_text("utf-8"))["nats"][0].rsplit(":", 1)[1])
                    if await asyncio.to_thread(greeting, port):
                        return port
            await asyncio.sleep(0.02)
        self.stop()
        raise UserError("nats-server", f"did not answer within {START_S:g} s", f"see {log}")

    def _settings(self, ports: Path, log: Path) -> dict[str, Any]:
        return {
            "server_name": self._own_name,
            "host": LOOPBACK,
            "port": self._port or -1,
            "ports_file_dir": str(ports),
            "log_file": str(log),
            "logfile_size_limit": LOG_BYTES,
            "logfile_max_num": 2,
            # Every bar is on the disk before it is acknowledged: it survives a power cut, and one a second is no load.
            "jetstream": {"store_dir": str(self.folder), "max_mem": MEMORY_BYTES, "sync_interval": "always"},
        }

    def stop(self) -> None:
        """End the server; it has half a second to do so by itself."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(STOP_S)


def _fatal(log: Path) -> str:
    """Return why the server says that it ended."""
    with contextlib.suppress(OSError):
        lines = log.read_text("utf-8", "replace").splitlines()
        for line in reversed(lines):
            if "[FTL]" in line or "[ERR]" in line:
                return line.partition("] ")[2].partition("] ")[2] or line
    return "it does not say why"
