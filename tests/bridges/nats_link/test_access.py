"""The example of access control in deploy/, on a real server: each role can do what it should and no more."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from engines import wait_for
from nats_rig import Server, Stage, client, limb_frame, needs_nats, run

EXAMPLE = Path(__file__).resolve().parents[3] / "deploy" / "nats-server.conf"
pytestmark = needs_nats
ROLES = ("engine", "desk", "sensors", "audience")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server with the example's configuration, on a free port."""
    made = Server(tmp_path)
    made.close()
    text = EXAMPLE.read_text("utf-8").replace("/var/lib/nats", str(tmp_path / "store"))
    text = re.sub(r"port: 4222", f"port: {made.port}", text)
    for role in ROLES:
        text = text.replace(f"$ECHELON_{role.upper()}", f'"{role}-word"')
    (tmp_path / "server.conf").write_text(text, "utf-8")
    made.start()
    yield made
    made.close()


def url(server: Server, role: str) -> str:
    """Return the URL of a role."""
    return f"nats://{role}:{role}-word@127.0.0.1:{server.port}"


def test_roles(server: Server) -> None:
    """The engine lacks nothing; the audience hears all but bodies and commands nothing; sensors only send."""
    stage = Stage(url=url(server, "engine"), body=True)

    async def work() -> None:
        refused: list[str] = []

        async def note_refusal(error: Exception) -> None:
            refused.append(str(error))

        heard: set[str] = set()

        async def hear(message: Any) -> None:
            heard.add(message.subject.removeprefix("echelon.echelon."))

        async with client(url(server, "audience"), error_cb=note_refusal) as audience:
            await audience.subscribe("echelon.>", cb=hear)
            await audience.flush()
            for number in range(3):
                stage.offer(121)
                stage.outlet.body(0, limb_frame(number))
            wait_for(lambda: stage.outlet.report()["bars_stored"] >= 2, "bars")
            while not {"params", "state", "bar", "health"} <= heard:
                await asyncio.sleep(0.02)
            assert not any(subject.startswith("body") for subject in heard)
            assert json.loads((await audience.request("echelon.echelon.snapshot", b"", timeout=30)).data)["params"]
            stored = await audience.jetstream().subscribe("echelon.echelon.bar", ordered_consumer=True)
            assert json.loads((await stored.next_msg(30)).data)["id"] == "s-1-0"
            await audience.publish("echelon.echelon.command.panic", b"{}")
            await audience.publish("echelon.echelon.motion.0.a", b"x")
            await audience.flush()
            await asyncio.sleep(0.2)
            assert len([text for text in refused if "permissions violation" in text.lower()]) == 2
        async with client(url(server, "desk")) as desk:
            assert json.loads((await desk.request("echelon.echelon.command.panic", b"", timeout=30)).data)["ok"]
        async with client(url(server, "sensors")) as sensors:
            await sensors.publish("echelon.echelon.motion.0.a", b"y")
            await sensors.flush()
        wait_for(lambda: stage.injected, "motion")
        assert [motion[:3] for motion in stage.injected] == [(0, "a", b"y")]

    try:
        wait_for(stage.connected, "the connection")
        run(work)
        assert [text for event, text in stage.said if event == "warning"] == []
    finally:
        stage.close()


def test_missing_permission_is_said(server: Server) -> None:
    """An engine that may not publish is told what is forbidden, and the rest goes on."""
    stage = Stage(url=url(server, "desk"))
    try:
        wait_for(stage.connected, "the connection")
        stage.offer(2)
        wait_for(
            lambda: stage.said_with("forbids something", "echelon.echelon.params", "deploy/nats-server.conf"), "it"
        )
        assert stage.connected()
    finally:
        stage.close()


def test_other_engines_stream_is_closed(server: Server) -> None:
    """The engine's role is for one name: another engine under it is told so, and nothing of it is stored."""
    stage = Stage("other", url=url(server, "engine"))
    try:
        stage.offer(121)
        wait_for(lambda: stage.said_with("forbids something", "other"), "the warning")
        assert stage.outlet.report()["bars_stored"] == 0
    finally:
        stage.close()


def test_example_is_valid() -> None:
    """The server itself finds no fault with the example."""
    from nats_rig import PROGRAM

    assert PROGRAM is not None
    words = {f"ECHELON_{role.upper()}": "word" for role in ROLES}
    checked = subprocess.run(
        [PROGRAM, "-t", "-c", str(EXAMPLE)], env=words, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
