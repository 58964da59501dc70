"""The map of controllers onto live settings: a TOML file that people write or `echelon-engine midi learn` does.

    [controllers]
    "cc 1 74" = "lane.filter_cutoff"
    "cc 1 7" = { key = "master", low = -40, high = 0, mode = "jump" }
    "note 10 36" = { key = "scale", value = "dorian" }
    "note 10 37" = "cue"
    "note 10 38" = { key = "cue", value = "back" }
    "cc 1 20" = "style"
    "osc /1/fader1" = "lane.reverb_mix"
    "clock" = "tempo"

Sources: `cc CHANNEL NUMBER`, `cc14 CHANNEL NUMBER` (14 bit, its fine part 32 higher), `nrpn CHANNEL NUMBER`,
`bend CHANNEL`, `pressure CHANNEL`, `note CHANNEL KEY`, `osc /ADDRESS`, `clock` (onto the tempo alone: it leads whenever
it begins to run). Channels count from 1. The ends of a controller's way are `low` and `high`, by default the setting's
own range. With `value`, the controller is a button that sets just that: `next` and `back` step through choices and
cues. Along a controller's way lie the choices of a style, mode, scale or tempo source; a note steps to the next.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echelon_engine import config_file, live, live_table
from echelon_engine.config import Config
from echelon_engine.errors import UsageError, UserError, nearest
from echelon_models import text_file

FILE = "controllers.toml"
MOST = 1024  # rows
FILE_BYTES = 1 << 20
PICKUP, JUMP, TOGGLE = "pickup", "jump", "toggle"
MODES = (PICKUP, JUMP, TOGGLE)
CLOCK = "clock"
HEAD = "# Controllers onto live settings; `echelon-engine midi learn KEY` adds to it.\n[controllers]\n"

_MIDI = re.compile(r"(cc|cc14|nrpn|note) (\d{1,2}) (\d{1,5})|(bend|pressure) (\d{1,2})")
_LAST = {"cc": 119, "cc14": 31, "nrpn": 16383, "note": 127}


@dataclass(frozen=True, slots=True)
class Row:
    """One controller: which key it moves, from `low` to `high`, and how; with `value` it is a button that sets it."""

    source: str
    key: str
    low: float
    high: float
    mode: str
    value: str = ""


def check_source(source: str) -> str:
    """Return a source as the map writes it, or raise `UsageError`."""
    if source == CLOCK:
        return source
    if source.startswith("osc "):
        address = source[4:].strip()
        if address.startswith("/") and 1 < len(address) <= 128 and address.isascii() and address.isprintable():
            return f"osc {address}"
    match = _MIDI.fullmatch(source)
    if match:
        kind, channel = match[1] or match[4], int(match[2] or match[5])
        number = int(match[3] or 0)
        if 1 <= channel <= 16 and number <= _LAST.get(kind, 0):
            return f"{kind} {channel}" + (f" {number}" if match[3] else "")
    raise UsageError(
        repr(source[:60]), "is no controller", "write 'cc 1 74', 'nrpn 1 20', 'bend 1', 'note 10 36' or 'osc /1/fader1'"
    )


def span(key: str) -> tuple[float, float]:
    """Return the whole range of a live key, as its values are written; raises `UsageError` for an unknown one."""
    if key.startswith(live.LANE_PREFIX) and key in live.names():
        return 0.0, 1.0
    row = live_table.LIVE.get(key)
    if row is None:
        raise UsageError(key[:60], "no such live setting", nearest(key, live.names()) or "`set --list` shows all")
    if row.kind in ("flag", "count", *live.STAGED, *live.STEPPED):
        return 0.0, 1.0
    return row.low, row.high


def make_row(source: str, entry: Any) -> Row:
    """Return the checked row of one line of the map: a key, or a table with it; raises `UsageError`."""
    source = check_source(source)
    fields = {"key": entry} if isinstance(entry, str) else entry
    if not isinstance(fields, dict) or not isinstance(fields.get("key"), str):
        raise UsageError(f"{source!r}", "must name a live setting", 'for example "cc 1 74" = "lane.filter_cutoff"')
    if unknown := sorted(set(fields) - {"key", "low", "high", "mode", "value"}):
        raise UsageError(f"{source!r}: {unknown[0]}", "no such field", "fields are key, low, high, mode, value")
    key = fields["key"]
    least, most = span(key)
    if source == CLOCK and key != "tempo":
        raise UsageError(f"clock onto {key}", "a clock moves the tempo alone", 'write "clock" = "tempo"')
    low, high = fields.get("low", least), fields.get("high", most)
    for name, end in (("low", low), ("high", high)):
        if isinstance(end, bool) or not isinstance(end, int | float) or not least <= end <= most:
            raise UsageError(f"{source!r}: {name} = {end!r}", f"must be a number from {least:g} to {most:g}")
    live_kind = live_table.LIVE[key].kind if key in live_table.LIVE else "lane"
    switched = live_kind in ("flag", "count", *live.STAGED, *live.STEPPED)
    sprung = source.startswith(("bend ", "pressure ", "note ")) or switched
    mode = fields.get("mode", JUMP if sprung else PICKUP)
    if mode not in MODES or (mode == TOGGLE and live_kind != "flag"):
        rule = "must be pickup or jump" + (", or toggle" if live_kind == "flag" else "; only on/off settings toggle")
        raise UsageError(f"{source!r}: mode = {mode!r}", rule)
    steps = live_kind == "cue" or (live_kind in live.STEPPED and source.startswith("note "))
    value = str(fields.get("value", live.NEXT if steps else ""))
    if value:
        live.apply(live.initial_settings(Config())[0], key, value)
    return Row(source, key, float(low), float(high), mode, value)


def path_of(config: Config) -> Path:
    """Return the map that is in force: `midi.map`, or the learned one beside the person's configuration."""
    return Path(config.midi.map).expanduser() if config.midi.map else config_file.default_path().with_name(FILE)


def read(path: Path) -> dict[str, Row]:
    """Return the rows of a map by source, none where there is no file; raises `UsageError` for what is wrong in it."""
    try:
        document = tomllib.loads(text_file.read(path, FILE_BYTES))
    except text_file.MissingFileError:
        return {}
    except UserError as error:
        raise UsageError(error.value, error.rule, error.remedy) from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(str(path), f"not valid TOML: {error}", "correct that line") from None
    table = document.pop("controllers", {})
    if document or not isinstance(table, dict):
        raise UsageError(str(path), "has one table, [controllers]", f"move what is in {', '.join(document) or 'it'}")
    if len(table) > MOST:
        raise UsageError(str(path), f"has {len(table)} controllers, at most {MOST}", "remove some")
    try:
        rows = [make_row(source, entry) for source, entry in table.items()]
    except UserError as error:
        raise UsageError(f"{path}: {error.value}", error.rule, error.remedy) from None
    return {row.source: row for row in rows}


def written(rows: dict[str, Row]) -> str:
    """Return the map as TOML; `read` reads it back."""
    lines = []
    for row in rows.values():
        least, most = span(row.key)
        fields: dict[str, Any] = {"key": row.key}
        if (row.low, row.high) != (least, most):
            fields |= {"low": row.low, "high": row.high}
        if row.mode != make_row(row.source, row.key).mode:
            fields["mode"] = row.mode
        if row.value:
            fields["value"] = row.value
        entry = ", ".join(f"{name} = {config_file.written(value)}" for name, value in fields.items())
        short = config_file.written(row.key)
        lines.append(f"{config_file.written(row.source)} = " + (short if len(fields) == 1 else f"{{ {entry} }}"))
    return HEAD + "".join(line + "\n" for line in lines)


def store(path: Path, rows: dict[str, Row]) -> None:
    """Write the map: the file is the old one or the new one at any instant. Raises `UserError`."""
    if len(rows) > MOST:
        raise UserError(str(path), f"would have {len(rows)} controllers, at most {MOST}", "forget some")
    temporary = ""
    try:
        path = path.resolve()  # a link stays one
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(written(rows))
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(path)
    except OSError as error:
        if temporary:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
        raise UserError(str(path), f"cannot be written ({error.strerror})", "set midi.map to another file") from None


class Watched:
    """A map that is read again when its file changed. `rows` by source; a mistake keeps the rows and is told once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problem = ""
        self._seen = self._stamp()
        self.rows = read(path)

    def _stamp(self) -> tuple[int, int, int]:
        try:
            found = self.path.stat()
        except OSError:
            return 0, 0, 0
        return found.st_mtime_ns, found.st_size, found.st_ino

    def refresh(self) -> bool:
        """Look at the file; return whether other rows are in force now."""
        stamp = self._stamp()
        if stamp == self._seen:
            return False
        self._seen = stamp
        try:
            self.rows = read(self.path)
        except UserError as error:
            self.problem = str(error)
            return False
        self.problem = ""
        return True
