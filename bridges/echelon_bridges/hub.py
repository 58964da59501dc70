"""Every sensor in one place: datagrams to limb frames of each performer, and phones to the latents of their roles.

    hub, warnings = Hub.open(config)
    for performer, frames in hub.read(sensor, now_ns): ...      # a sensor of hub.sensors whose socket is readable
    hub.publish(shared["devices"], rings.publish, focus, now_ns)  # every turn: what phones do
    for text in hub.take_notices(): ...

One thread uses it. It never raises because of what was received.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from echelon_bridges.bodies import Body, Frames, Restamped, Trackers
from echelon_bridges.fusion.centre import Centre
from echelon_bridges.fusion.device import Device
from echelon_bridges.fusion.roles import BODY, Place, Roles, parse_place, parse_roles
from echelon_bridges.fusion.seats import Seats
from echelon_bridges.motion.pose import LiveBody
from echelon_bridges.phones import DEVICES_AT_MOST, FORGOTTEN_NS, Phones
from echelon_bridges.protocol import adapters, mocopi
from echelon_bridges.protocol.refusal import Refusal
from echelon_bridges.protocol.sniff import is_vmc, protocol_of
from echelon_bridges.sensors import Inlet, Sensor, open_sensors
from echelon_engine.config import Config
from echelon_engine.errors import UsageError
from echelon_engine.memory import BREAK


class Hub:
    """All sensors of an engine. `delay_ns` is the de-jitter delay against which frames are called late."""

    def __init__(self, sensors: list[Sensor], config: Config) -> None:
        self.sensors = sensors
        self.performers = config.motion.performers
        self.roles = Roles(parse_roles(config.sensors.roles))
        self.delay_ns = round(config.motion.delay_ms * 1e6)
        self.phones = Phones(self.roles)
        self._heard: set[int] = set()
        self._seats = Seats(self.performers)
        self._before: list[Body | None] = [None] * self.performers  # body whose frame each performer got last
        self._centres = [Centre() for _ in range(self.performers)]
        self._inlets: dict[int, Sensor] = {}

    @classmethod
    def open(cls, config: Config) -> tuple[Hub, list[str]]:
        """Bind every configured port; return the hub, and a warning for each default port that is taken.

        Raises `UserError` for a port that a person chose and that cannot be bound, and for impossible roles.
        """
        parse_roles(config.sensors.roles)
        LiveBody.load()
        mocopi.load()
        sensors, warnings = open_sensors(config)
        return cls(sensors, config), warnings

    # What arrives

    def read(self, sensor: Sensor, now_ns: int) -> Iterator[tuple[int, Frames]]:
        """Drain a sensor; yield (performer, LIMB_FRAME `(n,)`) in order."""
        for data, host, port, arrival_ns in sensor.port.drain(now_ns):
            if (played := self._hear(sensor, data, host, port, arrival_ns, now_ns)) is not None:
                yield played

    def inject(self, performer: int, device: str, data: bytes, now_ns: int) -> Iterator[tuple[int, Frames]]:
        """Take a raw payload that came for a performer by another way than a port, from the sender `device`."""
        inlet = self._inlet(performer)
        if inlet is None or not inlet.port.admits(device, len(data), now_ns):
            return
        if (played := self._hear(inlet, data, device, 0, now_ns, now_ns)) is not None:
            yield played

    def offer(self, performer: int, device: str, frames: Frames, now_ns: int) -> Iterator[tuple[int, Frames]]:
        """Take ready LIMB_FRAMEs `(n,)` with times on their sender's clock, as `inject` does."""
        inlet = self._inlet(performer)
        if inlet is None or not inlet.port.admits(device, frames.nbytes, now_ns):
            return
        key = ("frames", device, 0)
        body = inlet.bodies.get(key)
        if body is None:
            if len(inlet.bodies) >= DEVICES_AT_MOST:
                inlet.bodies.pop(next(iter(inlet.bodies)))
            body = inlet.bodies[key] = Body("frames", device, 0, performer, Restamped())
        stamped = body.stream.stamp(frames, now_ns)
        if len(stamped) and (played := self._play(inlet, body, stamped, now_ns)) is not None:
            yield played

    def _inlet(self, performer: int) -> Sensor | None:
        if not 0 <= performer < self.performers:
            return None
        if performer not in self._inlets:
            self._inlets[performer] = Sensor("nats", performer, Inlet("nats"))
        return self._inlets[performer]

    def _hear(
        self, sensor: Sensor, data: bytes, host: str, port: int, arrival_ns: int, now_ns: int
    ) -> tuple[int, Frames] | None:
        """Take one datagram; return the performer and the frames that it plays, None where it plays none."""
        kind = protocol_of(data)
        if kind == "osc" and is_vmc(data):
            kind = "vmc"
        if kind is None:
            sensor.foreign()
            return None
        number = sensor.places.of(host, port, now_ns)
        if kind in ("mocopi", "vmc"):
            body = sensor.body(kind, host, number, self._seats.player)
            frames = body.stream.feed(data, arrival_ns)
        else:
            decoded = adapters.decode(data)
            if isinstance(decoded, Refusal):
                sensor.refuse_datagram(decoded)
                return None
            sensor.refuse(decoded.refused)
            if not decoded.readings:
                if decoded.unknown and host not in self.phones.hosts:  # what a phone says besides motion is no noise
                    sensor.foreign()
                return None
            readings = decoded.readings
            if readings[0].part:  # trackers of a body never come together with a phone's own sensors
                body = sensor.body("trackers", host, number, self._seats.player)
                frames = body.stream.take(readings, arrival_ns)
                sensor.last_heard_ns = now_ns
            else:
                self.phones.take(sensor, readings, host, number, arrival_ns, now_ns, self.delay_ns)
                return None
        return self._play(sensor, body, frames, now_ns) if frames is not None and len(frames) else None

    # Bodies

    def _play(self, sensor: Sensor, body: Body, frames: Frames, now_ns: int) -> tuple[int, Frames] | None:
        """Return the frames of a body that has a seat with its performer, count those of one that has none."""
        body.take(frames, self.delay_ns)
        sensor.last_heard_ns = now_ns
        assigned = self._assigned(body)
        if assigned is not None and assigned[1] != BODY:
            sensor.refuse(len(frames))
            return None
        seat = self._seats.seat(
            body,
            body.own,
            now_ns,
            self._is_shut_out,
            assigned[0] if assigned else None,
            lambda at: (at, BODY) in self.roles.assigned.values(),
        )
        if seat is None:
            sensor.refuse(len(frames))
            return None
        if self._before[seat] is not body:
            self._before[seat] = body
            frames["flags"][0] |= BREAK
        self._centres[seat].apply(frames)
        sensor.frames += len(frames)
        self._heard.add(seat)
        return seat, frames

    def _assigned(self, body: Body) -> Place | None:
        """Return where a body was assigned to; an address whose phone has a role says nothing about its body."""
        assigned = self.roles.assigned
        place = assigned.get(body.name)
        if place is None:
            place = assigned.get(body.host)
            return place if place is not None and place[1] == BODY else None
        return place

    def _is_shut_out(self, body: Any) -> bool:
        """Return whether the port of a seated body shuts its sender out."""
        host, key = body.host, (body.kind, body.host, body.number)
        return any(sensor.port.shuts_out(host) for sensor in self.sensors if sensor.bodies.get(key) is body)

    def publish(self, triple: Any, publish: Callable[[Any, Any], None], focus: int, now_ns: int) -> None:
        """Write what the phones of the performer in focus do, when it has changed (see `Phones.publish`)."""
        self.phones.publish(triple, publish, focus, now_ns)

    # What people ask for

    def assign(self, device: str, performer: int, role: str) -> None:
        """Give a device, or a body's sender, a role; raises `UsageError`. Whoever had it has none afterwards."""
        place = parse_place(f"{performer}.{role}")
        if place[0] >= self.performers:
            rule = f"0 to {self.performers - 1} may send" if self.performers > 1 else "only performer 0 may send"
            raise UsageError(f"performer {performer}", rule, "start with motion.performers higher")
        self.roles.assign(device, place)
        if place[1] == BODY:
            for body in self._bodies():
                if device in (body.name, body.host):
                    self._seats.leave(body)
        self.phones.settle()

    def recentre(self, performer: int | None = None) -> None:
        """Take where a performer (all of them) stands and faces now for the stage's centre and front.

        Of phones, the way they are worn now is upright; trackers are told apart anew, by how the performer stands.
        """
        for at in range(self.performers) if performer is None else (performer,):
            if 0 <= at < self.performers:
                self._centres[at].wanted = True
                player = self._seats.player[at]
                if isinstance(player, Body) and isinstance(player.stream, Trackers):
                    player.stream.body.calibrate()
                self.phones.recentre(at)

    def answer(self, request: dict[str, Any], now_ns: int) -> dict[str, Any]:
        """Do what a request asks, `{"command": "sensors" | "assign" | "recentre", ..}`; raises `UserError`."""
        match request.get("command"):
            case "sensors":
                return {"ports": self.report(now_ns), "devices": self.report_devices(now_ns)}
            case "assign":
                where = str(request.get("role", ""))
                performer, role = parse_place(where if "." in where else f"{request.get('performer', 0)}.{where}")
                device = str(request.get("device", ""))
                self.assign(device, performer, role)
                return {"device": device, "performer": performer, "role": role}
            case "recentre":
                asked = request.get("performer")
                if asked is not None and (not isinstance(asked, int) or not 0 <= asked < self.performers):
                    raise UsageError(
                        f"performer {asked}", f"is none of 0 to {self.performers - 1}", "leave it out: all"
                    )
                self.recentre(asked)
                return {}
        raise UsageError(str(request.get("command"))[:40], "is nothing that sensors know", "sensors, assign, recentre")

    def take_heard(self) -> set[int]:
        """Return the performers that bodies and phones have moved since this was last asked."""
        heard, self._heard = self._heard | self.phones.heard, set()
        self.phones.heard = set()
        return heard

    def take_notices(self) -> list[str]:
        """Return what people should know, once."""
        told, self.phones.notices = self.phones.notices, []
        return told

    @property
    def last_heard_ns(self) -> int:
        """When motion was received last, 0 before the first."""
        return max((each.last_heard_ns for each in [*self.sensors, *self._inlets.values()]), default=0)

    def _bodies(self) -> list[Body]:
        return [body for sensor in [*self.sensors, *self._inlets.values()] for body in sensor.bodies.values()]

    def report(self, now_ns: int) -> list[dict[str, Any]]:
        """Return the statistics of every port, and of what came in by other ways."""
        heard: list[Body | Device] = [*self._bodies(), *self.phones.devices.values()]
        for each in heard:  # so that whoever asks for one finds its rate
            each.rate.hz(each.frames, now_ns)
        return [sensor.report(now_ns) for sensor in [*self.sensors, *self._inlets.values()]]

    def report_devices(self, now_ns: int) -> list[dict[str, Any]]:
        """Return what is heard, a row of a few hundred bytes each: bodies, then phones with what they do now."""
        rows = []
        for body in self._bodies():
            if body.frames and now_ns - body.last_ns < FORGOTTEN_NS:
                seat = self._seats.player.index(body) if body in self._seats.player else None
                rows.append({**body.report(now_ns), "performer": seat})
        return [*rows, *self.phones.report(now_ns)]

    def close(self) -> None:
        """Close every socket."""
        for sensor in self.sensors:
            sensor.port.close()
