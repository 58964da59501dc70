"""The tempo of the musical clock: set by people, by the style, by the performer's own rhythm, or from outside.

Following a rhythm, the clock changes by at most SLEW bpm a second and never jumps: its tempo is folded by octaves into
the style's range, and its beats are drawn towards the motion's beats by a tempo up to PULL faster or slower.

    error e = phase of the motion - phase of the clock, wrapped to -0.5..0.5 beats
    bpm = followed (1 + clip(e / PULL_S / (followed / 60), -PULL, PULL))

Source: spec/engine.md, "Time"; a phase-locked loop of second order as in Large and Jones
1999, "The dynamics of attending".
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from echelon_engine._jit import kernel

FIXED, STYLE, PERFORMER, EXTERNAL = 0, 1, 2, 3
SLEW = 4.0  # bpm a second
GLIDE = 12.0  # bpm a second, from one style's tempo to the next
PULL = 0.04
PULL_S = 2.0  # an error is made good within about this time
SURE = 0.35  # commitment from which the motion's rhythm is believed
SLOWEST, FASTEST = 20.0, 300.0
EXTERNAL_LOST_S = 2.0

TEMPO = np.dtype(
    [
        ("bpm", np.float64),  # of the next control frame
        ("followed", np.float64),  # without the pull of the phase
        ("external_bpm", np.float64),
        ("external_phase", np.float64),  # of the external beat, now
        ("external_s", np.float64),  # since it was heard
        ("error", np.float64),  # beats, -0.5..0.5
    ],
    align=True,
)


@kernel
def init(state: Any, bpm: float) -> None:
    """Begin at `bpm`; nothing was heard from outside."""
    jump(state, bpm)
    state.external_s = EXTERNAL_LOST_S


@kernel
def jump(state: Any, bpm: float) -> None:
    """Be at `bpm` at once, if that is a tempo."""
    if SLOWEST <= bpm <= FASTEST:
        state.bpm = bpm
        state.followed = bpm


@kernel
def folded(bpm: float, low: float, high: float) -> float:
    """Return `bpm` doubled or halved until it lies in low..high, or the nearest end where no octave of it does."""
    if not bpm > 0.0:
        return low
    while bpm < low:
        bpm *= 2.0
    while bpm > high and bpm * 0.5 >= low:
        bpm *= 0.5
    if bpm <= high:
        return bpm
    return high if bpm / high <= 2.0 * low / bpm else low


@kernel
def wrapped(phase: float) -> float:
    """Return a difference of phases in beats, -0.5..0.5."""
    return phase - math.floor(phase + 0.5)


@kernel
def heard(state: Any, bpm: float, phase: float) -> None:
    """Take what an external clock says now: its tempo, and where its beat is, 0..1."""
    if SLOWEST <= bpm <= FASTEST and 0.0 <= phase <= 1.0:
        state.external_bpm = bpm
        state.external_phase = phase
        state.external_s = 0.0


@kernel
def step(
    state: Any,
    source: int,
    asked_bpm: float,
    style_bpm: float,
    low: float,
    high: float,
    motion_bpm: float,
    motion_phase: float,
    sure: float,
    beat: float,
    dt: float,
) -> None:
    """Decide `bpm` of the next control frame.

    `source` FIXED, STYLE, PERFORMER or EXTERNAL; `asked_bpm` what people set; `style_bpm`, `low`, `high` the style's (0
    without one); `motion_bpm` and `motion_phase` 0..1 the performer's internal beat, believed with `sure` (commitment)
    from SURE on; `beat` of the clock now; `dt` seconds. A source that is not there keeps the tempo as it is.
    """
    state.external_phase += state.external_bpm / 60.0 * dt
    state.external_phase -= math.floor(state.external_phase)
    state.external_s = min(state.external_s + dt, EXTERNAL_LOST_S)
    before = state.followed
    state.error = 0.0
    if not SLOWEST <= style_bpm <= FASTEST or not SLOWEST <= low <= high <= FASTEST:
        style_bpm = low = high = 0.0  # no style, or one that says nonsense
    if source == FIXED or (source == STYLE and style_bpm == 0.0):
        state.followed = asked_bpm
        state.bpm = asked_bpm
        return
    if source == STYLE:
        state.followed = before + min(max(style_bpm - before, -GLIDE * dt), GLIDE * dt)
        state.bpm = state.followed
        return
    there = state.external_s < EXTERNAL_LOST_S
    target, phase, slew = state.external_bpm, state.external_phase, 4.0 * SLEW * dt
    if source == PERFORMER:
        there = sure >= SURE and motion_bpm > 0.0
        if high == 0.0:
            low, high = 60.0, 180.0
        target, phase, slew = folded(motion_bpm, low, high), motion_phase, SLEW * dt
    elif there and abs(target - before) > 8.0:
        state.followed = target  # an external clock that was started, or set to something else
        before = target
    if not there:
        state.bpm = before
        return
    state.followed = before + min(max(target - before, -slew), slew)
    if source == PERFORMER:
        # The beats of a tempo that was doubled or halved: whichever of the motion's is the nearest.
        ratio = state.followed / motion_bpm
        if ratio > 1.5:
            phase *= math.floor(ratio + 0.5)
        elif ratio < 0.75:
            parts = math.floor(1.0 / ratio + 0.5)
            nearest = wrapped(phase / parts - beat)
            for part in range(1, int(parts)):
                error = wrapped((phase + part) / parts - beat)
                if abs(error) < abs(nearest):
                    nearest = error
            phase = beat + nearest
    state.error = wrapped(phase - beat)
    pull = min(max(state.error / PULL_S / (state.followed / 60.0), -PULL), PULL)
    state.bpm = state.followed * (1.0 + pull)
