"""What servers do to the outlet, and what must not reach the music: each fault on a real server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from engines import wait_for
from nats_rig import Server, Stage, client, free_tcp_port, needs_nats, run, stored_ids

from echelon_bridges.nats_link import connection, link

pytestmark = needs_nats
BAR_FRAMES = 12  # five bars a second
CLOSE_S = 2.5  # 2 s, and a busy machine


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server of the test's own."""
    made = Server(tmp_path)
    yield made
    made.close()


def in_order(ids: list[str], *, grids: bool = False) -> list[str]:
    """Return the ids that should be: every bar from the first on, once, each after the grid that began in it."""
    if grids:
        return [f"s-1-{i // 2}{'' if i % 2 else '-grid'}" for i in range(len(ids))]
    return [f"s-1-{bar}" for bar in range(len(ids))]


async def finish(stage: Stage, server: Server) -> list[str]:
    """Wait until every bar is stored and return the ids in the stream."""
    wait_for(lambda: stage.outlet.report()["bars_waiting"] == 0, "the outbox to empty")
    async with client(server.url) as connection:
        return await stored_ids(connection)


def check_music(stage: Stage) -> None:
    """The feeding side was never held up, whatever the server did."""
    assert stage.longest_s < 0.5
    assert stage.outlet.report()["bars_lost"] == 0


def test_killed_and_restarted(server: Server) -> None:
    """A server killed twice in the middle of everything: each bar and grid is stored once, in order; it goes on."""
    stage = Stage(url=server.url, grids=True)
    try:
        stage.play(bar_frames=BAR_FRAMES)
        for stored in (3, 8):
            wait_for(lambda at_least=stored: stage.outlet.report()["bars_stored"] >= at_least, "bars")
            server.signal(signal.SIGKILL)
            wait_for(lambda: not stage.connected(), "the loss to be seen")
            wait_for(lambda: stage.outlet.report()["bars_waiting"] >= 3, "bars that wait")
            server.start()
            wait_for(stage.connected, "the connection")
        published = stage.outlet.report()["published"]
        wait_for(lambda: stage.outlet.report()["published"] > published + 10, "params")
        check_music(stage)
        assert stage.said_with("ended the connection", "the music goes on")
        assert stage.said_with("refuses the connection")
    finally:
        stage.close()
    ids = run(lambda: finish(stage, server))
    assert len(ids) >= 28
    assert ids == in_order(ids, grids=True)
    report = stage.outlet.report()
    assert report["bars_stored"] + report["grids_stored"] == len(ids)
    assert report["gaps"]["params"] > 0


def test_stopped_for_seconds(server: Server) -> None:
    """A stopped server: nothing piles up, the gap is counted and resumes with fresh values, bars are all there once."""
    stage = Stage(url=server.url)
    gaps: list[int] = []
    ages: list[float] = []

    async def work() -> None:
        async with client(server.url, ping_interval=60) as consumer:
            numbers: list[int] = []

            async def heard(message: Any) -> None:
                params = json.loads(message.data)
                if numbers:
                    gaps.append(params["sequence"] - numbers[-1] - 1)
                numbers.append(params["sequence"])
                ages.append((time.monotonic_ns() - params["monotonic_ns"]) / 1e9)

            await consumer.subscribe("echelon.echelon.params", cb=heard)
            await consumer.flush()
            stage.play(bar_frames=BAR_FRAMES)
            while len(numbers) < 30:
                await asyncio.sleep(0.02)
            server.signal(signal.SIGSTOP)
            await asyncio.sleep(4.0)
            server.signal(signal.SIGCONT)
            resumed = len(numbers)
            while len(numbers) < resumed + 150:
                await asyncio.sleep(0.02)

    try:
        run(work)
        check_music(stage)
        report = stage.outlet.report()
        assert 60 < sum(gaps) <= report["gaps"]["params"]  # later ones may have been counted since
        assert report["connections"] == 1
        assert ages[-1] < 2.0
        assert max(ages) < 5.5
    finally:
        stage.close()
    ids = run(lambda: finish(stage, server))
    assert ids == in_order(ids)
    assert len(ids) >= 20


def test_close_while_stopped(server: Server) -> None:
    """A server that is stopped does not hold the end up."""
    stage = Stage(url=server.url)
    stage.play(bar_frames=BAR_FRAMES)
    wait_for(lambda: stage.outlet.report()["bars_stored"] >= 1, "a bar")
    server.signal(signal.SIGSTOP)
    wait_for(lambda: stage.outlet.report()["bars_waiting"] >= 2, "bars that wait")
    assert stage.close() < CLOSE_S
    assert stage.said_with("bars could not be stored")


def test_close_in_order(server: Server) -> None:
    """At the end what waits is stored, and the server sees the connection leave."""
    stage = Stage(url=server.url)
    wait_for(stage.connected, "the connection")
    stage.offer(121 * 3)
    assert stage.close() < CLOSE_S
    assert stage.outlet.report()["bars_waiting"] == 0
    assert not any(event == "warning" for event, _ in stage.said)
    assert not any(thread.name == "nats" and thread.is_alive() for thread in threading.enumerate())


def test_more_than_a_thousand_bars_wait(server: Server) -> None:
    """Bars of an hour without a server are all stored, once and in order, when it comes back."""
    server.signal(signal.SIGKILL)
    stage = Stage(url=server.url)
    try:
        for _ in range(11):
            stage.offer(1200, bar_frames=BAR_FRAMES)
        stage.offer(1, bar_frames=BAR_FRAMES)
        assert stage.outlet.report()["bars_waiting"] == 1100
        server.start()
        wait_for(lambda: stage.outlet.report()["bars_stored"] == 1100, "all bars", 120.0)
        ids = run(lambda: finish(stage, server))
        assert ids == in_order(ids)
        assert len(ids) == 1100
    finally:
        stage.close()


def test_stored_but_not_acknowledged(server: Server) -> None:
    """A bar whose acknowledgement was lost is not stored again, even by a server that forgot its id."""

    async def store_before() -> None:
        async with client(server.url) as connection:
            stream = connection.jetstream()
            subjects = ["echelon.echelon.bar", "echelon.echelon.grid"]
            await stream.add_stream(name="ECHELON_echelon", subjects=subjects, duplicate_window=0.1)
            await stream.publish(subjects[0], b'{"id": "s-1-0"}', headers={"Nats-Msg-Id": "s-1-0"})

    run(store_before)
    server.signal(signal.SIGKILL)
    stage = Stage(url=server.url)
    try:
        stage.offer(121 * 4)
        server.start()
        assert run(lambda: finish(stage, server)) == ["s-1-0", "s-1-1", "s-1-2", "s-1-3"]
    finally:
        stage.close()


def test_slow_consumer(server: Server) -> None:
    """Somebody who listens and never reads is the server's affair: others get everything."""
    stage = Stage(url=server.url)

    async def work() -> None:
        slow = socket.create_connection(("127.0.0.1", server.port))
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.sendall(b"CONNECT {}\r\nSUB echelon.> 1\r\nPING\r\n")
        try:
            async with client(server.url) as connection:
                numbers: list[int] = []

                async def heard(message: Any) -> None:
                    numbers.append(json.loads(message.data)["sequence"])

                await connection.subscribe("echelon.echelon.params", cb=heard)
                await connection.flush()
                wait_for(stage.connected, "the connection")
                for _ in range(600):
                    stage.offer(1)
                    await asyncio.sleep(0.001)
                while len(numbers) < 400:
                    await asyncio.sleep(0.02)
                assert len(numbers) == len(set(numbers))
        finally:
            slow.close()

    try:
        run(work)
        check_music(stage)
    finally:
        stage.close()


class Cable:
    """A line to a server that can be cut without either end being told, as when an interface goes away."""

    def __init__(self, port: int) -> None:
        self.cut = False
        self._port = port
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._door.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                guest, _ = self._door.accept()
                host = socket.create_connection(("127.0.0.1", self._port))
                for one, other in ((guest, host), (host, guest)):
                    threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError), source, sink:
            while data := source.recv(65536):
                while self.cut:
                    time.sleep(0.02)
                sink.sendall(data)

    def close(self) -> None:
        """Take the plug out."""
        self.cut = False
        self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()


def test_line_goes_dead(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that goes dead without a word is noticed, cut and made anew; bars are stored once and in order."""
    monkeypatch.setattr(link, "GONE_S", 1.5)
    monkeypatch.setattr(connection, "CONNECT_S", 0.5)
    cable = Cable(server.port)
    stage = Stage(url=f"nats://127.0.0.1:{cable.port}")
    try:
        stage.play(bar_frames=BAR_FRAMES)
        wait_for(lambda: stage.outlet.report()["bars_stored"] >= 2, "bars")
        cable.cut = True
        wait_for(lambda: stage.said_with("has not answered for 1.5 s"), "the loss to be seen")
        wait_for(lambda: stage.said_with("did not answer within"), "an attempt to fail")
        cable.cut = False
        wait_for(stage.connected, "the connection")
        check_music(stage)
        ids = run(lambda: finish(stage, server))
        assert ids == in_order(ids)
    finally:
        stage.close()
        cable.close()


@contextlib.contextmanager
def listening(answer: bytes) -> Iterator[int]:
    """Listen on a port as something that is no NATS server and says `answer` to whoever connects."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        kept: list[socket.socket] = []

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    guest, _ = door.accept()
                    kept.append(guest)
                    guest.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield int(door.getsockname()[1])
        finally:
            door.shutdown(socket.SHUT_RDWR)
            for guest in kept:
                guest.close()


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [(b"SSH-2.0-x\r\n", "is no NATS server"), (b"", "did not answer"), (b"INFO {\r\n", "is no NATS")],
)
def test_something_else_listens(answer: bytes, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong port is said in one sentence, said once, and tried again; the end is not held up."""
    monkeypatch.setattr(connection, "CONNECT_S", 0.5)
    with listening(answer) as port:
        stage = Stage(url=f"nats://127.0.0.1:{port}")
        try:
            wait_for(lambda: stage.said_with(f"nats://127.0.0.1:{port}", sentence), "the warning")
            stage.offer(240)
            check_music(stage)
        finally:
            assert stage.close() < CLOSE_S
        assert sum(sentence in text for _, text in stage.said) == 1


def test_nobody_listens_and_unknown_host() -> None:
    """A refused connection and a name that is not known are said with the address and the remedy."""
    port = free_tcp_port()
    for url, sentence in (
        (f"127.0.0.1:{port}", "nothing listens there"),
        ("nats://no.such.host.invalid", "is not known"),
    ):
        stage = Stage(url=url)
        try:
            wait_for(lambda stage=stage, sentence=sentence: stage.said_with(sentence, "nats.url"), "the warning")
        finally:
            assert stage.close() < CLOSE_S
