"""What the audio device calls: one block, timed and counted, and the two native shells around it.

`portaudio_callback` goes to PortAudio as a C function pointer; `null_thread` is the body of a native thread that
does the same on absolute deadlines where there is no device. Neither ever enters the interpreter.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numba import carray, types

from echelon_engine._jit import callback, int64, kernel
from echelon_engine.atomics import load_acquire
from echelon_engine.clock import NS
from echelon_engine.memory import LOAD_BINS, LOAD_BINS_PER_PERIOD, SHARED
from echelon_engine.native import clock_ns, flush_denormals, pointer, sleep_until_ns, thread_id
from echelon_engine.process import process
from echelon_engine.state import ENGINE

PORTAUDIO_SIGNATURE = types.intc(
    types.voidptr,  # const void *input, NULL for output streams
    types.voidptr,  # void *output
    types.ulong,  # frames per buffer
    types.voidptr,  # const PaStreamCallbackTimeInfo *: three doubles, adc, current, dac
    types.ulong,  # PaStreamCallbackFlags
    types.voidptr,  # void *userData: the engine record
)
THREAD_SIGNATURE = types.voidptr(types.voidptr)
OUTPUT_UNDERFLOW = 4
RESYNC_PERIODS = 4  # a clock further off than this is set, not steered
SKIP_PERIODS = 4  # the null driver drops blocks it is later than this


@kernel
def run_block(out: Any, engine: Any, shared: Any, due_ns: int, dac_ns: int, flags: int) -> None:
    """Render one block into `out` (frames, channels) float32 and keep the counters.

    `due_ns` is when the device asked (its cycle start), `dac_ns` when the first sample is expected at the converter.
    """
    frames = out.shape[0]
    counters = shared.counters
    clock = engine.clock
    period_ns = frames * NS // clock.rate_hz
    begin_ns = clock_ns()
    flush_denormals()  # per thread, and some hosts change threads; 11 ns
    if engine.started == 0:
        engine.started = 1
        clock.origin_ns = due_ns - clock.sample * NS // clock.rate_hz
        if counters.start_ns == 0:
            counters.start_ns = due_ns  # once an engine: blocks missed while a process was replaced count as missed
        counters.thread_id = thread_id()

    # The sample clock against the system's: steered gently (time constant about 64 blocks), set after a break.
    error_ns = due_ns - (clock.origin_ns + clock.sample * NS // clock.rate_hz)
    if abs(error_ns) > RESYNC_PERIODS * period_ns:
        clock.origin_ns += error_ns
    else:
        clock.origin_ns += error_ns // 64
    engine.block_begin_ns = begin_ns
    engine.dac_offset_ns = dac_ns - due_ns

    process(out, engine, shared)

    end_ns = clock_ns()
    spent_ns = end_ns - begin_ns
    load = min(max(spent_ns * LOAD_BINS_PER_PERIOD // period_ns, 0), LOAD_BINS - 1)
    counters.block_histogram[load] += 1
    counters.block_ns_max = max(counters.block_ns_max, spent_ns)
    counters.overload_blocks += spent_ns > period_ns
    counters.late_blocks += end_ns > due_ns + period_ns
    counters.underruns += (flags & OUTPUT_UNDERFLOW) != 0
    counters.frames += frames
    counters.expected_blocks = (due_ns - counters.start_ns + period_ns // 2) // period_ns + 1
    counters.blocks += 1


def _portaudio_callback(
    _input: Any, output: Any, frame_count: int, time_info: Any, flags: int, user_data: Any
) -> int:  # pragma: no cover - runs natively
    """Serve a PaStreamCallback: render the block, never stop the stream."""
    engine = carray(user_data, (1,), ENGINE)[0]
    shared = carray(pointer(engine.shared_address), (1,), SHARED)[0]
    frames = int64(frame_count)
    out = carray(output, (frames, engine.channels), np.float32)
    times = carray(time_info, (3,), np.float64)
    now_ns = clock_ns()
    ahead_s = times[2] - times[1]  # some hosts leave these at zero or report nonsense
    dac_ns = now_ns + (int64(ahead_s * 1e9) if 0.0 < ahead_s < 2.0 else int64(0))
    run_block(out, engine, shared, now_ns, dac_ns, int64(flags))
    return 0


def _null_thread(user_data: Any) -> Any:  # pragma: no cover - runs natively
    """Call `run_block` every period until `engine.stop` is set: the device of machines without one."""
    engine = carray(user_data, (1,), ENGINE)[0]
    shared = carray(pointer(engine.shared_address), (1,), SHARED)[0]
    block = engine.block_frames
    out = carray(pointer(engine.null_out.ctypes.data), (block, engine.channels), np.float32)
    rate = engine.clock.rate_hz
    start_ns = clock_ns()
    count = 0
    while load_acquire(engine.stop.ctypes.data) == 0:
        due_ns = start_ns + count * block * NS // rate
        period_ns = block * NS // rate
        now_ns = clock_ns()
        if now_ns < due_ns:
            sleep_until_ns(due_ns)
            if clock_ns() < due_ns:
                continue
        elif now_ns - due_ns > SKIP_PERIODS * period_ns:
            count += (now_ns - due_ns) // period_ns
            continue
        run_block(out, engine, shared, due_ns, due_ns + period_ns, 0)
        count += 1
    return user_data


@cache
def portaudio_callback() -> Any:
    """Return the compiled PaStreamCallback; its `.address` goes to PortAudio."""
    return callback(PORTAUDIO_SIGNATURE)(_portaudio_callback)


@cache
def null_thread() -> Any:
    """Return the compiled body of the null driver's thread; its `.address` goes to pthread_create."""
    return callback(THREAD_SIGNATURE)(_null_thread)


def compile_shells() -> None:
    """Compile both shells; the symbols of all units must be known to the linker."""
    portaudio_callback()
    null_thread()
