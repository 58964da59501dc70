"""Live jitter: the native callback against an ordinary Python callback, with the GIL fought for and the processor busy.

Each run is a process of its own: the engine on JACK's dummy driver or on the null driver, 8 s. `hog` is a loop of pure
Python with garbage collection in the same process, `load` means a busy program on every core besides. Blocks are
counted against the wall clock; jitter is how far the time between two blocks is off, from the stamps in the control
records (a block that brings a control frame: two of three).

    python benchmarks/jitter.py [--seconds 8]
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import jack
import numpy as np
import rig
from figures import bar, percentiles, text_table
from machine import stolen_share

BLOCK, RATE_HZ = 512, 48000
SETTLE_S = 0.5
RUNS = (
    ("Python callback, JACK", "python", ()),
    ("Python callback, JACK, hog", "python", ("hog",)),
    ("Python callback, JACK, hog + load", "python", ("hog", "load")),
    ("native callback, JACK", "native", ()),
    ("native callback, JACK, hog", "native", ("hog",)),
    ("native callback, JACK, hog + load", "native", ("hog", "load")),
    ("native callback, null driver, hog + load", "null", ("hog", "load")),
)


class PythonDriver:
    """What one would write first: a sounddevice stream whose Python callback calls the same compiled block."""

    def __init__(self, device: int, engine: Any, shared: Any) -> None:
        import sounddevice as sd

        from echelon_engine import units
        from echelon_engine.callback import run_block

        units.link()
        latency_ns = BLOCK * 1_000_000_000 // RATE_HZ

        def callback(out: Any, frames: int, _times: Any, flags: Any) -> None:
            now_ns = time.monotonic_ns()
            run_block(out, engine, shared, now_ns, now_ns + latency_ns, 4 if flags.output_underflow else 0)

        out = np.zeros((BLOCK, 2), np.float32)
        run_block(out, engine, shared, time.monotonic_ns(), 0, 0)  # compiles
        engine["started"] = 0
        shared["counters"]["start_ns"] = shared["counters"]["thread_id"] = 0
        self._stream = sd.OutputStream(
            samplerate=RATE_HZ,
            blocksize=BLOCK,
            device=device,
            channels=2,
            dtype="float32",
            latency="low",
            callback=callback,
        )

    def start(self) -> None:
        self._stream.start()

    def stop(self) -> None:
        self._stream.stop()
        self._stream.close()


def _driver(kind: str, engine: Any, shared: Any) -> Any:
    from echelon_engine.drivers import NullDriver, PortAudioDriver

    if kind == "null":
        return NullDriver(engine)
    os.environ.setdefault("JACK_NO_START_SERVER", "1")
    from echelon_bridges.devices import find_device

    index = find_device("JACK Audio Connection Kit: system").index
    assert index is not None
    return (
        PythonDriver(index, engine, shared) if kind == "python" else PortAudioDriver(index, engine, RATE_HZ, BLOCK, 2)
    )


def _fight(until: float) -> None:
    """Hold the GIL as ordinary Python programs do: loops, many small objects, collections."""
    while time.monotonic() < until:
        total = 0
        for i in range(100_000):
            total += i * i
        _ = [(i, i + 1) for i in range(200_000)]
        gc.collect()


def child(kind: str, seconds: float, hog: bool) -> dict[str, Any]:
    """Play for `seconds` in this process and return what was counted, JSON-ready."""
    from echelon_engine import rings
    from echelon_engine.drivers import ask_for_priority
    from echelon_engine.memory import CONTROL, LIMB_FRAME

    engine, shared = rig.engine_for(BLOCK)
    notes = rig.notes_for(rig.STRIKE_EVERY_S)
    for i in range(len(notes)):
        rings.push(shared["commands"][1], notes[i : i + 1])
    frames: Any = rig.frames_of_dancer(seconds + 2)[: len(shared["frames"][0]["item"])]
    assert frames.dtype == LIMB_FRAME
    driver = _driver(kind, engine, shared)
    counters = shared["counters"]
    driver.start()
    try:
        while counters["thread_id"] == 0:
            time.sleep(0.002)
        frames["time_ns"] += int(counters["start_ns"])
        for i in range(len(frames)):
            rings.push(shared["frames"][0], frames[i : i + 1])
        refused = ask_for_priority(int(counters["thread_id"]), rig.PRIORITY)
        time.sleep(SETTLE_S)
        rings.discard(shared["records"])
        first = {name: int(counters[name]) for name in ("blocks", "underruns", "late_blocks")}
        begin = time.monotonic()
        with stolen_share() as stolen:
            if hog:
                _fight(begin + seconds)
            else:
                time.sleep(seconds)
        found = {name: int(counters[name]) - before for name, before in first.items()}
        found["expected_blocks"] = round((time.monotonic() - begin) * RATE_HZ / BLOCK)
    finally:
        driver.stop()
    record = np.zeros(1, CONTROL)
    stamps = []
    while rings.pop(record, shared["records"]):
        stamps.append((int(record[0]["sample"]) // BLOCK, int(record[0]["block_begin_ns"])))
    apart = np.diff(np.array(stamps), axis=0)
    apart = apart[apart[:, 0] > 0]
    jitter_us = np.abs(apart[:, 1] - apart[:, 0] * BLOCK * 1e9 / RATE_HZ) / 1e3
    return {**found, "jitter_us": percentiles(jitter_us, 1), "priority_refused": refused, "machine": stolen.found}


@contextlib.contextmanager
def _busy(wanted: bool) -> Iterator[None]:
    """Keep every core busy with other processes."""
    processes: list[subprocess.Popen[bytes]] = []
    cores = os.cpu_count() or 1
    if wanted and shutil.which("stress-ng"):
        processes.append(subprocess.Popen(["stress-ng", "--cpu", str(cores), "--quiet"], stdout=subprocess.DEVNULL))
    elif wanted:
        processes += [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(cores)]
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
            process.wait()


def measure(seconds: float = 8.0) -> dict[str, Any]:
    """Return blocks, underruns and jitter of every run; without JACK only the null driver's."""
    missing = jack.available()
    figures: dict[str, Any] = {}
    for name, kind, with_ in RUNS:
        if missing and kind != "null":
            continue
        with contextlib.ExitStack() as stack:
            environment, log = dict(os.environ), None
            if kind != "null":
                served = stack.enter_context(jack.server(RATE_HZ, BLOCK))
                environment, log = served["environment"], served["log"]
            stack.enter_context(_busy("load" in with_))
            command = [
                sys.executable,
                __file__,
                "--child",
                kind,
                "--seconds",
                str(seconds),
                *(["--hog"] if "hog" in with_ else []),
            ]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120 + 10 * seconds)
            if done.returncode != 0:
                figures[name] = {"error": done.stderr.strip().splitlines()[-1:]}
                continue
            figures[name] = json.loads(done.stdout.splitlines()[-1])
            if log is not None:
                figures[name]["server_xruns"] = jack.xruns(log)
    bars = []
    for name in (
        "native callback, JACK, hog",
        "native callback, JACK, hog + load",
        "native callback, null driver, hog + load",
    ):
        if name in figures and "blocks" in figures[name]:
            share = abs(figures[name]["blocks"] / figures[name]["expected_blocks"] - 1)
            bars.append(bar(f"{name}: blocks off the clock", round(100 * share, 2), "%", "<=", 1.0))
    return {"figures": figures, "skipped": missing, "bars": bars}


def table(result: dict[str, Any]) -> str:
    """Return the figures of `measure` for reading."""
    rows = []
    for name, found in result["figures"].items():
        if "error" in found:
            rows.append([name, str(found["error"]), *[""] * 8])
            continue
        us = found["jitter_us"]
        rows.append(
            [name, f"{found['blocks']}/{found['expected_blocks']}", found["underruns"], found["late_blocks"],
             found.get("server_xruns", "-"), us["p50"], us["p99"], us["p99.9"], us["max"],
             found["machine"]["stolen_percent"]]
        )  # fmt: skip
    head = [
        "",
        "blocks/expected",
        "underruns",
        "late",
        "server xruns",
        "jitter us p50",
        "p99",
        "p99.9",
        "max",
        "stolen %",
    ]
    note = f"\nwithout JACK: {result['skipped']}" if result["skipped"] else ""
    return text_table(head, rows) + note


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--child", choices=("python", "native", "null"), help=argparse.SUPPRESS)
    parser.add_argument("--hog", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        print(json.dumps(child(chosen.child, chosen.seconds, chosen.hog)))
    else:
        everything = measure(chosen.seconds)
        print(table(everything), json.dumps(everything["bars"], indent=1), sep="\n")
