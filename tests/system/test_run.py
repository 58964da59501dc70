"""The real command `echelon-engine run` on the null device: sound, status, set, kills, Ctrl-C, mistakes."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from engines import COMMAND, COMPILE_S, Engine, alive, left_behind, stolen_s, wait_for

from echelon_bridges import lock
from echelon_engine import block, wav
from echelon_models.weights import built_in_path, initial_path, load, save

pytestmark = pytest.mark.realtime


def catches(pid: int, number: signal.Signals) -> bool:
    """Return whether the command's own handler is there: SIGTERM is caught only by it, not by the bare interpreter."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        time.sleep(0.5)  # no /proc on this system
        return True
    caught = int(status.split("SigCgt:")[1].split()[0], 16)
    return all(caught >> (each - 1) & 1 for each in (number, signal.SIGTERM))


def blocks(engine: Engine) -> int:
    """Return how many blocks the callback has counted."""
    return int(engine.status()["blocks"])


def plays_on(engine: Engine) -> None:
    """Wait until the callback has counted 20 more blocks than now."""
    before = blocks(engine)
    wait_for(lambda: blocks(engine) > before + 20, "more blocks")


def test_whole_life_status_set_kills_and_ctrl_c(start: Callable[..., Engine], tmp_path: Path) -> None:
    """It plays, answers status and set, survives kill -9 of bridges and audio, records, and Ctrl-C ends it cleanly."""
    engine = start("--record", str(tmp_path / "x.wav"))
    document = engine.ready(COMPILE_S)
    pids = engine.pids()
    assert document["device"] == "null"
    assert (document["rate_hz"], document["block"]) == (48000, 512)
    plays_on(engine)
    document = engine.status()
    assert abs(document["blocks"] - document["expected_blocks"]) <= max(0.02 * document["expected_blocks"], 8)
    wait_for(lambda: len(engine.status()["sensors"]) == 3, "the sensors' statistics")
    wait_for(lambda: engine.status()["energy"] > 0.05, "the dancer to move")
    wait_for(lambda: engine.status()["loudness_db"] > -60, "sound")

    assert engine.ask(command="set", key="tempo", value="93")["value"] == "93 bpm"
    wait_for(lambda: abs(engine.status()["tempo_bpm"] - 93) < 0.01, "the new tempo")
    engine.ask(command="set", key="mute", value="on")
    wait_for(lambda: engine.status()["loudness_db"] < -60, "silence")
    engine.ask(command="set", key="mute", value="off")
    wait_for(lambda: engine.status()["loudness_db"] > -60, "sound again")

    os.kill(pids["bridges"], signal.SIGKILL)
    plays_on(engine)
    engine.ready()
    after = engine.pids()
    assert after["audio"] == pids["audio"]
    assert after["bridges"] != pids["bridges"]

    os.kill(after["audio"], signal.SIGKILL)
    wait_for(lambda: engine.pids()["audio"] not in (None, after["audio"]), "the audio process to return")
    engine.ready()
    plays_on(engine)
    assert engine.status()["epoch"] == document["epoch"] + 2
    wait_for(lambda: engine.status()["loudness_db"] > -60, "sound from the new process")
    assert abs(engine.status()["tempo_bpm"] - 93) < 0.01, "live settings outlive the audio process"

    last = engine.pids()
    engine.process.send_signal(signal.SIGINT)
    assert engine.end() == 0
    assert not [name for name, pid in last.items() if alive(pid)]
    assert left_behind(engine.name, tmp_path) == []
    for path in (tmp_path / "x.wav", tmp_path / "x-2.wav"):  # the second by the new bridges
        sound, rate_hz = wav.read(path)
        assert rate_hz == 48000
        assert len(sound) > rate_hz // 4
        assert np.isfinite(sound).all()
        assert np.abs(sound).max() <= 1.0
    assert np.abs(sound[-32:]).max() < 1e-3, "it fades out before it stops"


def test_seconds_and_record(start: Callable[..., Engine], tmp_path: Path) -> None:
    """`--seconds 3 --record` ends by itself with a readable file of about that length that is not silent."""
    stolen = stolen_s()
    engine = start("--seconds", "3", "--record", str(tmp_path / "x.wav"))
    assert engine.process.wait(COMPILE_S) == 0, engine.said()
    sound, rate_hz = wav.read(tmp_path / "x.wav")
    missed_s = min(stolen_s() - stolen, 1.5)  # blocks that did not come are not in it
    assert 2.0 - missed_s < len(sound) / rate_hz < 6.0
    assert np.sqrt(np.mean(np.square(sound, dtype=np.float64))) > 1e-4
    assert left_behind(engine.name, tmp_path) == []


@pytest.mark.parametrize("moment_s", [0.0, 0.3, 1.0, 2.5])
def test_ctrl_c_at_any_moment(start: Callable[..., Engine], tmp_path: Path, moment_s: float) -> None:
    """Ctrl-C while importing, starting or playing: exit 0, no trace, nothing left."""
    engine = start()
    wait_for(lambda: catches(engine.process.pid, signal.SIGINT), "Python itself to start")
    time.sleep(moment_s)
    engine.process.send_signal(signal.SIGINT)
    assert engine.end() == 0, engine.said()
    assert "Traceback" not in engine.said()
    assert left_behind(engine.name, tmp_path) == []


def test_unknown_device_is_refused(tmp_path: Path) -> None:
    """An unknown device ends with exit code 1 and one line that says which."""
    done = subprocess.run(
        [*COMMAND, "run", "--device", "no such card", "--name", f"u{os.getpid()}", "--seconds", "2"],
        capture_output=True,
        text=True,
        timeout=COMPILE_S,
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
        check=False,
    )
    assert done.returncode == 1
    assert "no such card" in done.stderr
    assert "Traceback" not in done.stderr
    assert left_behind(f"u{os.getpid()}", tmp_path) == []


def test_taken_port_is_an_error_when_configured(start: Callable[..., Engine], tmp_path: Path) -> None:
    """A port that a person chose and that is taken ends the engine with exit code 1 and its name."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        engine = start("--set", f"ports.mocopi={port}", "--set", "ports.vmc=0", ports=False)
        assert engine.process.wait(COMPILE_S) == 1
    assert str(port) in engine.said()
    assert left_behind(engine.name, tmp_path) == []


def test_engines_side_by_side_and_a_killed_supervisor(start: Callable[..., Engine], tmp_path: Path) -> None:
    """A name runs once; another runs beside it; after kill -9 of a supervisor its processes go and its name is free."""
    first = start()
    first.ready(COMPILE_S)
    twin = start()
    assert twin.end() == 1
    assert "already running" in twin.said()
    other = start(name=f"{first.name}-b")
    other.ready()
    assert {first.name, other.name} <= set(lock.running())
    pids = first.pids()
    first.process.kill()
    first.process.wait()
    wait_for(lambda: not [pid for pid in pids.values() if alive(pid)], "orphans to leave")
    assert block.path_of(first.name).exists()
    again = start()
    again.ready()
    plays_on(other)
    for engine in (again, other):
        engine.process.terminate()
        assert engine.end() == 0
    assert left_behind(first.name, tmp_path) == left_behind(other.name, tmp_path) == []


def test_other_weights_while_it_plays(start: Callable[..., Engine], tmp_path: Path) -> None:
    """`set models.gated FILE` glides to them, for processes started later, too; wrong files change nothing."""
    engine = start()
    engine.ready(COMPILE_S)
    wait_for(lambda: engine.status()["energy"] > 0.05, "the dancer to move")
    model = load(built_in_path("dell_gated"))
    tensors = {**model.tensors, "b_y": model.tensors["b_y"] + np.float32(1.0)}
    save(tmp_path / "bright.safetensors", "dell_gated", tensors, {**model.hypers, "origin": "a test"})

    def change(value: str) -> subprocess.CompletedProcess[str]:
        command = [*COMMAND, "set", "models.gated", value, "--name", engine.name]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    done = change(str(tmp_path / "bright.safetensors"))
    assert done.returncode == 0, done.stderr
    wrong = change(str(initial_path("dell_coupled")))
    assert wrong.returncode == 1
    assert "holds dell_coupled" in wrong.stderr
    assert change(str(tmp_path / "absent.safetensors")).returncode == 1
    plays_on(engine)
    before = engine.pids()["audio"]
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: engine.pids()["audio"] not in (None, before), "the audio process to return")
    engine.ready()
    plays_on(engine)
    engine.process.send_signal(signal.SIGINT)
    assert engine.end() == 0
