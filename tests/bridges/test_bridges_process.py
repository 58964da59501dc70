"""The bridges' loop, turn by turn: who is heard, what is said, and what a restarted process still knows."""

import errno
import socket
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bridges_stage import Block, Stage

from echelon_bridges import audio_process, bridges_process, hub
from echelon_bridges.motion.dancer import Dancer
from echelon_bridges.outlets import Outlets
from echelon_bridges.session.live import Script
from echelon_engine import rings, wav
from echelon_engine.block import new_shared
from echelon_engine.config_file import make
from echelon_engine.errors import UserError
from echelon_engine.memory import BREAK, INPUT, TOOK_CLOCK


def test_dancer_gives_way_to_a_body_and_never_comes_back(stage: Stage) -> None:
    """A body takes over, said once; bridges killed and restarted afterwards build no dancer."""
    stage.start()
    stage.until(lambda: len(stage.popped()) > 5)
    assert stage.shared["header"]["live_seen"] == 0
    stage.body()
    stage.until(lambda: stage.shared["header"]["live_seen"] == 1)
    assert stage.texts("notice") == ["vmc is heard: the performer takes over"]
    stage.kill()
    stage.popped()
    again = stage.start()
    for _ in range(20):
        again.turn()
    assert len(stage.popped()) == 0
    stage.body()
    stage.until(lambda: len(stage.popped()) > 0)
    assert len(stage.texts("notice")) == 1


def test_a_body_takes_over_from_a_file_too(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file gives way as the dancer does, and is not even read again by restarted bridges."""
    sources = []
    monkeypatch.setattr(
        bridges_process, "motion_source", lambda config: sources.append(config.motion.file) or Dancer(seed=1)
    )
    stage.start(motion__file="clip.bvh")
    stage.body()
    stage.until(lambda: stage.shared["header"]["live_seen"])
    stage.kill()
    stage.start(motion__file="clip.bvh")
    assert sources == ["clip.bvh"]


def test_dancer_comes_back_where_it_would_be_by_now(stage: Stage) -> None:
    """Nobody was heard: restarted bridges dance on, beginning with BREAK, after the newest frame in the ring."""
    stage.start()
    written = stage.shared["frames"][0]["written"]
    stage.until(lambda: written[0] > 8)
    stage.kill()
    before = stage.popped()
    stage.start()
    count = int(written[0])
    stage.until(lambda: written[0] > count)
    after = stage.popped()
    assert after["flags"][0] & BREAK
    assert after["time_ns"][0] > before["time_ns"][-1]
    assert after["number"][0] > before["number"][-1]


def test_dancer_follows_the_focus_and_yields_to_whoever_has_it(stage: Stage) -> None:
    """A body out of focus takes nothing over; with the focus the dancer moves, and the body there ends it."""
    stage.start(motion__performers=2)
    stage.body(1)
    stage.until(lambda: len(stage.popped(1)) > 0)
    assert stage.shared["header"]["live_seen"] == 0
    stage.until(lambda: len(stage.popped(0)) > 0)
    stage.shared["header"]["focus"] = 1
    stage.until(lambda: len(stage.popped(1)) > 0)
    stage.popped(0)
    stage.until(lambda: len(stage.popped(1)) > 0)
    assert len(stage.popped(0)) == 0
    stage.body(0)
    stage.until(lambda: stage.running[-1].sensors[0].frames > 0)
    assert stage.shared["header"]["live_seen"] == 0
    stage.body(1)
    stage.until(lambda: stage.shared["header"]["live_seen"])
    assert stage.texts("notice") == ["vmc.1 is heard: the performer takes over"]


def test_silence_says_what_listens_and_what_came_instead(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """After 3 s without a body one line names every bound address and how many datagrams could not be decoded."""
    bridges = stage.start(dancer__enabled=False)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(4):
            sender.sendto(b"?", ("127.0.0.1", stage.port))
    stage.until(lambda: bridges.sensors[0].undecodable == 4)
    now_ns = bridges._start_ns
    bridges._report(now_ns + 2_900_000_000)
    assert stage.texts("notice") == []
    for _ in range(3):
        bridges._report(now_ns + 3_100_000_000)
    listening = f"vmc on 127.0.0.1:{stage.port}"
    assert stage.texts("notice") == [f"no motion received for 3 s; listening: {listening}; 4 datagrams undecodable"]


def test_silence_is_no_news_before_anything_sounds(stage: Stage) -> None:
    """While the audio process compiles nothing is said; the 3 s count from its first block on."""
    counters = stage.shared["counters"]
    counters["start_ns"] = 0
    bridges = stage.start(dancer__enabled=False)
    begun_ns = bridges._start_ns
    bridges._report(begun_ns + 30_000_000_000)
    counters["start_ns"] = begun_ns + 30_000_000_000
    bridges._report(begun_ns + 32_900_000_000)
    assert stage.texts("notice") == []
    bridges._report(begun_ns + 33_100_000_000)
    assert "no motion received for 3 s" in stage.texts("notice")[0]


def test_a_session_waits_for_an_audio_process_that_starts_late(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever process is ready first: until the callback runs, one that is made then waits for the session."""
    items = np.zeros(3, INPUT)
    items["kind"] = TOOK_CLOCK
    monkeypatch.setattr(Script, "open", lambda config, shared: (Script(items, shared["script"]), []))
    header, counters = stage.shared["header"], stage.shared["counters"]
    counters["start_ns"], header["scripted"] = 0, 1
    bridges = stage.start()
    stage.until(lambda: stage.shared["script"]["written"][0] == len(items))
    for _ in range(5):
        bridges.turn()
    assert header["scripted"] == 1
    counters["start_ns"] = time.monotonic_ns()
    stage.until(lambda: header["scripted"] == 0)
    taken = np.zeros(1, INPUT)
    while rings.pop(taken, stage.shared["script"]):
        pass
    stage.until(lambda: "the session has ended" in stage.texts("notice"))


def test_a_session_gives_way_before_the_audio_process_starts(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body heard before the callback runs takes over, said once, and nothing waits for the session any more."""
    items = np.zeros(3, INPUT)
    items["kind"] = TOOK_CLOCK
    monkeypatch.setattr(Script, "open", lambda config, shared: (Script(items, shared["script"]), []))
    header = stage.shared["header"]
    stage.shared["counters"]["start_ns"], header["scripted"] = 0, 1
    stage.start()
    stage.body()
    stage.until(lambda: header["live_seen"] and header["scripted"] == 0)
    assert "vmc is heard: the performer takes over" in stage.texts("notice")


@pytest.mark.parametrize("wrong", [{"osc.targets": "nowhere"}, {"nats.url": "nats://"}])
def test_a_start_that_fails_keeps_no_empty_session(wrong: dict[str, Any], tmp_path: Path) -> None:
    """A connection that cannot be made is refused before a session's folder is made."""
    with pytest.raises(UserError):
        Outlets(make({"session.log": str(tmp_path), **wrong}), new_shared(48000, 512), lambda *_, **__: None)
    assert not list(tmp_path.iterdir())


def test_a_default_port_taken_is_said_and_bridges_go_on(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The warning reaches the person, and the dancer plays."""
    monkeypatch.setattr(hub, "open_sensors", lambda _: ([], ["UDP port 12351 (mocopi): is in use"]))
    stage.start()
    stage.until(lambda: len(stage.popped()) > 0)
    assert stage.texts("warning") == ["UDP port 12351 (mocopi): is in use"]


def test_a_recording_that_fails_is_said_at_that_moment_and_once(stage: Stage, tmp_path: Path) -> None:
    """The disk fills up: one warning with the reason, the status knows it, the dancer dances on."""
    bridges = stage.start(output__record=str(tmp_path / "x.wav"))
    assert bridges._recorder is not None

    def refuse(_: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    bridges._recorder._writer._put = refuse  # type: ignore[method-assign,assignment]
    rings.push_sound(stage.shared["sound"], np.zeros((100, 2), np.float32))
    stage.until(lambda: stage.texts("warning"))
    (warning,) = stage.texts("warning")
    assert "recording has stopped" in warning
    assert "No space left" in warning
    told = [each for each in stage.said if each["event"] == "recording"]
    assert "No space left" in told[-1]["error"]
    stage.popped()
    stage.until(lambda: len(stage.popped()) > 0)
    bridges.close()
    assert len(stage.texts("warning")) == 1


def test_restarted_bridges_record_beside_or_warn(stage: Stage, tmp_path: Path) -> None:
    """The first file is not overwritten; a place that is gone is a warning, not the end of the show."""
    folder = tmp_path / "takes"
    folder.mkdir()
    stage.start(output__record=str(folder / "x.wav"))
    rings.push_sound(stage.shared["sound"], np.full((300, 2), 0.5, np.float32))
    stage.running[-1].close()
    again = stage.start(output__record=str(folder / "x.wav"))
    again.turn()
    assert stage.texts("notice") == [f"recording into {folder / 'x-2.wav'}"]
    again.close()
    assert len(wav.read(folder / "x.wav")[0]) == 300
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    stage.start(output__record=str(folder / "x.wav"))
    assert "recording has stopped" in stage.texts("warning")[0]
    stage.popped()
    stage.until(lambda: len(stage.popped()) > 0)


@pytest.mark.parametrize(
    ("process", "settings", "said"),
    [
        (audio_process, {"audio.device": "no such card"}, "no such card"),
        (audio_process, {"audio.device": "null", "models.gated": "absent.safetensors"}, "absent.safetensors"),
        (bridges_process, {"motion.file": "absent.bvh"}, "absent.bvh"),
        (bridges_process, {"ports.bind": "127.0.0.1", "ports.mocopi": -1}, "UDP port"),
        (bridges_process, {"ports.bind": "192.0.2.1", "ports.vmc": 39539}, "192.0.2.1"),
        (bridges_process, {"output.record": "/no/such/folder/x.wav"}, "/no/such/folder/x.wav"),
    ],
)
def test_a_wrong_value_is_exit_code_1_whoever_finds_it(
    monkeypatch: pytest.MonkeyPatch, process: Any, settings: dict[str, Any], said: str
) -> None:
    """A device, file, weights or port that does not do is said by value, and the process ends with 1."""
    events: list[dict[str, Any]] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        if settings.get("ports.mocopi") == -1:
            settings = {**settings, "ports.mocopi": taken.getsockname()[1]}
        config = make({"ports.mocopi": 0, "ports.vmc": 0, "ports.phones": 0, **settings})
        monkeypatch.setattr(process, "begin", lambda: (config, None))
        monkeypatch.setattr(process, "say", lambda event, **fields: events.append({"event": event, **fields}))
        monkeypatch.setattr("echelon_engine.units.compile_cold", lambda **_: None)
        monkeypatch.setattr(audio_process, "is_wanted", lambda: True)
        monkeypatch.setattr("sys.argv", ["x", "--name", "nobody"])
        monkeypatch.setattr(process.SharedBlock, "attach", lambda _: Block())
        assert process.main() == 1
    assert events[-1]["event"] == "error"
    assert said in events[-1]["text"]
