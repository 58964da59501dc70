"""Cues of a running engine of tiny processes: by the command, by keys of a terminal, and through deaths."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engines import COMMAND, PATIENCE_S, Engine, left_behind, wait_for

from echelon_bridges import control, supervisor
from echelon_engine import block, rings
from echelon_engine.errors import UserError

FAKE = Path(__file__).with_name("fake_engine.py")
SHOW = """
[presets.full]
track.kick.mute = false
[[cue]]
name = "opening"
style = "ambient"
master = -12
track.kick.mute = true
[[cue]]
name = "groove"
use = ["full"]
style = "techno"
"energy_scale.1" = 3
[[cue]]
name = "end"
mute = true
"""
pytestmark = pytest.mark.realtime


@pytest.fixture(scope="module", autouse=True)
def _compiled() -> None:
    """Have the supervisor's few kernels in the cache."""
    supervisor._import_rings()


@pytest.fixture
def show(tmp_path: Path) -> Path:
    """A show of three cues."""
    path = tmp_path / "show.toml"
    path.write_text(SHOW)
    return path


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Engine]]:
    """Start engines; afterwards none of their processes, sockets or blocks may be left."""
    engines: list[Engine] = []

    def begin(*pairs: str) -> Engine:
        name = f"c{os.getpid()}"
        command = [sys.executable, str(FAKE), name, "0", "plain", "plain", *pairs]
        engines.append(Engine(command, name, tmp_path, ECHELON_TEST_LOG=str(tmp_path / "ends.log")))
        return engines[-1]

    yield begin
    for engine in engines:
        engine.clear()


def cue(engine: Engine, tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command `cue`."""
    command = [*COMMAND, "cue", *words, "--name", engine.name]
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_cues_by_command_survive_deaths(
    start: Callable[..., Engine], show: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each word of `cue` does what it says, refusals have the right exit code, and restarts change nothing."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    engine = start(f"show.file={show}")
    assert engine.ready()["cue"]["number"] == 0
    done = cue(engine, tmp_path, "next")
    assert (done.returncode, done.stdout) == (0, "cue 1 of 3: opening; next: groove\n"), done.stderr
    attached = block.SharedBlock.attach(engine.name)
    triple = attached.shared["settings"]
    now = rings.newest(triple)
    assert (float(now["master_db"]), int(now["track_mute"][0])) == (-12.0, 1)
    assert cue(engine, tmp_path, "Groove").stdout == "cue 2 of 3: groove; next: end\n"
    now = rings.newest(triple)
    assert (float(now["energy_scale"][1]), int(now["track_mute"][0])) == (3.0, 0)
    listed = cue(engine, tmp_path).stdout.splitlines()
    assert len(listed) == 3
    assert listed[1].startswith("*   2 groove")
    assert "energy_scale.1 3" in listed[1]
    wrong = cue(engine, tmp_path, "grove")
    assert wrong.returncode == 2
    assert "'groove'" in wrong.stderr
    assert engine.ask(command="set", key="cue", value="back") == {"key": "cue", "value": "opening"}
    assert engine.ask(command="set", key="style", value="next")["value"] == "breakbeat"
    for part in ("bridges", "audio"):
        epoch = engine.status()["epoch"]
        os.kill(engine.pids()[part], signal.SIGKILL)
        wait_for(lambda before=epoch: engine.status()["epoch"] > before, f"{part} to return")
        engine.ready()
    assert engine.status()["cue"]["name"] == "opening"
    assert float(rings.newest(triple)["master_db"]) == -12.0
    assert engine.ask(command="get")["values"]["cue"] == "opening"
    assert engine.ask(command="cue", which="3")["cue"]["next"] == ""
    with pytest.raises(UserError, match="cue 3 is the last"):
        engine.ask(command="cue", which="next")
    assert "event=cue number=2 name=groove next=end" in engine.said()
    del triple
    attached.close()
    engine.process.terminate()
    assert engine.end() == 0
    assert left_behind(engine.name, tmp_path) == []


def test_a_show_that_is_no_good_ends_the_start(start: Callable[..., Engine], tmp_path: Path) -> None:
    """The start is refused as wrong use, with the place, before any process is started."""
    (tmp_path / "bad.toml").write_text("[[cue]]\nname = 'x'\ntempo = 900\n")
    engine = start(f"show.file={tmp_path / 'bad.toml'}")
    assert engine.end() == 2
    assert "cue 1 'x': tempo = '900': must be a number from 20 to 300 bpm" in engine.said()
    assert left_behind(engine.name, tmp_path) == []


def test_taps_and_a_clock_that_nobody_sends(start: Callable[..., Engine]) -> None:
    """Taps at stated times are a tempo; an external tempo without a clock is answered with a notice, and logged."""
    engine = start()
    engine.ready()
    now_ns = time.monotonic_ns()
    for i in range(3):
        answer = engine.ask(command="set", key="tap", value="now", time_ns=now_ns - 800_000_000 + i * 400_000_000)
    assert answer["value"] == "150 bpm"
    assert engine.ask(command="get")["values"]["tempo"] == "150 bpm"
    answer = engine.ask(command="set", key="tempo_source", value="external")
    assert "without a MIDI input or Link" in answer["notice"]
    assert engine.said().count("without a MIDI input or Link") == 1
    with pytest.raises(UserError, match="not installed"):
        engine.ask(command="set", key="mode", value="diffusion")
    engine.process.terminate()
    assert engine.end() == 0


class Seat:
    """A terminal of its own in which an engine is started, as a person's shell does."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.ours, self.theirs = pty.openpty()
        self.before = termios.tcgetattr(self.theirs)

        def take() -> None:
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            command, stdin=self.theirs, stdout=self.theirs, stderr=self.theirs, env=environment, preexec_fn=take
        )
        os.set_blocking(self.ours, False)
        self.text = ""

    def modes(self) -> int:
        """Return the terminal's local modes."""
        return int(termios.tcgetattr(self.theirs)[3])

    def read(self) -> str:
        """Return everything shown so far."""
        with contextlib.suppress(BlockingIOError, OSError):
            while data := os.read(self.ours, 65536):
                self.text += data.decode("utf-8", "replace")
        return self.text

    def close(self) -> None:
        """End it."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.ours)
        os.close(self.theirs)


@pytest.fixture
def seat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Seat]]:
    """Start an engine in a terminal."""
    seats: list[Seat] = []
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))

    def begin(*pairs: str) -> Seat:
        command = [sys.executable, str(FAKE), f"k{os.getpid()}", "0", "plain", "plain", *pairs]
        seats.append(Seat(command, {**os.environ, "ECHELON_TEST_LOG": str(tmp_path / "ends.log"), "COLUMNS": "200"}))
        return seats[-1]

    yield begin
    for each in seats:
        each.close()


def asked(**request: Any) -> dict[str, Any]:
    """Ask the engine in the terminal; {} while it does not answer."""
    with contextlib.suppress(UserError):
        return control.request(f"k{os.getpid()}", **request)
    return {}


def number() -> int:
    """Return the number of its cue, -1 while it does not answer."""
    cue = asked(command="status").get("status", {}).get("cue")
    return -1 if cue is None else int(cue["number"])


@pytest.mark.parametrize("end", ["ctrl-c", "kill"])
def test_keys_step_through_the_show_and_the_terminal_is_given_back(
    seat: Callable[..., Seat], show: Path, end: str
) -> None:
    """Space, n and b step, t taps, other keys do nothing; the modes come back, also after children were killed."""
    here = seat(f"show.file={show}")
    wait_for(lambda: "next cue" in here.read(), "the keys")
    assert not here.modes() & (termios.ICANON | termios.ECHO)
    wait_for(lambda: number() == 0, "the engine")
    for key, expected in ((" ", 1), ("n", 2), ("x\x1b[A", 2), ("b", 1), ("b", 1), ("n", 2)):
        os.write(here.ours, key.encode())
        wait_for(lambda n=expected: number() == n, f"cue {expected} by {key!r}")
    assert "no cue comes before" in here.read()
    wait_for(lambda: "cue 2/3 groove" in here.read(), "the status line")
    for _ in range(2):
        os.write(here.ours, b"t")
        time.sleep(0.5)
    wait_for(lambda: asked(command="get").get("values", {}).get("tap") == "2 taps", "two taps")
    if end == "kill":
        processes = asked(command="status")["status"]["processes"]
        for process in processes:
            if process["name"] != "supervisor":
                os.kill(process["pid"], signal.SIGKILL)
    os.write(here.ours, b"\x03")  # Ctrl-C, of the terminal itself
    wait_for(lambda: here.process.poll() is not None, "the end")
    assert here.process.returncode == 0, here.read()
    assert termios.tcgetattr(here.theirs) == here.before


def test_without_a_show_the_terminal_is_left_alone(seat: Callable[..., Seat]) -> None:
    """There is nothing to step through: line mode and echo stay."""
    here = seat()
    wait_for(lambda: asked(command="status"), "the engine")
    assert here.modes() & termios.ICANON
    assert here.modes() & termios.ECHO
    here.process.terminate()
    assert here.process.wait(PATIENCE_S) == 0
    assert termios.tcgetattr(here.theirs) == here.before


def test_in_the_background_keys_are_the_shells(show: Path, tmp_path: Path) -> None:
    """An engine that is not in the terminal's foreground neither stops nor takes what is typed."""
    script = (
        "import asyncio, os, sys, termios\n"
        "from echelon_bridges.keys import Keys\n"
        "os.setpgid(0, 0)\n"  # a job in the background
        "async def main():\n"
        "    keys = Keys(0, lambda key, ns: print('pressed', flush=True))\n"
        "    print('reads' if keys.look() else 'leaves', flush=True)\n"
        "    await asyncio.sleep(0.3)\n"
        "    keys.look()\n"
        "    keys.close()\n"
        "asyncio.run(main())\n"
    )
    parent = f"import subprocess, sys; sys.exit(subprocess.run([sys.executable, '-c', {script!r}]).returncode)"
    here = Seat([sys.executable, "-c", parent], dict(os.environ))
    try:
        os.write(here.ours, b"n\n")
        assert here.process.wait(PATIENCE_S) == 0
        assert "leaves" in here.read()
        assert "pressed" not in here.read()
        assert np.array_equal(termios.tcgetattr(here.theirs)[3], here.before[3])
    finally:
        here.close()
