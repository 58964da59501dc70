"""One stroke on a drum: modes of a struck body and two bands of noise, from the blow to exact silence."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_engine._jit import inlined, int64, kernel
from echelon_engine.kernels import drum_sounds as ds
from echelon_engine.kernels.envelope import LOG_1000
from echelon_engine.kernels.sine import sine

MODES = ds.MODES
BANDS = ds.BANDS

_PER_MODE = (np.float32, (MODES,))
_PER_BAND = (np.float32, (BANDS,))
STROKE = np.dtype(
    [
        ("phase", *_PER_MODE),  # turns
        ("step", *_PER_MODE),  # turns per sample at rest
        ("level", *_PER_MODE),
        ("fall", *_PER_MODE),  # factor per sample
        ("bend_phase", *_PER_MODE),  # of what bends a mode
        ("bend_step", *_PER_MODE),
        ("bend", np.float32),  # turns
        ("bend_fall", np.float32),
        ("glide", np.float32),  # pitch above rest, as a share
        ("glide_fall", np.float32),
        ("swell", np.float32),  # attack of the body, 0 towards 1
        ("swell_rate", np.float32),
        ("route", np.float32),
        ("fast", *_PER_BAND),  # envelopes of the noise
        ("slow", *_PER_BAND),
        ("fast_fall", *_PER_BAND),
        ("slow_fall", *_PER_BAND),
        ("fast_start", *_PER_BAND),
        ("envelope", *_PER_BAND),  # their sum after the attack
        ("attack_rate", *_PER_BAND),
        ("g", *_PER_BAND),  # filters
        ("k", *_PER_BAND),
        ("mix_low", *_PER_BAND),
        ("mix_band", *_PER_BAND),
        ("mix_high", *_PER_BAND),
        ("band", *_PER_BAND),
        ("low", *_PER_BAND),
        ("drive", np.float32),
        ("gain", np.float32),
        ("last", np.float32),  # of the DC blocker
        ("blocked", np.float32),
        ("pole", np.float32),
        ("shelf", np.float32),  # gain of what lies above SHELF_HZ, less 1
        ("shelf_rate", np.float32),
        ("below", np.float32),  # what lies below
        ("output", np.float32),  # the last sample
        ("fade", np.float32),  # 1, or on its way to 0
        ("fade_step", np.float32),
        ("seed", np.int64),  # of the noise
        ("bursts", np.int64),  # starts of the fast noise still to come
        ("spacing", np.int64),  # samples between them
        ("until", np.int64),  # the next
        ("left", np.int64),  # samples still to sound; 0: idle
        ("end", np.int64),  # how many of them fade
    ],
    align=True,
)

REFERENCE = 0.8  # the velocity that the table describes
SHELF_HZ = 5000.0  # above it velocity counts most
BLOCK_HZ = 12.0  # of the DC blocker
_FLOOR = np.float32(1e-20)  # added to what decays: never a denormal number, and -400 dB
_ONE = np.float32(1.0)


@inlined
def following(seed: int) -> int:
    """Return the next of 2^32 numbers in the order of a linear congruential generator (Numerical Recipes, ch. 7.1)."""
    return (seed * 1664525 + 1013904223) & 0xFFFFFFFF


@inlined
def _fall(decay_s: float, rate_hz: float) -> float:
    """Return the factor per sample of a decay by 60 dB within `decay_s`."""
    return math.exp(-LOG_1000 / max(decay_s * rate_hz, 1.0))


@inlined
def _last(level: float, decay_s: float) -> float:
    """Return the seconds until a level has decayed to -96 dB."""
    return decay_s * max(math.log(max(level, 1e-9)) / LOG_1000 + 1.6, 0.0)


@kernel
def start(
    stroke: Any, row: NDArray[np.float64], tune_semitones: float, velocity: float, gain: float, rate: float, seed: int
) -> None:
    """Begin a stroke as a row of `drum_sounds`, float64 (COLUMNS,), with all numbers finite and velocity 0..1.

    A harder blow lasts shorter, so high modes gain (Fletcher & Rossing 1998, ch. 19.3: force pulse of a mallet), and
    stretches the membrane, so that the pitch starts higher (ibid., ch. 18.4): with h = velocity - 0.8,

        mode k by (f_k / f_1)^(1.5 h), glide and bend by 1 + h, cutoffs by 2^(1.5 h), click by 2^(2.5 h),
        what lies above 5 kHz by 2^(2 h), all by v^1.5
    """
    harder = velocity - REFERENCE
    tune = 2.0 ** (min(max(tune_semitones, -60.0), 60.0) / 12.0)
    density = math.sqrt(rate / 44100.0)  # white noise at twice the rate has half the power in each band
    stroke.seed = seed
    stroke.output = 0.0

    longest = 0.0
    for k in range(MODES):
        hz = row[ds.PITCH] * row[ds.RATIO + k] * tune
        neighbour_hz = row[ds.PITCH] * row[ds.RATIO + (k + 3) % MODES] * tune * row[ds.BEND_RATIO]
        level = row[ds.MODE_LEVEL + k] * max(row[ds.RATIO + k], 0.1) ** (1.5 * harder)
        if hz > 0.45 * rate:
            level = 0.0
        stroke.phase[k] = 0.0
        stroke.step[k] = min(hz / rate, 0.45)
        stroke.bend_phase[k] = 0.0
        stroke.bend_step[k] = min(neighbour_hz / rate, 0.45)
        stroke.level[k] = level
        stroke.fall[k] = _fall(row[ds.MODE_DECAY + k], rate)
        longest = max(longest, _last(level, row[ds.MODE_DECAY + k]))
    stroke.bend = row[ds.BEND] * (1.0 + harder)
    stroke.bend_fall = _fall(row[ds.BEND_S], rate)
    stroke.glide = row[ds.GLIDE] * (1.0 + harder)
    stroke.glide_fall = math.exp(-1.0 / (row[ds.GLIDE_S] * rate))
    stroke.swell = 0.0
    stroke.swell_rate = 1.0 - math.exp(-1.0 / max(row[ds.ATTACK] * rate, 0.2))
    stroke.route = row[ds.ROUTE]

    for b in range(BANDS):
        at = ds.BAND + b * ds.BAND_COLUMNS
        level = row[at + ds.B_LEVEL] * density
        if b == 1:
            level *= 2.0 ** (2.5 * harder)
        cutoff_hz = row[at + ds.B_CUTOFF] * tune * 2.0 ** (1.5 * harder)
        stroke.fast_start[b] = level * (1.0 - row[at + ds.B_SHARE])
        stroke.fast[b] = stroke.fast_start[b]
        stroke.slow[b] = level * row[at + ds.B_SHARE]
        stroke.fast_fall[b] = _fall(row[at + ds.B_FAST], rate)
        stroke.slow_fall[b] = _fall(row[at + ds.B_SLOW], rate)
        stroke.envelope[b] = 0.0
        stroke.attack_rate[b] = 1.0 - math.exp(-1.0 / max(row[at + ds.B_ATTACK] * rate, 0.2))
        stroke.g[b] = math.tan(math.pi * min(max(cutoff_hz / rate, 1e-4), 0.45))
        stroke.k[b] = 1.0 / row[at + ds.B_Q]
        stroke.mix_low[b] = row[at + ds.B_LOW]
        stroke.mix_band[b] = row[at + ds.B_BAND] / row[at + ds.B_Q]
        stroke.mix_high[b] = row[at + ds.B_HIGH]
        stroke.band[b] = 0.0
        stroke.low[b] = 0.0
        longest = max(longest, _last(stroke.fast_start[b], row[at + ds.B_FAST]))
        longest = max(longest, _last(stroke.slow[b], row[at + ds.B_SLOW]))

    stroke.drive = row[ds.DRIVE] * (1.0 + harder)
    stroke.gain = row[ds.LEVEL] * gain * velocity * math.sqrt(velocity)
    stroke.shelf = 2.0 ** (2.0 * harder) - 1.0
    stroke.shelf_rate = 1.0 - math.exp(-2.0 * math.pi * min(SHELF_HZ / rate, 0.45))
    stroke.below = 0.0
    stroke.last = 0.0
    stroke.blocked = 0.0
    stroke.pole = math.exp(-2.0 * math.pi * BLOCK_HZ / rate)
    stroke.fade = 1.0
    stroke.fade_step = 0.0
    stroke.bursts = int64(row[ds.BURSTS]) - 1
    stroke.spacing = int64(row[ds.SPACING] * rate)
    stroke.until = stroke.spacing
    longest = min(longest + row[ds.SPACING] * row[ds.BURSTS] + 2.0 * row[ds.CLOSE], row[ds.LENGTH])
    stroke.left = max(int64(longest * rate), 2)
    stroke.end = max(int64(row[ds.CLOSE] * rate), 1)


@inlined
def _render_body(body: NDArray[np.float32], stroke: Any, frames: int) -> None:
    """Write the modes: sum over k of a_k sin 2 pi (p_k + I sin 2 pi q_k), all pitches gliding together."""
    bend = stroke.bend
    glide = stroke.glide
    swell = stroke.swell
    for i in range(frames):
        stretch = _ONE + glide
        total = np.float32(0.0)
        for k in range(MODES):
            p = stroke.phase[k]
            q = stroke.bend_phase[k]
            total += stroke.level[k] * sine(p + bend * sine(q))
            stroke.level[k] = stroke.level[k] * stroke.fall[k] + _FLOOR
            p += stroke.step[k] * stretch
            q += stroke.bend_step[k] * stretch
            stroke.phase[k] = p - np.float32(np.int32(p))
            stroke.bend_phase[k] = q - np.float32(np.int32(q))
        swell += (_ONE - swell) * stroke.swell_rate
        body[i] = total * swell
        bend = bend * stroke.bend_fall + _FLOOR
        glide = glide * stroke.glide_fall + _FLOOR
    stroke.bend = bend
    stroke.glide = glide
    stroke.swell = swell


@inlined
def _render_band(body: NDArray[np.float32], x: NDArray[np.float32], stroke: Any, b: int, frames: int) -> None:
    """Add one band of the noise `x` to `body`; the first also filters what the body sends it.

    Simper's trapezoidal filter (see `svf`): v1 = a1 (band + g (x - low)), v2 = low + g v1, high = x - k v1 - v2.
    """
    g = stroke.g[b]
    k = stroke.k[b]
    a1 = _ONE / (_ONE + g * (g + k))
    fast = stroke.fast[b]
    slow = stroke.slow[b]
    envelope = stroke.envelope[b]
    band = stroke.band[b]
    low = stroke.low[b]
    route = stroke.route if b == 0 else np.float32(0.0)
    for i in range(frames):
        if b == 0 and stroke.bursts > 0:
            stroke.until -= 1
            if stroke.until == 0:
                stroke.until = stroke.spacing
                stroke.bursts -= 1
                fast = stroke.fast_start[0]
        envelope += (fast + slow - envelope) * stroke.attack_rate[b]
        fast = fast * stroke.fast_fall[b] + _FLOOR
        slow = slow * stroke.slow_fall[b] + _FLOOR
        sent = route * body[i]
        entering = x[i] * envelope + sent
        v1 = a1 * (band + g * (entering - low))
        v2 = low + g * v1
        band = np.float32(2.0) * v1 - band
        low = np.float32(2.0) * v2 - low
        filtered = stroke.mix_low[b] * v2 + stroke.mix_band[b] * v1 + stroke.mix_high[b] * (entering - k * v1 - v2)
        body[i] += filtered - sent
    stroke.fast[b] = fast
    stroke.slow[b] = slow
    stroke.envelope[b] = envelope
    stroke.band[b] = band
    stroke.low[b] = low


@kernel
def render(
    out: NDArray[np.float32], stroke: Any, body: NDArray[np.float32], noise: NDArray[np.float32], frames: int
) -> None:
    """Add a stroke to `out`: body and noise, a saturating drive (see `svf`), shelf, DC blocker, the fade at its end.

    `body` and `noise` are scratch, float32 (>= frames,). Sets `left` to 0 when the stroke has ended.
    """
    frames = min(frames, stroke.left)
    seed = stroke.seed
    for i in range(frames):
        seed = following(seed)
        noise[i] = np.float32(seed) * np.float32(2.0**-31) - _ONE
    stroke.seed = seed
    _render_body(body, stroke, frames)
    _render_band(body, noise, stroke, 0, frames)
    _render_band(body, noise, stroke, 1, frames)
    k2 = stroke.drive * stroke.drive
    scale = stroke.gain * math.sqrt(_ONE + k2)
    for i in range(frames):
        body[i] = body[i] * scale / math.sqrt(_ONE + k2 * body[i] * body[i])
    below = stroke.below
    last = stroke.last
    blocked = stroke.blocked
    fade = stroke.fade
    for i in range(frames):
        below += (body[i] - below) * stroke.shelf_rate
        x = body[i] + stroke.shelf * (body[i] - below)
        blocked = x - last + stroke.pole * blocked
        last = x
        step = stroke.fade_step
        if stroke.left <= stroke.end:
            step = max(step, _ONE / np.float32(stroke.end))
        stroke.left -= 1
        fade = max(fade - step, np.float32(0.0))
        # a smooth step: no corner where it starts and where it ends
        stroke.output = blocked * fade * fade * (np.float32(3.0) - np.float32(2.0) * fade)
        out[i] += stroke.output
    stroke.below = below
    stroke.last = last
    stroke.blocked = blocked
    stroke.fade = fade
    if fade <= np.float32(0.0):
        stroke.left = 0
