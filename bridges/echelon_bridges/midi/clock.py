"""The MIDI clock: when its ticks are due, from the beat the engine reports; and the tempo, from ticks that come in.

Pure: times in, bytes or a tempo out.
"""

from __future__ import annotations

import math
from collections import deque

from echelon_bridges.midi.messages import START, STOP, TICK, TICKS_PER_BEAT

BEATS_PER_BAR = 4
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


class TempoIn:
    """The tempo of a clock that comes in: the slope of a line through its last two beats of ticks.

    Jitter of single ticks is averaged out; a new value is told when it differs by 0.1 bpm and half a second has passed.
    """

    WINDOW = 2 * TICKS_PER_BEAT + 1

    def __init__(self) -> None:
        self._ticks: deque[int] = deque(maxlen=self.WINDOW)
        self._told_bpm, self._told_ns = 0.0, 0

    def tick(self, time_ns: int) -> float | None:
        """Take a tick; return a tempo in bpm (20..300, in tenths) when there is a new one."""
        ticks = self._ticks
        if ticks and not 0 < time_ns - ticks[-1] < 250_000_000:
            ticks.clear()  # slower than 10 bpm: it stood still
        ticks.append(time_ns)
        if len(ticks) < self.WINDOW:
            return None
        # slope = sum((i - mean i) t_i) / sum((i - mean i)^2), nanoseconds a tick
        middle = (self.WINDOW - 1) / 2
        base = ticks[0]
        slope = sum((i - middle) * (t - base) for i, t in enumerate(ticks)) * 12 / (self.WINDOW * (self.WINDOW**2 - 1))
        bpm = round(60e9 / (slope * TICKS_PER_BEAT), 1)
        if not 20.0 <= bpm <= 300.0 or abs(bpm - self._told_bpm) < 0.099 or time_ns - self._told_ns < 500_000_000:
            return None
        self._told_bpm, self._told_ns = bpm, time_ns
        return bpm
