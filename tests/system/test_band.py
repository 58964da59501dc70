"""The band through the real command: it plays, is told of, is changed on a bar line, and outlives every process."""

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from engines import COMMAND, COMPILE_S, Engine, wait_for

from echelon_engine.band import BAND
from echelon_models.music.styles import FOLDER

pytestmark = pytest.mark.realtime
FAST = ("--set", "clock.tempo_bpm=240", "--set", "clock.source=fixed")  # a bar a second


def test_band_plays_is_told_of_and_outlives_kills(start: Callable[..., Engine], tmp_path: Path) -> None:
    """A style of one's own plays, goes bad and is left; audio and bridges are killed; the session tells all of it."""
    own = tmp_path / "own"
    own.mkdir()
    mine = own / "mine.toml"
    mine.write_text((FOLDER / "techno.toml").read_text())
    logs = tmp_path / "logs"
    engine = start(*FAST, "--log", str(logs), "--set", f"band.styles={own}", "--set", "band.style=mine")
    engine.ready(COMPILE_S)

    def band() -> dict[str, object]:
        return dict(engine.status()["band"])

    wait_for(lambda: band()["style"] == "mine", "the style to play")
    assert band()["section"] == "intro"
    assert set(band()["parameters"]) == {row.name for row in BAND}  # type: ignore[call-overload]
    assert engine.status()["tempo_source"] == "fixed"
    mine.write_text("tempo = [1, 2]\n")
    wait_for(lambda: "mine.toml" in engine.said(), "the warning")
    assert "goes on in its style" in engine.said()
    grid = band()["grid"]
    wait_for(lambda: band()["grid"] != grid, "the next grid")
    assert band()["style"] == "mine"
    engine.ask(command="set", key="style", value="house")
    assert band()["wanted"] == "house"
    wait_for(lambda: band()["style"] == "house", "the other style")

    for victim in ("audio", "bridges"):
        pid = engine.pids()[victim]
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda name=victim, old=pid: engine.pids()[name] not in (None, old), f"{victim} to return")
        engine.ready()
        grid = band()["grid"]
        wait_for(lambda before=grid: band()["grid"] not in (0, before), "a grid of the new process")
        wait_for(lambda: band()["style"] == "house", "the style that was chosen")
    engine.process.send_signal(signal.SIGINT)
    assert engine.end() == 0
    assert engine.said().count("goes on in its style") == 1

    (session,) = logs.iterdir()
    bars = [json.loads(line) for line in (session / "bars.jsonl").read_text().splitlines()]
    assert {"mine", "house"} <= {bar["genre"] for bar in bars}
    played = [bar for bar in bars if bar["grid_number"]]
    assert len(played) >= 5
    assert all(bar["grid"] is not None for bar in played)
    assert max(max(bar["activations"]) for bar in played) > 0.001
    said = subprocess.run(
        [*COMMAND, "sessions", "inspect", str(session)], capture_output=True, text=True, check=True
    ).stdout
    assert "band: mine: intro" in said
    assert "band: house:" in said
    target = tmp_path / "a.mid"
    subprocess.run([*COMMAND, "sessions", "export", str(session), str(target)], check=True, capture_output=True)
    assert target.read_bytes()[:4] == b"MThd"


def test_unknown_style_is_refused_with_the_nearest(tmp_path: Path) -> None:
    """`run` with a style that does not exist ends with 2 and one line, before anything is started."""
    done = subprocess.run(
        [*COMMAND, "run", "--device", "null", "--name", f"s{os.getpid()}", "--set", "band.style=hause"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "XDG_CONFIG_HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)},
    )
    assert done.returncode == 2
    assert "did you mean 'house'?" in done.stderr
    assert len(done.stderr.splitlines()) == 1
