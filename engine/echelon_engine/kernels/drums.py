"""One drum voice that can play any of the eight sounds: struck modes and filtered noise, one stroke over the other."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_engine._jit import inlined, kernel
from echelon_engine.kernels import drum_sounds as ds
from echelon_engine.kernels import drum_stroke
from echelon_engine.kernels.finite import finite_number

SEGMENT = 64  # samples rendered at a time, at most

DRUM = np.dtype(
    [
        ("stroke", drum_stroke.STROKE, (2,)),  # the newest, and the one before while it fades
        ("newest", np.int64),
        ("active", np.int64),  # 0: nothing sounds, rendering costs nothing
        ("rest", np.float32),  # where a stroke was cut off, on its way to 0
        ("rest_fall", np.float32),
        ("seed", np.int64),  # of the next stroke's noise
        ("rate_hz", np.float64),
        ("body", np.float32, (SEGMENT,)),  # scratch
        ("noise", np.float32, (SEGMENT,)),
    ],
    align=True,
)

_TABLE = ds.TABLE
OVERLAP_S = 0.006  # an old stroke fades under a new one
CHOKE_S = 0.03
_SILENT = np.float32(1e-6)


@kernel
def init(drum: Any, rate_hz: float, seed: int = 0) -> None:
    """Make `drum` silent at `rate_hz`; voices of different `seed` (any integer) have different noise."""
    drum.rate_hz = rate_hz
    drum.seed = drum_stroke.following((seed * 2654435761 + 12345) & 0xFFFFFFFF)
    drum.stroke[0].left = 0
    drum.stroke[1].left = 0
    drum.newest = 0
    drum.active = 0
    drum.rest = 0.0
    drum.rest_fall = math.exp(-1.0 / (0.002 * rate_hz))


@kernel
def pitch(sound: int) -> float:
    """Return the MIDI pitch of sound 0..7 at tune 0, with its fraction."""
    return 69.0 + 12.0 * math.log2(_TABLE[sound, ds.PITCH] / 440.0)


@inlined
def _fade_out(stroke: Any, seconds: float, rate_hz: float) -> None:
    """Let a stroke end within `seconds` if it does not end sooner."""
    stroke.fade_step = max(stroke.fade_step, np.float32(1.0 / (seconds * rate_hz)))


@kernel
def choke(drum: Any) -> None:
    """Damp the voice as a hand or a closing hat does: silence after 30 ms, without a click."""
    for s in range(2):
        _fade_out(drum.stroke[s], CHOKE_S, drum.rate_hz)


@kernel
def strike(drum: Any, sound: int, tune_semitones: float, velocity: float, gain: float) -> None:
    """Strike `drum` as sound 0..7 (bd sd hh oh cp rim tom perc) from the next sample on.

    `tune_semitones` moves body and filters; `velocity` 0..1 sets level and timbre (see `drum_stroke.start`), `gain` the
    level alone. The stroke under way fades within 6 ms. Values out of range are clipped; NaN or infinity strikes none.
    """
    excite(drum, _TABLE[min(max(sound, 0), 7)], tune_semitones, velocity, gain)


@kernel
def excite(drum: Any, row: NDArray[np.float64], tune_semitones: float, velocity: float, gain: float) -> None:
    """Strike `drum` as a row of `drum_sounds`, float64 (COLUMNS,)."""
    if not (finite_number(tune_semitones) and finite_number(velocity) and finite_number(gain)):
        return
    older = drum.stroke[drum.newest]
    if older.left > 0:
        _fade_out(older, OVERLAP_S, drum.rate_hz)
    drum.newest = 1 - drum.newest
    stroke = drum.stroke[drum.newest]
    if stroke.left > 0:  # a third stroke within the overlap: what is cut off runs out
        drum.rest += stroke.output
    drum.active = 1
    drum.seed = drum_stroke.following(drum.seed ^ 0x5DEECE66)  # noise of its own, however long the one before
    velocity = min(max(velocity, 0.0), 1.0)
    drum_stroke.start(stroke, row, tune_semitones, velocity, gain, drum.rate_hz, drum.seed)


@kernel
def render(out: NDArray[np.float32], drum: Any) -> None:
    """Add up to 64 samples of the voice to `out`, float32 (n,); an idle voice adds nothing.

    How a stretch is cut into calls does not change a sample; a stroke's end makes the voice idle at the end of a call.
    """
    if drum.active == 0:
        return
    frames = min(out.shape[0], SEGMENT)
    for s in range(2):
        if drum.stroke[s].left > 0:
            drum_stroke.render(out, drum.stroke[s], drum.body, drum.noise, frames)
    rest = drum.rest
    if rest != np.float32(0.0):
        for i in range(frames):
            out[i] += rest
            rest *= drum.rest_fall
            if abs(rest) < _SILENT:
                rest = np.float32(0.0)
        drum.rest = rest
    if drum.stroke[0].left == 0 and drum.stroke[1].left == 0 and rest == np.float32(0.0):
        drum.active = 0
