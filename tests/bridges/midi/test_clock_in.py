"""A MIDI clock that comes in: an even tempo and a true beat from uneven ticks."""

from __future__ import annotations

import numpy as np
import pytest

from echelon_bridges.midi.clock_in import Beat, ClockIn
from echelon_bridges.midi.messages import CONTINUE, START, STOP

SECOND = 1_000_000_000


def ticks(tempo_bpm: float, count: int, jitter_ms: float = 0.0, begin_ns: float = SECOND) -> np.ndarray:
    """Return when `count` ticks come; each is late by up to `jitter_ms`."""
    rng = np.random.default_rng(7)
    return begin_ns + np.arange(count) * 60e9 / tempo_bpm / 24 + rng.uniform(0, jitter_ms * 1e6, count)


def told(clock: ClockIn, times: np.ndarray) -> list[Beat]:
    """Return what a clock tells of ticks."""
    return [beat for ns in times if (beat := clock.tick(int(ns))) is not None]


def off_beats(beat: Beat, tempo_bpm: float, begin_ns: float = SECOND) -> float:
    """Return how far a beat is from the true one, -0.5..0.5."""
    true = (beat.time_ns - begin_ns) * tempo_bpm / 60e9
    return (beat.phase - true + 0.5) % 1.0 - 0.5


@pytest.mark.parametrize("tempo_bpm", [40.0, 97.3, 120.0, 174.0, 290.0])
def test_tempo_and_beat_of_an_uneven_clock(tempo_bpm: float) -> None:
    """3 ms of jitter on each tick tell the tempo within 0.5 % and the beat within 2 ms, about ten times a second."""
    clock = ClockIn()
    clock.pulse(START)
    times = ticks(tempo_bpm, 24 * 32, 3.0)
    beats = told(clock, times)
    settled = [beat for beat in beats if beat.time_ns > times[48]]
    assert all(beat.tempo_bpm == pytest.approx(tempo_bpm, rel=5e-3) for beat in settled)
    late_beats = 1.5e-3 * tempo_bpm / 60  # the mean lateness belongs to the ticks
    assert max(abs(off_beats(beat, tempo_bpm) + late_beats) for beat in settled) < 2e-3 * tempo_bpm / 60
    seconds = (times[-1] - times[0]) / SECOND
    assert 5.0 * seconds < len(beats) <= 10.0 * seconds + 1
    assert clock.tempo_bpm == pytest.approx(tempo_bpm, rel=5e-3)


def test_a_tempo_that_jumps_is_followed_within_a_beat() -> None:
    """The line begins anew with the first ticks of another tempo."""
    clock = ClockIn()
    clock.pulse(START)
    first = ticks(120.0, 96, 1.0)
    told(clock, first)
    second = ticks(90.0, 24, 1.0, begin_ns=SECOND + 96 * 60e9 / 120 / 24)
    beats = told(clock, second)
    assert beats[-1].tempo_bpm == pytest.approx(90.0, rel=0.01)
    assert beats[-1].phase == pytest.approx((len(second) - 1) / 24, abs=4 / 24)


def test_a_tempo_that_glides_is_followed() -> None:
    """Through 8 bpm a second the beat stays within 10 ms and the tempo within 6 bpm."""
    clock = ClockIn()
    clock.pulse(START)
    now_ns, beats = float(SECOND), []
    for i in range(24 * 20):
        tempo_bpm = 100.0 + 8.0 * (now_ns - SECOND) / SECOND
        if (beat := clock.tick(round(now_ns))) is not None and i > 48:
            beats.append((beat, i, now_ns, tempo_bpm))
        now_ns += 60e9 / tempo_bpm / 24
    for beat, i, at_ns, tempo_bpm in beats:
        here = beat.phase + (at_ns - beat.time_ns) * beat.tempo_bpm / 60e9
        assert abs((here - i / 24 + 0.5) % 1.0 - 0.5) < 10e-3 * tempo_bpm / 60
        assert beat.tempo_bpm == pytest.approx(tempo_bpm, abs=6.0)


def test_start_continue_and_song_position() -> None:
    """Start is the beat, a stop keeps the place for continue, a song position moves it."""
    clock = ClockIn()
    told(clock, ticks(120.0, 24 + 5))
    at = float(SECOND + 29 * SECOND // 48)
    clock.pulse(START)
    assert clock.running
    beats = told(clock, ticks(120.0, 6, begin_ns=at))
    assert beats[0].phase == 0.0
    at += 6 * SECOND / 48
    clock.pulse(STOP)
    assert not clock.running
    assert told(clock, ticks(120.0, 1, begin_ns=at))[0].phase == pytest.approx(6 / 24)
    at += SECOND / 48
    clock.pulse(CONTINUE)
    assert told(clock, ticks(120.0, 1, begin_ns=at))[0].phase == pytest.approx(6 / 24)
    clock.pulse(STOP)
    clock.position(7)
    at += SECOND / 48
    clock.pulse(CONTINUE)
    assert told(clock, ticks(120.0, 1, begin_ns=at))[0].phase == pytest.approx(3 / 4)


def test_a_clock_that_stood_still_is_measured_anew_and_nonsense_is_no_tempo() -> None:
    """A pause between ticks is no tempo, and a tempo out of range is never told."""
    clock = ClockIn()
    assert told(clock, ticks(120.0, 60))
    assert clock.tempo_bpm == pytest.approx(120.0)
    assert clock.tick(60 * SECOND) is None
    assert clock.tempo_bpm == 0.0
    later = told(clock, ticks(100.0, 60, begin_ns=60.1 * SECOND))
    assert later[-1].tempo_bpm == pytest.approx(100.0)
    fast = ClockIn()
    assert not told(fast, ticks(2000.0, 500))
    assert fast.tempo_bpm == 0.0
