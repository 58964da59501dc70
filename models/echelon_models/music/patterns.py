"""From rhythms with levels to notes, and from notes to what a row of 16 or 32 cells can say.

A level is how early a cell enters as density rises: 1 always plays, 9 plays at full density. Choosing is by thresholds,
so what sounds at one density sounds at every greater one, and neighbouring bars are related by construction.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from echelon_engine.vocabulary import DRUM_SOUND, STEPS_PER_BAR
from echelon_models.music import events as ev

BAR = STEPS_PER_BAR
LEVELS = "123456789"
NONE, STAC, LEGATO, ACCENT, GHOST = range(5)  # articulations, as in events.EVENT
FEELS = {".": NONE, "s": STAC, "l": LEGATO, "a": ACCENT, "g": GHOST}
PP, P, MP, MF, F, FF = range(6)

_MASK = (1 << 64) - 1
# How weak a step of the bar is: 0 on the beat, 0.5 between beats, 1 between those.
WEAKNESS = tuple(0.0 if s % 4 == 0 else 0.5 if s % 2 == 0 else 1.0 for s in range(BAR))


class Note(NamedTuple):
    """One onset as wished: step 0..31, sound (MIDI note, or 128 + drum), level 1..9 (1 matters most), and its state.

    `velocity` 0..5 pp..ff, `articulation` 0..4, `duration` in sixteenths, `strikes` 2 within the step,
    `effects` bits.
    """

    step: int
    sound: int
    level: int = 5
    velocity: int = MF
    articulation: int = NONE
    duration: int = 1
    strikes: int = 1
    effects: int = 0

    @property
    def drum(self) -> bool:
        """Whether it is one of the eight drums."""
        return self.sound >= DRUM_SOUND

    def later(self) -> Note:
        """Return the same note a bar later."""
        return Note(self[0] + BAR, *self[1:])


@lru_cache(maxsize=4096)
def draw(*keys: int) -> int:
    """Return 64 bits that depend on the integers alone (splitmix64 over them)."""
    state = 0x9E3779B97F4A7C15
    for key in keys:
        state = (state ^ (key & _MASK)) * 0xBF58476D1CE4E5B9 & _MASK
        state ^= state >> 29
        state = (state + 0x9E3779B97F4A7C15) * 0x94D049BB133111EB & _MASK
        state ^= state >> 32
    return state


def chance(*keys: int) -> float:
    """Return a number 0 <= u < 1 that depends on the integers alone."""
    return (draw(*keys) >> 11) / (1 << 53)


def threshold(level: int, step: int, syncopation: float, variation: float) -> float:
    """Return the density from which a cell sounds; level 1 always does. `variation` -1..1 moves the others.

        t = (level - 1) / 8 + 0.5 (1/2 - syncopation) (weakness - 1/2) + 0.25 variation,   0.02 <= t <= 1
    """  # fmt: skip
    if level <= 1:
        return 0.0
    moved = (level - 1) / 8.0 + 0.5 * (0.5 - syncopation) * (WEAKNESS[step % BAR] - 0.5) + 0.25 * variation
    return min(max(moved, 0.02), 1.0)


def fit(notes: list[Note]) -> list[Note]:
    """Return the notes with states that cells can say: as wished where there is room, else what matters most.

    Notes without a silent cell between them share their state: that of the most important one (its lowest level; the
    last one's duration). Before each such run there is room for as many changes as silent cells; articulation comes
    first (after duration, for pitches), then effects, then velocity. Steps and sounds never change. `notes` rise in
    step, 0..31.
    """
    fitted: list[Note] = []
    velocity, articulation, duration, effects = MF, NONE, 1, 0
    before, last, i = -1, -1, 0
    while i < len(notes):
        j = i + 1
        while j < len(notes) and notes[j].step == notes[j - 1].step + 1:
            j += 1
        run = notes[i:j]
        leader = min(run, key=_importance)
        room = run[0].step - before - 1
        if room and not leader.drum and duration != run[-1].duration:
            duration, room = run[-1].duration, room - 1
        if room and articulation != leader.articulation:
            articulation, room = leader.articulation, room - 1
        if (toggles := (effects ^ leader.effects).bit_count()) <= room:
            effects, room = leader.effects, room - toggles
        if room and velocity != leader.velocity:
            velocity = leader.velocity
        for n in run:
            strikes = 2 if n.strikes == 2 and n.sound == last else 1
            fitted.append(Note(n.step, n.sound, n.level, velocity, articulation, duration, strikes, effects))
            last = n.sound
        before, i = run[-1].step, j
    return fitted


def _importance(note: Note) -> int:
    return note.level


def onsets(rows: list[list[Note]]) -> ev.Events:
    """Return fitted notes of twelve tracks as `events.EVENT`."""
    found = np.zeros(sum(len(row) for row in rows), ev.EVENT)
    values = []
    for track, row in enumerate(rows):
        for n in row:
            sound = n.sound - DRUM_SOUND * n.drum
            state = (n.strikes, n.articulation, n.duration, n.effects, ev.VELOCITIES[n.velocity])
            values.append((track, n.step, n.drum, sound, *state, 0.0, 0.0))
    found[:] = values
    return found
