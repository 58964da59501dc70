"""OSC in: other programs and controllers set live settings, take lanes over and play notes, on `osc.port`.

    /echelon/set KEY VALUE             any live setting, as `echelon-engine set` takes it
    /echelon/NAME/KEY VALUE            the same; dots of the key may be slashes: /echelon/NAME/lane/gain 0.5
    /echelon/NAME/lane/LANE/off        gives a lane back to the motion
    /echelon/NAME/cue WHICH            a cue of the show: its name or number, next or back; also /cue/next, /cue/back
    /echelon/NAME/tap                  a beat, at the moment it arrives: two to eight are a tempo
    /echelon/NAME/note/on KEY PITCH VELOCITY [PAN]    velocity 0..1, or whole numbers 0..127; 0 ends it
    /echelon/NAME/note/off KEY
    /echelon/NAME/panic

NAME may be left out. /cue/next, /cue/back and /tap may be buttons: with 0, their release, they do nothing. Any other
address is a controller: the map (`controllers/table.py`) may give it a setting, its first number 0..1 moves it. Time
tags are not waited for: everything is done at once. Loopback unless `osc.bind` says otherwise; each source is kept to
its budget before anything is parsed; what is not understood is counted.
"""

from __future__ import annotations

import math
import socket
from typing import TYPE_CHECKING, Any

from echelon_bridges import udp
from echelon_bridges.controllers.moves import Moves
from echelon_bridges.controllers.table import Watched, path_of
from echelon_bridges.protocol import osc
from echelon_bridges.protocol.refusal import Refusal
from echelon_engine import live_table
from echelon_engine.config import Config
from echelon_engine.parameters import LANE

if TYPE_CHECKING:
    from echelon_bridges.desk import Desk

KEYS = 0x4F00_0000  # names of notes begun here: no other connection's
MOST_NOTES = 64  # that sound at once; one more ends the oldest
TEXT_LETTERS = 64
LOOK_NS = 1_000_000_000  # between looks at the map's file


class OscControl:
    """The port for controllers: register `socket` for reading and call `hear` when it is readable, and now and then.

    Raises `UserError` for a port that cannot be bound, or a map with a mistake.
    """

    name = "osc_in"

    def __init__(self, config: Config, desk: Desk) -> None:
        self._desk = desk
        self._map = Watched(path_of(config))
        self.moves = Moves(desk, lambda: self._map.rows, config)
        self._port = udp.bind(config.osc.bind, config.osc.port)
        self._engine = config.engine.name
        self._keys = frozenset(live_table.LIVE)
        self._sounding: dict[int, None] = {}
        self._looked_ns = 0
        self.messages = self.malformed = self.unknown = self.settings = self.notes = 0

    @property
    def socket(self) -> socket.socket:
        """The bound socket."""
        return self._port.socket

    @property
    def address(self) -> tuple[str, int]:
        """Where controllers are heard."""
        return self._port.address

    def lanes(self, position: Any) -> None:
        """Take where the 32 lanes are, 0..1: controllers pick them up there."""
        self.moves.lanes(position)

    def hear(self, now_ns: int) -> None:
        """Do what the waiting datagrams ask; bounded, never blocks, never raises."""
        if now_ns - self._looked_ns > LOOK_NS:
            self._looked_ns = now_ns
            self._map.refresh()
        for datagram in self._port.drain(now_ns):
            messages = osc.decode(datagram.data)
            if isinstance(messages, Refusal):
                self.malformed += 1
                continue
            for message in messages:
                self.messages += 1
                self._take(message, datagram.arrival_ns)

    def _take(self, message: osc.Message, now_ns: int) -> None:
        address, args = message.address, message.args
        if not address.startswith("/echelon/"):
            self._controller(address, args, now_ns)
            return
        words = address[len("/echelon/") :].split("/")
        done = self._do(words, args, now_ns)
        if done is None and words[0] == self._engine:
            # Only now: an engine may be called `note`, and /echelon/note/on still begins a note.
            done = self._do(words[1:], args, now_ns)
        if done is None:
            self.unknown += 1
        elif not done:
            self.malformed += 1

    def _do(self, words: list[str], args: tuple[osc.Argument, ...], now_ns: int) -> bool | None:
        """Do what the address below /echelon/ says; return whether its arguments allow it, None for no such address."""
        match words:
            case ["set"]:
                return len(args) >= 1 and isinstance(args[0], str) and self._set(args[0], args[1:])
            case ["note", "on"]:
                return self._note_on(args)
            case ["note", "off"]:
                return bool(args) and type(args[0]) is int and self._note_off(args[0])
            case ["cue", "next" | "back" as step]:
                return _is_released(args) or self._set("cue", (step,))
            case ["tap"]:
                return _is_released(args) or self._tap(now_ns)
            case ["lane", lane, "off"] if _is_lane(lane):
                return self._set(f"lane.{lane}", ("off",))
            case ["lane", lane] if _is_lane(lane):
                return self._set(f"lane.{lane}", args)
        key = ".".join(words)
        return self._set(key, args) if key in self._keys else None

    def _set(self, key: str, args: tuple[osc.Argument, ...]) -> bool:
        text = _text(args[0]) if args else ""
        if text is None or not 0 < len(key) <= TEXT_LETTERS:
            return False
        self.settings += 1
        self._desk.set(key, text)
        return True

    def _tap(self, time_ns: int) -> bool:
        self.settings += 1
        self._desk.set("tap", "now", time_ns)
        return True

    def _note_on(self, args: tuple[osc.Argument, ...]) -> bool:
        if len(args) not in (3, 4) or type(args[0]) is not int:
            return False
        numbers = [_number(value) for value in args[1:]]
        if None in numbers:
            return False
        pitch, velocity, pan = (*(number for number in numbers if number is not None), 0.0)[:3]
        if type(args[2]) is int:
            velocity /= 127.0
        if not (0.0 <= pitch <= 127.0 and 0.0 <= velocity <= 1.0 and -1.0 <= pan <= 1.0):
            return False
        if velocity == 0.0:
            return self._note_off(args[0])
        key = KEYS | args[0] & 0xFF_FFFF
        self._sounding.pop(key, None)
        if len(self._sounding) >= MOST_NOTES:
            self._end(next(iter(self._sounding)))
        self._sounding[key] = None
        self.notes += 1
        self._desk.note_on(key, pitch, velocity, pan)
        return True

    def _note_off(self, number: int) -> bool:
        self._end(KEYS | number & 0xFF_FFFF)
        return True

    def _end(self, key: int) -> None:
        self._sounding.pop(key, None)
        self._desk.note_off(key)

    def _controller(self, address: str, args: tuple[osc.Argument, ...], now_ns: int) -> None:
        value = _number(args[0]) if args else 1.0  # an address alone is a button
        if value is None or not (0.0 <= value <= 1.0) or len(address) > 128:
            self.malformed += 1
        elif not self.moves.move(f"osc {address}", value, now_ns):
            self.unknown += 1

    def report(self) -> dict[str, Any]:
        """Return the counts for `status`."""
        return {
            "port": self.address[1],
            "datagrams": self._port.counts.datagrams,
            "messages": self.messages,
            "settings": self.settings,
            "notes": self.notes,
            "malformed": self.malformed,
            "unknown": self.unknown,
            "over_budget": self._port.counts.over_budget,
            "map_problem": self._map.problem,
            **self.moves.report(),
        }

    def close(self) -> None:
        """End what was begun here and close the port."""
        for key in list(self._sounding):
            self._end(key)
        self.moves.close()
        self._port.close()


def _is_released(args: tuple[osc.Argument, ...]) -> bool:
    """Return whether a button says that it was let go."""
    return bool(args) and _number(args[0]) == 0.0


def _is_lane(name: str) -> bool:
    return name in LANE or (name.isascii() and name.isdigit() and len(name) <= 2)


def _number(value: osc.Argument) -> float | None:
    """Return a finite number, of an int, float or truth value; else None."""
    if isinstance(value, bool | int | float) and math.isfinite(value):
        return float(value)
    return None


def _text(value: osc.Argument) -> str | None:
    """Return an argument as `set` takes its value, or None where it can be none."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, str):
        return value if len(value) <= TEXT_LETTERS and value.isprintable() else None
    number = _number(value)
    return None if number is None else f"{number:.7g}"
