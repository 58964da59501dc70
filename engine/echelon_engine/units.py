"""The parts of `process` that are compiled apart, as C functions that it calls by symbol.

Each unit is compiled once, in its own time: a cold start compiles them side by side in several processes
(`python -m echelon_engine.units NAME` does one), and none is optimised again inside its callers.
"""

from __future__ import annotations

import gc
import importlib
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import llvmlite.binding as llvm
from numba import carray, types

from echelon_engine._jit import CACHE_DIR, callback
from echelon_engine.control import hear, play, report, think
from echelon_engine.kernels import instrument, output
from echelon_engine.memory import SHARED
from echelon_engine.native import pointer
from echelon_engine.schedule import start_due
from echelon_engine.state import ENGINE

# Every unit takes the engine record and two integers, whatever it needs of them.
SIGNATURE = types.void(types.voidptr, types.int64, types.int64)


def _hear(engine_data: Any, now_ns: int, _unused: int) -> None:
    engine = carray(engine_data, (1,), ENGINE)[0]
    hear(engine, carray(pointer(engine.shared_address), (1,), SHARED)[0], now_ns)


def _think(engine_data: Any, _first: int, _second: int) -> None:
    think(carray(engine_data, (1,), ENGINE)[0])


def _play(engine_data: Any, samples: int, _unused: int) -> None:
    engine = carray(engine_data, (1,), ENGINE)[0]
    play(engine, carray(pointer(engine.shared_address), (1,), SHARED)[0], samples)


def _report(engine_data: Any, now_ns: int, _unused: int) -> None:
    engine = carray(engine_data, (1,), ENGINE)[0]
    report(engine, carray(pointer(engine.shared_address), (1,), SHARED)[0], now_ns)


def _start(engine_data: Any, _first: int, _second: int) -> None:
    start_due(carray(engine_data, (1,), ENGINE)[0])


def _voices(engine_data: Any, frames: int, _unused: int) -> None:
    engine = carray(engine_data, (1,), ENGINE)[0]
    instrument.render(engine.bus[:frames], engine.instrument)


def _finish(engine_data: Any, frames: int, _unused: int) -> None:
    engine = carray(engine_data, (1,), ENGINE)[0]
    output.render(engine.segment[:frames], engine.bus[:frames], engine.output)


UNITS: dict[str, Callable[..., None]] = {
    "hear": _hear,
    "think": _think,
    "play": _play,
    "start": _start,
    "report": _report,
    "voices": _voices,
    "finish": _finish,
}


# What one process of a cold start compiles, the longest first; units that share kernels go together.
JOBS: tuple[tuple[str, ...], ...] = (
    ("think",),
    ("voices",),
    ("hear",),
    ("play", "start"),
    ("finish",),
    ("report", "shells"),
)


@cache
def compiled(name: str) -> Any:
    """Return the compiled C function of a unit, from the cache where it is there."""
    return callback(SIGNATURE)(UNITS[name])


def symbol(name: str) -> str:
    """Return the linker's name of a unit."""
    return f"echelon_{name}"


def link() -> None:
    """Bind every unit's symbol to its code. Whatever calls `process` does this first."""
    for name in UNITS:
        llvm.add_symbol(symbol(name), compiled(name).address)


def external(name: str) -> Any:
    """Return what compiled code calls: the unit by its symbol."""
    return types.ExternalFunction(symbol(name), SIGNATURE)


def is_cold() -> bool:
    """Return whether this version has never been compiled on this machine."""
    return not any(CACHE_DIR.glob("*/callback._portaudio_callback-*.nbc"))


def compile_cold(jobs: int) -> None:
    """Compile everything in up to `jobs` processes at a time; does nothing where the cache is there."""
    if not is_cold():
        return
    waiting, running = list(JOBS), list[subprocess.Popen[bytes]]()
    while waiting or running:
        while waiting and len(running) < jobs:
            command = [sys.executable, "-P", "-m", "echelon_engine.units", *waiting.pop(0)]
            running.append(subprocess.Popen(command))
        finished = next((child for child in running if child.poll() is not None), None)
        if finished is None:
            time.sleep(0.05)
        else:
            running.remove(finished)


def _compile(name: str) -> None:
    """Compile one unit, or the shells: those only need to know that the units' symbols will exist."""
    if name != "shells":
        compiled(name)
        return
    for unit in UNITS:
        llvm.add_symbol(symbol(unit), 1)
    importlib.import_module("echelon_engine.callback").compile_shells()


if __name__ == "__main__":
    gc.disable()  # nothing is freed before the end, and collecting takes a tenth of the time
    for job in sys.argv[1:]:
        _compile(job)
