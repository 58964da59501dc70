"""The embedded server: started, found taken, killed, left behind by a killed parent."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from engines import alive, wait_for
from nats_rig import Server, Stage, client, free_tcp_port, needs_nats, run, stored_ids

from echelon_bridges.nats_link import server
from echelon_bridges.nats_link.server import folder_of, greeting

pytestmark = needs_nats


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """The folder of the servers' stores."""
    made = tmp_path / "nats"
    yield made
    logs = {path: path.read_text() for path in made.glob("*/server.log")}
    print(logs)


def pid_of(stage: Stage) -> int:
    """Return the process id of a stage's embedded server, once it is connected."""
    wait_for(stage.connected, "the connection")
    return int(wait_for(lambda: stage.outlet.report()["embedded_pid"], "a server"))


def test_starts_stores_and_stops(folder: Path) -> None:
    """It starts on loopback, stores bars in a private folder, and is gone after the end; they are there next time."""
    for _ in range(2):
        stage = Stage(url="embedded", port=0, folder=str(folder))
        pid = pid_of(stage)
        stage.offer(121)
        wait_for(lambda stage=stage: stage.outlet.report()["bars_stored"] == 1, "a bar")
        url = stage.outlet.report()["server"]
        assert url.startswith("nats://127.0.0.1:")

        async def count(url: str = url) -> int:
            async with client(url) as connection:
                return int((await connection.jetstream().stream_info("ECHELON_echelon")).state.messages)

        # The same session again stores nothing twice.
        assert run(count) == 1
        assert stage.close() < 2.5
        wait_for(lambda pid=pid: not alive(pid), "the server to end")
    assert (folder / "echelon").stat().st_mode & 0o077 == 0
    assert stage.said_with("NATS server on 127.0.0.1", str(folder))


def test_killed_server_is_started_again(folder: Path) -> None:
    """A killed server is replaced, on the same port and store, and no bar is missing."""
    stage = Stage(url="embedded", port=free_tcp_port(), folder=str(folder))
    try:
        pid = pid_of(stage)
        stage.offer(241)
        wait_for(lambda: stage.outlet.report()["bars_stored"] == 2, "bars")
        os.kill(pid, signal.SIGKILL)
        stage.offer(240)
        wait_for(lambda: stage.outlet.report()["bars_stored"] == 4, "bars")
        assert pid_of(stage) != pid

        async def ids() -> list[str]:
            async with client(stage.outlet.report()["server"]) as connection:
                return await stored_ids(connection)

        assert run(ids) == [f"s-1-{bar}" for bar in range(4)]
    finally:
        stage.close()


def test_stopped_server_is_ended(folder: Path) -> None:
    """A server that is stopped is killed at the end, within the time."""
    stage = Stage(url="embedded", port=0, folder=str(folder))
    pid = pid_of(stage)
    os.kill(pid, signal.SIGSTOP)
    assert stage.close() < 2.5
    wait_for(lambda: not alive(pid), "the server to end")


def test_second_engine_joins_the_first_ones_server(folder: Path) -> None:
    """Two engines on one port: the second says that it uses the first one's server; later it starts its own."""
    port = free_tcp_port()
    first = Stage("one", url="embedded", port=port, folder=str(folder))
    pid_of(first)
    second = Stage("two", url="embedded", port=port, folder=str(folder))
    try:
        wait_for(second.connected, "the second")
        assert second.said_with(f"port {port}", "using that one", "nats.port")
        assert second.outlet.report()["embedded_pid"] is None
        second.offer(121)
        wait_for(lambda: second.outlet.report()["bars_stored"] == 1, "a bar on the first one's server")
        first.close()
        pid_of(second)
        second.offer(120)
        wait_for(lambda: second.outlet.report()["bars_stored"] == 2, "a bar on its own")
    finally:
        first.close()
        second.close()


def test_two_engines_that_start_servers_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both find the port free, one is first: the other joins it, and nothing is said of a failure."""
    port = free_tcp_port()
    first = Stage("one", url="embedded", port=port, folder=str(folder))
    pid_of(first)
    looked = []

    def late(port: int) -> dict[str, Any] | None:
        """See nobody at the first look, as before the other one has begun."""
        looked.append(port)
        return greeting(port) if len(looked) > 1 else None

    monkeypatch.setattr(server, "greeting", late)
    second = Stage("two", url="embedded", port=port, folder=str(folder))
    try:
        wait_for(second.connected, "the second")
        assert second.said_with(f"port {port}", "using that one", "nats.port")
        assert all(event == "notice" for event, _ in second.said)
        assert second.outlet.report()["connections"] == 1
        assert second.outlet.report()["embedded_pid"] is None
    finally:
        second.close()
        first.close()


def test_two_engines_with_their_own_servers(folder: Path) -> None:
    """Two engines with ports of their own keep their stores apart."""
    stages = [Stage(name, url="embedded", port=0, folder=str(folder)) for name in ("one", "two")]
    try:
        assert pid_of(stages[0]) != pid_of(stages[1])
        assert (folder / "one" / "jetstream").is_dir()
        assert (folder / "two" / "jetstream").is_dir()
    finally:
        for stage in stages:
            stage.close()


def test_port_taken_by_something_else(folder: Path) -> None:
    """A port that something else has is named, with the remedy; when it is free the server starts."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
        stage = Stage(url="embedded", port=port, folder=str(folder))
        try:
            wait_for(lambda: stage.said_with(f"port {port}", "no NATS server", "nats.port"), "the warning")
            door.close()
            pid_of(stage)
        finally:
            assert stage.close() < 2.5


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """A folder that cannot be made is named, with the remedy."""
    (tmp_path / "file").write_text("")
    stage = Stage(url="embedded", port=0, folder=str(tmp_path / "file"))
    try:
        wait_for(lambda: stage.said_with("cannot be written", "nats.folder"), "the warning")
    finally:
        assert stage.close() < 2.5


@pytest.mark.parametrize("how", ["become", "watch"])
def test_server_dies_with_its_parent(how: str, tmp_path: Path) -> None:
    """A killed parent takes its server with it, in the system's way (Linux) and in the other."""
    if how == "become" and sys.platform != "linux":
        pytest.skip("the system's way is Linux's")
    folder = Path(sys.modules[folder_of.__module__].__file__ or "").parent
    child = (
        "import sys; sys.path.insert(0, sys.argv[1]); import keeper; "
        f"sys.exit(keeper.{how}(int(sys.argv[2]), sys.argv[3:]))"
    )
    parent_code = (
        "import os, subprocess, sys, time; "
        "subprocess.Popen([sys.executable, '-c', sys.argv[1], sys.argv[2], str(os.getpid()), *sys.argv[3:]]); "
        "time.sleep(600)"
    )
    program = ["/bin/sh", "-c", f"echo $$ > {tmp_path}/pid; exec sleep 600"]
    parent = subprocess.Popen([sys.executable, "-c", parent_code, child, str(folder), *program])
    try:
        written = tmp_path / "pid"
        pid = int(wait_for(lambda: written.exists() and written.read_text().strip(), "the program"))
        assert alive(pid)
        parent.kill()
        parent.wait()
        wait_for(lambda: not alive(pid), "the program to end with its parent")
    finally:
        parent.kill()
        parent.wait()


def test_greeting_knows_a_nats_server(tmp_path: Path) -> None:
    """What answers on a port is told apart: a NATS server, something else, nobody."""
    found = Server(tmp_path)
    try:
        assert "server_id" in (greeting(found.port) or {})
    finally:
        found.close()
    assert greeting(found.port) is None
    with socket.create_server(("127.0.0.1", 0)) as door:
        assert greeting(door.getsockname()[1], 0.1) == {}


def test_folders_are_per_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """No two engines share a store, wherever it is."""
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert folder_of("a", "") == Path("/state/echelon/nats/a")
    assert folder_of("a", "/x") != folder_of("b", "/x")
