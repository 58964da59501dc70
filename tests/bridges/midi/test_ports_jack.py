"""MIDI in and out through real JACK ports of a private server; the other end is another rtmidi client."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engines import wait_for
from jack_rig import Jack, midi_server

from echelon_bridges.midi import messages, ports
from echelon_bridges.midi.input import MidiIn
from echelon_bridges.midi.link import Link
from echelon_bridges.midi.out import MidiOut
from echelon_engine import config_file
from echelon_engine.memory import CONTROL, EVENT, NOTE_OFF, NOTE_ON

rtmidi = pytest.importorskip("rtmidi", reason="python-rtmidi is not installed")
pytestmark = [
    pytest.mark.realtime,
    pytest.mark.skipif(shutil.which("jackd") is None, reason="jackd is not installed"),
]
NONE = np.zeros(0, EVENT)
PEERS: list[Any] = []  # rtmidi's clients of this process


@pytest.fixture
def jack(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Jack]:
    """A running private server."""
    with midi_server(f"echelon-midi-{os.getpid()}", tmp_path, monkeypatch, PEERS, synchronous=True) as server:
        yield server


class Ear:
    """Another program's input port, and what came to it."""

    def __init__(self, name: str = "synth") -> None:
        self.client = rtmidi.MidiIn(rtmidi.API_UNIX_JACK, name=name, queue_size_limit=8192)
        PEERS.append(self.client)
        self.client.ignore_types(sysex=True, timing=False, active_sense=True)
        self.heard: list[tuple[int, ...]] = []

    def connect(self, part: str) -> None:
        """Take what the port with this name says."""
        found = wait_for(lambda: [p for p in self.client.get_ports() if part in p], f"port {part}")
        self.client.open_port(self.client.get_ports().index(found[0]), name="in")

    def take(self) -> list[tuple[int, ...]]:
        """Return everything heard so far."""
        while (found := self.client.get_message()) is not None:
            self.heard.append(tuple(found[0]))
        return self.heard

    def sounding(self) -> set[tuple[int, int]]:
        """Return the (channel, key) that were begun and not ended."""
        keys: set[tuple[int, int]] = set()
        for status, *rest in self.take():
            if status & 0xF0 == messages.NOTE_ON and rest[1]:
                keys.add((status & 15, rest[0]))
            elif status & 0xF0 in (messages.NOTE_ON, messages.NOTE_OFF):
                keys.discard((status & 15, rest[0]))
            elif status & 0xF0 == messages.CONTROL_CHANGE and rest[0] in (120, 123):
                keys = {key for key in keys if key[0] != status & 15}
        return keys


class Keyboard:
    """Another program's output port, in a process that can be unplugged."""

    CODE = (
        "import rtmidi, sys\n"
        "out = rtmidi.MidiOut(rtmidi.API_UNIX_JACK, name='keys')\n"
        "out.open_virtual_port('out')\n"
        "for line in sys.stdin:\n"
        "    out.send_message(bytes.fromhex(line))\n"
    )

    def __init__(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", self.CODE], stdin=subprocess.PIPE, text=True)

    def play(self, message: list[int]) -> None:
        """Send a message."""
        assert self.process.stdin is not None
        self.process.stdin.write(bytes(message).hex() + "\n")
        self.process.stdin.flush()

    def unplug(self) -> None:
        """Take the port away."""
        self.process.kill()
        self.process.communicate()


class FakeDesk:
    """Remembers what is asked."""

    def __init__(self) -> None:
        self.sets: list[tuple[str, str]] = []
        self.sounding: dict[int, tuple[float, float]] = {}

    def note_on(self, key: int, pitch: float, velocity: float, pan: float = 0.0) -> bool:
        """Remember it."""
        self.sounding[key] = pitch, velocity
        return True

    def note_off(self, key: int) -> bool:
        """Forget it."""
        self.sounding.pop(key, None)
        return True

    def set(self, key: str, value: str, time_ns: int = 0) -> None:
        """Remember it."""
        self.sets.append((key, value))

    def tempo(self, time_ns: int, tempo_bpm: float, phase: float) -> bool:
        """Take it."""
        return True

    def ask(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Know the master volume."""
        return {"values": {"master": "-40 dB"}}


def note(kind: int, key: int, pitch: float = 60.0) -> Any:
    """Return one event record."""
    made = np.zeros(1, EVENT)
    made["kind"], made["key"], made["pitch"], made["velocity"] = kind, key, pitch, 0.8
    return made


def control(frame: int, **fields: Any) -> Any:
    """Return one control record in which something sounds."""
    made = np.zeros(1, CONTROL)
    made["frame"], made["voices"] = frame, 1
    for name, value in fields.items():
        made[name] = value
    return made


def make_out(told: list[str], **more: Any) -> MidiOut:
    """Return the outlet with a virtual port."""
    values = {"engine.name": "stage", "midi.output": "virtual"} | more
    return MidiOut(config_file.make(values), told.append)


def test_notes_and_parameters_go_out_and_nothing_hangs(jack: Jack) -> None:
    """Notes and changed parameters arrive at another program; closing ends what sounds."""
    told: list[str] = []
    out, ear = make_out(told, **{"midi.channel": 3}), Ear()
    ear.connect("echelon-stage-out:midi")
    wait_for(lambda: out.report()["port"], "open port")
    out.offer(control(0, position=np.full(32, 0.5, np.float32)), note(NOTE_ON, 5, 60.4), time.monotonic_ns())
    out.offer(control(1), note(NOTE_ON, 6, 71.6), time.monotonic_ns())
    wait_for(lambda: ear.sounding() == {(2, 60), (2, 72)}, "two notes")
    wait_for(lambda: len({m[1] for m in ear.take() if m[0] == 0xB2 and m[1] != 123}) == 32, "32 parameters")
    assert (0xB2, messages.LANE_CC[16], 64) in ear.heard
    out.offer(control(2), note(NOTE_OFF, 5), time.monotonic_ns())
    wait_for(lambda: ear.sounding() == {(2, 72)}, "an end")
    out.close()
    wait_for(lambda: not ear.sounding(), "silence")
    assert not told


def test_a_port_is_made_ready_before_it_shows_as_open(jack: Jack) -> None:
    """Whoever sees the port open may play: nothing is forgotten after that."""
    shown: list[str] = []
    link = Link("out", "virtual", "ready", lambda text: None, reset=lambda: shown.append(link.port))
    wait_for(lambda: link.port, "open port")
    link.close()
    assert shown == ["", ""]  # opened and lost


def test_the_notes_end_when_the_engine_is_killed(jack: Jack, tmp_path: Path) -> None:
    """kill -9 of whoever plays leaves no note sounding: the port's own process ends it."""
    script = tmp_path / "player.py"
    script.write_text(
        "import time, numpy as np\n"
        "from echelon_bridges.midi.out import MidiOut\n"
        "from echelon_engine import config_file\n"
        "from echelon_engine.memory import CONTROL, EVENT\n"
        "out = MidiOut(config_file.make({'engine.name': 'doomed', 'midi.output': 'virtual'}), lambda text: None)\n"
        "event, control, frame = np.zeros(1, EVENT), np.zeros(1, CONTROL), 0\n"
        "event['kind'], event['velocity'], control['voices'] = 1, 0.5, 1\n"
        "while True:\n"
        "    control['frame'] = frame\n"
        "    event['key'] = event['pitch'] = 40 + frame % 5\n"
        "    out.offer(control, event, 0)\n"
        "    frame += 1\n"
        "    time.sleep(0.05)\n"
    )
    ear = Ear()
    player = subprocess.Popen([sys.executable, str(script)])
    try:
        ear.connect("echelon-doomed-out:midi")
        wait_for(ear.sounding, "notes")
    finally:
        player.kill()
        player.wait()
    wait_for(lambda: not ear.sounding(), "silence")


def test_the_clock_keeps_time(jack: Jack) -> None:
    """From the first bar on a start and 24 ticks a beat come, at the tempo told; closing stops it."""
    out, ear = make_out([], **{"midi.clock": True, "midi.parameters": "off"}), Ear()
    ear.connect("echelon-stage-out:midi")
    wait_for(lambda: out.report()["port"], "open port")
    began, frame = time.monotonic_ns(), 0
    while (elapsed := (time.monotonic_ns() - began) / 1e9) < 3.0:
        now = time.monotonic_ns()
        out.offer(control(frame, beat=3.5 + elapsed * 2.0, tempo_bpm=120.0, time_ns=now), NONE, now)
        frame += 1
        ear.take()
        time.sleep(1 / 60)
    out.close()
    wait_for(lambda: (messages.STOP,) in ear.take(), "stop")
    clock = [message[0] for message in ear.heard if message[0] >= 0xF8]
    assert clock[:2] == [messages.START, messages.TICK]
    # From beat 4 to 9.5: 5.5 beats, a beat either way for a stalled machine.
    assert abs(clock.count(messages.TICK) - 132) <= 24


@pytest.mark.parametrize("called_back", ["", "1"])
def test_notes_and_controllers_come_in(
    jack: Jack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, called_back: str
) -> None:
    """A keyboard's notes and a mapped fader of another program reach the desk; losing the port ends the notes."""
    controllers = tmp_path / "controllers.toml"
    controllers.write_text('[controllers]\n"cc 1 74" = { key = "lane.gain", mode = "jump" }\n"cc 1 7" = "master"\n')
    monkeypatch.setenv("ECHELON_MIDI_CALLBACK", called_back)  # as on other systems than JACK
    keyboard = Keyboard()
    desk, told = FakeDesk(), list[str]()
    config = config_file.make({"midi.input": "keys", "midi.map": str(controllers), "engine.name": "stage"})
    midi = MidiIn(config, desk, told.append)
    try:
        wait_for(lambda: midi.report()["port"], "open port")
        wait_for(lambda: keyboard.play([0x90, 64, 127]) or desk.sounding, "note")
        assert list(desk.sounding.values()) == [(64.0, 1.0)]
        # Played until it is heard: JACK loses what is sent while the machine stalls.
        wait_for(lambda: keyboard.play([0xB0, 74, 127]) or ("lane.gain", "1.00000") in desk.sets, "lane")
        # The master is at -40 dB, the middle of the fader's way: below, it moves nothing; past it, it has it.
        for value in (10, 20, 30):
            keyboard.play([0xB0, 7, value])
            time.sleep(0.1)
        assert [key for key, _ in desk.sets] == ["lane.gain"]
        wait_for(lambda: keyboard.play([0xB0, 7, 70]) or desk.sets[-1] == ("master", "-35.9055"), "master")
        assert len([key for key, _ in desk.sets if key == "master"]) == 1
        keyboard.unplug()
        wait_for(lambda: not desk.sounding, "silence")
        wait_for(lambda: any("not there yet" in text for text in told), "notice")
    finally:
        midi.close()
        keyboard.unplug()


def test_a_server_that_dies_is_survived(jack: Jack) -> None:
    """Offers never wait for a dead JACK server, and the port is there again when the server is."""
    told: list[str] = []
    out = make_out(told)
    wait_for(lambda: out.report()["port"], "open port")
    jack.stop(signal.SIGKILL)
    longest, until, frame = 0.0, time.monotonic() + 4.0, 0
    rng = np.random.default_rng(1)
    while time.monotonic() < until:
        before = time.thread_time()
        out.offer(control(frame, position=rng.random(32)), note(NOTE_ON, frame), time.monotonic_ns())
        longest, frame = max(longest, time.thread_time() - before), frame + 1
        time.sleep(1 / 60)
    assert frame > 60, "offers waited for the dead server"
    wait_for(lambda: not out.report()["port"], "lost port")
    jack.start()
    wait_for(lambda: out.report()["port"], "port")
    assert out.report()["restarts"] > 0
    began = time.monotonic()
    out.close()
    assert time.monotonic() - began < 10
    assert "our own port is open again" in told[-1]


def test_a_missing_port_is_said_once_and_opened_when_it_appears(jack: Jack) -> None:
    """A port that is not there is named with what is there, once; when it is plugged in, it is used."""
    told: list[str] = []
    other = Ear("other")
    other.client.open_virtual_port("in")
    out = MidiOut(config_file.make({"engine.name": "stage", "midi.output": "hardware"}), told.append)
    wait_for(lambda: told, "notice")
    time.sleep(3.0)
    assert len(told) == 1
    assert "no such port" in told[0]
    ear = Ear("hardware")
    ear.client.open_virtual_port("in")
    wait_for(lambda: out.report()["port"] == "hardware:in", "port")
    out.offer(control(0), note(NOTE_ON, 1), 0)
    wait_for(ear.sounding, "a note")
    out.close()
    assert not wait_for(lambda: [ear.sounding()], "silence")[0]


def test_listing_names_what_is_there(jack: Jack) -> None:
    """Ports of other programs are listed by direction; none of them by a name of nobody."""
    ear = Ear("listed")
    ear.client.open_virtual_port("in")
    with contextlib.ExitStack() as stack:
        made = ports.clients("out", "looker")
        for client in made.values():
            stack.callback(client.delete)
        found = ports.listing("out", made)
        assert ports.choose("listed", found) is not None
        assert ports.choose("nobody", found) is None
