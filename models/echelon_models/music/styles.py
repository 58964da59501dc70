"""Styles: what a musician writes in a small TOML file, read and checked. `styles/README.md` explains the format.

Whatever is wrong is refused with the file, the place, the rule and, where it helps, the nearest right name
(`StyleError`); nothing of a refused file is used.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Collection
from pathlib import Path

from echelon_engine.errors import UserError, nearest
from echelon_engine.scales import SCALES
from echelon_models import text_file
from echelon_models.music import harmony
from echelon_models.music.harmony import Chord, HarmonyError
from echelon_models.music.sections import SECTIONS
from echelon_models.music.style import CHORD_TRACKS, TRACKS, Style, StyleError
from echelon_models.music.style_parts import read_fills, read_tracks
from echelon_models.music.style_table import StyleTable

__all__ = ["CHORD_TRACKS", "FOLDER", "TRACKS", "Style", "StyleError", "load", "names", "parse", "place"]

FOLDER = Path(__file__).parent / "styles"
FILE_BYTES = 1 << 18


def names(folder: Path | None = None) -> list[str]:
    """Return the styles that can be loaded: those that come with the product, and those in `folder`."""
    folders = [FOLDER] + ([folder] if folder is not None and folder.is_dir() else [])
    return sorted({path.stem for where in folders for path in where.glob("*.toml")})


def place(name: str, folder: Path | None = None) -> Path:
    """Return the file of a style: what is called so in `folder`, whatever it is, before the product's own.

    A name that the product does not have is one in `folder`, also when its file has gone.
    """
    shipped = FOLDER / f"{name}.toml"
    own = folder / shipped.name if folder is not None else shipped
    return own if os.path.lexists(own) or not shipped.is_file() else shipped


def load(name: str, folder: Path | None = None, listed: Collection[str] = ()) -> Style:
    """Return the style of a name, looked for in `folder` first, or of a path that ends in .toml.

    `listed` are names that had a file once: one of them without a file is gone, not unknown. Raises `StyleError` with
    the place and the reason.
    """
    if name.endswith(".toml"):
        path = Path(name)
    else:
        known = names(folder)
        if name not in known and name not in listed:
            raise StyleError(f"style {name!r}", "no such style", nearest(name, known) or "known: " + ", ".join(known))
        path = place(name, folder)
    try:
        text = text_file.read(path, FILE_BYTES)
    except text_file.MissingFileError as error:
        rule, remedy = ("is gone", "put it back, or choose another style") if name in listed else (error.rule, "")
        raise StyleError(str(path), rule, remedy or "check the file") from None
    except UserError as error:
        raise StyleError(error.value, error.rule, error.remedy) from None
    return parse(text, path.name)


def parse(text: str, file: str = "style.toml") -> Style:
    """Return the style that a TOML text describes; `file` is how messages call it. Raises `StyleError`."""
    try:
        values = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise StyleError(file, f"is not TOML: {error}", "correct that line") from None
    top = StyleTable(file, "", values)
    top.only(
        (
            "about",
            "tempo",
            "swing",
            "longest_silence_bars",
            "onsets_a_bar",
            "crash",
            "harmony",
            "sections",
            "tracks",
            "fills",
        )
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
    tracks, playing = read_tracks(top), _sections(top)
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
        crash=top.flag("crash"),
        leading_tone=tonal.flag("leading_tone"),
        progressions=progressions,
        cadence=cadence,
        playing=playing,
        tracks=tracks,
        fills=read_fills(top),
    )


def _tempo(top: StyleTable) -> tuple[float, float, float]:
    value = top.values.get("tempo")
    fits = isinstance(value, list) and len(value) == 3 and all(type(v) in (int, float) for v in value)
    if not isinstance(value, list) or not fits or not 40.0 <= value[0] <= value[1] <= value[2] <= 240.0:
        raise top.refuse(
            "tempo", "is [lowest, default, highest] in beats a minute, rising, 40 to 240", "[118, 122, 128]"
        )
    return float(value[0]), float(value[1]), float(value[2])


def _onsets(top: StyleTable) -> tuple[float, float]:
    value = top.values.get("onsets_a_bar")
    fits = isinstance(value, list) and len(value) == 2 and all(type(v) in (int, float) for v in value)
    if not isinstance(value, list) or not fits or not 1.0 <= value[0] < value[1] <= 192.0:
        raise top.refuse("onsets_a_bar", "is [fewest, most] of the whole band, rising, 1 to 192", "write [10, 56]")
    return float(value[0]), float(value[1])


def _chord(table: StyleTable, key: str, numeral: str, root: int, scale: int, borrowed: bool) -> Chord:
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


def _progressions(
    tonal: StyleTable, root: int, scale: int, borrowed: bool
) -> tuple[tuple[tuple[Chord, ...], ...], ...]:
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


def _sections(top: StyleTable) -> tuple[frozenset[int], ...]:
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
