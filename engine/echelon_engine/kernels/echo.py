"""A delay in time with the music: echoes on dotted eighths that go from left to right and back.

A new time is never slid to: a second tap fades in while the first fades out, without a change of pitch.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from echelon_engine._jit import kernel

SEGMENT = 64
CAPACITY = 1 << 17  # dotted eighths down to 35 bpm at 96 kHz
MASK = CAPACITY - 1
BEATS = 0.75
FEEDBACK = np.float32(0.58)  # from one side to the other
DARK_HZ = 4200.0  # every echo loses what is above and below
THIN_HZ = 180.0
FADE_S = 0.05

ECHO = np.dtype(
    [
        ("clock", np.int64),
        ("tap", np.int64, (2,)),  # samples, old and new
        ("wanted", np.int64),
        ("fade", np.int64),  # samples of the cross-fade to go
        ("fade_frames", np.int64),
        ("dark", np.float32),
        ("thin", np.float32),
        ("high", np.float32, (2,)),  # filter states
        ("low", np.float32, (2,)),
        ("line", np.float32, (2, CAPACITY)),
    ],
    align=True,
)


@kernel
def clear(echo: Any) -> None:
    """Forget all echoes."""
    for c in range(2):
        echo.high[c] = 0.0
        echo.low[c] = 0.0
        for i in range(CAPACITY):
            echo.line[c, i] = 0.0


@kernel
def init(echo: Any, rate_hz: float) -> None:
    """Prepare a zeroed ECHO record: half a second until `control` says otherwise."""
    echo.fade_frames = int(FADE_S * rate_hz)
    echo.dark = 1.0 - math.exp(-2.0 * math.pi * DARK_HZ / rate_hz)
    echo.thin = 1.0 - math.exp(-2.0 * math.pi * THIN_HZ / rate_hz)
    echo.wanted = int(0.5 * rate_hz)
    echo.tap[0] = echo.wanted
    echo.tap[1] = echo.wanted


@kernel
def control(echo: Any, beat_samples: float) -> None:
    """Set the tempo; a beat longer than the line holds is halved until it fits, a nonsensical one ignored."""
    if not 64.0 < beat_samples < 1e7:
        return
    samples = BEATS * beat_samples
    while samples > CAPACITY - 2 * SEGMENT:
        samples *= 0.5
    echo.wanted = max(int(samples + 0.5), SEGMENT)


@kernel
def render(wet: Any, dry: Any, echo: Any, frames: int) -> None:
    """Write the echoes of `dry` to `wet`, both float32 (2, >= frames); `frames` <= 64, never more than a tap."""
    line = echo.line
    if echo.fade == 0 and abs(echo.wanted - echo.tap[1]) > 1:
        echo.tap[0] = echo.tap[1]
        echo.tap[1] = echo.wanted
        echo.fade = echo.fade_frames
    step = np.float32(1.0 / echo.fade_frames)
    for c in range(2):
        old, new = echo.clock - echo.tap[0], echo.clock - echo.tap[1]
        for i in range(frames):
            f = np.float32(max(echo.fade - i, 0)) * step
            f = f * f * (np.float32(3.0) - np.float32(2.0) * f)
            x = line[c, (new + i) & MASK]
            wet[c, i] = x + f * (line[c, (old + i) & MASK] - x)
    for c in range(2):
        high, low = echo.high[c], echo.low[c]
        for i in range(frames):
            # left hears what comes in and the right echo, right hears the left echo
            x = FEEDBACK * wet[1 - c, i]
            if c == 0:
                x += np.float32(0.5) * (dry[0, i] + dry[1, i])
            high += echo.dark * (x - high)
            low += echo.thin * (high - low)
            line[c, (echo.clock + i) & MASK] = high - low
        echo.high[c] = high
        echo.low[c] = low
    echo.clock += frames
    echo.fade = max(echo.fade - frames, 0)
