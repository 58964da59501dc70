"""Live sensors through the real command and real UDP: bodies are heard, garbage and floods only counted."""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from engines import COMPILE_S, Engine, free_port, stolen_s, wait_for
from paths import MOTION, needs_shared

from echelon_bridges.motion.dancer import Dancer
from echelon_bridges.protocol import captures, mocopi, vmc

pytestmark = pytest.mark.realtime


class Stage:
    """One engine that listens for mocopi and VMC, and a socket to send to it."""

    def __init__(self, tmp_path: Path) -> None:
        self.mocopi, self.vmc = free_port(), free_port()
        name = f"live-{os.getpid()}"
        options = ["--set", "ports.bind=127.0.0.1", "--set", f"ports.mocopi={self.mocopi}"]
        options += ["--set", f"ports.vmc={self.vmc}", "--set", "dancer.enabled=false"]
        command = [sys.executable, "-m", "echelon_bridges.cli", "run", "--device", "null", "--name", name]
        self.engine = Engine([*command, *options], name, tmp_path, XDG_CONFIG_HOME=str(tmp_path))
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def loudness_db(self, seconds: float) -> float:
        """Return the greatest loudness that the status shows within so many seconds."""
        end = time.monotonic() + seconds
        loudest = -200.0
        while time.monotonic() < end:
            loudest = max(loudest, self.engine.status()["loudness_db"])
            time.sleep(0.02)
        return loudest

    def send(self, data: bytes, port: int) -> None:
        """Send one datagram."""
        self.socket.sendto(data, ("127.0.0.1", port))

    def sensor(self, name: str) -> dict[str, int]:
        """Return the statistics of one sensor; zeros before its first report."""
        found = [sensor for sensor in self.engine.status()["sensors"] if sensor["name"] == name]
        return dict(found[0]) if found else {"frames": 0, "lost": 0, "refused": 0, "undecodable": 0, "over_budget": 0}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One running engine for all tests of this file."""
    made = Stage(tmp_path_factory.mktemp("live"))
    try:
        made.engine.ready(COMPILE_S)
        yield made
    finally:
        made.socket.close()
        made.engine.process.terminate()
        made.engine.process.wait(30)
        made.engine.clear()


def paced(seconds: float, rate_hz: float) -> Iterator[int]:
    """Count at a rate, in real time."""
    start = time.monotonic()
    for i in range(int(seconds * rate_hz)):
        time.sleep(max(0.0, start + i / rate_hz - time.monotonic()))
        yield i


@functools.cache
def dance() -> np.ndarray:
    """Return five seconds of energetic motion."""
    return Dancer(seed=3, tempo_bpm=110.0).frames(60 * 40, 300)


def with_heading(frame: np.ndarray) -> np.ndarray:
    """Return the frame's local rotations with the heading put back on the root."""
    rotation = frame["rotation"].astype(np.float64).copy()
    s, c = np.sin(frame["heading"] / 2), np.cos(frame["heading"] / 2)
    x, y, z, w = rotation[0]
    rotation[0] = (c * x + s * z, c * y + s * w, c * z - s * x, c * w - s * y)
    return rotation


@contextlib.contextmanager
def flood(port: int) -> Iterator[list[int]]:
    """Send one VMC frame after the other from an address of its own; yields how many went out, in a list of one."""
    frame = dance()[0]
    datagram = vmc.encode_frame(0.0, with_heading(frame), frame["origin"])[0]
    ended, flooded = threading.Event(), [0]

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.bind(("127.0.0.2", 0))
            while not ended.is_set():
                sender.sendto(datagram, ("127.0.0.1", port))
                flooded[0] += 1

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield flooded
    finally:
        ended.set()
        thread.join()


def test_vmc_is_heard(stage: Stage) -> None:
    """A body sent as VMC over OSC wakes the engine: frames are counted, energy and sound rise."""
    energies = []
    for i in paced(3.0, 60.0):
        if i % 30 == 0:
            energies.append(stage.engine.status()["energy"])
        frame = dance()[i]
        for datagram in vmc.encode_frame(i / 60.0, with_heading(frame), frame["origin"]):
            stage.send(datagram, stage.vmc)
    status = stage.engine.status()
    assert max(energies) > 0.1
    assert status["state"] in ("warmup", "active", "transitioning")
    wait_for(lambda: stage.sensor("vmc")["frames"] > 150, "VMC frames in the statistics")
    assert stage.sensor("vmc")["undecodable"] == 0
    wait_for(lambda: stage.engine.status()["loudness_db"] > -60.0, "sound")


@needs_shared
def test_the_mocopi_stream_replays(stage: Stage) -> None:
    """The recorded mocopi stream arrives whole: no frame lost, none refused."""
    time.sleep(1.5)  # a performer is played by one body at a time: the one before has left after a second
    before = stage.sensor("mocopi")["frames"]
    datagrams = captures.read(MOTION / "packets/mocopi_stream/mocopi-arm-raise-turn-50hz.smfstream")[:200]
    start = time.monotonic()
    for seconds, datagram in datagrams:
        time.sleep(max(0.0, start + seconds - time.monotonic()))
        stage.send(datagram, stage.mocopi)
    frames = sum(isinstance(mocopi.decode(datagram), mocopi.Frame) for _, datagram in datagrams)
    wait_for(lambda: stage.sensor("mocopi")["frames"] - before >= frames, "all frames")
    sensor = stage.sensor("mocopi")
    assert (sensor["lost"], sensor["refused"], sensor["undecodable"]) == (0, 0, 0)


def test_garbage_is_counted_and_not_heard(stage: Stage) -> None:
    """Random bytes, truncated packets and poisoned numbers are counted; no state is reset, and nothing gets louder."""
    before, mocopi_before, vmc_before = stage.engine.status(), stage.sensor("mocopi"), stage.sensor("vmc")
    loudness_db = stage.loudness_db(1.0)
    frame = dance()[0]
    good = bytearray(vmc.encode_frame(0.0, with_heading(frame), frame["origin"])[0])
    random = np.random.default_rng(7)
    for _ in paced(3.0, 100.0):  # within the budget, so that all of it is looked at
        stage.send(random.bytes(int(random.integers(0, 1500))), stage.mocopi)
        stage.send(bytes(good[: int(random.integers(0, len(good)))]), stage.vmc)
        stage.send(b"hello", stage.vmc)
        broken = good.copy()
        at = int(random.integers(0, len(broken) - 4))
        broken[at : at + 4] = b"\x7f\xc0\x00\x00"
        stage.send(bytes(broken), stage.vmc)
    pid = stage.engine.pids()["bridges"]
    louder_db = stage.loudness_db(1.0)
    wait_for(lambda: stage.sensor("mocopi")["undecodable"] >= mocopi_before["undecodable"] + 290, "the noise")
    wait_for(lambda: stage.sensor("vmc")["refused"] > vmc_before["refused"] + 100, "the cut and the poisoned")
    wait_for(lambda: stage.sensor("vmc")["undecodable"] >= vmc_before["undecodable"] + 290, "what is no OSC at all")
    assert stage.engine.pids()["bridges"] == pid
    assert stage.engine.status()["resets"] == before["resets"]
    assert louder_db <= max(loudness_db, -60.0) + 12.0


def test_a_flood_disturbs_neither_the_sound_nor_the_other_sender(stage: Stage) -> None:
    """One address sends as fast as it can: it is refused, a body from another is heard whole, blocks keep coming."""
    before, began = stage.sensor("vmc"), stage.engine.status()
    sent = 0

    def blocks_come() -> bool:
        """Dance three seconds beside a flood; return whether the blocks came, but for what others took."""
        nonlocal sent
        then, stolen = stage.engine.status(), stolen_s()
        with flood(stage.vmc) as flooded:
            for i in paced(3.0, 60.0):
                frame = dance()[i]
                for each in vmc.encode_frame(100.0 + sent / 60.0, with_heading(frame), frame["origin"]):
                    stage.send(each, stage.vmc)
                sent += 1
        assert flooded[0] > 5000
        now = stage.engine.status()
        expected = now["expected_blocks"] - then["expected_blocks"]
        lost = (stolen_s() - stolen) * 48000 / 512
        return bool(now["blocks"] - then["blocks"] >= 0.99 * expected - 1 - lost)

    # A busy machine misses blocks by itself: one round of five must come whole.
    assert any(blocks_come() for _ in range(5)), "no three seconds beside the flood in which all blocks came"
    wait_for(lambda: stage.sensor("vmc")["over_budget"] > before["over_budget"], "the flood in the statistics")
    wait_for(lambda: stage.sensor("vmc")["frames"] - before["frames"] >= 0.95 * sent, "the other sender's frames")
    assert stage.sensor("vmc")["refused"] > before["refused"]
    assert stage.engine.pids() == {each["name"]: each["pid"] for each in began["processes"]}
