"""What many sensors cost the bridges, and what a flood takes from a performer: measured from outside.

The bridges' own loop runs in a process of its own on a shared block without an engine: it decodes, hands limb frames to
the rings and phones to the triple buffer, and sends parameters, state and bodies over OSC 60 times a second. Here the
senders: real UDP from loopback addresses. `load` is four mocopi performers and eight phones at 60 Hz; `flood` is one
valid mocopi sender as fast as it can, on the performer's own port and on another performer's.

    python benchmarks/sensor_load.py [--seconds 10]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from figures import bar, bar_table, text_table

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

RATE_HZ = 60
OURS = 1_000_000  # numbers of the frames of the performer that is flooded
SETTLE_S = 1.5
CPU_BAR, KEPT_BAR = 25.0, 95.0
PHONES = ("zigsim", "zigsim_json", "gyrosc", "sensorlog", "zigsim", "touchosc", "zigsim", "gyrosc")


def serve() -> None:
    """Run the bridges until standard input says "end"; print what they did as JSON."""
    import select

    from echelon_bridges import bridges_process
    from echelon_engine import rings
    from echelon_engine.block import new_shared
    from echelon_engine.config_file import make
    from echelon_engine.memory import CONTROL, DEVICES, LIMB_FRAME

    class Block:
        shared = new_shared(48000, 512)

    said: list[dict[str, Any]] = []
    bridges_process.say = lambda event, **fields: said.append({"event": event, **fields})
    block = Block()
    block.shared["counters"]["start_ns"] = time.monotonic_ns()
    bridges = bridges_process.Bridges(make(json.loads(sys.stdin.readline())), block)  # type: ignore[arg-type]
    frame, control = np.zeros(1, LIMB_FRAME), np.zeros(1, CONTROL)
    devices = np.zeros(1, DEVICES)
    kept = played = latents = records = 0
    for _ in range(5):  # compile or load all of it before anybody sends
        rings.push(block.shared["frames"][0], frame)
        rings.pop(frame, block.shared["frames"][0])
        rings.push(block.shared["records"], control)
        bridges.turn()
        rings.take(devices, block.shared["devices"])
    print(json.dumps({"ports": [sensor.port.address[1] for sensor in bridges.sensors]}), flush=True)
    began = cpu = 0.0
    while True:
        bridges.turn()
        if time.monotonic() * RATE_HZ < records:
            continue
        records = int(time.monotonic() * RATE_HZ) + 1  # what follows is the callback's part, as often as it
        for ring in block.shared["frames"]:
            while rings.pop(frame, ring):
                played += 1
                kept += int(frame["number"][0] >= OURS)
        latents += rings.take(devices, block.shared["devices"])
        control["frame"] = records
        rings.push(block.shared["records"], control)
        said.clear()
        if select.select([sys.stdin], [], [], 0)[0]:
            word = sys.stdin.readline().strip()
            use = resource.getrusage(resource.RUSAGE_SELF)
            if word == "begin":
                bridges.hub.report_devices(time.monotonic_ns())
                kept = played = latents = 0
                began, cpu = time.monotonic(), use.ru_utime + use.ru_stime
            else:
                break
    now_ns = time.monotonic_ns()
    result = {
        "cpu_percent": round(100 * (use.ru_utime + use.ru_stime - cpu) / (time.monotonic() - began), 2),
        "played": played,
        "kept": kept,
        "latents": latents,
        "ports": bridges.hub.report(now_ns),
        "devices": bridges.hub.report_devices(now_ns),
        "rss_mb": round(use.ru_maxrss / 1024, 1),
    }
    print(json.dumps(result), flush=True)
    bridges.close()


class Served:
    """The bridges in their process."""

    def __init__(self, settings: dict[str, Any]) -> None:
        command = [sys.executable, __file__, "--serve"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.tell(json.dumps(settings))
        self.ports: list[int] = self._read()["ports"]

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        return dict(json.loads(self.process.stdout.readline()))

    def end(self) -> dict[str, Any]:
        self.tell("end")
        found = self._read()
        self.process.wait()
        return found


def free_base(count: int) -> int:
    """Return the first of so many free UDP ports in a row."""
    for base in range(41000, 60000, 16):
        probes = []
        try:
            for i in range(count):
                probes.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                probes[-1].bind(("127.0.0.1", base + i))
            return base
        except OSError:
            continue
        finally:
            for probe in probes:
                probe.close()
    raise RuntimeError("no free ports")


def from_address(host: str) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((host, 0))
    return made


def performer(number: int) -> Callable[[int], list[bytes]]:
    """Return what a mocopi performer sends at its n-th frame, made beforehand for 4 s and numbered on."""
    import senders

    from echelon_bridges.protocol import mocopi

    stream = [data for _, data in senders.mocopi_frames(2, first_number=number)]
    skeleton = stream[0]
    poses = [senders.gesture(i) for i in range(8)]
    offsets = senders.REST_OFFSETS

    def at(n: int) -> list[bytes]:
        frame = mocopi.encode_frame(number + n, n / RATE_HZ, poses[n % 8], [0.0, 0.93, 0.0], offsets)
        return [skeleton, frame] if n % 216 == 0 else [frame]

    return at


def phone(app: str, name: str) -> Callable[[int], list[bytes]]:
    import senders

    def at(n: int) -> list[bytes]:
        phase = 2 * np.pi * n / RATE_HZ
        felt = senders.Phone(user_acceleration=(0.0, 0.0, 6.0 * float(np.sin(phase))), time_s=n / RATE_HZ)
        return senders.PHONES[app](felt, name)

    return at


def send(parts: list[tuple[socket.socket, tuple[str, int], Callable[[int], list[bytes]]]], seconds: float) -> int:
    """Send everybody's datagrams 60 times a second; return how many frames each has sent."""
    begin, n = time.monotonic(), 0
    while n < seconds * RATE_HZ:
        for sender, address, at in parts:
            for data in at(n):
                sender.sendto(data, address)
        n += 1
        time.sleep(max(0.0, begin + n / RATE_HZ - time.monotonic()))
    return n


def load(seconds: float) -> dict[str, Any]:
    """Four mocopi performers and eight phones at 60 Hz, published over OSC: the bridges' share of a core."""
    base = free_base(12)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        target = f"127.0.0.1:{listener.getsockname()[1]}"
        ports = {"mocopi": base, "vmc": 0, "phones": base + 4}
        served = Served(
            {"ports.bind": "127.0.0.1", **{f"ports.{kind}": port for kind, port in ports.items()},
             "motion.performers": 4, "dancer.enabled": False, "osc.targets": target, "osc.body": True}
        )  # fmt: skip
        parts = [(from_address(f"127.0.0.{10 + i}"), ("127.0.0.1", base + i), performer(1928)) for i in range(4)] + [
            (from_address(f"127.0.0.{20 + i}"), ("127.0.0.1", base + 4 + i // 2), phone(app, f"phone{i}"))
            for i, app in enumerate(PHONES)
        ]
        send(parts, SETTLE_S)
        served.tell("begin")
        sent = send(
            [(sender, address, _shifted(at, round(SETTLE_S * RATE_HZ))) for sender, address, at in parts], seconds
        )
        time.sleep(0.1)
        found = served.end()
    for sender, *_ in parts:
        sender.close()
    phones = [row["rate_hz"] for row in found["devices"] if row["kind"] == "phone"]
    return {
        "cpu_percent": found["cpu_percent"],
        "bodies_percent": round(100 * found["played"] / (4 * sent), 2),
        "phones_hz": [min(phones, default=0.0), max(phones, default=0.0)],
        "phones": len(phones),
        "latents_hz": round(found["latents"] / seconds, 1),
        "rss_mb": found["rss_mb"],
    }


def _shifted(at: Callable[[int], list[bytes]], by: int) -> Callable[[int], list[bytes]]:
    return lambda n: at(n + by)


def pour(port: int, stop: Any, poured: Any) -> None:
    """Send valid mocopi frames as fast as this process can."""
    at = performer(0)
    datagrams = [at(n)[-1] for n in range(600)]
    sender = from_address("127.0.0.66")
    n = 0
    while not stop.is_set():
        for data in datagrams:
            try:
                sender.sendto(data, ("127.0.0.1", port))
                n += 1
            except OSError:
                continue
    poured.value = n


def flood(seconds: float, performers: int) -> dict[str, Any]:
    """A flood of valid frames, begun before the performer plays; what the performer keeps."""
    base = free_base(4)
    served = Served(
        {"ports.bind": "127.0.0.1", "ports.mocopi": base, "ports.vmc": 0, "ports.phones": 0,
         "motion.performers": performers, "dancer.enabled": False}
    )  # fmt: skip
    stop, poured = multiprocessing.Event(), multiprocessing.Value("q", 0)
    flooding = multiprocessing.Process(target=pour, args=(base, stop, poured))
    flooding.start()
    time.sleep(SETTLE_S)
    with from_address("127.0.0.10") as sender:
        served.tell("begin")
        sent = send([(sender, ("127.0.0.1", base + performers - 1), performer(OURS))], seconds)
    stop.set()
    flooding.join()
    time.sleep(0.2)
    found = served.end()
    return {
        "kept_percent": round(100 * found["kept"] / sent, 2),
        "cpu_percent": found["cpu_percent"],
        "flood_hz": round(poured.value / (seconds + SETTLE_S)),
        "dropped": sum(port["dropped"] for port in found["ports"]),
        "over_budget": sum(port["over_budget"] for port in found["ports"]),
        "rss_mb": found["rss_mb"],
    }


def measure(seconds: float = 10.0) -> dict[str, Any]:
    """Return the figures of all three and their bars."""
    result: dict[str, Any] = {
        "load": load(seconds),
        "flood, the performer's own port": flood(seconds, 1),
        "flood, another performer's port": flood(seconds, 2),
    }
    own, other = (
        result[f"flood, {whose} port"]["kept_percent"] for whose in ("the performer's own", "another performer's")
    )
    result["bars"] = [
        bar("bridges, 4 bodies and 8 phones", result["load"]["cpu_percent"], "% of a core", "<=", CPU_BAR),
        bar("frames kept in a flood, own port", own, "%", ">=", KEPT_BAR),
        bar("frames kept in a flood, other port", other, "%", ">=", KEPT_BAR),
    ]  # fmt: skip
    return result


def table(result: dict[str, Any]) -> str:
    """Return the figures as tables."""
    lines = []
    for name, figures in result.items():
        if isinstance(figures, dict) and "cpu_percent" in figures:
            lines += [name, text_table(list(figures), [list(figures.values())]), ""]
    return "\n".join([*lines, bar_table(result["bars"])])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve()
    else:
        print(table(measure(options.seconds)))
