"""What comes in over NATS: commands, a snapshot, motion; bounded in size and rate before any of it is read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from echelon_bridges.messages import build, encoding
from echelon_bridges.messages.commands import COMMANDS, REQUEST_BYTES, AskSnapshot, Get, PlayNote, Reply, control_fields
from echelon_bridges.messages.table import ROOT, Snapshot, subject
from echelon_bridges.nats_link.mailbox import Mailbox
from echelon_bridges.udp import IDLE_NS, Budget
from echelon_engine.errors import UserError
from echelon_engine.memory import PERFORMERS

if TYPE_CHECKING:
    from nats.micro.request import Request

    from echelon_bridges.desk import Desk

SERVICE = "echelon-engine"
REQUESTS_HZ, REQUESTS_BURST = 200.0, 100.0
MOTION_BYTES = 8192
SUBJECT_LETTERS = 160
MOTION_SUBJECTS = 64  # that have a budget at once
WAITING_QUESTIONS = 32

Inject = Callable[[int, str, bytes, int], None]
Snapshooter = Callable[[], Snapshot]


class Rate:
    """At most `hz` a second on average, `burst` at once."""

    def __init__(self, hz: float, burst: float) -> None:
        self._hz, self._burst, self._tokens, self._filled_s = hz, burst, burst, 0.0

    def spend(self, now_s: float) -> bool:
        """Take one if there is one."""
        self._tokens = min(self._tokens + max(now_s - self._filled_s, 0.0) * self._hz, self._burst)
        self._filled_s = now_s
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


class Asker:
    """Asks the supervisor, one question at a time, in a thread that a supervisor without an answer holds up alone."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def ask(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Return the answer of the control socket. Raises `UserError`."""
        if self._waiting >= WAITING_QUESTIONS:
            raise UserError("request", "comes when too many wait for an answer", "ask again later")
        self._waiting += 1
        try:
            async with self._turn:
                return await asyncio.get_running_loop().run_in_executor(None, self._desk.ask, fields)
        finally:
            self._waiting -= 1


class Requests:
    """Answers for the engine `name`; one for all connections."""

    def __init__(
        self,
        engine: str,
        version: str,
        kind: encoding.Name,
        desk: Desk,
        mailbox: Mailbox,
        inject: Inject,
        snapshot: Snapshooter,
    ) -> None:
        self.answered = self.refused = self.motion = self.motion_refused = 0
        self.asker = Asker(desk)
        self._engine, self._version, self._kind, self._desk = engine, version, kind, desk
        self._mailbox, self._inject, self._snapshot = mailbox, inject, snapshot
        self._rate = Rate(REQUESTS_HZ, REQUESTS_BURST)
        self._sequences: dict[str, int] = {}
        self._budgets: dict[str, Budget] = {}

    async def open(self, client: Any) -> None:
        """Offer the service on this connection (of `connection.connect`) and listen for motion."""
        from nats import micro

        service = await micro.add_service(
            client,
            name=SERVICE,
            version=self._version,
            description="A performer's motion played as an instrument",
            metadata={"engine": self._engine, "root": f"{ROOT}.{self._engine}"},
        )
        rows = [(f"command-{name}", f"command.{name}", name) for name in COMMANDS]
        for endpoint, word, name in [*rows, ("snapshot", "snapshot", "snapshot")]:
            await service.add_endpoint(
                name=endpoint,
                subject=subject(self._engine, word),
                handler=self._handler(name, word),
                queue_group="q",
                metadata={"request": COMMANDS[name].request.__name__, "reply": COMMANDS[name].reply.__name__},
            )
        await client.take(subject(self._engine, "motion.*.*"), self._on_motion)

    def _handler(self, name: str, word: str) -> Callable[[Request], Any]:
        async def answer(request: Request) -> None:
            data = request.data
            kind = encoding.encoding_of(data) or self._kind
            try:
                reply = await self._answer(name, word, data)
                self.answered += 1
                await request.respond(encoding.encode(reply, kind))
            except UserError as error:
                self.refused += 1
                sequence = self._sequence(word)
                refusal = Reply(**build.stamp(self._engine, sequence)._asdict(), ok=False, error=str(error))
                one_line = str(error).replace("\r", " ").replace("\n", " ")[:500]
                await request.respond_error("400", one_line, encoding.encode(refusal, kind))
            except ValueError:
                pass  # nobody to answer: it was published, not asked

        return answer

    async def _answer(self, name: str, word: str, data: bytes) -> Reply | Snapshot:
        if len(data) > REQUEST_BYTES:
            raise UserError(f"request of {len(data)} bytes", f"must not be over {REQUEST_BYTES}", "send less")
        if not self._rate.spend(time.monotonic()):
            raise UserError("request", f"comes faster than {REQUESTS_HZ:g} a second", "ask again later")
        request = encoding.decode(data, COMMANDS[name].request, f"command {name}")
        if isinstance(request, AskSnapshot):
            return self._snapshot()
        answer = self._play(request) if isinstance(request, PlayNote) else await self._ask(request)
        return Reply(**build.stamp(self._engine, self._sequence(word))._asdict(), ok=True, answer=answer)

    def _sequence(self, word: str) -> int:
        self._sequences[word] = self._sequences.get(word, 0) + 1
        return self._sequences[word]

    def _play(self, note: PlayNote) -> dict[str, Any]:
        desk = self._desk
        done = desk.note_on(note.key, note.pitch, note.velocity, note.pan) if note.on else desk.note_off(note.key)
        if not done:
            raise UserError("note", "finds no room: too many at once", "send it again")
        return {"key": note.key}

    async def _ask(self, request: Struct) -> dict[str, Any]:
        answer = await self.asker.ask(control_fields(request))
        if isinstance(request, Get) and request.key:
            return {"values": {request.key: answer["values"][request.key]}}
        return answer

    def _on_motion(self, where: str, data: bytes) -> None:
        *_, performer, device = where.split(".")
        now_ns = time.monotonic_ns()
        known = performer in _PERFORMERS and len(where) <= SUBJECT_LETTERS and len(data) <= MOTION_BYTES
        if not known or not self._may_send(where, len(data), now_ns):
            self.motion_refused += 1
            return
        self.motion += 1
        try:
            self._inject(_PERFORMERS[performer], device, data, now_ns)
        except Exception:  # whatever a payload does to its reader, the connection goes on
            self.motion_refused += 1

    def _may_send(self, where: str, size: int, now_ns: int) -> bool:
        """Return whether the sender of this subject has budget left for so many bytes."""
        budget = self._budgets.get(where)
        if budget is None:
            if len(self._budgets) >= MOTION_SUBJECTS:
                oldest = min(self._budgets, key=lambda name: self._budgets[name].filled_ns)
                if now_ns - self._budgets[oldest].filled_ns < IDLE_NS:
                    return False
                del self._budgets[oldest]
            budget = self._budgets[where] = Budget(filled_ns=now_ns)
        return budget.spend(now_ns, size)


_PERFORMERS = {str(number): number for number in range(PERFORMERS)}
