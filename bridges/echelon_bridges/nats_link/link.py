"""The link: connects, publishes, stores, answers, and begins again whenever the server is not what it was."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import numpy as np

from echelon_bridges.messages import build, encoding
from echelon_bridges.messages.table import Events, Health, Message, Snapshot, subject
from echelon_bridges.nats_link import connection
from echelon_bridges.nats_link.mailbox import Continuous, Mailbox
from echelon_bridges.nats_link.requests import Inject, Requests
from echelon_bridges.nats_link.server import EmbeddedServer
from echelon_bridges.nats_link.store import BarStore
from echelon_engine import __version__
from echelon_engine.config import Config
from echelon_engine.errors import UserError

if TYPE_CHECKING:
    from nats.aio.client import Client

    from echelon_bridges.desk import Desk

PAUSES_S = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # between attempts to connect, then the last one for ever
SETTLED_S = 5.0  # connected for so long: the next loss counts as the first
HEALTH_S = 1.0
PING_S = 0.5
STALLED_S = 1.0  # without an answer: nothing continuous is sent that would only be old when it arrives
GONE_S = 10.0  # without an answer: the line is cut and made anew
BACKLOG_BYTES = 256 << 10  # not yet taken by the system: the server or the network is slow
NOTES_A_MESSAGE = 64
OLD_NOTE_NS = 1_000_000_000  # a note nobody could hear of in time
REPEAT_S = 60.0  # before the same sentence is said again
DRAIN_S = 0.8


class Link:
    """Everything of the outlet that runs in its thread's event loop."""

    def __init__(
        self,
        config: Config,
        desk: Desk,
        mailbox: Mailbox,
        inject: Inject,
        say: Callable[..., None],
    ) -> None:
        self.connected = False
        self.shown = ""  # the server, as it may be printed
        self.trouble = ""
        self.gaps = {"params": 0, "performers": 0, "body": 0}
        self.connections = self.events_late = 0
        self.asked = False  # to publish, and has not yet
        self.engine = config.engine.name
        self._config, self._mailbox, self._say = config, mailbox, say
        self._kind: encoding.Name = config.nats.encoding
        self._stopping = asyncio.Event()
        self._said: dict[str, float] = {}
        self._answered_s = 0.0
        self._working: tuple[Client, asyncio.Future[str]] | None = None  # a connection, and what ends it
        self._sent: dict[int | str, int] = {}
        self._sequences: dict[str, int] = {}
        self._health: Health | None = None
        self.store = BarStore(self.engine, self._kind, mailbox, self._warn)
        self.requests = Requests(self.engine, __version__, self._kind, desk, mailbox, inject, self._snapshot)
        nats = config.nats
        self.server = (
            EmbeddedServer(self.engine, nats.port, nats.folder, self._notice)
            if nats.url == connection.EMBEDDED
            else None
        )

    def stop(self) -> None:
        """Ask the link to end; from its own loop."""
        self._stopping.set()

    async def run(self) -> None:
        """Keep the link until `stop`."""
        failures = 0
        asking = asyncio.ensure_future(self._ask_health())
        try:
            while not self._stopping.is_set():
                began = time.monotonic()
                reason = await self._session(failures)
                if self._stopping.is_set():
                    break
                self.trouble = reason
                if time.monotonic() - began > SETTLED_S and self.connected:
                    failures = 0
                self.connected = False
                self._warn(reason, "the music goes on, it is tried again")
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), PAUSES_S[min(failures, len(PAUSES_S) - 1)])
                failures += 1
        finally:
            asking.cancel()
            self.connected = False
            if self.server is not None:
                self.server.stop()

    async def _session(self, attempt: int) -> str:
        """Connect and work until the connection ends; return why it did."""
        ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        client: Client | None = None

        def closed(error: Exception | None) -> None:
            if not ended.done():
                rule = connection.explain(error, self._config.nats)[0] if error else "was closed by the server"
                ended.set_result(f"{self.shown}: {rule if error else 'the connection ' + rule}")

        tasks: list[asyncio.Future[Any]] = []
        try:
            client = await self._until_stopped(self._open(attempt, closed))
            if client is None:
                return ""
            self._answered_s = time.monotonic()
            self.connected, self.trouble = True, ""
            self.connections += 1
            if self.server is not None:
                self.server.trust()
            self._said.clear()  # whatever goes wrong from now on is news
            self._notice(f"connected to the NATS server {self.shown}")
            work: list[Coroutine[Any, Any, None]] = [
                self.store.run(client),
                self._send_health(client),
                self._ping(client, ended),
            ]
            tasks = [asyncio.ensure_future(one) for one in work]
            self._working = client, ended
            self.publish()
            stopping = asyncio.ensure_future(self._stopping.wait())
            tasks.append(stopping)
            done, _ = await asyncio.wait([ended, *tasks], return_when=asyncio.FIRST_COMPLETED)
            if stopping in done:
                await self._drain(client)
                return ""
            if ended in done:
                return ended.result()
            failed = next(iter(done)).exception()
            return f"{self.shown}: {connection.explain(failed or EOFError('it ended'), self._config.nats)[0]}"
        except UserError as error:
            return str(error)
        except Exception as error:  # the connection ended while it was being prepared
            return f"{self.shown or 'nats.url'}: {connection.explain(error, self._config.nats)[0]}"
        finally:
            self._working = None
            for task in tasks:
                task.cancel()
            if client is not None:
                connection.abort(client)
                await connection.within(0.2, client.close())

    async def _open(self, attempt: int, closed: Callable[[Exception | None], None]) -> Client:
        """Return a connection on which commands are answered."""
        connection.check(self._config)
        url = self._config.nats.url if self.server is None else await self.server.ensure()
        servers = connection.servers_of(url)
        where = servers[attempt % len(servers)]
        self.shown = where.shown
        client = await connection.connect(
            where, self._config.nats, f"echelon-engine {self.engine}", closed, self._forbidden
        )
        try:
            await self.requests.open(client)
        except BaseException:
            connection.abort(client)
            raise
        return client

    async def _until_stopped(self, work: Coroutine[Any, Any, Client]) -> Client | None:
        """Return what the work returns, or None when the link is asked to end before."""
        task, stopping = asyncio.ensure_future(work), asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait((task, stopping), return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            task.cancel()
            await asyncio.wait((task,), timeout=0.3)
            return None
        finally:
            stopping.cancel()

    async def _drain(self, client: Client) -> None:
        """Store what waits if the server takes it, then let the connection end in order."""
        deadline = time.monotonic() + DRAIN_S / 2
        while self._mailbox.outbox and self._flowing(client) and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        await connection.within(DRAIN_S / 2, client.drain())

    def _flowing(self, client: Client) -> bool:
        """Return whether what is sent now arrives soon."""
        stalled = time.monotonic() - self._answered_s > STALLED_S + PING_S
        return client.is_connected and not stalled and connection.backlog_bytes(client) < BACKLOG_BYTES

    async def _ping(self, client: Client, ended: asyncio.Future[str]) -> None:
        """Measure whether the server answers; end a connection that has not for long."""
        while True:
            with contextlib.suppress(TimeoutError):
                await client.flush(timeout=GONE_S)  # type: ignore[arg-type]
                self._answered_s = time.monotonic()
                await asyncio.sleep(PING_S)
                continue
            if not ended.done():
                ended.set_result(f"{self.shown}: has not answered for {GONE_S:g} s")
            return

    def publish(self) -> None:
        """Publish what is in the mailbox; from the loop's thread, whenever something came in.

        No task and no flusher is woken for it: each turn of the loop costs as much as a message.
        """
        self.asked = False
        if self._mailbox.outbox:
            self.store.added.set()
        if self._working is None or not self._flowing(self._working[0]):
            return
        client, ended = self._working
        try:
            connection.post(client, self._due())
        except Exception as error:  # the connection begins anew
            if not ended.done():
                ended.set_result(f"{self.shown}: {connection.explain(error, self._config.nats)[0]}")

    def _due(self) -> list[bytes]:
        """Take what is in the mailbox; return its commands."""
        mailbox = self._mailbox
        commands: list[bytes] = []
        while mailbox.controls.waiting:
            numbered = self._take("params", mailbox.controls)
            made = build.stamp(self.engine, numbered.sequence)
            commands.append(self._command("params", build.params(numbered.record, made)))
            commands.append(self._command("state", build.state(numbered.record, made, mailbox.book)))
        while mailbox.performers.waiting:
            numbered = self._take("performers", mailbox.performers)
            made = build.stamp(self.engine, numbered.sequence)
            commands.append(self._command("performers", build.performers(numbered.record, made)))
        for performer, frames in mailbox.bodies.copy().items():
            while frames.waiting:
                numbered = self._take("body", frames, performer)
                made = build.stamp(self.engine, numbered.sequence)
                commands.append(self._command(f"body.{performer}", build.body(numbered.record, made)))
        commands += self._events()
        return commands

    def _take(self, name: str, subject_: Continuous, performer: int = 0) -> Any:
        """Return the oldest record of a continuous subject that is left, counting those that are gone before it."""
        numbered = subject_.waiting.popleft()
        key = f"{name}.{performer}"
        self.gaps[name] += numbered.sequence - self._sent.get(key, 0) - 1
        self._sent[key] = numbered.sequence
        return numbered

    def _events(self) -> list[bytes]:
        commands: list[bytes] = []
        waiting, soon_ns = self._mailbox.events, time.monotonic_ns() - OLD_NOTE_NS
        while waiting:
            rows = [waiting.popleft() for _ in range(min(len(waiting), NOTES_A_MESSAGE))]
            heard = [row for row in rows if int(row["time_ns"]) >= soon_ns]
            self.events_late += len(rows) - len(heard)
            if heard:
                made = self._stamp("events")
                lost = self._mailbox.events_lost + self.events_late
                notes = Events(**made._asdict(), notes=build.notes(np.array(heard)), lost=lost)
                commands.append(self._command("events", notes))
        return commands

    def _command(self, name: str, message: Message) -> bytes:
        return connection.command(subject(self.engine, name), encoding.encode(message, self._kind))

    def _stamp(self, name: str) -> build.Stamp:
        self._sequences[name] = self._sequences.get(name, 0) + 1
        return build.stamp(self.engine, self._sequences[name])

    async def _ask_health(self) -> None:
        """Ask for the counters once a second, connected or not: a snapshot carries them, too."""
        while True:
            with contextlib.suppress(Exception):  # an engine that starts or stops has no counters
                document = (await self.requests.asker.ask({"command": "status"}))["status"]
                self._health = build.health(
                    document,
                    self._stamp("health"),
                    gaps=dict(self.gaps),
                    stored=self.store.stored,
                    waiting=len(self._mailbox.outbox),
                    lost=self._mailbox.bars_lost,
                )
            await asyncio.sleep(HEALTH_S)

    async def _send_health(self, client: Client) -> None:
        sent: Health | None = None
        while True:
            if self._health is not None and self._health is not sent and self._flowing(client):
                sent = self._health
                connection.post(client, [self._command("health", sent)])
            await asyncio.sleep(HEALTH_S / 4)

    def _snapshot(self) -> Snapshot:
        """Return everything of the present."""
        mailbox, made = self._mailbox, self._stamp("snapshot")
        record, number = mailbox.newest, build.stamp(self.engine, mailbox.controls.due)
        return Snapshot(
            **made._asdict(),
            params=None if record is None else build.params(record, number),
            state=None if record is None else build.state(record, number, mailbox.book),
            bar=mailbox.newest_bar,
            grid=mailbox.newest_grid,
            health=self._health,
            notes=build.notes(mailbox.sounding_notes()),  # type: ignore[arg-type]
        )

    def _forbidden(self, what: str) -> None:
        self._warn(
            f"{self.shown} forbids something ({what})", "give this user the permissions of deploy/nats-server.conf"
        )

    def _notice(self, text: str) -> None:
        self._tell("notice", text)

    def _warn(self, text: str, more: str = "") -> None:
        self._tell("warning", text, more)

    def _tell(self, event: str, text: str, more: str = "") -> None:
        """Say something unless the same was said lately; `more` does not make it another thing."""
        now = time.monotonic()
        if now - self._said.get(text, -REPEAT_S) < REPEAT_S:
            return
        self._said = {told: when for told, when in self._said.items() if now - when < REPEAT_S}
        self._said[text] = now
        with contextlib.suppress(Exception):  # telling must not end the link
            self._say(event, text=f"{text}; {more}" if more else text)
