"""The MIDI clock that is sent: when its ticks are due, from the beat the engine reports. Pure: times in, bytes out."""

from __future__ import annotations

import math

from echelon_bridges.midi.messages import START, STOP, TICK, TICKS_PER_BEAT
from echelon_engine.vocabulary import BEATS_PER_BAR

JUMP_BEATS = 0.25  # farther off is another clock, not jitter
FOLLOW = 0.1  # share of each report's deviation that is followed: jitter of the reports is averaged out
SILENT_NS = 1_000_000_000  # without a report for so long, the clock stops
MOST_LATE_TICKS = 12  # more than that are not made up for


class ClockOut:
    """24 ticks a beat. It starts with the first bar that begins after the first report; `sent` counts ticks."""

    def __init__(self) -> None:
        self.sent = 0
        self.latest_ns = 0  # the largest lateness of a tick
        self._at_ns, self._beat, self._tempo_bpm = 0, 0.0, 0.0
        self._next: int | None = None  # number of the next tick
        self._running = False

    def report(self, time_ns: int, beat: float, tempo_bpm: float) -> bytes:
        """Take where the musical clock is at `time_ns`; return what is to be sent at once (a stop after a jump)."""
        out = b""
        if self._tempo_bpm and tempo_bpm > 0.0:
            # beat(t) = beat(t0) + (t - t0) tempo / 60
            expected = self._beat + (time_ns - self._at_ns) * self._tempo_bpm / 60e9
            error = beat - expected
            if abs(error) > JUMP_BEATS:
                out = self.stop()
            else:
                beat = expected + FOLLOW * error
        self._at_ns, self._beat, self._tempo_bpm = time_ns, beat, tempo_bpm
        if self._next is None and tempo_bpm > 0.0:
            self._next = math.ceil(beat / BEATS_PER_BAR - 1e-9) * BEATS_PER_BAR * TICKS_PER_BEAT
        return out

    def due_ns(self) -> int | None:
        """Return when the next tick is due, None when none is."""
        if self._next is None:
            return None
        beats = self._next / TICKS_PER_BEAT - self._beat
        return self._at_ns + round(beats * 60e9 / self._tempo_bpm)

    def due(self, now_ns: int) -> bytes:
        """Return the real-time bytes that are due, each a message of its own."""
        if now_ns - self._at_ns > SILENT_NS and self._next is not None:
            return self.stop()
        out = bytearray()
        while (when_ns := self.due_ns()) is not None and when_ns <= now_ns and self._next is not None:
            if len(out) > MOST_LATE_TICKS:
                return bytes(out) + self.stop()
            if not self._running:
                self._running = True
                out.append(START)
            out.append(TICK)
            self.latest_ns = max(self.latest_ns, now_ns - when_ns)
            self._next += 1
            self.sent += 1
        return bytes(out)

    def stop(self) -> bytes:
        """Return the stop, if it runs, and forget where it was: the next report starts it anew at a bar."""
        self._next, self._tempo_bpm = None, 0.0
        was, self._running = self._running, False
        return bytes((STOP,)) if was else b""
