"""The table of what can be changed while the engine plays: each key, the field of SETTINGS it moves, and its rule."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from echelon_engine.config import SCALES
from echelon_engine.memory import PERFORMERS
from echelon_engine.vocabulary import MODES, TRACK_NAMES


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


def _performers() -> Iterator[Live]:
    scale = Live("velocity_scale", "velocity_scale", "number", "a strong gesture of who is heard", "m/s", 0.1, 20.0)
    yield scale
    for i in range(PERFORMERS):
        about = f"a strong gesture of performer {i}"
        yield replace(scale, key=f"velocity_scale.{i}", about=about, config="motion.velocity_scale")
    scale = Live("energy_scale", "energy_scale", "number", "energy of who is heard, for the band", "", 0.1, 10.0)
    yield scale
    for i in range(PERFORMERS):
        about = f"the band hears the energy of performer {i} so many times"
        yield replace(scale, key=f"energy_scale.{i}", about=about, config="motion.energy_scale")


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
        *_performers(),
        *_tracks(),
        Live(
            "idle_seconds", "idle_seconds", "number", "rest after this long still", "s", 0.5, 600, "motion.idle_seconds"
        ),
        Live("focus", "focus", "whole", "which performer is heard, from 0", "", 0, PERFORMERS - 1, "motion.focus"),
        Live("route.left", "route", "channel", "output channel of the left side", "", 1, 32, "audio.left"),
        Live("route.right", "route", "channel", "output channel of the right side", "", 1, 32, "audio.right"),
    )
}
