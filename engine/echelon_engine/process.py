"""One block: what happens at a control frame, what happens between two, and in which order.

The same `process` runs under the audio device, the null driver and the offline renderer. It reads and writes the
shared block through rings, lock-free buffers and its own counters, and never allocates, locks, waits or raises. It
looks at a clock only to time the control frame, and only when live.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from echelon_engine._jit import int64, kernel
from echelon_engine.clock import begin_control_frame, segment_frames, time_ns
from echelon_engine.memory import CONTROL_BIN_NS, CONTROL_BINS
from echelon_engine.native import address_of, clock_ns
from echelon_engine.rings import push_sound
from echelon_engine.script import LIVE, PLAYING, WAITING, commands_due, cue, next_kind
from echelon_engine.units import external

hear, think, play, report = external("hear"), external("think"), external("play"), external("report")
conduct, steps = external("conduct"), external("steps")
drums, pitched, mix = external("drums"), external("pitched"), external("mix")
start, voices, finish = external("start"), external("voices"), external("finish")


@kernel
def process(out: Any, engine: Any, shared: Any) -> None:
    """Render the next `len(out)` samples into `out` (frames, channels) float32, -1..1.

    `engine` is a record of `state.ENGINE`, `shared` one of `memory.SHARED`. Channels other than the two routed ones
    are zeroed.
    """
    clock = engine.clock
    here = address_of(engine)
    frames = out.shape[0]
    done = 0
    if engine.script == WAITING:
        if next_kind(shared.script) != 0:
            engine.script = PLAYING
        elif shared.header.scripted == 0:  # it does not come
            engine.script = LIVE
        else:
            out[:, :] = np.float32(0.0)
            return
    while done < frames:
        if engine.script == LIVE:
            control = clock.sample == clock.next_control or (done == 0 and hurried(engine, frames))
        else:
            control = cue(engine, shared)
        if control:
            begin_ns = clock_ns() if engine.started else int64(0)
            now_ns = time_ns(clock)
            samples = begin_control_frame(clock, engine.sequence.tempo.bpm)
            hear(here, now_ns, 0)
            think(here, now_ns, 0)
            play(here, samples, 0)
            conduct(here, samples, 0)
            report(here, now_ns, 0)
            if engine.started:
                spent_ns = clock_ns() - begin_ns
                counters = shared.counters
                counters.control_histogram[min(max(spent_ns // CONTROL_BIN_NS, 0), CONTROL_BINS - 1)] += 1
                counters.control_ns_max = max(counters.control_ns_max, spent_ns)
        # Commands are taken as a block begins; offline, where all have their times, with the control frames.
        if engine.script != LIVE:
            asking = int64(commands_due(engine, shared))
        else:
            asking = int64(done == 0 if engine.started else control)
        if asking or 0 <= engine.next_note <= clock.sample:
            start(here, asking, 0)
        if engine.sequence.next_sample <= clock.sample:
            steps(here, 0, 0)
        n = segment_frames(clock, frames - done, engine.next_note, engine.sequence.next_sample)
        voices(here, n, 0)
        drums(here, n, 0)
        pitched(here, n, 0)
        mix(here, n, 0)
        finish(here, n, 0)
        segment = engine.segment[:n]
        route(out[done : done + n], segment, engine.settings[0])
        if engine.settings[0].record:
            shared.counters.dropped_sound += push_sound(shared.sound, segment)
        clock.sample += n
        done += n


@kernel
def hurried(engine: Any, frames: int) -> bool:
    """Return whether a control frame due within the next `frames` samples is taken at their first one.

    Live and in low latency only: motion that is known when a block begins need not wait for its place in the block,
    5 ms on average at 512 frames. Everywhere else control frames keep their sample, whatever the block.
    """
    clock = engine.clock
    hurry = engine.started != 0 and engine.settings[0].low_latency != 0
    return bool(hurry and clock.next_control < clock.sample + frames)


@kernel
def route(out: Any, segment: Any, settings: Any) -> None:
    """Put left and right of `segment` (n, 2) on the channels people chose; the others are silent."""
    left, right = settings.route[0], settings.route[1]
    channels = out.shape[1]
    for i in range(out.shape[0]):
        for channel in range(channels):
            out[i, channel] = np.float32(0.0)
        if left == right and 0 <= left < channels:
            out[i, left] = segment[i, 0] + segment[i, 1]
            continue
        if 0 <= left < channels:
            out[i, left] = segment[i, 0]
        if 0 <= right < channels:
            out[i, right] = segment[i, 1]
