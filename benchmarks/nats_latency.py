"""From a motion datagram sent to the parameters it moved, received by an outside consumer over NATS.

The real command plays with `low_latency` and an embedded server. One process sends mocopi frames, 60 a second; this one
listens to `params` as anybody would. Of each datagram the first message counts that carries its arrival.

    python benchmarks/nats_latency.py [--seconds 30]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import socket
import sys
import tempfile
import time
from typing import Any

import nats
import numpy as np
import product
from figures import bar, percentiles

from echelon_bridges.motion.skeleton import INDEX, LIMBS, REST_OFFSETS
from echelon_bridges.protocol.mocopi import encode_frame, encode_skeleton

RATE_HZ, SWAY_RAD, SWAY_HZ = 60.0, 0.4, 1.0
P99_BAR_MS = 40.0
WARM_S = 3.0


def send(port: int, seconds: float) -> list[int]:
    """Send a swaying body for a while; return the nanosecond before each frame was sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.connect(("127.0.0.1", port))
        out.send(encode_skeleton(REST_OFFSETS))
        rotations = np.tile([0.0, 0.0, 0.0, 1.0], (LIMBS, 1))
        begin, sent = time.monotonic(), []
        for number in range(round(seconds * RATE_HZ)):
            time.sleep(max(begin + number / RATE_HZ - time.monotonic(), 0.0))
            angle = SWAY_RAD / 2 * math.sin(2 * math.pi * SWAY_HZ * number / RATE_HZ)
            rotations[INDEX["r_up_arm"]] = (0.0, 0.0, math.sin(angle), math.cos(angle))
            data = encode_frame(number, number / RATE_HZ, rotations, REST_OFFSETS[0], REST_OFFSETS)
            sent.append(time.monotonic_ns())
            out.send(data)
        return sent


async def listen(url: str, name: str, ended: asyncio.subprocess.Process) -> tuple[dict[int, int], int]:
    """Return when each new arrival of motion was first heard of, and how many messages came."""
    heard: dict[int, int] = {}
    count = 0

    async def take(message: Any) -> None:
        nonlocal count
        now_ns = time.monotonic_ns()
        count += 1
        heard.setdefault(json.loads(message.data)["motion_ns"], now_ns)

    async with await nats.connect(url) as connection:
        await connection.subscribe(f"echelon.{name}.params", cb=take)
        await ended.wait()
    return heard, count


async def measure(url: str, name: str, port: int, seconds: float) -> tuple[list[float], int, int]:
    """Return latencies in ms, how many frames were sent and how many messages came."""
    sender = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "--send", str(port), "--seconds", str(seconds), stdout=asyncio.subprocess.PIPE
    )
    reading = asyncio.ensure_future(sender.stdout.read())  # type: ignore[union-attr]
    heard, count = await listen(url, name, sender)
    sent = np.array(json.loads(await reading))
    latencies = []
    for arrival_ns, heard_ns in heard.items():
        index = int(np.searchsorted(sent, arrival_ns)) - 1  # the last datagram sent before this arrival
        if index >= WARM_S * RATE_HZ:
            latencies.append((heard_ns - int(sent[index])) / 1e6)
    return latencies, len(sent), count


def main(seconds: float) -> bool:
    """Measure, print, return whether the bar is met."""
    name, port, server = f"bench_nats_{os.getpid()}", product.free_port(), product.free_port()
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "nats.url": "embedded", "nats.port": server, "nats.folder": folder, "ports.mocopi": port, "ports.vmc": 0,
            "ports.phones": 0, "ports.bind": "127.0.0.1", "motion.low_latency": "on",
        }  # fmt: skip
        options = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        with product.running(name, ["--device", "null", *options]):
            result = asyncio.run(measure(f"nats://127.0.0.1:{server}", name, port, seconds))
    latencies, sent, count = result
    found = percentiles(latencies)
    print(f"datagram sent to params received over NATS, ms: {found} ({sent} frames sent, {count} messages)")
    line = bar("datagram to parameter over NATS, p99", found["p99"], "ms", "<=", P99_BAR_MS)
    print(line)
    return found["p99"] <= P99_BAR_MS and found["count"] > 0.8 * (seconds - WARM_S) * RATE_HZ


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seconds", type=float, default=30.0)
    arguments.add_argument("--send", type=int, default=0, help=argparse.SUPPRESS)
    chosen = arguments.parse_args()
    if chosen.send:
        print(json.dumps(send(chosen.send, chosen.seconds)))
    else:
        sys.exit(0 if main(chosen.seconds) else 1)
