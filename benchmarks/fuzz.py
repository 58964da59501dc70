"""Fuzzing of everything that reads datagrams, in all cores: nothing may escape, and memory must stay flat.

Real captures and every sender's datagrams are mutated and go through sniff, the decoders, the streams and the hub that
fuses them. An exception, a warning or a value out of bounds is shown with its datagram.

python benchmarks/fuzz.py [--datagrams 10_000_000] [--seed 1] [--seconds N] [--json FILE.json]
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import queue
import random
import resource
import struct
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from figures import bar, bar_table, text_table

from echelon_bridges.hub import Hub
from echelon_bridges.motion.trackers import TrackerBody
from echelon_bridges.protocol import adapters, captures, mocopi, osc
from echelon_bridges.protocol.mocopi_stream import MocopiStream
from echelon_bridges.protocol.reading import LIMITS, Readings
from echelon_bridges.protocol.sniff import is_vmc, protocol_of
from echelon_bridges.protocol.vmc import VmcStream
from echelon_engine.config import Config, Motion
from echelon_engine.memory import DEVICES

ROOT = Path(__file__).resolve().parents[1]
PACKETS = ROOT.parent / "shared" / "data" / "motion" / "packets"
PERFORMERS, SENDERS = 4, 24  # of the hub
LOOKED = 997  # datagrams between two looks at the hub's figures
STREAMS = 4  # of each kind, long-lived; a new one takes the place of an old one now and then
RENEW = 50_000  # datagrams
CHUNK = 500  # datagrams between two looks at the clock
WARM_SHARE, WARM_LEAST = 0.1, 3_000  # datagrams of each worker before memory is first measured
GROWTH_BAR_MB = 8.0
CHANGES = (0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 4, 5, 6, 7, 8)  # most keep the form and spoil a value
KINDS = ("mocopi", "vmc", "phones", "none", "hub")
CLOCK = b"/VMC/Ext/T\0\0,f\0\0"
WORDS = (
    *(struct.pack("<I", value) for value in (0, 1, 0x7F, 0x80, 0xFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)),
    *(struct.pack(">I", value) for value in (1, 4, 8, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFC)),
    *(struct.pack(form, value) for form in ("<f", ">f") for value in (math.nan, math.inf, -math.inf, 3e38, 1e-45)),
    b"#bundle\0", b"head", b"fram", b"skdf", b"btdt", b"bnid", b"tran", b",fff", b"/VMC", b"\0\0\0\0",
)  # fmt: skip
TEXTS = (
    *(b"null", b"true", b"-0", b"1e308", b"-1e309", b"NaN", b"1" * 400, b'"x"', b'"1e5"', b"[]", b"{}", b"[[[["),
    *(b'{"a":', b'"\\ud800"', b"\xff", b'"uuid"', b'"values":[1,2]', b'"sensordata":{}', b"}", b"]", b",", b":"),
)


def corpus() -> list[list[bytes]]:
    """Return the datagrams that mutations begin with, a list each of mocopi, VMC, OSC and JSON: every sender of the
    tests, and the captures where they are.
    """
    if str(ROOT / "tests") not in sys.path:
        sys.path.append(str(ROOT / "tests"))
    import senders  # beside the tests, for all of them

    phone = senders.Phone((0.5, -1.0, 2.0), rotation=(0.1, 0.2, 0.3, 0.927), time_s=12.5)
    found = [data for build in senders.PHONES.values() for data in build(phone)]
    found += senders.gyrosc(phone, text=True) + senders.sensors2osc(phone, axes=True) + senders.touchosc(phone)
    standing = {str(n): ((0.1 * n, 0.2 * n, 0.0), (10.0, 20.0, 30.0)) for n in range(1, 9)}
    for bundle in (True, False):
        found += senders.vrchat({**standing, "head": ((0.0, 1.7, 0.0), (0.0, 0.0, 0.0))}, bundle=bundle)
        found += [data for _, data in senders.vmc_frames(4, bundle=bundle)]
    found += [data for _, data in senders.stopped_and_started(6)]
    for path in sorted(PACKETS.glob("*/*.*packets")) + sorted(PACKETS.glob("*/*.smfstream")):
        found += [data for _, data in captures.read(path)[:20]]
    kinds: dict[str, list[bytes]] = {}
    for data in found:
        kinds.setdefault("vmc" if is_vmc(data) else protocol_of(data) or "", []).append(data)
    return list(kinds.values())


class Mutator:
    """Makes datagrams of a corpus; the same seed gives the same ones."""

    def __init__(self, datagrams: list[list[bytes]], seed: int) -> None:
        self._corpus = datagrams
        self._random = random.Random(seed)
        self._number, self._time_s = 0, 0.0

    def next(self) -> bytes:
        """Return a datagram: one in six as it was sent, the others changed one to six times."""
        rng = self._random
        data = bytearray(rng.choice(rng.choice(self._corpus)))
        if rng.random() < 0.5:
            self._wind_on(data)
        if rng.random() < 1 / 6:
            return bytes(data)
        if rng.random() < 0.02:
            return rng.randbytes(rng.randrange(200))
        for _ in range(rng.choice((1, 1, 1, 1, 2, 4))):
            if not data:
                break
            self._change(data, rng)
        return bytes(data)

    def _wind_on(self, data: bytearray) -> None:
        """Give a body's frame the next number and time, so that streams play on instead of seeing doubles."""
        self._time_s += 1 / 60
        self._number += 1
        at = data.find(b"fnum")
        if 0 < at <= len(data) - 20:
            struct.pack_into("<I", data, at + 4, self._number)
            struct.pack_into("<f", data, at + 16, self._time_s)
        at = data.find(CLOCK)
        if 0 <= at <= len(data) - len(CLOCK) - 4:
            struct.pack_into(">f", data, at + len(CLOCK), self._time_s)

    def _change(self, data: bytearray, rng: random.Random) -> None:
        at = int(rng.random() * len(data))
        kind = rng.choice(CHANGES)
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at] = rng.randrange(256)
        elif kind in (2, 3):
            word = rng.choice(TEXTS if data[:1] == b"{" else WORDS)
            at &= ~3 if kind == 2 else ~0
            data[at : at + len(word)] = word
        elif kind == 4:
            word = rng.choice(TEXTS if data[:1] == b"{" else WORDS)
            data[at:at] = word
        elif kind == 5:
            del data[rng.choice((at, at & ~3)) :]
        elif kind == 6:
            del data[at & ~3 : (at & ~3) + 4 * rng.randrange(1, 12)]
        elif kind == 7:
            size = 4 * rng.randrange(1, 24)
            data[at & ~3 : at & ~3] = data[at & ~3 : (at & ~3) + size] * rng.choice((1, 1, 3))
        else:
            other = rng.choice(rng.choice(self._corpus))
            data[at & ~3 :] = other[int(rng.random() * len(other)) & ~3 :]


class Target:
    """Everything that reads datagrams, as the product calls it, with what it promises about the results."""

    def __init__(self) -> None:
        self.fed = dict.fromkeys(KINDS, 0)
        self.frames = self.readings = self.refused = 0
        self._now_ns = 10**9
        self._fed = 0
        self._mocopi = [MocopiStream() for _ in range(STREAMS)]
        self._vmc = [VmcStream() for _ in range(STREAMS)]
        self._trackers = [TrackerBody() for _ in range(STREAMS)]
        self._hub = Hub([], Config(motion=Motion(performers=PERFORMERS)))

    def feed(self, data: bytes) -> None:
        """Take one datagram; raises whatever a decoder lets escape, and AssertionError for values out of bounds.

        Every other datagram goes to the hub as a whole, the others to what it is made of.
        """
        self._fed += 1
        self._now_ns += 4_000_000
        if self._fed % 2:
            self._feed_hub(data)
            return
        lane = self._fed % STREAMS
        if self._fed % RENEW == 0:
            self._mocopi[lane], self._vmc[lane], self._trackers[lane] = MocopiStream(), VmcStream(), TrackerBody()
        kind = protocol_of(data)
        if self._fed % 16 == 0:  # whatever it is, to everybody
            mocopi.decode(data)
            osc.decode(data)
            self._phone(data, lane)
            self._frames(self._vmc[lane].feed(data, self._now_ns))
        if kind == "mocopi":
            self.fed["mocopi"] += 1
            self._frames(self._mocopi[lane].feed(data, self._now_ns))
        elif kind == "osc" and is_vmc(data):
            self.fed["vmc"] += 1
            self._frames(self._vmc[lane].feed(data, self._now_ns))
        elif kind in ("osc", "json"):
            self.fed["phones"] += 1
            self._phone(data, lane)
        else:
            self.fed["none"] += 1

    def _feed_hub(self, data: bytes) -> None:
        hub, now_ns = self._hub, self._now_ns
        self.fed["hub"] += 1
        for _, frames in hub.inject(self._fed // 2 % PERFORMERS, f"sender{self._fed // 2 % SENDERS}", data, now_ns):
            self._frames(frames)
        if self._fed % LOOKED == 0:
            for performer in range(PERFORMERS):
                hub.publish(None, self._latents, performer, now_ns)
            json.dumps([hub.report(now_ns), hub.report_devices(now_ns), hub.take_notices()], allow_nan=False)
            if self._fed % (LOOKED * 7) == 0:
                hub.recentre()

    def _latents(self, _: Any, record: Any) -> None:
        assert record.dtype == DEVICES
        assert np.isfinite(record["latent"]).all(), record

    def _phone(self, data: bytes, lane: int) -> None:
        found = adapters.decode(data)
        if not isinstance(found, Readings):
            self.refused += 1
            return
        self.readings += len(found.readings)
        for reading in found.readings:
            limit = LIMITS[reading.quantity]
            for value in reading.values:
                assert -limit <= value <= limit, reading
            assert reading.time_s is None or math.isfinite(reading.time_s), reading
        self._frames(self._trackers[lane].feed(found.readings, self._now_ns))

    def _frames(self, frames: Any) -> None:
        if frames is None:
            return
        self.frames += len(frames)
        for name in ("position", "rotation", "origin", "heading"):
            assert np.isfinite(frames[name]).all(), name
        assert np.abs(frames["rotation"]).max() <= 1.0 + 1e-5


def resident_mb() -> float:
    """Return what this process holds in memory now, megabytes (10^6 bytes), or its peak where that is not told."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6
    except OSError:
        return peak_mb()


def peak_mb() -> float:
    """Return the most this process ever held in memory, megabytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def work(number: int, seed: int, count: int, done: Any, stop: Any, results: Any) -> None:
    """Feed `count` datagrams in one process; put one dict of figures into `results`. A warning fails like an error."""
    warnings.simplefilter("error")
    mutator, target = Mutator(corpus(), seed * 1000 + number), Target()
    warm = min(max(WARM_LEAST, int(count * WARM_SHARE)), 500_000)
    begin: tuple[float, float] | None = None
    recent: list[bytes] = []
    failure = None
    fed = 0
    while fed < count and not stop.is_set() and failure is None:
        for _ in range(min(CHUNK, count - fed)):
            data = mutator.next()
            recent = [*recent[-7:], data]
            try:
                target.feed(data)
            except Exception:
                failure = {
                    "traceback": traceback.format_exc(),
                    "datagram": data.hex(),
                    "before": [each.hex() for each in recent[:-1]],
                    "worker": number,
                    "index": fed,
                }
                stop.set()
                break
            fed += 1
        done[number] = fed
        if begin is None and fed >= warm:
            begin = resident_mb(), peak_mb()
    first, first_peak = begin if begin is not None else (resident_mb(), peak_mb())
    results.put(
        {
            "worker": number,
            "datagrams": fed,
            "fed": target.fed,
            "frames": target.frames,
            "readings": target.readings,
            "refused": target.refused,
            "resident_mb": [round(first, 2), round(resident_mb(), 2)],
            "peak_mb": [round(first_peak, 2), round(peak_mb(), 2)],
            "failure": failure,
        }
    )


def measure(
    datagrams: int = 10_000_000,
    seed: int = 1,
    seconds: float = 0.0,
    workers: int = 0,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Feed `datagrams` in as many processes as there are cores, for at most `seconds` (0: until all are fed)."""
    count = workers or os.cpu_count() or 1
    context = multiprocessing.get_context("spawn")
    done, stop, results = context.Array("q", count, lock=False), context.Event(), context.Queue()
    shares = [datagrams // count + (n < datagrams % count) for n in range(count)]
    begin = time.monotonic()
    processes = [
        context.Process(target=work, args=(n, seed, shares[n], done, stop, results), daemon=True) for n in range(count)
    ]
    for process in processes:
        process.start()
    rows: list[dict[str, Any]] = []
    said = begin
    while len(rows) < count:
        try:
            rows.append(results.get(timeout=0.5))
        except queue.Empty:
            if not any(process.is_alive() for process in processes) and results.empty():
                break  # killed from outside: counted below by what is missing
        now = time.monotonic()
        if seconds and now - begin > seconds:
            stop.set()
        if now - said >= 5.0:
            said = now
            total = sum(done)
            say(f"{total:>12,} of {datagrams:,}  {total / (now - begin):>9,.0f} a second  {now - begin:6.0f} s")
    elapsed = time.monotonic() - begin
    for process in processes:
        process.join(5.0)
    fed = sum(row["datagrams"] for row in rows)
    failure = next((row["failure"] for row in rows if row["failure"]), None)
    growth = max((row["resident_mb"][1] - row["resident_mb"][0] for row in rows), default=math.inf)
    wanted = fed if seconds and failure is None and len(rows) == count else datagrams
    return {
        "unit": "datagrams",
        "seed": seed,
        "workers": count,
        "seconds": round(elapsed, 1),
        "datagrams": fed,
        "rate_per_second": round(fed / max(elapsed, 1e-9)),
        "kinds": {kind: sum(row["fed"][kind] for row in rows) for kind in KINDS},
        "frames": sum(row["frames"] for row in rows),
        "readings": sum(row["readings"] for row in rows),
        "figures": sorted(rows, key=lambda row: int(row["worker"])),
        "failure": failure,
        "bars": [
            bar("fuzz: datagrams fed", fed, "", ">=", wanted),
            bar("fuzz: exceptions that escaped", 0 if failure is None else 1, "", "<=", 0),
            bar("fuzz: growth of a worker's memory", round(growth, 2), "MB", "<=", GROWTH_BAR_MB),
        ],
    }


def table(result: dict[str, Any]) -> str:
    """Return the figures of `measure` for reading."""
    head = ["worker", "datagrams", "frames", "readings", "resident MB", "at end", "peak MB", "at end"]
    rows = [
        [row["worker"], row["datagrams"], row["frames"], row["readings"], *row["resident_mb"], *row["peak_mb"]]
        for row in result["figures"]
    ]
    lines = [
        f"{result['datagrams']:,} datagrams in {result['seconds']} s, {result['rate_per_second']:,} a second",
        text_table(head, rows),
        bar_table(result["bars"]),
    ]
    failure = result["failure"]
    if failure:
        lines += ["", failure["traceback"], f"worker {failure['worker']}, datagram {failure['index']}, hex:"]
        lines.append(failure["datagram"])
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--datagrams", type=lambda text: int(text.replace("_", "")), default=10_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=0.0, help="stop after so long; 0: when all are fed")
    parser.add_argument("--workers", type=int, default=0, help="processes; 0: one a core")
    parser.add_argument("--json", type=Path, help="file that gets the figures")
    options = parser.parse_args()
    figures = measure(
        options.datagrams, options.seed, options.seconds, options.workers, lambda line: print(line, flush=True)
    )
    print(table(figures))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    sys.exit(0 if all(each["met"] for each in figures["bars"]) else 1)
