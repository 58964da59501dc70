"""Styles: what a musician writes in a small TOML file, read and checked. `styles/README.md` explains the format.

Whatever is wrong is refused with the file, the place, the rule and, where it helps, the nearest right name
(`StyleError`); nothing of a refused file is used.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echelon_engine.config import SCALES
from echelon_engine.errors import UserError, nearest
from echelon_models.music import harmony, tokens
from echelon_models.music.harmony import Chord, HarmonyError
from echelon_models.music.patterns import BAR, FEELS, LEVELS, NONE
from echelon_models.music.sections import SECTIONS

FOLDER = Path(__file__).parent / "styles"
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


class _Table:
    """A table of a style file that knows its place, for messages, and which keys were asked for."""

    def __init__(self, file: str, place: str, values: Any) -> None:
        if not isinstance(values, Mapping):
            raise StyleError(f"{file}: {place} = {values!r}", "is a table", f"write [{place}]")
        self.file, self.place, self.values = file, place, values

    def at(self, key: str) -> str:
        return f"{self.place}.{key}" if self.place else key

    def refuse(self, key: str, rule: str, remedy: str = "") -> StyleError:
        value = self.values.get(key)
        shown = f" = {value!r}" if key in self.values and not isinstance(value, dict) else ""
        return StyleError(f"{self.file}: {self.at(key)}{shown}", rule, remedy)

    def only(self, known: Iterable[str]) -> None:
        known = list(known)
        for key in self.values:
            if key not in known:
                spelled = {name.lower(): name for name in known}
                hint = nearest(key, spelled)
                for low, name in spelled.items():
                    hint = hint.replace(repr(low), repr(name))
                raise StyleError(f"{self.file}: {self.at(key)}", "no such key", hint or "known: " + " ".join(known))

    def table(self, key: str) -> _Table:
        return _Table(self.file, self.at(key), self.values.get(key, {}))

    def text(self, key: str, default: str | None = None) -> str:
        value = self.values.get(key, default)
        if value is None:
            raise StyleError(f"{self.file}: {self.at(key)}", "is missing", "every style says it")
        if not isinstance(value, str):
            raise self.refuse(key, "is a text", "put it in quotes")
        return value

    def flag(self, key: str) -> bool:
        value = self.values.get(key, False)
        if not isinstance(value, bool):
            raise self.refuse(key, "is true or false")
        return value

    def number(self, key: str, default: float, low: float, high: float) -> float:
        value = self.values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise self.refuse(key, f"is a number from {low:g} to {high:g}", f"the default is {default:g}")
        return float(value)

    def texts(self, key: str) -> list[str]:
        """Return a text or a list of texts as a list; empty where the key is absent."""
        value = self.values.get(key, [])
        value = [value] if isinstance(value, str) else value
        if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
            raise self.refuse(key, "is a text, or a list of texts")
        return value

    def one_of(self, key: str, known: Iterable[str], default: str | None = None) -> str:
        value, known = self.text(key, default), list(known)
        if value not in known:
            raise self.refuse(key, "is one of " + ", ".join(known), nearest(value, known))
        return value


def names(folder: Path | None = None) -> list[str]:
    """Return the styles that can be loaded: those that come with the product, and those in `folder`."""
    folders = [FOLDER] + ([folder] if folder is not None and folder.is_dir() else [])
    return sorted({path.stem for where in folders for path in where.glob("*.toml")})


def load(name: str, folder: Path | None = None) -> Style:
    """Return the style of a name, looked for in `folder` first, or of a path that ends in .toml.

    Raises `StyleError` with the place and the reason.
    """
    if name.endswith(".toml"):
        path = Path(name)
    else:
        known = names(folder)
        if name not in known:
            raise StyleError(f"style {name!r}", "no such style", nearest(name, known) or "known: " + ", ".join(known))
        own = folder / f"{name}.toml" if folder is not None else None
        path = own if own is not None and own.is_file() else FOLDER / f"{name}.toml"
    try:
        text = path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise StyleError(str(path), f"cannot be read ({reason})", "check the file") from None
    return parse(text, path.name)


def parse(text: str, file: str = "style.toml") -> Style:
    """Return the style that a TOML text describes; `file` is how messages call it. Raises `StyleError`."""
    try:
        values = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise StyleError(file, f"is not TOML: {error}", "correct that line") from None
    top = _Table(file, "", values)
    top.only(
        ("about", "tempo", "swing", "longest_silence_bars", "onsets_a_bar", "harmony", "sections", "tracks", "fills")
    )
    tonal = top.table("harmony")
    tonal.only(("root", "scale", "melody", "progression", "cadence", "borrowed", "leading_tone", *SECTIONS))
    try:
        root = harmony.pitch_class(tonal.text("root"))
    except HarmonyError as error:
        raise tonal.refuse("root", error.rule, error.remedy) from None
    scale_name = tonal.one_of("scale", SCALES)
    scale = SCALES[scale_name]
    if scale.bit_count() != 7:
        seven = [name for name, bits in SCALES.items() if bits.bit_count() == 7]
        raise tonal.refuse("scale", "has seven notes, which chords are built on", "one of " + ", ".join(seven))
    melody = SCALES[tonal.one_of("melody", SCALES, scale_name)]
    borrowed = tonal.flag("borrowed")
    if melody & ~scale and not borrowed:
        raise tonal.refuse("melody", f"has notes that {scale_name} has not", "set harmony.borrowed = true to allow it")
    progressions = _progressions(tonal, root, scale, borrowed)
    cadence = (
        _chord(tonal, "cadence", tonal.text("cadence"), root, scale, borrowed) if "cadence" in tonal.values else None
    )
    tracks, playing = _tracks(top), _sections(top)
    for section, wanted in enumerate(playing):
        for track in sorted(wanted):
            if tracks[track] is None:
                raise top.table("sections").refuse(
                    SECTIONS[section],
                    f"lets {TRACKS[track]} play, which has no part",
                    f"write [tracks.{TRACKS[track]}]",
                )
    return Style(
        name=file.removesuffix(".toml"),
        about=top.text("about", ""),
        tempo=_tempo(top),
        swing=top.number("swing", 0.5, 0.5, 0.7),
        longest_silence_bars=int(top.number("longest_silence_bars", 2, 0, 64)),
        onsets_a_bar=_onsets(top),
        root=root,
        scale=scale,
        melody=harmony.shifted(melody, root),
        borrowed=borrowed,
        leading_tone=tonal.flag("leading_tone"),
        progressions=progressions,
        cadence=cadence,
        playing=playing,
        tracks=tracks,
        fills=_fills(top),
    )


def _tempo(top: _Table) -> tuple[float, float, float]:
    value = top.values.get("tempo")
    fits = isinstance(value, list) and len(value) == 3 and all(type(v) in (int, float) for v in value)
    if not isinstance(value, list) or not fits or not 40.0 <= value[0] <= value[1] <= value[2] <= 240.0:
        raise top.refuse(
            "tempo", "is [lowest, default, highest] in beats a minute, rising, 40 to 240", "[118, 122, 128]"
        )
    return float(value[0]), float(value[1]), float(value[2])


def _onsets(top: _Table) -> tuple[float, float]:
    value = top.values.get("onsets_a_bar")
    fits = isinstance(value, list) and len(value) == 2 and all(type(v) in (int, float) for v in value)
    if not isinstance(value, list) or not fits or not 1.0 <= value[0] < value[1] <= 192.0:
        raise top.refuse("onsets_a_bar", "is [fewest, most] of the whole band, rising, 1 to 192", "write [10, 56]")
    return float(value[0]), float(value[1])


def _chord(table: _Table, key: str, numeral: str, root: int, scale: int, borrowed: bool) -> Chord:
    try:
        found = harmony.chord(numeral, root, scale)
    except HarmonyError as error:
        raise StyleError(f"{table.file}: {table.at(key)}: {error.value}", error.rule, error.remedy) from None
    if (strange := harmony.outside(found, root, scale)) and not borrowed:
        notes = " ".join(harmony.NOTES[tone] for tone in strange)
        remedy = f"{nearest_numeral(numeral, root, scale)}set harmony.borrowed = true to allow it"
        raise StyleError(f"{table.file}: {table.at(key)}: chord {numeral!r}", f"{notes} is not in the scale", remedy)
    return found


def nearest_numeral(numeral: str, root: int, scale: int) -> str:
    """Return "write 'v', or " for the chord on the same degree that stays in the scale, "" where there is none."""
    bare = re.sub("[^ivIV]", "", numeral)
    for near in (bare.lower(), bare.upper(), bare.lower() + "°"):
        try:
            if not harmony.outside(harmony.chord(near, root, scale), root, scale):
                return f"write {near!r}, or "
        except HarmonyError:
            break
    return ""


def _progressions(tonal: _Table, root: int, scale: int, borrowed: bool) -> tuple[tuple[tuple[Chord, ...], ...], ...]:
    found = []
    for section in ("progression", *SECTIONS):
        bars = tonal.texts(section)
        if section == "progression" and not 1 <= len(bars) <= 16:
            raise tonal.refuse(section, "is a list of 1 to 16 bars of chords", 'write ["i", "VI", "III", "VII"]')
        chords = []
        for i, bar in enumerate(bars):
            numerals = bar.split()
            if not 1 <= len(numerals) <= 2:
                raise tonal.refuse(section, "has one or two chords a bar", 'two are written "i VII"')
            chords.append(tuple(_chord(tonal, f"{section}[{i}]", n, root, scale, borrowed) for n in numerals))
        found.append(tuple(chords))
    return tuple(own or found[0] for own in found[1:])


def _sections(top: _Table) -> tuple[frozenset[int], ...]:
    table = top.table("sections")
    table.only(SECTIONS)
    found = []
    for section in SECTIONS:
        tracks = set()
        for name in table.text(section).split():
            if name not in TRACKS:
                hint = (
                    nearest(name, [track.lower() for track in TRACKS]).upper().replace("DID YOU MEAN", "did you mean")
                )
                raise table.refuse(section, f"{name!r} is no track", hint or "tracks are " + " ".join(TRACKS))
            tracks.add(TRACKS.index(name))
        if not tracks and section != "Outro":
            raise table.refuse(section, "names at least one track")
        found.append(frozenset(tracks))
    return tuple(found)


def _tracks(top: _Table) -> tuple[Track | None, ...]:
    table = top.table("tracks")
    table.only(TRACKS)
    return tuple(
        _track(table.table(name), index) if name in table.values else None for index, name in enumerate(TRACKS)
    )


def _track(table: _Table, index: int) -> Track:
    drums = tokens.DRUMS if index in DRUM_TRACKS else ()
    pitched = ("play", "tones") if index not in DRUM_TRACKS or index == FX else ()
    part_keys = (*drums, *pitched, "feel")
    table.only((*part_keys, "level_db", "pan", "velocity", "register", "length", "shape", "effects", *SECTIONS))
    parts, effects = [], []
    for section in SECTIONS:
        own = table.table(section)
        own.only((*part_keys, "effects"))
        rhythm = any(key in own.values for key in (*drums, "play"))
        # A section that writes a rhythm of its own replaces the whole part, otherwise only what it names.
        base = {} if rhythm else {key: value for key, value in table.values.items() if key in part_keys}
        merged = _Table(table.file, table.at(section) if rhythm else table.place, {**base, **own.values})
        parts.append(_parts(merged, drums, bool(pitched)))
        effects.append(_effects(own if "effects" in own.values else table))
    return Track(
        level_db=table.number("level_db", 0.0, -60.0, 6.0),
        pan=table.number("pan", 0.0, -1.0, 1.0),
        velocity=tokens.DYNAMICS.index(table.one_of("velocity", tokens.DYNAMICS, "mf")),
        register=_register(table, index),
        length=_length(table),
        shape=table.one_of("shape", SHAPES, "updown"),
        effects=tuple(effects),
        parts=tuple(parts),
    )


def _parts(table: _Table, drums: Iterable[str], pitched: bool) -> tuple[Part, ...]:
    keys = [key for key in (*drums, "play", "tones", "feel") if key in table.values]
    written = {key: table.texts(key) for key in keys}
    count = max((len(texts) for texts in written.values()), default=1)
    for key, texts in written.items():
        if len(texts) not in (1, count):
            raise table.refuse(key, f"has {len(texts)} alternatives where the part has {count}", "write one, or all")
        for text in texts:
            if key not in ("tones", "feel"):
                _cells(table, key, text, LEVELS, "a level 1..9 or `.`")
            elif key == "feel":
                _cells(table, key, text, "".join(FEELS), "s, l, a, g or `.`")
            else:
                _cells(table, key, text, TONES, "1..9, 0 or `.`")
    found = []
    for i in range(count):
        chosen = {key: texts[i % len(texts)] for key, texts in written.items()}
        found.append(
            Part(
                drums=tuple((tokens.DRUMS.index(d), _levels(chosen[d])) for d in drums if d in chosen),
                play=_levels(chosen["play"]) if "play" in chosen else (),
                tones=chosen.get("tones", "." * BAR),
                feel=tuple(FEELS[letter] for letter in chosen.get("feel", "." * BAR)),
            )
        )
    if pitched and "tones" in written and "play" not in written:
        raise table.refuse("tones", "says the tones of `play`, which is missing", "write play, too")
    return tuple(found)


def _cells(table: _Table, key: str, text: str, letters: str, rule: str) -> None:
    if len(text) not in (BAR, 2 * BAR):
        raise StyleError(
            f"{table.file}: {table.at(key)} = {text!r}",
            f"has {len(text)} cells; a pattern has {BAR} (one bar) or {2 * BAR} (two)",
            f"add {BAR - len(text)}" if len(text) < BAR else "count them again",
        )
    for i, letter in enumerate(text):
        if letter != "." and letter not in letters:
            raise StyleError(f"{table.file}: {table.at(key)} = {text!r}", f"cell {i + 1} is {letter!r}: each is {rule}")


def _levels(text: str) -> Levels:
    return tuple(0 if letter == "." else int(letter) for letter in text)


def _effects(table: _Table) -> int:
    bits = 0
    for name in table.text("effects", "").split():
        if name not in tokens.EFFECTS:
            raise table.refuse("effects", f"{name!r} is no effect", nearest(name, tokens.EFFECTS))
        bits |= 1 << tokens.EFFECTS.index(name)
    return bits


def _register(table: _Table, index: int) -> tuple[int, int]:
    default = REGISTERS.get(TRACKS[index], (36, 84))
    if "register" not in table.values:
        return default
    ends = table.texts("register")
    try:
        low, high = (tokens.midi_note(tokens.token_of(end)) for end in ends)
    except (ValueError, UserError):
        raise table.refuse("register", "is two notes from C2 to C6", 'write ["C3", "A4"]') from None
    if high - low < 12:
        raise table.refuse("register", "spans an octave at least", "or not every chord has a tone in it")
    return low, high


def _length(table: _Table) -> int:
    if "length" not in table.values:
        return 0
    return tokens.SIXTEENTHS[tokens.DURATIONS.index(table.one_of("length", tokens.DURATIONS))]


def _fills(top: _Table) -> tuple[tuple[tuple[int, str], ...], ...]:
    value = top.values.get("fills", [])
    if not isinstance(value, list):
        raise top.refuse("fills", "is a list of tables", "write [[fills]]")
    found = []
    for i, fill in enumerate(value):
        table = _Table(top.file, f"fills[{i}]", fill)
        table.only(TRACKS)
        rows = []
        for name in table.values:
            text, index = table.text(name), TRACKS.index(name)
            letters = "".join(FILL_LETTERS) + "*!" if index in DRUM_TRACKS else "!"
            if len(text) != BAR:
                raise table.refuse(name, f"has {len(text)} cells; a fill has {BAR}", "it is one bar")
            for cell, letter in enumerate(text):
                if letter != "." and letter not in letters:
                    raise table.refuse(
                        name, f"cell {cell + 1} is {letter!r}: each is one of {' '.join(letters)} or `.`"
                    )
            rows.append((index, text))
        found.append(tuple(rows))
    return tuple(found)
