"""Listening ports as sensors: each takes any protocol, gives limb frames, and counts what became of every datagram."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from numpy.typing import NDArray

from echelon_bridges.protocol.mocopi_stream import MocopiStream
from echelon_bridges.protocol.sniff import protocol_of
from echelon_bridges.protocol.vmc import VmcStream
from echelon_bridges.udp import SOURCES, UdpPort, bind
from echelon_engine.config import SENSOR_KINDS, Config
from echelon_engine.errors import UserError
from echelon_engine.memory import BREAK

HELD_NS = 1_000_000_000  # a source that plays keeps its place for so long without a frame
STREAMS = 2 * SOURCES
COUNTED = ("lost", "refused", "refused_bones", "undecodable")


def name_of(kind: str, performer: int) -> str:
    """Return what people read: mocopi, vmc, and for further performers mocopi.1 .."""
    return kind if performer == 0 else f"{kind}.{performer}"


class Sensor:
    """One port of one performer, called `name_of` it."""

    def __init__(self, kind: str, performer: int, port: UdpPort) -> None:
        self.name = name_of(kind, performer)
        self.performer, self.port = performer, port
        self.frames = 0
        self.last_frame_ns = 0
        self._foreign = 0
        self._streams: dict[tuple[str, str], MocopiStream | VmcStream] = {}  # of each protocol and source
        self._past: dict[str, int] = dict.fromkeys(COUNTED, 0)  # of streams that are gone
        self._player = ""  # the source whose body plays
        self._reported = (0, 0)

    def read(self, now_ns: int) -> Iterator[NDArray[Any]]:
        """Drain the socket; yield the completed frames, LIMB_FRAME (n,), in order.

        Two bodies on one port would tear the performer apart: the first plays until it floods or is silent for 1 s.
        """
        for data, host in self.port.drain(now_ns):
            kind = protocol_of(data)
            if kind not in ("mocopi", "osc"):
                self._foreign += 1
                continue
            frames = self._stream(kind, host).feed(data, now_ns)
            if frames is None:
                continue
            if host != self._player:
                if self._player and now_ns - self.last_frame_ns < HELD_NS and not self.port.shuts_out(self._player):
                    self._past["refused"] += len(frames)
                    continue
                self._player = host
                frames["flags"][0] |= BREAK
            self.frames += len(frames)
            self.last_frame_ns = now_ns
            yield frames

    def _stream(self, kind: str, host: str) -> MocopiStream | VmcStream:
        """Return the stream of a source; one too many takes the place of the oldest that does not play."""
        stream = self._streams.get((kind, host))
        if stream is None:
            if len(self._streams) >= STREAMS:
                oldest = next(each for each in self._streams if each[1] != self._player)
                gone = self._streams.pop(oldest).counts
                for name in COUNTED:
                    self._past[name] += getattr(gone, name, 0)
            stream = self._streams[kind, host] = MocopiStream() if kind == "mocopi" else VmcStream()
        return stream

    def _count(self, name: str) -> int:
        return self._past[name] + sum(getattr(stream.counts, name, 0) for stream in self._streams.values())

    @property
    def undecodable(self) -> int:
        """Datagrams that were no protocol of ours."""
        return self._foreign + self._count("undecodable")

    def report(self, now_ns: int) -> dict[str, Any]:
        """Return the statistics of this sensor; `rate_hz` counts the frames since the last report."""
        frames_before, ns_before = self._reported
        self._reported = (self.frames, now_ns)
        port, dropped = self.port.counts, self.port.dropped
        return {
            "name": self.name,
            "performer": self.performer,
            "address": self.port.address[0],
            "port": self.port.address[1],
            "rate_hz": round((self.frames - frames_before) * 1e9 / max(now_ns - ns_before, 1), 1) if ns_before else 0.0,
            "datagrams": port.datagrams,
            "frames": self.frames,
            "lost": self._count("lost"),
            "refused": self._count("refused")
            + self._count("refused_bones")
            + port.over_budget
            + port.sources_refused
            + dropped,
            "over_budget": port.over_budget,
            "dropped": dropped,
            "sources_refused": port.sources_refused,
            "undecodable": self.undecodable,
        }


def open_sensors(config: Config) -> tuple[list[Sensor], list[str]]:
    """Bind every configured port; return the sensors, and a warning for each default port that is taken.

    Raises `UserError` for a port that a person chose and that cannot be bound.
    """
    sensors: list[Sensor] = []
    warnings: list[str] = []
    for kind in SENSOR_KINDS:
        base = int(getattr(config.ports, kind))
        for performer in range(config.motion.performers if base else 0):
            try:
                sensors.append(Sensor(kind, performer, bind(config.ports.bind, base + performer)))
            except UserError as error:
                if config.is_chosen(f"ports.{kind}") or config.is_chosen("ports.bind"):
                    for sensor in sensors:
                        sensor.port.close()
                    raise UserError(error.value, error.rule, f"{error.remedy}; set ports.{kind}") from None
                warnings.append(f"{error.value} ({kind}): {error.rule}; playing on without it; set ports.{kind}")
    return sensors, warnings
