"""Bars and grids in a JetStream stream: each stored once, all in order, whatever the server goes through.

One is in flight; it leaves the outbox when the server has acknowledged it. Its message id (session, epoch and bar, and
of a grid that it is one) makes the server drop a second copy; after a lost connection the newest stored id is asked
for, because the server remembers ids only for a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from echelon_bridges.messages import encoding
from echelon_bridges.messages.table import Bar, Grid, subject
from echelon_bridges.nats_link.mailbox import Mailbox
from echelon_engine.errors import UserError

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.js import JetStreamContext

ACK_S = 3.0
RETRY_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
ID = "Nats-Msg-Id"
REMEMBER_S = 600.0  # for so long the server itself knows the ids


def stream_of(engine: str) -> str:
    """Return the name of an engine's stream."""
    return f"ECHELON_{engine}"


class BarStore:
    """Moves bars from the outbox of a mailbox into the stream, over one connection after the other."""

    def __init__(self, engine: str, kind: encoding.Name, mailbox: Mailbox, warn: Callable[[str, str], None]) -> None:
        self.stored = self.grids_stored = 0
        self.added = asyncio.Event()
        self._engine, self._kind, self._mailbox, self._warn = engine, kind, mailbox, warn
        self._subjects = [subject(engine, name) for name in ("bar", "grid")]
        self._shown = 0  # of the outbox's messages, how many were published where no stream is

    def _subject(self, message: Bar | Grid) -> str:
        return self._subjects[isinstance(message, Grid)]

    async def run(self, client: Client) -> None:
        """Store bars and grids over this connection until cancelled."""
        failures = 0
        while True:
            try:
                stream = client.jetstream(timeout=ACK_S)
                await self._prepare(stream)
                await self._skip_stored(stream)
                while True:
                    await self._store(stream)
                    failures = 0
            except asyncio.CancelledError:
                raise
            except Exception as error:
                self._explain(error)
                await self._show(client, error)
            await asyncio.sleep(RETRY_S[min(failures, len(RETRY_S) - 1)])
            failures += 1

    async def _prepare(self, stream: JetStreamContext) -> None:
        """Create the stream, or check the one that is there."""
        from nats.js.api import RetentionPolicy, StorageType, StreamConfig
        from nats.js.errors import NotFoundError

        name = stream_of(self._engine)
        try:
            found = (await stream.stream_info(name)).config
        except NotFoundError:
            await stream.add_stream(
                StreamConfig(
                    name=name,
                    description=f"bars and grids of the engine {self._engine}",
                    subjects=self._subjects,
                    storage=StorageType.FILE,
                    retention=RetentionPolicy.LIMITS,
                    duplicate_window=REMEMBER_S,
                )
            )
            return
        wrong = ""
        if found.storage != StorageType.FILE:
            wrong = "is kept in memory, not in files"
        elif found.retention != RetentionPolicy.LIMITS:
            wrong = f"forgets what was read (retention {found.retention})"
        elif missing := set(self._subjects) - set(found.subjects or ()):
            wrong = f"does not take {', '.join(sorted(missing))}"
        elif found.no_ack or found.sealed:
            wrong = "takes nothing, or does not say so (sealed, or without acknowledgements)"
        if wrong:
            raise UserError(f"stream {name}", wrong, f"remove it (nats stream rm {name}), or change engine.name")

    async def _skip_stored(self, stream: JetStreamContext) -> None:
        """Drop what was stored although its acknowledgement never came."""
        from nats.js.errors import NotFoundError

        if not self._mailbox.outbox:
            return
        with contextlib.suppress(NotFoundError):
            waiting = self._mailbox.outbox[0]
            newest = await stream.get_last_msg(stream_of(self._engine), self._subject(waiting))
            if (newest.headers or {}).get(ID) == waiting.id:
                self._sent()

    async def _store(self, stream: JetStreamContext) -> None:
        """Store the oldest message of the outbox, or wait for one."""
        if not self._mailbox.outbox:
            self.added.clear()
            await self.added.wait()
            return
        message = self._mailbox.outbox[0]
        await stream.publish(
            self._subject(message),
            encoding.encode(message, self._kind),
            stream=stream_of(self._engine),
            headers={ID: message.id},
        )
        self._sent()

    def _sent(self) -> None:
        if isinstance(self._mailbox.outbox.popleft(), Grid):
            self.grids_stored += 1
        else:
            self.stored += 1
        self._shown = max(self._shown - 1, 0)

    def _explain(self, error: Exception) -> None:
        from nats.js.errors import APIError, NoStreamResponseError, ServiceUnavailableError

        waiting = f"{len(self._mailbox.outbox)} bars and grids wait"
        if isinstance(error, UserError):
            self._warn(str(error), waiting)
        elif isinstance(error, ServiceUnavailableError | NoStreamResponseError):
            self._warn("the NATS server has no JetStream: bars are not stored; start it with -js", waiting)
        elif isinstance(error, APIError):
            about = (error.description or str(error)).rstrip(".")
            self._warn(f"stream {stream_of(self._engine)}: the server refuses ({about})", waiting)
        # Anything else is a connection that stalls or ends, which the link tells.

    async def _show(self, client: Client, error: Exception) -> None:
        """Publish bars plainly where the server has no JetStream, so that who listens gets them all the same."""
        from nats.js.errors import ServiceUnavailableError

        if not isinstance(error, ServiceUnavailableError):
            return
        outbox, until = self._mailbox.outbox, time.monotonic() + RETRY_S[-1]
        while client.is_connected and time.monotonic() < until:
            while self._shown < len(outbox):
                message = outbox[self._shown]
                self._shown += 1
                await client.publish(
                    self._subject(message), encoding.encode(message, self._kind), headers={ID: message.id}
                )
            self.added.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.added.wait(), 1.0)
