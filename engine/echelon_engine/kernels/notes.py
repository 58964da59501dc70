"""Who plays: strikes of the hands become notes, sustained motion bows, and `drive` lets loudness follow the energy.

Latency. A strike is the peak of a hand's speed, known at its first falling sample: 17 ms of filter (motion.py) plus one
control frame. Nothing waits for that: `bow` and `drive` rise in the very control frame in which motion begins, and the
parameters with them. Strikes are judged on world speed (spec/motion.md), so a turn of the whole body can strike too.

Registers: the right hand plays an octave above the left. A hand that strikes again at one height turns around it
(TURN). The left bow is the bass, on roots and fifths an octave down; the right bow sings under its own strikes. A bow
moves with every third string struck, so that what is held changes with the rhythm, or after a hand that stays away.

Keys: hand h strikes on 8 h .. 8 h + 7 in turn; its bow is BOW_KEY + h. The bow starts and moves with NOTE_OFF/NOTE_ON.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from echelon_engine._jit import inlined, kernel
from echelon_engine.memory import NOTE_OFF, NOTE_ON

EVENTS = 16
STRINGS = 8  # strikes of one hand that may sound at once
BOW_KEY = 2 * STRINGS
OCTAVES = 2  # from the waist to overhead
HIGHER = 12  # semitones that the right hand plays above the left
BOW_BELOW = 12  # and a bow below the strikes of its hand
FIFTH = 7
TURN = np.array([0, 2, 1, 3], np.int64)  # degrees over its height that a hand plays when it strikes there again

SOFTEST = 0.25  # of velocity_scale: no peak below it is a strike
RELATIVE = 0.55  # of the hand's usual peak: what is small beside it does not strike
USUAL_S = 4.0  # the usual peak is forgotten with this time constant
FALLEN = 0.97  # a peak is over when speed is below this part of it
VALLEY = 0.6  # and a new one begins only after speed fell below this part of the last strike
REFRACTORY_S = 0.09  # after a single strike ..
TIRED_S, HEAT_S = 0.06, 1.0  # .. and so much longer for each strike within about a second: at most 3.5 a second go on
GATE_S = 0.25  # a struck note is let go after this, to ring by its own release
DEGREE_HYSTERESIS = 0.3

FLOW_ATTACK_S, FLOW_RELEASE_S = 0.02, 0.12
BOW_START, BOW_STOP = 0.18, 0.08  # of velocity_scale, smoothed hand speed
BOW_SLOPE = 0.7  # force = 1 - exp(-slope (hand's flow + the whole body's energy) / velocity_scale)
BOW_SETTLE_S = 0.15  # sustained: above BOW_START this long
BOW_REST_S = 0.3  # still: below BOW_STOP this long
BOW_MOVE_S = 0.9  # the hand stays two degrees away this long: the bow follows
BOW_GROUP = 3  # it also moves with a strike: of STRINGS = 8, those in the rhythm 3 + 3 + 2
UNISON_S = 0.12  # both hands on one degree within this: one note
DRIVE_ATTACK_S, DRIVE_RELEASE_S = 0.04, 0.12
DRIVE_SLOPE = 1.5  # drive = 1 - exp(-slope energy / velocity_scale)
STILL = 0.1  # of full amplitude: how far a still body holds the sound down

EVENT = np.dtype(
    [
        ("kind", np.int32),  # NOTE_ON, NOTE_OFF of memory.py
        ("key", np.int32),
        ("pitch", np.float32),  # MIDI note
        ("velocity", np.float32),  # 0..1
        ("pan", np.float32),  # -1 left .. 1 right
    ],
    align=True,
)
NOTES = np.dtype(
    [
        ("count", np.int64),  # events of this control frame
        ("event", EVENT, (EVENTS,)),
        ("bow", np.float32, (2,)),  # force 0..1 of key BOW_KEY + h
        ("drive", np.float64),  # 0..1, a level that follows energy: 40 ms up, 120 ms down
        ("strikes", np.int64),  # since the start
        ("ladder", np.int64, (12 * OCTAVES + 1,)),  # semitones of the degrees
        ("peak", np.float64, (2,)),  # of the rise now going on
        ("valley", np.float64, (2,)),  # lowest speed since the last strike
        ("last", np.float64, (2,)),  # speed of the last strike: what VALLEY is measured against
        ("usual", np.float64, (2,)),
        ("rest_s", np.float64, (2,)),  # of the refractory time
        ("heat", np.float64, (2,)),  # strikes of about the last second
        ("since_s", np.float64, (2,)),  # time since the last strike's note
        ("degree", np.int64, (2,)),
        ("struck_degree", np.int64, (2,)),
        ("turn", np.int64, (2,)),  # place in TURN
        ("string", np.int64, (2,)),
        ("gate_s", np.float64, (2 * STRINGS,)),  # until the note is let go; 0: not sounding
        ("flow", np.float64, (2,)),
        ("bowing", np.uint8, (2,)),
        ("settle_s", np.float64, (2,)),
        ("away_s", np.float64, (2,)),
        ("bow_degree", np.int64, (2,)),
        ("bow_aim", np.int64, (2,)),  # degree to which it is to move
    ],
    align=True,
)


@inlined
def _emit(notes: Any, key: int, pitch: float, velocity: float, pan: float) -> None:
    """Add NOTE_ON, or NOTE_OFF for velocity 0, to this frame's events."""
    if notes.count < EVENTS:
        event = notes.event[notes.count]
        event.kind = NOTE_ON if velocity > 0.0 else NOTE_OFF
        event.key = key
        event.pitch = pitch
        event.velocity = velocity
        event.pan = pan
        notes.count += 1


@inlined
def _toward(value: float, target: float, time_s: float, dt: float) -> float:
    """Return `value` one step of dt nearer to `target` with a time constant (backward Euler: never overshoots)."""
    return value + (target - value) * (dt / (time_s + dt))


@kernel
def fill_ladder(notes: Any, scale: int) -> int:
    """Write the semitones of OCTAVES of `scale` (bit i: semitone i; none: all) and the top root; return its degree."""
    mask = scale if scale & 4095 else 4095
    count = 0
    for semitone in range(12 * OCTAVES + 1):
        if (mask >> (semitone % 12)) & 1:
            notes.ladder[count] = semitone
            count += 1
    return count - 1


@inlined
def loudness(notes: Any) -> float:
    """Return the amplitude that the body's energy gives the whole sound, STILL .. 1: linear in `drive`."""
    return STILL + (1.0 - STILL) * float(notes.drive)


@inlined
def _bass(semitone: int, scale: int) -> int:
    """Return the root or the fifth (where the scale has one) near a degree's semitone."""
    tone = semitone % 12
    near = 12 if tone > 9 else FIFTH if tone > 3 and (scale >> FIFTH) & 1 else 0
    return semitone - tone + near


@inlined
def _struck(notes: Any, h: int, speed: float, scale: float, dt: float) -> float:
    """Return the speed of a strike that hand `h` completed in this frame, or 0."""
    notes.rest_s[h] = max(notes.rest_s[h] - dt, 0.0)
    notes.usual[h] = _toward(notes.usual[h], 0.0, USUAL_S, dt)
    notes.last[h] = _toward(notes.last[h], 0.0, USUAL_S, dt)
    notes.heat[h] = _toward(notes.heat[h], 0.0, HEAT_S, dt)
    notes.valley[h] = min(notes.valley[h], speed)
    if notes.valley[h] > VALLEY * notes.last[h]:
        notes.peak[h] = speed  # still the same movement
        return 0.0
    if speed >= notes.peak[h]:
        notes.peak[h] = speed
        return 0.0
    peak: float = notes.peak[h]
    if speed > FALLEN * peak:
        return 0.0
    notes.peak[h] = speed
    least = max(SOFTEST * scale, RELATIVE * notes.usual[h])
    if peak < least or notes.rest_s[h] > 0.0 or peak - notes.valley[h] < 0.35 * peak:
        return 0.0
    notes.usual[h] = max(peak, notes.usual[h] + 0.5 * (peak - notes.usual[h]))
    notes.last[h] = peak
    notes.valley[h] = speed
    notes.rest_s[h] = REFRACTORY_S + TIRED_S * notes.heat[h]
    notes.heat[h] += 1.0
    return peak


@inlined
def _bow(notes: Any, motion: Any, h: int, top: int, root_note: int, scale: int, unit: float, dt: float) -> None:
    """Start, move, press and stop the bow of hand `h` by its smoothed speed: left the bass, right any degree."""
    speed = float(motion.hand_speed[h]) * motion.hand_valid[h]
    flow = _toward(notes.flow[h], speed, FLOW_ATTACK_S if speed > notes.flow[h] else FLOW_RELEASE_S, dt)
    notes.flow[h] = flow
    flow /= unit
    force = 1.0 - math.exp(-BOW_SLOPE * (flow + float(motion.energy) / unit))
    degree = notes.degree[h]
    bowing = notes.bowing[h] != 0
    change = flow < BOW_STOP if bowing else flow > BOW_START
    notes.settle_s[h] = notes.settle_s[h] + dt if change else 0.0
    notes.away_s[h] = notes.away_s[h] + dt if abs(degree - notes.bow_degree[h]) >= 2 else 0.0
    rests = bowing and notes.settle_s[h] > BOW_REST_S
    if notes.away_s[h] > BOW_MOVE_S or rests or (not bowing and not change):
        notes.bow_aim[h] = degree
    if bowing and (rests or notes.bow_aim[h] != notes.bow_degree[h]):
        _emit(notes, BOW_KEY + h, 0.0, 0.0, 0.0)
        notes.bowing[h] = 0
        notes.settle_s[h] = 0.0 if change else BOW_SETTLE_S
    elif not bowing and notes.settle_s[h] > BOW_SETTLE_S:
        semitone = notes.ladder[min(notes.bow_aim[h], top)]
        pitch = root_note - BOW_BELOW + (_bass(semitone, scale) if h == 0 else semitone + HIGHER)
        _emit(notes, BOW_KEY + h, float(pitch), 0.01 + 0.3 * force, -0.6 * motion.hand_side[h])
        notes.bowing[h] = 1
        notes.settle_s[h] = 0.0
        notes.bow_degree[h] = notes.bow_aim[h]
    notes.bow[h] = force * notes.bowing[h]


@kernel
def in_chord(pitch: float, chord: int) -> float:
    """Return `pitch` moved to the nearest pitch class of a chord (bit i: pitch class i, 0 = C), the lower of two."""
    if chord & 4095 == 0:
        return pitch
    near = math.floor(pitch + 0.5)
    for away in range(7):
        if (chord >> ((near - away) % 12)) & 1:
            return pitch - away
        if (chord >> ((near + away) % 12)) & 1:
            return pitch + away
    return pitch


@kernel
def silence(notes: Any) -> None:
    """Forget all notes that sound (panic: the instrument was silenced by other means) and emit nothing."""
    notes.count = 0
    for h in range(2):
        notes.bowing[h] = 0
        notes.bow[h] = 0.0
        notes.flow[h] = 0.0
        notes.settle_s[h] = 0.0
        notes.peak[h] = 0.0
        notes.valley[h] = 0.0
    for key in range(2 * STRINGS):
        notes.gate_s[key] = 0.0


@kernel
def step(notes: Any, motion: Any, root_note: int, scale: int, velocity_scale: float, playing: bool, dt: float) -> None:
    """Decide this control frame's events from MOTION (after `hands`): event[:count], bow[2], drive.

    Velocity of a strike = 1 - exp(-peak / velocity_scale), floor 0.1; force of a bow: BOW_SLOPE;
    drive = 1 - exp(-1.5 energy / velocity_scale) smoothed. All are smooth and rise with motion, so loudness follows it.
    With `playing` false what sounds is let go and nothing begins; `drive` goes on.
    """
    unit = max(velocity_scale, 0.05)
    top = fill_ladder(notes, scale)
    notes.count = 0
    for key in range(2 * STRINGS):
        if notes.gate_s[key] > 0.0:
            notes.gate_s[key] -= dt
            if notes.gate_s[key] <= 0.0 or not playing:
                notes.gate_s[key] = 0.0
                _emit(notes, key, 0.0, 0.0, 0.0)
    target = 1.0 - math.exp(-DRIVE_SLOPE * motion.energy / unit)
    notes.drive = _toward(notes.drive, target, DRIVE_ATTACK_S if target > notes.drive else DRIVE_RELEASE_S, dt)
    for h in range(2):
        exact = motion.hand_height[h] * top
        if abs(exact - notes.degree[h]) > 0.5 + DEGREE_HYSTERESIS:
            notes.degree[h] = math.floor(exact + 0.5)
        notes.degree[h] = min(notes.degree[h], top)
        peak = 0.0
        if motion.hand_valid[h] != 0 and playing:
            peak = _struck(notes, h, motion.hand_speed[h], unit, dt)
        else:
            notes.peak[h] = 0.0  # a hand that is lost has not struck
            notes.valley[h] = 0.0
        notes.since_s[h] += dt
        unison = notes.since_s[1 - h] < UNISON_S and notes.struck_degree[1 - h] == notes.degree[h]
        if peak > 0.0 and not unison:
            notes.since_s[h] = 0.0
            same = notes.struck_degree[h] == notes.degree[h] and notes.strikes > 0
            notes.turn[h] = (notes.turn[h] + 1) % TURN.shape[0] if same else 0
            played = min(notes.degree[h] + TURN[notes.turn[h]], top)
            notes.struck_degree[h] = notes.degree[h]
            if notes.string[h] % BOW_GROUP == 0:
                notes.bow_aim[h] = played
            key = STRINGS * h + notes.string[h]
            notes.string[h] = (notes.string[h] + 1) % STRINGS
            notes.gate_s[key] = GATE_S
            velocity = max(1.0 - math.exp(-peak / unit), 0.1)
            pitch = root_note + HIGHER * h + notes.ladder[played]
            _emit(notes, key, float(pitch), velocity, -0.6 * motion.hand_side[h])
            notes.strikes += 1
        _bow(notes, motion, h, top, root_note, scale, unit if playing else math.inf, dt)
