"""The vocabulary: 81 tokens, one table with both directions, and the shape of a grid.

Source: spec/music.md, "Vocabulary". Importing this module imports nothing but the standard library.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from echelon_engine.errors import UserError, nearest
from echelon_engine.vocabulary import TRACK_NAMES

Category = Literal["rest", "pitch", "drum", "dynamics", "articulation", "duration", "effect", "structure"]

TRACKS = tuple(name.upper() for name in TRACK_NAMES)

DRUMS = ("bd", "sd", "hh", "oh", "cp", "rim", "tom", "perc")
DYNAMICS = ("pp", "p", "mp", "mf", "f", "ff")
VELOCITIES = (0.2, 0.35, 0.5, 0.65, 0.8, 1.0)  # of DYNAMICS
ARTICULATIONS = ("stac", "legato", "accent", "ghost")
DURATIONS = ("16th", "8th", "dotted-8th", "quarter", "half")
SIXTEENTHS = (1, 2, 3, 4, 8)  # of DURATIONS
EFFECTS = ("lpf", "hpf", "delay", "reverb", "dist")
STRUCTURE = ("repeat", "fill", "break")
LOWEST_MIDI, HIGHEST_MIDI = 36, 84  # C2 and C6, where C4 is 60

_PITCH_CLASSES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
_FLATS = {"db": "c#", "eb": "d#", "gb": "f#", "ab": "g#", "bb": "a#"}


class TokenError(UserError):
    """A token, name or MIDI note that the vocabulary does not have."""


@dataclass(frozen=True, slots=True)
class Token:
    """One row of the table: its id 0..80, its name as the specification writes it, and its category."""

    id: int
    name: str
    category: Category


def _rows() -> Iterator[tuple[str, Category]]:
    yield "~", "rest"
    for midi in range(LOWEST_MIDI, HIGHEST_MIDI + 1):
        yield f"{_PITCH_CLASSES[midi % 12]}{midi // 12 - 1}", "pitch"
    groups: tuple[tuple[tuple[str, ...], Category], ...] = (
        (DRUMS, "drum"),
        (DYNAMICS, "dynamics"),
        (ARTICULATIONS, "articulation"),
        (DURATIONS, "duration"),
        (EFFECTS, "effect"),
        (STRUCTURE, "structure"),
    )
    for names, category in groups:
        for name in names:
            yield name, category


TOKENS = tuple(Token(number, name, category) for number, (name, category) in enumerate(_rows()))
BY_NAME = {token.name.lower(): token for token in TOKENS}

REST = 0
FIRST_PITCH, FIRST_DRUM, FIRST_DYNAMICS = 1, 50, 58
FIRST_ARTICULATION, FIRST_DURATION, FIRST_EFFECT = 64, 68, 73
REPEAT, FILL, BREAK = 78, 79, 80
COUNT = len(TOKENS)  # 81
MASK = COUNT  # of the absorbing diffusion: known to the sampler alone, in no grid

PITCHES = range(FIRST_PITCH, FIRST_DRUM)
DRUM_TOKENS = range(FIRST_DRUM, FIRST_DYNAMICS)

# What a sampler may put where (spec/diffusion.md). `events` itself takes any token on any track.
DRUM_TRACKS = tuple(TRACKS.index(name) for name in ("KICK", "SNARE", "HH", "CLAP", "FX"))
PITCH_TRACKS = tuple(range(TRACKS.index("BASS"), len(TRACKS)))


def is_pitch(token: int) -> bool:
    """Tell whether a token is one of C2..C6."""
    return token in PITCHES


def is_drum(token: int) -> bool:
    """Tell whether a token is one of the eight drums."""
    return token in DRUM_TOKENS


def name_of(token: int) -> str:
    """Return the name of a token id 0..80. Raises `TokenError`; the mask has no name in a grid."""
    if not 0 <= token < COUNT:
        what = "the mask of the diffusion, which is in no grid" if token == MASK else f"not one of 0..{COUNT - 1}"
        raise TokenError(f"token {token}", f"is {what}", "write one of the 81 tokens")
    return TOKENS[token].name


def token_of(name: str) -> int:
    """Return the id of a name, in any case, flats too ("Db3" is "C#3"). Raises `TokenError` naming the nearest."""
    word = name.lower()
    if len(word) == 3 and word[:2] in _FLATS:
        word = _FLATS[word[:2]] + word[2]
    found = BY_NAME.get(word)
    if found is None:
        remedy = nearest(word, BY_NAME) or "pitches are C2..C6, drums " + " ".join(DRUMS)
        raise TokenError(name, "no such token", remedy)
    return found.id


def fold(midi: int) -> int:
    """Return a MIDI note moved by whole octaves, as few as possible, into C2..C6 (36..84)."""
    if midi < LOWEST_MIDI:
        return midi + 12 * -((midi - LOWEST_MIDI) // 12)
    if midi > HIGHEST_MIDI:
        return midi - 12 * -((HIGHEST_MIDI - midi) // 12)
    return midi


def pitch_token(midi: int, *, folded: bool = False) -> int:
    """Return the token 1..49 of a MIDI note 36..84; others are folded by octaves where asked, else `TokenError`."""
    note = fold(midi) if folded else midi
    if not LOWEST_MIDI <= note <= HIGHEST_MIDI:
        rule = f"tokens reach from C2 to C6, MIDI {LOWEST_MIDI}..{HIGHEST_MIDI}"
        raise TokenError(f"MIDI note {midi}", rule, f"move it by octaves, to {fold(midi)}")
    return note - LOWEST_MIDI + FIRST_PITCH


def midi_note(token: int) -> int:
    """Return the MIDI note 36..84 of a pitch token. Raises `TokenError` for any other token."""
    if not is_pitch(token):
        raise TokenError(f"token {token}", "is no pitch", f"pitches are {FIRST_PITCH}..{FIRST_DRUM - 1}")
    return token - FIRST_PITCH + LOWEST_MIDI
