"""The bridges process: every socket, file and recording; feeds the callback with limb frames, takes what it emits."""

from __future__ import annotations

import contextlib
import gc
import selectors
import sys
import time
from functools import partial
from pathlib import Path
from threading import Event
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from echelon_bridges.child import answer, begin, requests, say
from echelon_bridges.hub import Hub
from echelon_bridges.messages import limbs
from echelon_bridges.outlets import Outlets
from echelon_bridges.sensors import Sensor
from echelon_engine.block import SharedBlock
from echelon_engine.config import Config
from echelon_engine.errors import UserError
from echelon_engine.memory import DEVICES, GRID, SHARED, TOOK_GRID, TOOK_MOTION

if TYPE_CHECKING:
    from echelon_bridges.band import Band
    from echelon_bridges.recorder import Recorder
    from echelon_bridges.session.live import Script

TICK_S, TICK_NS = 0.01, 10_000_000
BUSY_TICK_S = 0.004  # where somebody waits for what the callback writes
GATHER_S = 0.002  # datagrams within it share a turn; when each arrived, the system has noted
MESSAGES_A_TURN = 256
GRIDS_AN_EPOCH = 1 << 32  # numbers of grids never come again when this process is replaced
GARBAGE = 20_000  # new objects before a collection
REPORT_NS = 500_000_000
SILENT_NS = 3_000_000_000


def motion_source(config: Config) -> Any:
    """Return what plays until a sensor is heard: the file, the dancer, or None."""
    if config.motion.file:
        from echelon_bridges.motion import files
        from echelon_bridges.player import Once

        clip = files.load(config.motion.file)
        for note in clip.notes:
            say("notice", text=f"{clip.name}: {note}")
        return clip.loop() if config.motion.loop else Once(clip.frames, clip.rate_hz)
    if config.dancer.enabled:
        from echelon_bridges.motion.dancer import Dancer

        return Dancer(config.dancer.seed, config.dancer.tempo_bpm)
    return None


def load_rings() -> ModuleType:
    """Import the rings and compile what is used of them, so that no turn of the loop waits for it."""
    from echelon_engine import rings

    for name in ("records", "events", "inputs"):
        ring = np.zeros(1, SHARED[name])[0]
        rings.pop(np.zeros(1, ring["item"].dtype), ring)
    for ring in (
        np.zeros(1, SHARED["script"])[0],
        np.zeros(1, SHARED["frames"].base)[0],
        np.zeros(1, SHARED["commands"].base)[0],
    ):
        rings.push(ring, np.zeros(1, ring["item"].dtype))
    rings.publish(np.zeros(1, SHARED["devices"])[0], np.zeros(1, DEVICES))
    rings.publish(np.zeros(1, SHARED["grids"])[0], np.zeros(1, GRID))
    return rings


class Bridges:
    """The loop: sensors at once, the rings every 4 ms with outlets, everything every 10 ms, a report twice a second."""

    def __init__(self, config: Config, block: SharedBlock) -> None:
        from echelon_bridges.player import NOTHING, Player, push_frames

        self._rings, self._shared, self._config = load_rings(), block.shared, config
        self._frames, self._push_frames = self._shared["frames"], push_frames
        push_frames(self._frames, 0, NOTHING.copy())  # compiled or loaded now, as the rings are
        header = self._shared["header"]
        self._script = self._open_script()
        self._live = bool(header["live_seen"])  # for good
        source = None if self._live or self._script else motion_source(config)
        self._focus = int(header["focus"])
        self._player = None if source is None else Player(source, self._shared["frames"][self._focus], 0)
        self._stand_in = "the motion file" if config.motion.file else "the dancer"
        if self._script is not None:
            self._stand_in = "the session"
        self._told_playing = False
        self._told_conductor = ""
        self._begun = self._told_end = self._told_silence = self._told_failure = False
        self.hub, warnings = Hub.open(config)
        self.sensors = self.hub.sensors
        for warning in warnings:
            say("warning", text=warning)
        self._selector = selectors.DefaultSelector()
        self.outlets = Outlets(config, self._shared, say)
        for sensor in self.sensors:
            self._selector.register(sensor.port.socket, selectors.EVENT_READ, partial(self._hear, sensor))
        if (control := self.outlets.osc_in) is not None:
            self._selector.register(control.socket, selectors.EVENT_READ, control.hear)
        self._tick_s = BUSY_TICK_S if self.outlets.any else TICK_S
        self._band = self._open_band()
        self._recorder = self._open_recorder()
        self._recording_to = Path(config.output.record)
        self._start_ns = self._report_ns = time.monotonic_ns()
        self._turned_ns = 0

    def _open_script(self) -> Script | None:
        """Return what plays a session byte for byte, where the supervisor asked for it and it can be."""
        header = self._shared["header"]
        if not header["scripted"]:
            return None
        from echelon_bridges.session.live import Script

        try:
            script, notes = Script.open(self._config, self._shared)
        except UserError as error:
            header["scripted"] = 0
            say("warning", text=f"only its motion is played: {error}")
            return None
        for note in notes:
            say("notice", text=note)
        say("notice", text="the session is played as it was; volume, mute, panic and stop are yours")
        return script

    def _open_band(self) -> Band:
        """Return the conductor, with its first grid handed over; a style that is no good fails a start, not a show."""
        from echelon_bridges.band import Band

        epoch = int(self._shared["header"]["epoch"])
        band = Band(self._config, epoch * GRIDS_AN_EPOCH, going_on=epoch > 1)
        if self._script is None and not self._shared["counters"]["control_frames"]:
            self._hand_over(band.first())
        return band

    def _open_recorder(self) -> Recorder | None:
        """Return what records to the configured file; None where nothing is to be recorded, or no longer can be."""
        if not self._config.output.record:
            return None
        from echelon_bridges import recorder

        return recorder.start(self._config, self._shared, say)

    def _hand_over(self, grid: NDArray[Any]) -> None:
        """Give the callback a memory.GRID (1,), and those who tell of it."""
        self._rings.publish(self._shared["grids"], grid)
        self.outlets.grids.add(grid)

    def run(self, ended: Event) -> None:
        """Bridge until told to leave."""
        while not ended.is_set():
            self.turn()

    def turn(self) -> None:
        """Wait for datagrams, a tick at most, and do what is due; what comes within 2 ms of the first shares a turn."""
        if heard := self._hear_sockets(self._tick_s):
            until_s = time.monotonic() + GATHER_S
            if self.outlets.have_more:
                self._do(time.monotonic_ns())
            time.sleep(max(until_s - time.monotonic(), 0.0))
            self._hear_sockets(0.0)
        now_ns = time.monotonic_ns()
        if heard or self.outlets.have_more or now_ns - self._turned_ns >= TICK_NS:
            self._turned_ns = now_ns
            self._do(now_ns)

    def _hear_sockets(self, wait_s: float) -> bool:
        """Wait so long at most for datagrams and hear what is there; return whether anything was."""
        readable = self._selector.select(wait_s)
        for key, _ in readable:
            key.data(time.monotonic_ns())
        return bool(readable)

    def _do(self, now_ns: int) -> None:
        """Hand on what was heard and what the callback wrote, play, answer, report."""
        self._hear_messages()
        self._hear_phones(time.monotonic_ns())
        self._feed(now_ns)
        self._conduct(self.outlets.turn(time.monotonic_ns()))
        self._watch_recording()
        for request in requests():
            self._answer(request)
        if now_ns - self._report_ns >= REPORT_NS:
            self._report_ns = now_ns
            self._report(now_ns)

    def _hear(self, sensor: Sensor, now_ns: int) -> None:
        for performer, frames in self.hub.read(sensor, now_ns):
            self._play(performer, frames, sensor.name)

    def _hear_messages(self) -> None:
        """Take the motion that came in other ways than a port."""
        inbox = self.outlets.inbox
        if not inbox:
            return
        for _ in range(min(len(inbox), MESSAGES_A_TURN)):
            performer, device, data, arrival_ns = inbox.popleft()
            if performer >= self._config.motion.performers:
                self.outlets.refused += 1
                continue
            if not limbs.is_frame(data):
                heard = self.hub.inject(performer, device, data, arrival_ns)
            else:
                try:
                    heard = self.hub.offer(performer, device, limbs.frame(data, arrival_ns), arrival_ns)
                except UserError:
                    self.outlets.refused += 1
                    continue
            for seat, frames in heard:
                self._play(seat, frames, "a message")

    def _play(self, performer: int, frames: NDArray[Any], who: str) -> None:
        """Hand a performer's limb frames to the callback and to whoever gets bodies."""
        self._take_over(who)
        self._push_frames(self._frames, performer, frames)
        self.outlets.body(performer, frames)

    def _answer(self, request: dict[str, Any]) -> None:
        """Do what the supervisor was asked for."""
        try:
            if request.get("command") == "weights":
                self.outlets.changed_weights(str(request.get("path", "")))
                answer(request)
                return
            answer(request, **self.hub.answer(request, time.monotonic_ns()))
        except UserError as error:
            answer(request, error=str(error))

    def _hear_phones(self, now_ns: int) -> None:
        """Hand the newest of the phones to the callback, and say what the hub has to say."""
        focus = int(self._shared["header"]["focus"])
        self.hub.publish(self._shared["devices"], self._rings.publish, focus, now_ns)
        self._take_over("a phone")
        for text in self.hub.take_notices():
            say("notice", text=text)

    def _take_over(self, who: str) -> None:
        """Let a performer in focus who is heard for the first time replace the dancer or the file."""
        if self._live:
            return
        header = self._shared["header"]
        if int(header["focus"]) in self.hub.take_heard():
            header["live_seen"] = 1
            self._live = True
            if self._player is not None or self._script is not None:
                self._player = None  # never back
                say("notice", text=f"{who} is heard: the performer takes over")

    def _feed(self, now_ns: int) -> None:
        if self._script is not None:
            self._feed_script(self._script)
            return
        if self._player is None:
            return
        if not self._begun:
            started_ns = int(self._shared["counters"]["start_ns"])
            if started_ns == 0:
                return  # nobody takes the frames yet
            self._begun = True
            self._player.start_ns = started_ns
            self._player.skip_to(now_ns)
        focus = int(self._shared["header"]["focus"])
        if focus != self._focus:
            self._focus = focus
            self._player.move_to(self._shared["frames"][focus], now_ns)
        self.outlets.body(focus, self._player.feed(now_ns))
        if self._player.ended and not self._told_end:
            self._told_end = True
            say("notice", text="the motion file has ended; loop it with --loop")

    def _feed_script(self, script: Script) -> None:
        """Feed the session that is played again until it ends, a performer takes over, or audio is replaced."""
        taken = script.feed()
        header = self._shared["header"]
        self.outlets.body(int(header["focus"]), taken["motion"][taken["kind"] == TOOK_MOTION])
        self.outlets.grids.add(taken["grid"][taken["kind"] == TOOK_GRID])
        over = self._live or script.ended or header["epoch"] > 1
        if over or self._shared["counters"]["start_ns"]:  # the audio process may be the last to start: it is to wait
            header["scripted"] = 0  # whatever is started from now on is live
        if over:
            self._script = None
            if not self._live:
                ended = "has ended" if script.ended else "was interrupted; start again to hear it whole"
                say("notice", text=f"the session {ended}")

    def _conduct(self, controls: NDArray[Any]) -> None:
        """Give the band its next grid; while a session plays it has those of the session."""
        if self._script is not None or not len(controls):
            return
        settings = self._rings.newest(self._shared["settings"])
        try:
            if (grid := self._band.feed(controls, settings)) is not None:
                self._hand_over(grid)
        except Exception as error:  # whatever it is, sensors and connections go on, and so does the last grid
            text = f"the conductor failed ({type(error).__name__}: {error}); the band repeats what it has"
            if text != self._told_conductor:
                self._told_conductor = text
                say("warning", text=f"{text}; please report this")
        for text in self._band.take_notices():
            say("warning", text=text)

    def _watch_recording(self) -> None:
        """Say at once, and once, that a recording failed or goes on in another file."""
        recorder = self._recorder
        if recorder is None:
            return
        if recorder.path != self._recording_to:
            self._recording_to = recorder.path
            say("notice", text=f"recording into {recorder.path}")
        if recorder.error and not self._told_failure:
            self._told_failure = True
            say("warning", text=f"recording has stopped: {recorder.error}")
            self._report_recording(recorder)

    def _report_recording(self, recorder: Recorder) -> None:
        seconds = round(recorder.frames / self._config.audio.rate_hz, 1)
        failure = {"error": recorder.error} if recorder.error else {}
        say("recording", path=str(recorder.path), seconds=seconds, **failure)

    def _report(self, now_ns: int) -> None:
        self.hub.delay_ns = round(float(self._rings.newest(self._shared["settings"])["motion_delay_ms"]) * 1e6)
        say("sensors", sensors=self.hub.report(now_ns))
        if found := self.outlets.report():
            say("outlets", outlets=found)
        if self._recorder is not None:
            self._report_recording(self._recorder)
        sounds_ns = int(self._shared["counters"]["start_ns"])  # 0: it compiles, nobody is waited for
        newest_ns = max(self._start_ns, sounds_ns, self.hub.last_heard_ns)
        silent = sounds_ns > 0 and now_ns - newest_ns > SILENT_NS
        playing = self._script is not None or (self._player is not None and not self._player.ended)
        if playing and (self._told_playing or self._shared["header"]["epoch"] > 1):
            silent = False
        if silent and not self._told_silence and self.sensors:
            bound = ", ".join(f"{s.name} on {s.port.address[0]}:{s.port.address[1]}" for s in self.sensors)
            lost = sum(sensor.undecodable for sensor in self.sensors)
            text = f"no motion received for 3 s; listening: {bound}; {lost} datagrams undecodable"
            say("notice", text=f"{text}; {self._stand_in} plays until then" if playing else text)
            self._told_playing = playing
        self._told_silence = silent

    def close(self) -> None:
        """Finish the recording, close every socket."""
        if self._recorder is not None:
            self._recorder.close()
            self._watch_recording()
            self._report_recording(self._recorder)
        self.outlets.turn(time.monotonic_ns())
        self.outlets.close()
        self._selector.close()
        self.hub.close()


def play(name: str, config: Config, ended: Event) -> None:
    """Bridge for the engine `name` until `ended` is set."""
    from echelon_bridges.udp import local_addresses

    bridges = Bridges(config, SharedBlock.attach(name))
    with contextlib.closing(bridges):
        addresses = local_addresses() if config.ports.bind == "0.0.0.0" else [config.ports.bind]
        ports = {sensor.name: sensor.port.address[1] for sensor in bridges.sensors}
        say("ready", addresses=addresses, **ports)
        gc.collect()
        gc.freeze()  # what was loaded stays: no collection walks through a million objects of Numba's
        gc.set_threshold(GARBAGE, 20, 50)
        bridges.run(ended)


def main() -> int:
    """Entry point: `python -m echelon_bridges.bridges_process --name NAME`, configuration on standard input."""
    config, ended = begin()
    try:
        play(sys.argv[sys.argv.index("--name") + 1], config, ended)
    except (UserError, OSError, ValueError) as error:
        say("error", text=str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
