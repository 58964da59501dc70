"""The nearest grid to onsets that no grid says exactly, and what was lost on the way.

A grid says a change of state only in a silent cell, so sixteenths without a rest between them all sound alike. Which
changes to make then is a shortest path: over the onsets of a track, through the states that its onsets ask for, where a
gap of k silent cells allows k changes and each onset costs what would be heard of the difference.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from echelon_engine.vocabulary import STEPS
from echelon_models.music import tokens
from echelon_models.music.events import (
    DRUM,
    EVENT,
    GAIN_FACTORS,
    LENGTH_FACTORS,
    PITCH,
    SIXTEENTHS,
    START,
    STATE,
    VELOCITIES,
    Events,
    Grid,
    State,
    derived,
    grid,
    place,
)
from echelon_models.music.tokens import TRACKS

MOST_STATES = 400  # of a path, in all combinations; above it only the states that an onset asks for
DROPPED = "dropped"
# What of a difference is heard, against a halving of the gain: lengths, each effect, each word that is not as asked.
LENGTH_COST, EFFECT_COST, WORD_COST, CHANGE_COST = 0.5, 0.5, 0.01, 0.0001


@dataclass(frozen=True, slots=True)
class Loss:
    """One thing that the grid does not say: of which onset, which field (or `dropped`), what was wanted and written."""

    track: int
    step: int
    field: str
    wanted: float
    written: float

    def __str__(self) -> str:
        """Return it as a sentence: "PAD step 3: duration 4 became 1"."""
        if self.field == DROPPED:
            return f"{place(self.track, self.step)}: dropped"
        return f"{place(self.track, self.step)}: {self.field} {self.wanted:g} became {self.written:g}"


def nearest(onsets: Events) -> tuple[Grid, tuple[Loss, ...]]:
    """Return the grid that sounds most like `onsets` (an array of `EVENT`, any order), and everything that differs.

    Values without a token become the nearest that has one, pitches by octaves; of two onsets in a cell the louder
    stays; a fill of anything but the sound before becomes one strike. Nothing is lost where `grid(onsets)` is exact.
    """
    losses: list[Loss] = []
    asked = onsets[np.lexsort((onsets["step"], onsets["track"]))].astype(EVENT)
    asked = _one_a_cell(asked, losses)
    said = _in_words(asked)
    for track in np.unique(said["track"]):
        own = np.flatnonzero(said["track"] == track)
        said[own] = _reachable(said[own])
    for field in ("sound", "count", *STATE):
        for index in np.flatnonzero(asked[field] != said[field]):
            where = int(said["track"][index]), int(said["step"][index])
            losses.append(Loss(*where, field, float(asked[field][index]), float(said[field][index])))
    return grid(said), tuple(sorted(losses, key=lambda loss: (loss.step, loss.track, loss.field)))


def summary(losses: Iterable[Loss]) -> dict[str, int]:
    """Return how many onsets lost what: {"dropped": 2, "velocity": 14}."""
    return dict(sorted(Counter(loss.field for loss in losses).items()))


def observed(sounds: ArrayLike, velocity: ArrayLike, duration: ArrayLike) -> Events:
    """Return the onsets of music stored as three arrays (12, 32), ready for `nearest`.

    `sounds`: tokens 0..57; `velocity`: MIDI 0..127; `duration`: sixteenths, 0 as 1. Both become the nearest that has a
    token. Pitched sounds on KICK, SNARE, HH and CLAP are left out.
    """
    ids, loud, long = (np.asarray(array).T for array in (sounds, velocity, duration))
    step, track = np.nonzero((ids > 0) & ((ids >= tokens.FIRST_DRUM) | (np.arange(len(TRACKS)) >= 4)))
    found = np.zeros(len(step), EVENT)
    token = ids[step, track].astype(int)
    found["track"], found["step"], found["count"] = track, step, 1
    found["kind"] = token >= tokens.FIRST_DRUM
    found["sound"] = np.where(token >= tokens.FIRST_DRUM, token - tokens.FIRST_DRUM, token + tokens.LOWEST_MIDI - 1)
    found["velocity"] = VELOCITIES[_closest(loud[step, track] / 127.0, VELOCITIES)]
    found["duration"] = nearest_sixteenths(long[step, track])
    return derived(found)


def nearest_sixteenths(duration: ArrayLike) -> NDArray[np.uint8]:
    """Return the durations 1, 2, 3, 4 or 8 nearest by ratio to lengths in sixteenths."""
    wanted = np.log2(np.maximum(np.asarray(duration, np.float64), 0.25))
    return np.asarray(SIXTEENTHS[_closest(wanted, np.log2(SIXTEENTHS))])


def nearest_velocity(velocity: ArrayLike) -> NDArray[np.float32]:
    """Return the velocities of pp..ff nearest to numbers 0..1."""
    return np.asarray(VELOCITIES[_closest(np.asarray(velocity, np.float64), VELOCITIES)])


def _closest(wanted: NDArray[Any], known: NDArray[Any]) -> NDArray[np.intp]:
    return np.asarray(np.abs(wanted[..., None] - known).argmin(axis=-1))


def _one_a_cell(asked: Events, losses: list[Loss]) -> Events:
    """Drop what lies outside the grid or in no vocabulary, and all but the loudest onset of a cell."""
    keep = (asked["track"] < len(TRACKS)) & (asked["step"] < STEPS) & (asked["kind"] <= DRUM)
    keep &= (asked["kind"] == PITCH) | (asked["sound"] < len(tokens.DRUMS))
    keep &= (asked["articulation"] <= len(tokens.ARTICULATIONS)) & (asked["effects"] < 1 << len(tokens.EFFECTS))
    cell = asked["track"].astype(int) * 256 + asked["step"]
    loudest: dict[int, int] = {}
    for index in np.flatnonzero(keep).tolist():
        best = loudest.setdefault(int(cell[index]), index)
        if asked["velocity"][index] > asked["velocity"][best]:
            loudest[int(cell[index])] = index
    chosen = sorted(loudest.values())
    gone = asked[sorted(set(range(len(asked))) - set(chosen))]
    losses += [Loss(int(each["track"]), int(each["step"]), DROPPED, 1, 0) for each in gone]
    return asked[chosen]


def _in_words(asked: Events) -> Events:
    """Return the onsets with every value replaced by the nearest that has a token; fills only where they can stand."""
    said = asked.copy()
    for index in np.flatnonzero(said["kind"] == PITCH):
        said["sound"][index] = tokens.fold(int(said["sound"][index]))
    said["velocity"] = nearest_velocity(np.nan_to_num(said["velocity"]))
    said["duration"] = nearest_sixteenths(said["duration"])
    same = np.zeros(len(said), bool)
    same[1:] = np.all([said[name][1:] == said[name][:-1] for name in ("track", "kind", "sound")], axis=0)
    said["count"] = np.where((said["count"] >= 2) & same, 2, 1)
    return said


def _reachable(own: Events) -> Events:
    """Return the onsets of one track, sorted, in the states along the path that costs least."""
    gaps = np.diff(own["step"].astype(int), prepend=-1) - 1
    levels, lengths = _closest(own["velocity"], VELOCITIES), _closest(own["duration"], SIXTEENTHS)
    asked = list(
        zip(levels.tolist(), own["articulation"].tolist(), lengths.tolist(), own["effects"].tolist(), strict=True)
    )
    changes = [_distance(before, after) for before, after in zip([START, *asked], asked, strict=False)]
    if all(change <= gap for change, gap in zip(changes, gaps, strict=True)):
        return own
    used = [sorted({START[n], *(state[n] for state in asked)}) for n in range(len(START))]
    if np.prod([len(values) for values in used]) <= MOST_STATES:
        states: list[Any] = list(product(*used))
    else:
        states = sorted({START, *asked})
    table = np.array(states)
    apart = (table[:, None, :3] != table[None, :, :3]).sum(axis=2) + _bits(table[:, None, 3] ^ table[None, :, 3])

    # best[s] = cost(onset, s) + min over s' within reach of (best[s'] + a trifle for each change)
    best = np.where(np.arange(len(states)) == states.index(START), 0.0, np.inf)
    came = np.zeros((len(own), len(states)), np.intp)
    for n, (cost, gap) in enumerate(zip(_costs(own, np.array(asked), table), gaps, strict=True)):
        through = np.where(apart <= gap, best[:, None] + CHANGE_COST * apart, np.inf)
        came[n] = through.argmin(axis=0)
        best = cost + through.min(axis=0)
    path = [int(best.argmin())]
    for row in came[:0:-1]:
        path.append(int(row[path[-1]]))
    level, articulation, length, effects = table[path[::-1]].T
    said = own.copy()
    said["velocity"], said["duration"] = VELOCITIES[level], SIXTEENTHS[length]
    said["articulation"], said["effects"] = articulation, effects
    return said


def _distance(have: State, want: State) -> int:
    return sum(a != b for a, b in zip(have[:3], want[:3], strict=True)) + (have[3] ^ want[3]).bit_count()


def _bits(mask: NDArray[Any]) -> NDArray[Any]:
    return sum(((mask >> bit & 1) for bit in range(len(tokens.EFFECTS))), np.zeros_like(mask))


def _costs(own: Events, asked: NDArray[Any], table: NDArray[Any]) -> NDArray[np.float64]:
    """Return what each state costs at each onset, shape (onsets, states)."""

    # |log2 gain'/gain| + LENGTH |log2 gate'/gate| + EFFECT (bits apart) + WORD (words apart)
    room = np.append(np.diff(own["step"].astype(float)), np.inf)
    gains, gates = _log_gain(table)[None, :], _log_gate(table, room[:, None])
    gain, gate = _log_gain(asked), _log_gate(asked, room)
    pitched = (own["kind"] == PITCH)[:, None]
    words = (asked[:, None, :] != table[None]).sum(axis=2)
    effects = _bits(asked[:, None, 3] ^ table[None, :, 3])
    cost = np.abs(gains - gain[:, None]) + LENGTH_COST * pitched * np.abs(gates - gate[:, None])
    return np.asarray(cost + EFFECT_COST * effects + WORD_COST * words)


def _log_gain(states: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(np.log2(VELOCITIES[states[:, 0]] * GAIN_FACTORS[states[:, 1]]))


def _log_gate(states: NDArray[Any], room: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(np.log2(np.minimum(SIXTEENTHS[states[:, 2]] * LENGTH_FACTORS[states[:, 1]], room)))
