"""Which track a part of a MIDI file becomes: by its name, else its General MIDI program, else how it is played.

Pure: notes in, tracks out. A part is what one channel of one track of the file plays.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from echelon_models.music.general_midi import DRUM_CHANNEL
from echelon_models.music.tokens import TRACKS


class Note(NamedTuple):
    """One note: begin and end in sixteenths, MIDI note, velocity, release velocity, effects (bit mask)."""

    begin: float
    end: float
    midi: int
    velocity: int
    release: int
    effects: int


@dataclass(slots=True)
class Part:
    """What one channel 0..15 of one track of a file plays; `program` 0..127, None where it names none."""

    name: str
    channel: int
    program: int | None = None
    notes: list[Note] = field(default_factory=list)

    @property
    def drums(self) -> bool:
        """Tell whether it is on the drum channel."""
        return self.channel == DRUM_CHANNEL


class Choice(NamedTuple):
    """Where a part goes: track 0..11, by what it was chosen, and the drum 0..7 it plays whatever its notes say."""

    track: int
    why: str
    drum: int | None = None


# A word in a part's name, the track it means; the first that is found counts.
WORDS = (
    (r"bass|sub\b|808", "BASS"),
    (r"arp|pluck|sequence|harp", "ARP"),
    (r"vox|voice|vocal|choir|aah|ooh", "VOX"),
    (r"lead|melod|solo|theme|soprano", "LEAD"),
    (r"amb|atmos|drone|texture", "AMB"),
    (r"pad|string|sweep", "PAD"),
    (r"stab|chord|brass|piano|keys|organ|guitar|rhodes", "STAB"),
    (r"fx|sfx|riser|noise|effect", "FX"),
)
DRUM_WORDS = (
    (r"kick|\bbd\b|bass ?drum", "KICK", 0),
    (r"snare|\bsd\b", "SNARE", 1),
    (r"open.?hat|\boh\b", "HH", 3),
    (r"hat|\bhh\b", "HH", 2),
    (r"clap|\bcp\b", "CLAP", 4),
    (r"rim", "SNARE", 5),
    (r"\btoms?\b", "CLAP", 6),
    (r"perc|shaker|conga|bongo|cowbell|tambourine", "CLAP", 7),
)
# Programs from 0, the first of each run, the track they mean; "" is decided by how the part is played.
PROGRAMS = (
    *((0, ""), (8, "ARP"), (16, "PAD"), (24, ""), (32, "BASS"), (40, "LEAD"), (43, "BASS"), (44, "PAD")),
    *((45, "ARP"), (47, "FX"), (48, "PAD"), (52, "VOX"), (55, "STAB"), (64, "LEAD"), (85, "VOX"), (86, "LEAD")),
    *((88, "PAD"), (96, "AMB"), (104, "ARP"), (112, "FX")),
)
# Where else a part, or a note of a chord, may go: the first that is free.
NEIGHBOURS = {
    "BASS": ("STAB", "PAD"),
    "PAD": ("AMB", "STAB", "VOX"),
    "LEAD": ("VOX", "ARP", "STAB"),
    "STAB": ("PAD", "ARP", "AMB"),
    "ARP": ("LEAD", "STAB", "VOX"),
    "FX": ("AMB", "ARP"),
    "VOX": ("LEAD", "PAD", "AMB"),
    "AMB": ("PAD", "VOX", "FX"),
}
LOW_MIDI, LONG, QUICK, WIDE = 48.0, 3.0, 1.6, 3.0  # mean note; mean length, median distance in sixteenths; semitones


def choose(parts: list[Part]) -> list[Choice | None]:
    """Return the track of each part, None for General MIDI drums, whose sounds have tracks of their own.

    Parts that a name decides choose first, then programs, then playing; of equals the one with more notes. A track
    that is taken sends a part to its first free neighbour; where none is free, it joins.
    """
    chosen: list[Choice | None] = [None] * len(parts)
    wishes = [(number, *_wish(part)) for number, part in enumerate(parts)]
    taken: set[str] = set()
    for number, rank, track, why, drum in sorted(wishes, key=lambda wish: (wish[1], -len(parts[wish[0]].notes))):
        if not track:
            continue
        if rank > 0 and drum is None and track in taken:
            free = next((other for other in NEIGHBOURS[track] if other not in taken), None)
            track, why = (track, f"{why}; joins another part") if free is None else (free, f"{why}; {track} is taken")
        taken.add(track)
        chosen[number] = Choice(TRACKS.index(track), why, drum)
    return chosen


def _wish(part: Part) -> tuple[int, str, str, int | None]:
    """Return the rank of the reason 0..3, the wanted track ("" for General MIDI drums), the reason, the drum."""
    name = part.name.strip()
    if name.upper() in TRACKS:
        sound = next((drum for _, track, drum in DRUM_WORDS if track == name.upper()), None)
        return 0, name.upper(), "its name", None if part.drums else sound
    if part.drums:
        return 0, "", "the drum channel", None
    for pattern, track, drum in DRUM_WORDS:
        if re.search(pattern, name, re.IGNORECASE):
            return 1, track, "its name", drum
    for pattern, track in WORDS:
        if re.search(pattern, name, re.IGNORECASE):
            return 1, track, "its name", None
    if part.program is not None:
        track = next(track for first, track in reversed(PROGRAMS) if part.program >= first)
        if track:
            return 2, track, f"program {part.program + 1}", None
    return 3, _played(part), "how it is played", None


def _played(part: Part) -> str:
    """Return BASS, PAD, STAB, ARP or LEAD by register, chords, lengths and motion."""
    if not part.notes:
        return "LEAD"
    notes = sorted(part.notes)
    begins = np.unique(np.round([note.begin for note in notes]))
    chord = len(notes) / len(begins)
    midi = np.array([note.midi for note in notes], float)
    if midi.mean() < LOW_MIDI and chord < 1.5:
        return "BASS"
    if chord >= 1.5:
        return "PAD" if np.mean([note.end - note.begin for note in notes]) >= LONG else "STAB"
    moving = len(notes) > 1 and np.median(np.diff(begins)) <= QUICK if len(begins) > 1 else False
    return "ARP" if moving and np.abs(np.diff(midi)).mean() >= WIDE else "LEAD"
