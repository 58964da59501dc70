"""The supervisor with tiny processes: starting, dying, stopping, and what is left behind."""

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from engines import PATIENCE_S, Engine, alive, left_behind, wait_for

from echelon_bridges import lock, supervisor
from echelon_engine import block
from echelon_engine.errors import UserError

FAKE = Path(__file__).with_name("fake_engine.py")


@pytest.fixture(scope="module", autouse=True)
def _compiled() -> None:
    """Have the supervisor's few kernels in the cache: a cold start may be too late for the fade."""
    supervisor._import_rings()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Engine]]:
    """Start engines; afterwards none of their processes, sockets or blocks may be left."""
    engines: list[Engine] = []

    def begin(name: str = "", audio: str = "plain", bridges: str = "plain", seconds: float = 0) -> Engine:
        name = name or f"t{os.getpid()}"
        command = [sys.executable, str(FAKE), name, str(seconds), audio, bridges]
        engines.append(Engine(command, name, tmp_path, ECHELON_TEST_LOG=str(tmp_path / "ends.log")))
        return engines[-1]

    yield begin
    for engine in engines:
        engine.clear()


@pytest.mark.realtime
def test_stops_by_itself_fades_and_leaves_nothing(start: Callable[..., Engine], tmp_path: Path) -> None:
    """After its seconds it fades, stops bridges before audio, exits 0 and leaves no process or file."""
    engine = start(seconds=1.0)
    pids = engine.ready()["processes"]
    assert engine.end() == 0
    ends = (tmp_path / "ends.log").read_text().splitlines()
    assert len(ends) == 2
    assert [line.split()[0] for line in ends] == ["bridges", "audio"]
    assert all(line.endswith("fade=1") for line in ends)
    assert not [p for p in pids if alive(p["pid"])]
    assert left_behind(engine.name, tmp_path) == []


@pytest.mark.realtime
@pytest.mark.parametrize(
    ("number", "moment_s"), [(signal.SIGINT, 0.0), (signal.SIGINT, 0.3), (signal.SIGINT, 0.7), (signal.SIGHUP, 0.2)]
)
def test_signal_while_starting_stops_cleanly(
    start: Callable[..., Engine], tmp_path: Path, number: signal.Signals, moment_s: float
) -> None:
    """Whenever the signal comes, nothing is left behind, no stack trace shown, and the exit code is 0."""
    engine = start()
    wait_for(lambda: lock.is_held(engine.name), "the start")
    time.sleep(moment_s)
    engine.process.send_signal(number)
    assert engine.end() == 0
    assert "Traceback" not in engine.said()
    assert left_behind(engine.name, tmp_path) == []


@pytest.mark.realtime
def test_killed_processes_return_and_the_epoch_grows(start: Callable[..., Engine], tmp_path: Path) -> None:
    """A killed process is replaced, the other goes on, the epoch and its restarts say so."""
    engine = start()
    before = engine.ready()
    pids = engine.pids()
    os.kill(pids["bridges"], signal.SIGKILL)
    wait_for(lambda: engine.status()["epoch"] == before["epoch"] + 1, "bridges to return")
    engine.ready()
    assert engine.pids()["audio"] == pids["audio"]
    os.kill(pids["audio"], signal.SIGKILL)
    wait_for(lambda: engine.status()["epoch"] == before["epoch"] + 2, "audio to return")
    after = engine.ready()
    assert {p["name"]: p["restarts"] for p in after["processes"]} == {"audio": 1, "bridges": 1, "supervisor": 0}
    assert "event=died part=audio code=-9" in engine.said()
    engine.process.terminate()
    assert engine.end() == 0
    assert left_behind(engine.name, tmp_path) == []


@pytest.mark.realtime
def test_hung_audio_is_replaced_and_crashing_bridges_are_tried_for_ever(start: Callable[..., Engine]) -> None:
    """Audio that stops counting blocks is killed and started again; bridges fail and fail, and each time it is said."""
    engine = start(audio="hung", bridges="crash")
    wait_for(lambda: "event=hung" in engine.said(), "the hang to be seen")
    wait_for(lambda: engine.said().count("event=ready part=audio") >= 2, "a new audio process")
    wait_for(lambda: engine.said().count("event=died part=bridges") >= 4, "four failures")
    assert "something odd on stdout" in engine.said()
    engine.process.terminate()
    assert engine.end() == 0


@pytest.mark.realtime
@pytest.mark.parametrize(
    ("audio", "bridges", "says"),
    [
        ("plain", "refuse", "port 12351: in use; set ports.mocopi"),
        ("crash", "plain", "audio failed 3 times"),
    ],
)
def test_a_process_that_cannot_start_ends_the_engine(
    start: Callable[..., Engine], tmp_path: Path, audio: str, bridges: str, says: str
) -> None:
    """A refusal with a reason, or audio that never starts, stops everything with exit code 1 and the reason."""
    engine = start(audio=audio, bridges=bridges)
    assert engine.end() == 1
    assert says in engine.said()
    assert engine.said().count(says) == 1
    assert left_behind(engine.name, tmp_path) == []


@pytest.mark.realtime
def test_noisy_and_stubborn_processes_harm_nobody(start: Callable[..., Engine], tmp_path: Path) -> None:
    """Garbage and endless lines on a child's stdout are survived; a child that ignores SIGTERM is killed; exit 0."""
    engine = start(audio="noisy", bridges="stubborn")
    pids = engine.ready()["processes"]
    wait_for(lambda: "still here" in engine.said(), "the notice after the noise")
    engine.process.send_signal(signal.SIGHUP)
    assert engine.end() == 0
    assert "did not stop" in engine.said()
    assert not [p for p in pids if alive(p["pid"])]
    assert left_behind(engine.name, tmp_path) == []


@pytest.mark.realtime
def test_killed_supervisor_takes_its_children_along_and_the_next_run_clears_up(
    start: Callable[..., Engine], tmp_path: Path
) -> None:
    """After kill -9 of the supervisor the children leave by themselves, and the name can be used again at once."""
    first = start()
    first.ready()
    pids = first.pids()
    first.process.kill()
    first.process.wait()
    assert block.path_of(first.name).exists()
    second = start(first.name)
    second.ready()
    assert not [name for name, pid in pids.items() if alive(pid)]
    assert "what it left is cleared" in second.said()
    second.process.terminate()
    assert second.end() == 0
    assert left_behind(first.name, tmp_path) == []


@pytest.mark.realtime
def test_two_engines_live_side_by_side_and_one_name_only_once(start: Callable[..., Engine]) -> None:
    """A second engine of the same name is refused with the first one's pid; another name runs beside it."""
    first = start()
    first.ready()
    twin = start(first.name)
    assert twin.end() == 1
    assert f"already running (process {first.process.pid})" in twin.said()
    other = start(f"{first.name}-b")
    other.ready()
    assert {first.name, other.name} <= set(lock.running())
    assert other.ask(command="set", key="tempo", value="99")["value"] == "99 bpm"
    assert first.ask(command="get")["values"]["tempo"] != "99 bpm"
    assert first.ask(command="stop") == {}
    assert first.end() == 0
    with pytest.raises(UserError, match=rf"not running; running: .*{other.name}"):
        first.status()
    other.process.terminate()
    assert other.end() == 0


@pytest.mark.realtime
def test_control_socket_survives_bad_clients(start: Callable[..., Engine], tmp_path: Path) -> None:
    """Garbage, huge lines, silent and crowding clients are answered or dropped; honest ones are served."""
    engine = start()
    document = engine.ready()
    assert document["sensors"][0]["name"] == "mocopi"
    assert document["device"] == "fake"
    holder = lock.read(engine.name)
    assert holder is not None
    assert Path(holder.socket).stat().st_mode & 0o077 == 0

    def say(data: bytes) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE_S)
            client.connect(holder.socket)
            try:
                client.sendall(data)
            except OSError:
                return {}
            return dict(json.loads(client.makefile().readline() or "{}"))

    for garbage in (
        b"\xff\x00\n",
        b"[]\n",
        b"{}\n",
        b"[" * 60_000 + b"\n",
        b'{"command": "sett"}\n',
        b"1" * 5000 + b"\n",
    ):
        answer = say(garbage)
        assert answer["ok"] is False
        assert answer["error"]
    assert say(b"x" * 1_000_000).get("ok", False) is False
    for key, value in (("temp", "1"), ("tempo", "1e9"), ("", ""), ("route.left", "3"), ("focus", "2")):
        with pytest.raises(UserError) as refused:
            engine.ask(command="set", key=key, value=value)
        assert refused.value.exit_code == 2
    crowd = [socket.socket(socket.AF_UNIX) for _ in range(40)]
    for client in crowd:
        client.connect(holder.socket)
    for client in crowd:
        client.close()
    engine.ready()
    assert engine.ask(command="set", key="lane.gain", value="-6 dB")["value"] == "0.667 (-6 dB)"
    attached = block.SharedBlock.attach(engine.name)
    assert attached.shared["header"]["focus"] == 0
    assert engine.ask(command="set", key="focus", value="1")["value"] == "1"
    assert attached.shared["header"]["focus"] == 1, "bridges read there where the dancer plays"
    slots = attached.shared["settings"]["slot"]
    assert max(int(on) for on in slots["override_on"][:, 28]) == 1
    del slots
    attached.close()
    engine.process.terminate()
    assert engine.end() == 0
