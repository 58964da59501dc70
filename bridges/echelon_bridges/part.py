"""One supervised process: started, listened to, restarted with backoff, stopped."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from echelon_engine.errors import UserError

SETTLED_S = 3.0  # alive this long: the next failure counts as the first again
STANDBY_AFTER_S = 0.5  # ready this long: time to load the one that waits
ANSWER_S = 2.0
STOP_S = 4.0  # SIGTERM to SIGKILL
LINE_BYTES = 1 << 16
# Matrices are small: NumPy's threads spin for one another on cores that the sound needs, most of all at the start.
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "VECLIB_MAXIMUM_THREADS": "1"}


@dataclass(frozen=True, slots=True)
class Plan:
    """What to start and how to bring it back: waits before the first, second .. restart in a row, then the last one.

    `gives_up` failures in a row before it was ever ready end the engine; 0 means it is tried for ever. With `standby`
    a second process is loaded beside it and waits, so that a replacement need not load first.
    """

    name: str
    command: tuple[str, ...]
    delays_s: tuple[float, ...]
    gives_up: int
    standby: bool = False


def plans(engine: str) -> tuple[Plan, ...]:
    """Return the processes of an engine in starting order; they are stopped in reverse."""
    python = (sys.executable, "-P", "-m")
    return (
        Plan(
            "audio",
            (*python, "echelon_bridges.audio_process", "--name", engine),
            (0.0, 0.25, 0.5, 1.0, 2.0, 4.0),
            3,
            True,
        ),
        Plan("bridges", (*python, "echelon_bridges.bridges_process", "--name", engine), (0.1, 0.5, 1, 2, 4, 8), 0),
    )


class Part:
    """A running `Plan`. `on_event(part, event)` gets what the process reports; `on_start(part)` every start."""

    def __init__(
        self,
        plan: Plan,
        config_line: str,
        on_event: Callable[[Part, dict[str, Any]], None],
        on_start: Callable[[Part], None],
    ) -> None:
        self.plan = plan
        self.name = plan.name
        self.starts = 0
        self.ready = asyncio.Event()
        self.was_ready = False
        self.report: dict[str, Any] = {}  # the fields of its last "ready"
        self.last_error = ""
        self.stopping = False
        self.process: asyncio.subprocess.Process | None = None
        self._config_line = config_line
        self._on_event = on_event
        self._on_start = on_start
        self._interrupt = asyncio.Event()
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._asked = 0
        self._spare: asyncio.subprocess.Process | None = None
        self._preparing: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self.process.pid if self.process and self.process.returncode is None else None

    @property
    def restarts(self) -> int:
        """How often it was started again."""
        return max(self.starts - 1, 0)

    @property
    def state(self) -> str:
        """`starting`, `ready`, `waiting` (to be restarted) or `stopped`."""
        if self.pid is None:
            return "stopped" if self.stopping else "waiting"
        return "ready" if self.ready.is_set() else "starting"

    async def keep(self) -> str:
        """Keep the process alive until `stop`; return "" then, or why the engine cannot go on without it."""
        failures = 0
        while not self.stopping:
            began = time.monotonic()
            try:
                code = await self._live()
            except OSError as error:
                code, self.last_error = 1, f"cannot start: {error}"
            if self.stopping:
                break
            if self.last_error and not self.was_ready:  # it said why: trying again would say the same
                return self.last_error
            failures = 1 if time.monotonic() - began > SETTLED_S else failures + 1
            if self.plan.gives_up and failures >= self.plan.gives_up and not self.was_ready:
                return f"{self.name} failed {failures} times to start (exit code {code})"
            delay = self.plan.delays_s[min(failures, len(self.plan.delays_s)) - 1]
            self._on_event(self, {"event": "died", "code": code, "restart_in_s": delay})
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._interrupt.wait(), delay)
        return ""

    async def _live(self) -> int:
        """Start it, listen until it ends, return its exit code."""
        self.ready.clear()
        self.last_error = ""
        spare, self._spare = self._spare, None
        self.process = spare if spare and spare.returncode is None else await self._spawn()
        self.starts += 1
        if self.stopping:  # asked to stop while it was being started
            self.process.kill()
        self._on_start(self)
        assert self.process.stdin is not None
        self.process.stdin.write(b"go\n")
        listeners = [
            asyncio.create_task(self._listen(self.process.stdout, self._heard)),
            asyncio.create_task(self._listen(self.process.stderr, self._complained)),
        ]
        code = await self.process.wait()
        self.ready.clear()
        # The pipes end with the process, unless something it started holds them open.
        _, pending = await asyncio.wait(listeners, timeout=0.5)
        for task in pending:
            task.cancel()
        self.process.stdin.close()
        return code

    async def _spawn(self) -> asyncio.subprocess.Process:
        """Start a process that loads itself and waits for "go"."""
        process = await asyncio.create_subprocess_exec(
            *self.plan.command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C in the terminal reaches the supervisor alone
            limit=LINE_BYTES,
            env={**ONE_THREAD, **os.environ},
        )
        assert process.stdin is not None
        process.stdin.write(self._config_line.encode() + b"\n")
        return process

    async def _prepare(self) -> None:
        """Load the process that waits, once the present one has played for a while."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._interrupt.wait(), STANDBY_AFTER_S)
        if not self.stopping and self._spare is None:
            self._spare = await self._spawn()

    async def _listen(self, stream: asyncio.StreamReader | None, tell: Callable[[str], None]) -> None:
        assert stream is not None
        while True:
            try:
                line = await stream.readuntil(b"\n")
            except asyncio.IncompleteReadError as rest:
                if rest.partial:
                    tell(rest.partial.decode("utf-8", "replace").rstrip())
                return
            except asyncio.LimitOverrunError as overrun:
                await stream.readexactly(overrun.consumed)
                continue
            tell(line.decode("utf-8", "replace").rstrip())

    def _heard(self, line: str) -> None:
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        if not isinstance(event, dict) or not isinstance(event.get("event"), str):
            return self._complained(line)
        if event["event"] == "ready":
            self.report = {name: value for name, value in event.items() if name != "event"}
            self.was_ready = True
            self.ready.set()
            if self.plan.standby and (self._preparing is None or self._preparing.done()):
                self._preparing = asyncio.create_task(self._prepare())
        elif event["event"] == "error":
            self.last_error = str(event.get("text", ""))
        elif event["event"] == "answer":
            answer = self._answers.get(int(event.get("id", -1)))
            if answer is not None and not answer.done():
                answer.set_result(event)
            return None
        return self._on_event(self, event)

    def _complained(self, line: str) -> None:
        if line:
            self._on_event(self, {"event": "output", "text": line})

    async def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the answer of the process to a request; raises `UserError` when it refuses or says nothing for 2 s."""
        if self.pid is None or not self.ready.is_set():
            raise UserError(self.name, "is being started", "try again in a moment")
        assert self.process is not None
        assert self.process.stdin is not None
        self._asked += 1
        number, answer = self._asked, asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        try:
            self.process.stdin.write(json.dumps({**request, "id": number}).encode() + b"\n")
            said = await asyncio.wait_for(answer, ANSWER_S)
        except (TimeoutError, OSError):
            raise UserError(self.name, f"did not answer within {ANSWER_S:g} s", "try again") from None
        finally:
            del self._answers[number]
        if reason := said.get("error"):
            refused = UserError(self.name, "refused")
            refused.args = (str(reason),)
            raise refused
        return {name: value for name, value in said.items() if name not in ("event", "id")}

    async def reconfigure(self, config_line: str) -> None:
        """Start it with another configuration from now on; the one that waits is loaded anew."""
        self._config_line = config_line
        if self._preparing is not None:
            await self._preparing
        if (spare := self._spare) is not None and not self.stopping:
            self._spare = None
            if spare.returncode is None:
                spare.kill()
                await spare.wait()
            self._preparing = asyncio.create_task(self._prepare())

    async def stop(self) -> None:
        """Ask it to leave (SIGTERM, then SIGKILL after a while) and wait until it is gone."""
        self.stopping = True
        self._interrupt.set()
        if self._preparing is not None:
            await self._preparing
        if (spare := self._spare) is not None and spare.returncode is None:
            spare.kill()  # it has begun nothing
            await spare.wait()
        if (process := self.process) is None or process.returncode is not None:
            return
        self.send(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), STOP_S)
        except TimeoutError:
            self._on_event(
                self, {"event": "notice", "text": f"{self.name} did not stop in {STOP_S:g} s and was killed"}
            )
            self.send(signal.SIGKILL)
            await process.wait()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process, if it still runs."""
        if self.process and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)
