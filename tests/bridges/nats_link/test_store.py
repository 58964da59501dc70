"""Bars that a server cannot store, or not well: said, and kept waiting."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from engines import wait_for
from nats_rig import (
    Server,
    Stage,
    client,
    listen,
    needs_nats,
    run,
)

pytestmark = needs_nats


def test_wrong_stream_is_said(server: Server) -> None:
    """A stream of the engine's name that would not keep bars is named, with the remedy, and bars wait."""
    stage: Stage | None = None

    async def work() -> None:
        nonlocal stage
        async with client(server.url) as connection:
            stream = connection.jetstream()
            from nats.js.api import StorageType

            await stream.add_stream(name="ECHELON_wrong", subjects=["echelon.wrong.bar"], storage=StorageType.MEMORY)
            stage = Stage("wrong", url=server.url)
            stage.offer(241)
            wait_for(lambda: stage and stage.said_with("ECHELON_wrong", "in memory", "nats stream rm"), "the warning")
            assert stage.outlet.report()["bars_waiting"] == 2
            await stream.delete_stream("ECHELON_wrong")
            wait_for(lambda: stage and stage.outlet.report()["bars_stored"] == 2, "the bars")

    try:
        run(work)
    finally:
        assert stage is not None
        stage.close()


def test_server_without_jetstream(tmp_path: Path) -> None:
    """Where nothing can be stored that is said, and who listens gets the bars all the same."""
    server = Server(tmp_path, jetstream=False)
    stage = Stage(url=server.url)

    async def work() -> list[str]:
        async with client(server.url) as connection:
            waiting = await listen(connection, "echelon.echelon.bar")
            wait_for(stage.connected, "the connection")
            stage.offer(361)
            return [json.loads((await asyncio.wait_for(waiting.get(), 30)).data)["id"] for _ in range(3)]

    try:
        assert run(work) == ["s-1-0", "s-1-1", "s-1-2"]
        assert stage.said_with("no JetStream", "-js")
        assert stage.outlet.report()["bars_waiting"] == 3
    finally:
        stage.close()
        server.close()
