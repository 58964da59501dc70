"""A track's own effects: low-pass, high-pass and distortion, each faded in and out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from echelon_engine._jit import kernel

LPF, HPF, DIST = 0, 1, 2
EFFECTS = 3
LPF_HZ = 700.0
HPF_HZ = 900.0
RESONANCE = 1.1  # Q of both filters
DRIVE = 24.0  # of the distortion, linear
LEVELLED = np.float32(0.24)  # a driven sound is as loud as the clean one, near enough

STRIP = np.dtype(
    [
        ("on", np.int64, (EFFECTS,)),  # computed; else it has faded out
        ("band", np.float32, (2, 2)),  # low-pass and high-pass, left and right
        ("low", np.float32, (2, 2)),
        ("last", np.float32, (2,)),  # of the distortion's antiderivative
        ("root", np.float32, (2,)),
    ],
    align=True,
)

_ONE, _TWO = np.float32(1.0), np.float32(2.0)


@kernel
def start(strip: Any, effect: int) -> None:
    """Make an effect that has been silent ready to be faded in."""
    if strip.on[effect] != 0:
        return
    strip.on[effect] = 1
    for c in range(2):
        if effect == DIST:
            strip.last[c] = 0.0
            strip.root[c] = 1.0
        else:
            strip.band[effect, c] = 0.0
            strip.low[effect, c] = 0.0


@kernel
def clear(strip: Any) -> None:
    """Forget what the filters and the distortion hold."""
    for c in range(2):
        for effect in range(2):
            strip.band[effect, c] = 0.0
            strip.low[effect, c] = 0.0
        strip.last[c] = 0.0
        strip.root[c] = 1.0


@kernel
def render(sound: Any, strip: Any, levels: Any, lane: int, stride: int, rate_hz: float, frames: int) -> None:
    """Apply the effects that are on to `sound`, float32 (2, >= frames), in place.

    `levels` float32 (>= frames, lanes): the share 0..1 of effect e at each sample stands in lane `lane + e stride`.
    Filters are `svf`'s; the drive is its antialiased saturation, f(x) = x sqrt(1 + k^2) / sqrt(1 + k^2 x^2).
    """
    damping = np.float32(1.0 / RESONANCE)
    for effect in range(2):
        if strip.on[effect] == 0:
            continue
        column = lane + effect * stride
        g = np.float32(math.tan(math.pi * (LPF_HZ if effect == LPF else HPF_HZ) / rate_hz))
        a1 = _ONE / (_ONE + g * (g + damping))
        for c in range(2):
            band, low = strip.band[effect, c], strip.low[effect, c]
            for i in range(frames):
                x = sound[c, i]
                v1 = a1 * (band + g * (x - low))
                v2 = low + g * v1
                band = _TWO * v1 - band
                low = _TWO * v2 - low
                y = v2 if effect == LPF else x - damping * v1 - v2
                sound[c, i] = x + levels[i, column] * (y - x)
            strip.band[effect, c] = band
            strip.low[effect, c] = low
    if strip.on[DIST] == 0:
        return
    column = lane + DIST * stride
    k2 = np.float32(DRIVE * DRIVE)
    scale = LEVELLED * np.float32(math.sqrt(1.0 + DRIVE * DRIVE))
    for c in range(2):
        last, root = strip.last[c], strip.root[c]
        for i in range(frames):
            x = sound[c, i]
            s = math.sqrt(_ONE + k2 * x * x)
            y = scale * (x + last) / (s + root)
            last = x
            root = s
            sound[c, i] = x + levels[i, column] * (y - x)
        strip.last[c] = last
        strip.root[c] = root
