"""One control frame, 60 a second, in four steps: hear the body, think, play, and report.

`process` calls them in this order through `units`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from echelon_engine._jit import kernel
from echelon_engine.kernels import (
    commitment,
    dell_coupled,
    dell_gated,
    hands,
    instrument,
    lanes,
    latent,
    lim_rps,
    machine,
    motion,
    notes,
    output,
)
from echelon_engine.memory import CONTROL_RATE_HZ, PERFORMERS
from echelon_engine.rings import discard, pop, push, take, write_snapshot
from echelon_engine.schedule import sound, take_commands

DT = 1.0 / CONTROL_RATE_HZ
SLOW_EVERY = 24  # control frames between two boundaries of DELL coupled
# What `flags` of a control record say.
FROZEN, HELD, MUTED, PRESENT = 1, 2, 4, 8


@kernel
def hear(engine: Any, shared: Any, now_ns: int) -> None:
    """Take settings and commands, and bring the body to `now_ns`: pop what is due, interpolate, derive speeds and x."""
    take(engine.settings, shared.settings)
    settings = engine.settings[0]
    take_commands(engine, shared)
    body = engine.motion
    focus = min(max(np.int64(settings.focus), 0), PERFORMERS - 1)
    if focus != engine.performer:
        engine.performer = focus
        motion.forget(body)
    for performer in range(PERFORMERS):
        if performer != focus:
            discard(shared.frames[performer])
    delay_ns = np.int64(0) if settings.low_latency else np.int64(settings.motion_delay_ms * 1e6)
    target_ns = now_ns - delay_ns
    while motion.wants(body, target_ns) and pop(engine.frame, shared.frames[focus]):
        motion.offer(body, engine.frame[0])
        shared.counters.motion_frames += 1
    take(engine.devices, shared.devices)
    motion.advance(body, target_ns, settings.freeze != 0, DT)
    scale = np.float64(settings.velocity_scale)
    hands.hands(body, scale, DT)
    hands.devices_in_hands(body, engine.devices[0], scale, now_ns, DT)


@kernel
def think(engine: Any) -> None:
    """Run commitment, state machine and the three networks; in Idle their states are frozen."""
    body, state = engine.motion, engine.machine
    measured = body.moved != 0
    commitment.step(engine.commitment, np.float64(body.energy), measured)
    rhythm = engine.commitment
    machine.step(
        state,
        measured,
        np.float64(body.energy),
        np.float64(rhythm.c),
        np.float64(rhythm.slow_average),
        np.float64(engine.settings[0].idle_seconds),
    )
    if state.frozen:
        return
    held = engine.devices[0]
    lim_rps.encode(
        engine.e[:],
        engine.lim_rps,
        engine.lim_rps_weights,
        body.limbs[:],
        held.latent[0],
        held.latent[1],
        held.present[0] != 0,
        held.present[1] != 0,
    )
    lim_rps.step(engine.z_lim[:], engine.lim_rps, engine.lim_rps_weights, engine.e[:], lim_rps.CONVERGED)
    boundary = engine.coupled_frame % SLOW_EVERY == SLOW_EVERY - 1
    dell_coupled.step(engine.z[:], engine.coupled, engine.coupled_weights, body.limbs[:], boundary)
    engine.coupled_frame += 1
    dell_gated.step(
        engine.y[:], engine.gated, engine.gated_weights, body.x[:], np.float64(rhythm.c), np.float64(state.bias)
    )
    latent.step(
        engine.latent25[:],
        engine.latent,
        engine.z_lim[:],
        engine.lim_rps_weights.P[:],
        np.float64(engine.lim_rps.residual),
        np.int64(engine.lim_rps.converged),
        np.int64(engine.lim_rps.used),
        body.speed[:],
        body.omega[:],
        body.position[:],
        body.origin[:],
        body.present != 0,
        np.float64(body.energy),
        np.float64(rhythm.internal_tempo_bpm),
        np.float64(rhythm.phase),
    )


@kernel
def play(engine: Any, shared: Any, samples: int) -> None:
    """Hand targets, reached over the next `samples` samples, and notes to the instrument and the output stage."""
    settings = engine.settings[0]
    shared.counters.refused_values += lanes.positions(engine.position[:], engine.last_y[:], engine.y[:], settings)
    lanes.values(engine.values[:], engine.position[:], np.int64(settings.snap_ratios))
    if settings.panic != engine.panic:
        engine.panic = settings.panic
        instrument.all_off(engine.instrument)
        notes.silence(engine.notes)
    instrument.control(engine.instrument, engine.values[:], samples)
    players = engine.notes
    notes.step(
        players,
        engine.motion,
        np.int64(settings.root_note),
        np.int64(settings.scale),
        np.float64(settings.velocity_scale),
        settings.notes_from_motion != 0,
        DT,
    )
    for i in range(players.count):
        event = players.event[i]
        sound(
            engine,
            np.int64(event.kind),
            np.int64(event.key),
            np.float64(event.pitch),
            np.float64(event.velocity),
            np.float64(event.pan),
        )
    for hand in range(2):
        instrument.bow(engine.instrument, np.int64(notes.BOW_KEY + hand), np.float64(players.bow[hand]))
    engine.output.dynamics = notes.loudness(players)
    output.control(engine.output, engine.values[:], samples)
    output.set_master(
        engine.output,
        10.0 ** (np.float64(settings.master_db) / 20.0),
        np.float64(engine.machine.level),
        np.int64(settings.mute),
        np.int64(settings.fade),
        np.int64(settings.panic),
        np.int64(settings.test_tone),
    )


@kernel
def report(engine: Any, shared: Any, now_ns: int) -> None:
    """Write the control record to the ring and the snapshot."""
    settings = engine.settings[0]
    record, clock, body = engine.control[0], engine.clock, engine.motion
    record.frame = clock.frame - 1
    record.sample = clock.sample
    record.motion_arrival_ns = body.arrival_ns
    record.block_begin_ns = engine.block_begin_ns
    record.dac_ns = now_ns + engine.dac_offset_ns
    record.bar = clock.bar
    record.beat = clock.beat
    record.tempo_bpm = clock.tempo_bpm
    record.state = engine.machine.state
    record.flags = (
        (FROZEN if settings.freeze else 0)
        | (HELD if body.held else 0)
        | (MUTED if settings.mute else 0)
        | (PRESENT if body.present else 0)
    )
    record.c = engine.commitment.c
    record.energy = body.energy
    record.gate_bias = engine.machine.bias
    record.lr_pan = engine.latent.lr_pan
    record.transition_intensity = engine.commitment.transition_intensity
    record.dell_coherence = dell_coupled.coherence(engine.coupled)
    record.gate_mean = engine.gated.gate_mean
    record.lim_rate = engine.lim_rps_weights.rate
    record.loudness_db = output.take_loudness_db(engine.output)
    record.voices = instrument.active(engine.instrument)
    record.onsets = engine.onsets
    for i in range(6):
        record.x[i] = body.x[i]
    record.x_valid = body.x_valid
    for i in range(32):
        record.y[i] = engine.y[i]
        record.position[i] = engine.position[i]
        record.z[i] = engine.z[i]
    for i in range(record.latent.shape[0]):
        record.latent[i] = engine.latent25[i]
    if not push(shared.records, engine.control):
        shared.counters.dropped_records += 1
    write_snapshot(shared.snapshot, engine.control)
    counters = shared.counters
    counters.control_frames += 1
    counters.strikes = engine.onsets
    counters.resets = (
        engine.gated.resets
        + engine.coupled.resets
        + engine.lim_rps.resets
        + engine.instrument.resets
        + engine.output.resets
    )
