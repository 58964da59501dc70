"""Phones: who sent what, which part each of them plays, and the latents that the engine hears.

    phones = Phones(roles)
    phones.take(sensor, readings, host, number, arrival_ns, now_ns, delay_ns)  # of one datagram
    phones.publish(shared["devices"], rings.publish, focus, now_ns)  # every turn

One thread uses it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from echelon_bridges.bodies import rounded
from echelon_bridges.fusion.device import LOST_NS, Device
from echelon_bridges.fusion.roles import NONE, SLOTS, Place, Roles
from echelon_bridges.protocol.reading import Reading
from echelon_bridges.sensors import Sensor
from echelon_engine.memory import DEVICES

DEVICES_AT_MOST = 64
FORGOTTEN_NS = 60_000_000_000  # a phone silent for so long is no longer listed
FREED_NS = 10_000_000_000  # its default role may go to another after so long
AGAIN_NS = 100_000_000  # latents of phones that fall silent are looked at so often

DeviceKey = tuple[str, str, str, int]


class Phones:
    """All phones of an engine, at most 64.

    `heard` are the performers that phones have moved, `notices` what people should know: whoever reads them empties
    them. `hosts` are the addresses that have a phone.
    """

    def __init__(self, roles: Roles) -> None:
        self.devices: dict[DeviceKey, Device] = {}
        self.hosts: set[str] = set()
        self.heard: set[int] = set()
        self.notices: list[str] = []
        self._roles = roles
        self._slots: dict[Place, Device] = {}
        self._record = np.zeros(1, DEVICES)
        self._times_ns, self._present, self._latents = (
            self._record[name][0] for name in ("time_ns", "present", "latent")
        )
        self._any_present = False  # in the record
        self._changed = False
        self._focus = -1
        self._published_ns = 0

    def take(
        self,
        sensor: Sensor,
        readings: list[Reading],
        host: str,
        number: int,
        arrival_ns: int,
        now_ns: int,
        delay_ns: int,
    ) -> None:
        """Give the readings of one datagram to their devices. `delay_ns`: samples later than this are called late."""
        by_device: dict[str, list[Reading]] = {}
        for reading in readings:
            by_device.setdefault(reading.device, []).append(reading)
        sensor.last_heard_ns = now_ns
        for name, own in by_device.items():
            device = self._device(sensor, name, host, number, own[0].app, now_ns)
            if device is None:
                sensor.refuse(len(own))
                continue
            sensor.readings += device.take(own, arrival_ns, delay_ns)
            place = self._roles.of(device.name, device.host)
            if place is None:
                if not device.is_present(now_ns):
                    continue
                place = self._roles.admit(device.name, device.performer, lambda each: self._is_silent(each, now_ns))
                self.settle()
                if place[1] != NONE:
                    self.notices.append(
                        f"a phone ({device.app}) plays the {place[1]}{'' if place[1] == 'torso' else ' hand'} of "
                        f"performer {place[0]}; change it with `echelon-engine sensors assign`"
                    )
            if place[1] in SLOTS:
                self._changed = True
                if device.is_present(now_ns):
                    self.heard.add(place[0])

    def _device(self, sensor: Sensor, name: str, host: str, number: int, app: str, now_ns: int) -> Device | None:
        """Return the device of a sender: by the name it says and its address, without a name by its address alone."""
        key = (sensor.name, name, host, 0 if name else number)
        device = self.devices.get(key)
        if device is not None:
            return device
        taken = {each.name for each in self.devices.values()}
        shown = name or (host if number == 0 else f"{host}#{number + 1}")
        if shown in taken:
            before = next(each for each, old in self.devices.items() if old.name == shown)
            if name and now_ns - self.devices[before].arrival_ns >= LOST_NS:
                device = self.devices[key] = self.devices.pop(before)  # the same phone with another address
                device.host = host
                return device
            shown = f"{shown}@{host if name else sensor.name}"
            if shown in taken:
                return None
        if len(self.devices) >= DEVICES_AT_MOST:
            oldest = min(self.devices, key=lambda each: self.devices[each].arrival_ns)
            if now_ns - self.devices[oldest].arrival_ns < FREED_NS:
                return None
            self._forget(oldest)
        device = self.devices[key] = Device(shown, app, host, sensor.performer)
        self.settle()
        return device

    def _forget(self, key: DeviceKey) -> None:
        gone = self.devices.pop(key)
        self._roles.forget(gone.name)
        self.settle()

    def _is_silent(self, name: str, now_ns: int) -> bool:
        return all(now_ns - device.arrival_ns >= FREED_NS for device in self.devices.values() if device.name == name)

    def settle(self) -> None:
        """Find out anew which device plays which part."""
        self._slots, self.hosts = {}, {device.host for device in self.devices.values()}
        for device in self.devices.values():
            place = self._roles.of(device.name, device.host)
            if place is not None and place[1] in SLOTS:
                self._slots[place] = device
        self._changed = True

    def latents(self, performer: int, now_ns: int) -> Any:
        """Return the DEVICES record `(1,)` of a performer; what was silent for a second is not present."""
        self._present[:] = 0
        self._any_present = False
        for role, slot in SLOTS.items():
            device = self._slots.get((performer, role))
            if device is not None and device.is_present(now_ns):
                self._any_present = True
                self._times_ns[slot] = device.arrival_ns
                self._present[slot] = 1
                self._latents[slot] = device.latent(now_ns, worn=role == "torso")
        return self._record

    def publish(self, triple: Any, publish: Callable[[Any, Any], None], focus: int, now_ns: int) -> None:
        """Write the latents of the performer in focus when they have changed or a phone has fallen silent."""
        if not (
            self._changed or focus != self._focus or (self._any_present and now_ns - self._published_ns >= AGAIN_NS)
        ):
            return
        publish(triple, self.latents(focus, now_ns))
        self._changed, self._focus, self._published_ns = False, focus, now_ns

    def recentre(self, performer: int) -> None:
        """Take the way a performer's phones are worn now for upright."""
        for (owner, _), device in self._slots.items():
            if owner == performer:
                device.recentre()

    def report(self, now_ns: int) -> list[dict[str, Any]]:
        """Return what each phone does now, a row of a few hundred bytes; forget those silent for a minute."""
        rows = []
        for key, device in list(self.devices.items()):
            if now_ns - device.arrival_ns >= FORGOTTEN_NS and device.name not in self._roles.assigned:
                self._forget(key)
            else:
                rows.append(self._row(device, now_ns))
        return rows

    def _row(self, device: Device, now_ns: int) -> dict[str, Any]:
        place = self._roles.of(device.name, device.host)
        clock = device.clock
        return {
            "name": device.name,
            "app": device.app,
            "kind": "phone",
            "performer": place[0] if place else device.performer,
            "role": place[1] if place else NONE,
            "rate_hz": device.rate.hz(device.frames, now_ns),
            "frames": device.frames,
            "lost": clock.lost,
            "loss": round(clock.lost / max(device.frames + clock.lost, 1), 4),
            "restarts": clock.restarts,
            "unit": device.unit,
            "jitter_ms": device.jitter.percentiles_ms(),
            "late": device.jitter.late,
            "drift_ppm": rounded(clock.drift_ppm),
            "silent_s": round(max(now_ns - device.arrival_ns, 0) * 1e-9, 1),
            "mps2": round(device.peak_mps2, 2),
            "mps": round(device.peak_mps, 2),
            "down": [round(each, 2) for each in device.down()],
        }
