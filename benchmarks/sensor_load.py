"""What many sensors cost the bridges with everything published, and what a flood takes from a performer: from outside.

The real bridges process runs on a shared block whose callback is a stand-in (`bridges_rig`). Here the senders: real UDP
from loopback addresses. `load` is four mocopi performers and eight phones at 60 Hz, with every control record published
60 times a second: over OSC, over OSC and NATS (JSON, to a nats-server), and over both without the bodies, which are
otherwise published 60 times a second, too. Of three windows the cheapest counts, as other work on the machine only
ever adds; what the hypervisor took is said beside it. `flood` is one
valid mocopi sender as fast as it can, on the performer's own port and on another performer's.

    python benchmarks/sensor_load.py [--seconds 10] [--load]
"""

from __future__ import annotations

import argparse
import multiprocessing
import socket
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from bridges_rig import RATE_HZ, serve
from figures import bar, bar_table, percentiles, text_table
from machine import stolen_share

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

OURS = 1_000_000  # numbers of the frames of the performer that is flooded
SETTLE_S = 1.5
WINDOWS = 3
CPU_BAR, KEPT_BAR = 25.0, 95.0
PHONES = ("zigsim", "zigsim_json", "gyrosc", "sensorlog", "zigsim", "touchosc", "zigsim", "gyrosc")


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


Part = tuple[socket.socket, tuple[str, int], Callable[[int], list[bytes]]]


class Senders:
    """A process that sends everybody's datagrams 60 times a second until `end`; `sent` counts the frames of each."""

    def __init__(self, parts: list[Part]) -> None:
        self._parts = parts
        self._ended, self._sent = multiprocessing.Event(), multiprocessing.Value("q", 0)
        self._process = multiprocessing.Process(target=self._run, daemon=True)
        self._process.start()

    @property
    def sent(self) -> int:
        return self._sent.value

    def _run(self) -> None:
        begin, n = time.monotonic(), 0
        while not self._ended.wait(max(0.0, begin + n / RATE_HZ - time.monotonic())):
            for sender, address, at in self._parts:
                for data in at(n):
                    sender.sendto(data, address)
            n += 1
            self._sent.value = n

    def end(self) -> int:
        """Stop; return how many frames each has sent."""
        self._ended.set()
        self._process.join()
        for sender, *_ in self._parts:
            sender.close()
        return self.sent


class Listener(threading.Thread):
    """Receives what is sent over OSC; `ages_ms` is how old control records were when they were sent."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.ages_ms: list[float] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"

    def run(self) -> None:
        while data := self._socket.recv(2048):
            at = data.find(b"/state/time_ns")
            if at > 0:
                made_ns = struct.unpack_from(">q", data, data.index(b",ihhd") + 20)[0]
                self.ages_ms.append((made_ns - struct.unpack_from(">q", data, data.index(b",h", at) + 4)[0]) * 1e-6)

    def end(self) -> None:
        """Stop."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self._socket.getsockname())
        self.join()
        self._socket.close()


def load(seconds: float, nats: bool, bodies: bool = True) -> dict[str, Any]:
    """Four mocopi performers and eight phones at 60 Hz, published: the bridges' share of a core."""
    base = free_base(12)
    listener = Listener()
    listener.start()
    settings = {
        "ports.bind": "127.0.0.1", "ports.mocopi": base, "ports.vmc": 0, "ports.phones": base + 4,
        "motion.performers": 4, "dancer.enabled": False, "osc.targets": listener.address, "osc.body": bodies,
    }  # fmt: skip
    parts: list[Part] = [
        (from_address(f"127.0.0.{10 + i}"), ("127.0.0.1", base + i), performer(1928)) for i in range(4)
    ] + [
        (from_address(f"127.0.0.{20 + i}"), ("127.0.0.1", base + 4 + i // 2), phone(app, f"phone{i}"))
        for i, app in enumerate(PHONES)
    ]
    windows = []
    with tempfile.TemporaryDirectory() as folder:
        if nats:
            settings |= {"nats.url": "embedded", "nats.port": free_base(1), "nats.folder": folder, "nats.body": bodies}
        with serve(settings) as served:
            senders = Senders(parts)
            deadline = time.monotonic() + 10.0
            while nats and not served.said.get("outlets", {}).get("outlets", {}).get("nats", {}).get("connected"):
                time.sleep(0.1)
                if time.monotonic() > deadline:
                    raise RuntimeError(f"no NATS server: {served.texts}")
            time.sleep(SETTLE_S)
            listener.ages_ms.clear()
            served.callback.restart_counts()
            first, began, before = senders.sent, time.monotonic(), served.cpu_s()
            published = _published(served)
            for _ in range(WINDOWS):
                with stolen_share() as stolen:
                    start, cpu_s = time.monotonic(), served.cpu_s()
                    time.sleep(seconds / WINDOWS)
                    share = 100 * (served.cpu_s() - cpu_s) / (time.monotonic() - start)
                windows.append((round(share, 2), stolen.found["stolen_percent"]))
            took_s = time.monotonic() - began
            published, latents = _published(served) - published, served.callback.latents
            mean = round(100 * (served.cpu_s() - before) / took_s, 2)
            devices = served.ask(command="sensors")["devices"]
            sent = senders.end() - first
            time.sleep(0.1)
            played, rss_mb, outlets = served.callback.played, served.rss_mb(), served.wait_for("outlets")["outlets"]
        listener.end()
    phones = [row["rate_hz"] for row in devices if row["kind"] == "phone"]
    return {
        "cpu_percent": min(windows)[0],
        "mean_percent": mean,
        "windows_and_stolen": ", ".join(f"{cpu:g} ({stolen:g})" for cpu, stolen in windows),
        "bodies_percent": round(100 * played / (4 * sent), 2),
        "phones_hz": [min(phones, default=0.0), max(phones, default=0.0)],
        "phones": len(phones),
        "latents_hz": round(latents / took_s, 1),
        "osc_age_ms": percentiles(listener.ages_ms),
        "nats_hz": round(published / took_s, 1),
        "nats_gaps": outlets["nats"]["gaps"] if nats else None,
        "rss_mb": rss_mb,
    }


def _published(served: Any) -> int:
    return int(served.said.get("outlets", {}).get("outlets", {}).get("nats", {}).get("published", 0))


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
    settings = {
        "ports.bind": "127.0.0.1", "ports.mocopi": base, "ports.vmc": 0, "ports.phones": 0,
        "motion.performers": performers, "dancer.enabled": False,
    }  # fmt: skip
    with serve(settings, OURS) as served:
        stop, poured = multiprocessing.Event(), multiprocessing.Value("q", 0)
        flooding = multiprocessing.Process(target=pour, args=(base, stop, poured))
        flooding.start()
        time.sleep(SETTLE_S)
        served.callback.restart_counts()
        began, cpu_s = time.monotonic(), served.cpu_s()
        performing = Senders([(from_address("127.0.0.10"), ("127.0.0.1", base + performers - 1), performer(OURS))])
        time.sleep(seconds)
        sent = performing.end()
        share = 100 * (served.cpu_s() - cpu_s) / (time.monotonic() - began)
        stop.set()
        flooding.join()
        time.sleep(0.2)
        ports, kept, rss_mb = served.ask(command="sensors")["ports"], served.callback.kept, served.rss_mb()
    return {
        "kept_percent": round(100 * kept / sent, 2),
        "cpu_percent": round(share, 2),
        "flood_hz": round(poured.value / (seconds + SETTLE_S)),
        "dropped": sum(port["dropped"] for port in ports),
        "over_budget": sum(port["over_budget"] for port in ports),
        "rss_mb": rss_mb,
    }


def measure_load(seconds: float) -> dict[str, Any]:
    """Return the figures of the load and their bars."""
    result: dict[str, Any] = {
        "load, over OSC": load(seconds, nats=False),
        "load, over OSC and NATS": load(seconds, nats=True),
        "load, without bodies": load(seconds, nats=True, bodies=False),
    }
    result["bars"] = [
        bar(f"bridges, 4 bodies and 8 phones, {how}", found["cpu_percent"], "% of a core", "<=", CPU_BAR)
        for how, found in (
            ("OSC", result["load, over OSC"]),
            ("OSC and NATS", result["load, over OSC and NATS"]),
            ("both, no bodies", result["load, without bodies"]),
        )
    ]
    return result


def measure(seconds: float = 12.0) -> dict[str, Any]:
    """Return the figures of all and their bars."""
    result = measure_load(seconds)
    for whose, performers in (("own", 1), ("other", 2)):
        found = result[f"flood, {whose} port"] = flood(seconds, performers)
        result["bars"].append(bar(f"frames kept in a flood, {whose} port", found["kept_percent"], "%", ">=", KEPT_BAR))
    return result


def table(result: dict[str, Any]) -> str:
    """Return the figures as tables."""
    lines = []
    for name, figures in result.items():
        if isinstance(figures, dict) and "cpu_percent" in figures:
            lines += [text_table([name, ""], [[key, value] for key, value in figures.items()]), ""]
    return "\n".join([*lines, bar_table(result["bars"])])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--load", action="store_true", help="no floods")
    options = parser.parse_args()
    print(table((measure_load if options.load else measure)(options.seconds)))
