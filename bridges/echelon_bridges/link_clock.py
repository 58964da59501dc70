"""Ableton Link: the tempo and beat that programs on one network share, as our external clock; and our tempo for them.

While `tempo_source` is external, the session leads: its tempo and phase go to the callback. Otherwise our tempo is the
session's, told when it has changed; and while nobody else is there, the session's beat is ours, too, so that whoever
joins finds it. Beats are never forced upon others.

The library is the extra `link` (LinkPython-extern). It contains Ableton's Link, which is under the GPL, version 2 or
later, or Ableton's own licence: whoever passes both on together heeds that.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from echelon_engine.errors import UserError
from echelon_engine.live_table import TEMPO_SOURCES

if TYPE_CHECKING:
    from echelon_bridges.desk import Desk

EXTERNAL = TEMPO_SOURCES.index("external")
SAY_NS = 100_000_000
CHANGED_BPM = 0.05
QUANTUM = 4.0  # beats, a bar
OFF_BEATS = 0.02  # our beat and that of a session with nobody else


def load() -> Any:
    """Return the class of the library. Raises `UserError` where it is not installed."""
    try:
        from link import Link
    except ImportError:
        remedy = "install the extra: pip install 'echelon-engine[link]'"
        raise UserError("clock.link", "the library LinkPython-extern is not installed", remedy) from None
    return Link


class LinkClock:
    """One peer of the session on this network. Raises `UserError` without the library."""

    name = "link"

    def __init__(self, desk: Desk, tempo_bpm: float) -> None:
        self._desk = desk
        self._link = load()(tempo_bpm)
        self._clock = self._link.clock()
        self._link.enabled = True
        self._said_ns = 0
        self._ours_bpm = 0.0  # as it was told
        self.follows = False

    def turn(self, controls: NDArray[Any], source: Callable[[], int], now_ns: int) -> None:
        """Say what is to be said, ten times a second.

        `controls` are new memory.CONTROL (n,); `source` returns the tempo_source that is asked for.
        """
        if not len(controls) or now_ns - self._said_ns < SAY_NS:
            return
        self._said_ns = now_ns
        newest = controls[-1]
        ahead_ns = max(int(newest["dac_ns"]) - int(newest["time_ns"]), 0)
        # Link counts microseconds on a clock of its own: both are read at once.
        micros, now_ns = self._clock.micros(), time.monotonic_ns()
        state = self._link.captureAppSessionState()
        self.follows = source() == EXTERNAL
        if self.follows:
            self._ours_bpm = 0.0
            phase = state.phaseAtTime(micros, 1.0)
            self._desk.tempo(now_ns - ahead_ns, state.tempo(), min(max(phase, 0.0), 1.0))
            return
        self._lead(state, newest, micros + (int(newest["dac_ns"]) - now_ns) // 1000)

    def _lead(self, state: Any, newest: Any, heard_us: int) -> None:
        """Give the session our tempo, and our beat while it is ours alone; `heard_us` is when `newest` is heard."""
        tempo_bpm, beat = float(newest["tempo_bpm"]), float(newest["beat"])
        told = False
        if np.isfinite(tempo_bpm) and tempo_bpm > 0.0 and abs(tempo_bpm - self._ours_bpm) > CHANGED_BPM:
            state.setTempo(tempo_bpm, heard_us)
            self._ours_bpm, told = tempo_bpm, True
        if self._link.numPeers() == 0:
            off = (state.phaseAtTime(heard_us, QUANTUM) - beat) % QUANTUM
            if min(off, QUANTUM - off) > OFF_BEATS:
                state.requestBeatAtTime(beat, heard_us, QUANTUM)
                told = True
        if told:
            self._link.commitAppSessionState(state)

    def report(self) -> dict[str, Any]:
        """Return the counts for `status`."""
        tempo_bpm = round(self._link.captureAppSessionState().tempo(), 2)
        return {"peers": self._link.numPeers(), "session_bpm": tempo_bpm, "follows": self.follows}

    def close(self) -> None:
        """Leave the session."""
        self._link.enabled = False
