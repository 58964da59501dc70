"""Time: control frames on the sample clock, the engine's nanoseconds, and the musical clock.

Control frame k begins at sample floor(k rate / 60), or live in low latency with the block that holds it. Segments end
at control frames, at due notes and at multiples of 64 samples of the absolute sample clock: they come out the same for
every block size that is a multiple of 64, and so does the sound, bit for bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from echelon_engine._jit import inlined
from echelon_engine.memory import CONTROL_RATE_HZ
from echelon_engine.vocabulary import BEATS_PER_BAR

SEGMENT_FRAMES = 64
NS = 1_000_000_000

CLOCK = np.dtype(
    [
        ("rate_hz", np.int64),
        ("sample", np.int64),  # the next sample to be rendered
        ("frame", np.int64),  # the next control frame
        ("next_control", np.int64),  # its sample
        ("origin_ns", np.int64),  # engine time of sample 0; moves a little when live, constant offline
        ("beat", np.float64),  # beats since the start, at the last control frame
        ("tempo_bpm", np.float64),
        ("bar", np.int64),
        ("anchor_sample", np.int64),  # when the tempo became what it is ..
        ("anchor_beat", np.float64),  # .. and the beat at which that was
    ],
    align=True,
)


@inlined
def control_sample(frame: int, rate_hz: int) -> int:
    """Return the sample at which control frame `frame` begins."""
    return frame * rate_hz // CONTROL_RATE_HZ


@inlined
def time_ns(clock: Any) -> int:
    """Return the engine time of the next sample, nanoseconds."""
    return int(clock.origin_ns + clock.sample * NS // clock.rate_hz)


@inlined
def segment_frames(clock: Any, wanted: int, next_note: int, next_step: int) -> int:
    """Return how many samples may be rendered before the next cut, 1..64."""
    sample = clock.sample
    n = min(wanted, SEGMENT_FRAMES - sample % SEGMENT_FRAMES)
    n = min(n, clock.next_control - sample)
    if next_note > sample:
        n = min(n, next_note - sample)
    if next_step > sample:
        n = min(n, next_step - sample)
    return int(n)


@inlined
def begin_control_frame(clock: Any, tempo_bpm: float) -> int:
    """Advance to the next control frame; return the samples it lasts. From here on the tempo is the one asked for.

    The beat is counted in samples from where the tempo changed, so that a fixed tempo never drifts:

        beat = anchor_beat + (sample - anchor_sample) tempo / (60 rate)
    """
    samples = control_sample(clock.frame + 1, clock.rate_hz) - clock.next_control
    if clock.frame > 0:
        clock.beat = clock.anchor_beat + (clock.sample - clock.anchor_sample) * clock.tempo_bpm / (60 * clock.rate_hz)
    if tempo_bpm != clock.tempo_bpm and tempo_bpm > 0.0:
        clock.anchor_sample = clock.sample
        clock.anchor_beat = clock.beat
        clock.tempo_bpm = tempo_bpm
    clock.bar = np.int64(clock.beat / BEATS_PER_BAR)
    clock.frame += 1
    clock.next_control += samples
    return int(samples)


@inlined
def beat_sample(clock: Any, beat: float) -> int:
    """Return the sample nearest to a beat at the present tempo."""
    ahead = (beat - clock.anchor_beat) * (60 * clock.rate_hz) / clock.tempo_bpm
    return int(clock.anchor_sample + np.int64(np.floor(ahead + 0.5)))
