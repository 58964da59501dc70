"""The real command under measurement: `echelon-engine run` as a process of its own, ready, and gone afterwards."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any

from echelon_bridges import control
from echelon_engine.errors import UserError

PATIENCE_S = 300.0  # a cold start compiles
STOP_S = 10.0


def free_port() -> int:
    """Return a UDP port that nobody uses now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def status(name: str) -> dict[str, Any]:
    """Return the status document of a running engine."""
    return dict(control.request(name, command="status")["status"])


def change(name: str, key: str, value: str) -> None:
    """Change a live setting of a running engine."""
    control.request(name, command="set", key=key, value=value)


def _all_ready(name: str) -> bool:
    try:
        document = status(name)
    except UserError:
        return False
    return all(process["state"] == "ready" for process in document["processes"])


@contextlib.contextmanager
def running(name: str, options: Sequence[str], environment: dict[str, str] | None = None) -> Iterator[None]:
    """Run an engine called `name` until the block is left; raises RuntimeError with what it said when it fails."""
    command = [sys.executable, "-m", "echelon_bridges.cli", "run", "--name", name, *options]
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stderr=said, stdout=said, env=environment or dict(os.environ))
        try:
            deadline = time.monotonic() + PATIENCE_S
            while not _all_ready(name):
                if process.poll() is not None or time.monotonic() > deadline:
                    said.seek(0)
                    raise RuntimeError(f"the engine did not start: {said.read().strip()[-800:]}")
                time.sleep(0.1)
            yield
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
