"""The MIDI clock that is sent: even ticks from uneven reports."""

from __future__ import annotations

import numpy as np
import pytest

from echelon_bridges.midi.clock import ClockOut
from echelon_bridges.midi.messages import START, STOP, TICK

SECOND = 1_000_000_000


def run(
    clock: ClockOut, seconds: float, tempo_bpm: float, jitter_ms: float = 0.0, beat: float = 0.5
) -> list[tuple[int, int]]:
    """Return (ns, byte) of what a clock sends that is looked at every 0.1 ms, reported to at 10 Hz with jitter."""
    rng = np.random.default_rng(3)
    sent: list[tuple[int, int]] = []
    for now_ns in range(0, round(seconds * SECOND), 100_000):
        if now_ns % (SECOND // 10) == 0:
            stamp = now_ns + round(rng.normal(0.0, jitter_ms) * 1e6)
            sent += [(now_ns, byte) for byte in clock.report(stamp, beat + now_ns * tempo_bpm / 60e9, tempo_bpm)]
        sent += [(now_ns, byte) for byte in clock.due(now_ns)]
    return sent


@pytest.mark.parametrize("tempo_bpm", [40.0, 120.0, 240.0])
def test_it_starts_at_a_bar_and_keeps_time(tempo_bpm: float) -> None:
    """Start comes at the first bar's beat, then 24 ticks a beat where the beat is."""
    sent = run(ClockOut(), 20.0, tempo_bpm)
    assert sent[0][1] == START
    ticks = np.array([ns for ns, byte in sent if byte == TICK])
    beats = 0.5 + ticks * tempo_bpm / 60e9
    expected = 4.0 + np.arange(len(ticks)) / 24.0
    assert np.abs(beats - expected).max() < 2e-4 * tempo_bpm / 60.0
    assert 20.0 - ticks[-1] / SECOND < 60.0 / tempo_bpm / 24.0 + 0.001


def test_jitter_of_reports_is_averaged_out() -> None:
    """With reports 5 ms off at random, ticks deviate less than 2 ms, none is lost and none comes twice."""
    sent = run(ClockOut(), 30.0, 120.0, jitter_ms=5.0)
    assert [byte for _, byte in sent].count(START) == 1
    ticks = np.array([ns for ns, byte in sent if byte == TICK])
    error_ns = ticks - (4.0 - 0.5 + np.arange(len(ticks)) / 24.0) * 0.5 * SECOND
    assert np.std(error_ns) < 2e6


def test_a_jump_stops_and_begins_anew_at_a_bar() -> None:
    """When the engine begins again from beat 0, receivers hear stop, and start with the next bar."""
    clock = ClockOut()
    run(clock, 5.0, 120.0)
    assert clock.report(5 * SECOND, 0.1, 120.0) == bytes((STOP,))
    clock.report(6 * SECOND, 2.1, 120.0)
    due_ns = clock.due_ns()
    assert due_ns is not None
    assert due_ns == pytest.approx(5 * SECOND + 3.9 * 0.5 * SECOND, abs=10)
    assert clock.due(due_ns) == bytes((START, TICK))


def test_silence_stops_it_and_a_long_stall_is_not_made_up_for() -> None:
    """Without reports for a second it stops; ticks a stalled machine owes do not come as a burst."""
    clock = ClockOut()
    run(clock, 5.0, 120.0)
    assert clock.due(7 * SECOND) == bytes((STOP,))
    assert clock.due_ns() is None
    clock = ClockOut()
    run(clock, 5.0, 300.0)
    burst = clock.due(4_900_000_000 + SECOND)
    assert len(burst) < 20
    assert burst[-1] == STOP


def test_a_tempo_change_is_followed() -> None:
    """After a change the ticks come at the new tempo, from where the old one had come."""
    clock = ClockOut()
    clock.report(0, 4.0, 120.0)
    assert len(clock.due(200_000_000)) == 11
    clock.report(200_000_000, 4.4, 60.0)
    before = clock.due_ns()
    clock.due(before or 0)
    after = clock.due_ns()
    assert before is not None
    assert after is not None
    assert after - before == pytest.approx(SECOND / 24, rel=1e-6)
