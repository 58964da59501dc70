"""A grid played step by step: each cell read once, left to right, with a state per track.

`enter` begins a grid (or its second half), `read` reads the cells of one step and says what each track does. What is
struck is exactly what `echelon_models.music.events` says of the grid; lengths are those of the tokens, and a track's
next onset ends its last. Source: spec/music.md, "What a cell means".
"""

from __future__ import annotations

from typing import Any

import numpy as np

from echelon_engine._jit import kernel
from echelon_engine.vocabulary import DRUM_SOUND, STEPS, STEPS_PER_BAR, TRACKS

# Token ids, as echelon_models.music.tokens names them (a test holds both together).
FIRST_PITCH, FIRST_DRUM, FIRST_DYNAMICS, FIRST_ARTICULATION, FIRST_DURATION, FIRST_EFFECT = 1, 50, 58, 64, 68, 73
REPEAT, FILL, BREAK = 78, 79, 80
LOWEST_PITCH = 36  # MIDI note of FIRST_PITCH

VELOCITY = np.array([0.2, 0.35, 0.5, 0.65, 0.8, 1.0])
MF = 3
SIXTEENTHS = np.array([1.0, 2.0, 3.0, 4.0, 8.0])
LENGTH = np.array([1.0, 0.5, 1.1, 1.0, 1.0])  # by articulation: none, stac, legato, accent, ghost
GAIN = np.array([1.0, 1.0, 1.0, 1.25, 0.4])

SEQUENCER = np.dtype(
    [
        ("velocity", np.int64, (TRACKS,)),  # index into VELOCITY
        ("articulation", np.int64, (TRACKS,)),
        ("duration", np.int64, (TRACKS,)),  # index into SIXTEENTHS
        ("effects", np.int64, (TRACKS,)),  # bit 0..4: lpf hpf delay reverb dist
        ("last", np.int64, (TRACKS,)),  # token last struck, 0: none yet
        ("broken", np.int64, (TRACKS,)),  # 1: no onsets until the bar ends
        # what the step that was read last does, by track
        ("sound", np.int64, (TRACKS,)),  # 36..84 a pitch, 128..135 a drum, -1 nothing
        ("again", np.int64, (TRACKS,)),  # 1: once more, half a step later
    ],
    align=True,
)


@kernel
def enter(state: Any, cell: Any, step: int) -> None:
    """Begin the grid `cell` (12, 32) at `step` (0, or 16 for its second half): what stands before counts, silently."""
    for track in range(TRACKS):
        state.velocity[track] = MF
        state.articulation[track] = 0
        state.duration[track] = 0
        state.effects[track] = 0
        state.last[track] = 0
        state.broken[track] = 0
    for at in range(step):
        read(state, cell, at)
    for track in range(TRACKS):
        state.sound[track] = -1
        state.again[track] = 0


@kernel
def read(state: Any, cell: Any, step: int) -> None:
    """Read step 0..31 of the grid: write `sound` and `again` of every track. Ids beyond the vocabulary are rests."""
    for track in range(TRACKS):
        token = int(cell[track, step])
        if step % STEPS_PER_BAR == 0:
            state.broken[track] = 0
        state.sound[track] = -1
        state.again[track] = 0
        struck = 0
        if FIRST_PITCH <= token < FIRST_DYNAMICS:
            struck = token
        elif FIRST_DYNAMICS <= token < FIRST_ARTICULATION:
            state.velocity[track] = token - FIRST_DYNAMICS
        elif FIRST_ARTICULATION <= token < FIRST_DURATION:
            kind = token - FIRST_ARTICULATION + 1
            state.articulation[track] = 0 if state.articulation[track] == kind else kind
        elif FIRST_DURATION <= token < FIRST_EFFECT:
            state.duration[track] = token - FIRST_DURATION
        elif FIRST_EFFECT <= token < REPEAT:
            state.effects[track] ^= 1 << (token - FIRST_EFFECT)
        elif token in (REPEAT, FILL):
            struck = state.last[track]
        elif token == BREAK:
            state.broken[track] = 1
        if struck == 0 or state.broken[track] != 0:
            continue
        state.last[track] = struck
        state.again[track] = 1 if token == FILL else 0
        state.sound[track] = struck + (LOWEST_PITCH - FIRST_PITCH if struck < FIRST_DRUM else DRUM_SOUND - FIRST_DRUM)


@kernel
def velocity(state: Any, track: int) -> float:
    """Return the written velocity 0..1 of a track now."""
    return float(VELOCITY[state.velocity[track]])


@kernel
def gain(state: Any, track: int) -> float:
    """Return what an accent or a ghost note does to a track's level now."""
    return float(GAIN[state.articulation[track]])


@kernel
def sixteenths(state: Any, track: int) -> float:
    """Return how long an onset of a track sounds now, in sixteenths, unless the track's next ends it."""
    return float(SIXTEENTHS[state.duration[track]] * LENGTH[state.articulation[track]])


assert STEPS == 2 * STEPS_PER_BAR
