"""NATS as one of the outlets of the bridges: takes records, never waits, and leaves the rest to a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from echelon_bridges.nats_link.link import Link
from echelon_bridges.nats_link.mailbox import Mailbox
from echelon_engine.config import Config

if TYPE_CHECKING:
    from echelon_bridges.desk import Desk
    from echelon_bridges.messages.grids import Book
    from echelon_bridges.nats_link.requests import Inject

CLOSE_S = 1.9
BODIES_WAIT_NS = 18_000_000  # for a control record to leave with: a turn of the link costs more than a body


class DaemonThreads(ThreadPoolExecutor):
    """Runs each call in a thread of its own that ends with the process: a name that is never resolved delays no end."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Start the call and return its future."""
        future: Future[Any] = Future()

        def call() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(fn(*args, **kwargs))
                except BaseException as error:
                    future.set_exception(error)

        threading.Thread(target=call, name="nats-wait", daemon=True).start()
        return future


def new_session() -> str:
    """Return a name for this run of the engine: when it began, and which process."""
    return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.getpid()}"


class NatsOutlet:
    """Publishes what the engine does under `echelon.<name>.` and takes commands and motion from there.

    `desk` answers requests. `inject(performer, device, data, arrival_ns)` gets every motion payload, from the outlet's
    thread, and must not block. `say(event, text=..)` gets notices and warnings, from that thread as well. Nothing
    raises because of a server: what is wrong with it is said, and it is tried again for ever. What can be known to be
    wrong beforehand is refused by `connection.check(config)`. `book` knows the grids that play,
    and whoever calls `offer` fills it.
    """

    name = "nats"

    def __init__(
        self,
        config: Config,
        desk: Desk,
        inject: Inject,
        say: Callable[..., None],
        *,
        session: str = "",
        book: Book | None = None,
    ) -> None:
        self.session = session or new_session()
        self._mailbox = Mailbox(config.engine.name, self.session, config.nats.rate_hz, book)
        self._publishes_bodies = config.nats.body
        self._link = Link(config, desk, self._mailbox, inject, say)
        self._say = say
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing = False
        self._bodies_since_ns = 0  # the oldest that waits, 0: none does
        self._thread = threading.Thread(target=self._run, name="nats", daemon=True)
        self._thread.start()

    def offer(self, controls: NDArray[Any], events: NDArray[Any], now_ns: int) -> None:
        """Take memory.CONTROL (n,) and memory.EVENT (m,), n and m may be 0; never blocks, never raises."""
        if len(controls) or len(events):
            self._mailbox.offer(controls, events, now_ns, time.time())
        elif not self._bodies_since_ns or now_ns - self._bodies_since_ns < BODIES_WAIT_NS:
            return
        self._bodies_since_ns = 0
        self._wake()

    def body(self, performer: int, frames: NDArray[Any]) -> None:
        """Take memory.LIMB_FRAME (n,) of a performer; they leave only with nats.body on, and with the next `offer`."""
        if self._publishes_bodies:
            self._mailbox.body(performer, frames)
            self._bodies_since_ns = self._bodies_since_ns or time.monotonic_ns()

    def performers(self, states: NDArray[Any]) -> None:
        """Take what all performers do, performers.PERFORMER (n,); it leaves with the next control record."""
        self._mailbox.everybody(states)

    def report(self) -> dict[str, Any]:
        """Return what `status` shows under outlets.nats."""
        link, mailbox = self._link, self._mailbox
        requests = link.requests
        return {
            "connected": link.connected,
            "server": link.shown,
            "trouble": link.trouble,
            "connections": link.connections,
            "embedded_pid": link.server.pid if link.server is not None else None,
            "published": mailbox.controls.due - link.gaps["params"] - len(mailbox.controls.waiting),
            "gaps": dict(link.gaps),
            "notes_lost": mailbox.events_lost + link.events_late,
            "bars_stored": link.store.stored,
            "grids_stored": link.store.grids_stored,
            "bars_waiting": len(mailbox.outbox),
            "bars_lost": mailbox.bars_lost,
            "requests": requests.answered,
            "requests_refused": requests.refused,
            "motion": requests.motion,
            "motion_refused": requests.motion_refused,
        }

    def close(self) -> None:
        """Send what waits if the server takes it, end the connection and the embedded server; 2 s at most."""
        self._closing = True
        self._call(self._link.stop)
        self._thread.join(CLOSE_S)
        if waiting := len(self._mailbox.outbox):
            with contextlib.suppress(Exception):
                self._say(
                    "warning", text=f"{waiting} grids and bars could not be stored on the NATS server before the end"
                )

    def _wake(self) -> None:
        link = self._link
        if not link.asked:
            link.asked = True
            if not self._call(link.publish):
                link.asked = False

    def _call(self, function: Callable[[], Any]) -> bool:
        """Let the loop call a function; return whether there is one."""
        loop = self._loop
        if loop is None:
            return False
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(function)
        return True

    def _run(self) -> None:
        """Be the thread: keep the link until the end."""
        logging.getLogger("nats").setLevel(logging.CRITICAL)  # what matters is said by the link, once
        try:
            asyncio.run(self._main())
        except Exception as error:  # a fault of the link itself: the music goes on without it
            self._say("warning", text=f"NATS has stopped: {type(error).__name__}: {error}")

    async def _main(self) -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(DaemonThreads())
        loop.set_exception_handler(lambda *_: None)  # remains of connections that were cut
        self._loop = loop
        if not self._closing:
            await self._link.run()
