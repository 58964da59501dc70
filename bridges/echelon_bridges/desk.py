"""What a connection may ask of the engine: notes at once, settings through the supervisor. Safe from any thread."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from echelon_bridges import control
from echelon_engine.errors import UserError
from echelon_engine.live import BACK, NEXT
from echelon_engine.live_table import LIVE
from echelon_engine.memory import COMMAND, NOTE_OFF, NOTE_ON, TEMPO

WAITING_KEYS = 256  # settings that wait to be sent; the table of live settings is shorter
CLOSE_S = 2.0
PRODUCER = 0  # the command ring of the bridges
DONE = ("count", "tap", "cue")  # kinds that are done each time they are asked for


class Desk:
    """The mixing desk of the engine `name`: every connection (NATS, OSC, MIDI) holds the same one.

    `shared` is the record of memory.SHARED, whose command ring 0 it alone fills. `refused(text)` is told once for every
    different setting that the engine refuses.
    """

    def __init__(self, name: str, shared: Any, refused: Callable[[str], None]) -> None:
        from echelon_engine import rings

        self.name = name
        self.refusals = 0
        self.dropped_notes = 0
        self._push, self._ring = rings.push, shared["commands"][PRODUCER]
        self._command = np.zeros(1, COMMAND)
        self._notes = threading.Lock()
        self._refused = refused
        self._told: set[str] = set()
        self._waiting: dict[tuple[str, int], tuple[str, int]] = {}
        self._asked = 0
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._send, name="desk", daemon=True)
        self._thread.start()

    def note_on(self, key: int, pitch: float, velocity: float, pan: float = 0.0) -> bool:
        """Begin a note now; `pitch` MIDI note, fractional, `velocity` 0..1, `pan` -1..1. False: no room, counted.

        `key` names the note for `note_off`; a note that already sounds under it ends.
        """
        return self._note(NOTE_ON, key, pitch, velocity, pan)

    def note_off(self, key: int) -> bool:
        """End the note of this key; False when there is no room for the command, which is counted."""
        return self._note(NOTE_OFF, key, 0.0, 0.0, 0.0)

    def _note(self, kind: int, key: int, pitch: float, velocity: float, pan: float) -> bool:
        with self._notes:
            command = self._command[0]
            command["time_ns"], command["kind"], command["key"] = 0, kind, key & 0x7FFF_FFFF
            command["value"] = (pitch, velocity, pan, 0.0)
            done = bool(self._push(self._ring, self._command))
            self.dropped_notes += not done
            return done

    def tempo(self, time_ns: int, tempo_bpm: float, phase: float) -> bool:
        """Say what an external clock says: its tempo, and where its beat was, 0..1, at `time_ns`. False: no room."""
        with self._notes:
            command = self._command[0]
            command["time_ns"], command["kind"], command["key"] = time_ns, TEMPO, 0
            command["value"] = (tempo_bpm, phase, 0.0, 0.0)
            return bool(self._push(self._ring, self._command))

    def set(self, key: str, value: str, time_ns: int = 0) -> None:
        """Change a live setting soon, as `echelon-engine set KEY VALUE` does; `time_ns` is when it was asked, if known.

        Never blocks. Of a setting the newest value wins; what is done or stepped is done as often as it is asked.
        """
        with self._changed:
            counts = value in (NEXT, BACK) or (key in LIVE and LIVE[key].kind in DONE)
            self._asked += counts
            which = key, self._asked if counts else 0
            if which in self._waiting or len(self._waiting) < WAITING_KEYS:
                self._waiting[which] = value, time_ns
                self._changed.notify()
            else:
                self.refusals += 1

    def ask(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Return the supervisor's answer to one request of its control socket. Blocks; raises `UserError`."""
        return control.request(self.name, **fields)

    def _send(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                waiting, self._waiting = self._waiting, {}
            for (key, _), (value, time_ns) in waiting.items():
                try:
                    asked = {"time_ns": time_ns} if time_ns else {}
                    self.ask({"command": "set", "key": key, "value": value, **asked})
                except UserError as error:
                    self._refuse(key, str(error))
            if self._closed and not waiting:
                return

    def _refuse(self, key: str, reason: str) -> None:
        self.refusals += 1
        if key not in self._told and len(self._told) < WAITING_KEYS:
            self._told.add(key)
            with contextlib.suppress(Exception):  # telling must not end the desk
                self._refused(reason)

    def close(self) -> None:
        """Send what waits, then stop; 2 s at most."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(CLOSE_S)
