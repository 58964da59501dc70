"""MIDI out: the notes that sound, the 32 parameters as controllers or NRPN, and the clock.

Pitches go to the nearest key; what is between the keys is dropped: one channel has one bend for all of its notes. Notes
that came in over MIDI do not go out again. Parameters go out when they changed, `midi.rate_hz` times a second at most
and within a budget that leaves a MIDI cable room for notes; the lane that waited longest goes first.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_bridges.midi import messages
from echelon_bridges.midi.input import KEYS, KEYS_MASK
from echelon_bridges.midi.link import Link
from echelon_engine.config import Config
from echelon_engine.memory import ALL_OFF, CONTROL_RATE_HZ, NOTE_OFF, NOTE_ON
from echelon_engine.parameters import LANES

BYTES_HZ = 1600.0  # of parameters: half of what a MIDI cable carries (31,250 baud, 3,125 bytes a second)
MOST_NOTES = 32  # keys that sound at once; one more ends the oldest
SILENT_FRAMES = 6  # a note older than this cannot sound where the engine has no voice
CLOCK_FRAMES = 6  # control frames from report to report of the beat ..
CHANGED = 0.01  # .. and a change of tempo that is told at once


class MidiOut:
    """An outlet. `told(text)` hears of ports that are missing or gone. Raises `UserError` without python-rtmidi."""

    name = "midi_out"

    def __init__(self, config: Config, told: Callable[[str], None], link: Callable[..., Link] = Link) -> None:
        midi = config.midi
        self._channel, self._form, self._clock = midi.channel, midi.parameters, midi.clock
        self._steps = 16383 if midi.parameters == "nrpn" else 127
        self._lane_bytes = 12 if midi.parameters == "nrpn" else 3
        self._period_frames = CONTROL_RATE_HZ / midi.rate_hz
        self._keys: dict[int, tuple[int, int]] = {}  # the engine's key -> MIDI key, frame it began
        self._sounding: dict[int, int] = {}  # MIDI key -> the engine's keys that hold it
        self._sent = np.full(LANES, -1, np.int64)  # what each lane was last sent as
        self._waited = np.zeros(LANES, np.int64)  # ticks since a lane that changed was sent
        self._anew = False
        self._resync = False
        self._epoch, self._due_frame, self._clock_frame, self._frame = -1, 0.0, 0, 0
        self._clock_bpm = 1.0
        self._budget = float(LANES * self._lane_bytes)
        self.notes = self.parameters = self.deferred = 0
        self._link = link("out", midi.output, f"echelon-{config.engine.name}-out", told, channel=midi.channel,
                          reset=self._on_reset)  # fmt: skip

    def _on_reset(self) -> None:
        self._anew = True  # from the link's thread; the next offer begins anew

    def offer(self, controls: NDArray[Any], events: NDArray[Any], now_ns: int) -> None:
        """Send what these records of memory.CONTROL (n,) and memory.EVENT (m,) ask for."""
        if self._anew:
            self._anew = False
            self._forget()
        if len(controls):
            epoch = int(controls["epoch"][-1])
            self._frame = int(controls["frame"][-1])
            if epoch != self._epoch:  # another audio process: its notes are others
                self._epoch, self._due_frame, self._clock_frame = epoch, self._frame, self._frame
                self.panic()
        for event in events:
            kind, key = int(event["kind"]), int(event["key"])
            if kind == ALL_OFF:
                self.panic()
            elif kind == NOTE_OFF:
                self._end(key)
            elif kind == NOTE_ON and key & KEYS_MASK != KEYS:
                self._begin(key, float(event["pitch"]), float(event["velocity"]))
        if not len(controls):
            return
        if int(controls["voices"][-1]) == 0 and self._keys:
            for key in [key for key, (_, frame) in self._keys.items() if self._frame - frame > SILENT_FRAMES]:
                self._end(key)
        if self._resync and self._link.silence():
            self._resync = False
        if self._clock:
            self._report_beats(controls)
        if self._form != "off" and self._frame >= math.floor(self._due_frame):
            self._due_frame = max(self._due_frame + self._period_frames, self._frame + self._period_frames - 1.0)
            self._send_parameters(controls["position"][-1])

    def _report_beats(self, controls: NDArray[Any]) -> None:
        """Say where the beat is, now and then and where the tempo has changed."""
        for record in controls:
            tempo_bpm = float(record["tempo_bpm"])
            if int(record["frame"]) >= self._clock_frame or abs(tempo_bpm / self._clock_bpm - 1.0) > CHANGED:
                self._clock_frame, self._clock_bpm = int(record["frame"]) + CLOCK_FRAMES, max(tempo_bpm, 1.0)
                heard_ns = int(record["dac_ns"]) or int(record["time_ns"])
                self._link.beat(heard_ns, float(record["beat"]), tempo_bpm)

    def body(self, performer: int, frames: NDArray[Any]) -> None:
        """Take nothing: MIDI has no bodies."""

    def performers(self, states: NDArray[Any]) -> None:
        """Take nothing: MIDI tells what is heard."""

    def _begin(self, key: int, pitch: float, velocity: float) -> None:
        self._end(key)
        if len(self._keys) >= MOST_NOTES:
            self._end(next(iter(self._keys)))
        midi_key = min(max(math.floor(pitch + 0.5), 0), 127)
        if midi_key in self._sounding:  # struck again: an end for each begin
            self._out(messages.note_off(self._channel, midi_key))
        if self._out(messages.note_on(self._channel, midi_key, velocity)):
            self._keys[key] = midi_key, self._frame
            self._sounding[midi_key] = key
            self.notes += 1

    def _end(self, key: int) -> None:
        midi_key, _ = self._keys.pop(key, (None, 0))
        if midi_key is not None and self._sounding.get(midi_key) == key:
            del self._sounding[midi_key]
            self._out(messages.note_off(self._channel, midi_key))

    def _out(self, message: bytes) -> bool:
        if self._link.send(message):
            return True
        self._resync = bool(self._link.port)  # an end may be lost: all are ended as soon as the port takes it
        return False

    def panic(self) -> None:
        """End every note that was sent."""
        self._keys.clear()
        self._sounding.clear()
        if not self._link.silence():
            self._resync = bool(self._link.port)

    def _forget(self) -> None:
        """Begin anew on a port just opened: nothing sounds there, and no parameter was ever sent."""
        self._keys.clear()
        self._sounding.clear()
        self._sent[:] = -1
        self._resync = False

    def _send_parameters(self, position: NDArray[np.float32]) -> None:
        """Send the lanes that changed, longest waiting first, as far as the budget goes."""
        if not self._link.port:
            return
        tick_bytes = BYTES_HZ * self._period_frames / CONTROL_RATE_HZ
        self._budget = min(self._budget + tick_bytes, max(tick_bytes, LANES * self._lane_bytes))
        values = np.rint(np.clip(np.nan_to_num(position), 0.0, 1.0) * self._steps).astype(np.int64)
        changed = np.flatnonzero(values != self._sent)
        if not len(changed):
            return
        self._waited[changed] += 1
        first = changed[np.argsort(-self._waited[changed], kind="stable")][: int(self._budget // self._lane_bytes)]
        self.deferred += len(changed) - len(first)
        if not len(first) or not self._link.send(*self._parameter_bytes(first.tolist(), values)):
            return
        self._budget -= self._lane_bytes * len(first)
        self._sent[first], self._waited[first] = values[first], 0
        self.parameters += len(first)

    def _parameter_bytes(self, lanes: list[int], values: NDArray[np.int64]) -> list[bytes]:
        if self._form == "cc":
            return [messages.controller(self._channel, messages.LANE_CC[lane], int(values[lane])) for lane in lanes]
        return [part for lane in lanes for part in messages.nrpn(self._channel, lane, int(values[lane]))]

    def report(self) -> dict[str, Any]:
        """Return the counts for `status`."""
        link = self._link
        return {
            "port": link.port,
            "notes": self.notes,
            "sounding": len(self._keys),
            "parameters": self.parameters,
            "deferred": self.deferred,
            "dropped": link.dropped + link.refused,
            "ticks": link.ticks,
            "tick_late_ms": link.tick_late_ms,
            "restarts": max(link.starts - 1, 0),
        }

    def close(self) -> None:
        """End every note and the clock, and close the port; 2 s at most."""
        self._link.close()
