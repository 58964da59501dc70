"""Listening ports as sensors: each takes any protocol, gives limb frames, and counts what became of every datagram."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from numpy.typing import NDArray

from echelon_bridges.protocol.mocopi_stream import MocopiStream
from echelon_bridges.protocol.sniff import protocol_of
from echelon_bridges.protocol.vmc import VmcStream
from echelon_bridges.udp import UdpPort, bind
from echelon_engine.config import SENSOR_KINDS, Config
from echelon_engine.errors import UserError


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
        self._streams: dict[str, MocopiStream | VmcStream] = {}
        self._reported = (0, 0)

    def read(self, now_ns: int) -> Iterator[NDArray[Any]]:
        """Drain the socket; yield the completed frames, LIMB_FRAME (n,), in order."""
        for data, _ in self.port.drain(now_ns):
            kind = protocol_of(data)
            if kind not in ("mocopi", "osc"):
                self._foreign += 1
                continue
            stream = self._streams.get(kind)
            if stream is None:
                stream = self._streams[kind] = MocopiStream() if kind == "mocopi" else VmcStream()
            frames = stream.feed(data, now_ns)
            if frames is not None:
                self.frames += len(frames)
                self.last_frame_ns = now_ns
                yield frames

    @property
    def undecodable(self) -> int:
        """Datagrams that were no protocol of ours."""
        return self._foreign + sum(stream.counts.undecodable for stream in self._streams.values())

    def report(self, now_ns: int) -> dict[str, Any]:
        """Return the statistics of this sensor; `rate_hz` counts the frames since the last report."""
        frames_before, ns_before = self._reported
        self._reported = (self.frames, now_ns)
        counts = [stream.counts for stream in self._streams.values()]
        port = self.port.counts
        return {
            "name": self.name,
            "performer": self.performer,
            "address": self.port.address[0],
            "port": self.port.address[1],
            "rate_hz": round((self.frames - frames_before) * 1e9 / max(now_ns - ns_before, 1), 1) if ns_before else 0.0,
            "datagrams": port.datagrams,
            "frames": self.frames,
            "lost": sum(getattr(each, "lost", 0) for each in counts),
            "refused": sum(each.refused + each.refused_bones for each in counts)
            + port.over_budget
            + port.sources_refused,
            "over_budget": port.over_budget,
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
