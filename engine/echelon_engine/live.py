"""What can be changed while the engine plays (`echelon-engine set KEY VALUE`): one table onto the SETTINGS record."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from echelon_engine.config import SCALES, Config
from echelon_engine.config_file import NO, YES
from echelon_engine.errors import UsageError, nearest
from echelon_engine.memory import MODES, PERFORMERS, SETTINGS, TRACK_NAMES
from echelon_engine.parameters import LANE, LANES, PARAMETERS

# "0.5", "-6 dB", "440Hz": a number and perhaps a unit.
NUMBER = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?)\s*([A-Za-z/]*)\s*")
NOTE = re.compile(r"([A-Ga-g])([#b]?)(-?\d)")
SCALED = {("khz", "Hz"): 1e3, ("ms", "s"): 1e-3, ("s", "ms"): 1e3}  # units that people write for those of a lane
CUE_LETTERS = 64
NOTE_STEPS = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}


@dataclass(frozen=True, slots=True)
class Live:
    """One key: the field of SETTINGS it moves, its unit, range and explanation; `kind` is flag, number, whole, scale,
    note, channel, choice, style or count; tap and cue have no field: whoever keeps the settings does them."""

    key: str
    field: str
    kind: str
    about: str
    unit: str = ""
    low: float = 0.0
    high: float = 0.0
    config: str = ""  # the configuration key its start value comes from
    choices: tuple[str, ...] = ()  # of a choice: the field holds the place in it

    @property
    def rule(self) -> str:
        """What is allowed, as a sentence part."""
        match self.kind:
            case "flag":
                return "on or off"
            case "scale":
                return "one of " + ", ".join(SCALES) + ", or next, back"
            case "choice" | "style":
                return "one of " + ", ".join(self.choices) + ", or next, back"
            case "cue":
                return "next, back, or a cue's name or number"
            case "note":
                return f"a MIDI note from {self.low:g} to {self.high:g}, or a name like A2"
            case "count" | "tap":
                return "now (or no value)"
            case "number":
                return f"a number from {self.low:g} to {self.high:g}" + (f" {self.unit}" if self.unit else "")
        return f"a whole number from {self.low:g} to {self.high:g}"


STYLES = ("ambient", "breakbeat", "house", "synthwave", "techno")  # that come with the product
TEMPO_SOURCES = ("fixed", "style", "performer", "external")
INSTALLED = ("rules", "continuous")  # of MODES
NEXT, BACK = "next", "back"  # in place of a choice: the one after or before it, around the end
STEPPED = ("scale", "choice", "style")  # kinds that have such
STAGED = ("tap", "cue")  # kinds without a field


@cache
def styles(folder: str = "") -> tuple[str, ...]:
    """Return the names of all styles, those of a person's own folder too, in the order of their numbers.

    A folder is listed once: numbers stay what they are while it plays.
    """
    own = {path.stem for path in Path(folder).expanduser().glob("*.toml")} if folder else set()
    return tuple(sorted({*STYLES, *own}))


def _tracks() -> Iterator[Live]:
    for name in TRACK_NAMES:
        yield Live(f"track.{name}.gain", "track_db", "number", f"level of the band's {name}", "dB", -60.0, 12.0)
        yield Live(f"track.{name}.pan", "track_pan", "number", f"{name} moved left (-1) or right (1)", "", -1.0, 1.0)
        yield Live(f"track.{name}.mute", "track_mute", "flag", f"the band plays without {name}")
        yield Live(f"track.{name}.solo", "track_solo", "flag", f"of the band only {name}, and others so chosen")


LIVE: dict[str, Live] = {
    row.key: row
    for row in (
        Live("master", "master_db", "number", "master volume", "dB", -80.0, 0.0, "output.master_db"),
        Live("mute", "mute", "flag", "silence, ramped; everything goes on underneath"),
        Live("freeze", "freeze", "flag", "hold the body as it is"),
        Live("panic", "panic", "count", "all sound off at once"),
        Live("low_latency", "low_latency", "flag", "newest motion, extrapolated", config="motion.low_latency"),
        Live("delay_ms", "motion_delay_ms", "number", "de-jitter delay of motion", "ms", 0.0, 500.0, "motion.delay_ms"),
        Live("test_tone", "test_tone", "flag", "a 440 Hz tone instead of the instrument"),
        Live("tempo", "tempo_bpm", "number", "tempo of the musical clock", "bpm", 20.0, 300.0, "clock.tempo_bpm"),
        Live("tap", "", "tap", "a beat, now: two to eight taps are a tempo"),
        Live(
            "tempo_source", "tempo_source", "choice", "who sets the tempo", config="clock.source", choices=TEMPO_SOURCES
        ),
        Live("cue", "", "cue", "a cue of the show: its settings, all at once"),
        Live("band", "band", "flag", "the band plays", config="band.enabled"),
        Live("band_level", "band_db", "number", "level of the band", "dB", -60.0, 12.0, "band.level_db"),
        Live("style", "style", "style", "what the band plays from the next bar", config="band.style", choices=STYLES),
        Live("mode", "mode", "choice", "who moves the band", config="band.mode", choices=MODES),
        Live("swing", "swing", "number", "0.5 straight to 0.75 for the band, 0 as the style has it", "", 0.0, 0.75),
        Live("harmony", "harmony", "flag", "motion's notes keep to the band's key", config="instrument.harmony"),
        Live("scale", "scale", "scale", "which notes the performer selects", config="instrument.scale"),
        Live("root", "root_note", "note", "first degree of the scale", "", 12, 96, "instrument.root_note"),
        Live("notes", "notes_from_motion", "flag", "motion plays notes", config="instrument.notes_from_motion"),
        Live("snap_ratios", "snap_ratios", "flag", "snap operator ratios", config="instrument.snap_ratios"),
        Live("velocity_scale", "velocity_scale", "number", "a strong gesture of who is heard", "m/s", 0.1, 20.0),
        *(
            Live(
                f"velocity_scale.{performer}",
                "velocity_scale",
                "number",
                f"a strong gesture of performer {performer}",
                "m/s",
                0.1,
                20.0,
                "motion.velocity_scale",
            )
            for performer in range(PERFORMERS)
        ),
        Live("energy_scale", "energy_scale", "number", "energy of who is heard, for the band", "", 0.1, 10),
        *(
            Live(
                f"energy_scale.{performer}",
                "energy_scale",
                "number",
                f"the band hears the energy of performer {performer} so many times",
                "",
                0.1,
                10.0,
                "motion.energy_scale",
            )
            for performer in range(PERFORMERS)
        ),
        *_tracks(),
        Live(
            "idle_seconds", "idle_seconds", "number", "rest after this long still", "s", 0.5, 600, "motion.idle_seconds"
        ),
        Live("focus", "focus", "whole", "which performer is heard, from 0", "", 0, PERFORMERS - 1, "motion.focus"),
        Live("route.left", "route", "channel", "output channel of the left side", "", 1, 32, "audio.left"),
        Live("route.right", "route", "channel", "output channel of the right side", "", 1, 32, "audio.right"),
    )
}
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
    return INSTALLED if row.key == "mode" else row.choices


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
    if row.key == "mode" and name not in INSTALLED:
        raise UsageError(f"{row.key} = {text!r}", "is not installed", f"choose {' or '.join(INSTALLED)}")
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
