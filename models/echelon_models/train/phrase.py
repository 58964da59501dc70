"""Notes played by the engine's own instrument and output stage, alone: positions of the 32 lanes in, sound out.

The kernels are those of the callback, cut at control frames and at multiples of 64 samples as it cuts them; nothing of
the instrument is written a second time here. Imports Numba.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from echelon_engine._jit import kernel
from echelon_engine.kernels import instrument, lanes, output
from echelon_engine.native import flush_denormals, restore_denormals
from echelon_engine.parameters import LANES

RATE_HZ = 48000
GRID = 64  # most samples that the kernels take at once
ON, OFF = 0, 1
_EVENT = np.dtype([("at", np.int64), ("kind", np.int64), ("key", np.int64), ("pitch", "f8"), ("level", "f8"),
                   ("pan", "f8")])  # fmt: skip


class Note(NamedTuple):
    """A note: `start_s` and `end_s` in seconds, pitch in MIDI semitones, velocity 0..1, pan -1..1."""

    start_s: float
    end_s: float
    pitch: float
    velocity: float = 0.8
    pan: float = 0.0


class Phrase(NamedTuple):
    """Notes and the length of the recording that holds them, in seconds."""

    notes: tuple[Note, ...]
    length_s: float


@kernel
def _play(
    out: NDArray[np.float32],
    inst: Any,
    stage: Any,
    values: NDArray[np.float32],
    events: Any,
    band: NDArray[np.float32],
    dry: bool,
) -> None:
    """Play sorted `events` into `out`, float32 (n, 2); row f of `values`, physical units, holds in control frame f.

    `band` float32 (64, 2) is the silence of a band that does not play. Where `dry`, the output stage is left out.
    """
    before = flush_denormals()
    period = inst.frames
    frames = out.shape[0]
    at = 0
    coming = 0
    while at < frames:
        if at % period == 0:
            row = values[min(at // period, values.shape[0] - 1)]
            instrument.control(inst, row, period)
            output.control(stage, row, period)
        while coming < events.shape[0] and events[coming].at <= at:
            event = events[coming]
            if event.kind == 0:
                instrument.note_on(inst, event.key, event.pitch, event.level, event.pan)
            else:
                instrument.note_off(inst, event.key)
            coming += 1
        end = min(frames, at + 64 - at % 64, at + period - at % period)
        if coming < events.shape[0]:
            end = min(end, events[coming].at)
        instrument.render(out[at:end], inst)
        if not dry:
            output.render(out[at:end], out[at:end], band[: end - at], stage)
        at = end
    restore_denormals(before)


def render(
    positions: NDArray[Any], phrase: Phrase, rate_hz: int = RATE_HZ, *, dry: bool = False
) -> NDArray[np.float32]:
    """Return the phrase as the instrument plays it, float32 (n, 2) at full scale 1, `rate_hz` 44100 to 96000.

    `dry` leaves out room, gain and limiter, which take two thirds of the time.

    `positions` 0..1 are 32 lanes held over the phrase, (32,), or a row for each control frame (60 a second), (m, 32),
    the last one held. Ratios do not snap. The same positions always give the same samples.
    """
    rows = np.atleast_2d(np.clip(positions, 0.0, 1.0)).astype(np.float32)
    if rows.shape[1] != LANES:
        raise ValueError(f"positions of shape {np.shape(positions)}: there are {LANES} lanes; give (32,) or (m, 32)")
    values = np.empty_like(rows)
    for value, row in zip(values, rows, strict=True):
        lanes.values(value, row, 0)
    inst = np.zeros(1, instrument.INSTRUMENT)[0]
    stage = np.zeros(1, output.OUTPUT)[0]
    instrument.init(inst, float(rate_hz))
    # lanes stand where they shall from the first sample on: `init` starts them in their middle
    instrument.control(inst, values[0], 1)
    inst["ramp"][:] = inst["ramp_end"]
    inst["lane"][:] = inst["ramp_end"]
    inst["frames"] = rate_hz // 60
    output.init(stage, float(rate_hz))
    output.set_master(stage, 1.0, 1.0, 0, 0, 0, 0)
    out = np.zeros((max(round(phrase.length_s * rate_hz), 1), 2), np.float32)
    _play(out, inst, stage, values, _events(phrase.notes, rate_hz), np.zeros((GRID, 2), np.float32), dry)
    return out


def _events(notes: Sequence[Note], rate_hz: int) -> NDArray[Any]:
    rows = []
    for key, note in enumerate(notes):
        start = round(note.start_s * rate_hz)
        rows.append((start, ON, key, note.pitch, note.velocity, note.pan))
        rows.append((max(round(note.end_s * rate_hz), start + 1), OFF, key, 0.0, 0.0, 0.0))
    return np.array(sorted(rows), _EVENT)
