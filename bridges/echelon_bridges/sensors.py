"""Listening ports as sensors: each takes any protocol and counts what became of every datagram."""

from __future__ import annotations

from typing import Any, Protocol

from echelon_bridges.bodies import COUNTED, STREAMS, Body
from echelon_bridges.fusion.places import Places
from echelon_bridges.fusion.rate import Rate
from echelon_bridges.protocol.refusal import FOREIGN, Refusal
from echelon_bridges.udp import Budget, Datagram, PortCounts, bind
from echelon_engine.config import SENSOR_KINDS, Config
from echelon_engine.errors import UserError

BODIES = 128  # senders that one port keeps apart


class Port(Protocol):
    """What a sensor listens to: a `udp.UdpPort`, or an `Inlet`."""

    address: tuple[str, int]
    counts: PortCounts

    def drain(self, now_ns: int) -> list[Datagram]:
        """Return what arrived."""

    def shuts_out(self, host: str) -> bool:
        """Return whether a source floods."""

    @property
    def dropped(self) -> int:
        """Datagrams that never reached us."""

    def close(self) -> None:
        """Stop listening."""


class Inlet:
    """A port without a socket: datagrams that came by another way, each source kept to the same budget."""

    def __init__(self, name: str) -> None:
        self.address = (name, 0)
        self.counts = PortCounts()
        self.dropped = 0
        self._budgets: dict[str, Budget] = {}

    def admits(self, source: str, size: int, now_ns: int) -> bool:
        """Count a datagram of `size` bytes; return whether its source is within its budget."""
        self.counts.datagrams += 1
        budget = self._budgets.get(source)
        if budget is None:
            if len(self._budgets) >= 64:
                del self._budgets[min(self._budgets, key=lambda each: self._budgets[each].filled_ns)]
            budget = self._budgets[source] = Budget(filled_ns=now_ns)
        if budget.spend(now_ns, size):
            return True
        self.counts.over_budget += 1
        return False

    def drain(self, _now_ns: int) -> list[Datagram]:
        """Return nothing: what comes is given to the hub."""
        return []

    def shuts_out(self, _host: str) -> bool:
        """Return False: budgets alone hold a source back."""
        return False

    def close(self) -> None:
        """Nothing is open."""


def name_of(kind: str, performer: int) -> str:
    """Return what people read: mocopi, vmc, and for further performers mocopi.1 .."""
    return kind if performer == 0 else f"{kind}.{performer}"


class Sensor:
    """One port of one performer, called `name_of` it: its bodies, and counts of what came through it."""

    def __init__(self, kind: str, performer: int, port: Any) -> None:
        self.name = name_of(kind, performer)
        self.kind, self.performer = kind, performer
        self.port: Any = port
        self.places = Places()
        self.bodies: dict[tuple[str, str, int], Body] = {}
        self.frames = 0  # of bodies that play
        self.readings = 0  # of phones and trackers
        self.last_heard_ns = 0
        self._foreign = 0
        self._past: dict[str, int] = dict.fromkeys(COUNTED, 0)  # of bodies that are gone, and what no body counts
        self._rate = Rate()

    def body(self, kind: str, host: str, number: int, seated: Any) -> Body:
        """Return the body of a sender; one too many takes the place of the oldest that has no seat."""
        key = (kind, host, number)
        body = self.bodies.get(key)
        if body is None:
            if len(self.bodies) >= BODIES:
                oldest = next((each for each, old in self.bodies.items() if old not in seated), next(iter(self.bodies)))
                self._forget(oldest)
            body = self.bodies[key] = Body(kind, host, number, self.performer, STREAMS[kind]())
        return body

    def _forget(self, key: tuple[str, str, int]) -> None:
        gone = self.bodies.pop(key)
        for name in COUNTED:
            self._past[name] += gone.count(name)

    def foreign(self) -> None:
        """Count a datagram that is no protocol of ours."""
        self._foreign += 1

    def refuse(self, count: int = 1) -> None:
        """Count what could not be taken: values, frames of a body that has no seat."""
        self._past["refused"] += count

    def refuse_datagram(self, refusal: Refusal) -> None:
        """Count a datagram that could not be read."""
        self._past["refused"] += 1
        self._past["undecodable"] += refusal.kind == FOREIGN

    def _count(self, name: str) -> int:
        return self._past[name] + sum(body.count(name) for body in self.bodies.values())

    @property
    def undecodable(self) -> int:
        """Datagrams that were no protocol of ours."""
        return self._foreign + self._count("undecodable")

    def report(self, now_ns: int) -> dict[str, Any]:
        """Return the statistics of this port; `rate_hz` counts frames and readings of a second or more."""
        heard = self.frames + self.readings
        port, dropped = self.port.counts, self.port.dropped
        return {
            "name": self.name,
            "performer": self.performer,
            "address": self.port.address[0],
            "port": self.port.address[1],
            "rate_hz": self._rate.hz(heard, now_ns),
            "datagrams": port.datagrams,
            "frames": self.frames,
            "readings": self.readings,
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
