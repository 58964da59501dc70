"""The bridges process: every socket, file and recording; feeds the callback with limb frames, takes what it emits."""

from __future__ import annotations

import contextlib
import selectors
import sys
import time
from pathlib import Path
from threading import Event
from typing import Any

from echelon_bridges.child import begin, say
from echelon_bridges.sensors import Sensor, open_sensors
from echelon_engine.block import SharedBlock
from echelon_engine.config import Config
from echelon_engine.errors import UserError

TICK_S = 0.01
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


def recording_path(config: Config, epoch: int) -> Path:
    """Return where to record: the configured file, or a new one beside it after a restart, so that nothing is lost."""
    path = Path(config.output.record)
    part = 2
    while epoch > 1 and path.exists():
        path = Path(config.output.record).with_stem(f"{Path(config.output.record).stem}-{part}")
        part += 1
    return path


class Bridges:
    """The loop: sensors at once, the player and the rings every 10 ms, a report twice a second."""

    def __init__(self, config: Config, block: SharedBlock) -> None:
        from echelon_bridges.player import Player
        from echelon_bridges.recorder import Recorder
        from echelon_engine import rings
        from echelon_engine.wav import WavWriter

        self._rings, self._shared, self._config = rings, block.shared, config
        source = motion_source(config)
        self._player = None if source is None else Player(source, self._shared["frames"][config.motion.focus], 0)
        self._begun = self._told_end = self._told_silence = False
        self.sensors, warnings = open_sensors(config)
        for warning in warnings:
            say("warning", text=warning)
        self._selector = selectors.DefaultSelector()
        for sensor in self.sensors:
            self._selector.register(sensor.port.socket, selectors.EVENT_READ, sensor)
        self._recorder: Recorder | None = None
        if config.output.record:
            path = recording_path(config, int(self._shared["header"]["epoch"]))
            if str(path) != config.output.record:
                say("notice", text=f"recording goes on in {path}")
            writer = WavWriter(path, config.audio.rate_hz, encoding=config.output.record_format)
            self._recorder = Recorder(self._shared["sound"], writer)
        self._start_ns = self._report_ns = time.monotonic_ns()

    def run(self, ended: Event) -> None:
        """Bridge until told to leave."""
        while not ended.is_set():
            ready = self._selector.select(TICK_S)
            now_ns = time.monotonic_ns()
            for key, _ in ready:
                self._hear(key.data, now_ns)
            self._feed(now_ns)
            self._rings.discard(self._shared["records"])
            if now_ns - self._report_ns >= REPORT_NS:
                self._report_ns = now_ns
                self._report(now_ns)

    def _hear(self, sensor: Sensor, now_ns: int) -> None:
        ring = self._shared["frames"][sensor.performer]
        for frames in sensor.read(now_ns):
            if self._player is not None and sensor.performer == self._config.motion.focus:
                self._player = None  # never back
                say("notice", text=f"{sensor.name} is heard: the performer takes over")
            for i in range(len(frames)):
                self._rings.push(ring, frames[i : i + 1])

    def _feed(self, now_ns: int) -> None:
        if self._player is None:
            return
        if not self._begun:
            started_ns = int(self._shared["counters"]["start_ns"])
            if started_ns == 0:
                return  # nobody takes the frames yet
            self._begun = True
            self._player.start_ns = started_ns
            self._player.skip_to(now_ns)
        self._player.feed(now_ns)
        if self._player.ended and not self._told_end:
            self._told_end = True
            say("notice", text="the motion file has ended; loop it with --loop")

    def _report(self, now_ns: int) -> None:
        say("sensors", sensors=[sensor.report(now_ns) for sensor in self.sensors])
        if self._recorder is not None:
            state = {"seconds": round(self._recorder.frames / self._config.audio.rate_hz, 1)}
            if self._recorder.error:
                state["error"] = self._recorder.error  # type: ignore[assignment]
            say("recording", **state)
        newest_ns = max([self._start_ns, *(sensor.last_frame_ns for sensor in self.sensors)])
        silent = now_ns - newest_ns > SILENT_NS
        if silent and not self._told_silence and self.sensors:
            bound = ", ".join(f"{s.name} on {s.port.address[0]}:{s.port.address[1]}" for s in self.sensors)
            lost = sum(sensor.undecodable for sensor in self.sensors)
            say("notice", text=f"no motion received for 3 s; listening: {bound}; {lost} datagrams undecodable")
        self._told_silence = silent

    def close(self) -> None:
        """Finish the recording, close every socket."""
        if self._recorder is not None:
            self._recorder.close()
            if self._recorder.error:
                say("warning", text=f"recording: {self._recorder.error}")
        self._selector.close()
        for sensor in self.sensors:
            sensor.port.close()


def play(name: str, config: Config, ended: Event) -> None:
    """Bridge for the engine `name` until `ended` is set."""
    from echelon_bridges.udp import local_addresses

    bridges = Bridges(config, SharedBlock.attach(name))
    with contextlib.closing(bridges):
        addresses = local_addresses() if config.ports.bind == "0.0.0.0" else [config.ports.bind]
        ports = {sensor.name: sensor.port.address[1] for sensor in bridges.sensors}
        say("ready", addresses=addresses, **ports)
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
