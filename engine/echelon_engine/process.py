"""One block: what happens at a control frame, what happens between two, and in which order.

The same `process` runs under the audio device, the null driver and the offline renderer. It reads and writes the
shared block through rings alone, and never allocates, locks, waits, raises or looks at a clock.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from echelon_engine._jit import kernel
from echelon_engine.clock import begin_control_frame, segment_frames, time_ns
from echelon_engine.control import control_frame
from echelon_engine.kernels import instrument, output
from echelon_engine.rings import push_sound
from echelon_engine.schedule import start_due


@kernel
def process(out: Any, engine: Any, shared: Any) -> None:
    """Render the next `len(out)` samples into `out` (frames, channels) float32, -1..1.

    `engine` is a record of `state.ENGINE`, `shared` one of `memory.SHARED`. Channels other than the two routed ones
    are zeroed.
    """
    clock = engine.clock
    frames = out.shape[0]
    done = 0
    while done < frames:
        if clock.sample == clock.next_control:
            now_ns = time_ns(clock)
            samples = begin_control_frame(clock, np.float64(engine.settings[0].tempo_bpm))
            control_frame(engine, shared, now_ns, samples)
        start_due(engine)
        n = segment_frames(clock, frames - done, engine.next_note)
        bus = engine.bus[:n]
        segment = engine.segment[:n]
        instrument.render(bus, engine.instrument)
        output.render(segment, bus, engine.output)
        route(out[done : done + n], segment, engine.settings[0])
        if engine.settings[0].record:
            push_sound(shared.sound, segment)
        clock.sample += n
        done += n


@kernel
def route(out: Any, segment: Any, settings: Any) -> None:
    """Put left and right of `segment` (n, 2) on the channels people chose; the others are silent."""
    left, right = settings.route[0], settings.route[1]
    channels = out.shape[1]
    for i in range(out.shape[0]):
        for channel in range(channels):
            out[i, channel] = np.float32(0.0)
        if 0 <= left < channels:
            out[i, left] += segment[i, 0]
        if 0 <= right < channels:
            out[i, right] += segment[i, 1]
