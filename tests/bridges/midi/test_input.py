"""MIDI in: what a keyboard's messages ask of the desk. With a port that is called by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echelon_bridges.midi.input import KEYS, KEYS_MASK, MidiIn
from echelon_engine import config_file
from echelon_engine.errors import UsageError


class FakeLink:
    """A port without messages of its own."""

    port, starts = "keys", 1

    def __init__(self, *_: Any, **more: Any) -> None:
        self.reset = more["reset"]

    def close(self) -> None:
        """Do nothing."""


class FakeDesk:
    """Holds what sounds and what was set."""

    def __init__(self) -> None:
        self.sounding: dict[int, tuple[float, float]] = {}
        self.sets: list[tuple[str, str]] = []
        self.asked_ns: list[int] = []
        self.tempi: list[tuple[int, float, float]] = []

    def tempo(self, time_ns: int, tempo_bpm: float, phase: float) -> bool:
        """Remember it."""
        self.tempi.append((time_ns, tempo_bpm, phase))
        return True

    def note_on(self, key: int, pitch: float, velocity: float, pan: float = 0.0) -> bool:
        """Begin it."""
        assert key & KEYS_MASK == KEYS
        self.sounding[key] = pitch, velocity
        return True

    def note_off(self, key: int) -> bool:
        """End it, which must sound."""
        del self.sounding[key]
        return True

    def set(self, key: str, value: str, time_ns: int = 0) -> None:
        """Remember it."""
        self.sets.append((key, value))
        self.asked_ns.append(time_ns)

    def ask(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Know nothing."""
        return {"values": {}}


def make(path: Path, text: str = "", **more: Any) -> tuple[MidiIn, FakeDesk]:
    """Return an input with this map, and its desk."""
    (path / "map.toml").write_text(text)
    desk = FakeDesk()
    config = config_file.make({"midi.input": "keys", "midi.map": str(path / "map.toml"), **more})
    return MidiIn(config, desk, print, link=FakeLink), desk  # type: ignore[arg-type]


def test_keyboards_do_not_cut_each_other_off(tmp_path: Path) -> None:
    """The same key on two channels is two notes; all notes off ends those of its channel."""
    midi, desk = make(tmp_path)
    for message in ((0x90, 60, 127), (0x91, 60, 64), (0x9F, 62, 1)):
        midi.hear(bytes(message), 0)
    assert sorted(desk.sounding.values()) == [(60.0, 64 / 127), (60.0, 1.0), (62.0, 1 / 127)]
    midi.hear(bytes((0x80, 60, 0)), 0)
    assert sorted(desk.sounding.values()) == [(60.0, 64 / 127), (62.0, 1 / 127)]
    midi.hear(bytes((0xBF, 123, 0)), 0)
    assert list(desk.sounding.values()) == [(60.0, 64 / 127)]
    midi.hear(b"\xff", 0)
    assert not desk.sounding


@settings(deadline=None, max_examples=100)
@given(
    st.lists(
        st.tuples(st.sampled_from((0x80, 0x90, 0x91, 0xB0)), st.sampled_from((60, 61, 64, 123)), st.integers(0, 127))
    )
)
def test_no_note_outlives_its_port(
    tmp_path_factory: pytest.TempPathFactory, played: list[tuple[int, int, int]]
) -> None:
    """Whatever keys and pedals say, a port that is lost or closed leaves nothing sounding, and nothing ends twice."""
    midi, desk = make(tmp_path_factory.mktemp("map"))
    for message in played:
        midi.hear(bytes(message), 0)
    midi._link.reset()  # type: ignore[attr-defined]
    assert not desk.sounding
    midi.hear(b"\x90\x3c\x40", 0)
    midi.close()
    assert not desk.sounding


def test_a_clock_tells_its_beat_and_leads_only_where_the_map_says_so(tmp_path: Path) -> None:
    """Ticks tell tempo and beat; a drum machine that happens to be connected leads only once the map says so."""
    midi, desk = make(tmp_path)
    midi.heard_later(20_000_000)
    midi.hear(b"\xfa", 0)
    for i in range(100):
        midi.hear(b"\xf8", i * 25_000_000)
    assert not desk.sets
    assert 15 < len(desk.tempi) < 30
    for time_ns, tempo_bpm, phase in desk.tempi:
        assert tempo_bpm == pytest.approx(100.0)
        assert phase == pytest.approx((time_ns + 20_000_000) / 600_000_000 % 1.0, abs=1e-6)
    midi, desk = make(tmp_path, '[controllers]\n"clock" = "tempo"\n')
    for i in range(100):
        midi.hear(b"\xf8", i * 25_000_000)
    assert desk.sets == [("tempo_source", "external")]
    midi.hear(b"\xf8", 10_000_000_000)  # it stood still and begins again
    for i in range(100):
        midi.hear(b"\xf8", 10_000_000_000 + (i + 1) * 25_000_000)
    assert desk.sets == [("tempo_source", "external")] * 2


def test_a_clock_is_silent_while_link_leads(tmp_path: Path) -> None:
    """Two external clocks at once would pull the beat to and fro."""
    midi, desk = make(tmp_path, '[controllers]\n"clock" = "tempo"\n', **{"clock.link": True})
    for i in range(100):
        midi.hear(b"\xf8", i * 25_000_000)
    assert not desk.tempi
    assert not desk.sets


def test_pads_step_tap_and_play_no_note(tmp_path: Path) -> None:
    """A mapped key does what the map says, once a stroke however soft, at the moment it came, and sounds no note."""
    rows = (
        '"note 10 36" = "cue"\n"note 10 37" = {key = "cue", value = "back"}\n"note 10 38" = "tap"\n'
        '"note 10 39" = "style"\n"cc 1 20" = "style"\n"note 10 40" = {key = "track.kick.mute", mode = "toggle"}\n'
    )
    midi, desk = make(tmp_path, "[controllers]\n" + rows)
    for i, key in enumerate((36, 37, 38, 39)):
        midi.hear(bytes((0x99, key, 5)), 1000 + i)
        midi.hear(bytes((0x89, key, 0)), 2000 + i)
    assert desk.sets == [("cue", "next"), ("cue", "back"), ("tap", "now"), ("style", "next")]
    assert desk.asked_ns[2] == 1002
    for value in (0, 40, 127):
        midi.hear(bytes((0xB0, 20, value)), 3000)
    assert desk.sets[4:] == [("style", "ambient"), ("style", "breakbeat"), ("style", "techno")]
    assert not desk.sounding
    midi.hear(bytes((0x99, 41, 5)), 1000)
    assert len(desk.sounding) == 1
    midi.close()


def test_a_wrong_map_is_refused_at_the_start_and_told_while_playing(tmp_path: Path) -> None:
    """A mistake in the map stops the start; one made later is told and the former map stays."""
    with pytest.raises(UsageError, match=r"lane\.gain"):
        make(tmp_path, '[controllers]\n"cc 1 1" = "lane.gian"\n')
    midi, desk = make(tmp_path, '[controllers]\n"bend 1" = "lane.gain"\n')
    (tmp_path / "map.toml").write_text("[controllers")
    midi.hear(bytes((0xE0, 127, 127)), 2**62)
    assert desk.sets == [("lane.gain", "1.00000")]
    assert "TOML" in midi.report()["map_problem"]
