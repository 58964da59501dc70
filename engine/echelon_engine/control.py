"""One control frame, 60 a second, in four steps: hear the body, think, play, and report.

`process` calls them in this order through `units`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from echelon_engine._jit import int64, kernel
from echelon_engine.atomics import load_acquire
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
from echelon_engine.memory import (
    ALL_OFF,
    CONTROL_RATE_HZ,
    DEVICE_SLOTS,
    FROZEN,
    HELD,
    MUTED,
    PERFORMERS,
    PRESENT,
    TOOK_DEVICES,
    TOOK_GRID,
    TOOK_MOTION,
    TOOK_SETTINGS,
)
from echelon_engine.records import copy
from echelon_engine.rings import discard, pop, push, take, write_snapshot
from echelon_engine.schedule import clear, sound, tell, took
from echelon_engine.script import LIVE, follow_motion, follow_settings
from echelon_engine.sequence import chord_now, silence, step_now
from echelon_engine.vocabulary import MODES

DT = 1.0 / CONTROL_RATE_HZ
BEAT_SHORTEST, BEAT_LONGEST = 20, 60  # control frames between two boundaries of DELL coupled that follow the beat
DEVICE_LOST_NS = int(hands.DEVICE_LOST_S * 1e9)
GLIDE_FRAMES = 15  # 250 ms
MODE_COUNT = len(MODES)
EXTERNAL_FADE_S = 3.0  # of notes that others than the body play, after `idle_seconds` without one


@kernel
def hear(engine: Any, shared: Any, now_ns: int) -> None:
    """Take the settings and bring the body to `now_ns`: pop what is due, interpolate, derive speeds and x."""
    live = engine.script == LIVE
    changed = False
    if live:
        changed = take(engine.settings, shared.settings)
    else:
        follow_settings(engine, shared)
    settings = engine.settings[0]
    log = settings.log != 0
    if log and (changed or engine.clock.frame == 1):  # this is the first control frame
        copy(engine.input[0].settings, settings)
        took(engine, shared, int64(TOOK_SETTINGS))
    body = engine.motion
    focus = min(max(int64(settings.focus), 0), PERFORMERS - 1)
    if focus != engine.performer:
        engine.performer = focus
        motion.forget(body)
    for performer in range(PERFORMERS):
        if performer != focus or not live:
            discard(shared.frames[performer])
    delay_ns = int64(0) if settings.low_latency else int64(settings.motion_delay_ms * 1e6)
    target_ns = now_ns - delay_ns
    while live and motion.wants(body, target_ns) and pop(engine.frame, shared.frames[focus]):
        motion.offer(body, engine.frame[0])
        shared.counters.motion_frames += 1
        if log:
            copy(engine.input[0].motion, engine.frame[0])
            took(engine, shared, int64(TOOK_MOTION))
    if live and take(engine.devices, shared.devices) and log:
        copy(engine.input[0].devices, engine.devices[0])
        took(engine, shared, int64(TOOK_DEVICES))
    if live and take(engine.sequence.waiting, shared.grids) and log:
        copy(engine.input[0].grid, engine.sequence.waiting[0])
        took(engine, shared, int64(TOOK_GRID))
    if not live:
        follow_motion(engine, shared)
    motion.advance(body, target_ns, settings.freeze != 0, DT)
    scale = np.float64(settings.velocity_scale[engine.performer])
    hands.hands(body, scale, DT)
    hands.devices_in_hands(body, engine.devices[0], scale, now_ns, DT)


@kernel
def boundary(engine: Any) -> bool:
    """Return whether DELL coupled's slow solver runs after this control frame: every 24th, or at the musical beats."""
    count = engine.coupled.count + 1  # this frame included
    if engine.settings[0].boundary_at_beats == 0:
        return bool(count >= dell_coupled.BOUNDARY_FRAMES)
    beat = int64(engine.clock.beat)
    due = count >= BEAT_LONGEST or (count >= BEAT_SHORTEST and beat != engine.boundary_beat)
    if due:
        engine.boundary_beat = beat
    return bool(due)


@kernel
def change_weights(engine: Any) -> None:
    """Take other weights of DELL gated, if some were handed over; its state stays."""
    wanted = load_acquire(engine.gated_wanted.ctypes.data)
    if wanted != engine.gated_used:
        engine.gated_used = wanted
        engine.gated_fade = GLIDE_FRAMES
        for i in range(engine.y.shape[0]):
            engine.gated_before[i] = engine.y[i]


@kernel
def glide(engine: Any) -> None:
    """Cross-fade y from what it was when the weights were changed to what the new ones say."""
    if engine.gated_fade > 0:
        engine.gated_fade -= 1
        share = np.float32(engine.gated_fade / GLIDE_FRAMES)
        for i in range(engine.y.shape[0]):
            engine.y[i] += share * (engine.gated_before[i] - engine.y[i])


@kernel
def think(engine: Any, now_ns: int) -> None:
    """Run commitment, state machine and the three networks; Idle freezes the networks, `freeze` the machine."""
    body, state, settings = engine.motion, engine.machine, engine.settings[0]
    measured = body.moved != 0
    commitment.step(engine.commitment, np.float64(body.energy), measured)
    rhythm = engine.commitment
    if settings.freeze == 0:
        machine.step(
            state,
            measured,
            np.float64(body.energy),
            np.float64(rhythm.c),
            np.float64(rhythm.slow_average),
            np.float64(settings.idle_seconds),
        )
    change_weights(engine)
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
        held.present[0] != 0 and now_ns - held.time_ns[0] < DEVICE_LOST_NS,
        held.present[1] != 0 and now_ns - held.time_ns[1] < DEVICE_LOST_NS,
    )
    lim_rps.step(engine.z_lim[:], engine.lim_rps, engine.lim_rps_weights, engine.e[:], lim_rps.CONVERGED)
    dell_coupled.step(engine.z[:], engine.coupled, engine.coupled_weights, body.limbs[:], boundary(engine))
    bias = np.float64(state.bias)
    if engine.gated_used == 0:
        dell_gated.step(engine.y[:], engine.gated, engine.gated_weights, body.x[:], np.float64(rhythm.c), bias)
    else:
        dell_gated.step(engine.y[:], engine.gated, engine.gated_spare, body.x[:], np.float64(rhythm.c), bias)
    glide(engine)
    latent.step(
        engine.latent25[:],
        engine.latent,
        engine.z_lim[:],
        engine.lim_rps_weights.P[:],
        np.float64(engine.lim_rps.residual),
        int64(engine.lim_rps.converged),
        int64(engine.lim_rps.used),
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
    engine.refused_lanes += lanes.positions(engine.position[:], engine.last_y[:], engine.y[:], settings)
    lanes.values(engine.values[:], engine.position[:], int64(settings.snap_ratios))
    if settings.panic != engine.panic:
        engine.panic = settings.panic
        instrument.all_off(engine.instrument)
        notes.silence(engine.notes)
        clear(engine)
        silence(engine)
        tell(engine, shared, int64(ALL_OFF), int64(0), 0.0, 0.0, 0.0, int64(1))
    instrument.control(engine.instrument, engine.values[:], samples)
    players = engine.notes
    grid = engine.sequence.grid[0]
    chord = chord_now(engine) if settings.harmony else int64(0)
    root, scale = int64(settings.root_note), int64(settings.scale)
    if chord != 0 and grid.scale != 0:  # in the band's key, near where people put the root
        root += (int64(grid.root) - root + 6) % 12 - 6
        scale = int64(grid.scale)
    notes.step(
        players,
        engine.motion,
        root,
        scale,
        np.float64(settings.velocity_scale[engine.performer]),
        settings.notes_from_motion != 0,
        DT,
    )
    for i in range(players.count):
        event = players.event[i]
        sound(
            engine,
            shared,
            int64(event.kind),
            int64(event.key),
            notes.in_chord(np.float64(event.pitch), chord),
            np.float64(event.velocity),
            np.float64(event.pan),
            int64(0),
        )
    for hand in range(2):
        instrument.bow(engine.instrument, int64(notes.BOW_KEY + hand), np.float64(players.bow[hand]))
    # Notes of others are heard though the body rests, and so is the test tone.
    external = min(engine.external * (1.0 + np.float64(settings.idle_seconds) / EXTERNAL_FADE_S), 1.0)
    if engine.held_keys == 0:
        engine.external -= min(engine.external, DT / (np.float64(settings.idle_seconds) + EXTERNAL_FADE_S))
    level = max(np.float64(engine.machine.level), external)
    level = max(level, engine.sequence.level)
    if settings.test_tone != 0:
        level = 1.0
    engine.output.dynamics = max(notes.loudness(players), external)
    output.control(engine.output, engine.values[:], samples)
    output.set_master(
        engine.output,
        10.0 ** (np.float64(settings.master_db) / 20.0),
        level,
        int64(settings.mute),
        int64(settings.fade),
        int64(settings.panic),
        int64(settings.test_tone),
    )


@kernel
def newest_phone_ns(devices: Any, now_ns: int) -> int:
    """Return when the newest phone that is still there was heard, 0 without one.

    Whoever holds nothing but phones moves the engine too: their newest reading is what is heard.
    """
    newest_ns = int64(0)
    for slot in range(DEVICE_SLOTS):
        heard_ns = devices.time_ns[slot]
        if devices.present[slot] != 0 and now_ns - heard_ns < DEVICE_LOST_NS:
            newest_ns = max(newest_ns, heard_ns)
    return int(newest_ns)


@kernel
def report(engine: Any, shared: Any, now_ns: int) -> None:
    """Write the control record to the ring and the snapshot."""
    settings = engine.settings[0]
    record, clock, body = engine.control[0], engine.clock, engine.motion
    record.epoch = engine.epoch
    record.frame = clock.frame - 1
    record.sample = clock.sample
    record.time_ns = now_ns
    phones_ns = int64(0) if body.present else newest_phone_ns(engine.devices[0], now_ns)
    record.motion_arrival_ns = phones_ns if phones_ns > 0 else body.arrival_ns
    record.block_begin_ns = engine.block_begin_ns
    record.dac_ns = now_ns + engine.dac_offset_ns
    record.bar = clock.bar
    record.beat = clock.beat
    record.tempo_bpm = clock.tempo_bpm
    record.state = engine.machine.state
    record.flags = (
        (FROZEN if settings.freeze else 0)
        | (HELD if body.held and phones_ns == 0 else 0)
        | (MUTED if settings.mute else 0)
        | (PRESENT if body.present or phones_ns > 0 else 0)
    )
    record.c = engine.commitment.c
    record.energy = body.energy
    record.gate_bias = engine.machine.bias
    record.lr_pan = engine.latent.lr_pan
    record.transition_intensity = engine.commitment.transition_intensity
    record.dell_coherence = dell_coupled.coherence(engine.coupled)
    record.gate_mean = engine.gated.gate_mean
    record.lim_rate = engine.lim_rps_weights.rate
    record.freshness[0] = engine.lim_rps.freshness[0]
    record.freshness[1] = engine.lim_rps.freshness[1]
    record.loudness_db = output.take_loudness_db(engine.output)
    record.voices = instrument.active(engine.instrument)
    record.onsets = engine.onsets
    band = engine.sequence
    record.grid = band.grid[0].number
    record.step = step_now(engine)
    record.section = band.grid[0].section
    record.style = band.grid[0].style if band.grid[0].number else -1
    record.tempo_source = settings.tempo_source
    record.mode = min(max(band.mode, 0), MODE_COUNT - 1)
    for i in range(record.band.shape[0]):
        record.band[i] = band.parameter[i]
    for i in range(record.track.shape[0]):
        record.track[i] = engine.ensemble.activity[i]
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
    counters.strikes = engine.notes.strikes
    counters.clipped_frames = engine.gated.clipped
    counters.refused_values = (
        engine.refused_lanes
        + engine.commitment.refused
        + engine.machine.refused
        + engine.latent.refused
        + engine.gated.refused
        + engine.coupled.refused
        + engine.lim_rps.refused
        + body.window.refused_bones
        + body.window.refused_frames
        + engine.output.refused_values
        + engine.output.refused_samples
    )
    counters.resets = (
        engine.gated.resets
        + engine.coupled.resets
        + engine.lim_rps.resets
        + engine.instrument.resets
        + engine.output.resets
    )
