"""MIDI out: no note hangs whatever is played, and parameters keep their rate and budget. With a port that is a list."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echelon_bridges.midi import messages
from echelon_bridges.midi.clock import ClockOut
from echelon_bridges.midi.input import KEYS
from echelon_bridges.midi.out import MOST_NOTES, MidiOut
from echelon_engine import config_file
from echelon_engine.memory import ALL_OFF, CONTROL, EVENT, NOTE_OFF, NOTE_ON

NONE = np.zeros(0, EVENT)


class FakeLink:
    """A port that keeps what sounds; it can be full, which loses what is sent."""

    def __init__(self, *_: Any, reset: Callable[[], None], **__: Any) -> None:
        self.port, self.full = "synth", False
        self.dropped = self.refused = self.starts = self.ticks = 0
        self.tick_late_ms = 0.0
        self.clock = ClockOut()
        self.sent: list[bytes] = []
        self.sounding: set[int] = set()
        self.begun: list[int] = []

    def send(self, *parts: bytes) -> bool:
        """Take the messages."""
        if self.full:
            return False
        for part in parts:
            self.sent.append(part)
            kind = part[0] & 0xF0
            if kind == messages.NOTE_ON:
                assert part[1] not in self.sounding, "a key begins twice"
                self.sounding.add(part[1])
                self.begun.append(part[1])
            elif kind == messages.NOTE_OFF:
                self.sounding.discard(part[1])
        return True

    def silence(self) -> bool:
        """End everything."""
        if not self.full:
            self.sounding.clear()
        return not self.full

    def beat(self, time_ns: int, beat: float, tempo_bpm: float) -> bool:
        """Take the beat."""
        self.sent.append(self.clock.report(time_ns, beat, tempo_bpm))
        return True

    def close(self) -> None:
        """End everything."""
        self.sounding.clear()


def make(**values: Any) -> tuple[MidiOut, FakeLink]:
    """Return the outlet and its port."""
    found: list[FakeLink] = []

    def link(*args: Any, **more: Any) -> FakeLink:
        found.append(FakeLink(*args, **more))
        return found[0]

    config = config_file.make(
        {"midi.output": "synth"} | {key.replace("__", "."): value for key, value in values.items()}
    )
    return MidiOut(config, print, link=link), found[0]  # type: ignore[arg-type]


def control(frame: int, voices: int = 1, epoch: int = 0, position: Any = 0.0) -> Any:
    """Return one control record."""
    made = np.zeros(1, CONTROL)
    made["frame"], made["voices"], made["epoch"], made["position"] = frame, voices, epoch, position
    return made


def event(kind: int, key: int = 0, pitch: float = 60.0) -> Any:
    """Return one event record."""
    made = np.zeros(1, EVENT)
    made["kind"], made["key"], made["pitch"], made["velocity"] = kind, key, pitch, 0.5
    return made


PLAYED = st.lists(
    st.one_of(
        st.tuples(st.just(NOTE_ON), st.integers(0, 5), st.floats(58, 62)),
        st.tuples(st.just(NOTE_OFF), st.integers(0, 5), st.just(0.0)),
        st.tuples(st.just(ALL_OFF), st.just(0), st.just(0.0)),
        st.tuples(st.just(99), st.booleans(), st.just(0.0)),  # the port is full, or takes again
    ),
    max_size=60,
)


@settings(deadline=None, max_examples=200)
@given(PLAYED)
def test_no_note_hangs(played: list[tuple[int, int, float]]) -> None:
    """After any notes over any hiccups of the port, ending the engine's keys leaves nothing sounding."""
    out, link = make(midi__parameters="off")
    for frame, (kind, key, pitch) in enumerate(played):
        if kind == 99:
            link.full = bool(key)
        out.offer(control(frame), event(kind, key, pitch) if kind != 99 else NONE, 0)
        assert len(link.sounding) <= len(out._sounding) or out._resync
    link.full = False
    for key in range(6):
        out.offer(control(100 + key), event(NOTE_OFF, key), 0)
    assert not link.sounding
    assert not out._keys


def test_pitches_go_to_the_nearest_key() -> None:
    """A pitch between two keys is the nearer one, and none is outside 0..127."""
    out, link = make()
    for key, pitch in enumerate((60.4, 60.5, -3.0, 140.0)):
        out.offer(control(0), event(NOTE_ON, key, pitch), 0)
    assert link.begun == [60, 61, 0, 127]


def test_two_notes_on_one_key_end_with_the_later() -> None:
    """A key struck again is ended first; the earlier note's end does not cut the later."""
    out, link = make()
    for key in (1, 2):
        out.offer(control(0), event(NOTE_ON, key), 0)
    out.offer(control(0), event(NOTE_OFF, 1), 0)
    assert link.sounding == {60}
    out.offer(control(0), event(NOTE_OFF, 2), 0)
    assert not link.sounding


def test_lost_ends_are_made_up_for() -> None:
    """Where the engine has no voice left, or another audio process plays, notes whose end never came are ended."""
    out, link = make()
    out.offer(control(0), event(NOTE_ON, 1), 0)
    out.offer(control(2, voices=0), NONE, 0)
    assert link.sounding, "its voice may not have begun yet"
    out.offer(control(10, voices=0), NONE, 0)
    assert not link.sounding
    out.offer(control(11), event(NOTE_ON, 2), 0)
    out.offer(control(0, epoch=1), NONE, 0)
    assert not link.sounding
    for key in range(100):
        out.offer(control(1, epoch=1), event(NOTE_ON, key, 20.0 + key), 0)
    assert len(link.sounding) == MOST_NOTES


def test_what_came_in_over_midi_does_not_go_out() -> None:
    """A keyboard's note is not sent back to where it may come in again."""
    out, link = make()
    out.offer(control(0), event(NOTE_ON, KEYS | 0x13C), 0)
    assert not link.sounding


@pytest.mark.parametrize(("form", "bytes_each"), [("cc", 3), ("nrpn", 12)])
def test_parameters_keep_rate_and_budget(form: str, bytes_each: int) -> None:
    """Whatever moves, a second carries at most the budget, every lane has its turn, and what rests is not sent."""
    out, link = make(midi__parameters=form, midi__rate_hz=30.0)
    rng = np.random.default_rng(2)
    for frame in range(600):
        out.offer(control(frame, position=rng.random(32)), NONE, 0)
    total = sum(map(len, link.sent))
    assert total <= 1600 * 10 + 32 * bytes_each
    assert total > 0.9 * min(1600 * 10, 300 * 32 * bytes_each)
    position = rng.random(32)
    for frame in range(600, 700):
        out.offer(control(frame, position=position), NONE, 0)
    count = len(link.sent)
    out.offer(control(800, position=position), NONE, 0)
    assert len(link.sent) == count
    reader, values = messages.Reader(), dict[str, float]()
    for message in link.sent:
        values |= {found.source: found.value for found in reader.read(message) if isinstance(found, messages.Move)}
    for lane in range(32):
        source = f"cc 1 {messages.LANE_CC[lane]}" if form == "cc" else f"nrpn 1 {lane}"
        assert values[source] == pytest.approx(position[lane], abs=0.51 / (127 if form == "cc" else 16383))


def test_a_port_opened_anew_gets_everything() -> None:
    """After the port was lost, all parameters are sent again and no old note is remembered."""
    out, link = make()
    out.offer(control(0, position=0.5), event(NOTE_ON, 1), 0)
    link.sent.clear()
    out._on_reset()
    for frame in range(1, 10):
        out.offer(control(frame, position=0.5), NONE, 0)
    assert len(link.sent) == 32
    assert not out._keys


@pytest.mark.parametrize("changed_bpm", [60.0, 126.0, 180.0])
def test_the_clock_sent_has_the_bands_beat_through_changes_of_tempo(changed_bpm: float) -> None:
    """Ticks fall on the beats that are heard, and when the tempo jumps between two reports they stay within 20 ms."""
    out, link = make(midi__clock=True, midi__parameters="off")
    period_ns, ahead_ns, tempo_bpm, beat = 1e9 / 60, 20_000_000, 120.0, 0.0
    heard: list[tuple[float, float]] = [(float(ahead_ns), 0.0)]
    ticks: list[int] = []
    for frame in range(60 * 20):
        record = np.zeros(1, CONTROL)
        record["frame"], record["time_ns"], record["dac_ns"] = frame, frame * period_ns, frame * period_ns + ahead_ns
        record["beat"], record["tempo_bpm"] = beat, tempo_bpm
        out.offer(record, NONE, round(frame * period_ns))
        for now_ns in range(round(frame * period_ns), round((frame + 1) * period_ns), 250_000):
            ticks += [now_ns for byte in link.clock.due(now_ns) if byte == messages.TICK]
        if frame == 603:
            tempo_bpm = changed_bpm
        beat += tempo_bpm / 60.0 / 60.0
        heard.append(((frame + 1) * period_ns + ahead_ns, beat))
    times, beats = np.array(heard).T
    meant_ns = np.interp((np.arange(len(ticks)) + 0.0) / 24.0, beats, times)  # it started with bar 0
    off_ns = np.abs(np.array(ticks) - meant_ns)
    assert len(ticks) > 24 * 20
    assert np.median(off_ns) < 1e6
    assert off_ns.max() < 20e6
    assert off_ns[-24:].max() < 2e6
