"""The real command on a real audio server: JACK with its dummy driver."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from engines import COMPILE_S, Engine, left_behind, wait_for
from jack_rig import private_server

from echelon_bridges.devices import portaudio_problem

pytestmark = [
    pytest.mark.realtime,
    pytest.mark.skipif(shutil.which("jackd") is None, reason="jackd is not installed"),
    pytest.mark.skipif(bool(portaudio_problem()), reason="PortAudio cannot be used here"),
]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """A private JACK server with the dummy driver, 48 kHz and 256 frames."""
    with private_server(f"echelon-test-{os.getpid()}", tmp_path, monkeypatch) as jack:
        yield jack.name


def keeps_time(engine: Engine) -> bool:
    """Return whether the blocks of two seconds are as many as the clock says, within 1 %."""
    before, began = engine.status()["blocks"], time.monotonic()
    wait_for(lambda: time.monotonic() > began + 2.0, "two seconds")
    blocks, seconds = engine.status()["blocks"] - before, time.monotonic() - began
    return abs(blocks - seconds * 48000 / 256) <= 0.01 * blocks + 2


def test_it_plays_on_jack(server: str, tmp_path: Path) -> None:
    """On JACK the block count stays within 1 % of the clock, sound comes out, and Ctrl-C leaves nothing."""
    name = f"jack-{os.getpid()}"
    command = [sys.executable, "-m", "echelon_bridges.cli", "run", "--name", name, "--device", "system"]
    ports = ["--set", "ports.mocopi=0", "--set", "ports.vmc=0", "--set", "audio.block=256"]
    engine = Engine([*command, *ports], name, tmp_path)
    try:
        status = engine.ready(COMPILE_S)
        assert status["device"] == "system"
        # The dummy driver itself skips cycles when the machine stalls: one quiet window of ten is enough.
        assert any(keeps_time(engine) for _ in range(10)), "no two seconds in which all blocks came"
        wait_for(lambda: engine.status()["loudness_db"] > -60.0, "sound")
        engine.process.send_signal(signal.SIGINT)
        assert engine.end() == 0
        assert not left_behind(name, tmp_path)
    finally:
        engine.clear()
