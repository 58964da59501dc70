"""One note of the ensemble's pitched voices: a kernel that plays any row of `timbres`.

Oscillators are the saws of `waves`, q = p + I sin(r p), whose brightness leaves what lies above half the rate 60 dB
down. Filters are those of `svf`, side by side: a low-pass, formants of vowels, or
resonators over the pitch. All state moves per sample, so results do not depend on how a stretch is cut.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from echelon_engine._jit import inlined, int64, kernel
from echelon_engine.kernels import svf
from echelon_engine.kernels import timbres as tb
from echelon_engine.kernels.envelope import ATTACK_TAUS, LOG_1000, OVERSHOOT
from echelon_engine.kernels.sine import sine
from echelon_engine.kernels.timbres import BANDS, LAYERS
from echelon_engine.kernels.waves import exp2, saw

SEGMENT = 64  # samples rendered at a time, at most
MEZZO_FORTE = 0.65
FREE, HELD, RELEASED = 0, 1, 2
ALIAS_NEPERS = 7.9  # 69 dB

_LAYER = (np.float32, (LAYERS,))
_BAND = (np.float32, (BANDS,))
NOTE = np.dtype(
    [
        ("state", np.int64),
        ("waiting", np.int64),  # a note that begins with the next sample rendered
        ("next_pitch", np.float64),  # MIDI
        ("next_velocity", np.float64),
        ("next_gain", np.float64),
        ("next_samples", np.int64),
        ("next_chord", np.int64),
        ("age", np.int64),  # samples since the onset
        ("left", np.int64),  # samples to the release
        ("length", np.float64),
        ("seed", np.int64),  # of the noise
        ("layers", np.int64),
        ("bands", np.int64),
        ("bank", np.int64),
        ("hz", np.float64),
        ("loud", np.float32),
        ("amp", np.float64),  # envelopes: level, aim, share of the way per sample
        ("amp_aim", np.float64),
        ("amp_rate", np.float64),
        ("attacking", np.int64),
        ("mod", np.float64),
        ("mod_rise", np.float64),
        ("mod_fall", np.float64),
        ("mod_rising", np.int64),
        ("drop", np.float64),  # semitones
        ("drop_fall", np.float64),
        ("octave", np.float64),  # of the filter, before envelope and travel
        ("phase", np.int64, (LAYERS,)),  # 2^64 is one turn
        ("step", np.float64, (LAYERS,)),
        ("low_a", *_LAYER),  # brightness at rest and what the second envelope adds
        ("top_a", *_LAYER),
        ("index", *_LAYER),  # turns
        ("left_gain", *_LAYER),
        ("right_gain", *_LAYER),
        ("place", *_BAND),  # octaves above 10 Hz, from and to
        ("place_to", *_BAND),
        ("band_level", *_BAND),
        ("band_level_to", *_BAND),
        ("damping", *_BAND),
        ("band", np.float32, (BANDS, 2)),  # filter states, left and right
        ("low", np.float32, (BANDS, 2)),
    ],
    align=True,
)

_LINE = (np.float32, (SEGMENT,))
WORK = np.dtype(
    [
        ("amp", *_LINE),
        ("mod", *_LINE),
        ("bend", *_LINE),
        ("octave", *_LINE),
        ("turn", *_LINE),
        ("noise", np.float32, (2, SEGMENT)),
        ("source", np.float32, (2, SEGMENT)),
        ("sound", np.float32, (2, SEGMENT)),
        ("g", *_LINE),
        ("share", *_LINE),
        ("cut", np.float32, (2, SEGMENT)),
        ("table", np.float32, (svf.TABLE,)),
    ],
    align=True,
)

_TABLE, _VOWEL_HZ, _VOWEL_LEVEL, _PATH = tb.TABLE, tb.VOWEL_HZ, tb.VOWEL_LEVEL, tb.VOWEL_PATH
_HARMONIC, _HARMONIC_LEVEL = tb.HARMONIC, tb.HARMONIC_LEVEL
_TURN = 2.0**64
_TO_FLOAT = np.float32(2.0**-32)
_ONE, _TWO, _ZERO = np.float32(1.0), np.float32(2.0), np.float32(0.0)
_QUARTER = np.float32(0.25)
_MORPH_S = 0.5  # from one vowel to the next


@inlined
def _share(seconds: float, rate_hz: float) -> float:
    """Return the share of the way per sample of a fall by 60 dB within `seconds`."""
    return 1.0 - math.exp(-LOG_1000 / max(seconds * rate_hz, 1.0))


@kernel
def begin(note: Any, timbre: int, count: int, rate_hz: float) -> None:
    """Start the waiting note from silence; `count` tells notes of one voice apart."""
    row = _TABLE[timbre]
    hz = 440.0 * 2.0 ** ((note.next_pitch - 69.0) / 12.0)
    hard = (note.next_velocity - MEZZO_FORTE) / (1.0 - MEZZO_FORTE)
    note.hz = hz
    note.state = HELD
    note.waiting = 0
    note.age = 0
    note.left = note.next_samples
    note.length = float(note.next_samples)
    note.seed = 7919 * (count + 1) + 104729 * (timbre + 1)
    note.loud = row[tb.LEVEL] * note.next_gain * note.next_velocity / MEZZO_FORTE
    attack = row[tb.ATTACK] * rate_hz
    attack = max(attack, min(row[tb.SWELL] * note.length, 4.0 * rate_hz))
    note.amp = 0.0
    note.amp_aim = OVERSHOOT
    note.amp_rate = 1.0 - math.exp(-ATTACK_TAUS / max(attack, 1.0))
    note.attacking = 1
    note.mod = 0.0
    note.mod_rise = 1.0 / max(row[tb.MOD_ATTACK] * rate_hz, 1.0)
    note.mod_fall = _share(row[tb.MOD_DECAY], rate_hz)
    note.mod_rising = 1
    note.drop = row[tb.DROP]
    note.drop_fall = math.exp(-1.0 / (row[tb.DROP_S] * rate_hz))

    note.layers = 0
    interval = 0.0
    brighter = 2.0 ** (row[tb.HARDNESS] * hard)
    highest = 2.0 ** (abs(row[tb.RISE]) / 12.0)
    for k in range(LAYERS):
        at = tb.FIRST_LAYER + k * tb.PER_LAYER
        level = row[at + tb.LAYER_LEVEL]
        if level <= 0.0:
            continue
        if row[at + tb.CHORD] > 0.0 and note.next_chord != 0:
            # the next tone of the chord at least a minor third above the layer before
            base = int64(note.next_pitch + 0.5) + int64(interval)
            interval += 12.0
            for up in range(3, 12):
                if (note.next_chord >> ((base + up) % 12)) & 1:
                    interval += up - 12.0
                    break
        else:
            interval = row[at + tb.INTERVAL]
        f = hz * 2.0 ** ((interval + 0.01 * row[at + tb.CENTS]) / 12.0)
        top = f * highest  # as high as it will go
        nyquist = 0.5 * rate_hz
        if top > 0.85 * nyquist:
            level = 0.0
            top = 0.85 * nyquist
        # an index I fills 3.6 + 1.5 I partials of the modulator, and spreads every partial of a saw likewise
        modulator = top * row[at + tb.RATIO]
        room = (0.9 * nyquist - top - 3.6 * modulator) / (1.5 * modulator)
        index = min(row[at + tb.INDEX] * (1.0 + 0.4 * hard), max(room, 0.0))
        spread = 1.0 + 1.5 * index * row[at + tb.RATIO]
        # partials above half the rate: log(1 / k) and the roll-off together 69 dB below the first
        fastest = (nyquist - top) / max(ALIAS_NEPERS - math.log(nyquist / top + 1.0), 0.5) / spread
        note.index[k] = index / (2.0 * math.pi)
        note.low_a[k] = max(math.exp(-top / min(row[tb.ROLL] * brighter, fastest)), 1e-3)
        note.top_a[k] = max(math.exp(-top / min(row[tb.ROLL_TOP] * brighter, fastest)), 1e-3) - note.low_a[k]
        pan = 0.25 * math.pi * (row[at + tb.PAN] + 1.0)
        note.left_gain[k] = math.sqrt(2.0) * math.cos(pan) * level
        note.right_gain[k] = math.sqrt(2.0) * math.sin(pan) * level
        note.step[k] = f / rate_hz
        # layers in the middle start together: a clear attack; those aside apart, in pairs that leave the pitch alone
        note.phase[k] = int64(0.3 * row[at + tb.PAN] * _TURN)
        note.layers = k + 1

    note.bank = int64(row[tb.BANK])
    note.bands = 1 if note.bank == tb.LOWPASS else BANDS
    note.octave = row[tb.FOLLOW] * math.log2(hz / 261.6256) + row[tb.HARDNESS] * hard
    for b in range(BANDS):
        q = row[tb.Q]
        cutoff, to, level, level_to = row[tb.CUTOFF], row[tb.CUTOFF], 1.0, 1.0
        if note.bank == tb.VOWELS:
            path = count % tb.PATHS
            first, second = _PATH[path, 0], _PATH[path, 1]
            cutoff, to = _VOWEL_HZ[first, b], _VOWEL_HZ[second, b]
            level, level_to = _VOWEL_LEVEL[first, b], _VOWEL_LEVEL[second, b]
            if b == 0:  # singers lift the first formant to the pitch
                cutoff = max(cutoff, hz)
                to = max(to, hz)
            q *= 1.0 + 0.3 * b
        elif note.bank == tb.HARMONICS:
            cutoff = 261.6256 * _HARMONIC[b]
            to = cutoff
            # white noise through a resonator: as loud at any pitch
            level = _HARMONIC_LEVEL[b] * math.sqrt(q * 261.6256 / (_HARMONIC[b] * hz))
            if _HARMONIC[b] * hz > 0.4 * rate_hz:
                level = 0.0
            level_to = level
        note.place[b] = math.log2(cutoff) - tb.LOG2_LOWEST
        note.place_to[b] = math.log2(to) - tb.LOG2_LOWEST
        note.band_level[b] = level
        note.band_level_to[b] = level_to
        note.damping[b] = 1.0 / q
        for c in range(2):
            note.band[b, c] = 0.0
            note.low[b, c] = 0.0


@kernel
def _move(work: Any, note: Any, timbre: int, rate_hz: float, frames: int) -> None:
    """Write envelopes, pitch and filter of the next samples: all that moves one sample after the other."""
    row = _TABLE[timbre]
    release = _share(row[tb.RELEASE], rate_hz)
    decay = _share(row[tb.DECAY], rate_hz)
    sustain, mod_sustain = row[tb.SUSTAIN], row[tb.MOD_SUSTAIN]
    vibrato = 2.0 ** (row[tb.VIBRATO_CENTS] / 1200.0) - 1.0
    rise, travel, sweep = row[tb.RISE] / 12.0, row[tb.TRAVEL], row[tb.SWEEP]
    per_length = 1.0 / note.length
    for i in range(frames):
        if note.left <= 0 and note.state == HELD:
            note.state = RELEASED
            note.attacking = 0
            note.amp_aim = 0.0
            note.amp_rate = release
        note.left -= 1
        note.amp += (note.amp_aim - note.amp) * note.amp_rate
        if note.attacking != 0 and note.amp >= 1.0:
            note.amp = 1.0
            note.attacking = 0
            note.amp_aim = sustain
            note.amp_rate = decay
        if note.state == RELEASED and note.amp < 1e-5:
            note.amp = 0.0
            note.amp_rate = 0.0
        if note.mod_rising != 0:
            note.mod += note.mod_rise
            if note.mod >= 1.0:
                note.mod = 1.0
                note.mod_rising = 0
        else:
            note.mod += (mod_sustain - note.mod) * note.mod_fall
        note.drop *= note.drop_fall
        along = min(note.age * per_length, 1.0)
        seconds = note.age / rate_hz
        turns = seconds * row[tb.VIBRATO]
        late = min(max((seconds - row[tb.VIBRATO_AFTER]) * 4.0, 0.0), 1.0)
        shake = late * vibrato * float(sine(np.float32(turns - math.floor(turns))))
        work.bend[i] = exp2(note.drop / 12.0 + rise * along) * (1.0 + shake)
        work.octave[i] = note.octave + sweep * note.mod + travel * along
        work.amp[i] = note.amp
        work.mod[i] = note.mod
        work.share[i] = min(seconds / _MORPH_S, 1.0)
        note.age += 1


@inlined
def _swell(age: int, i: int, which: int, pace: float, depth: Any) -> Any:
    """Return 1 + depth sin(..): every layer and band breathes at its own pace, float32."""
    turns = (age + i) * pace * (1.0 + 0.31 * which) + 0.37 * which
    return _ONE + depth * sine(np.float32(turns - math.floor(turns)))


@kernel
def oscillate(work: Any, note: Any, timbre: int, rate_hz: float, frames: int) -> None:
    """Write the layers to `work.source` and noise to `work.noise`, left and right."""
    row = _TABLE[timbre]
    source, noise, turn = work.source, work.noise, work.turn
    depth, pace = np.float32(row[tb.DRIFT]), row[tb.DRIFT_HZ] / rate_hz
    age = note.age - frames
    for i in range(frames):
        source[0, i] = _ZERO
        source[1, i] = _ZERO
    for k in range(note.layers):
        phase = note.phase[k]
        step = note.step[k]
        for i in range(frames):
            turn[i] = np.float32(np.int32(phase >> 32)) * _TO_FLOAT
            phase += int64(min(step * work.bend[i], 0.45) * _TURN)
        note.phase[k] = phase
        low_a, top_a, index = note.low_a[k], note.top_a[k], note.index[k]
        ratio = np.float32(row[tb.FIRST_LAYER + k * tb.PER_LAYER + tb.RATIO])
        left, right = note.left_gain[k], note.right_gain[k]
        for i in range(frames):
            p = turn[i]
            a = low_a + top_a * work.mod[i]
            # as loud as a sine: power of the series sum a^2k / k^2 = Li2(a^2)
            x = a * a
            power = x * (_ONE + x * (_QUARTER + np.float32(0.395) * x * x * x))
            bent = p + index * work.mod[i] * sine(ratio * p)
            y = saw(bent, a) / math.sqrt(power)
            if depth > _ZERO:
                y *= _swell(age, i, k, pace, depth)
            source[0, i] += left * y
            source[1, i] += right * y
    hiss, chiff = np.float32(row[tb.NOISE]), np.float32(row[tb.CHIFF])
    if hiss + chiff > _ZERO:
        for c in range(2):
            for i in range(frames):
                # a hash of the sample's number (Wellons, "lowbias32")
                h = np.uint32(age + i) * np.uint32(2) + np.uint32(c) + np.uint32(note.seed) * np.uint32(0x9E3779B1)
                h = np.uint32(h)
                h = np.uint32(h ^ (h >> np.uint32(16)))
                h = np.uint32(h * np.uint32(0x7FEB352D))
                h = np.uint32(h ^ (h >> np.uint32(15)))
                h = np.uint32(h * np.uint32(0x846CA68B))
                h = np.uint32(h ^ (h >> np.uint32(16)))
                white = np.float32(np.int32(h)) * np.float32(2.0**-31)
                noise[c, i] = white * (hiss + chiff * work.mod[i])
    else:
        for i in range(frames):
            noise[0, i] = _ZERO
            noise[1, i] = _ZERO


@kernel
def _filter(work: Any, note: Any, timbre: int, rate_hz: float, frames: int) -> None:
    """Send `work.source` and `work.noise` through the bands to `work.sound` (Simper's equations, see `svf`)."""
    row = _TABLE[timbre]
    source, sound, table, g = work.source, work.sound, work.table, work.g
    airy = note.bank == tb.HARMONICS
    depth, pace = np.float32(row[tb.DRIFT]), row[tb.DRIFT_HZ] / rate_hz
    age = note.age - frames
    shape, spread = np.float32(row[tb.BAND]), row[tb.SPREAD]
    for c in range(2):
        for i in range(frames):
            sound[c, i] = source[c, i] if airy else _ZERO
            source[c, i] = work.noise[c, i] if airy else source[c, i] + work.noise[c, i]
    for b in range(note.bands):
        k = note.damping[b]
        from_octave, octaves = note.place[b], note.place_to[b] - note.place[b]
        from_level, levels = note.band_level[b], note.band_level_to[b] - note.band_level[b]
        for i in range(frames):
            g[i] = svf.coefficient(table, work.octave[i] + from_octave + octaves * work.share[i])
        aside = spread * ((b + 1) // 2) / 2.0
        angle = 0.25 * math.pi * (1.0 + (aside if b % 2 == 0 else -aside))
        # resonance levelled, so a high Q sings without jumping out; a band-pass peaks at 1
        levelled = math.sqrt(_TWO * k / (_ONE + k))
        low_gain, band_gain = (_ONE - shape) * levelled, shape * k
        left = np.float32(math.sqrt(2.0) * math.cos(angle))
        right = np.float32(math.sqrt(2.0) * math.sin(angle))
        band_l, low_l, band_r, low_r = note.band[b, 0], note.low[b, 0], note.band[b, 1], note.low[b, 1]
        breathing = depth > _ZERO and note.bands > 1
        for i in range(frames):
            a1 = _ONE / (_ONE + g[i] * (g[i] + k))
            v1 = a1 * (band_l + g[i] * (source[0, i] - low_l))
            v2 = low_l + g[i] * v1
            w1 = a1 * (band_r + g[i] * (source[1, i] - low_r))
            w2 = low_r + g[i] * w1
            band_l = _TWO * v1 - band_l
            low_l = _TWO * v2 - low_l
            band_r = _TWO * w1 - band_r
            low_r = _TWO * w2 - low_r
            level = from_level + levels * work.share[i]
            if breathing:
                level *= _swell(age, i, b, pace, depth)
            sound[0, i] += level * left * (low_gain * v2 + band_gain * v1)
            sound[1, i] += level * right * (low_gain * w2 + band_gain * w1)
        note.band[b, 0], note.low[b, 0], note.band[b, 1], note.low[b, 1] = band_l, low_l, band_r, low_r


@kernel
def sound(left: Any, right: Any, work: Any, note: Any, timbre: int, rate_hz: float, frames: int) -> None:
    """Add `frames` samples of a note to `left` and `right`, float32 (>= frames,)."""
    _move(work, note, timbre, rate_hz, frames)
    oscillate(work, note, timbre, rate_hz, frames)
    _filter(work, note, timbre, rate_hz, frames)
    k2 = np.float32(_TABLE[timbre, tb.DRIVE]) * np.float32(_TABLE[timbre, tb.DRIVE])
    loud = note.loud * math.sqrt(_ONE + k2)
    sound, amp = work.sound, work.amp
    for i in range(frames):
        x, y = sound[0, i], sound[1, i]
        left[i] += loud * amp[i] * x / math.sqrt(_ONE + k2 * x * x)
        right[i] += loud * amp[i] * y / math.sqrt(_ONE + k2 * y * y)
    if note.state == RELEASED and note.amp == 0.0:
        note.state = FREE
