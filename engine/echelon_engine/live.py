"""What can be changed while the engine plays (`echelon-engine set KEY VALUE`): one table onto the SETTINGS record."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from echelon_engine.config import SCALES, Config
from echelon_engine.config_file import NO, YES
from echelon_engine.errors import UsageError, nearest
from echelon_engine.live_table import LIVE, TEMPO_SOURCES, Live, styles
from echelon_engine.memory import SETTINGS
from echelon_engine.parameters import LANE, LANES, PARAMETERS
from echelon_engine.vocabulary import INSTALLED_MODES, TRACK_NAMES

# "0.5", "-6 dB", "440Hz": a number and perhaps a unit.
NUMBER = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?)\s*([A-Za-z/]*)\s*")
NOTE = re.compile(r"([A-Ga-g])([#b]?)(-?\d)")
SCALED = {("khz", "Hz"): 1e3, ("ms", "s"): 1e-3, ("s", "ms"): 1e3}  # units that people write for those of a lane
CUE_LETTERS = 64
NOTE_STEPS = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}

NEXT, BACK = "next", "back"  # in place of a choice: the one after or before it, around the end
STEPPED = ("scale", "choice", "style")  # kinds that have such
STAGED = ("tap", "cue")  # kinds without a field

LANE_PREFIX = "lane."
LANE_ABOUT = "take a lane of the 32 parameters over (0..1, or a value with its unit), `off` lets it glide back"


def names() -> list[str]:
    """Return every settable key: the table's, then one `lane.<name>` for each parameter."""
    return [*LIVE, *(f"{LANE_PREFIX}{name}" for name in LANE)]


def initial_settings(config: Config) -> Any:
    """Return the settings an engine with this configuration starts with: SETTINGS, shape (1,), as rings take it."""
    settings = np.zeros(1, SETTINGS)
    for row in LIVE.values():
        if row.config:
            section, _, name = row.config.partition(".")
            _store(settings[0], _within(row, config), getattr(getattr(config, section), name))
    if config.is_chosen("clock.tempo_bpm") and not config.is_chosen("clock.source"):
        settings["tempo_source"] = TEMPO_SOURCES.index("fixed")
    settings["record"] = config.output.record != ""  # decided at the start, not live
    settings["log"] = config.session.log != ""  # nor this
    settings["boundary_at_beats"] = config.models.coupled_boundary == "beats"  # nor this
    return settings


def apply(settings: Any, key: str, text: str, config: Config | None = None) -> str:
    """Change `settings` (one SETTINGS record) as `set KEY TEXT` asks and return the effective value for people.

    With the `config` of the running engine, channels and performers that it does not have are refused too. Raises
    `UsageError` for an unknown key (with the nearest) or a value out of its rule; `settings` is then unchanged.
    """
    if key.startswith(LANE_PREFIX):
        return _apply_lane(settings, key[len(LANE_PREFIX) :], text)
    row = LIVE.get(key)
    if row is None:
        raise UsageError(
            key, "no such live setting", nearest(key, names()) or f"settable are {', '.join(LIVE)}, lane.*"
        )
    if config is not None:
        row = _within(row, config)
    _store(settings, row, _PARSE[row.kind](row, _stepped(settings, row, text)))
    if key == "tempo":
        settings["tempo_source"] = TEMPO_SOURCES.index("fixed")
    return shown(settings, key, config)


def choices(key: str, config: Config) -> tuple[str, ...]:
    """Return what may be chosen for a live key with this configuration, in order; none where it is no choice."""
    return () if key.startswith(LANE_PREFIX) else _choices(_within(LIVE[key], config))


def _choices(row: Live) -> tuple[str, ...]:
    if row.kind == "scale":
        return tuple(SCALES)
    return INSTALLED_MODES if row.key == "mode" else row.choices


def _stepped(settings: Any, row: Live, text: str) -> str:
    """Return the choice that `next` or `back` means now; any other text as it is."""
    step = {NEXT: 1, BACK: -1}.get(text.lower())
    if step is None or row.kind not in STEPPED or text.lower() in row.choices:
        return text
    known = _choices(row)
    if row.kind == "scale":
        here = next((i for i, name in enumerate(known) if SCALES[name] == int(settings["scale"])), 0)
    else:
        here = min(int(settings[row.field]), len(known) - 1)
    return known[(here + step) % len(known)]


def _within(row: Live, config: Config) -> Live:
    """Return the key with the range that the running engine has."""
    if row.kind == "channel":
        opened = config.audio.channels
        return replace(row, high=opened, about=f"{opened} channels are opened: start with audio.channels higher")
    if row.key == "focus":
        sending = config.motion.performers
        about = f"{sending} performers may send: start with motion.performers higher"
        return replace(row, high=sending - 1, about=about)
    if row.kind == "style":
        return replace(row, choices=styles(config.band.styles))
    return row


def shown(settings: Any, key: str, config: Config | None = None) -> str:
    """Return the value of a live key for people, with its unit; `config` is the running engine's."""
    if key.startswith(LANE_PREFIX):
        lane = _lane(key[len(LANE_PREFIX) :])
        if not settings["override_on"][lane]:
            return "off"
        position, row = float(settings["override"][lane]), PARAMETERS[lane]
        return f"{position:.3f} ({row.value(position):.4g}{' ' + row.unit if row.unit else ''})"
    live = LIVE[key] if config is None else _within(LIVE[key], config)
    place = _place(settings, live)
    match live.kind:
        case "flag":
            return "on" if (settings[live.field] if place is None else settings[live.field][place]) else "off"
        case "choice" | "style":
            number = int(settings[live.field])
            return live.choices[number] if 0 <= number < len(live.choices) else str(number)
        case "channel":
            return str(int(settings["route"][_place(settings, live)]) + 1)
        case "scale":
            mask = int(settings["scale"])
            return next((name for name, bits in SCALES.items() if bits == mask), f"{mask:#x}")
        case "number":
            value = settings[live.field] if place is None else settings[live.field][place]
            return f"{float(value):.6g}" + (f" {live.unit}" if live.unit else "")
        case "tap" | "cue":
            return "-"
    return str(int(settings[live.field]))


def _place(settings: Any, row: Live) -> int | None:
    """Return which element of its field a key means; None for a field that has only one."""
    if row.field == "route":
        return 0 if row.key.endswith("left") else 1
    if row.field.startswith("track_"):
        return TRACK_NAMES.index(row.key.split(".")[1])
    if row.field in ("velocity_scale", "energy_scale"):
        last = row.key.rpartition(".")[2]
        return int(last) if last.isdigit() else int(settings["focus"])
    return None


def _store(settings: Any, row: Live, value: Any) -> None:
    place = _place(settings, row)
    if row.kind == "channel":
        settings["route"][place] = int(value) - 1  # people count from 1, the callback from 0
    elif row.kind == "count":
        settings[row.field] += 1
    elif row.kind in STAGED:
        pass
    elif row.kind == "scale":
        settings[row.field] = SCALES[value]
    elif row.kind in ("choice", "style"):
        settings[row.field] = _choice(row, value)
    elif place is not None:
        settings[row.field][place] = value
    else:
        settings[row.field] = value


def _wrong(row: Live, text: str, remedy: str = "") -> UsageError:
    return UsageError(f"{row.key} = {text!r}", f"must be {row.rule}", remedy or row.about)


def _flag(row: Live, text: str) -> bool:
    if text.lower() not in (*YES, *NO):
        raise _wrong(row, text)
    return text.lower() in YES


def _number(row: Live, text: str) -> float:
    match = NUMBER.fullmatch(text)
    if match is None or match[2].lower() not in ("", row.unit.lower()):
        raise _wrong(row, text)
    value = float(match[1])
    if not row.low <= value <= row.high:
        raise _wrong(row, text)
    return value


def _whole(row: Live, text: str) -> int:
    value = _number(row, text)
    if value != int(value):
        raise _wrong(row, text)
    return int(value)


def _scale(row: Live, text: str) -> str:
    name = text.lower().replace(" ", "_").replace("-", "_")
    if name not in SCALES:
        raise _wrong(row, text, nearest(name, SCALES))
    return name


def _choice(row: Live, text: str) -> int:
    """Return the place of a choice; a mode whose models are not there is refused."""
    name = text.lower()
    if name not in row.choices:
        raise _wrong(row, text, nearest(name, row.choices))
    if row.key == "mode" and name not in INSTALLED_MODES:
        raise UsageError(f"{row.key} = {text!r}", "is not installed", f"choose {' or '.join(INSTALLED_MODES)}")
    return row.choices.index(name)


def _named(row: Live, text: str) -> str:
    _choice(row, text)
    return text


def _note(row: Live, text: str) -> int:
    """Accept a MIDI number or a name; C4 is 60."""
    if match := NOTE.fullmatch(text):
        accidental = {"#": 1, "b": -1, "": 0}[match[2]]
        text = str(NOTE_STEPS[match[1].lower()] + accidental + 12 * (int(match[3]) + 1))
    return _whole(row, text)


def _count(row: Live, text: str) -> int:
    if text.lower() not in ("", "now", *YES):
        raise _wrong(row, text)
    return 1


def _cue(row: Live, text: str) -> str:
    if not text or len(text) > CUE_LETTERS or not text.isprintable():
        raise _wrong(row, text)
    return text


_PARSE: dict[str, Callable[[Live, str], Any]] = {
    "flag": _flag,
    "number": _number,
    "whole": _whole,
    "channel": _whole,
    "scale": _scale,
    "note": _note,
    "count": _count,
    "choice": _named,
    "style": _named,
    "tap": _count,
    "cue": _cue,
}


def _lane(name: str) -> int:
    if name in LANE:
        return LANE[name]
    if name.isascii() and name.isdigit() and int(name[:4]) < LANES:
        return int(name[:4])
    hint = nearest(name, LANE)
    raise UsageError(f"{LANE_PREFIX}{name}", "no such lane", hint or f"lanes are 0 to {LANES - 1}, or names like gain")


def _apply_lane(settings: Any, name: str, text: str) -> str:
    lane = _lane(name)
    row = PARAMETERS[lane]
    if text.lower() in ("off", "release"):
        settings["override_on"][lane] = 0
        return "off"
    match = NUMBER.fullmatch(text)
    number, unit = (float(match[1]), match[2].lower()) if match else (math.nan, "")
    if (unit, row.unit) in SCALED:
        number, unit = number * SCALED[unit, row.unit], row.unit.lower()
    physical = unit != "" and unit == row.unit.lower()
    low, high = (row.low, row.high) if physical else (0.0, 1.0)
    if (unit and not physical) or not low <= number <= high:
        value = f" or {row.low:g} {row.unit} to {row.high:g} {row.unit}" if row.unit else ""
        raise UsageError(
            f"{LANE_PREFIX}{row.name} = {text!r}",
            f"must be a position from 0 to 1{value}, or off",
            row.about,
        )
    settings["override"][lane] = row.position(number) if physical else number
    settings["override_on"][lane] = 1
    return shown(settings, LANE_PREFIX + row.name)
