"""What the outlet publishes, stores and answers, on a real server."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import numpy as np
import pytest
from engines import wait_for
from nats_rig import (
    NO_CONTROLS,
    NO_EVENTS,
    Server,
    Stage,
    client,
    limb_frame,
    listen,
    needs_nats,
    note_event,
    run,
    stored_ids,
)

from echelon_bridges.messages import encoding, limbs, table
from echelon_bridges.messages.commands import Reply
from echelon_bridges.performers import PERFORMER
from echelon_engine.parameters import PARAMETERS

pytestmark = needs_nats


def two_performers() -> Any:
    """What two performers do: the first moves, the second is absent."""
    states = np.zeros(2, PERFORMER)
    states["performer"], states["present"], states["energy"] = (0, 1), (1, 0), (0.5, 0.0)
    states["x_valid"][0], states["time_ns"] = 3, time.monotonic_ns()
    return states


@pytest.mark.parametrize("kind", ["json", "msgpack"])
def test_every_subject_is_published(server: Server, kind: encoding.Name) -> None:
    """Each outgoing subject of the table that is sent now arrives, typed, in both encodings."""
    stage = Stage(f"all_{kind}", grids=True, url=server.url, encoding=kind, body=True)

    async def work() -> dict[str, Any]:
        heard: dict[str, Any] = {}
        async with client(server.url) as connection:
            waiting = await listen(connection, f"echelon.all_{kind}.>")
            wait_for(stage.connected, "the connection")
            stage.play(bar_frames=12)
            names = {"params", "state", "performers", "events", "bar", "grid", "health", "body.1"}
            number = 0
            while names - heard.keys():
                stage.outlet.offer(NO_CONTROLS, note_event(number), time.monotonic_ns())
                stage.outlet.body(1, limb_frame(number))
                stage.outlet.performers(two_performers())
                number += 1
                message = await asyncio.wait_for(waiting.get(), 30)
                heard[message.subject.removeprefix(f"echelon.all_{kind}.")] = message.data
        return heard

    try:
        heard = run(work)
    finally:
        stage.close()
    for name, data in heard.items():
        row = table.SUBJECTS["body.<performer>" if name.startswith("body") else name]
        message = encoding.decode(data, row.message, name)
        assert (message.engine, message.version) == (f"all_{kind}", table.VERSION)
        assert message.sequence >= 1
        assert encoding.encoding_of(data) == kind
    assert [*json.loads(encoding.encode(encoding.decode(heard["params"], table.Params, ""), "json"))["value"]] == [
        row.name for row in PARAMETERS
    ]
    assert limbs.is_frame(heard["body.1"])
    told = encoding.decode(heard["performers"], table.Performers, "").performers
    assert [(one.performer, one.present, one.energy) for one in told] == [(0, True, 0.5), (1, False, 0.0)]
    assert told[0].x_valid == [True, True, False, False, False, False]


def test_bodies_stay_home_unless_asked_for(server: Server) -> None:
    """Limb frames leave only with nats.body on."""
    stage = Stage("private", url=server.url)

    async def work() -> set[str]:
        async with client(server.url) as connection:
            waiting = await listen(connection, "echelon.private.>")
            wait_for(stage.connected, "the connection")
            subjects = set()
            for number in range(30):
                stage.outlet.body(0, limb_frame(number))
                stage.offer(1)
                subjects.add((await asyncio.wait_for(waiting.get(), 30)).subject)
        return subjects

    try:
        assert not any("body" in subject for subject in run(work))
    finally:
        stage.close()


def test_bodies_leave_without_a_control_record(server: Server) -> None:
    """Where the callback says nothing, a body goes out with one of the next empty turns."""
    stage = Stage("alone", url=server.url, body=True)

    async def work() -> str:
        async with client(server.url) as connection:
            waiting = await listen(connection, "echelon.alone.body.*")
            wait_for(stage.connected, "the connection")
            stage.outlet.body(2, limb_frame(1))
            deadline = time.monotonic() + 10
            while waiting.empty() and time.monotonic() < deadline:
                stage.outlet.offer(NO_CONTROLS, NO_EVENTS, time.monotonic_ns())
                await asyncio.sleep(0.005)
            return str((await asyncio.wait_for(waiting.get(), 1)).subject)

    try:
        assert run(work) == "echelon.alone.body.2"
    finally:
        stage.close()


def test_rate_is_kept(server: Server) -> None:
    """With nats.rate_hz 10, one in six control frames is sent; the sequence has no gaps."""
    stage = Stage("slow_rate", url=server.url, rate_hz=10.0)

    async def work() -> list[tuple[int, int]]:
        async with client(server.url) as connection:
            waiting = await listen(connection, "echelon.slow_rate.params")
            wait_for(stage.connected, "the connection")
            read = []
            for _ in range(60):
                stage.offer(1)
                await asyncio.sleep(0.002)
            while len(read) < 10:
                message = json.loads((await asyncio.wait_for(waiting.get(), 30)).data)
                read.append((message["sequence"], message["frame"]))
            assert waiting.empty()
        return read

    try:
        read = run(work)
    finally:
        stage.close()
    assert [sequence for sequence, _ in read] == list(range(1, 11))
    assert set(np.diff([frame for _, frame in read])) == {6}


async def ask(connection: Any, subject: str, fields: Any, kind: encoding.Name = "json") -> Any:
    """Return the reply to a request."""
    data = fields if isinstance(fields, bytes) else encoding.encode(fields, kind)
    return await connection.request(subject, data, timeout=30)


def test_commands_are_answered(server: Server) -> None:
    """Each command does what it says, in either encoding, and refusals say the rule."""
    stage = Stage("asked", url=server.url)
    root = "echelon.asked.command."

    async def work() -> None:
        async with client(server.url) as connection:
            wait_for(stage.connected, "the connection")

            async def reply(word: str, fields: Any, kind: encoding.Name = "json") -> Reply:
                answer = await ask(connection, root + word, fields, kind)
                assert encoding.encoding_of(answer.data) == kind
                return encoding.decode(answer.data, Reply, "reply")

            done = await reply("set", {"key": "master", "value": -6})
            assert (done.ok, done.answer) == (True, {"key": "master", "value": "-6"})
            done = await reply("set", {"key": "mute", "value": True}, "msgpack")
            assert done.answer == {"key": "mute", "value": "on"}
            assert (await reply("get", {"key": "mute"})).answer == {"values": {"mute": "off"}}
            assert (await reply("get", b"")).answer["values"]["master"] == "0 dB"
            assert (await reply("status", b"")).answer["status"]["blocks"] == 10
            assert (await reply("panic", {})).ok
            assert {"command": "set", "key": "panic", "value": "now"} in stage.desk.asked
            told = encoding.decode((await ask(connection, root + "cue", {"which": "groove"})).data, Reply, "")
            assert told.answer == {"cue": {"number": 2, "name": "groove"}}
            await ask(connection, root + "cue", b"{}")
            assert stage.desk.asked[-1] == {"command": "cue", "which": "next"}
            for key, value in (("energy_scale.2", 1.5), ("velocity_scale.0", 3), ("track.kick.solo", True)):
                await ask(connection, root + "set", {"key": key, "value": value})
            assert stage.desk.asked[-3:] == [
                {"command": "set", "key": "energy_scale.2", "value": "1.5"},
                {"command": "set", "key": "velocity_scale.0", "value": "3"},
                {"command": "set", "key": "track.kick.solo", "value": "on"},
            ]
            assert (await reply("note", {"key": 7, "pitch": 61.5, "velocity": 0.5})).ok
            assert (await reply("note", {"key": 7, "on": False})).ok
            assert stage.desk.notes == [(7, 61.5, 0.5, 0.0), (7,)]
            for word, fields, part in (
                ("set", {"key": "unknown", "value": 1}, "no such live setting"),
                ("set", {"key": "master", "value": 1, "file": "x"}, "file"),
                ("note", {"key": 1, "velocity": 2}, "velocity"),
                ("set", b" " * 9000, "8192"),
                ("status", b"\xff\xfe", "one JSON or MessagePack object"),
            ):
                answer = await ask(connection, root + word, fields)
                refused = encoding.decode(answer.data, Reply, "reply")
                assert not refused.ok
                assert part in (refused.error or "")
                assert answer.headers["Nats-Service-Error-Code"] == "400"
                assert part in answer.headers["Nats-Service-Error"]

    try:
        run(work)
        assert stage.outlet.report()["requests_refused"] == 5
    finally:
        stage.close()


def test_request_rate_is_bounded(server: Server) -> None:
    """More requests than the rate allows are refused at once, and later ones are answered again."""
    stage = Stage("many", url=server.url)

    async def work() -> None:
        async with client(server.url) as connection:
            wait_for(stage.connected, "the connection")
            asked = [ask(connection, "echelon.many.command.note", {"key": 1}) for _ in range(900)]
            answers = [encoding.decode(one.data, Reply, "") for one in await asyncio.gather(*asked)]
            refused = [one for one in answers if not one.ok]
            assert len(refused) > 300
            assert "faster than" in (refused[0].error or "")
            await asyncio.sleep(0.5)
            assert encoding.decode((await ask(connection, "echelon.many.command.note", {"key": 1})).data, Reply, "").ok

    try:
        run(work)
    finally:
        stage.close()


def test_snapshot_for_late_joiners(server: Server) -> None:
    """A snapshot has the newest of everything and the notes that sound."""
    stage = Stage("late", grids=True, url=server.url)

    async def work() -> None:
        async with client(server.url) as connection:
            wait_for(stage.connected, "the connection")
            empty = encoding.decode((await ask(connection, "echelon.late.snapshot", b"")).data, table.Snapshot, "")
            assert (empty.params, empty.state, empty.bar, empty.grid, empty.notes) == (None, None, None, None, [])
            stage.offer(121, np.concatenate([note_event(1), note_event(2), note_event(1, kind=2)]))
            for subject in ("echelon.late.snapshot", "echelon.late.command.snapshot"):
                made = encoding.decode((await ask(connection, subject, b"{}")).data, table.Snapshot, "")
                assert made.params is not None
                assert made.state is not None
                assert made.bar is not None
                assert (made.params.frame, made.state.frame, made.bar.bar) == (120, 120, 0)
                assert [(note.kind, note.key) for note in made.notes] == [("on", 2)]
                assert made.grid is not None
                assert made.state.band is not None
                assert (made.grid.number, made.grid.bar, made.state.band.grid) == (2, 1, 2)
                assert made.bar.grid == [[1] * 32] * 12

    try:
        run(work)
    finally:
        stage.close()


def test_service_is_discoverable(server: Server) -> None:
    """PING, INFO and STATS find the service the NATS way, with its engine and every command."""
    stage = Stage("found", url=server.url)

    async def work() -> None:
        async with client(server.url) as connection:
            wait_for(stage.connected, "the connection")
            found = await listen(connection, "inbox.ping")
            await connection.publish("$SRV.PING", reply="inbox.ping")
            while (ping := json.loads((await asyncio.wait_for(found.get(), 30)).data))["metadata"]["engine"] != "found":
                pass
            assert ping["name"] == "echelon-engine"
            info = json.loads((await ask(connection, f"$SRV.INFO.echelon-engine.{ping['id']}", b"")).data)
            subjects = {endpoint["subject"] for endpoint in info["endpoints"]}
            words = ("set", "get", "status", "cue", "panic", "note", "snapshot")
            assert subjects == {f"echelon.found.command.{word}" for word in words} | {"echelon.found.snapshot"}
            await ask(connection, "echelon.found.command.get", b"{}")
            stats = json.loads((await ask(connection, f"$SRV.STATS.echelon-engine.{ping['id']}", b"")).data)
            assert {row["name"]: row["num_requests"] for row in stats["endpoints"]}["command-get"] == 1

    try:
        run(work)
    finally:
        stage.close()


def test_motion_comes_in(server: Server) -> None:
    """Motion payloads reach the hub with performer and device; wrong performers and large payloads do not."""
    stage = Stage("moved", url=server.url)

    async def work() -> None:
        async with client(server.url) as connection:
            wait_for(stage.connected, "the connection")
            await connection.publish("echelon.moved.motion.2.zigsim:abc", b"/accxyz")
            for subject, data in (
                ("echelon.moved.motion.4.a", b"x"),
                ("echelon.moved.motion.00.a", b"x"),
                ("echelon.moved.motion.1.a", b"x" * 8193),
            ):
                await connection.publish(subject, data)
            await connection.flush()
            wait_for(lambda: stage.outlet.report()["motion_refused"] == 3, "refusals")
            for number in range(6000):
                await connection.publish("echelon.moved.motion.0.flood", b"x")
                if number % 500 == 499:  # no faster than one subscription may hold messages
                    await connection.flush()
                    await asyncio.sleep(0.02)
            await connection.publish("echelon.moved.motion.1.calm", b"y")
            await connection.flush()
            wait_for(lambda: any(device == "calm" for _, device, _, _ in stage.injected), "the calm device")

    try:
        run(work)
        assert stage.injected[0][:3] == (2, "zigsim:abc", b"/accxyz")
        assert abs(stage.injected[0][3] - time.monotonic_ns()) < 60e9
        report = stage.outlet.report()
        assert report["motion_refused"] > 3 + 100
        assert report["motion"] + report["motion_refused"] == 6000 + 5
        assert report["motion"] == len(stage.injected)
    finally:
        stage.close()


def test_two_engines_on_one_server(server: Server) -> None:
    """Names keep subjects and streams of two engines apart."""
    first, second = Stage("one", url=server.url), Stage("two", url=server.url)

    async def work() -> None:
        async with client(server.url) as connection:
            wait_for(lambda: first.connected() and second.connected(), "both")
            waiting = await listen(connection, "echelon.two.>")
            first.offer(361)
            second.offer(241)
            wait_for(lambda: first.outlet.report()["bars_stored"] == 3, "bars of the first")
            wait_for(lambda: second.outlet.report()["bars_stored"] == 2, "bars of the second")
            assert await stored_ids(connection, "one") == ["s-1-0", "s-1-1", "s-1-2"]
            assert await stored_ids(connection, "two") == ["s-1-0", "s-1-1"]
            while not waiting.empty():
                assert json.loads(waiting.get_nowait().data)["engine"] == "two"

    try:
        run(work)
    finally:
        first.close()
        second.close()
