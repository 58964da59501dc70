"""A private JACK server on its dummy driver for the tests that need one, and nothing left behind of it."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


class Jack:
    """The server `name`, 48 kHz and 256 frames; it can be stopped or killed, and started again.

    A server that stalls drops the MIDI of the cycles it missed, unless it is `synchronous`; then it waits for its
    clients, and all of them are late with it.
    """

    def __init__(self, name: str, folder: Path, synchronous: bool = False) -> None:
        self.name, self._log = name, folder / "jackd.log"
        self._modes = ["-S"] if synchronous else []
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it is there."""
        with self._log.open("ab") as log:
            command = ["jackd", *self._modes, "-n", self.name, "-d", "dummy", "-r", "48000", "-p", "256"]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        subprocess.run(["jack_wait", "-s", self.name, "-w", "-t", "10"], check=True, capture_output=True)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it."""
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(10)
            self.process = None

    def sweep(self) -> None:
        """Remove what JACK's library leaves of clients that were killed with their server, or outlived it."""
        for pattern in (f"jack_sem.*_{self.name}_*", f"jack_{self.name}_*"):
            for left in Path("/dev/shm").glob(pattern):
                left.unlink(missing_ok=True)


@contextlib.contextmanager
def private_server(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, synchronous: bool = False
) -> Iterator[Jack]:
    """Run a server that every JACK client of this test finds, and no other does."""
    monkeypatch.setenv("JACK_DEFAULT_SERVER", name)
    monkeypatch.setenv("JACK_NO_START_SERVER", "1")
    monkeypatch.setenv("JACK_NO_AUDIO_RESERVATION", "1")
    server = Jack(name, folder, synchronous)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        server.sweep()


@contextlib.contextmanager
def midi_server(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, peers: list[Any], synchronous: bool = False
) -> Iterator[Jack]:
    """Run a private server for rtmidi's clients of this process, `peers`, which are deleted in the end."""
    with private_server(name, folder, monkeypatch, synchronous) as server:
        yield server
        server.stop()
        for client in peers:  # RtMidi may crash where a port is closed while JACK runs: only now
            client.delete()
        peers.clear()
