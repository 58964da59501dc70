"""What a style is once it was read and checked: tracks, their parts, chords and form."""

from __future__ import annotations

from dataclasses import dataclass

from echelon_engine.errors import UserError
from echelon_models.music import harmony, tokens
from echelon_models.music.harmony import Chord
from echelon_models.music.patterns import BAR, NONE

TRACKS = tokens.TRACKS
DRUM_TRACKS = frozenset(tokens.DRUM_TRACKS)
FX = TRACKS.index("FX")
CHORD_TRACKS = tuple(TRACKS.index(name) for name in ("PAD", "STAB", "ARP", "VOX", "AMB"))
TONES = "1234567890"  # of `tones`: 8 and 0 are the root an octave up and down
SHAPES = ("up", "down", "updown", "broken")
FILL_LETTERS = dict(zip("kshocrtp", (0, 1, 2, 3, 4, 5, 6, 7), strict=True))  # drums; `*` twice, `!` break
REGISTERS = {"BASS": (36, 52), "PAD": (52, 69), "LEAD": (60, 84), "STAB": (55, 74), "ARP": (57, 82)} | {
    "FX": (48, 84), "VOX": (55, 74), "AMB": (48, 67)
}  # fmt: skip

Levels = tuple[int, ...]  # a level 1..9 or 0 a cell; 16 or 32 cells


class StyleError(UserError):
    """A style that cannot be played, with the place and the reason."""


@dataclass(frozen=True, slots=True)
class Part:
    """What a track plays in a section: levels for each drum, and levels, tones and a feel for its pitches."""

    drums: tuple[tuple[int, Levels], ...] = ()
    play: Levels = ()
    tones: str = ""
    feel: tuple[int, ...] = (NONE,) * BAR

    @property
    def silent(self) -> bool:
        """Whether nothing is written in it."""
        return not any(self.play) and not any(any(levels) for _, levels in self.drums)


@dataclass(frozen=True, slots=True)
class Track:
    """A track of a style: its place in the mix, its register, and its parts: for each section, alternatives."""

    level_db: float
    pan: float
    velocity: int  # 0..5, pp..ff
    register: tuple[int, int]
    length: int  # sixteenths; 0: as the rhythm and the articulation say
    shape: str
    effects: tuple[int, ...]  # bits, for each section
    parts: tuple[tuple[Part, ...], ...]


@dataclass(frozen=True, slots=True)
class Style:
    """A style as checked. Pitch classes count from C; `progressions` has, for each section, chords a bar."""

    name: str
    about: str
    tempo: tuple[float, float, float]  # lowest, default, highest; beats a minute
    swing: float  # share of an eighth that its first sixteenth takes, 0.5..0.7
    longest_silence_bars: int
    onsets_a_bar: tuple[float, float]  # of the whole band at density 0 and 1
    root: int
    scale: int  # bit i: i semitones above the root
    melody: int  # pitch classes the lead may use
    borrowed: bool
    crash: bool  # an open hat where a section begins
    leading_tone: bool
    progressions: tuple[tuple[tuple[Chord, ...], ...], ...]
    cadence: Chord | None
    playing: tuple[frozenset[int], ...]  # tracks, for each section
    tracks: tuple[Track | None, ...]
    fills: tuple[tuple[tuple[int, str], ...], ...]

    @property
    def allowed(self) -> int:
        """Pitch classes that may sound: the scale, and whatever its written chords borrow."""
        bits = harmony.shifted(self.scale, self.root)
        for progression in self.progressions:
            for bar in progression:
                for found in bar:
                    bits |= harmony.mask(found.tones)
        if self.cadence is not None:
            bits |= harmony.mask(self.cadence.tones)
        return bits | (1 << (self.root - 1) % 12 if self.leading_tone else 0)

    @property
    def levels_db(self) -> tuple[float, ...]:
        """The level of each of the twelve tracks; 0 where the style has none."""
        return tuple(track.level_db if track else 0.0 for track in self.tracks)

    @property
    def pans(self) -> tuple[float, ...]:
        """The place of each of the twelve tracks, -1 left .. 1 right."""
        return tuple(track.pan if track else 0.0 for track in self.tracks)
