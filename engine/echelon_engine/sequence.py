"""The band in the callback: its tempo, its mix at every control frame, and its onsets, each at its own sample.

A grid that arrives waits for the next bar line; without a new one the last is played again. Steps are counted from beat
0 in halves of a sixteenth, so that a fill's second strike has its sample, too. With swing s the second of two
sixteenths falls at s of their eighth:

    beat(k) = (k // 2) / 2 + (k odd) s / 2
"""

from __future__ import annotations

from typing import Any

import numpy as np

from echelon_engine._jit import inlined, int64, kernel
from echelon_engine.band import SOURCES
from echelon_engine.clock import beat_sample
from echelon_engine.kernels import conducting, ensemble, sequencer, tempo
from echelon_engine.kernels.finite import finite_number
from echelon_engine.memory import BAND_PARAMETERS, CONTROL_RATE_HZ, GRID, LATENT_STATE_NAMES
from echelon_engine.records import copy
from echelon_engine.vocabulary import STEPS, STEPS_PER_BAR, STEPS_PER_BEAT, TRACKS

DT = 1.0 / CONTROL_RATE_HZ
STRAIGHT, MOST_SWING = 0.5, 0.75
OFF_S = 1.0  # of the whole band, switched off; it comes at once, with its first onset
PATIENCE_S, FADE_S = 4.0, 4.0  # a body that rests: the band goes on, then fades
LEAST_DB, MOST_DB = -80.0, 12.0
MOST_AT_ONCE = 64  # half steps at one sample: a clock that ran away is caught up over several

# Where the sources of band.SOURCES are in the latent state; -1: elsewhere.
_LATENT = np.array([LATENT_STATE_NAMES.index(name) if name in LATENT_STATE_NAMES else -1 for name in SOURCES])
_ENERGY, _C, _TRANSITION, _PAN = (SOURCES.index(name) for name in ("energy", "c", "transition_intensity", "lr_pan"))

SEQUENCE = np.dtype(
    [
        ("next_half", np.int64),  # half sixteenth since beat 0 that is due next ..
        ("next_sample", np.int64),  # .. and when
        ("level", np.float64),  # 0..1, of the whole band
        ("rest_s", np.float64),  # for how long the body has rested
        ("mode", np.int64),  # of the conductor, since the last bar line
        ("sounding", np.int64),  # 1 while the band is switched on and has a grid
        ("effects", np.int64, (TRACKS,)),  # as the ensemble was last told
        ("grid", GRID, (1,)),  # the one that plays
        ("waiting", GRID, (1,)),  # the one for the next bar line
        ("parameter", np.float32, (BAND_PARAMETERS,)),  # positions 0..1
        ("source", np.float64, (len(SOURCES),)),
        ("gain", np.float32, (TRACKS,)),
        ("pan", np.float32, (TRACKS,)),
        ("tempo", tempo.TEMPO),
        ("conducting", conducting.CONDUCTING),
        ("sequencer", sequencer.SEQUENCER),
    ],
    align=True,
)


@inlined
def beat_of(half: int, swing: float) -> float:
    """Return the beat at which a half sixteenth falls, counted from beat 0."""
    k = half // 2
    here = (k // 2) * 0.5 + (k % 2) * swing * 0.5
    if half % 2 == 0:
        return here
    k += 1
    return float((here + (k // 2) * 0.5 + (k % 2) * swing * 0.5) * 0.5)


@inlined
def swing_of(engine: Any) -> float:
    """Return the swing in force, 0.5..0.75: what people set, or else the style's."""
    asked = np.float64(engine.settings[0].swing)
    swing = asked if asked > 0.0 else np.float64(engine.sequence.grid[0].swing)
    return min(swing, MOST_SWING) if swing > STRAIGHT else STRAIGHT


@inlined
def step_now(engine: Any) -> int:
    """Return the step 0..31 of the grid in which the clock is."""
    return int((engine.sequence.next_half - 1) // 2 % STEPS) if engine.sequence.next_half > 0 else 0


@inlined
def chord_now(engine: Any) -> int:
    """Return the pitch classes of the chord that the band plays now (bit 0 = C), 0 for none."""
    state = engine.sequence
    if state.sounding == 0 or state.level <= 0.0:
        return 0
    return int(state.grid[0].chord[step_now(engine) // 8])


@kernel
def place(engine: Any) -> None:
    """Find the sample of the next half step at the present tempo."""
    state, clock = engine.sequence, engine.clock
    state.next_sample = max(beat_sample(clock, beat_of(state.next_half, swing_of(engine))), clock.sample)


@kernel
def listen(engine: Any) -> None:
    """Collect what the mappings hear: the numbers that the control record will carry."""
    source, latent, settings = engine.sequence.source, engine.latent25, engine.settings[0]
    for i in range(_LATENT.shape[0]):
        if _LATENT[i] >= 0:
            source[i] = np.float64(latent[_LATENT[i]])
    source[_ENERGY] = np.float64(engine.motion.energy) * np.float64(settings.energy_scale[engine.performer])
    source[_C] = np.float64(engine.commitment.c)
    source[_TRANSITION] = np.float64(engine.commitment.transition_intensity)
    source[_PAN] = np.float64(engine.latent.lr_pan)


@kernel
def loudness(engine: Any) -> None:
    """Renew the level 0..1 of the whole band: it fades when it is switched off, or when the body rests for long."""
    state, settings = engine.sequence, engine.settings[0]
    state.rest_s = state.rest_s + DT if engine.machine.level <= 0.0 else 0.0
    state.sounding = int64(settings.band != 0 and state.waiting[0].number != 0)
    if state.sounding == 0:
        state.level = max(state.level - DT / OFF_S, 0.0)
    elif state.rest_s > PATIENCE_S and engine.external <= 0.0:
        state.level = max(state.level - DT / FADE_S, 0.0)
    else:
        state.level = 1.0


@kernel
def mix(engine: Any) -> None:
    """Write the gain and place of each track, from what people set and what the grid's style says."""
    state, settings = engine.sequence, engine.settings[0]
    grid = state.grid[0]
    solo = False
    for track in range(TRACKS):
        solo = solo or settings.track_solo[track] != 0
    for track in range(TRACKS):
        heard = settings.track_mute[track] == 0 and (not solo or settings.track_solo[track] != 0)
        db = np.float64(settings.band_db) + np.float64(settings.track_db[track]) + np.float64(grid.level_db[track])
        db = db if finite_number(db) else np.float64(LEAST_DB)
        gain = state.level * state.level * 10.0 ** (min(max(db, LEAST_DB), MOST_DB) / 20.0) if heard else 0.0
        state.gain[track] = np.float32(gain)
        pan = np.float64(settings.track_pan[track]) + np.float64(grid.pan[track])
        state.pan[track] = np.float32(min(max(pan, -1.0), 1.0) if finite_number(pan) else 0.0)


@kernel
def conduct(engine: Any, samples: int) -> None:
    """Bring tempo, parameters and mix of the band to this control frame, which lasts `samples` samples."""
    state, clock, settings = engine.sequence, engine.clock, engine.settings[0]
    grid = state.grid[0]
    listen(engine)
    conducting.step(state.parameter[:], state.conducting, state.source[:], state.mode, DT)
    rhythm = engine.commitment
    tempo.step(
        state.tempo,
        int64(settings.tempo_source),
        np.float64(settings.tempo_bpm),
        np.float64(grid.tempo_bpm),
        np.float64(grid.tempo_low),
        np.float64(grid.tempo_high),
        np.float64(rhythm.internal_tempo_bpm),
        np.float64(rhythm.phase),
        np.float64(rhythm.c),
        clock.beat,
        DT,
    )
    loudness(engine)
    mix(engine)
    beat_samples = 60.0 * clock.rate_hz / clock.tempo_bpm
    ensemble.control(engine.ensemble, state.gain[:], state.pan[:], state.parameter[:], beat_samples, samples)
    place(engine)


@kernel
def play_steps(engine: Any) -> None:
    """Strike what is due at this sample: one half step, or more where the tempo was pulled on."""
    state, clock = engine.sequence, engine.clock
    for _ in range(MOST_AT_ONCE):
        if state.next_sample > clock.sample:
            return
        half = state.next_half
        state.next_half = half + 1
        if half % 2 == 0:
            whole_step(engine, half // 2)
        elif state.sounding:
            for track in range(TRACKS):
                if state.sequencer.again[track]:
                    strike(engine, int64(track))
        place(engine)


@kernel
def whole_step(engine: Any, count: int) -> None:
    """Play one sixteenth, the `count`-th since beat 0; at a bar line the newest grid takes the place of the last."""
    state = engine.sequence
    at = count % STEPS
    if count % STEPS_PER_BAR == 0:
        state.mode = engine.settings[0].mode
    new = state.waiting[0].number != state.grid[0].number
    if new and (count % STEPS_PER_BAR == 0 or state.grid[0].number == 0):
        if state.grid[0].number == 0 and int64(engine.settings[0].tempo_source) == tempo.STYLE:
            tempo.jump(state.tempo, np.float64(state.waiting[0].tempo_bpm))  # nothing has played yet
        copy(state.grid[0], state.waiting[0])
        sequencer.enter(state.sequencer, state.grid[0].cell, int64(at))
        mix(engine)  # of another style, perhaps: what it strikes now is to sound so from its attack on
        for track in range(TRACKS):
            ensemble.place(engine.ensemble, int64(track), state.gain[track], state.pan[track])
    elif at == 0:
        sequencer.enter(state.sequencer, state.grid[0].cell, int64(0))
    sequencer.read(state.sequencer, state.grid[0].cell, int64(at))
    if state.sounding == 0:
        return
    if at % (STEPS_PER_BAR // 2) == 0 or new:
        ensemble.chord(engine.ensemble, int64(state.grid[0].chord[at // (STEPS_PER_BAR // 2)]))
    for track in range(TRACKS):
        if state.sequencer.effects[track] != state.effects[track]:
            state.effects[track] = state.sequencer.effects[track]
            ensemble.effects(engine.ensemble, int64(track), int64(state.effects[track]))
        if state.sequencer.sound[track] >= 0:
            strike(engine, int64(track))


@kernel
def strike(engine: Any, track: int) -> None:
    """Begin what a track plays now."""
    state, clock = engine.sequence.sequencer, engine.clock
    sixteenth = 60.0 * clock.rate_hz / (clock.tempo_bpm * STEPS_PER_BEAT)
    ensemble.onset(
        engine.ensemble,
        int64(track),
        int64(state.sound[track]),
        sequencer.velocity(state, track),
        sequencer.gain(state, track),
        int64(sequencer.sixteenths(state, track) * sixteenth),
    )


@kernel
def silence(engine: Any) -> None:
    """End everything that the band plays; its next onset begins anew."""
    ensemble.all_off(engine.ensemble)
