"""The instrument: 16 voices of struck, bowed and phase-modulated bodies, played by keys and moved by 24 lanes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_engine._jit import kernel
from echelon_engine.kernels import envelope, operators, svf, voice
from echelon_engine.kernels.finite import finite_number
from echelon_engine.kernels.operators import SEGMENT, WORK
from echelon_engine.kernels.voice import FADING, FREE, LINES, SOUNDING, VOICE
from echelon_engine.parameters import LANE, LANES, PARAMETERS

VOICES = 16
FADE_SECONDS = 0.004  # of a voice that is taken away
ROUND_SECONDS = 0.002
LEVEL = 0.126  # -18 dBFS: one mezzo forte voice
SILENT = 1e-9  # power below which a released voice is given back, -90 dB

# Lanes that move sounding voices sample by sample, in the domain in which they ramp linearly.
_RATIO, _INDEX, _FILTER = LANE["ratio_1"], LANE["index_1"], LANE["filter_cutoff"]
RAMPS = 12

_LINE = (np.float32, (SEGMENT,))
INSTRUMENT = np.dtype(
    [
        ("rate_hz", np.float64),
        ("frames", np.int64),  # length of the control period
        ("left", np.int64),  # samples of it still to go
        ("period", np.int64),  # number of control frames so far
        ("notes", np.int64),  # begun so far
        ("resets", np.int64),  # voices silenced because they were not finite
        ("values", np.float32, (LANES,)),  # where the lanes are heading
        ("ramp", np.float64, (RAMPS,)),
        ("ramp_step", np.float64, (RAMPS,)),
        ("ramp_end", np.float64, (RAMPS,)),
        ("lane", np.float64, (RAMPS,)),  # the ramp with its corners rounded
        ("work", WORK),
        ("lines", LINES),
        ("octave", *_LINE),  # log2 of cutoff / 10 Hz
        ("damping", *_LINE),  # 1 / Q
        ("drive", *_LINE),
        ("sweep", *_LINE),  # octaves of the envelope
        ("table", np.float32, (svf.TABLE,)),
        ("voice", VOICE, (VOICES,)),
    ],
    align=True,
)

_DEFAULTS = np.array([p.value(0.5) for p in PARAMETERS], np.float32)


@kernel
def init(inst: Any, rate_hz: float) -> None:
    """Prepare a zeroed INSTRUMENT record for a sample rate of 44100 to 96000 Hz; lanes start at their middle."""
    inst.rate_hz = rate_hz
    inst.frames = int(rate_hz / 60.0)
    for lane in range(LANES):
        inst.values[lane] = _DEFAULTS[lane]
    svf.fill_table(inst.table, rate_hz)
    _aim(inst)
    for k in range(RAMPS):
        inst.ramp[k] = inst.ramp_end[k]
        inst.lane[k] = inst.ramp_end[k]
        inst.ramp_step[k] = 0.0
    inst.left = 0


@kernel
def _aim(inst: Any) -> None:
    """Aim the ramps at `values`: log2 of ratios, indices, log2 cutoff / 10 Hz, log2 1/Q, log2 drive and octaves."""
    v = inst.values
    for k in range(4):
        inst.ramp_end[k] = math.log2(max(float(v[_RATIO + k]), 1e-3))
        inst.ramp_end[4 + k] = float(v[_INDEX + k])
    inst.ramp_end[8] = math.log2(max(float(v[_FILTER]), 1.0) / svf.LOWEST_HZ)
    inst.ramp_end[9] = -math.log2(max(float(v[_FILTER + 1]), 0.1))
    inst.ramp_end[10] = max(float(v[_FILTER + 2]), 0.0) / 6.0205999
    inst.ramp_end[11] = float(v[_FILTER + 3])


@kernel
def control(inst: Any, values: NDArray[np.float32], frames: int) -> None:
    """Head for new lane values (physical units, float32 (32,)) within `frames` samples, linearly in the lane's domain.

    A value that is not finite leaves its lane where it was heading. Bodies are retuned at the next `render`.
    """
    for lane in range(LANES):
        if finite_number(values[lane]):
            inst.values[lane] = values[lane]
    _aim(inst)
    inst.frames = max(frames, 1)
    inst.left = inst.frames
    inst.period += 1
    for k in range(RAMPS):
        inst.ramp_step[k] = (inst.ramp_end[k] - inst.ramp[k]) / inst.frames


@kernel
def note_on(inst: Any, key: int, pitch_midi: float, velocity: float, pan: float) -> None:
    """Play `key`: pitch in MIDI semitones, velocity 0..1, pan -1..1; heard from the next rendered sample.

    A key that sounds at the same pitch is struck again. Else a free voice takes the note, or the quietest one (released
    ones first) fades within 4 ms and takes it at the next segment. A pitch that is not finite is ignored.
    """
    if not (finite_number(pitch_midi) and finite_number(velocity) and finite_number(pan)):
        return
    chosen = -1
    best = 1e30
    for v in range(VOICES):
        one = inst.voice[v]
        if one.state == SOUNDING and one.gate == 1 and one.key == key:
            if abs(one.note.pitch - pitch_midi) < 0.02 and one.note.waiting == 0:
                chosen = v
                best = -2.0
            else:
                voice.let_go(one, inst.rate_hz)
        cost = one.heard
        if one.note.waiting == 1:
            cost = 1e9
        elif one.state == FREE:
            cost = -1.0
        elif one.gate == 1:
            cost += 1e3
        if cost < best:
            best = cost
            chosen = v
    taken = inst.voice[chosen]
    taken.note.key = key
    taken.note.pitch = pitch_midi
    taken.note.velocity = velocity
    taken.note.pan = pan
    taken.note.waiting = 1
    taken.note.released = 0
    if best >= 0.0 and taken.state == SOUNDING:
        taken.state = FADING
        taken.fade_left = int(FADE_SECONDS * inst.rate_hz)


@kernel
def note_off(inst: Any, key: int) -> None:
    """Release every voice that `key` holds, and the note of that key that still waits for a voice."""
    for v in range(VOICES):
        one = inst.voice[v]
        if one.note.waiting == 1 and one.note.key == key:
            one.note.released = 1
        if one.state == SOUNDING and one.gate == 1 and one.key == key:
            voice.let_go(one, inst.rate_hz)


@kernel
def bow(inst: Any, key: int, force: float) -> None:
    """Bow the body that `key` holds with a force 0..1, reached within one control period and kept until changed."""
    if finite_number(force):
        for v in range(VOICES):
            one = inst.voice[v]
            if one.state == SOUNDING and one.gate == 1 and one.key == key:
                voice.head_for_bow(one, force, inst.frames)


@kernel
def all_off(inst: Any) -> None:
    """Silence everything within 4 ms, without a click, and forget waiting notes."""
    for v in range(VOICES):
        one = inst.voice[v]
        one.note.waiting = 0
        if one.state == SOUNDING:
            one.state = FADING
            one.fade_left = int(FADE_SECONDS * inst.rate_hz)


@kernel
def active(inst: Any) -> int:
    """Return how many voices sound or are about to."""
    count = 0
    for v in range(VOICES):
        if inst.voice[v].state != FREE or inst.voice[v].note.waiting == 1:
            count += 1
    return count


@kernel
def _move(inst: Any, frames: int) -> None:
    """Write the moving lanes of the next `frames` samples: `value += step` until the control period is over.

    A one-pole of 2 ms rounds the corners of the ramps, which would be heard above 5 kHz on a dark tone.
    """
    smooth = 1.0 - math.exp(-1.0 / (ROUND_SECONDS * inst.rate_hz))
    for i in range(frames):
        if inst.left > 0:
            inst.left -= 1
            for k in range(RAMPS):
                inst.ramp[k] = inst.ramp_end[k] if inst.left == 0 else inst.ramp[k] + inst.ramp_step[k]
        for k in range(RAMPS):
            inst.lane[k] += smooth * (inst.ramp[k] - inst.lane[k])
        for k in range(4):
            inst.work.ratio[k, i] = inst.lane[k]
            inst.work.index[k, i] = inst.lane[4 + k]
        inst.octave[i] = inst.lane[8]
        inst.damping[i] = inst.lane[9]
        inst.drive[i] = inst.lane[10]
        inst.sweep[i] = inst.lane[11]
    for i in range(frames):
        for k in range(4):
            inst.work.ratio[k, i] = 2.0 ** float(inst.work.ratio[k, i])
        inst.damping[i] = 2.0 ** float(inst.damping[i])
        inst.drive[i] = 2.0 ** float(inst.drive[i])


@kernel
def render(bus: NDArray[np.float32], inst: Any) -> None:
    """Write the sum of all voices to `bus`, float32 (n, 2), n <= 64; a mezzo forte voice peaks near -18 dBFS."""
    frames = bus.shape[0]
    for i in range(frames):
        bus[i, 0] = 0.0
        bus[i, 1] = 0.0
    starting = inst.left == inst.frames
    _move(inst, frames)
    lines = inst.lines
    smooth = 1.0 - math.exp(-1.0 / (0.004 * inst.rate_hz))
    fade_step = 1.0 / (FADE_SECONDS * inst.rate_hz)
    for v in range(VOICES):
        one = inst.voice[v]
        if one.state == SOUNDING and starting:
            voice.tune(one, inst.values, inst.rate_hz, inst.frames)
        if one.state != FADING and one.note.waiting == 1:
            voice.begin(one, inst.values, inst.rate_hz, inst.notes)
            inst.notes += 1
        if one.state == FREE:
            continue

        envelope.render(lines.exciter, one.exciter, frames)
        envelope.render(lines.amp, one.amp, frames)
        # Chowning's dynamic index: brightness follows the envelope, and how hard the note was struck
        hard = np.float32(min(0.3 + 0.6 * one.level, 1.0))
        for i in range(frames):
            lines.swell[i] = hard * (np.float32(0.35) + np.float32(0.65) * lines.exciter[i])
        operators.render(lines.pm, inst.work, one.operators, lines.swell, one.fundamental_hz, inst.rate_hz, frames)
        voice.vibrate(lines, one, inst.rate_hz, frames)
        for i in range(frames):
            lines.octave[i] += inst.octave[i] + inst.sweep[i] * lines.exciter[i]
        svf.render(lines.body, one.filter, lines.octave, inst.damping, inst.drive, inst.table, frames)
        power = 0.0
        for i in range(frames):
            # a bow keeps the gate of the amplitude open
            lines.body[i] *= LEVEL * lines.post[i] * (lines.amp[i] + (1.0 - lines.amp[i]) * lines.bowed[i])
            power += lines.body[i] * lines.body[i]
        if not power < 1e6:
            inst.resets += 1
            one.state = FREE
            continue
        for i in range(frames):
            one.left_now += smooth * (one.left - one.left_now)
            one.right_now += smooth * (one.right - one.right_now)
            gain = 1.0
            if one.state == FADING:
                one.fade_left -= 1
                f = max(one.fade_left, 0) * fade_step
                gain = f * f * (3.0 - 2.0 * f)
            y = gain * lines.body[i]
            bus[i, 0] += y * one.left_now
            bus[i, 1] += y * one.right_now
        one.heard += 0.3 * (power / frames - one.heard)
        faded = one.state == FADING and one.fade_left <= 0
        silent = one.amp.stage == envelope.IDLE or one.heard < SILENT * LEVEL * LEVEL
        if faded or (one.state == SOUNDING and one.gate == 0 and silent):
            one.state = FREE
