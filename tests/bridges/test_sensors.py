"""Listening ports: bodies to limb frames; what is refused is counted, and a port that is taken is told apart."""

import socket
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from engines import free_port, wait_for

from echelon_bridges import sensors, udp
from echelon_bridges.hub import Hub
from echelon_bridges.motion.dancer import Dancer
from echelon_bridges.protocol import vmc
from echelon_bridges.sensors import Sensor, open_sensors
from echelon_engine.config import Config, Ports
from echelon_engine.config_file import make
from echelon_engine.errors import UserError
from echelon_engine.memory import BREAK

SECOND = 1_000_000_000


class Ear:
    """A hub with one sensor on a free port."""

    def __init__(self) -> None:
        self.sensor = Sensor("vmc", 0, udp.bind("127.0.0.1", 0))
        self.hub = Hub([self.sensor], Config())
        self.port = self.sensor.port

    @property
    def frames(self) -> int:
        """How many frames have played."""
        return self.sensor.frames

    def read(self, now_ns: int) -> list[np.ndarray]:
        """Return the frames that have come."""
        return [frames for _, frames in self.hub.read(self.sensor, now_ns)]

    def report(self, now_ns: int) -> dict[str, Any]:
        """Return the sensor's statistics."""
        return self.sensor.report(now_ns)


@pytest.fixture
def sensor() -> Iterator[Ear]:
    """A sensor on a free port."""
    made = Ear()
    yield made
    made.hub.close()


@pytest.fixture
def sender() -> Iterator[socket.socket]:
    """A socket to send from."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        yield made


def bodies(count: int) -> list[bytes]:
    """A few frames of a body, as VMC datagrams."""
    frames = Dancer(seed=3).frames(600, count)
    found = []
    for i, frame in enumerate(frames):
        found += vmc.encode_frame(i / 60.0, frame["rotation"].astype(np.float64), frame["origin"])
    return found


def test_a_body_becomes_limb_frames(sensor: Ear, sender: socket.socket) -> None:
    """Frames come out in order, the first marked BREAK; the report counts them and their rate."""
    assert sensor.report(SECOND)["rate_hz"] == 0.0
    for datagram in bodies(11):
        sender.sendto(datagram, sensor.port.address)
    found = []
    wait_for(lambda: found.extend(sensor.read(SECOND)) or sensor.frames >= 10, "frames")
    flags = np.concatenate([frames["flags"] for frames in found])
    assert flags[0] == BREAK
    assert not flags[1:].any()
    assert sensor.hub.last_heard_ns == SECOND
    report = sensor.report(3 * SECOND)
    assert report["rate_hz"] == pytest.approx(sensor.frames / 2, abs=0.1)
    assert (report["name"], report["port"]) == ("vmc", sensor.port.address[1])
    assert (report["lost"], report["refused"], report["undecodable"]) == (0, 0, 0)


def test_what_is_no_protocol_is_undecodable(sensor: Ear, sender: socket.socket) -> None:
    """Noise gives no frame, is counted, and a body behind it is heard."""
    noise = [b"", b"hello", b"{}", b"\xff" * 1400, b"GET / HTTP/1.1\r\n"]
    for datagram in [*noise, *bodies(3)]:
        sender.sendto(datagram, sensor.port.address)
    wait_for(lambda: list(sensor.read(SECOND)) and sensor.frames >= 2, "frames")
    assert sensor.report(SECOND)["undecodable"] == sensor.sensor.undecodable == len(noise)


def test_refused_counts_what_was_over_budget_too(sensor: Ear) -> None:
    """`refused` holds datagrams over budget and of too many sources; each has a count of its own beside it."""
    sensor.port.counts.over_budget, sensor.port.counts.sources_refused = 5, 2
    report = sensor.report(SECOND)
    assert (report["refused"], report["over_budget"], report["sources_refused"]) == (7, 5, 2)


def test_two_bodies_on_one_port_do_not_tear_the_performer_apart(sensor: Ear) -> None:
    """The first source plays whole; another is refused and counted until the first is silent for a second."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as first,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as second,
    ):
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.2", 0))
        for mine, theirs in zip(bodies(20), bodies(20), strict=True):
            first.sendto(mine, sensor.port.address)
            second.sendto(theirs, sensor.port.address)
        found: list[np.ndarray] = []
        wait_for(lambda: found.extend(sensor.read(SECOND)) or sensor.port.counts.datagrams == 40, "all datagrams")
        frames = np.concatenate(found)
        assert len(frames) >= 19
        assert frames["flags"].tolist() == [BREAK] + [0] * (len(frames) - 1)
        assert (np.diff(frames["number"]) == 1).all()
        assert sensor.report(SECOND)["refused"] == len(frames)
        for theirs in bodies(23)[20:]:
            second.sendto(theirs, sensor.port.address)
        found.clear()
        wait_for(lambda: found.extend(sensor.read(2 * SECOND + 1)) or sensor.port.counts.datagrams == 43, "the other")
        flags = np.concatenate([frames["flags"] for frames in found])
        assert flags[0] & BREAK
        assert not flags[1:].any()


def test_a_body_that_floods_loses_its_place(sensor: Ear) -> None:
    """A source that plays and then floods is shut out, and the next body plays at once."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flooding,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as calm,
    ):
        flooding.bind(("127.0.0.2", 0))
        calm.bind(("127.0.0.1", 0))
        datagram, *others = bodies(12)
        for _ in range(400):
            flooding.sendto(datagram, sensor.port.address)
            list(sensor.read(SECOND))
        before = sensor.frames
        assert before >= 1
        for each in others:
            calm.sendto(each, sensor.port.address)
        wait_for(lambda: list(sensor.read(SECOND)) or sensor.frames >= before + 10, "the other body")


def test_counts_outlive_the_streams_they_came_from(monkeypatch: pytest.MonkeyPatch, sensor: Ear) -> None:
    """However many addresses send, streams are bounded, and nothing that was counted is lost."""
    monkeypatch.setattr(sensors, "BODIES", 3)
    for i in range(9):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.bind((f"127.0.0.{i + 1}", 0))
            sender.sendto(b"\0\0\0\0head broken", sensor.port.address)
    wait_for(lambda: list(sensor.read(SECOND)) or sensor.port.counts.datagrams == 9, "all")
    assert len(sensor.sensor.bodies) == 3
    assert sensor.report(SECOND)["refused"] == 9


def test_a_port_for_every_performer() -> None:
    """Performer n listens n ports higher, under a name of its own; 0 closes a kind."""
    base = free_port()
    config = make(
        {"ports.bind": "127.0.0.1", "ports.mocopi": 0, "ports.phones": 0, "ports.vmc": base, "motion.performers": 3}
    )
    opened, warnings = open_sensors(config)
    for each in opened:
        each.port.close()
    assert warnings == []
    assert [each.name for each in opened] == ["vmc", "vmc.1", "vmc.2"]
    assert [each.performer for each in opened] == [0, 1, 2]
    assert [each.port.address[1] for each in opened] == [base, base + 1, base + 2]


def test_a_default_port_taken_is_a_warning_and_the_rest_plays() -> None:
    """Nobody chose the port: it is said, with the setting to change, and the other port listens."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        number = taken.getsockname()[1]
        config = Config(ports=Ports(bind="127.0.0.1", mocopi=number, vmc=free_port(), phones=0))
        opened, (warning,) = open_sensors(config)
        for each in opened:
            each.port.close()
        assert [each.name for each in opened] == ["vmc"]
        assert str(number) in warning
        assert "playing on without it; set ports.mocopi" in warning


def test_a_chosen_port_taken_is_refused_and_nothing_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person chose the port: the refusal names it, and sockets that were opened before are closed again."""
    bound = []
    monkeypatch.setattr(sensors, "bind", lambda *address: bound.append(udp.bind(*address)) or bound[-1])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        number = taken.getsockname()[1]
        config = make({"ports.bind": "127.0.0.1", "ports.mocopi": free_port(), "ports.vmc": number})
        with pytest.raises(UserError, match=rf"UDP port {number}: is in use.*set ports\.vmc"):
            open_sensors(config)
    assert [port.socket.fileno() for port in bound] == [-1]
