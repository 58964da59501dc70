"""What people change while it plays: the settings in force, the show's cues, taps; every way to change them ends here.

`set`, keys, MIDI, OSC and NATS all reach `Stage.set` or `Stage.cue`. A change, however many settings it moves, replaces
`settings` once: its owner publishes it as one.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from echelon_bridges import show
from echelon_bridges.style_shelf import StyleShelf
from echelon_bridges.taps import Taps
from echelon_engine import live, live_table
from echelon_engine.config import Config
from echelon_engine.errors import UserError
from echelon_models.music.style import StyleError

ASKED_NS = 10_000_000_000  # a change that was asked for longer ago counts as asked now


class Stage:
    """Settings (SETTINGS, shape (1,)) and show of one engine. Raises `UsageError` for a show that is no good."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.settings = live.initial_settings(config)
        file = config.show.file
        self._styles = StyleShelf(config.band.styles)
        self.show = show.read(Path(file).expanduser(), config, self._styles) if file else None
        self.number = 0  # of the cue that was given last, from 1
        self._taps = Taps()

    def set(self, key: str, text: str, time_ns: int) -> str:
        """Change a live setting and return its effective value for people; `time_ns` is when it was asked.

        Raises `UserError`; nothing has changed then.
        """
        if key == "cue":
            return str(self.cue(text)["name"])
        changed = self.settings.copy()
        shown = live.apply(changed[0], key, text, self.config)
        if key == "style":
            shown = self._loadable(changed[0], text)
        if key == "tap":
            tempo_bpm = self._taps.tap(time_ns)
            if tempo_bpm is not None:
                live.apply(changed[0], "tempo", f"{tempo_bpm:g}", self.config)
            shown = self._shown_taps() if tempo_bpm is None else f"{tempo_bpm:g} bpm"
        self.settings = changed
        return shown

    def cue(self, which: str) -> dict[str, Any]:
        """Give a cue: `next`, `back`, its number or name; return the report. Raises `UserError`, nothing changed."""
        played = self._played()
        number = played.place(which, self.number)
        changed = self.settings.copy()
        cue = played.cues[number - 1]
        show.apply(changed[0], cue, self.config)
        if "style" in dict(cue.settings):
            self._loadable(changed[0], "")
        self.settings, self.number = changed, number
        return self.report() or {}

    def _loadable(self, settings: Any, text: str) -> str:
        """Return the style that was just chosen by `text`. Raises `StyleError` where its file cannot be played.

        `next` and `back` go past those: a pad that steps must come around.
        """
        names = self._styles.names
        steps = text.lower() in (live.NEXT, live.BACK) and text.lower() not in names
        while True:
            try:
                self._styles.get(name := names[int(settings["style"])])
            except StyleError:
                if not steps or settings["style"] == self.settings[0]["style"]:
                    raise
                live.apply(settings, "style", text, self.config)
            else:
                return name

    def choices(self) -> dict[str, list[str]]:
        """Return what this engine, with the styles of its folder, lets choose: a list for each key that has such."""
        found = {key: live.choices(key, self.config) for key in live.names()}
        return {key: list(known) for key, known in found.items() if known}

    def values(self) -> dict[str, str]:
        """Return every live key with its value for people."""
        values = {key: live.shown(self.settings[0], key, self.config) for key in live.names()}
        if self.show is not None and self.number:
            values["cue"] = self.show.cues[self.number - 1].name
        values["tap"] = self._shown_taps()
        return values

    def report(self) -> dict[str, Any] | None:
        """Return where the show is, for `status`: number (0 before the first cue), name, next; None without one."""
        if self.show is None:
            return None
        names = [cue.name for cue in self.show.cues]
        return {
            "show": self.show.path,
            "number": self.number,
            "of": len(names),
            "name": names[self.number - 1] if self.number else "",
            "next": names[self.number] if self.number < len(names) else "",
        }

    def cues(self) -> list[dict[str, Any]]:
        """Return all cues with their settings, for people. Raises `UserError` without a show."""
        return [{"name": cue.name, "settings": dict(cue.settings)} for cue in self._played().cues]

    def deaf(self, outlets: dict[str, Any]) -> str:
        """Return why an external tempo that is asked for cannot be heard, "" where it can, or none is asked for."""
        if int(self.settings[0]["tempo_source"]) != live_table.TEMPO_SOURCES.index("external"):
            return ""
        if self.config.clock.link:
            return ""
        if not self.config.midi.input:
            remedy = "start with midi.input or clock.link; the tempo stays as it is"
            return f"tempo_source external: no clock can be heard without a MIDI input or Link; {remedy}"
        heard = outlets.get("midi_in")
        if heard is not None and not heard.get("clock_bpm"):
            return (
                f"tempo_source external: no MIDI clock comes in at {self.config.midi.input}; the tempo stays as it is"
            )
        return ""

    def _shown_taps(self) -> str:
        return f"{len(self._taps)} tap{'' if len(self._taps) == 1 else 's'}"

    def _played(self) -> show.Show:
        if self.show is None:
            raise UserError("cue", "no show is loaded", "start with `run --show FILE`")
        return self.show


def asked_ns(request: dict[str, Any]) -> int:
    """Return when a change was asked for: as whoever heard it says, or now."""
    now_ns, said = time.monotonic_ns(), request.get("time_ns")
    return said if type(said) is int and abs(now_ns - said) < ASKED_NS else now_ns
