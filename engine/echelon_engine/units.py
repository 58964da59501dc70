"""The parts of `process` that are compiled apart, as C functions that it calls by symbol.

Each unit is compiled once, and none again inside its callers: `compile_cold` lets several processes (unit_compiler.py)
do it side by side. Whoever calls `process` calls `link` first, which does that where it has not been done.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from functools import cache
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from numba import carray, types

from echelon_engine._jit import CACHE_DIR, callback, forget_old_caches
from echelon_engine.control import hear, play, report, think
from echelon_engine.errors import UserError
from echelon_engine.kernels import ensemble, instrument, output
from echelon_engine.memory import SHARED
from echelon_engine.native import pointer
from echelon_engine.schedule import start_due, take_commands
from echelon_engine.sequence import conduct as conduct_band
from echelon_engine.sequence import play_steps
from echelon_engine.state import ENGINE

# Every unit takes the engine record, an integer, and a spare one.
SIGNATURE = types.void(types.voidptr, types.int64, types.int64)


def _hear(engine_data: Any, now_ns: int, _unused: int) -> None:
    engine = carray(engine_data, (1,), ENGINE)[0]
    hear(engine, carray(pointer(engine.shared_address), (1,), SHARED)[0], now_ns)


def _think(engine_data: Any, now_ns: int, _unused: int) -> None:
    think(carray(engine_data, (1,), ENGINE)[0], now_ns)


def _play(engine_data: Any, samples: int, _unused: int) -> None:
    engine = carray(engine_data, (1,), ENGINE)[0]
    play(engine, carray(pointer(engine.shared_address), (1,), SHARED)[0], samples)


def _report(engine_data: Any, now_ns: int, _unused: int) -> None:
    engine = carray(engine_data, (1,), ENGINE)[0]
    report(engine, carray(pointer(engine.shared_address), (1,), SHARED)[0], now_ns)


def _start(engine_data: Any, asking: int, _unused: int) -> None:
    engine = carray(engine_data, (1,), ENGINE)[0]
    shared = carray(pointer(engine.shared_address), (1,), SHARED)[0]
    if asking:
        take_commands(engine, shared)
    start_due(engine, shared)


def _voices(engine_data: Any, frames: int, _unused: int) -> None:
    engine = carray(engine_data, (1,), ENGINE)[0]
    instrument.render(engine.bus[:frames], engine.instrument)


def _conduct(engine_data: Any, samples: int, _unused: int) -> None:
    conduct_band(carray(engine_data, (1,), ENGINE)[0], samples)


def _steps(engine_data: Any, _frames: int, _unused: int) -> None:
    play_steps(carray(engine_data, (1,), ENGINE)[0])


def _drums(engine_data: Any, frames: int, _unused: int) -> None:
    ensemble.drum_lines(carray(engine_data, (1,), ENGINE)[0].ensemble, frames)


def _pitched(engine_data: Any, frames: int, _unused: int) -> None:
    ensemble.pitched_lines(carray(engine_data, (1,), ENGINE)[0].ensemble, frames)


def _mix(engine_data: Any, frames: int, _unused: int) -> None:
    engine = carray(engine_data, (1,), ENGINE)[0]
    ensemble.mix(engine.band[:frames], engine.ensemble)


def _finish(engine_data: Any, frames: int, _unused: int) -> None:
    engine = carray(engine_data, (1,), ENGINE)[0]
    output.render(engine.segment[:frames], engine.bus[:frames], engine.band[:frames], engine.output)


def _prepare(engine_data: Any, rate_hz: int, _unused: int) -> None:
    engine = carray(engine_data, (1,), ENGINE)[0]
    instrument.init(engine.instrument, np.float64(rate_hz))
    ensemble.init(engine.ensemble, np.float64(rate_hz))
    output.init(engine.output, np.float64(rate_hz))


UNITS: dict[str, Callable[..., None]] = {
    "hear": _hear,
    "think": _think,
    "play": _play,
    "start": _start,
    "report": _report,
    "conduct": _conduct,
    "steps": _steps,
    "voices": _voices,
    "drums": _drums,
    "pitched": _pitched,
    "mix": _mix,
    "finish": _finish,
    "prepare": _prepare,
}


# Everything to compile, the longest first, and the function whose presence in the cache says that it is there.
JOBS: dict[str, str] = {
    "think": "units._think",
    "hear": "units._hear",
    "voices": "units._voices",
    "play": "units._play",
    "mix": "units._mix",
    "pitched": "units._pitched",
    "steps": "units._steps",
    "conduct": "units._conduct",
    "finish": "units._finish",
    "shells": "callback._null_thread",
    "drums": "units._drums",
    "report": "units._report",
    "prepare": "units._prepare",
    "start": "units._start",
}
Progress = Callable[[str, int, int], None]


@cache
def compiled(name: str) -> Any:
    """Return the compiled C function of a unit, from the cache where it is there."""
    return callback(SIGNATURE)(UNITS[name])


def symbol(name: str) -> str:
    """Return the linker's name of a unit."""
    return f"echelon_{name}"


def link() -> None:
    """Bind every unit's symbol to its code, compiled now if need be. Whatever calls `process` does this first."""
    compile_cold()
    for name in UNITS:
        llvm.add_symbol(symbol(name), compiled(name).address)


def external(name: str) -> Any:
    """Return what compiled code calls: the unit by its symbol."""
    return types.ExternalFunction(symbol(name), SIGNATURE)


def missing() -> list[str]:
    """Return the jobs that this version has never done on this machine, the longest first."""
    return [name for name, function in JOBS.items() if not any(CACHE_DIR.glob(f"*/{function}-*.nbc"))]


def compile_here(name: str) -> None:
    """Compile one job in this process: a unit, or the shells, for which the units' symbols only need to exist."""
    if name != "shells":
        compiled(name)
        return
    for unit in UNITS:
        llvm.add_symbol(symbol(unit), 1)
    importlib.import_module("echelon_engine.callback").compile_shells()


def compile_cold(jobs: int | None = None, on_progress: Progress | None = None) -> list[str]:
    """Compile what is missing in `jobs` processes at a time (default: one a core); at once when nothing is.

    Return the jobs that the quick compiler refused, so that they took twice as long. `on_progress` gets the job's name,
    its number from 1 and how many there are, as each begins. Raises `UserError` with what Numba said when a job fails.
    Where the cache cannot be written it does nothing: the caller compiles.
    """
    waiting = missing()
    if not waiting:
        return []
    try:
        CACHE_DIR.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=CACHE_DIR).close()
    except OSError:
        return []
    todo: queue.SimpleQueue[str] = queue.SimpleQueue()
    slow: list[str] = []
    told: queue.SimpleQueue[tuple[str, str | None]] = queue.SimpleQueue()
    for name in waiting:
        todo.put(name)
    workers = min(jobs or os.cpu_count() or 1, len(waiting))
    for _ in range(workers):
        threading.Thread(target=_work, args=(todo, told, slow), name="compile", daemon=True).start()
    begun = 0
    while workers:
        name, failure = told.get()
        if failure is not None:
            raise UserError(f"compiling {name}", failure, "see `echelon-engine doctor`")
        if not name:
            workers -= 1
            continue
        begun += 1
        if on_progress is not None:
            on_progress(name, begun, len(waiting))
    forget_old_caches()
    return slow


def _work(todo: queue.SimpleQueue[str], told: queue.SimpleQueue[tuple[str, str | None]], slow: list[str]) -> None:
    """Do jobs until none is left; tell each one's name as it begins, what went wrong if it fails, and "" at the end.

    The process that serves the thread ends with its standard input: also when this one is killed.
    """
    python = [sys.executable, "-P", "-m"]
    quiet: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    try:
        worker = subprocess.Popen([*python, "echelon_engine.unit_compiler"], stderr=subprocess.DEVNULL, **quiet)
    except OSError as error:
        told.put(("a unit", f"no process can be begun: {error}"))
        return
    try:
        while True:
            try:
                name = todo.get_nowait()
            except queue.Empty:
                break
            told.put((name, None))
            if _compiled_by(worker, name):
                continue
            # Another Numba, perhaps, or it was killed, or a kernel returns an array: the plain way takes twice as long.
            slow.append(name)
            plain = subprocess.run([*python, "echelon_engine.units", name], capture_output=True, text=True)
            if plain.returncode != 0:
                said = plain.stderr.strip() or f"the compiler ended with code {plain.returncode}"
                told.put((name, said.splitlines()[-1]))
                return
    finally:
        worker.kill()
        with contextlib.suppress(OSError):
            worker.communicate()
    told.put(("", None))


def _compiled_by(worker: subprocess.Popen[str], name: str) -> bool:
    """Let the process compile one job; False when it has not."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    try:
        worker.stdin.write(f"{name}\n")
        worker.stdin.flush()
        return bool(worker.stdout.readline())
    except OSError:
        return False


if __name__ == "__main__":
    compile_here(sys.argv[1])
