"""From a motion datagram sent to its change heard, measured from outside through JACK's dummy driver.

The real command plays on a private server. One process sends mocopi datagrams, 60 a second, of a body at rest that
sways a little; now and then the right hand rushes for 80 ms and stops dead: the datagram that shows the stop
completes the strike, and the strike's note is its change. Another process, a JACK client that shares nothing with the
sender but CLOCK_MONOTONIC, records the engine's output. A note is heard when the sound first exceeds both -50 dBFS and
three times the loudest sample of the 150 ms before the datagram. The time of a sample is its place on JACK's own
timeline (start of its cycle + offset); what the driver adds from there to a converter is stated beside it.
So that every note stands alone, lanes that people can set are set: short attack and release, no reverb.

    python benchmarks/latency.py [--strikes 80] [--block 512]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jack
import numpy as np
import product
from figures import bar, percentile_table, percentiles
from machine import stolen_share
from numpy.typing import NDArray

from echelon_bridges.motion.skeleton import INDEX, LIMBS, REST_OFFSETS
from echelon_bridges.protocol.mocopi import encode_frame, encode_skeleton

RATE_HZ = 60.0
SWAY_RAD, SWAY_HZ = 0.002, 0.5
STRIKE_RAD, STRIKE_FRAMES = math.radians(20.0), 5
PAUSE_S = (0.85, 1.15)  # between two strikes
LANES = {
    "amp_attack": 0.0, "amp_release": 0.0, "amp_sustain": 0.5, "exciter_attack": 0.0, "exciter_release": 0.0,
    "body_damping": 1.0, "reverb_mix": 0.0, "filter_cutoff": 0.9, "gain": 1.0,
}  # fmt: skip
THRESHOLD, OVER_BACKGROUND = 10 ** (-50 / 20), 3.0
EARLIEST_S, LATEST_S, BACKGROUND_S = 0.03, 0.25, 0.15
P50_BAR_MS, P99_BAR_MS = 16.0, 30.0


class Sender:
    """A body that sends itself to `port`."""

    def __init__(self, port: int) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect(("127.0.0.1", port))
        self._begin = time.monotonic()
        self._next = time.monotonic()
        self._number = 0
        self.angle = 0.0  # of the right arm, rad
        self._rotations = np.tile([0.0, 0.0, 0.0, 1.0], (LIMBS, 1))
        self._socket.send(encode_skeleton(REST_OFFSETS))

    def pose(self, angle: float) -> int:
        """Send the next frame at its time, the right arm at `angle` rad; return the nanosecond before sending."""
        self._next += 1 / RATE_HZ
        time.sleep(max(self._next - time.monotonic(), 0.0))
        self._rotations[INDEX["r_up_arm"]] = (0.0, 0.0, math.sin(angle / 2), math.cos(angle / 2))
        seconds = time.monotonic() - self._begin
        sway = SWAY_RAD / 2 * math.sin(2 * math.pi * SWAY_HZ * seconds)
        self._rotations[INDEX["torso_3"]] = (math.sin(sway), 0.0, 0.0, math.cos(sway))
        data = encode_frame(self._number, seconds, self._rotations, REST_OFFSETS[0], REST_OFFSETS)
        self._number += 1
        sent_ns = time.monotonic_ns()
        with contextlib.suppress(ConnectionRefusedError):
            self._socket.send(data)
        return sent_ns

    def rest(self, seconds: float) -> None:
        """Hold still, then take up another phase between frames and everything in the engine."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.pose(self.angle)
        self._next += random.random() / RATE_HZ

    def strike(self, angle: float) -> int:
        """Rush to `angle`, ever faster, and stop dead; return when the stop was sent."""
        start = self.angle
        for k in range(1, STRIKE_FRAMES + 1):
            share = k / STRIKE_FRAMES
            self.angle = start + (angle - start) * share * share
            self.pose(self.angle)
        return self.pose(self.angle)


def _play(name: str, port: int, strikes: int) -> list[int]:
    sender = Sender(port)
    sender.rest(1.0)
    for lane, position in LANES.items():
        product.change(name, f"lane.{lane}", str(position))
        sender.rest(0.1)
    product.change(name, "idle_seconds", "60")
    stops = []
    for i in range(strikes + 4):
        sender.rest(random.uniform(*PAUSE_S))
        stops.append(sender.strike(STRIKE_RAD if i % 2 == 0 else 0.0))
    sender.rest(1.0)
    return stops[4:]  # the first bring voices and code to life


def heard_after(sent_ns: int, sound: NDArray[Any], times_ns: NDArray[Any], rate_hz: int) -> float | None:
    """Return milliseconds from `sent_ns` until the sound rises over its background, or None; see the module."""
    at = int(np.searchsorted(times_ns, sent_ns))
    early, late = at - round(EARLIEST_S * rate_hz), at + round(LATEST_S * rate_hz)
    background = sound[early - round(BACKGROUND_S * rate_hz) : early]
    if background.size == 0 or late > len(sound):
        return None
    over = np.flatnonzero(sound[early:late] > max(THRESHOLD, OVER_BACKGROUND * float(background.max())))
    return None if over.size == 0 else float(times_ns[early + over[0]] - sent_ns) / 1e6


def _sample_times(cycles: NDArray[Any], samples: int, rate_hz: int) -> NDArray[np.int64]:
    number = np.arange(samples)
    cycle = np.clip(np.searchsorted(cycles[:, 0], number, side="right") - 1, 0, len(cycles) - 1)
    times: NDArray[np.int64] = cycles[cycle, 1] + (number - cycles[cycle, 0]) * 1_000_000_000 // rate_hz
    return times


def run(low_latency: bool, strikes: int, block_frames: int) -> dict[str, Any]:
    """Measure one mode; return milliseconds a strike and what the driver adds."""
    name, port = f"bench-latency-{os.getpid()}", product.free_port()
    options = [
        "--device", "JACK Audio Connection Kit: system",
        "--set", f"motion.low_latency={'true' if low_latency else 'false'}", "--set", f"audio.block={block_frames}",
        "--set", "dancer.enabled=false", "--set", f"ports.mocopi={port}", "--set", "ports.vmc=0",
        "--set", "ports.bind=127.0.0.1",
    ]  # fmt: skip
    with jack.server(48000, block_frames) as served, tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "heard.npz"
        with product.running(name, options, served["environment"]):
            seconds = str(15 + 2 * (strikes + 8))
            command = [sys.executable, jack.__file__, seconds, str(target), "^PortAudio.*:out"]
            listener = subprocess.Popen(
                command, env=served["environment"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            try:
                assert listener.stdout is not None
                answer = listener.stdout.readline().strip()
                if not answer.startswith("listening"):
                    raise RuntimeError(f"the listener found no port of the engine: {answer!r}")
                with stolen_share() as stolen:
                    stops = _play(name, port, strikes)
                listener.communicate(timeout=30)
            finally:
                listener.kill()
                listener.wait()
            counted = product.status(name)
        heard = np.load(target)
        rate_hz = int(heard["rate_hz"])
        sound = np.abs(heard["sound"]).max(axis=0)
        times_ns = _sample_times(heard["cycles"], len(sound), rate_hz)
        delays = [heard_after(stop, sound, times_ns, rate_hz) for stop in stops]
        return {
            "heard": [round(delay, 3) for delay in delays if delay is not None],
            "strikes": len(stops),
            "driver_ms": round(1e3 * int(heard["latency"]) / rate_hz, 2),
            "server_xruns": jack.xruns(served["log"]),
            "machine": stolen.found,
            "underruns": counted.get("underruns"),
        }


def measure(strikes: int = 80, block_frames: int = 512, delay_ms: float = 40.0) -> dict[str, Any]:
    """Return milliseconds from datagram to sound in both modes, with the bars; `delay_ms` is the configured default."""
    if missing := jack.available():
        return {"figures": {}, "skipped": missing, "bars": []}
    low = run(True, strikes, block_frames)
    default = run(False, strikes, block_frames)
    figures = {
        "low_latency": percentiles(low["heard"]),
        f"default, delay {delay_ms:g} ms": percentiles(default["heard"]),
    }
    quick, slow = figures.values()
    return {
        "unit": f"ms, {block_frames} frames",
        "figures": figures,
        "skipped": "",
        "runs": {"low_latency": low, "default": default},
        "bars": [
            bar("datagram to sound, low_latency, p50 (driver's own left out)", quick["p50"], "ms", "<=", P50_BAR_MS),
            bar("datagram to sound, low_latency, p99 (driver's own left out)", quick["p99"], "ms", "<=", P99_BAR_MS),
            bar(
                "datagram to sound, default less low_latency, p50",
                round(slow["p50"] - quick["p50"], 2),
                "ms",
                "<=",
                delay_ms,
            ),
        ],
    }


def table(result: dict[str, Any]) -> str:
    """Return the figures of `measure` for reading."""
    if result["skipped"]:
        return f"not measured: {result['skipped']}"
    lines = [percentile_table(result["unit"], result["figures"])]
    lines += [
        f"{mode}: {len(found['heard'])} of {found['strikes']} strikes heard, the driver's own {found['driver_ms']} ms "
        f"comes on top, {found['server_xruns']} server xruns, {found['underruns']} underruns, "
        f"the hypervisor took {found['machine']['stolen_percent']} % of the time"
        for mode, found in result["runs"].items()
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--strikes", type=int, default=80)
    parser.add_argument("--block", type=int, default=512)
    parser.add_argument("--low-only", action="store_true", help="only low_latency, raw figures")
    chosen = parser.parse_args()
    if chosen.low_only:
        only = run(True, chosen.strikes, chosen.block)
        print(json.dumps(only), percentiles(only["heard"]))
    else:
        found = measure(chosen.strikes, chosen.block)
        print(table(found), json.dumps(found["bars"], indent=1), sep="\n")
