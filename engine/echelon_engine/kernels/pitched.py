"""The pitched voices of the ensemble, two overlapping notes a track: a release sounds on under the next onset."""

from __future__ import annotations

from typing import Any

import numpy as np

from echelon_engine._jit import inlined, int64, kernel
from echelon_engine.kernels import pitched_note
from echelon_engine.kernels.pitched_note import FREE, NOTE, SEGMENT

TAIL = 1024  # samples, a power of two: what is left of a note whose voice is taken over
CUT_S = 0.006
WORK = pitched_note.WORK

PITCHED = np.dtype(
    [
        ("timbre", np.int64),
        ("newest", np.int64),
        ("onsets", np.int64),
        ("note", NOTE, (2,)),
        ("tail_at", np.int64),
        ("tail_left", np.int64),
        ("tail", np.float32, (2, TAIL)),
    ],
    align=True,
)

_ONE, _TWO, _ZERO = np.float32(1.0), np.float32(2.0), np.float32(0.0)


@kernel
def init(pair: Any, timbre: int) -> None:
    """Make a zeroed PITCHED record the voice `timbre` 0..7: bass pad lead stab arp fx vox amb."""
    pair.timbre = timbre
    pair.newest = 0
    for s in range(2):
        pair.note[s].state = FREE
        pair.note[s].waiting = 0
    pair.tail_left = 0


@kernel
def clear(pair: Any) -> None:
    """Forget every note and its tail."""
    init(pair, pair.timbre)
    for c in range(2):
        for i in range(TAIL):
            pair.tail[c, i] = _ZERO


@kernel
def onset(pair: Any, pitch: float, velocity: float, gain: float, samples: int, chord: int) -> None:
    """Begin a note with the next sample rendered; the one before is released.

    `pitch` MIDI, `velocity` 0..1 (level and brightness; 0.65 is mf), `gain` linear, `samples` to its release, `chord`
    a mask of pitch classes (bit 0: C) for the voices that play chords, 0: unknown.
    """
    old = pair.note[pair.newest]
    if old.waiting == 0:
        old.left = 0
        pair.newest = 1 - pair.newest
    note = pair.note[pair.newest]
    note.waiting = 1
    note.next_pitch = min(max(pitch, 12.0), 120.0)
    note.next_velocity = min(max(velocity, 0.0), 1.0)
    note.next_gain = min(max(gain, 0.0), 4.0)
    note.next_samples = max(samples, 1)
    note.next_chord = chord


@kernel
def end(pair: Any) -> None:
    """Release whatever is held."""
    for s in range(2):
        pair.note[s].left = 0
        if pair.note[s].waiting != 0:
            pair.note[s].next_samples = 1


@inlined
def sounding(pair: Any) -> bool:
    """Return whether the next `render` adds anything."""
    one, two = pair.note[0], pair.note[1]
    return bool(one.state + one.waiting + two.state + two.waiting + pair.tail_left != 0)


@kernel
def render(left: Any, right: Any, pair: Any, work: Any, rate_hz: float, frames: int) -> None:
    """Add the next `frames` <= 64 samples of a track's notes to `left` and `right`, float32 (>= frames,).

    A note that begins on a voice still sounding (the release of the last but one) fades that out within 6 ms, over
    the new one: what it would have played goes to the tail.
    """
    for s in range(2):
        note = pair.note[s]
        if note.waiting != 0:
            if note.state != FREE:
                pieces = int64(CUT_S * rate_hz) // SEGMENT + 1
                step = _ONE / np.float32(pieces * SEGMENT)
                done = 0
                for _ in range(pieces):
                    for c in range(2):
                        for i in range(SEGMENT):
                            work.cut[c, i] = _ZERO
                    pitched_note.sound(work.cut[0], work.cut[1], work, note, pair.timbre, rate_hz, int64(SEGMENT))
                    for i in range(SEGMENT):
                        f = _ONE - np.float32(done + i + 1) * step
                        f = f * f * (np.float32(3.0) - _TWO * f)
                        at = (pair.tail_at + done + i) & (TAIL - 1)
                        pair.tail[0, at] += f * work.cut[0, i]
                        pair.tail[1, at] += f * work.cut[1, i]
                    done += SEGMENT
                pair.tail_left = max(pair.tail_left, done)
            pitched_note.begin(note, pair.timbre, pair.onsets, rate_hz)
            pair.onsets += 1
        if note.state != FREE:
            pitched_note.sound(left, right, work, note, pair.timbre, rate_hz, frames)
    if pair.tail_left > 0:
        for i in range(min(frames, pair.tail_left)):
            at = (pair.tail_at + i) & (TAIL - 1)
            left[i] += pair.tail[0, at]
            right[i] += pair.tail[1, at]
            pair.tail[0, at] = _ZERO
            pair.tail[1, at] = _ZERO
        pair.tail_at += frames
        pair.tail_left = max(pair.tail_left - frames, 0)
