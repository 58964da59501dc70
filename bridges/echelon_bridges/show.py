"""A show: the cues of a performance and the presets they share, in one TOML file that is checked whole at the start.

    [presets.quiet]                     # settings that several cues use
    band_level = "-12 dB"
    track.kick.mute = true

    [[cue]]
    name = "opening"
    use = ["quiet"]                     # presets first, in this order
    style = "ambient"
    "velocity_scale.0" = 1.5            # any live setting; quoted, or with its dots as they are
    lane.filter_cutoff = "900 Hz"

    [[cue]]
    name = "groove"
    style = "house"
    track.kick.mute = false
    lane.filter_cutoff = "off"

A cue changes what it names, all of it at once, and nothing else.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echelon_bridges.style_shelf import StyleShelf
from echelon_engine import live, live_table
from echelon_engine.config import Config
from echelon_engine.errors import UsageError, UserError, nearest
from echelon_models import text_file

FILE_BYTES = 1 << 20
MOST_CUES = 1000
NAME, USE = "name", "use"  # of a cue; everything else is a setting
FIRST = ("focus", "tempo")  # others depend on them: whose velocity_scale, and a tempo makes its source fixed
UNFIT = ("cue", "tap")  # what is done, not what is set


@dataclass(frozen=True, slots=True)
class Cue:
    """Its name, and (key, value) of its settings as `set` takes them, in the order in which they are applied."""

    name: str
    settings: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Show:
    """The cues in their order; people count them from 1."""

    path: str
    cues: tuple[Cue, ...]

    def place(self, which: str, number: int) -> int:
        """Return the number of the cue that is meant: `next`, `back`, a number or a name; `number` is the present one,
        0 before the first. Raises `UserError` at either end, `UsageError` for a cue that there is not.
        """
        word = which.strip().lower()
        if word == live.NEXT:
            if number == len(self.cues):
                raise UserError("cue next", f"cue {number} is the last", "`cue 1` begins again")
            return number + 1
        if word == live.BACK:
            if number <= 1:
                raise UserError("cue back", "no cue comes before", "`cue 1` is the first")
            return number - 1
        if word.isascii() and word.isdigit() and 1 <= int(word[:9]) <= len(self.cues):
            return int(word)
        names = [cue.name.lower() for cue in self.cues]
        if word in names:
            return names.index(word) + 1
        hint = nearest(word, names) or f"cues are 1 to {len(names)}: {', '.join(cue.name for cue in self.cues[:12])}"
        raise UsageError(f"cue {which[: live.CUE_LETTERS]!r}", "no such cue", hint)


def apply(settings: Any, cue: Cue, config: Config) -> dict[str, str]:
    """Apply a cue to a memory.SETTINGS record; return its keys with their effective values for people.

    Raises `UsageError` for a setting that cannot be; `settings` has then an unknown part of the cue.
    """
    return {key: live.apply(settings, key, text, config) for key, text in cue.settings}


def read(path: Path, config: Config, styles: StyleShelf | None = None) -> Show:
    """Return the show in a file, every setting of which this configuration allows, and whose styles can be played.

    Raises `UsageError` with the place (file, cue or preset, key), the value, the rule and the nearest valid name.
    """
    document = _document(path)
    try:
        return Show(str(path), _cues(document, config, styles or StyleShelf(config.band.styles)))
    except UserError as error:
        raise UsageError(f"{path}: {error.value}", error.rule, error.remedy) from None


def _document(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text_file.read(path, FILE_BYTES))
    except UserError as error:
        raise UsageError(error.value, f"the show {error.rule}", error.remedy) from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(str(path), f"not valid TOML: {error}", "correct that line") from None


def _cues(document: dict[str, Any], config: Config, styles: StyleShelf) -> tuple[Cue, ...]:
    presets, entries = document.pop("presets", {}), document.pop("cue", None)
    if document:
        name = next(iter(document))
        raise UsageError(
            name, "has no place in a show", nearest(name, ("cue", "presets")) or "write [[cue]], [presets.X]"
        )
    if not isinstance(presets, dict) or not all(isinstance(table, dict) for table in presets.values()):
        raise UsageError("presets", "are tables of settings", "write [presets.NAME] and settings below")
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise UsageError("cue", "must be a list of tables", 'write [[cue]], then name = "..." and its settings')
    if len(entries) > MOST_CUES:
        raise UsageError("cue", f"there are {len(entries)}, at most {MOST_CUES}", "divide the show")
    shared = {name: _settings(f"preset {name!r}", table, config, styles) for name, table in presets.items()}
    cues: list[Cue] = []
    for number, entry in enumerate(entries, 1):
        cues.append(cue := _cue(number, entry, shared, config, styles))
        if cue.name.lower() in {other.name.lower() for other in cues[:-1]}:
            raise UsageError(f"cue {number}: name = {cue.name!r}", "another cue has this name", "give it its own")
    return tuple(cues)


def _cue(
    number: int,
    entry: dict[str, Any],
    presets: Mapping[str, Sequence[tuple[str, str]]],
    config: Config,
    styles: StyleShelf,
) -> Cue:
    name, use = entry.pop(NAME, None), entry.pop(USE, [])
    if name is None:
        raise UsageError(f"cue {number}", "has no name", 'write name = "..." below [[cue]]')
    if not isinstance(name, str) or not 0 < len(name.strip()) <= live.CUE_LETTERS or not name.isprintable():
        raise UsageError(f"cue {number}: name = {name!r}", f"must be a text of 1 to {live.CUE_LETTERS} letters")
    place = f"cue {number} {name!r}"
    if name.strip().isdigit() or name.strip().lower() in (live.NEXT, live.BACK):
        raise UsageError(place, "cannot be a number, next or back", "these step through the show")
    if not isinstance(use, list):
        raise UsageError(f"{place}: use = {use!r}", "must be a list of presets", 'for example use = ["quiet"]')
    chosen: dict[str, str] = {}
    for preset in use:
        if preset not in presets:
            hint = nearest(str(preset), presets) or f"there are {', '.join(presets) or 'none'}"
            raise UsageError(f"{place}: use = {preset!r}", "no such preset", hint)
        chosen.update(presets[preset])
    chosen.update(_settings(place, entry, config, styles))
    cue = Cue(name.strip(), tuple(sorted(chosen.items(), key=lambda item: _turn(item[0]))))
    apply(live.initial_settings(config)[0], cue, config)
    return cue


def _turn(key: str) -> int:
    return FIRST.index(key) if key in FIRST else len(FIRST)


def _settings(place: str, table: dict[str, Any], config: Config, styles: StyleShelf) -> list[tuple[str, str]]:
    """Return the (key, value) of a table, each tried out alone."""
    found: dict[str, str] = {}
    record = live.initial_settings(config)[0]
    for key, value in _flat(table):
        if key in found:
            raise UsageError(f"{place}: {key}", "is written twice", "keep one of them")
        if key in UNFIT or (key not in live_table.LIVE and not key.startswith(live.LANE_PREFIX)):
            hint = nearest(key, [*(name for name in live.names() if name not in UNFIT), NAME, USE])
            raise UsageError(f"{place}: {key}", "no such live setting", hint or "`set --list` shows all")
        if not isinstance(value, bool | int | float | str):
            raise UsageError(f"{place}: {key} = {value!r}", "must be a number, a text, true or false")
        text = _text(value)
        if (
            key in live_table.LIVE
            and live_table.LIVE[key].kind in live.STEPPED
            and text.lower() in (live.NEXT, live.BACK)
        ):
            raise UsageError(f"{place}: {key} = {text!r}", "depends on what went before", "name the choice itself")
        try:
            live.apply(record, key, text, config)
        except UserError as error:
            raise UsageError(f"{place}: {error.value}", error.rule, error.remedy) from None
        if key == "style":
            try:
                styles.get(text.lower())
            except UserError as error:
                raise UsageError(f"{place}: style = {text!r}: {error.value}", error.rule, error.remedy) from None
        found[key] = text
    return list(found.items())


def _flat(table: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        key = f"{above}.{name}" if above else name
        if isinstance(value, dict):
            yield from _flat(value, key)
        else:
            yield key, value


def _text(value: bool | int | float | str) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return value if isinstance(value, str) else f"{value:.9g}"
