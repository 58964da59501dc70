"""MIDI 1.0 messages to bytes and back. Pure: no port, no clock. Channels count from 1, as people count them.

The 32 parameters leave as controllers 20 to 31 (lanes 0 to 11), 102 to 119 (lanes 12 to 29), 14 and 15 (lanes 30 and
31): numbers that MIDI leaves undefined, so that no synthesiser changes bank, pedal or mode by them. As NRPN they are
the numbers 0 to 31 with 14 bits. Source: MIDI 1.0 Detailed Specification, table of controllers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

LANE_CC: tuple[int, ...] = (*range(20, 32), *range(102, 120), 14, 15)
NOTE_OFF, NOTE_ON, CONTROL_CHANGE, PRESSURE, BEND = 0x80, 0x90, 0xB0, 0xD0, 0xE0
TICK, START, CONTINUE, STOP, RESET = 0xF8, 0xFA, 0xFB, 0xFC, 0xFF
SONG_POSITION = 0xF2
SUSTAIN, ALL_SOUND_OFF, ALL_NOTES_OFF = 64, 120, 123
DATA, DATA_FINE, NRPN_FINE, NRPN, RPN_FINE, RPN = 6, 38, 98, 99, 100, 101
TICKS_PER_BEAT = 24


def note_on(channel: int, key: int, velocity: float) -> bytes:
    """Return a note's begin; velocity 0..1 becomes 1..127 (0 would end it)."""
    return bytes((NOTE_ON | channel - 1, key & 0x7F, min(max(round(velocity * 127), 1), 127)))


def note_off(channel: int, key: int) -> bytes:
    """Return a note's end, at the release velocity that means nothing."""
    return bytes((NOTE_OFF | channel - 1, key & 0x7F, 64))


def controller(channel: int, number: int, value: int) -> bytes:
    """Return a control change of 7 bits."""
    return bytes((CONTROL_CHANGE | channel - 1, number & 0x7F, value & 0x7F))


def nrpn(channel: int, number: int, value: int) -> tuple[bytes, ...]:
    """Return the four control changes that set a non-registered parameter to a value of 14 bits."""
    pairs = ((NRPN, number >> 7), (NRPN_FINE, number), (DATA, value >> 7), (DATA_FINE, value))
    return tuple(controller(channel, which, part) for which, part in pairs)


class Note(NamedTuple):
    """A key pressed (velocity 0..1) or released (velocity 0)."""

    channel: int
    key: int
    velocity: float


class Move(NamedTuple):
    """A controller's new value 0..1; `source` as the map names it."""

    source: str
    value: float


class Silence(NamedTuple):
    """All notes of a channel are to end; channel 0: of every channel."""

    channel: int


class Pulse(NamedTuple):
    """A message of the clock: TICK, START, CONTINUE or STOP."""

    what: int


class Position(NamedTuple):
    """Where a song goes on at the next CONTINUE, in sixteenths from its begin."""

    sixteenth: int


Event = Note | Move | Silence | Pulse | Position


@dataclass(slots=True)
class _Channel:
    """What a channel's earlier messages mean for its next."""

    coarse: list[int] = field(default_factory=lambda: [0] * 32)
    parameter: int | None = None  # NRPN that data entry moves
    selecting: list[int] = field(default_factory=lambda: [127, 127])  # coarse, fine
    data: int = 0
    fine_data: bool = False
    pedal: bool = False
    held: set[int] = field(default_factory=set)  # keys released while the pedal is down


class Reader:
    """Understands what a port says, one whole message a call. A 14 bit pair is reported under both of its names:
    `cc N` by its coarse half, `cc14 N` at once when its fine half is there.
    """

    def __init__(self) -> None:
        self._channels = [_Channel() for _ in range(16)]
        self.unknown = 0

    def read(self, message: Sequence[int]) -> list[Event]:
        """Return what a message means; nothing for what has no meaning here. Any bytes are safe."""
        if not message:
            return []
        status = message[0]
        if status in (TICK, START, CONTINUE, STOP):
            return [Pulse(status)]
        if status == RESET:
            return [Silence(0)]
        if status == SONG_POSITION and len(message) == 3 and message[1] < 128 and message[2] < 128:
            return [Position(message[1] | message[2] << 7)]
        kind, number = status & 0xF0, status & 0x0F
        size = 2 if kind in (0xC0, PRESSURE) else 3
        if not 0x80 <= status < 0xF0 or len(message) != size or any(byte > 127 for byte in message[1:]):
            self.unknown += 1
            return []
        channel, state = number + 1, self._channels[number]
        if kind == CONTROL_CHANGE:
            return self._controller(channel, state, message[1], message[2])
        if kind in (NOTE_ON, NOTE_OFF):
            return self._note(channel, state, message[1], message[2] if kind == NOTE_ON else 0)
        if kind == BEND:
            # 0 .. 8192 (rest) .. 16383: the rest is exactly the middle
            value = message[1] | message[2] << 7
            return [Move(f"bend {channel}", value / 16384 if value <= 8192 else 0.5 + (value - 8192) / 16382)]
        if kind == PRESSURE:
            return [Move(f"pressure {channel}", message[1] / 127)]
        self.unknown += 1
        return []

    def _note(self, channel: int, state: _Channel, key: int, velocity: int) -> list[Event]:
        pad = Move(f"note {channel} {key}", velocity / 127 if velocity else 0.0)
        if velocity:
            state.held.discard(key)
            return [Note(channel, key, velocity / 127), pad]
        if state.pedal:
            state.held.add(key)
            return [pad]
        return [Note(channel, key, 0.0), pad]

    def _controller(self, channel: int, state: _Channel, number: int, value: int) -> list[Event]:
        if number >= ALL_SOUND_OFF:
            state.held.clear()
            return [Silence(channel)] if number in (ALL_SOUND_OFF, ALL_NOTES_OFF) else []
        events: list[Event] = []
        if number == SUSTAIN:
            state.pedal = value >= 64
            if not state.pedal:
                events += [Note(channel, key, 0.0) for key in sorted(state.held)]
                state.held.clear()
        elif number in (NRPN, NRPN_FINE, RPN, RPN_FINE):
            self._select(state, number, value)
            return []
        elif number in (DATA, DATA_FINE) and state.parameter is not None:
            return self._data(channel, state, number, value)
        if number < 32:
            state.coarse[number] = value
        elif number < 64:
            coarse = number - 32
            events.append(Move(f"cc14 {channel} {coarse}", (state.coarse[coarse] << 7 | value) / 16383))
        return [*events, Move(f"cc {channel} {number}", value / 127)]

    @staticmethod
    def _select(state: _Channel, number: int, value: int) -> None:
        state.fine_data = False
        state.data = 0
        if number in (RPN, RPN_FINE):
            state.parameter = None  # registered ones are not ours; 127 127 is the null that ends an NRPN
            return
        state.selecting[number == NRPN_FINE] = value
        chosen = state.selecting[0] << 7 | state.selecting[1]
        state.parameter = None if chosen == 16383 else chosen

    @staticmethod
    def _data(channel: int, state: _Channel, number: int, value: int) -> list[Event]:
        source = f"nrpn {channel} {state.parameter}"
        if number == DATA:
            state.data = value
            # Some senders have 7 bits alone; from others the fine half follows, and the coarse one alone would jump.
            return [] if state.fine_data else [Move(source, value / 127)]
        state.fine_data = True
        return [Move(source, (state.data << 7 | value) / 16383)]
