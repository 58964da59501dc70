"""Notes that wait for their sample: commands stamped with a time start exactly then."""

from __future__ import annotations

from typing import Any

import numpy as np

from echelon_engine._jit import int64, kernel
from echelon_engine.clock import NS, time_ns
from echelon_engine.kernels import instrument, tempo
from echelon_engine.kernels.finite import finite_number
from echelon_engine.memory import CONTROL_RATE_HZ, NOTE_OFF, NOTE_ON, PRODUCERS, TEMPO, TOOK_COMMAND
from echelon_engine.records import copy
from echelon_engine.rings import pop, push
from echelon_engine.script import LIVE, commands_due

# A note that waits. `waiting` 0: the slot is free.
PENDING = np.dtype(
    [
        ("sample", np.int64),
        ("key", np.int64),
        ("waiting", np.int64),
        ("kind", np.int64),
        ("pitch", np.float64),
        ("velocity", np.float64),
        ("pan", np.float64),
    ],
    align=True,
)
PENDING_NOTES = 64
LONGEST_WAIT_S = 10
MINUTE_S = 60.0
LOWEST_NOTE, HIGHEST_NOTE = 12.0, 120.0
OCTAVE = 12.0


@kernel
def take_commands(engine: Any, shared: Any) -> None:
    """Move what the producers asked for into the schedule; what finds no free slot waits in its ring."""
    clock = engine.clock
    free = int64(0)
    if engine.script != LIVE:
        while commands_due(engine, shared):
            free = free_place(engine, free)
            pop(engine.input, shared.script)
            copy(engine.command[0], engine.input[0].command)
            if engine.command[0].kind == TEMPO:
                follow(engine)
            elif free < PENDING_NOTES:
                wait(engine, free, int64(engine.command[0].time_ns))  # a session holds samples
        return
    for producer in range(PRODUCERS):
        while True:
            free = free_place(engine, free)
            if free == PENDING_NOTES or not pop(engine.command, shared.commands[producer]):
                break
            command = engine.command[0]
            sample = due(clock, command)
            if command.kind == TEMPO:
                bring_up(clock, command)
                follow(engine)
            elif command.kind == NOTE_ON or command.kind == NOTE_OFF:
                wait(engine, free, sample)
            else:
                continue
            if engine.settings[0].log:
                command.time_ns = sample
                copy(engine.input[0].command, command)
                took(engine, shared, int64(TOOK_COMMAND))


@kernel
def due(clock: Any, command: Any) -> int:
    """Return the sample at which a command is to be done: now, or within the longest wait."""
    if command.time_ns <= 0:
        return int(clock.sample)
    seconds = np.float64(command.time_ns - clock.origin_ns) / NS
    sample = max(clock.sample, int64(seconds * clock.rate_hz + 0.5))
    return int(min(sample, clock.sample + LONGEST_WAIT_S * clock.rate_hz))


@kernel
def bring_up(clock: Any, command: Any) -> None:
    """Bring the phase of an external clock to the last control frame: the next one counts on from there."""
    frame_ns = clock.origin_ns + (clock.next_control - clock.rate_hz // CONTROL_RATE_HZ) * NS // clock.rate_hz
    late_s = np.float64(frame_ns - command.time_ns) / NS if command.time_ns > 0 else 0.0
    phase = np.float64(command.value[1]) + late_s * np.float64(command.value[0]) / MINUTE_S
    command.value[1] = phase - np.floor(phase)


@kernel
def free_place(engine: Any, place: int) -> int:
    """Return the first free place of the schedule from `place` on, PENDING_NOTES without one."""
    while place < PENDING_NOTES and engine.pending[place].waiting:
        place += 1
    return place


@kernel
def follow(engine: Any) -> None:
    """Take what an external clock says in `engine.command[0]`."""
    said = engine.command[0].value
    tempo.heard(engine.sequence.tempo, np.float64(said[0]), np.float64(said[1]))


@kernel
def wait(engine: Any, place: int, sample: int) -> None:
    """Put `engine.command[0]` into the free place of the schedule, to be done at `sample`."""
    command, slot = engine.command[0], engine.pending[place]
    slot.sample = sample
    slot.key = command.key
    slot.kind = command.kind
    slot.pitch = command.value[0]
    slot.velocity = command.value[1]
    slot.pan = command.value[2]
    slot.waiting = 1
    if engine.next_note < 0 or sample < engine.next_note:
        engine.next_note = sample


@kernel
def took(engine: Any, shared: Any, kind: int) -> None:
    """Log `engine.input[0]`, whose field of this kind the caller has filled."""
    record = engine.input[0]
    record.epoch = engine.epoch
    record.frame = engine.clock.frame - 1
    record.sample = engine.clock.sample
    record.kind = kind
    if not push(shared.inputs, engine.input):
        shared.counters.dropped_inputs += 1


@kernel
def sound(
    engine: Any, shared: Any, kind: int, key: int, pitch: float, velocity: float, pan: float, source: int
) -> None:
    """Start or end a note at the current sample and report it. Values that are not finite are refused."""
    if kind == NOTE_OFF:
        instrument.note_off(engine.instrument, int64(key))
        tell(engine, shared, kind, key, pitch, velocity, pan, source)
    elif finite_number(pitch) and finite_number(velocity) and finite_number(pan) and velocity > 0.0:
        engine.onsets += 1
        pitch = min(max(np.float64(pitch), -OCTAVE), HIGHEST_NOTE + 2.0 * OCTAVE)
        while pitch < LOWEST_NOTE:  # folded by octaves, so that it stays in its scale
            pitch += OCTAVE
        while pitch > HIGHEST_NOTE:
            pitch -= OCTAVE
        velocity = min(np.float64(velocity), 1.0)
        pan = min(max(np.float64(pan), -1.0), 1.0)
        instrument.note_on(engine.instrument, int64(key), pitch, velocity, pan)
        tell(engine, shared, kind, key, pitch, velocity, pan, source)


@kernel
def tell(engine: Any, shared: Any, kind: int, key: int, pitch: float, velocity: float, pan: float, source: int) -> None:
    """Append an EVENT (NOTE_ON, NOTE_OFF, ALL_OFF) for whoever looks on."""
    event, clock = engine.event[0], engine.clock
    event.epoch = engine.epoch
    event.frame = clock.frame - 1
    event.sample = clock.sample
    event.time_ns = time_ns(clock)
    event.kind = kind
    event.key = key
    event.pitch = pitch
    event.velocity = velocity
    event.pan = pan
    event.source = source
    if not push(shared.events, engine.event):
        shared.counters.dropped_events += 1


@kernel
def start_due(engine: Any, shared: Any) -> None:
    """Start every note whose sample has come, in the order of the slots."""
    following = int64(-1)
    for i in range(PENDING_NOTES):
        slot = engine.pending[i]
        if slot.waiting == 0:
            continue
        if slot.sample <= engine.clock.sample:
            slot.waiting = 0
            engine.external = 1.0
            engine.held_keys = max(engine.held_keys + (1 if slot.kind == NOTE_ON else -1), 0)
            sound(engine, shared, slot.kind, slot.key, slot.pitch, slot.velocity, slot.pan, int64(1))
        elif following < 0 or slot.sample < following:
            following = slot.sample
    engine.next_note = following


@kernel
def clear(engine: Any) -> None:
    """Forget every note that waits."""
    for i in range(PENDING_NOTES):
        engine.pending[i].waiting = 0
    engine.next_note = -1
    engine.held_keys = 0
