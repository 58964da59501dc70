"""`echelon-engine run`: owns the shared block, keeps the processes alive, answers `status` and `set`, stops cleanly.

Order: signals, name, block, control socket, processes. Whatever was made is taken away again in reverse, however it
ends. Numba is imported after the processes have started, in a thread, so that it delays nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np

from echelon_bridges import lock, status
from echelon_bridges.control import ControlServer, runtime_folder
from echelon_bridges.keys import Keys
from echelon_bridges.part import Part, Plan, plans
from echelon_bridges.session.folder import is_session
from echelon_bridges.stage import Stage, asked_ns
from echelon_bridges.terminal import Terminal
from echelon_engine import __version__, config_file, live_table
from echelon_engine.block import SharedBlock
from echelon_engine.config import Config
from echelon_engine.errors import EXIT_FAILURE, UsageError, UserError, nearest
from echelon_engine.memory import CONTROL, SETTINGS, seqlock, triple

FADE_S = 0.45  # the callback is silent after this long
PUBLISH_S = 1.5  # stopping does not wait longer than this for Numba; the sound then ends without a fade
TICK_S = 0.25
HUNG_S = 3.0  # an audio process that played and then counts no block for so long is replaced
FORCE_S = 1.0  # a second signal sooner than this after the first is the same wish, not impatience
CUE_KEYS = {" ": "next", "n": "next", "b": "back"}  # of the terminal, while there is a show
TAP_KEY = "t"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Supervisor:
    """One engine, from its first process to its last. `run` plays until stopped and returns the exit code."""

    def __init__(
        self, config: Config, terminal: Terminal, seconds: float | None, make: Callable[[str], Sequence[Plan]]
    ):
        self.config = config
        self.name = config.engine.name
        self.stage = Stage(config)
        self._styles = live_table.styles(config.band.styles)
        self.sensors: list[dict[str, Any]] = []
        self.outlets: dict[str, Any] = {}
        self.recording: dict[str, Any] | None = None
        self._assigned: dict[str, dict[str, Any]] = {}  # by device: told again to bridges that were replaced
        self.parts: list[Part] = []
        self.exit_code = 0
        self._terminal = terminal
        self._seconds = seconds
        self._make = make
        self._stop = asyncio.Event()
        self._stop_since = 0.0
        self._began = time.monotonic()
        self._snapshot = np.zeros(1, CONTROL)
        self._rings: asyncio.Future[Any] | None = None
        self._holder = lock.Holder(os.getpid(), "")
        self._keys = Keys(-1, self._pressed)
        self._doing: set[asyncio.Task[None]] = set()
        self._deaf = ""  # what was said last about a clock that is not heard

    @property
    def settings(self) -> Any:
        """The settings in force, SETTINGS (1,)."""
        return self.stage.settings

    async def run(self) -> int:
        """Play until a signal, the end of `seconds`, a `stop` request or a failure; return the exit code."""
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._signalled, number)
        async with contextlib.AsyncExitStack() as stack:
            self._lock = lock.NameLock(self.name)
            stack.callback(self._lock.release)
            if await asyncio.to_thread(self._lock.clear_stale):
                self._terminal.event("notice", text="an engine of this name was killed; what it left is cleared")
            audio = self.config.audio
            self._block = SharedBlock.create(self.name, audio.rate_hz, audio.block)
            self._block.shared["header"]["focus"] = self.config.motion.focus
            self._block.shared["header"]["scripted"] = (
                is_session(self.config.motion.file) and not self.config.motion.loop
            )
            stack.callback(self._block.close)
            stack.callback(self._block.unlink)
            for slot in range(3):  # nobody reads yet
                self._block.shared["settings"]["slot"][slot] = self.settings[0]
            server = ControlServer(runtime_folder() / f"{self.name}.sock", self.answer)
            self._holder.socket = str(server.path)
            self._lock.write(self._holder)
            stack.push_async_callback(server.close)
            await server.start()
            stack.push_async_callback(self._stop_parts)
            self._keys = self._open_keys()
            stack.callback(self._keys.close)
            await self._play()
        self._say_what_was_recorded()
        self._terminal.event("stopped", uptime_s=round(time.monotonic() - self._began, 1))
        return self.exit_code

    def _say_what_was_recorded(self) -> None:
        """Tell where take and session are; one that failed makes the exit code say so."""
        kept = self.outlets.get("session")
        if kept and kept.get("error"):
            self.exit_code = self.exit_code or EXIT_FAILURE
            self._terminal.event("kept", "error", path=kept.get("path"), text=f"the session is cut: {kept['error']}")
        elif kept:
            self._terminal.event("kept", path=kept.get("path"), seconds=kept.get("seconds"))
        if (take := self.recording) is None:
            return
        if take.get("error"):
            self.exit_code = self.exit_code or EXIT_FAILURE
            self._terminal.event("recorded", "error", path=take.get("path"), text="the recording is incomplete")
        else:
            self._terminal.event("recorded", path=take.get("path"), seconds=take.get("seconds"))

    def _open_keys(self) -> Keys:
        """Let the terminal's keys step through the show, where there are both."""
        wanted = self._terminal.interactive and self.stage.show is not None and sys.stdin is not None
        keys = Keys(sys.stdin.fileno() if wanted else -1, self._pressed)
        if keys.look():
            self._terminal.event("keys", text="space or n: next cue; b: back; t: tap the tempo")
        return keys

    def _pressed(self, key: str, time_ns: int) -> None:
        async def do() -> None:
            try:
                if key in CUE_KEYS:
                    await self._cue(CUE_KEYS[key])
                elif key == TAP_KEY:
                    await self._set("tap", "", time_ns)
            except UserError as error:
                self._terminal.event("refused", "warning", text=str(error))

        task = asyncio.get_running_loop().create_task(do())
        self._doing.add(task)
        task.add_done_callback(self._doing.discard)

    async def _play(self) -> None:
        line = config_file.to_json(self.config)
        self.parts = [Part(plan, line, self._on_event, self._on_start) for plan in self._make(self.name)]
        keepers = [asyncio.create_task(self._keep(part)) for part in self.parts]
        watchers = [asyncio.create_task(self._tick()), asyncio.create_task(self._limit())]
        await self._stop.wait()
        for task in watchers:
            task.cancel()
        self._terminal.clear()
        await self._fade()
        await self._stop_parts()
        await asyncio.gather(*keepers, *watchers, return_exceptions=True)

    async def _keep(self, part: Part) -> None:
        if reason := await part.keep():
            self.exit_code = EXIT_FAILURE
            self._terminal.event("error", "error", part=part.name, text=reason)
            self.stop()

    async def _limit(self) -> None:
        """Stop after `seconds` of sound."""
        if self._seconds is not None:
            await self.parts[0].ready.wait()
            await asyncio.sleep(self._seconds)
            self.stop()

    async def _tick(self) -> None:
        """Four times a second: the status line, and whether the callback still counts blocks."""
        await self.parts[0].ready.wait()
        self._load_rings()
        blocks, moved, starts = 0, time.monotonic(), 0
        while True:
            before = time.monotonic()
            await asyncio.sleep(TICK_S)
            self._keys.look()
            self._warn_of_no_clock()
            if self._terminal.interactive:
                self._terminal.line(status.line(self.status()))
            audio, now = self.parts[0], time.monotonic()
            count = int(self._block.shared["counters"]["blocks"])
            asleep = now - before > 4 * TICK_S  # this process was held up itself
            if count != blocks or audio.starts != starts or not audio.ready.is_set() or asleep:
                moved = now
            blocks, starts = count, audio.starts
            if count and now - moved > HUNG_S:
                self._terminal.event(
                    "hung", "warning", part=audio.name, text=f"no block for {HUNG_S:g} s; replacing it"
                )
                audio.send(signal.SIGKILL)
                moved = now

    def _warn_of_no_clock(self) -> str:
        """Say, once each time, that the external tempo asked for cannot be heard."""
        deaf = self.stage.deaf(self.outlets)
        if deaf and deaf != self._deaf:
            self._terminal.event("notice", text=deaf)
        self._deaf = deaf
        return deaf

    def stop(self) -> None:
        """Begin to stop; returns at once."""
        if not self._stop.is_set():
            self._stop_since = time.monotonic()
            self._stop.set()

    def _signalled(self, number: signal.Signals) -> None:
        if self._stop.is_set() and time.monotonic() - self._stop_since > FORCE_S:
            for part in self.parts:
                part.stopping = True
                part.send(signal.SIGKILL)
        elif not self._stop.is_set():
            self._terminal.event("stopping", signal=signal.Signals(number).name)
            self.stop()

    async def _fade(self) -> None:
        if self.parts and self.parts[0].ready.is_set():
            self.settings["fade"] = 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._publish(), PUBLISH_S)
                await asyncio.sleep(FADE_S)

    async def _stop_parts(self) -> None:
        for part in reversed(self.parts):
            await part.stop()

    def _on_start(self, part: Part) -> None:
        header = self._block.shared["header"]
        if part.restarts:
            header["epoch"] += 1
        if part.name == "bridges":
            self.sensors = []
        self._holder.children = [pid for each in self.parts if (pid := each.pid)]
        self._lock.write(self._holder)
        self._terminal.event("started", part=part.name, pid=part.pid, restarts=part.restarts)

    def _on_event(self, part: Part, event: dict[str, Any]) -> None:
        kind = event.pop("event")
        if kind == "ready" and part.name == "bridges" and part.restarts:
            self._again = asyncio.create_task(self._assign_again(part))
        if kind == "sensors":
            self.sensors = [row for row in event.get("sensors", []) if isinstance(row, dict)]
        elif kind == "outlets":
            self.outlets = dict(event.get("outlets", {}))
        elif kind == "recording":
            self.recording = event
        elif kind == "died":
            if not part.stopping:
                self._terminal.event("died", "warning", part=part.name, **event)
        elif kind == "error" and not part.was_ready:
            pass  # becomes the reason why the engine ends
        else:
            level = {"error": "error", "output": "warning", "warning": "warning"}.get(kind, "info")
            self._terminal.event(kind, level, part=part.name, **event)

    def _bridges(self) -> Part:
        for part in self.parts:
            if part.name == "bridges":
                return part
        raise UserError("bridges", "are not running", "try again in a moment")

    async def _assign_again(self, part: Part) -> None:
        """Tell bridges that were replaced who holds what."""
        for request in list(self._assigned.values()):
            with contextlib.suppress(UserError):
                await part.ask(request)

    async def _change_weights(self, path: str) -> None:
        """Let the callback glide to other weights of DELL gated; processes started from now on begin with them."""
        await self.parts[0].ask({"command": "weights", "path": path})
        self.config = msgspec.structs.replace(
            self.config, models=msgspec.structs.replace(self.config.models, gated=path)
        )
        for part in self.parts:
            await part.reconfigure(config_file.to_json(self.config))
        with contextlib.suppress(UserError):
            await self._bridges().ask({"command": "weights", "path": path})

    def _load_rings(self) -> asyncio.Future[Any]:
        """Return the `rings` module to come; the first call begins to load it, in a thread."""
        if self._rings is None:
            self._rings = asyncio.ensure_future(asyncio.to_thread(_import_rings))
        return self._rings

    async def _publish(self) -> None:
        rings = await asyncio.shield(self._load_rings())
        rings.publish(self._block.shared["settings"], self.settings)

    def status(self) -> dict[str, Any]:
        """Return the status document (see `status.collect`)."""
        if self._rings is not None and self._rings.done():
            self._rings.result().read_snapshot(self._snapshot, self._block.shared["snapshot"])
        else:  # so early that Numba is not there yet: a figure may be torn, once
            self._snapshot[0] = self._block.shared["snapshot"]["item"]
        return status.collect(
            self._block.shared,
            self._snapshot[0],
            self.settings[0],
            name=self.name,
            version=__version__,
            uptime_s=time.monotonic() - self._began,
            audio=self.parts[0].report if self.parts else {},
            processes=[
                {"name": part.name, "pid": part.pid, "state": part.state, "restarts": part.restarts}
                for part in self.parts
            ]
            + [{"name": "supervisor", "pid": os.getpid(), "state": "ready", "restarts": 0}],
            sensors=self.sensors,
            outlets=self.outlets,
            recording=self.recording,
            styles=self._styles,
            cue=self.stage.report(),
        )

    async def _set(self, key: str, value: str, time_ns: int) -> str:
        """Change a live setting of the callback and return its effective value; raises `UserError`."""
        if key == "cue":
            return str((await self._cue(value))["name"])
        shown = self.stage.set(key, value, time_ns)
        await self._in_force()
        self._terminal.event("set", key=key, value=shown)
        return shown

    async def _cue(self, which: str) -> dict[str, Any]:
        """Give a cue and return where the show is; raises `UserError`."""
        cue = self.stage.cue(which)
        await self._in_force()
        self._terminal.event("cue", number=cue["number"], name=cue["name"], next=cue["next"])
        return cue

    async def _in_force(self) -> None:
        """Hand the settings to the callback, all at once."""
        await self._publish()
        self._block.shared["header"]["focus"] = int(self.settings[0]["focus"])

    async def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer one request of the control socket."""
        match request.get("command"):
            case "status":
                return {"status": self.status()}
            case "weights":  # not a `set`: what comes over a network never names a file
                path = str(request.get("path", ""))
                await self._change_weights(path)
                self._terminal.event("set", key="models.gated", value=path)
                return {"key": "models.gated", "value": path}
            case "set":
                key, value = str(request.get("key", "")), str(request.get("value", ""))
                shown = await self._set(key, value, asked_ns(request))
                deaf = self._warn_of_no_clock() if key == "tempo_source" else ""
                return {"key": key, "value": shown, **({"notice": deaf} if deaf else {})}
            case "cue":
                if which := str(request.get("which", "")):
                    return {"cue": await self._cue(which)}
                return {"cues": self.stage.cues(), "cue": self.stage.report()}
            case "get":
                return {"values": self.stage.values(), "choices": self.stage.choices()}
            case "stop":
                self.stop()
                return {}
            case "sensors" | "assign" | "recentre":
                said = await self._bridges().ask(request)
                if request["command"] == "assign":
                    self._assigned[str(request.get("device"))] = request
                return said
        known = ("status", "set", "cue", "get", "weights", "stop", "sensors", "assign", "recentre")
        wrong = str(request.get("command"))[:40]
        raise UsageError(f"command {wrong!r}", "is not known", nearest(wrong, known) or f"one of {', '.join(known)}")


def _import_rings() -> Any:
    """Import the rings and compile what is used of them, so that no later call holds the event loop up."""
    from echelon_engine import rings

    rings.publish(np.zeros(1, triple(SETTINGS))[0], np.zeros(1, SETTINGS))
    rings.read_snapshot(np.zeros(1, CONTROL), np.zeros(1, seqlock(CONTROL))[0])
    return rings


def supervise(config: Config, seconds: float | None = None, make: Callable[[str], Sequence[Plan]] = plans) -> int:
    """Run one engine to its end and return the exit code; `make` names the processes (tests put small ones in)."""
    terminal = Terminal(sys.stderr)

    async def main() -> int:
        return await Supervisor(config, terminal, seconds, make).run()

    try:
        return asyncio.run(main())
    finally:
        terminal.clear()
