"""Feedback delay network: sixteen delay lines mixed by a Hadamard matrix, the room around the instrument.

Every line loses exactly what its length calls for, so that all modes decay alike (J.-M. Jot and A. Chaigne, "Digital
delay networks for designing artificial reverberators", AES 90, 1991). Lengths are distinct primes. A new room size or
pre-delay is never slid to: a second tap fades in while the first fades out, without a change of pitch or a click.
Parameters and ranges: spec/engine.md, lanes 24-26.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_engine._jit import inlined, kernel

CHUNK = 64  # most samples of one pass: shorter than the shortest line, so a pass never reads what it writes
LINES = 16
CAPACITY = 16384  # 120 ms of pre-delay and 97 ms of line at 96 kHz, a power of two
MASK = CAPACITY - 1
DIFFUSERS = 3  # all-passes a channel: they thicken the first echoes
ROWS = LINES + 2 + 2 * DIFFUSERS  # lines, pre-delay left and right, all-passes left and right
INPUT = LINES
DIFFUSER = LINES + 2
DIFFUSION = np.float32(0.6)

SMALLEST = 0.2  # the smallest room, as a fraction of the largest
FADE_S = 1.0 / 30.0  # cross-fade to new lengths: two control frames
SIZE_DEADBAND = 0.005  # a wobble smaller than this starts no cross-fade
PREDELAY_DEADBAND_MS = 0.25
DAMPED_HZ = 10000.0  # here the room decays in DAMPED_RATIO of the asked time
DAMPED_RATIO = 0.8


def _primes(limit: int) -> NDArray[np.int64]:
    sieve = np.ones(limit, np.bool_)
    sieve[:2] = False
    for n in range(2, math.isqrt(limit) + 1):
        if sieve[n]:
            sieve[n * n :: n] = False
    return np.flatnonzero(sieve).astype(np.int64)


PRIMES = _primes(9600)
# Lengths of the largest room, ms: near a geometric row, off it by turns so that echoes do not fall into a pattern.
LENGTH_MS = np.array(
    [18.3, 20.1, 23.2, 25.3, 29.1, 31.5, 36.4, 39.2, 45.7, 48.9, 57.1, 60.8, 71.0, 75.9, 88.2, 96.9], np.float64
)
SIGN_IN = np.array([1, -1, -1, 1, 1, 1, -1, 1, -1, 1, 1, 1, -1, -1, 1, -1], np.float32)
SIGN_OUT = np.array([1, 1, 1, -1, -1, 1, 1, 1, 1, -1, -1, -1, -1, 1, 1, 1], np.float32)
DIFFUSER_MS = np.array([[4.73, 3.11, 7.87], [5.29, 2.77, 7.19]], np.float64)

# Every row of `buffer` repeats its first CHUNK samples at its end: a pass of up to CHUNK samples reads straight on.
REVERB = np.dtype(
    [
        ("rate_hz", np.float64),
        ("clock", np.int64),
        ("fresh", np.int64),  # the next `control` jumps to its values
        ("size", np.float64),  # of the latest cross-fade, 0..1
        ("predelay_ms", np.float64),
        ("tap", np.int64, (2, ROWS)),  # delays in samples: old and new
        ("fade_step", np.int64),  # samples into the cross-fade; fade_frames when there is none
        ("fade_frames", np.int64),
        ("step", np.int64),  # samples into the ramp of losses
        ("frames", np.int64),
        ("gain", np.float32, (2, LINES)),  # loss of one pass: from and to
        ("open", np.float32, (2, LINES)),  # coefficient of the damping low-pass, 1 is open: from and to
        ("level", np.float32, (2,)),  # input level that keeps the room as loud as its input
        ("damp", np.float32, (LINES,)),
        ("buffer", np.float32, (ROWS, CAPACITY + CHUNK)),
        ("row", np.float32, (ROWS, CHUNK)),
        ("ramp", np.float32, (CHUNK,)),
        ("fade", np.float32, (CHUNK,)),
        ("feed", np.float32, (2, CHUNK)),
    ],
    align=True,
)


@inlined
def smooth(u: float) -> float:
    """Return the quintic 0..1 of u in 0..1 whose first and second derivative vanish at both ends."""
    return u * u * u * (10.0 + u * (6.0 * u - 15.0))


@kernel
def clear(reverb: Any) -> None:
    """Silence the room: every delayed sample becomes 0; parameters stay."""
    for i in range(LINES):
        reverb.damp[i] = 0.0
    for i in range(ROWS):
        for k in range(CAPACITY + CHUNK):
            reverb.buffer[i, k] = 0.0


@kernel
def control(reverb: Any, size: float, decay_s: float, predelay_ms: float, frames: int) -> None:
    """Take new targets, reached within `frames` samples (decay) or one cross-fade (size, pre-delay).

    `size` 0..1, `decay_s` time to -60 dB at low frequencies 0.2..12 s, `predelay_ms` 0..120; finite, in range. A size
    or pre-delay that moves during a cross-fade is taken up by the first control frame after it.
    """
    tap, gain, opened, level, rate_hz = reverb.tap, reverb.gain, reverb.open, reverb.level, reverb.rate_hz
    moved = abs(size - reverb.size) > SIZE_DEADBAND or abs(predelay_ms - reverb.predelay_ms) > PREDELAY_DEADBAND_MS
    if reverb.fresh != 0 or (moved and reverb.fade_step >= reverb.fade_frames):
        reverb.size = size
        reverb.predelay_ms = predelay_ms
        reverb.fade_step = 0
        scale = math.exp(math.log(SMALLEST) * (1.0 - size)) * 1e-3 * rate_hz
        for i in range(LINES + 2):
            tap[0, i] = tap[1, i]
            tap[1, i] = max(int(predelay_ms * 1e-3 * rate_hz + 0.5), CHUNK)
            if i < LINES:
                # The smallest prime that is not below the wanted length.
                low, high = 0, PRIMES.shape[0] - 1
                while low < high:
                    middle = (low + high) // 2
                    if PRIMES[middle] < LENGTH_MS[i] * scale:
                        low = middle + 1
                    else:
                        high = middle
                tap[1, i] = PRIMES[low]
    now = np.float32(smooth(reverb.step / reverb.frames))
    power = 0.0
    for i in range(LINES):
        gain[0, i] += now * (gain[1, i] - gain[0, i])
        opened[0, i] += now * (opened[1, i] - opened[0, i])
        # g = 10^(-3 L / (T60 rate));  |H(w)| = g^(1/ratio) of a one-pole low-pass with H(0) = g gives its pole p:
        # p = (B - sqrt(B^2 - A^2)) / A,  A = 1 - k^2,  B = 1 - k^2 cos w,  k = g^(1/ratio - 1)
        loss_log = -3.0 * math.log(10.0) * tap[1, i] / (rate_hz * decay_s)
        k2 = math.exp(loss_log * (2.0 / DAMPED_RATIO - 2.0))
        a = 1.0 - k2
        b = 1.0 - k2 * math.cos(2.0 * math.pi * DAMPED_HZ / rate_hz)
        gain[1, i] = math.exp(loss_log)
        opened[1, i] = 1.0 - (b - math.sqrt(b * b - a * a)) / a
        power += math.exp(2.0 * loss_log)
    # Sum of the energies of all passes: 1 / (1 - mean g^2). The input is lowered by its root.
    level[0] += now * (level[1] - level[0])
    level[1] = math.sqrt(1.0 - power / LINES)
    reverb.step = 0
    reverb.frames = max(frames, 1)
    if reverb.fresh != 0:
        reverb.fresh = 0
        reverb.fade_step = reverb.fade_frames
        level[0] = level[1]
        for i in range(LINES):
            gain[0, i] = gain[1, i]
            opened[0, i] = opened[1, i]


@kernel
def init(reverb: Any, rate_hz: float) -> None:
    """Make a room of silence at the rate (Hz, at most 96 000); the first `control` gives it its size."""
    clear(reverb)
    reverb.rate_hz = rate_hz
    reverb.fresh = 1
    reverb.fade_frames = int(FADE_S * rate_hz)
    reverb.frames = 1
    for c in range(2):
        for d in range(DIFFUSERS):
            for old in range(2):
                reverb.tap[old, DIFFUSER + DIFFUSERS * c + d] = int(DIFFUSER_MS[c, d] * 1e-3 * rate_hz)


@kernel
def render(wet: NDArray[np.float32], dry: NDArray[np.float32], reverb: Any, m: int) -> None:
    """Write the room's answer to the first `m` samples of `dry` into `wet`, both float32 (2, CHUNK), left and right.

    The room answers after the pre-delay, at least CHUNK samples, and its shortest line.
    """
    rows, ramp, fade, feeds, clock = reverb.row, reverb.ramp, reverb.fade, reverb.feed, reverb.clock
    for k in range(m):
        ramp[k] = smooth(min(reverb.step + k + 1, reverb.frames) / reverb.frames)
        fade[k] = smooth(min(reverb.fade_step + k + 1, reverb.fade_frames) / reverb.fade_frames)
    # Read every row at both its delays; they are one and the same outside a cross-fade.
    before = 0 if reverb.fade_step < reverb.fade_frames else 1
    for i in range(ROWS):
        row = rows[i]
        line = reverb.buffer[i]
        old = (clock - reverb.tap[before, i]) & MASK
        new = (clock - reverb.tap[1, i]) & MASK
        for k in range(m):
            row[k] = line[old + k] + fade[k] * (line[new + k] - line[old + k])
    span = reverb.level[1] - reverb.level[0]
    for c in range(2):
        feed = feeds[c]
        head = rows[INPUT + c]
        for k in range(m):
            feed[k] = np.float32(0.35355339) * (reverb.level[0] + span * ramp[k]) * head[k]
            head[k] = dry[c, k]
            wet[c, k] = 0.0
        # All-pass  v = x - g v[D],  y = g v + v[D]
        for d in range(DIFFUSERS):
            late = rows[DIFFUSER + DIFFUSERS * c + d]
            for k in range(m):
                v = feed[k] - DIFFUSION * late[k]
                feed[k] = DIFFUSION * v + late[k]
                late[k] = v
    for i in range(LINES):
        row = rows[i]
        side = wet[i & 1]  # even lines are heard left, odd ones right: no sample in common
        # Loss and damping:  d <- d + open (x - d),  x <- g d
        gain, gain_span = reverb.gain[0, i], reverb.gain[1, i] - reverb.gain[0, i]
        opened, open_span = reverb.open[0, i], reverb.open[1, i] - reverb.open[0, i]
        damp = reverb.damp[i]
        for k in range(m):
            side[k] += SIGN_OUT[i] * row[k]
            damp += (opened + open_span * ramp[k]) * (row[k] - damp)
            row[k] = (gain + gain_span * ramp[k]) * damp
        reverb.damp[i] = damp
    # Fast Walsh-Hadamard transform over the lines, orthogonal with the factor 1/4.
    stride = 1
    while stride < LINES:
        for i in range(LINES):
            if i & stride == 0:
                upper = rows[i]
                lower = rows[i + stride]
                for k in range(m):
                    a = upper[k]
                    b = lower[k]
                    upper[k] = a + b
                    lower[k] = a - b
        stride *= 2
    # Append to every row, to the lines with their input; keep the beginning repeated at the end.
    at = clock & MASK
    for i in range(ROWS):
        row = rows[i]
        line = reverb.buffer[i]
        feed = feeds[(i // (LINES // 2)) & 1]
        scale = np.float32(0.25) if i < LINES else np.float32(1.0)
        sign = SIGN_IN[i] if i < LINES else np.float32(0.0)
        for k in range(m):
            line[at + k] = scale * row[k] + sign * feed[k]
        if at < CHUNK or at + m > CAPACITY:
            for k in range(at, at + m):
                if k < CHUNK:
                    line[k + CAPACITY] = line[k]
                elif k >= CAPACITY:
                    line[k - CAPACITY] = line[k]
    reverb.clock += m
    reverb.step = min(reverb.step + m, reverb.frames)
    reverb.fade_step = min(reverb.fade_step + m, reverb.fade_frames)
