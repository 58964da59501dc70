"""The tracks and fills of a style file: patterns of 16 or 32 cells, section by section."""

from __future__ import annotations

from collections.abc import Iterable

from echelon_engine.errors import UserError, nearest
from echelon_models.music import tokens
from echelon_models.music.patterns import BAR, FEELS, LEVELS
from echelon_models.music.sections import SECTIONS
from echelon_models.music.style import (
    DRUM_TRACKS,
    FILL_LETTERS,
    FX,
    REGISTERS,
    SHAPES,
    TONES,
    TRACKS,
    Levels,
    Part,
    StyleError,
    Track,
)
from echelon_models.music.style_table import StyleTable


def read_tracks(top: StyleTable) -> tuple[Track | None, ...]:
    """Return the twelve tracks, None where a style has none. Raises `StyleError`."""
    table = top.table("tracks")
    table.only(TRACKS)
    return tuple(
        _track(table.table(name), index) if name in table.values else None for index, name in enumerate(TRACKS)
    )


def _track(table: StyleTable, index: int) -> Track:
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
        merged = StyleTable(table.file, table.at(section) if rhythm else table.place, {**base, **own.values})
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


def _parts(table: StyleTable, drums: Iterable[str], pitched: bool) -> tuple[Part, ...]:
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


def _cells(table: StyleTable, key: str, text: str, letters: str, rule: str) -> None:
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


def _effects(table: StyleTable) -> int:
    bits = 0
    for name in table.text("effects", "").split():
        if name not in tokens.EFFECTS:
            raise table.refuse("effects", f"{name!r} is no effect", nearest(name, tokens.EFFECTS))
        bits |= 1 << tokens.EFFECTS.index(name)
    return bits


def _register(table: StyleTable, index: int) -> tuple[int, int]:
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


def _length(table: StyleTable) -> int:
    if "length" not in table.values:
        return 0
    return tokens.SIXTEENTHS[tokens.DURATIONS.index(table.one_of("length", tokens.DURATIONS))]


def read_fills(top: StyleTable) -> tuple[tuple[tuple[int, str], ...], ...]:
    """Return the fills, each as (track, sixteen letters) rows. Raises `StyleError`."""
    value = top.values.get("fills", [])
    if not isinstance(value, list):
        raise top.refuse("fills", "is a list of tables", "write [[fills]]")
    found = []
    for i, fill in enumerate(value):
        table = StyleTable(top.file, f"fills[{i}]", fill)
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
