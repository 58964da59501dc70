"""The whole product connected: sessions kept and played again, phones, NATS; through the real command."""

import asyncio
import json
import math
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engines import COMMAND, COMPILE_S, Engine, free_port, wait_for
from nats_rig import free_tcp_port, needs_nats
from senders import Phone, zigsim

from echelon_bridges.protocol.osc import encode_message
from echelon_engine import wav

pytestmark = pytest.mark.realtime


def blocks(engine: Engine) -> int:
    """Return how many blocks the callback has counted."""
    return int(engine.status()["blocks"])


def wait_blocks(engine: Engine, count: int) -> None:
    """Wait until the callback has counted so many blocks more than now."""
    until = blocks(engine) + count
    wait_for(lambda: blocks(engine) >= until, f"{count} blocks")


def test_a_session_is_kept_and_played_again_byte_for_byte(start: Callable[..., Engine], tmp_path: Path) -> None:
    """What was heard in a show with settings and notes is heard again, live by `run` and offline by `render`."""
    osc = free_port()
    takes = [tmp_path / f"{name}.wav" for name in ("live", "again", "rendered")]
    options = ["--log", str(tmp_path / "log"), "--record", str(takes[0]), "--set", f"osc.port={osc}"]
    engine = start(*options)
    engine.ready(COMPILE_S)
    wait_for(lambda: engine.status()["energy"] > 0.05, "the dancer to move")
    wait_blocks(engine, 100)
    engine.ask(command="set", key="lane.filter_cutoff", value="0.9")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        note = encode_message("/echelon/note/on", "iff", [60, 60.0, 0.75])
        sender.sendto(note, ("127.0.0.1", osc))
        wait_blocks(engine, 100)
        assert engine.status()["outlets"]["osc_in"]["notes"] == 1
    engine.ask(command="set", key="panic", value="")
    wait_blocks(engine, 100)
    engine.process.send_signal(signal.SIGINT)
    assert engine.end() == 0
    (session,) = (tmp_path / "log").iterdir()

    again = start("--motion", str(session), "--record", str(takes[1]))
    again.ready()
    wait_for(lambda: "the session has ended" in again.said(), "the session to end")
    wait_blocks(again, 10)
    again.process.send_signal(signal.SIGINT)
    assert again.end() == 0
    done = subprocess.run(
        [*COMMAND, "render", str(session), str(takes[2])], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr

    sounds = [wav.read(take)[0] for take in takes]
    first = [int(np.flatnonzero(np.abs(sound).max(axis=1))[0]) for sound in sounds]
    assert first[0] == first[1] == first[2]
    length = min(len(sounds[0]), len(sounds[2]))
    assert length > 3 * 48000
    assert np.abs(sounds[0]).max() > 0.01
    assert sounds[2][:length].tobytes() == sounds[0][:length].tobytes()
    length -= 1600  # the last control frames: how the one that ended ended is not known to the one that goes on
    assert sounds[1][:length].tobytes() == sounds[0][:length].tobytes()


def test_phones_in_the_hands_take_over_and_play(start: Callable[..., Engine], tmp_path: Path) -> None:
    """Two phones are found, get a hand each, replace the dancer and are heard; `sensors` lists and assigns them."""
    port = free_port()
    engine = start("--set", f"ports.phones={port}", ports=False)
    engine.ready(COMPILE_S)
    begun = time.monotonic()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:

        def move() -> None:
            seconds = time.monotonic() - begun
            for name, sign in (("left-phone", 1.0), ("right-phone", -1.0)):
                push = (0.0, 0.0, sign * 12.0 * math.sin(2 * math.pi * 2.0 * seconds))
                for data in zigsim(Phone(user_acceleration=push, time_s=seconds), name):
                    sender.sendto(data, ("127.0.0.1", port))
            time.sleep(1 / 60)

        def status_when(condition: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
            found: dict[str, Any] = {}

            def holds() -> bool:
                move()
                found.update(engine.status())
                return condition(found)

            wait_for(holds, what)
            return found

        status_when(lambda s: s["energy"] > 0.2 and s["strikes"] >= 3, "energy and strikes of the phones")
        assert "takes over" in engine.said()
        command = [*COMMAND, "sensors", "--name", engine.name]
        listed = subprocess.run(command, capture_output=True, text=True, check=False)
        assert listed.returncode == 0, listed.stderr
        assert "left-phone" in listed.stdout
        assert "right-phone" in listed.stdout
        name = next(word for word in listed.stdout.split() if "left-phone" in word)
        done = subprocess.run(
            [*command[:-2], "assign", name, "torso", *command[-2:]], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        wrong = subprocess.run(
            [*command[:-2], "assign", name, "tail", *command[-2:]], capture_output=True, text=True, check=False
        )
        assert wrong.returncode == 2
        assert "torso" in wrong.stderr
    engine.process.send_signal(signal.SIGINT)
    assert engine.end() == 0


@pytest.mark.parametrize("_extra", [pytest.param(None, marks=needs_nats)])
def test_an_engine_on_nats(start: Callable[..., Engine], tmp_path: Path, _extra: None) -> None:
    """With its own server it publishes, answers and stores; a killed server comes back and the sound goes on."""
    import nats

    port = free_tcp_port()
    options = [f"--set=nats.port={port}", f"--set=nats.folder={tmp_path / 'store'}", "--set=clock.tempo_bpm=240"]
    engine = start("--nats", "embedded", *options)
    engine.ready(COMPILE_S)
    root = f"echelon.{engine.name}"
    wait_for(lambda: engine.status()["outlets"].get("nats", {}).get("connected"), "the connection")

    async def talk() -> None:
        async with await nats.connect(f"nats://127.0.0.1:{port}", connect_timeout=10) as connection:
            params = await connection.subscribe(f"{root}.params")
            message = json.loads((await params.next_msg(20)).data)
            assert message["engine"] == engine.name
            answer = await connection.request(
                f"{root}.command.set", json.dumps({"key": "tempo", "value": "200"}).encode(), timeout=20
            )
            assert json.loads(answer.data)["answer"]["value"] == "200 bpm"
            refused = await connection.request(
                f"{root}.command.set", json.dumps({"key": "tempo", "value": "9000"}).encode(), timeout=20
            )
            assert "20 to 300" in refused.data.decode()
            snapshot = json.loads((await connection.request(f"{root}.snapshot", b"", timeout=20)).data)
            assert snapshot["engine"] == engine.name

    asyncio.run(talk())
    os.kill(engine.status()["outlets"]["nats"]["embedded_pid"], signal.SIGKILL)
    wait_blocks(engine, 50)
    wait_for(lambda: engine.status()["outlets"]["nats"]["connections"] >= 2, "the server to return")
    bars = int(engine.status()["bar"])
    wait_for(lambda: engine.status()["outlets"]["nats"]["bars_stored"] > bars + 1, "the bars to be stored")
    asyncio.run(bars_once_and_in_order(port))
    engine.process.send_signal(signal.SIGINT)
    assert engine.end() == 0


async def bars_once_and_in_order(port: int) -> None:
    """Read every stored bar: each once, one after the other."""
    import nats

    async with await nats.connect(f"nats://127.0.0.1:{port}", connect_timeout=10) as connection:
        stream = connection.jetstream()
        (info,) = await stream.streams_info()
        held = [await stream.get_msg(info.config.name, seq) for seq in range(1, info.state.last_seq + 1)]
    bars = [json.loads(message.data)["bar"] for message in held if message.subject.endswith(".bar")]
    assert len(bars) >= 2
    assert bars == list(range(bars[0], bars[0] + len(bars)))
