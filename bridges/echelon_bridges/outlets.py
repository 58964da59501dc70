"""Everything that goes out and may ask something back: opened from the configuration, fed once a turn.

    callback --records--> Outlets --offer--> session, OSC, MIDI, NATS, relay
                             Desk <--notes, settings, tempo-- OSC, MIDI, NATS, Link

An outlet whose opening fails ends a start, with the reason; when bridges are restarted during a show, it is only left
out, with a warning.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from echelon_bridges.desk import Desk
from echelon_bridges.messages.grids import Book
from echelon_engine import live_table
from echelon_engine.config import Config
from echelon_engine.errors import UserError

if TYPE_CHECKING:
    from echelon_bridges.link_clock import LinkClock
    from echelon_bridges.midi.input import MidiIn
    from echelon_bridges.osc.control import OscControl
    from echelon_bridges.performers import Performers
    from echelon_bridges.session.log import SessionLog

INBOX = 4096  # payloads of motion that wait for a turn
Say = Callable[..., None]


class Outlet(Protocol):
    """Takes what the engine does; called from one thread, never blocks or raises."""

    name: str

    def offer(self, controls: NDArray[Any], events: NDArray[Any], now_ns: int) -> None:
        """Take new memory.CONTROL (n,) and memory.EVENT (m,); n or m may be 0. Copy what is kept."""

    def body(self, performer: int, frames: NDArray[Any]) -> None:
        """Take new memory.LIMB_FRAME (n,) of a performer."""

    def performers(self, states: NDArray[Any]) -> None:
        """Take what every performer does, performers.PERFORMER (n,), 15 times a second."""

    def report(self) -> dict[str, Any]:
        """Return counts for `status`."""

    def close(self) -> None:
        """End, within 2 s."""


class Motion(NamedTuple):
    """A payload of motion that came over a network of messages."""

    performer: int
    device: str
    data: bytes
    arrival_ns: int


class Outlets:
    """All of them. `say(event, text=..)` tells people; `inbox` holds motion that came in, `grids` what may play."""

    def __init__(self, config: Config, shared: Any, say: Say) -> None:
        from echelon_bridges.session.tap import Taps
        from echelon_engine import rings

        self._newest = rings.newest
        self.desk = Desk(config.engine.name, shared, lambda text: say("warning", text=text))
        self.inbox: deque[Motion] = deque(maxlen=INBOX)
        self.grids = Book(live_table.styles(config.band.styles))
        self.grids.add(shared["grids"]["slot"])  # after a restart: what plays is one of the last three
        self._shared, self._say = shared, say
        self._restarted = int(shared["header"]["epoch"]) > 1
        self._taps = Taps(shared)
        self._outlets: list[Outlet] = []
        self._told: set[str] = set()
        self.refused = 0  # messages that were no limb frame
        self._log: SessionLog | None = None
        self._midi_in: MidiIn | None = None
        self._link: LinkClock | None = None
        self.osc_in: OscControl | None = None
        try:
            self._open(config)
        except BaseException:
            self.close()
            raise

    def _open(self, config: Config) -> None:
        def told(text: str) -> None:
            self._say("warning", text=text)

        if config.osc.port:
            with self._optional():
                from echelon_bridges.osc.control import OscControl

                self.osc_in = OscControl(config, self.desk)
        if config.clock.link:
            with self._optional():
                from echelon_bridges.link_clock import LinkClock

                self._link = LinkClock(self.desk, config.clock.tempo_bpm)
        if config.midi.input:
            with self._optional():
                from echelon_bridges.midi.input import MidiIn

                self._midi_in = MidiIn(config, self.desk, told)
        if config.sensors.relay:
            with self._optional():
                from echelon_bridges.relay import Relay

                self._outlets.append(Relay(config.sensors.relay, told))
        if config.osc.targets:
            with self._optional():
                from echelon_bridges.osc.out import OscOut

                self._outlets.append(OscOut(config, told))
        if config.midi.output:
            with self._optional():
                from echelon_bridges.midi.out import MidiOut

                self._outlets.append(MidiOut(config, told))
        publishes = False
        if config.nats.url:
            with self._optional():
                from echelon_bridges.nats_link import connection

                connection.check(config)
                publishes = True
        # After all that may fail a start: one that failed leaves no empty session behind.
        if config.session.log and self._shared["header"]["scripted"]:
            self._say("notice", text="a session that is played again is not kept once more")
        elif config.session.log:
            with self._optional():
                from echelon_bridges.session.log import SessionLog

                self._log = SessionLog.open(config, self._shared)
                self._say("notice", text=f"the session is kept in {self._log.path}")
        if publishes:
            with self._optional():
                from echelon_bridges.nats_link.outlet import NatsOutlet

                session = self._log.path.name if self._log is not None else ""  # one name for a bar everywhere
                self._outlets.append(
                    NatsOutlet(config, self.desk, self._receive, self._say, session=session, book=self.grids)
                )
        self._performers: Performers | None = None
        if config.motion.performers > 1 and self._outlets:
            from echelon_bridges.performers import Performers

            delay_ms = 0.0 if config.motion.low_latency else config.motion.delay_ms
            self._performers = Performers(config.motion.performers, config.motion.velocity_scale, delay_ms)
        self._wants_bodies = bool(
            config.sensors.relay or (config.nats.url and config.nats.body) or (config.osc.targets and config.osc.body)
        )

    @contextlib.contextmanager
    def _optional(self) -> Iterator[None]:
        """Let a show that goes on do without what cannot be opened; a start fails."""
        try:
            yield
        except UserError as error:
            if not self._restarted:
                raise
            self._say("warning", text=f"{error}; going on without it")

    def _receive(self, performer: int, device: str, data: bytes, arrival_ns: int) -> None:
        """Take a payload, in whatever thread it came."""
        self.inbox.append(Motion(performer, device, data, arrival_ns))

    @property
    def any(self) -> bool:
        """Whether anything at all goes out or comes in."""
        return bool(self._outlets or self._log or self.osc_in or self._midi_in or self._link)

    @property
    def have_more(self) -> bool:
        """Whether the callback has written something, or motion came in, since the last turn."""
        return bool(self.inbox) or self._taps.have_more

    def turn(self, now_ns: int) -> NDArray[Any]:
        """Hand on what the callback has written since the last turn; return its memory.CONTROL (n,)."""
        controls, events, inputs = self._taps.take()
        if self._log is not None:
            self._log.inputs(inputs)
            self._log.offer(controls, events, now_ns)
            if said := self._log.gaps(self._shared["counters"]):
                self._say("warning", text=said)
        if self._performers is not None and len(controls) and len(states := self._performers.advance(now_ns)):
            for outlet in self._outlets:
                outlet.performers(states)
        for outlet in self._outlets:
            outlet.offer(controls, events, now_ns)
        if len(controls):
            position = controls["position"][-1]
            if self._midi_in is not None:
                self._midi_in.lanes(position)
                self._midi_in.heard_later(max(int(controls["dac_ns"][-1]) - int(controls["time_ns"][-1]), 0))
            if self.osc_in is not None:
                self.osc_in.moves.lanes(position)
        if self._link is not None:
            self._link.turn(controls, self._tempo_source, now_ns)
        self._taps.release(None if self._log is None else self._log.settled)
        return controls

    def _tempo_source(self) -> int:
        return int(self._newest(self._shared["settings"])["tempo_source"])

    def changed_weights(self, path: str) -> None:
        """Tell the session's log."""
        if self._log is not None:
            self._log.changed_weights(path)

    def body(self, performer: int, frames: NDArray[np.void]) -> None:
        """Hand on the limb frames of a performer, memory.LIMB_FRAME (n,), to whom they may go."""
        if self._performers is not None and len(frames):
            self._performers.offer(performer, frames)
        if self._wants_bodies:
            for outlet in self._outlets:
                outlet.body(performer, frames)

    def report(self) -> dict[str, Any]:
        """Return what each has counted, and say once what failed."""
        everyone = [*self._outlets, self._log, self.osc_in, self._midi_in, self._link]
        found = {each.name: each.report() for each in everyone if each is not None}
        for name, counts in found.items():
            if (reason := str(counts.get("error", ""))) and f"{name}{reason}" not in self._told:
                self._told.add(f"{name}{reason}")
                self._say("warning", text=reason)
        if self.any:
            desk = self.desk
            found["desk"] = {"refused": desk.refusals + self.refused, "dropped_notes": desk.dropped_notes}
        return found

    def close(self) -> None:
        """End all of them, side by side."""
        import threading

        everyone = [*self._outlets, self._log, self.osc_in, self._midi_in, self._link]
        threads = [threading.Thread(target=each.close, daemon=True) for each in everyone if each is not None]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(2.5)
        self.desk.close()
