"""The whole product on stage: cues by every way, a MIDI clock that leads and one that follows, on JACK's MIDI."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from engines import COMMAND, COMPILE_S, Engine, free_port, wait_for
from jack_rig import Jack, midi_server

from echelon_bridges.midi import messages
from echelon_bridges.protocol.osc import encode_message

rtmidi = pytest.importorskip("rtmidi", reason="python-rtmidi is not installed")
pytestmark = [
    pytest.mark.realtime,
    pytest.mark.skipif(shutil.which("jackd") is None, reason="jackd is not installed"),
]
BEATS = 8  # that are looked at together
CLOSE_S = 0.06  # of a beat of half a second, on a machine that may be busy
SHOW = """
[[cue]]
name = "opening"
style = "ambient"
tempo_source = "style"
[[cue]]
name = "groove"
style = "techno"
track.vox.mute = true
[[cue]]
name = "follow"
tempo_source = "external"
"""
MAP = """
[controllers]
"note 10 36" = "cue"
"note 10 37" = { key = "cue", value = "back" }
"note 10 38" = "tap"
"cc 1 20" = "mode"
"""
PEERS: list[Any] = []  # rtmidi's clients of this process


@pytest.fixture
def jack(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Jack]:
    """A running private server."""
    with midi_server(f"echelon-stage-{os.getpid()}", tmp_path, monkeypatch, PEERS) as server:
        yield server


class DrumMachine:
    """Another program: pads, knobs and a clock go out of it, and a clock comes in."""

    def __init__(self) -> None:
        self.out = rtmidi.MidiOut(rtmidi.API_UNIX_JACK, name="drums-out")
        self.ear = rtmidi.MidiIn(rtmidi.API_UNIX_JACK, name="drums-in", queue_size_limit=8192)
        PEERS.extend((self.out, self.ear))
        self.ear.ignore_types(sysex=True, timing=False, active_sense=True)
        self.beats: list[float] = []  # when our beats were, s
        self.heard: list[float] = []  # when those of the engine came
        self.starts = 0
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []

    def connect(self, client: Any, part: str) -> None:
        """Connect to the port with this name."""
        found = wait_for(lambda: [port for port in client.get_ports() if part in port], f"port {part}")
        client.open_port(client.get_ports().index(found[0]), name="midi")

    def send(self, *data: int) -> None:
        """Send a message."""
        with self._lock:
            self.out.send_message(bytes(data))

    def pad(self, key: int) -> None:
        """Strike a pad of channel 10."""
        self.send(0x99, key, 90)
        self.send(0x89, key, 0)

    def run_clock(self, tempo_bpm: float) -> None:
        """Send start and ticks, on absolute times, until the end."""

        def run() -> None:
            self.send(messages.START)
            begin, tick = time.monotonic(), 0
            while not self._ended.is_set():
                due = begin + tick * 60.0 / tempo_bpm / 24.0
                time.sleep(max(due - time.monotonic(), 0.0))
                self.send(messages.TICK)
                if tick % 24 == 0:
                    self.beats.append(due)
                tick += 1

        self._begin(run)

    def listen(self) -> None:
        """Note when the engine's beats come."""

        def run() -> None:
            tick = 0
            while not self._ended.wait(0.001):
                while (found := self.ear.get_message()) is not None:
                    what = found[0][0]
                    if what == messages.START:
                        tick, self.starts = 0, self.starts + 1
                    elif what == messages.TICK:
                        if tick % 24 == 0:
                            self.heard.append(time.monotonic())
                        tick += 1

        self._begin(run)

    def _begin(self, run: Callable[[], None]) -> None:
        self._threads.append(threading.Thread(target=run, daemon=True))
        self._threads[-1].start()

    def apart_s(self, tempo_bpm: float) -> float:
        """Return how far the engine's last beats are from ours, the median; a beat where there are too few."""
        ours, theirs = self.beats[-1:], self.heard[-BEATS:]
        period = 60.0 / tempo_bpm
        if not ours or len(theirs) < BEATS:
            return period
        return statistics.median(abs((at - ours[0] + period / 2) % period - period / 2) for at in theirs)

    def stop(self) -> None:
        """End the threads."""
        self._ended.set()
        for thread in self._threads:
            thread.join(5)


def test_a_show_with_midi(jack: Jack, start: Callable[..., Engine], tmp_path: Path) -> None:
    """Pads, OSC and the command give cues; a MIDI clock leads the band into its beat, and the one sent has it."""
    (tmp_path / "show.toml").write_text(SHOW)
    (tmp_path / "map.toml").write_text(MAP)
    port = free_port()
    midi = ("midi.input=virtual:jack", "midi.output=virtual:jack", "midi.clock=true", "midi.parameters=off")
    more = (f"midi.map={tmp_path / 'map.toml'}", f"osc.port={port}")
    options = [f"--set={pair}" for pair in (*midi, *more)]
    engine = start("--show", str(tmp_path / "show.toml"), *options)
    drums = DrumMachine()
    try:
        assert engine.ready(COMPILE_S)["cue"]["number"] == 0
        drums.connect(drums.out, f"echelon-{engine.name}-in:midi")
        drums.connect(drums.ear, f"echelon-{engine.name}-out:midi")
        drums.listen()

        def named(name: str) -> None:
            wait_for(lambda: engine.status()["cue"]["name"] == name, f"cue {name}")

        drums.pad(36)
        named("opening")
        drums.pad(36)
        named("groove")
        assert engine.ask(command="get")["values"]["track.vox.mute"] == "on"
        drums.pad(37)
        named("opening")
        drums.send(0xB0, 20, 0)
        wait_for(lambda: engine.ask(command="get")["values"]["mode"] == "rules", "the mode by a knob")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(encode_message("/echelon/cue", "s", ["groove"]), ("127.0.0.1", port))
            named("groove")
        for _ in range(3):
            drums.pad(38)
            time.sleep(0.5)
        wait_for(lambda: engine.ask(command="get")["values"]["tempo_source"] == "fixed", "a tempo by taps")
        command = [*COMMAND, "cue", "follow", "--name", engine.name]
        environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr
        wait_for(lambda: "no MIDI clock comes in" in engine.said(), "the notice that nobody leads")

        drums.run_clock(127.0)
        wait_for(lambda: abs(engine.status()["tempo_bpm"] - 127.0) < 4.0, "the tempo")
        wait_for(lambda: abs(engine.status()["outlets"]["midi_in"]["clock_bpm"] - 127.0) < 2.0, "its report")
        wait_for(lambda: drums.apart_s(127.0) < CLOSE_S, "the beat", 120.0)
        engine.process.send_signal(signal.SIGINT)
        assert engine.end() == 0
    finally:
        drums.stop()
