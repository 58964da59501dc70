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
from engines import COMPILE_S, Engine, left_behind, stolen_s, wait_for
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
    """Return whether the blocks of two seconds are as many as the clock says, within 4 % and what others took.

    What this would find is a wrong rate or block: 44.1 for 48 kHz is 8 %. What is lost to a busy machine is measured by
    benchmarks/jack.py.
    """
    before, began, stolen = engine.status()["blocks"], time.monotonic(), stolen_s()
    wait_for(lambda: time.monotonic() > began + 2.0, "two seconds")
    blocks, seconds = engine.status()["blocks"] - before, time.monotonic() - began
    expected = seconds * 48000 / 256
    lost = (stolen_s() - stolen) * 48000 / 256
    return 0.96 * expected - lost - 2 <= blocks <= 1.04 * expected + 2


def test_it_plays_on_jack(server: str, tmp_path: Path) -> None:
    """On JACK the block count keeps to the clock, sound comes out, and Ctrl-C leaves nothing."""
    name = f"jack-{os.getpid()}"
    command = [sys.executable, "-m", "echelon_bridges.cli", "run", "--name", name, "--device", "system"]
    ports = ["--set", "ports.mocopi=0", "--set", "ports.vmc=0", "--set", "audio.block=256"]
    engine = Engine([*command, *ports], name, tmp_path)
    try:
        status = engine.ready(COMPILE_S)
        assert status["device"] == "system"
        # The dummy driver itself skips cycles when the machine stalls: one quiet window of ten is enough.
        assert any(keeps_time(engine) for _ in range(10)), "no two seconds whose blocks kept to the clock"
        wait_for(lambda: engine.status()["loudness_db"] > -60.0, "sound")
        engine.process.send_signal(signal.SIGINT)
        assert engine.end() == 0
        assert not left_behind(name, tmp_path)
    finally:
        engine.clear()
