"""OSC in: what other programs may ask over a real UDP port."""

from __future__ import annotations

import contextlib
import math
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pythonosc.osc_message_builder import OscMessageBuilder

from echelon_bridges.osc.control import MOST_NOTES, OscControl
from echelon_engine import config_file


class FakeDesk:
    """Remembers what is asked."""

    def __init__(self) -> None:
        self.sets: list[tuple[str, str]] = []
        self.asked_ns: list[int] = []
        self.notes: list[tuple[Any, ...]] = []
        self.sounding: set[int] = set()

    def note_on(self, key: int, pitch: float, velocity: float, pan: float = 0.0) -> bool:
        """Remember it."""
        self.notes.append(("on", key, pitch, velocity, pan))
        self.sounding.add(key)
        return True

    def note_off(self, key: int) -> bool:
        """Remember it."""
        self.notes.append(("off", key))
        self.sounding.discard(key)
        return True

    def set(self, key: str, value: str, time_ns: int = 0) -> None:
        """Remember it."""
        self.sets.append((key, value))
        self.asked_ns.append(time_ns)

    def ask(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Know nothing."""
        return {"values": {}}


class Rig:
    """A control port on loopback and a sender that is not ours."""

    def __init__(self, path: Path, map_text: str = "", engine: str = "echelon") -> None:
        controllers = path / "controllers.toml"
        controllers.write_text(map_text)
        self.desk = FakeDesk()
        chosen = {"engine.name": engine, "osc.port": 0, "midi.map": str(controllers)}
        self.control = OscControl(config_file.make(chosen), self.desk)
        self.sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sender.connect(self.control.address)

    def send(self, address: str, *args: Any) -> None:
        """Send one message."""
        builder = OscMessageBuilder(address)
        for arg in args:
            builder.add_arg(arg)
        self.raw(builder.build().dgram)

    def raw(self, data: bytes) -> None:
        """Send one datagram and have it heard."""
        before = self.control.report()["datagrams"]
        self.sender.send(data)
        deadline = time.monotonic() + 5
        while self.control.report()["datagrams"] == before and time.monotonic() < deadline:
            self.control.hear(time.monotonic_ns())

    def close(self) -> None:
        """Close both ends."""
        self.control.close()
        self.sender.close()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """A port without a map."""
    made = Rig(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("address", "args", "asked"),
    [
        ("/echelon/set", ("master", "-6 dB"), ("master", "-6 dB")),
        ("/echelon/set", ("tempo", 123.5), ("tempo", "123.5")),
        ("/echelon/echelon/set", ("mute", True), ("mute", "on")),
        ("/echelon/echelon/lane/gain", (0.25,), ("lane.gain", "0.25")),
        ("/echelon/lane/31", (1,), ("lane.31", "1")),
        ("/echelon/echelon/lane/gain/off", (), ("lane.gain", "off")),
        ("/echelon/echelon/tempo", (140,), ("tempo", "140")),
        ("/echelon/echelon/route/left", (2,), ("route.left", "2")),
        ("/echelon/echelon/scale", ("dorian",), ("scale", "dorian")),
        ("/echelon/echelon/panic", (), ("panic", "")),
        ("/echelon/cue", ("groove",), ("cue", "groove")),
        ("/echelon/echelon/cue", (3,), ("cue", "3")),
        ("/echelon/cue/next", (), ("cue", "next")),
        ("/echelon/echelon/cue/back", (1.0,), ("cue", "back")),
        ("/echelon/style", ("next",), ("style", "next")),
        ("/echelon/mode", ("rules",), ("mode", "rules")),
        ("/echelon/track/kick/mute", (True,), ("track.kick.mute", "on")),
        ("/echelon/echelon/track/vox/solo", (1,), ("track.vox.solo", "1")),
        ("/echelon/energy_scale/2", (1.5,), ("energy_scale.2", "1.5")),
        ("/echelon/velocity_scale/0", (3.0,), ("velocity_scale.0", "3")),
    ],
)
def test_settings(rig: Rig, address: str, args: tuple[Any, ...], asked: tuple[str, str]) -> None:
    """Each documented address asks the desk for its setting, with or without the engine's name."""
    rig.send(address, *args)
    assert rig.desk.sets == [asked]
    assert rig.control.report()["malformed"] == rig.control.report()["unknown"] == 0


def test_taps_are_felt_when_they_arrive_and_releases_are_not(rig: Rig) -> None:
    """A tap carries its arrival; the zero that a button sends when it is let go does nothing."""
    before = time.monotonic_ns()
    rig.send("/echelon/tap")
    rig.send("/echelon/echelon/tap", 1.0)
    for address in ("/echelon/tap", "/echelon/cue/next", "/echelon/cue/back"):
        rig.send(address, 0.0)
    assert rig.desk.sets == [("tap", "now")] * 2
    assert before - 10**9 < rig.desk.asked_ns[0] < rig.desk.asked_ns[1] <= time.monotonic_ns()
    assert rig.control.report()["malformed"] == rig.control.report()["unknown"] == 0


@pytest.mark.parametrize("engine", ["note", "lane", "cue", "tap", "set", "route", "tempo"])
def test_an_engine_named_as_an_address(tmp_path: Path, engine: str) -> None:
    """Whatever an engine is called, every address means the same with its name and without."""
    asked = [("tempo", "90"), ("route.left", "2"), ("lane.gain", "0.5"), ("lane.gain", "off"), ("mute", "on")]
    rig = Rig(tmp_path, engine=engine)
    for root in ("/echelon", f"/echelon/{engine}"):
        rig.send(f"{root}/tempo", 90)
        rig.send(f"{root}/route/left", 2)
        rig.send(f"{root}/lane/gain", 0.5)
        rig.send(f"{root}/lane/gain/off")
        rig.send(f"{root}/set", "mute", "on")
        rig.send(f"{root}/note/on", 7, 60, 0.5)
        rig.send(f"{root}/note/off", 7)
    assert rig.desk.sets == [*asked, *asked]
    assert [what for what, *_ in rig.desk.notes] == ["on", "off"] * 2
    assert rig.control.report()["malformed"] == rig.control.report()["unknown"] == 0
    rig.close()


def test_notes(rig: Rig) -> None:
    """Notes begin with float or MIDI velocities, end by their off or velocity 0, and no key of another meets them."""
    rig.send("/echelon/echelon/note/on", 7, 60.5, 0.5)
    rig.send("/echelon/note/on", 8, 62, 127, -0.5)
    rig.send("/echelon/note/off", 7)
    rig.send("/echelon/note/on", 8, 62, 0)
    (on, one, *first), (_, two, *second), *offs = rig.desk.notes
    assert (on, first) == ("on", [60.5, 0.5, 0.0])
    assert second == [62.0, 1.0, -0.5]
    assert one != two
    assert offs == [("off", one), ("off", two)]


def test_notes_do_not_pile_up(rig: Rig) -> None:
    """However many notes lose their ends, a bounded number sounds, and closing ends those."""
    for key in range(MOST_NOTES + 10):
        rig.send("/echelon/note/on", key, 60, 0.5)
    assert len(rig.desk.sounding) == MOST_NOTES
    rig.control.close()
    assert not rig.desk.sounding


@pytest.mark.parametrize(
    ("address", "args"),
    [
        ("/echelon/set", ()),
        ("/echelon/set", (3, "x")),
        ("/echelon/set", ("master", "x" * 65)),
        ("/echelon/tempo", (math.nan,)),
        ("/echelon/note/on", (1, 60.0)),
        ("/echelon/note/on", (1, 60.0, 1.5)),
        ("/echelon/note/on", ("1", 60.0, 0.5)),
        ("/echelon/note/on", (1, math.inf, 0.5)),
        ("/1/fader1", (2.0,)),
    ],
)
def test_wrong_arguments_are_counted(rig: Rig, address: str, args: tuple[Any, ...]) -> None:
    """Arguments that cannot be meant reach nobody and are counted."""
    rig.send(address, *args)
    assert rig.control.report()["malformed"] == 1
    assert not rig.desk.sets
    assert not rig.desk.notes


@pytest.mark.parametrize(
    "address", ["/echelon/other/tempo", "/echelon/lane/nosuch", "/echelon/", "/1/fader1", "/echelon/record"]
)
def test_unknown_addresses_are_counted(rig: Rig, address: str) -> None:
    """What is nobody's, or another engine's, is counted and does nothing."""
    rig.send(address, 0.5)
    assert rig.control.report()["unknown"] == 1
    assert not rig.desk.sets


def test_mapped_addresses_move_settings(tmp_path: Path) -> None:
    """An address of the map is a controller; a changed map is in force a second later; others show in the report."""
    rig = Rig(tmp_path, '[controllers]\n"osc /1/fader1" = { key = "lane.gain", mode = "jump" }\n')
    try:
        rig.send("/1/fader1", 0.5)
        rig.send("/1/fader2", 0.75)
        assert rig.desk.sets == [("lane.gain", "0.50000")]
        assert rig.control.report()["heard"]["osc /1/fader2"] == [1, 0.75]
        (tmp_path / "controllers.toml").write_text(
            '[controllers]\n"osc /1/fader2" = { key = "tempo", mode = "jump" }\n'
        )
        rig.control.hear(time.monotonic_ns() + 3_000_000_000)
        rig.send("/1/fader2", 0.0)
        assert rig.desk.sets[-1] == ("tempo", "20")
    finally:
        rig.close()


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_no_datagram_harms(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Any bytes, and any message under our own addresses, leave the port working and ask for nothing malformed."""
    rig = Rig(tmp_path_factory.mktemp("map"))
    try:
        address = data.draw(
            st.sampled_from(["/echelon/set", "/echelon/note/on", "/echelon/lane/gain", "/echelon/tempo"])
        )
        text = st.text(st.characters(exclude_characters="\0"), max_size=80)  # NUL ends a string of OSC
        value = st.one_of(st.integers(-(2**31), 2**31 - 1), st.floats(width=32), text, st.booleans())
        with contextlib.suppress(UnicodeEncodeError):
            rig.send(address, *data.draw(st.lists(value, max_size=5)))
        rig.raw(data.draw(st.binary(min_size=1, max_size=64)))
        for key, asked in rig.desk.sets:
            assert len(key) <= 64
            assert len(asked) <= 64
            assert "nan" not in asked or key == "set"
        for _, _, *numbers in (note for note in rig.desk.notes if note[0] == "on"):
            assert all(math.isfinite(number) for number in numbers)
    finally:
        rig.close()
