"""MIDI in: notes of every channel play, controllers move what the map gives them, a clock may lead.

Velocity is the note's; the sustain pedal (64) of a channel holds its notes; "all notes off" and "all sound off" end
those of their channel, a reset those of all. A note is named by channel and key, so two keyboards do not cut each other
off; a key that the map gives a setting plays no note. The clock's tempo and beat are told the callback, which follows
them while `tempo_source` is external; where the map has "clock", a clock that begins to run makes it so. Program
changes, registered parameters and system exclusive mean nothing here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from echelon_bridges.controllers.moves import Moves
from echelon_bridges.controllers.table import CLOCK, Watched, path_of
from echelon_bridges.midi.clock_in import ClockIn
from echelon_bridges.midi.link import Link
from echelon_bridges.midi.messages import TICK, Move, Note, Position, Pulse, Reader, Silence
from echelon_engine.config import Config

if TYPE_CHECKING:
    from echelon_bridges.desk import Desk

KEYS, KEYS_MASK = 0x4D00_0000, 0x7F00_0000  # names of notes begun here: no other connection's
SILENT_NS = 2_000_000_000  # a clock that ticks no more
LOOK_NS = 1_000_000_000  # between looks at the map's file


class MidiIn:
    """The input port: works by itself, in its link's thread. `told(text)` hears of ports that are missing or gone.

    `lanes` (CONTROL.position of the newest record) should be called now and then, so that controllers know where the
    lanes are. Raises `UserError` for a map with a mistake, or without python-rtmidi.
    """

    name = "midi_in"

    def __init__(
        self, config: Config, desk: Desk, told: Callable[[str], None], link: Callable[..., Link] = Link
    ) -> None:
        self._desk, self._told = desk, told
        self._map = Watched(path_of(config))
        self.moves = Moves(desk, lambda: self._map.rows, config)
        self._reader, self._clock = Reader(), ClockIn()
        self._leads = not config.clock.link  # Link is the external clock where it is on
        self._led = False
        self._ahead_ns = 0
        self._sounding: set[int] = set()
        self._lock = threading.Lock()
        self._looked_ns = time.monotonic_ns()
        self.messages = self.notes = self.ticks = self._tick_ns = 0
        self._link = link("in", config.midi.input, f"echelon-{config.engine.name}-in", told, heard=self.hear,
                          reset=self._silence)  # fmt: skip

    def lanes(self, position: Any) -> None:
        """Take where the 32 lanes are, 0..1."""
        self.moves.lanes(position)

    def heard_later(self, ahead_ns: int) -> None:
        """Take how long after it was rendered a sample is heard: the beat is to be heard with the clock's."""
        self._ahead_ns = ahead_ns

    def hear(self, message: bytes, time_ns: int) -> None:
        """Do what one MIDI message asks; `time_ns` is when it came. Never raises."""
        self.messages += 1
        if time_ns - self._looked_ns > LOOK_NS:
            self._looked_ns = time_ns
            self._look()
        for event in self._reader.read(message):
            match event:
                case Note(channel, key, velocity) if f"note {channel} {key}" not in self._map.rows or not velocity:
                    self._note(channel, key, velocity)
                case Move(source, value):
                    self.moves.move(source, value, time_ns)
                case Silence(channel):
                    self._silence(channel)
                case Pulse(what) if what == TICK:
                    self._tick(time_ns)
                case Pulse(what):
                    self._clock.pulse(what)
                case Position(sixteenth):
                    self._clock.position(sixteenth)

    def _look(self) -> None:
        before = self._map.problem
        self._map.refresh()
        if self._map.problem and self._map.problem != before:
            self._told(f"MIDI map: {self._map.problem}; the former one stays in force")

    def _note(self, channel: int, key: int, velocity: float) -> None:
        name = KEYS | channel << 8 | key
        with self._lock:
            if velocity > 0.0:
                self.notes += 1
                self._sounding.add(name)
                self._desk.note_on(name, float(key), velocity)
            elif name in self._sounding:
                self._sounding.discard(name)
                self._desk.note_off(name)

    def _silence(self, channel: int = 0) -> None:
        """End the notes of a channel; 0: of all."""
        with self._lock:
            for name in [name for name in self._sounding if channel in (0, name >> 8 & 0x1F)]:
                self._sounding.discard(name)
                self._desk.note_off(name)

    def _tick(self, time_ns: int) -> None:
        self.ticks += 1
        self._tick_ns = time_ns
        beat = self._clock.tick(time_ns)
        if not self._clock.tempo_bpm:
            self._led = False
        if beat is None or not self._leads:
            return
        self._desk.tempo(beat.time_ns - self._ahead_ns, beat.tempo_bpm, beat.phase)
        if CLOCK in self._map.rows and not self._led:
            self._led = True
            self._desk.set("tempo_source", "external")

    def report(self) -> dict[str, Any]:
        """Return the counts for `status`."""
        link = self._link
        return {
            "port": link.port,
            "messages": self.messages,
            "notes": self.notes,
            "sounding": len(self._sounding),
            "ticks": self.ticks,
            "clock_bpm": self._clock_bpm(),
            "unknown": self._reader.unknown,
            "restarts": max(link.starts - 1, 0),
            "map_problem": self._map.problem,
            **self.moves.report(),
        }

    def _clock_bpm(self) -> float:
        """Return the tempo of the clock that comes in, 0 where none does."""
        silent = self._tick_ns == 0 or time.monotonic_ns() - self._tick_ns > SILENT_NS
        return 0.0 if silent else round(self._clock.tempo_bpm, 2)

    def close(self) -> None:
        """Close the port and end the notes that it began."""
        self._link.close()
        self._silence()
        self.moves.close()
