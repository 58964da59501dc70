"""What a server's faults cost: `python benchmarks/nats_faults.py [--stopped 30] [--seconds 60]`.

A real nats-server is stopped, killed and restarted while an outlet publishes at 60 Hz from a thread that does nothing
else. Printed: the longest call of that thread, gaps, how old what arrives is, whether each bar is stored once and in
order; then the share of a core that publishing takes in either encoding, beside the bare encoding.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from engines import wait_for
from nats_rig import Server, Stage, client, controls, run, stored_ids

from echelon_bridges.messages import build, encoding

BAR_FRAMES = 30


def threads_cpu_s() -> dict[str, float]:
    """Return CPU seconds of this process's threads by name (Linux)."""
    found: dict[str, float] = {}
    for task in Path("/proc/self/task").iterdir():
        words = (task / "stat").read_text().rsplit(")", 1)[1].split()
        known = {str(thread.native_id): thread.name for thread in threading.enumerate()}
        name = known.get(task.name, "other")
        found[name] = found.get(name, 0.0) + (int(words[11]) + int(words[12])) / 100.0
    return found


async def through_faults(server: Server, stage: Stage, stopped_s: float) -> dict[str, Any]:
    """Stop, continue, kill and restart the server while it plays; return what a consumer saw."""
    numbers: list[int] = []
    ages_ms: list[float] = []

    async def heard(message: Any) -> None:
        params = json.loads(message.data)
        numbers.append(params["sequence"])
        ages_ms.append((time.monotonic_ns() - params["monotonic_ns"]) / 1e6)

    async def listen(seconds: float) -> None:
        async with client(server.url, ping_interval=3600) as connection:
            await connection.subscribe("echelon.echelon.params", cb=heard)
            await asyncio.sleep(seconds)

    await listen(5.0)
    print(f"undisturbed: {len(numbers)} params in 5 s, age p50 {sorted(ages_ms)[len(ages_ms) // 2]:.2f} ms, "
          f"max {max(ages_ms):.2f} ms")  # fmt: skip
    async with client(server.url, ping_interval=3600) as connection:
        numbers.clear(), ages_ms.clear()
        await connection.subscribe("echelon.echelon.params", cb=heard)
        await asyncio.sleep(1.0)
        server.signal(signal.SIGSTOP)
        await asyncio.sleep(stopped_s)
        server.signal(signal.SIGCONT)
        await asyncio.sleep(10.0)
        missing = sum(b - a - 1 for a, b in itertools.pairwise(numbers))
        print(f"stopped for {stopped_s:g} s: {missing} params not sent, {sum(age > 1000 for age in ages_ms)} arrived "
              f"over a second old, the last {ages_ms[-1]:.1f} ms old")  # fmt: skip
    for _ in range(2):
        server.signal(signal.SIGKILL)
        await asyncio.sleep(3.0)
        server.start()
        await asyncio.sleep(3.0)
    return {"connections": stage.outlet.report()["connections"]}


def faults(stopped_s: float) -> bool:
    """Run the faults and return whether everything held."""
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        stage = Stage(url=server.url)
        try:
            wait_for(stage.connected, "the connection")
            stage.play(bar_frames=BAR_FRAMES)
            run(lambda: through_faults(server, stage, stopped_s), stopped_s + 120)
            closing = stage.close()
            report = stage.outlet.report()

            async def ids() -> list[str]:
                async with client(server.url) as connection:
                    return await stored_ids(connection)

            stored = run(ids)
            whole = stored == [f"s-1-{bar}" for bar in range(len(stored))] and report["bars_waiting"] == 0
            print(f"bars: {len(stored)} stored, each once and in order: {whole}")
            print(f"{report['gaps']['params']} gaps counted; {report['connections']} connections")
            print(f"longest offer {stage.longest_s * 1e3:.2f} ms, close {closing:.2f} s")
            for _, text in stage.said:
                print(f"  said: {text}")
        finally:
            server.close()
        return whole


def cpu(seconds: float) -> None:
    """Print the share of a core that publishing takes."""
    for kind in ("json", "msgpack"):
        with tempfile.TemporaryDirectory() as folder:
            server = Server(Path(folder))
            stage = Stage(url=server.url, encoding=kind)
            try:
                wait_for(stage.connected, "the connection")
                stage.play()
                time.sleep(1.0)
                before = threads_cpu_s()
                time.sleep(seconds)
                after = threads_cpu_s()
                share = {name: (after[name] - before.get(name, 0.0)) / seconds for name in after}
                feeder = sum(value for name, value in share.items() if "feed" in name)
                sizes = _sizes(kind)
                print(f"{kind}: params, state, health at 60 Hz: {share.get('nats', 0.0):.1%} of a core in the outlet's "
                      f"thread, {feeder:.1%} in the feeding one; params {sizes[0]} B, state {sizes[1]} B; "
                      f"making and encoding both {sizes[2]:.0f} us")  # fmt: skip
            finally:
                stage.close()
                server.close()


def _sizes(kind: encoding.Name) -> tuple[int, int, float]:
    record, made = controls(100, 1)[0], build.Stamp("echelon", 1000, time.monotonic_ns(), time.time())
    record["position"], record["latent"] = 0.123456, 1.234567
    began = time.perf_counter()
    for _ in range(500):
        params = encoding.encode(build.params(record, made), kind)
        state = encoding.encode(build.state(record, made), kind)
    return len(params), len(state), (time.perf_counter() - began) / 500 * 1e6


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--stopped", type=float, default=30.0, help="seconds for which the server is stopped")
    arguments.add_argument("--seconds", type=float, default=20.0, help="seconds of each measurement of CPU")
    chosen = arguments.parse_args()
    cpu(chosen.seconds)
    sys.exit(0 if faults(chosen.stopped) else 1)
