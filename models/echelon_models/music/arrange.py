"""A MIDI file's notes arranged on twelve tracks and thirty-two steps, with a report of everything that changed.

Notes go to the nearest sixteenth; two of the same sound half a step apart become a fill. A cell holds one sound: of a
chord BASS keeps the lowest and the others the highest note, of drums the loudest; what finds its cell taken goes to a
neighbouring track that no part has (`parts.NEIGHBOURS`; drums to FX), else it is dropped. What dynamics and lengths
no grid can say is `nearest`'s choice.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from echelon_engine.vocabulary import STEPS, STEPS_PER_BEAT
from echelon_models.music import general_midi, midi_file, tokens
from echelon_models.music.events import DRUM, EVENT, LENGTH_FACTORS, PITCH, SIXTEENTHS, VELOCITIES, Events
from echelon_models.music.midi_file import MidiError, Song
from echelon_models.music.nearest import nearest, nearest_sixteenths, nearest_velocity, summary
from echelon_models.music.parts import NEIGHBOURS, Choice, Note, Part, choose
from echelon_models.music.piece import FASTEST_BPM, SLOWEST_BPM, USUAL_BPM, Piece, piece
from echelon_models.music.tokens import TRACKS

FILL_SLACK = 0.25  # steps that the strikes of a fill may be off
SAME_LENGTH = 0.02  # steps: as long as the words of the release velocity say
_BASS, _FX = TRACKS.index("BASS"), TRACKS.index("FX")


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a file's notes.

    `notes` were read and `written` stand in the grids (a fill is two); `merged` were the same sound in the same cell,
    `moved` went to a neighbouring track, `dropped` found no free cell, `folded` changed by octaves, `unfinished` never
    ended. `deviation_ms`: mean and largest distance to the step. `lost`: onsets by the field that the grid does not
    say as played. `parts`: for people, one line each. `remarks`: tempo changes, other meters.
    """

    notes: int
    written: int
    merged: int
    moved: int
    dropped: int
    folded: int
    unfinished: int
    deviation_ms: tuple[float, float]
    lost: dict[str, int]
    parts: tuple[str, ...]
    remarks: tuple[str, ...]

    def lines(self) -> tuple[str, ...]:
        """Return the report for people, a few lines."""
        counts = {
            "the same sound in the same cell": self.merged,
            "moved to a neighbouring track": self.moved,
            "dropped, no cell free": self.dropped,
            "folded by octaves": self.folded,
            "never ended": self.unfinished,
        }
        said = [f"{count} {what}" for what, count in counts.items() if count]
        mean, most = self.deviation_ms
        lines = [
            "; ".join([f"{self.notes} notes, {self.written} in the grids", *said]),
            f"quantised by {mean:.1f} ms in the mean, {most:.1f} ms at most",
        ]
        if self.lost:
            kinds = ", ".join(f"{field} of {count}" for field, count in self.lost.items())
            lines.append(f"nearest, for want of silent cells or words: {kinds}")
        return (*lines, *self.parts, *self.remarks)


class _Sound(NamedTuple):
    """A note with the track and sound it was given; `second` is the other strike of a fill."""

    track: int
    kind: int
    sound: int
    step: int
    note: Note
    second: Note | None


def read(path: str | Path) -> tuple[Piece, Report]:
    """Return a MIDI file as a piece, with the report. Raises `MidiError`, OSError."""
    return decode(Path(path).read_bytes(), str(path))


def decode(data: bytes, name: str = "MIDI file") -> tuple[Piece, Report]:
    """Return the bytes of a MIDI file as a piece, with the report; `name` is for messages. Raises `MidiError`."""
    song = midi_file.decode(data, name)
    if not song.parts and not song.ours:
        raise MidiError(name, "holds no note", "give a file with music in it")
    return arrange(song)


def arrange(song: Song) -> tuple[Piece, Report]:
    """Return the grids of a song, and the report."""
    choices = [
        Choice(TRACKS.index(part.name), "its name") if song.ours and part.name in TRACKS else choice
        for part, choice in zip(song.parts, choose(song.parts), strict=True)
    ]
    sounds = [sound for part, choice in zip(song.parts, choices, strict=True) for sound in _sounds(part, choice)]
    placed, counts = _placed(sounds, {choice.track for choice in choices if choice})
    onsets, steps = _onsets(placed, ours=song.ours)
    last = int(steps[-1]) + 1 if len(steps) else 1
    length = max(round(song.end), last) if song.ours else last
    grids = np.zeros((-(-length // STEPS), len(TRACKS), STEPS), np.uint8)
    lost: Counter[str] = Counter()
    for number in range(len(grids)):
        own = onsets[steps // STEPS == number]
        if len(own):
            grids[number], losses = nearest(own)
            lost.update(summary(losses))
    folded = lost.pop("sound", 0)

    bpm = [_tempo_at(song, number * STEPS) if song.tempi else 0.0 for number in range(len(grids))]
    tempi = [tempo if SLOWEST_BPM <= tempo <= FASTEST_BPM else 0.0 for tempo in bpm]
    off = [
        abs(note.begin - where) * 60e3 / _tempo_at(song, note.begin) / STEPS_PER_BEAT
        for each in placed
        for note, where in ((each.note, each.step), (each.second, each.step + 0.5))
        if note is not None
    ]
    report = Report(
        notes=sum(len(part.notes) for part in song.parts),
        written=len(off) - lost.get("count", 0),
        folded=folded,
        unfinished=song.unfinished,
        deviation_ms=(float(np.mean(off)), float(np.max(off))) if off else (0.0, 0.0),
        lost=dict(sorted(lost.items())),
        parts=tuple(_described(part, choice) for part, choice in zip(song.parts, choices, strict=True)),
        remarks=_remarks(song, bpm),
        **counts,
    )
    said = report.lines() if set(lost) or not _as_written(song) else ()
    return piece(grids, tempi, said), report


def _sounds(part: Part, choice: Choice | None) -> list[_Sound]:
    """Return the notes of a part with their tracks and sounds, fills found."""
    groups: dict[tuple[int, int, int], list[Note]] = defaultdict(list)
    for note in part.notes:
        name, lane = general_midi.DRUM_SOUNDS.get(note.midi, general_midi.OTHER_DRUM)
        if choice is not None and choice.drum is not None:
            groups[choice.track, DRUM, choice.drum].append(note)
        elif part.drums:
            track = TRACKS.index(lane) if choice is None else choice.track
            groups[track, DRUM, tokens.DRUMS.index(name)].append(note)
        elif choice is not None:
            groups[choice.track, PITCH, note.midi].append(note)
    found = []
    for key, notes in groups.items():
        notes.sort()
        number = 0
        while number < len(notes):
            note = notes[number]
            step = int(np.floor(note.begin + 0.5))
            after = notes[number + 1] if number + 1 < len(notes) else None
            fill = abs(note.begin - step) <= FILL_SLACK and after and abs(after.begin - step - 0.5) < FILL_SLACK
            found.append(_Sound(*key, step, note, after if fill else None))
            number += 2 if fill else 1
    return found


def _placed(sounds: list[_Sound], used: set[int]) -> tuple[list[_Sound], dict[str, int]]:
    """Give each sound a cell of its own, and count what happened to those that found theirs taken."""

    def rank(sound: _Sound) -> tuple[float, ...]:
        first = -sound.note.velocity if sound.kind == DRUM else sound.sound * (1 if sound.track == _BASS else -1)
        return sound.step, sound.track, sound.kind, first, -sound.note.velocity

    counts = dict.fromkeys(("merged", "moved", "dropped"), 0)
    cells: dict[tuple[int, int], _Sound] = {}
    for sound in sorted(sounds, key=rank):
        strikes = 2 if sound.second else 1
        others = [_FX] if sound.kind == DRUM else [TRACKS.index(n) for n in NEIGHBOURS.get(TRACKS[sound.track], ())]
        tracks = [sound.track, *(track for track in others if track not in used)]
        here = [cells.get((track, sound.step)) for track in tracks]
        same = any(other and (other.kind, other.sound) == (sound.kind, sound.sound) for other in here)
        free = next((track for track, other in zip(tracks, here, strict=True) if other is None), None)
        if same or free is None:
            counts["merged" if same else "dropped"] += strikes
            continue
        counts["moved"] += strikes * (free != sound.track)
        cells[free, sound.step] = sound._replace(track=free)
    return sorted(cells.values(), key=lambda sound: (sound.step, sound.track)), counts


def _onsets(placed: list[_Sound], *, ours: bool) -> tuple[Events, np.ndarray]:
    """Return the onsets, sorted, with the state each was played with, and their steps from the start of the song."""
    onsets = np.zeros(len(placed), EVENT)
    steps = np.array([sound.step for sound in placed], np.int64)
    following: dict[int, int] = {}
    for number in range(len(placed) - 1, -1, -1):
        sound = placed[number]
        room = following.get(sound.track, 1 << 30) - sound.step
        following[sound.track] = sound.step
        level, articulation, duration = (_words if ours else _played)(sound, room)
        onset = onsets[number]
        onset["track"], onset["step"] = sound.track, sound.step % STEPS
        onset["kind"], onset["sound"], onset["count"] = sound.kind, sound.sound, 2 if sound.second else 1
        onset["velocity"], onset["articulation"], onset["duration"] = level, articulation, duration
        onset["effects"] = sound.note.effects if ours else 0
    return onsets, steps


def _played(sound: _Sound, room: float) -> tuple[float, int, int]:
    """Return velocity, articulation and duration of a note as it was played."""
    last = sound.second or sound.note
    duration = int(nearest_sixteenths(last.end - last.begin)) if sound.kind == PITCH else 1
    return float(nearest_velocity(sound.note.velocity / 127)), 0, duration


def _words(sound: _Sound, room: float) -> tuple[float, int, int]:
    """Return the same of a note written here: the words it keeps, where it still is as loud and long as they say."""
    last = sound.second or sound.note
    level, row = general_midi.level_of(sound.note.velocity)
    exact = general_midi.VELOCITIES[row][level] == sound.note.velocity
    kept = general_midi.words_of(last.release)
    if exact and kept and general_midi.ROW[kept[0]] == row:
        articulation, duration = kept[0], int(SIXTEENTHS[kept[1]])
        length = min(duration * float(LENGTH_FACTORS[articulation]), room - (0.5 if sound.second else 0.0))
        if sound.kind == DRUM or abs(length - (last.end - last.begin)) < SAME_LENGTH:
            return float(VELOCITIES[level]), articulation, duration
    if not exact:
        level, row = int(np.abs(VELOCITIES - sound.note.velocity / 100).argmin()), 0
    return float(VELOCITIES[level]), (0, 3, 4)[row], _played(sound, room)[2]


def _as_written(song: Song) -> bool:
    """Tell whether every part is one of a file written here, so that there is nothing to tell."""
    return song.ours and all(part.name in TRACKS for part in song.parts)


def _tempo_at(song: Song, begin: float) -> float:
    known = [bpm for at, bpm in song.tempi if at <= begin]
    return known[-1] if known else USUAL_BPM


def _described(part: Part, choice: Choice | None) -> str:
    name = " ".join(part.name.split()) or "unnamed"
    where = "KICK SNARE HH CLAP FX" if choice is None else TRACKS[choice.track]
    why = "General MIDI drums" if choice is None else choice.why
    return f"{name[:40]!r}, channel {part.channel + 1}: {len(part.notes)} notes to {where} ({why})"


def _remarks(song: Song, bpm: list[float]) -> tuple[str, ...]:
    found = []
    inside = [begin for begin, _ in song.tempi if begin % STEPS]
    if inside:
        found.append(f"{len(inside)} tempo changes inside a grid: a grid has the tempo of its start")
    odd = sorted({tempo for tempo in bpm if tempo and not SLOWEST_BPM <= tempo <= FASTEST_BPM})
    if odd:
        found.append(f"tempi out of {SLOWEST_BPM:g}..{FASTEST_BPM:g} bpm left out: {odd[0]:g} bpm")
    if song.meters:
        meters = sorted({meter for _, meter in song.meters})
        found.append(f"written in {', '.join(meters)}: read on in bars of sixteen sixteenths")
    return tuple(found)
