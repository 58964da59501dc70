"""The output stage: what the voices add up to becomes what is heard.

    bus -> gain, width, pan -> reverb (equal-power mix) -> test tone -> limiter -> master, mute, fades -> out

Width comes before pan, so that a mono sound can still be placed. The limiter is the last thing with memory; master,
mute, fades and the engine state's level follow it and only ever lower the sound, so nothing exceeds the ceiling and a
mute is silent at once. Every ramp runs per sample: results do not depend on how a block is cut.
Lanes 24-31 of spec/engine.md; non-finite values are replaced or reset and counted, never heard.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_engine._jit import kernel
from echelon_engine.kernels import limiter, reverb
from echelon_engine.parameters import LANE, PARAMETERS

CHUNK = reverb.CHUNK
FIRST_LANE = LANE["reverb_size"]
SIZE, DECAY, PREDELAY, MIX, GAIN, PAN, WIDTH, CEILING = range(8)
LOW = np.array([p.low for p in PARAMETERS[FIRST_LANE:]], np.float64)
HIGH = np.array([p.high for p in PARAMETERS[FIRST_LANE:]], np.float64)
MIDDLE = np.array([0.4, 1.5, 10.0, 0.25, -6.0, 0.0, 1.0, -1.0], np.float64)  # before the first control frame

LEFT, RIGHT, SIDE, DRY, WET = range(5)
LEVELS = 5

MAKEUP_DB = 11.5  # a mezzo forte voice is at -18 dBFS on the bus, and a dance is two or three of them
SMOOTHING_S = 0.002  # two one-poles after every linear ramp round its corners: a corner alone is a faint click
MASTER_S = 0.02
FADE_S = 0.3
PANIC_S = 0.005
PANIC_HOLD_S = 0.03  # more than a control frame: the voices are gone before the stage opens again
RETURN_S = 0.02
LOUDEST = np.float32(64.0)  # +36 dBFS: a bus sample beyond is a fault
# Finite is what compares below this. `math.isfinite(a + b)` is x - x, which reassociation may fold to 0.
FINITE = 1e30

TONE_HZ = 440.0
TONE_LEVEL = 0.1  # -20 dBFS peak
TONE_SIDE_S = 1.0
TONE_EDGE_S = 0.01

OPEN, CLOSING, CLOSED = range(3)

OUTPUT = np.dtype(
    [
        ("rate_hz", np.float64),
        ("fresh", np.int64),  # the next `control` jumps to its values
        ("broken", np.int64),  # not finite inside: silent until the next control frame clears it
        ("resets", np.int64),  # times that non-finite inner state was cleared
        ("refused_samples", np.int64),  # bus samples replaced by 0
        ("refused_values", np.int64),  # lanes and master gains that were not finite
        ("square_sum", np.float64),  # over both channels, since `take_loudness_db`
        ("peak", np.float32),
        ("metered", np.int64),
        ("lane", np.float64, (8,)),  # newest finite values of lanes 24-31
        ("dynamics", np.float64),  # 0..1: the level that the body gives the dry sound; set it before `control`
        ("step", np.int64),  # samples into the ramp of a control period
        ("frames", np.int64),
        ("level_from", np.float64, (LEVELS,)),
        ("level_to", np.float64, (LEVELS,)),
        ("level", np.float64, (2, LEVELS)),  # the two smoothing one-poles
        ("smoothing", np.float64),
        ("ceiling", np.float64, (2,)),  # from and to, linear
        ("master_to", np.float64),
        ("master_now", np.float64),  # linear ramp
        ("master_slope", np.float64),
        ("master_left", np.int64),
        ("master", np.float64, (2,)),
        ("panics", np.int64),  # newest panic counter seen
        ("fading", np.int64),
        ("fade", np.float64),  # 1 open .. 0 closed, linear; eased when applied
        ("duck_phase", np.int64),
        ("duck", np.float64),
        ("duck_hold", np.int64),
        ("tone_on", np.int64),
        ("tone_mix", np.float64),
        ("tone_phase", np.float64),
        ("tone_clock", np.int64),
        ("reverb", reverb.REVERB),
        ("limiter", limiter.LIMITER),
        ("dry", np.float32, (2, CHUNK)),
        ("wet", np.float32, (2, CHUNK)),
        ("limit", np.float32, (CHUNK,)),
        ("after", np.float32, (CHUNK,)),
        ("ramp", np.float32, (LEVELS, CHUNK)),
    ],
    align=True,
)


@kernel
def init(state: Any, rate_hz: float) -> None:
    """Make an OUTPUT record of zeros ready for `rate_hz` (Hz, 44 100..96 000); silent until the first `control`."""
    state.rate_hz = rate_hz
    state.smoothing = 1.0 - math.exp(-1.0 / (SMOOTHING_S * rate_hz))
    for i in range(8):
        state.lane[i] = MIDDLE[i]
    state.dynamics = 1.0
    state.frames = 1
    state.master_to = 1.0
    state.fade = 1.0
    state.duck = 1.0
    state.fresh = 1
    state.master[0] = 1.0
    state.master[1] = 1.0
    state.master_now = 1.0
    reverb.init(state.reverb, rate_hz)
    limiter.init(state.limiter, rate_hz)


@kernel
def control(state: Any, values: NDArray[np.float32], frames: int) -> None:
    """Take new values of lanes 24-31 at a control frame; they are reached over the next `frames` samples.

    `values` float32 (32,), in the units of the parameter table; clipped to its ranges. A lane that is not finite keeps
    its last value and is counted in `refused_values`.
    """
    lane, begin, end = state.lane, state.level_from, state.level_to
    for i in range(8):
        value = float(values[FIRST_LANE + i])
        if abs(value) < FINITE:
            lane[i] = min(max(value, LOW[i]), HIGH[i])
        else:
            state.refused_values += 1
    if state.broken != 0:
        _mend(state)
    now = min(state.step / state.frames, 1.0)
    gain = state.dynamics * 10.0 ** ((lane[GAIN] + MAKEUP_DB) / 20.0)
    angle = (lane[PAN] + 1.0) * (math.pi / 4.0)
    mix = lane[MIX] * (math.pi / 2.0)
    for i in range(LEVELS):
        begin[i] += now * (end[i] - begin[i])
    end[LEFT] = gain * math.sqrt(2.0) * math.cos(angle)
    end[RIGHT] = gain * math.sqrt(2.0) * math.sin(angle)
    end[SIDE] = lane[WIDTH]
    end[DRY] = math.cos(mix)
    end[WET] = math.sin(mix)
    state.ceiling[0] += reverb.smooth(now) * (state.ceiling[1] - state.ceiling[0])
    state.ceiling[1] = 10.0 ** (lane[CEILING] / 20.0)
    state.step = 0
    state.frames = max(frames, 1)
    reverb.control(state.reverb, lane[SIZE], lane[DECAY], lane[PREDELAY], frames)
    if state.fresh != 0:
        state.fresh = 0
        state.ceiling[0] = state.ceiling[1]
        for i in range(LEVELS):
            begin[i] = end[i]
            state.level[0, i] = end[i]
            state.level[1, i] = end[i]


@kernel
def _mend(state: Any) -> None:
    """Clear whatever may not be finite, and come back in with a ramp."""
    reverb.clear(state.reverb)
    limiter.clear(state.limiter)
    state.reverb.fresh = 1
    state.fresh = 1
    state.broken = 0
    state.master_now = state.master_to
    state.master_left = 0
    state.master[0] = state.master_to
    state.master[1] = state.master_to
    state.fade = 1.0 - state.fading
    state.tone_mix = 0.0
    state.tone_phase = 0.0
    state.square_sum = 0.0
    state.duck = 0.0
    state.duck_phase = OPEN


@kernel
def set_master(state: Any, gain: float, level: float, mute: int, fade: int, panics: int, test_tone: int) -> None:
    """Take what people set, at every control frame.

    `gain` linear master 0..1 and `level` of the engine state 0..1 (both ramp in 20 ms, above 1 counts as 1); `mute` 0
    or 1 (20 ms); `fade` 1 closes within 300 ms and stays closed, 0 opens again; `panics` a counter: a change silences
    within 5 ms, clears the room, and opens again after 30 ms (silence the voices at the control frame that follows);
    `test_tone` 1 replaces the instrument by 440 Hz at -20 dBFS, a second left, a second right.
    """
    wanted = gain * level
    if not abs(wanted) < FINITE:
        state.refused_values += 1
        wanted = state.master_to if mute == 0 else 0.0
    wanted = 0.0 if mute != 0 else min(max(wanted, 0.0), 1.0)
    if wanted != state.master_to:
        state.master_to = wanted
        state.master_left = int(MASTER_S * state.rate_hz)
        state.master_slope = (wanted - state.master_now) / state.master_left
    state.fading = 1 if fade != 0 else 0
    state.tone_on = 1 if test_tone != 0 else 0
    if panics != state.panics:
        state.panics = panics
        state.duck_phase = CLOSING
    elif state.duck_phase == CLOSED and state.duck_hold <= 0:
        reverb.clear(state.reverb)
        limiter.clear(state.limiter)
        state.duck_phase = OPEN


@kernel
def take_loudness_db(state: Any) -> float:
    """Return the RMS of both channels since the last call in dBFS (-120 for silence) and start a new period."""
    power = state.square_sum / max(2 * state.metered, 1)
    state.square_sum = 0.0
    state.peak = 0.0
    state.metered = 0
    return 10.0 * math.log10(max(power, 1e-12))


@kernel
def _levels(state: Any, m: int) -> None:
    """Write the next `m` samples of all levels, of the ceiling, and of what follows the limiter."""
    a = state.smoothing
    begin, end, level, ramp = state.level_from, state.level_to, state.level, state.ramp
    for k in range(m):
        u = min(state.step + k + 1, state.frames) / state.frames
        for i in range(LEVELS):
            level[0, i] += a * (begin[i] + u * (end[i] - begin[i]) - level[0, i])
            level[1, i] += a * (level[0, i] - level[1, i])
            ramp[i, k] = level[1, i]
        state.limit[k] = state.ceiling[0] + reverb.smooth(u) * (state.ceiling[1] - state.ceiling[0])

        if state.master_left > 0:
            state.master_left -= 1
            state.master_now += state.master_slope
            if state.master_left == 0:
                state.master_now = state.master_to
        state.master[0] += a * (state.master_now - state.master[0])
        state.master[1] += a * (state.master[0] - state.master[1])
        if state.master_now == 0.0 and state.master[1] < 1e-6:
            state.master[1] = 0.0
        state.fade = min(max(state.fade + (1.0 - 2.0 * state.fading) / (FADE_S * state.rate_hz), 0.0), 1.0)
        if state.duck_phase == CLOSING:
            state.duck -= 1.0 / (PANIC_S * state.rate_hz)
            if state.duck <= 0.0:
                state.duck = 0.0
                state.duck_phase = CLOSED
                state.duck_hold = int(PANIC_HOLD_S * state.rate_hz)
        elif state.duck_phase == CLOSED:
            state.duck_hold -= 1
        elif state.duck < 1.0:
            state.duck = min(state.duck + 1.0 / (RETURN_S * state.rate_hz), 1.0)
        state.after[k] = min(state.master[1], 1.0) * reverb.smooth(state.fade) * reverb.smooth(state.duck)
    state.step = min(state.step + m, state.frames)


@kernel
def _test_tone(state: Any, m: int) -> None:
    """Cross-fade the dry sound into the test tone while it is on."""
    for k in range(m):
        change = (2.0 * state.tone_on - 1.0) / (MASTER_S * state.rate_hz)
        state.tone_mix = min(max(state.tone_mix + change, 0.0), 1.0)
        mix = reverb.smooth(state.tone_mix)
        side = state.tone_clock / (TONE_SIDE_S * state.rate_hz)
        into = (side - math.floor(side)) * TONE_SIDE_S
        edge = reverb.smooth(min(min(into, TONE_SIDE_S - into) / TONE_EDGE_S, 1.0))
        tone = np.float32(mix * edge * TONE_LEVEL * math.sin(2.0 * math.pi * state.tone_phase))
        right = int(side) & 1
        state.dry[0, k] *= np.float32(1.0 - mix)
        state.dry[1, k] *= np.float32(1.0 - mix)
        state.dry[right, k] += tone
        state.tone_clock += 1
        state.tone_phase += TONE_HZ / state.rate_hz
        state.tone_phase -= math.floor(state.tone_phase)


@kernel
def render(out: NDArray[np.float32], bus: NDArray[np.float32], state: Any) -> None:
    """Write what is heard of `bus` into `out`, both float32 (n, 2), left and right, full scale 1.

    Late by `state.limiter.lookahead` samples. |out| never exceeds the ceiling in force at that sample.
    """
    dry, wet, ramp = state.dry, state.wet, state.ramp
    for at in range(0, out.shape[0], CHUNK):
        m = min(out.shape[0] - at, CHUNK)
        _levels(state, m)
        for k in range(m):
            left, right = bus[at + k, 0], bus[at + k, 1]
            if not (abs(left) <= LOUDEST and abs(right) <= LOUDEST):
                state.refused_samples += 1
                left = left if abs(left) <= LOUDEST else np.float32(0.0)
                right = right if abs(right) <= LOUDEST else np.float32(0.0)
            middle = np.float32(0.5) * (left + right)
            side = np.float32(0.5) * (left - right) * ramp[SIDE, k]
            dry[0, k] = (middle + side) * ramp[LEFT, k]
            dry[1, k] = (middle - side) * ramp[RIGHT, k]
        reverb.render(wet, dry, state.reverb, m)
        check = np.float32(0.0)  # stays 0 exactly as long as everything is finite
        for c in range(2):
            for k in range(m):
                dry[c, k] = dry[c, k] * ramp[DRY, k] + wet[c, k] * ramp[WET, k]
                check += np.float32(0.0) * (dry[c, k] + wet[c, k])
        if state.tone_on != 0 or state.tone_mix > 0.0:
            _test_tone(state, m)
        else:
            state.tone_clock = 0
            state.tone_phase = 0.0
        limiter.render(dry, state.limit, state.limiter, m)
        power, peak = 0.0, state.peak
        for k in range(m):
            left, right = dry[0, k] * state.after[k], dry[1, k] * state.after[k]
            out[at + k, 0] = left
            out[at + k, 1] = right
            power += float(left) * float(left) + float(right) * float(right)
            peak = max(peak, abs(left), abs(right))
        if state.broken == 0 and not abs(check + power) < FINITE:
            state.broken = 1
            state.resets += 1
        if state.broken == 0:
            state.square_sum += power
            state.peak = peak
        else:
            for k in range(m):
                out[at + k, 0] = 0.0
                out[at + k, 1] = 0.0
        state.metered += m
