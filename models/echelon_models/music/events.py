"""What a grid means: `events(grid)` gives its onsets, `grid(events)` writes onsets as a grid.

Source: spec/music.md, "What a cell means". What that page leaves open is decided here:

- Every grid starts from the same state: mf, no articulation, 16th, no effect, no last sound, nothing broken off.
- A sound inside a broken bar is no onset, so `repeat` and `fill` never mean it: they mean the last sound heard.
  `break` ends no note that sounds already, and changes of state inside a broken bar count.
- `fill` strikes at the step and half a step later; each strike is as long as the state says, and the second ends the
  first. Any token may stand on any track; drums ring out whatever their duration says.
- A note may sound beyond the grid. What ends it then is the track's next onset in whatever grid follows, which only
  the player knows: `gate` of a track's last onset is its full length.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from echelon_engine.errors import UserError
from echelon_engine.vocabulary import STEPS, STEPS_PER_BAR
from echelon_models.music import tokens
from echelon_models.music.tokens import TRACKS

# One onset. 20 bytes; sorted by step, then track.
EVENT = np.dtype(
    [
        ("track", np.uint8),  # 0..11, of tokens.TRACKS
        ("step", np.uint8),  # 0..31, sixteenths from the grid's start
        ("kind", np.uint8),  # PITCH 0 or DRUM 1
        ("sound", np.uint8),  # MIDI note 36..84, or 0..7 of tokens.DRUMS
        ("count", np.uint8),  # 1, or 2: struck at the step and half a step later
        ("articulation", np.uint8),  # 0 none, 1 stac, 2 legato, 3 accent, 4 ghost
        ("duration", np.uint8),  # sixteenths as written: 1 2 3 4 8
        ("effects", np.uint8),  # bit 0 lpf, 1 hpf, 2 delay, 3 reverb, 4 dist
        ("velocity", np.float32),  # as written: .2 .35 .5 .65 .8 1
        ("gain", np.float32),  # velocity after the articulation, .08..1.25: how loud it is to be played
        ("gate", np.float32),  # sixteenths that the (last) strike sounds; infinite for drums, which ring out
    ],
    align=True,
)
PITCH, DRUM = 0, 1
STATE = ("velocity", "articulation", "duration", "effects")  # what sticks to a track
LENGTH_FACTORS = np.array([1.0, 0.5, 1.1, 1.0, 1.0], np.float32)  # by articulation
GAIN_FACTORS = np.array([1.0, 1.0, 1.0, 1.25, 0.4], np.float32)
VELOCITIES = np.array(tokens.VELOCITIES, np.float32)
SIXTEENTHS = np.array(tokens.SIXTEENTHS, np.uint8)
MF = tokens.DYNAMICS.index("mf")

Events = NDArray[Any]  # of EVENT
Grid = NDArray[np.uint8]

_BITS = np.zeros(256, np.uint8)  # the effect that a token toggles
_BITS[tokens.FIRST_EFFECT : tokens.REPEAT] = 1 << np.arange(len(tokens.EFFECTS))
_AFTER = ((np.arange(STEPS, dtype=np.int16) + 1) << 7)[None]  # a later step is a larger number, over any token
_STEPS = np.arange(STEPS, dtype=np.int16)
_NEVER = 10_000  # steps


class GridError(UserError):
    """An array that is no grid, with the place of what is wrong."""


class EventError(UserError):
    """Onsets that no grid can say, with the place and the reason."""


def place(track: int, step: int) -> str:
    """Return how a cell is called in messages: "BASS step 3"."""
    name = TRACKS[track] if 0 <= track < len(TRACKS) else f"track {track}"
    return f"{name} step {step}"


def check(grid: ArrayLike) -> Grid:
    """Return `grid` as uint8 of shape (12, 32), or (N, 12, 32). Raises `GridError` for any other shape or token."""
    array = np.asarray(grid)
    shape = (len(TRACKS), STEPS)
    if array.ndim not in (2, 3) or array.shape[-2:] != shape:
        raise GridError(f"grid of shape {array.shape}", "has 12 tracks by 32 steps", "give (12, 32) or (N, 12, 32)")
    if array.dtype.kind not in "iu":
        raise GridError(f"grid of {array.dtype}", "holds whole numbers", "give uint8")
    if array.size and (array.min() < 0 or array.max() >= tokens.COUNT):
        where = tuple(int(i) for i in np.argwhere((array < 0) | (array >= tokens.COUNT))[0])
        which = f"grid {where[0] + 1}, " if array.ndim == 3 else ""
        token = int(array[where])
        rule = "the mask never leaves the sampler" if token == tokens.MASK else f"tokens are 0..{tokens.COUNT - 1}"
        raise GridError(f"{which}{place(*where[-2:])}: token {token}", rule, "write 0 for a rest")
    return array.astype(np.uint8, copy=False)


def events(grid: ArrayLike) -> Events:
    """Return the onsets of one grid, uint8 (12, 32), as an array of `EVENT` sorted by step, then track.

    Raises `GridError`. About 0.2 ms.
    """
    array = check(grid)
    if array.ndim != 2:
        raise GridError(f"grid of shape {array.shape}", "is several grids", "use `many`")
    return many(array[None])[1]


def many(grids: ArrayLike) -> tuple[NDArray[np.intp], Events]:
    """Return the onsets of grids, uint8 (N, 12, 32): the grid 0..N-1 of each, and the `EVENT`s.

    Sorted by grid, step, track. Raises `GridError`.
    """
    array = check(grids)
    if array.ndim != 3:
        raise GridError(f"grid of shape {array.shape}", "is a single grid", "use `events`")
    cells = array.reshape(-1, STEPS)

    level = _held(cells, _within(cells, tokens.FIRST_DYNAMICS, tokens.FIRST_ARTICULATION), MF + tokens.FIRST_DYNAMICS)
    length = _held(cells, _within(cells, tokens.FIRST_DURATION, tokens.FIRST_EFFECT), tokens.FIRST_DURATION)
    effects = np.bitwise_xor.accumulate(_BITS[cells], axis=1)
    articulation = _articulation(cells)

    broken = np.logical_or.accumulate((cells == tokens.BREAK).reshape(-1, STEPS_PER_BAR), axis=1).reshape(cells.shape)
    sounds = _within(cells, tokens.FIRST_PITCH, tokens.FIRST_DYNAMICS) & ~broken
    last = _held(cells, sounds, tokens.REST)
    twice = cells == tokens.FILL
    onset = sounds | ((twice | (cells == tokens.REPEAT)) & ~broken & (last > 0))

    # Steps to the track's next onset, seen from behind.
    at = np.where(onset, _STEPS, _NEVER)
    following = np.full_like(at, _NEVER)
    following[:, :-1] = np.minimum.accumulate(at[:, :0:-1], axis=1)[:, ::-1]

    index, step, track = np.nonzero(onset.reshape(array.shape).transpose(0, 2, 1))
    row = index * len(TRACKS) + track
    found = np.empty(len(row), EVENT)
    sound = last[row, step]
    found["track"], found["step"] = track, step
    found["kind"] = sound >= tokens.FIRST_DRUM
    pitched = found["kind"] == PITCH
    found["sound"] = np.where(pitched, sound + (tokens.LOWEST_MIDI - tokens.FIRST_PITCH), sound - tokens.FIRST_DRUM)
    found["count"] = 1 + twice[row, step]
    found["articulation"] = articulation[row, step]
    found["duration"] = SIXTEENTHS[length[row, step] - tokens.FIRST_DURATION]
    found["effects"] = effects[row, step]
    found["velocity"] = VELOCITIES[level[row, step] - tokens.FIRST_DYNAMICS]
    _derive(found, following[row, step] - step)
    return index, found


def _within(cells: Grid, first: int, end: int) -> NDArray[np.bool_]:
    return (cells >= first) & (cells < end)


def _held(cells: Grid, which: NDArray[np.bool_], start: int) -> NDArray[np.int16]:
    """Return at each step the last of the tokens marked in `which`, or `start` before the first."""
    return np.asarray(np.maximum.accumulate(np.where(which, _AFTER + cells, start), axis=1) & 127, np.int16)


def _articulation(cells: Grid) -> NDArray[np.int16]:
    """Return 0..4 at each step: within a run of the same token the odd ones switch it on, the even ones off."""
    which = _within(cells, tokens.FIRST_ARTICULATION, tokens.FIRST_DURATION)
    held = _held(cells, which, tokens.FIRST_ARTICULATION - 1)
    begins = which.copy()
    begins[:, 1:] &= cells[:, 1:] != held[:, :-1]
    count = np.cumsum(which, axis=1, dtype=np.int16)
    off = (count - np.maximum.accumulate(np.where(begins, count, 0), axis=1)) & 1
    return np.where(off, 0, held - (tokens.FIRST_ARTICULATION - 1)).astype(np.int16)


def _derive(found: Events, room: NDArray[Any]) -> None:
    """Fill in gain and gate; `room` is the distance to the track's next onset in steps."""
    length = found["duration"] * LENGTH_FACTORS[found["articulation"]]
    room = room - 0.5 * (found["count"] == 2)
    found["gain"] = found["velocity"] * GAIN_FACTORS[found["articulation"]]
    found["gate"] = np.where(found["kind"] == PITCH, np.minimum(length, room), np.inf)


def derived(onsets: Events) -> Events:
    """Return a sorted copy of onsets with `gain` and `gate` as the rest of their fields imply; one a cell."""
    found = onsets[np.lexsort((onsets["track"], onsets["step"]))].astype(EVENT)
    room = np.full(len(found), _NEVER)
    for track in np.unique(found["track"]):
        own = np.flatnonzero(found["track"] == track)
        room[own[:-1]] = np.diff(found["step"][own].astype(int))
    _derive(found, room)
    return found


def strikes(onsets: Events) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.float64]]:
    """Return every strike in time, two where `count` is 2: index of its event, its step (n or n + 1/2), its gate."""
    double = np.flatnonzero(onsets["count"] == 2)
    index = np.concatenate([np.arange(len(onsets)), double])
    position = onsets["step"][index].astype(np.float64)
    gate = onsets["gate"][index].astype(np.float64)
    gate[double] = np.where(onsets["kind"][double] == PITCH, np.minimum(gate[double], 0.5), np.inf)
    position[len(onsets) :] += 0.5
    order = np.lexsort((onsets["track"][index], position))
    return index[order], position[order], gate[order]


def grid(onsets: Events) -> Grid:
    """Return the grid, uint8 (12, 32), whose `events` are `onsets` (an array of `EVENT` in any order).

    `gain` and `gate` are not read: they follow from the rest. Raises `EventError` with the place and the reason where
    no grid says exactly this; `nearest.nearest` then finds the closest that can be said.

    Between two onsets of a track the state has to become that of the second. Velocity, duration and articulation each
    get there from anywhere by one token (off: the articulation's own token again), an effect by its toggle; so the
    cheapest way is one silent cell for each of these that differs, and they are written right before the onset. It is
    also the cheapest possible: an onset shows the whole state, so no change can wait for, or come before, another gap,
    and no token changes two things. Hence `events(grid(events(g))) == events(g)` for every g: wherever g has two
    onsets, the cells between them are silent, whatever they hold (rests, modifiers, a `repeat` of nothing, sounds cut
    by a `break`), and at least as many of them are modifiers as things differ. Neither `break` nor `repeat` is needed
    in writing; `fill` is an onset cell by itself, and in `events(g)` its sound is always the one before.
    """
    cells = np.zeros((len(TRACKS), STEPS), np.uint8)
    _check_words(onsets)
    for track in np.unique(onsets["track"]):
        own = onsets[onsets["track"] == track]
        own = own[np.argsort(own["step"], kind="stable")]
        before, sound, state = -1, tokens.REST, START
        for onset in own.tolist():
            wanted, token, step = _state(onset), _token(onset), onset[1]
            changes = _changes(state, wanted)
            room = step - before - 1
            if room < 0:
                raise EventError(place(track, step), "has two onsets, and a cell holds one", "drop one of them")
            if len(changes) > room:
                said = " ".join(tokens.name_of(change) for change in changes)
                rule = f"needs {len(changes)} silent cells before it ({said}), and there are {room}"
                raise EventError(place(track, step), rule, "change less, or ask for the nearest grid")
            if onset[4] == 2 and sound != token:
                rule = f"is a fill of {tokens.name_of(token)}, which is not the track's sound before it"
                raise EventError(place(track, step), rule, f"put one {tokens.name_of(token)} before it")
            cells[track, step - len(changes) : step] = changes
            cells[track, step] = tokens.FILL if onset[4] == 2 else token
            before, sound, state = step, token, wanted
    return cells


State = tuple[int, int, int, int]  # level 0..5, articulation 0..4, duration 0..4, effects
START: State = (MF, 0, 0, 0)
_LEVELS = {float(value): level for level, value in enumerate(VELOCITIES)}
_LENGTHS = {value: length for length, value in enumerate(tokens.SIXTEENTHS)}


def _state(onset: tuple[Any, ...]) -> State:
    return _LEVELS[onset[8]], onset[5], _LENGTHS[onset[6]], onset[7]


def _token(onset: tuple[Any, ...]) -> int:
    kind, sound = onset[2], onset[3]
    return int(sound + tokens.FIRST_DRUM if kind == DRUM else sound - tokens.LOWEST_MIDI + tokens.FIRST_PITCH)


def _changes(have: State, want: State) -> list[int]:
    """Return the tokens, one cell each, that lead from one state to another."""
    written = []
    if have[0] != want[0]:
        written.append(tokens.FIRST_DYNAMICS + want[0])
    if have[1] != want[1]:
        written.append(tokens.FIRST_ARTICULATION + (want[1] or have[1]) - 1)
    if have[2] != want[2]:
        written.append(tokens.FIRST_DURATION + want[2])
    toggled = have[3] ^ want[3]
    return written + [tokens.FIRST_EFFECT + bit for bit in range(len(tokens.EFFECTS)) if toggled >> bit & 1]


def _check_words(onsets: Events) -> None:
    """Refuse values that no token says, with the place of the first."""
    if onsets.dtype != EVENT:
        raise EventError(f"onsets of {onsets.dtype}", "are records of EVENT", "use events.EVENT")
    pitched = onsets["kind"] == PITCH
    rules = {
        "track": (onsets["track"] < len(TRACKS), "tracks are 0..11"),
        "step": (onsets["step"] < STEPS, "steps are 0..31"),
        "kind": (onsets["kind"] <= DRUM, "0 is a pitch, 1 is a drum"),
        "sound": (
            np.where(
                pitched,
                (onsets["sound"] >= tokens.LOWEST_MIDI) & (onsets["sound"] <= tokens.HIGHEST_MIDI),
                onsets["sound"] < len(tokens.DRUMS),
            ),
            "pitches are MIDI 36..84, drums 0..7",
        ),
        "count": ((onsets["count"] == 1) | (onsets["count"] == 2), "a cell sounds once or twice"),
        "articulation": (onsets["articulation"] <= len(tokens.ARTICULATIONS), "articulations are 0..4"),
        "duration": (np.isin(onsets["duration"], SIXTEENTHS), "durations are 1, 2, 3, 4 or 8 sixteenths"),
        "effects": (onsets["effects"] < 1 << len(tokens.EFFECTS), "there are five effects, bits 0..4"),
        "velocity": (np.isin(onsets["velocity"], VELOCITIES), "velocities are .2 .35 .5 .65 .8 1"),
    }
    for field, (fits, rule) in rules.items():
        if not fits.all():
            bad = onsets[~fits][0]
            where = place(int(bad["track"]), int(bad["step"]))
            raise EventError(f"{where}: {field} {bad[field]:g}", rule, "give one of these, or ask for the nearest grid")
