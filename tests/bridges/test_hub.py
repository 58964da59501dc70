"""The hub, over real sockets: one port takes any protocol, senders are told apart, phones play their parts."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
import senders
from engines import wait_for
from senders import PHONES, Phone

from echelon_bridges import kernel_filter, udp
from echelon_bridges.hub import Hub
from echelon_bridges.sensors import Sensor
from echelon_engine.config_file import make
from echelon_engine.errors import UsageError, UserError
from echelon_engine.memory import BREAK, DEVICES, LIMB_FRAME

SECOND = 1_000_000_000
FRAME_NS = SECOND // 60
LEFT, RIGHT, TORSO = 0, 1, 2


class Stage:
    """A hub on free ports (one a performer), senders at addresses of their own, and a clock that tests wind."""

    def __init__(self, stack: ExitStack, ports: int = 1, **settings: Any) -> None:
        values = {name.replace("__", "."): value for name, value in settings.items()}
        self.sensors = [Sensor("phones", at, udp.bind("127.0.0.1", 0)) for at in range(ports)]
        self.hub = Hub(self.sensors, make(values))
        stack.callback(self.hub.close)
        self._stack = stack
        self.now_ns = 100 * SECOND
        self.frames: dict[int, list[np.ndarray]] = {}
        self.published: list[np.ndarray] = []

    def sender(self, host: str = "127.0.0.1") -> socket.socket:
        """A sender at an address, on a port of its own."""
        made = self._stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        made.bind((host, 0))
        return made

    def send(self, sender: socket.socket, *datagrams: bytes, port: int = 0) -> None:
        """Send and let the hub read them."""
        sensor = self.sensors[port]
        before = sensor.port.counts.datagrams
        for data in datagrams:
            sender.sendto(data, sensor.port.address)
        wait_for(lambda: self._read(sensor) or sensor.port.counts.datagrams - before >= len(datagrams), "datagrams")

    def _read(self, sensor: Sensor) -> None:
        for performer, frames in self.hub.read(sensor, self.now_ns):
            self.frames.setdefault(performer, []).append(frames.copy())

    def phone(self, sender: socket.socket, app: str, name: str = "", n: int = 30, port: int = 0, **felt: Any) -> None:
        """Let a phone send n samples at 60 Hz."""
        for _ in range(n):
            self.now_ns += FRAME_NS
            felt_now = Phone(time_s=self.now_ns * 1e-9, **felt)
            self.send(sender, *PHONES[app](felt_now, name or "abc"), port=port)

    def devices(self, performer: int = 0) -> np.ndarray:
        """What the engine would hear now."""
        record: np.ndarray = self.hub.phones.latents(performer, self.now_ns)[0].copy()
        return record

    def rows(self) -> dict[str, dict[str, Any]]:
        """Rows of the report by name."""
        return {row["name"]: row for row in self.hub.report_devices(self.now_ns)}

    def count(self, performer: int) -> int:
        """How many frames a performer got."""
        return sum(map(len, self.frames.get(performer, [])))


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Closes everything at the end."""
    with ExitStack() as made:
        yield made


def body(first: int = 0, n: int = 10, **options: Any) -> list[bytes]:
    """Datagrams of a mocopi body."""
    return [data for _, data in senders.mocopi_frames(n, first_number=1928 + first, first_time_s=first / 60, **options)]


def test_one_port_takes_any_protocol(stack: ExitStack) -> None:
    """mocopi, VMC, trackers, every phone program and noise on one port: each is decoded as what it is."""
    stage = Stage(stack, motion__performers=4)
    stage.send(stage.sender("127.0.0.2"), *body())
    stage.send(stage.sender("127.0.0.3"), *[data for _, data in senders.vmc_frames(10)])
    for i, app in enumerate(PHONES):
        stage.phone(stage.sender(f"127.0.0.{20 + i}"), app, f"dev{i}", n=20)
    stage.send(stage.sender("127.0.0.4"), b"\x00\x01", b"GET / HTTP", b"")
    assert stage.count(0) == 10
    assert stage.count(1) >= 9
    rows = stage.rows()
    assert rows["mocopi@127.0.0.2"]["skeletons"] == 1
    assert rows["mocopi@127.0.0.2"]["rig"] is rows["vmc@127.0.0.3"]["rig"] is True
    assert rows["vmc@127.0.0.3"]["frames"] >= 9
    heard = {row["app"] for row in rows.values() if row["kind"] == "phone" and row["frames"]}
    silent_apps = {"tdlidar"}  # sends turns alone
    assert heard >= {"zigsim", "gyrosc", "touchosc", "sensors2osc", "sensorlog", "android", "rime"} - silent_apps
    assert stage.sensors[0].undecodable == 3


def test_trackers_make_a_body(stack: ExitStack) -> None:
    """Trackers of one sender become limb frames once they have settled; recentre tells them apart anew."""
    stage = Stage(stack)
    sender = stage.sender()
    standing = {
        "1": ((0.0, 0.95, 0.0), (0.0, 0.0, 0.0)),
        "2": ((-0.1, 0.1, 0.0), (0.0, 0.0, 0.0)),
        "3": ((0.1, 0.1, 0.0), (0.0, 0.0, 0.0)),
        "head": ((0.0, 1.66, 0.0), (0.0, 0.0, 0.0)),
    }
    for _ in range(90):
        stage.now_ns += FRAME_NS
        stage.send(sender, *senders.vrchat(standing))
    assert stage.count(0) > 20
    assert stage.rows()["trackers@127.0.0.1"]["performer"] == 0
    before = stage.count(0)
    stage.hub.recentre(0)
    stage.now_ns += FRAME_NS
    stage.send(sender, *senders.vrchat(standing))
    assert stage.count(0) == before + 1
    assert stage.frames[0][-1]["flags"][0] & BREAK


def test_phones_without_a_name_are_their_addresses(stack: ExitStack) -> None:
    """Two GyrOSC phones at two addresses are two devices; a restarted one (new port) goes on being itself."""
    stage = Stage(stack)
    stage.phone(stage.sender("127.0.0.2"), "gyrosc")
    stage.phone(stage.sender("127.0.0.3"), "gyrosc")
    stage.phone(stage.sender("127.0.0.2"), "gyrosc")
    rows = stage.rows()
    assert set(rows) == {"127.0.0.2", "127.0.0.3"}
    assert rows["127.0.0.2"]["frames"] == 60
    assert (rows["127.0.0.2"]["role"], rows["127.0.0.3"]["role"]) == ("right", "left")


def test_two_phones_behind_one_address_are_told_apart_by_their_ports(stack: ExitStack) -> None:
    """Both speak: two devices; when both apps are started again their new ports take the two old places."""
    stage = Stage(stack)
    first, second = stage.sender(), stage.sender()
    for _ in range(40):
        stage.phone(first, "gyrosc", n=1)
        stage.phone(second, "gyrosc", n=1, gravity=(0.0, -senders.G, 0.0))
    assert set(stage.rows()) == {"127.0.0.1", "127.0.0.1#2"}
    downs = sorted(tuple(row["down"]) for row in stage.rows().values())
    assert downs == [(0.0, 0.0, -1.0), (0.0, 1.0, 0.0)] or len(set(downs)) == 2
    stage.now_ns += 2 * SECOND
    first, second = stage.sender(), stage.sender()
    for _ in range(40):
        stage.phone(first, "gyrosc", n=1)
        stage.phone(second, "gyrosc", n=1)
    assert set(stage.rows()) == {"127.0.0.1", "127.0.0.1#2"}


def test_a_phone_that_says_its_name_keeps_it_with_a_new_address(stack: ExitStack) -> None:
    """After a second of silence the same name from another address is the same phone; at once it is another one."""
    stage = Stage(stack)
    stage.phone(stage.sender("127.0.0.2"), "zigsim", "me")
    stage.phone(stage.sender("127.0.0.3"), "zigsim", "me")
    names = set(stage.rows())
    assert len(names) == 2
    (mine,) = names - {name for name in names if name.endswith("@127.0.0.3")}
    stage.now_ns += 2 * SECOND
    stage.phone(stage.sender("127.0.0.4"), "zigsim", "me")
    assert stage.rows()[mine]["frames"] == 60
    assert set(stage.rows()) == names


def test_phones_get_their_parts_and_it_is_said_once(stack: ExitStack) -> None:
    """First the right hand, then the left, then the torso; a fourth plays nothing. One notice each, no name in it."""
    stage = Stage(stack)
    for i in range(4):
        stage.phone(stage.sender(f"127.0.0.{i + 2}"), "zigsim", f"dev{i}", n=10)
    told = stage.hub.take_notices()
    assert ["right hand" in told[0], "left hand" in told[1], "torso" in told[2], len(told)] == [True, True, True, 3]
    assert not [text for text in told if "dev" in text or "127.0" in text]
    assert stage.hub.take_notices() == []
    assert stage.devices()["present"].tolist() == [1, 1, 1]
    assert stage.hub.take_heard() == {0}


def test_roles_from_the_configuration_and_from_people(stack: ExitStack) -> None:
    """Configured devices get their parts whenever they come; assigning changes hands; performers have their own."""
    stage = Stage(stack, ports=2, motion__performers=2, sensors__roles="0.left=127.0.0.2, 1.torso=127.0.0.3")
    stage.phone(stage.sender("127.0.0.2"), "gyrosc", n=16)
    stage.phone(stage.sender("127.0.0.3"), "gyrosc", n=16)
    stage.phone(stage.sender("127.0.0.4"), "gyrosc", n=16, port=1)
    assert stage.devices(0)["present"].tolist() == [1, 0, 0]
    assert stage.devices(1)["present"].tolist() == [0, 1, 1]
    assert stage.hub.answer({"command": "assign", "device": "127.0.0.4", "role": "0.right"}, stage.now_ns)
    assert stage.devices(0)["present"].tolist() == [1, 1, 0]
    assert stage.devices(1)["present"].tolist() == [0, 0, 1]
    stage.hub.assign("127.0.0.4", 0, "left")
    assert stage.rows()["127.0.0.2"]["role"] == "none"
    for request, message in {
        ("assign", "x", "2.left"): "0 to 1 may send",
        ("assign", "x", "9.left"): "none of 0 to 3",
        ("assign", "", "left"): "no device",
        ("dance", "", ""): "nothing that sensors know",
    }.items():
        with pytest.raises(UserError, match=message):
            stage.hub.answer({"command": request[0], "device": request[1], "role": request[2]}, 0)
    with pytest.raises(UserError, match="none of 0 to 1"):
        stage.hub.answer({"command": "recentre", "performer": 7}, 0)


def test_wrong_roles_in_the_configuration_are_refused_before_a_port_is_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mistake is named; nothing stays open."""
    monkeypatch.setattr("echelon_bridges.sensors.bind", lambda *_: pytest.fail("bound"))
    with pytest.raises(UsageError, match="did you mean 'left'"):
        Hub.open(make({"sensors.roles": "0.lft=x"}))


def test_delay_set_while_it_plays_judges_the_samples_of_phones(stack: ExitStack) -> None:
    """Samples 100 ms behind are late by a delay of 40 ms, and no longer once the delay covers them."""
    stage = Stage(stack)

    def late(delay_ms: float, behind_ns: int) -> int:
        stage.hub.delay_ns = round(delay_ms * 1e6)
        before = sum(row["late"] for row in stage.rows().values())
        for _ in range(10):
            stage.now_ns += FRAME_NS
            for data in PHONES["sensorlog"](Phone(time_s=stage.now_ns * 1e-9), "a"):
                assert not list(stage.hub.inject(0, "phone", data, stage.now_ns + behind_ns))
        return int(sum(row["late"] for row in stage.rows().values()) - before)

    assert late(40.0, 0) == 0
    assert late(40.0, 100_000_000) == 10
    assert late(200.0, 100_000_000) == 0


def test_devices_are_published_when_they_change_and_when_they_fall_silent(stack: ExitStack) -> None:
    """Nothing new, nothing published; after a second of silence the hand is not present; the focus counts, too."""
    stage = Stage(stack, ports=2, motion__performers=2)
    published: list[np.ndarray] = []

    def publish(focus: int = 0) -> int:
        before = len(published)
        stage.hub.publish(None, lambda _, record: published.append(record.copy()), focus, stage.now_ns)
        return len(published) - before

    assert publish() == 1
    assert publish() == 0
    stage.phone(stage.sender("127.0.0.2"), "zigsim", "a", user_acceleration=(0.0, 0.0, 3.0))
    assert publish() == 1
    assert published[-1].dtype == DEVICES
    assert published[-1]["present"][0].tolist() == [0, 1, 0]
    assert published[-1]["time_ns"][0, RIGHT] == pytest.approx(stage.now_ns, abs=SECOND // 10)
    assert published[-1]["latent"][0, RIGHT, 2] == pytest.approx(3.0, abs=0.1)
    assert publish() == 0
    stage.now_ns += SECOND // 2
    assert publish() == 1
    assert published[-1]["present"][0, RIGHT] == 1
    stage.now_ns += SECOND
    assert publish() == 1
    assert published[-1]["present"][0, RIGHT] == 0
    assert publish() == 0
    stage.phone(stage.sender("127.0.0.3"), "zigsim", "b", port=1)
    assert publish(0) == 1
    assert published[-1]["present"].sum() == 0
    assert publish(1) == 1
    assert published[-1]["present"][0, RIGHT] == 1


def test_several_bodies_on_one_port_become_performers_in_order(stack: ExitStack) -> None:
    """Three bodies, two performers: first come, first served; the third waits and is counted; each stream is whole."""
    stage = Stage(stack, motion__performers=2)
    sources = [stage.sender(f"127.0.0.{i + 2}") for i in range(3)]
    for n in range(20):
        stage.now_ns += FRAME_NS
        for source in sources:
            stage.send(source, body(n, 1)[-1])
    assert (stage.count(0), stage.count(1)) == (20, 20)
    for performer in (0, 1):
        frames = np.concatenate(stage.frames[performer])
        assert frames["number"].tolist() == list(range(1928, 1948))
        assert frames["flags"].tolist() == [BREAK] + [0] * 19
    assert stage.sensors[0].report(stage.now_ns)["refused"] == 20
    assert stage.rows()["mocopi@127.0.0.4"]["performer"] is None
    stage.hub.assign("127.0.0.4", 0, "body")
    stage.send(sources[2], body(20, 1)[-1])
    stage.send(sources[0], body(20, 1)[-1])
    assert stage.frames[0][-1]["flags"][0] & BREAK
    assert stage.count(0) == 21


def test_a_performer_on_two_ports_is_not_torn_apart(stack: ExitStack) -> None:
    """mocopi to one port and a relay of it as VMC to another, both of performer 0: the first plays."""
    stage = Stage(stack)
    stage.sensors.append(Sensor("vmc", 0, udp.bind("127.0.0.1", 0)))
    first, second = stage.sender("127.0.0.2"), stage.sender("127.0.0.3")
    relayed = [data for _, data in senders.vmc_frames(20)]
    for n in range(20):
        stage.now_ns += FRAME_NS
        stage.send(first, body(n, 1)[-1])
        stage.send(second, relayed[n], port=1)
    frames = np.concatenate(stage.frames[0])
    assert len(frames) == 20
    assert frames["flags"].tolist() == [BREAK] + [0] * 19


def test_recentre_counts_from_where_the_performer_stands(stack: ExitStack) -> None:
    """The next frame is the origin, facing forward; what plays (rotations, positions) stays as it was."""
    stage = Stage(stack)
    sender = stage.sender()
    stage.send(sender, *body(0, 5))
    before = stage.frames[0][-1].copy()
    assert before["heading"][0] != 0
    stage.hub.recentre()
    stage.send(sender, body(5, 1)[-1])
    after = stage.frames[0][-1]
    assert after["heading"][0] == pytest.approx(0.0, abs=1e-6)
    assert after["origin"][0].tolist() == pytest.approx([0.0, 0.93, 0.0])
    assert after["flags"][0] == BREAK


def test_payloads_from_messages_play_like_datagrams(stack: ExitStack) -> None:
    """`inject` takes what a port would, for one performer, within the same budget; `offer` takes ready frames."""
    stage = Stage(stack, motion__performers=2)
    hub = stage.hub
    got = [frames for data in body(0, 5) for at, frames in hub.inject(1, "suit", data, stage.now_ns) if at == 1]
    assert sum(map(len, got)) == 5
    for data in PHONES["zigsim"](Phone(), "p") * 30:
        stage.now_ns += FRAME_NS
        assert list(hub.inject(0, "phone", data, stage.now_ns)) == []
    assert stage.devices(0)["present"][RIGHT] == 1
    assert list(hub.inject(7, "x", body()[1], 0)) == []
    frames = np.zeros(1, LIMB_FRAME)
    frames["rotation"][..., 3] = 1.0
    offered = []
    for n in range(10):
        stage.now_ns += FRAME_NS
        frames["time_ns"] = 5 * SECOND + n * FRAME_NS  # the sender's own clock
        offered += [made for _, made in hub.offer(0, "ready", frames, stage.now_ns)]
        offered += [made for _, made in hub.offer(0, "ready", frames, stage.now_ns)]  # twice
    times = np.concatenate(offered)["time_ns"]
    assert np.diff(times).tolist() == [FRAME_NS] * 9
    assert times[-1] == stage.now_ns
    for _ in range(3000):
        list(hub.inject(0, "flood", b"/x\0\0,\0\0\0", stage.now_ns))
    report = next(row for row in hub.report(stage.now_ns) if row["name"] == "nats")
    assert report["over_budget"] > 1900


@pytest.mark.skipif(not kernel_filter.LINUX, reason="SO_TIMESTAMPNS is Linux's")
def test_arrivals_are_the_systems_not_ours(stack: ExitStack) -> None:
    """A datagram that waited 80 ms in the socket is stamped when it came, not when it was read."""
    stage = Stage(stack)
    sender = stage.sender()
    sender.sendto(body()[1], stage.sensors[0].port.address)
    time.sleep(0.08)
    ((_, frames),) = list(stage.hub.read(stage.sensors[0], stage.now_ns))
    waited_ns = stage.now_ns - int(frames["arrival_ns"][0])
    assert waited_ns >= 79_000_000


@pytest.mark.skipif(not kernel_filter.LINUX, reason="the system's counts are Linux's")
def test_what_the_system_drops_is_counted(stack: ExitStack) -> None:
    """More than the socket holds, before anybody reads: everything sent was either read or counted as dropped."""
    stage = Stage(stack)
    sender = stage.sender()
    data = body()[1]
    for _ in range(2000):
        sender.sendto(data, stage.sensors[0].port.address)
    counts = stage.sensors[0].port
    wait_for(lambda: list(stage.hub.read(stage.sensors[0], stage.now_ns)) or counts.dropped > 0, "drops")
    while counts.drain(stage.now_ns):
        pass
    assert counts.counts.datagrams + counts.dropped == 2000
    assert stage.sensors[0].report(stage.now_ns)["dropped"] == counts.dropped > 0


def test_devices_are_bounded_and_forgotten(stack: ExitStack) -> None:
    """However many names are sent, 64 are kept; those silent for a minute are listed no more, unless assigned."""
    stage = Stage(stack)
    sender = stage.sender()
    for i in range(100):
        stage.send(sender, *PHONES["zigsim"](Phone(), f"d{i}"))
    assert len(stage.hub.phones.devices) == 64
    name = next(iter(stage.rows()))
    stage.hub.assign(name, 0, "left")
    stage.now_ns += 61 * SECOND
    assert set(stage.rows()) == {name}
