"""Whole engines under test: started, asked, killed, and looked after for what they leave behind."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from echelon_bridges import control, lock
from echelon_engine import block
from echelon_engine.errors import UserError

COMMAND = (sys.executable, "-m", "echelon_bridges.cli")
PATIENCE_S = 60.0  # the machine may be busy; nothing here measures speed
COMPILE_S = 300.0  # the first start of a fresh version compiles


def free_port() -> int:
    """Return a UDP port that nobody uses now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
    """Return the first true value of `condition`."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError(f"waited in vain for {what}")


def stolen_s() -> float:
    """Return for how many seconds in all others had this virtual machine's cores; 0 where that is not told."""
    try:
        cores = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()
    except OSError:
        return 0.0
    return int(cores[8]) / os.sysconf("SC_CLK_TCK")


def alive(pid: int) -> bool:
    """Return whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        try:
            os.kill(pid, 0)
        except OSError:
            return False
        return not Path("/proc/self").exists()


def left_behind(name: str, runtime: Path) -> list[str]:
    """Return what the engine `name` left: block, lock, socket folder, processes (where /proc shows them)."""
    paths = (block.path_of(name), lock.path_of(name), runtime / "echelon")
    processes: list[str] = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            command = path.read_bytes()
            if f"\0--name\0{name}\0".encode() in command:
                processes.append(command.replace(b"\0", b" ").decode())
    return [*(str(path) for path in paths if path.exists()), *processes]


class Engine:
    """One engine: `command` started with its sockets under `runtime`, its events in `said()`."""

    def __init__(self, command: Sequence[str], name: str, runtime: Path, **environment: str) -> None:
        self.name = name
        self._err = runtime / f"{name}-{time.monotonic_ns()}.err"
        with self._err.open("ab") as stream:
            self.process = subprocess.Popen(
                command, stderr=stream, env={**os.environ, "XDG_RUNTIME_DIR": str(runtime), **environment}
            )

    def said(self) -> str:
        """Return everything it wrote to stderr so far."""
        return self._err.read_text("utf-8")

    def ask(self, **request: Any) -> dict[str, Any]:
        """Ask over the control socket."""
        return control.request(self.name, **request)

    def status(self) -> dict[str, Any]:
        """Return the status document."""
        return dict(self.ask(command="status")["status"])

    def ready(self, patience_s: float = PATIENCE_S) -> dict[str, Any]:
        """Wait until every process is ready; return the status document."""

        def all_ready() -> dict[str, Any] | None:
            if self.process.poll() is not None:
                raise AssertionError(f"it ended with {self.process.returncode}: {self.said()}")
            try:
                document = self.status()
            except UserError:
                return None
            return document if all(p["state"] == "ready" for p in document["processes"]) else None

        return dict(wait_for(all_ready, f"readiness of {self.name}", patience_s))

    def pids(self) -> dict[str, int]:
        """Return the process ids by name."""
        return {p["name"]: p["pid"] for p in self.status()["processes"]}

    def end(self) -> int:
        """Wait for the end and return the exit code."""
        return self.process.wait(PATIENCE_S)

    def clear(self) -> None:
        """Make sure that nothing outlives the test."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for path in (block.path_of(self.name), lock.path_of(self.name)):
            path.unlink(missing_ok=True)
