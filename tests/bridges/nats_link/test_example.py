"""The example that the documents show, run as it is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from engines import wait_for
from nats_rig import Server, Stage, needs_nats

EXAMPLE = Path(__file__).resolve().parents[3] / "deploy" / "nats_consumer.py"
pytestmark = [*needs_nats, pytest.mark.skipif(not EXAMPLE.exists(), reason="installed without deploy")]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[tuple[Server, Stage]]:
    """A server and an engine's outlet that plays."""
    server = Server(tmp_path)
    playing = Stage(url=server.url)
    wait_for(playing.connected, "the connection")
    playing.play(bar_frames=12)
    yield server, playing
    playing.close()
    server.close()


def test_consumer_prints_state_and_bars(stage: tuple[Server, Stage]) -> None:
    """The consumer prints levels and bars of a playing engine."""
    server, _ = stage
    code = f"import asyncio, runpy; main = runpy.run_path({str(EXAMPLE)!r})['main']; asyncio.run(main({server.url!r}))"
    with subprocess.Popen([sys.executable, "-u", "-c", code], stdout=subprocess.PIPE, text=True) as consumer:
        assert consumer.stdout is not None
        heard = set()
        for line in consumer.stdout:
            heard.add("bar" if line.startswith("bar ") and "tension" in line else "state" if "dBFS" in line else line)
            if {"bar", "state"} <= heard:
                break
        consumer.kill()
    assert heard == {"bar", "state"}
