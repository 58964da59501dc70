"""A MIDI clock that comes in: its tempo, and where its beat is, from ticks that tremble. Pure: times in, numbers out.

A line through the last two beats of ticks, by least squares: tick n comes at a + b n. Its slope is the tempo, and its
end, where the newest tick should have come, the phase: the jitter of single ticks is averaged out of both. Ticks that
leave the line together are another tempo, and the line begins anew with them.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from echelon_bridges.midi.messages import CONTINUE, START, STOP, TICKS_PER_BEAT

WINDOW = 2 * TICKS_PER_BEAT  # ticks that the line goes through
ENOUGH = 12  # ticks from which a line is believed
STOOD_NS = 250_000_000  # slower than 10 bpm: it stood still
AWAY = 0.3  # ticks off the line ..
AWAY_TICKS = 6  # .. so many one after the other: another tempo
TICKS_PER_SIXTEENTH = TICKS_PER_BEAT // 4
SLOWEST_BPM, FASTEST_BPM = 20.0, 300.0
SAY_NS = 100_000_000


class Beat(NamedTuple):
    """Where an external beat was at `time_ns`: `phase` 0..1 of a beat, at `tempo_bpm`."""

    time_ns: int
    tempo_bpm: float
    phase: float


class ClockIn:
    """Ticks, starts and song positions to beats. `running` is false between STOP and START or CONTINUE."""

    def __init__(self) -> None:
        self.running = False
        self.tempo_bpm = 0.0  # 0: none is known
        self._times: deque[int] = deque(maxlen=WINDOW)
        self._next = 0  # position of the next tick, in ticks from the song's begin
        self._stopped_at = 0  # where CONTINUE goes on
        self._away = 0
        self._said_ns = 0

    def pulse(self, what: int) -> None:
        """Take START, CONTINUE or STOP. A clock that is stopped may tick on: its beat is kept."""
        if what == START:
            self._next, self.running = 0, True
        elif what == CONTINUE and not self.running:
            self._next, self.running = self._stopped_at, True
        elif what == STOP and self.running:
            self._stopped_at, self.running = self._next, False
        self._said_ns = 0

    def position(self, sixteenth: int) -> None:
        """Take a song position: the next CONTINUE goes on there; at once where the clock runs."""
        self._stopped_at = sixteenth * TICKS_PER_SIXTEENTH
        if self.running:
            self._next = self._stopped_at

    def tick(self, time_ns: int) -> Beat | None:
        """Take a tick; return where the beat is, about ten times a second, as soon as the tempo is known."""
        times = self._times
        if times and not 0 < time_ns - times[-1] < STOOD_NS:
            self.forget()
        if len(times) >= ENOUGH:
            begin, step = self._line()
            off = (time_ns - begin) / step - len(times)
            self._away = self._away + 1 if abs(off) > AWAY else 0
            if self._away >= AWAY_TICKS:
                newest = list(times)[-AWAY_TICKS + 1 :]
                times.clear()
                times.extend(newest)
                self._away = 0
        times.append(time_ns)
        here = self._next
        self._next += 1
        if len(times) < ENOUGH:
            return None
        begin, step = self._line()
        tempo_bpm = 60e9 / (step * TICKS_PER_BEAT)
        if not SLOWEST_BPM <= tempo_bpm <= FASTEST_BPM:
            self.tempo_bpm = 0.0
            return None
        self.tempo_bpm = tempo_bpm
        if time_ns - self._said_ns < SAY_NS:
            return None
        self._said_ns = time_ns
        due_ns = begin + step * (len(times) - 1)
        return Beat(round(due_ns), tempo_bpm, here % TICKS_PER_BEAT / TICKS_PER_BEAT)

    def forget(self) -> None:
        """Forget the tempo: the clock stood still, or its port was lost."""
        self._times.clear()
        self.tempo_bpm, self._away, self._said_ns = 0.0, 0, 0

    def _line(self) -> tuple[float, float]:
        """Return when tick 0 of the window should have come, and nanoseconds from tick to tick.

        b = sum((n - mean n) t_n) / sum((n - mean n)^2), a = mean t - b mean n
        """
        times = self._times
        count, base = len(times), times[0]
        middle = (count - 1) / 2
        step = sum((n - middle) * (t - base) for n, t in enumerate(times)) * 12 / (count * (count * count - 1))
        return base + sum(t - base for t in times) / count - step * middle, step
