"""Chords from Roman numerals in a scale, what tension adds to them, and pitches led by the shortest way.

Pitch classes are 0..11 from C, masks have bit i set for pitch class i, pitches are MIDI notes. Numerals count the seven
degrees of the style's scale as it is: in A minor "VI" is F major and "VII" is G major.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from echelon_engine.errors import UserError

NOTES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
FLATS = {"DB": 1, "EB": 3, "GB": 6, "AB": 8, "BB": 10}
DEGREES = ("i", "ii", "iii", "iv", "v", "vi", "vii")
QUALITIES = ("", "°", "+", "5", "sus2", "sus4", "6", "7", "9", "add9")
SEVENTH_AT, NINTH_AT, SUSPENDED_AT = 0.35, 0.6, 0.85  # of harmonic_tension
_NUMERAL = re.compile(r"([b#]?)([iv]+|[IV]+)(.*)")


class HarmonyError(UserError):
    """A note, numeral or scale that means nothing here."""


@dataclass(frozen=True, slots=True)
class Chord:
    """A chord as written: its numeral, pitch classes in order (root, third, fifth ..), and what may be added to it."""

    name: str
    tones: tuple[int, ...]
    seventh: int | None
    ninth: int | None
    fourth: int | None

    @property
    def root(self) -> int:
        """The pitch class it stands on."""
        return self.tones[0]

    def at(self, tension: float) -> tuple[int, ...]:
        """Return its pitch classes at a harmonic tension 0..1: sevenths, then ninths, then a suspended fourth."""
        tones = list(self.tones)
        if tension >= SEVENTH_AT and self.seventh is not None and self.seventh not in tones:
            tones.append(self.seventh)
        if tension >= NINTH_AT and self.ninth is not None and self.ninth not in tones:
            tones.append(self.ninth)
        if tension >= SUSPENDED_AT and self.fourth is not None and self.fourth not in tones and len(self.tones) > 2:
            tones[1] = self.fourth  # held back from the third
        return tuple(tones)


def pitch_class(note: str) -> int:
    """Return 0..11 of a name such as "A", "F#" or "Bb". Raises `HarmonyError`."""
    word = note.strip().upper()
    if word in NOTES:
        return NOTES.index(word)
    if word in FLATS:
        return FLATS[word]
    raise HarmonyError(f"note {note!r}", "is no note", "write C, C#, Db, D .. B")


def mask(tones: Iterable[int]) -> int:
    """Return the mask of pitch classes."""
    bits = 0
    for tone in tones:
        bits |= 1 << tone % 12
    return bits


def shifted(scale: int, root: int) -> int:
    """Return a scale's mask (bit i: semitone i above the root) as pitch classes."""
    return ((scale << root) | (scale >> (12 - root))) & 0xFFF


def members(bits: int) -> tuple[int, ...]:
    """Return the pitch classes of a mask, rising."""
    return tuple(i for i in range(12) if bits >> i & 1)


def chord(numeral: str, root: int, scale: int) -> Chord:
    """Return the chord of a numeral: upper case major, lower case minor; `b` or `#` before it moves its root.

    After it may stand one of QUALITIES. `root` is the key's pitch class, `scale` has seven notes, bit i a semitone i
    above the root. Raises `HarmonyError`.
    """
    found = _NUMERAL.fullmatch(numeral.strip())
    if not found or found[2].lower() not in DEGREES:
        raise HarmonyError(f"chord {numeral!r}", "is no Roman numeral", "write i..vii for minor, I..VII for major")
    quality = "°" if found[3] in ("o", "dim") else found[3]
    if quality not in QUALITIES:
        known = " ".join(q for q in QUALITIES if q)
        raise HarmonyError(f"chord {numeral!r}", f"{quality!r} is no kind of chord", f"known: {known}")
    steps = members(scale)
    if len(steps) != 7:
        raise HarmonyError(f"scale of {len(steps)} notes", "chords need the seven degrees of a scale", "try minor")
    base = steps[DEGREES.index(found[2].lower())] + {"": 0, "b": -1, "#": 1}[found[1]]
    minor = found[2].islower()
    third = 3 if minor or quality == "°" else 4
    fifth = {"°": 6, "+": 8}.get(quality, 7)
    intervals = [0, third, fifth]
    if quality == "5":
        intervals = [0, 7]
    elif quality in ("sus2", "sus4"):
        intervals[1] = 2 if quality == "sus2" else 5
    inside = {(step - base) % 12 for step in steps}
    seventh = next((s for s in (10, 11) if s in inside), None) if quality != "6" else None
    ninth = 2 if 2 in inside else None
    if quality == "6":
        intervals.append(9)
    if quality in ("7", "9"):
        intervals.append(seventh if seventh is not None else 10)
    if quality in ("9", "add9"):
        intervals.append(ninth if ninth is not None else 2)

    def absolute(interval: int | None) -> int | None:
        return None if interval is None else (root + base + interval) % 12

    tones = tuple((root + base + interval) % 12 for interval in intervals)
    return Chord(numeral.strip(), tones, absolute(seventh), absolute(ninth), absolute(5 if 5 in inside else None))


def outside(found: Chord, root: int, scale: int) -> tuple[int, ...]:
    """Return the chord's written pitch classes that are not in the scale."""
    allowed = shifted(scale, root)
    return tuple(tone for tone in found.tones if not allowed >> tone & 1)


def near(bits: int, target: float, low: int, high: int, avoid: int | None = None) -> int:
    """Return the pitch in `low`..`high` nearest to `target` whose class is in the mask.

    `avoid` is taken only where nothing else is there. Ties fall downwards. The span must hold at least one such pitch
    (an octave always does).
    """
    middle = math.floor(target + 0.5)
    first = -1 if middle >= target else 1  # of two as far from the middle, the nearer to the target; down in a tie
    spare = low
    for distance in range(max(high - middle, middle - low, 0) + 1):
        for pitch in (middle + first * distance, middle - first * distance):
            if low <= pitch <= high and bits >> pitch % 12 & 1:
                if pitch != avoid:
                    return pitch
                spare = pitch
    return spare
