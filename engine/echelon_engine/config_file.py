"""Read, override, check, print and hand over a `Config`: TOML for people, JSON between processes."""

from __future__ import annotations

import json
import os
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from echelon_engine.config import MOST_PORT, SENSOR_KINDS, Config
from echelon_engine.errors import UsageError, nearest

YES, NO = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


@dataclass(frozen=True, slots=True)
class Key:
    """One setting as declared in `config`; `kind` is bool, int, float or str, `choices` all values of a closed set."""

    name: str
    kind: type
    default: Any
    about: str
    choices: tuple[Any, ...] = ()
    low: float | None = None
    high: float = 0.0
    multiple_of: float | None = None
    pattern: str | None = None

    @property
    def rule(self) -> str:
        """The sentence part that says what is allowed."""
        if self.choices:
            return "one of " + ", ".join(str(choice) for choice in self.choices)
        if self.kind is bool:
            return "true or false"
        if self.pattern:
            return "1 to 32 letters, digits, - or _"
        if self.low is None:
            return "text"
        step = f", a multiple of {self.multiple_of:g}" if self.multiple_of else ""
        whole = "a whole number" if self.kind is int else "a number"
        return f"{whole} from {_number(self.low)} to {_number(self.high)}{step}"

    def check(self, value: Any) -> Any:
        """Return `value` in the key's type, or raise `UsageError` with value, rule and remedy."""
        fits = isinstance(value, self.kind) and (self.kind is bool or not isinstance(value, bool))
        if self.kind is float and type(value) is int and abs(value) < 10**15:
            value, fits = float(value), True
        if fits and self.choices:
            fits = value in self.choices
        if fits and self.low is not None:
            fits = self.low <= value <= self.high  # false for NaN too
        if fits and self.multiple_of:
            fits = value % self.multiple_of == 0
        if fits and self.pattern:
            fits = re.fullmatch(self.pattern, value) is not None
        if fits and self.kind is str:
            fits = "\0" not in value
        if not fits:
            raise UsageError(f"{self.name} = {written(value)}", f"must be {self.rule}", self._remedy(value))
        return value

    def _remedy(self, value: Any) -> str:
        if self.choices and isinstance(value, str) and (hint := nearest(value, map(str, self.choices))):
            return hint
        if self.multiple_of and isinstance(value, int) and self.low is not None:
            near = round(value / self.multiple_of) * self.multiple_of
            return f"set {self.name} to {min(max(near, self.low), self.high):g}"
        return f"the default is {written(self.default)}"

    def parse(self, text: str) -> Any:
        """Return the checked value of a command-line text; text keys need no quotes."""
        value: Any = text
        if self.kind is bool:
            value = {**dict.fromkeys(YES, True), **dict.fromkeys(NO, False)}.get(text.lower(), text)
        elif self.kind is int:
            value = int(text) if re.fullmatch(r"[+-]?\d{1,18}", text.strip()) else text
        elif self.kind is float:
            try:
                value = float(text)
            except ValueError:
                value = text
        return self.check(value)


def _keys() -> Iterator[Key]:
    for section in msgspec.structs.fields(Config):
        if section.name == "chosen":
            continue
        hints = get_type_hints(type(section.default), include_extras=True)
        for field in msgspec.structs.fields(type(section.default)):
            base, *metas = get_args(hints[field.name])
            meta = metas[0]
            choices = get_args(base) if get_origin(base) is Literal else ()
            yield Key(
                name=f"{section.name}.{field.name}",
                kind=type(choices[0]) if choices else base,
                default=field.default,
                about=meta.description,
                choices=choices,
                low=meta.ge,
                high=meta.le if meta.le is not None else 0.0,
                multiple_of=meta.multiple_of,
                pattern=meta.pattern,
            )


KEYS: dict[str, Key] = {key.name: key for key in _keys()}
SECTIONS: tuple[str, ...] = tuple(dict.fromkeys(name.partition(".")[0] for name in KEYS))


def key_named(name: str) -> Key:
    """Return the declared key `section.key`, or raise `UsageError` naming the nearest one."""
    if name in KEYS:
        return KEYS[name]
    hint = nearest(name, KEYS)
    if not hint:  # only the last part may be right
        tails = {key.partition(".")[2]: key for key in KEYS}
        hint = nearest(name.rpartition(".")[2], tails)
        for tail, key in tails.items():
            hint = hint.replace(repr(tail), repr(key))
    raise UsageError(name, "no such setting", hint or "`echelon-engine config` lists them all")


def default_path() -> Path:
    """Return where a person's configuration lies: `$XDG_CONFIG_HOME/echelon-engine/config.toml` or its like."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "echelon-engine" / "config.toml"
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "echelon-engine" / "config.toml"


def read_toml(path: Path) -> dict[str, Any]:
    """Return the checked `section.key` values of a TOML file.

    Raises `UsageError` for a file that cannot be read, is not TOML (with line), or has an unknown or wrong key.
    """
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(str(path), f"cannot read the configuration ({error.strerror})", "check the path") from None
    except UnicodeDecodeError:
        raise UsageError(str(path), "the configuration is not UTF-8 text", "save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(str(path), f"not valid TOML: {error}", "correct that line") from None
    except RecursionError:
        raise UsageError(str(path), "not a configuration: nested too deeply", "write one [section] a subject") from None
    try:
        return dict(_flatten(document))
    except UsageError as error:
        raise UsageError(f"{path}: {error.value}", error.rule, error.remedy) from None


def _flatten(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for section, table in document.items():
        if section not in SECTIONS:
            inside = [name for name in KEYS if name.endswith(f".{section}")]
            hint = f"it belongs in [{inside[0].partition('.')[0]}]" if inside else nearest(section, SECTIONS)
            raise UsageError(f"[{section}]", "no such section", hint or f"sections are {', '.join(SECTIONS)}")
        if not isinstance(table, dict):
            raise UsageError(section, "is a section, not a value", f"write [{section}] and its keys below")
        for name, value in table.items():
            key = key_named(f"{section}.{name}")
            yield key.name, key.check(value)


def parse_override(text: str) -> tuple[str, Any]:
    """Return (key, checked value) of `section.key=value`, as `--set` takes it."""
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--set {text}", "must be KEY=VALUE", "for example --set audio.block=256")
    key = key_named(name.strip())
    return key.name, key.parse(value.strip())


def make(values: Mapping[str, Any]) -> Config:
    """Return the `Config` with these checked `section.key` values chosen and defaults for the rest."""
    sections: dict[str, Any] = {}
    for section in SECTIONS:
        part = {name.partition(".")[2]: value for name, value in values.items() if name.startswith(f"{section}.")}
        sections[section] = type(getattr(Config(), section))(**part)
    config = Config(**sections, chosen=frozenset(values))
    _agree(config)
    return config


def _agree(config: Config) -> None:
    """Check what settings ask of one another; raises `UsageError`."""
    for side in ("left", "right"):
        channel, channels = getattr(config.audio, side), config.audio.channels
        if channel > channels:
            raise UsageError(
                f"audio.{side} = {channel}", f"only {channels} channels are opened", f"set audio.channels to {channel}"
            )
    performers, focus = config.motion.performers, config.motion.focus
    if focus >= performers:
        rule = f"must be below motion.performers = {performers}: they count from 0"
        raise UsageError(f"motion.focus = {focus}", rule, f"set motion.performers to {focus + 1}")
    for key, address in (("ports.bind", config.ports.bind), ("osc.bind", config.osc.bind)):
        if not _is_address(address):
            raise UsageError(
                f"{key} = {address!r}", "must be an IPv4 address of this machine", "0.0.0.0 listens on all of them"
            )
    ranges: list[tuple[str, int]] = []
    for name in SENSOR_KINDS:
        port = int(getattr(config.ports, name))
        if port == 0:
            continue
        if port + performers - 1 > MOST_PORT:
            rule = f"{performers} performers need ports up to {port + performers - 1}, and {MOST_PORT} is the last"
            raise UsageError(f"ports.{name} = {port}", rule, f"set it to {MOST_PORT - performers + 1} or lower")
        for other, taken in ranges:
            if abs(port - taken) < performers:
                rule = (
                    f"{performers} performers take {performers} ports from here on, and from ports.{other} = {taken} on"
                )
                raise UsageError(f"ports.{name} = {port}", rule, f"keep them {performers} apart")
        ranges.append((name, port))


def _is_address(text: str) -> bool:
    from ipaddress import AddressValueError, IPv4Address

    try:
        IPv4Address(text)
    except AddressValueError:
        return text == "localhost"
    return True


def load(path: Path | None = None, overrides: Sequence[str] = (), chosen: Mapping[str, Any] | None = None) -> Config:
    """Return the effective configuration: defaults, then the file, then options of a command, then `--set` overrides.

    `path` None means the person's own file, used only when it exists. `chosen` maps `section.key` to the values of
    dedicated options (None: not given).
    """
    values: dict[str, Any] = {}
    if path is not None:
        values.update(read_toml(path))
    elif default_path().is_file():
        values.update(read_toml(default_path()))
    for name, value in (chosen or {}).items():
        if value is not None:
            values[name] = key_named(name).check(value)
    values.update(map(parse_override, overrides))
    return make(values)


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:g}"


def written(value: Any) -> str:
    """Return a bool, int, float or str as TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # A TOML basic string escapes as JSON does, except that DEL must be escaped too.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value)


def to_toml(config: Config) -> str:
    """Return the configuration as TOML with every key's explanation and range; `read_toml` reads it back."""
    lines: list[str] = []
    for section in SECTIONS:
        part = getattr(config, section)
        lines += [f"# {(type(part).__doc__ or '').strip()}", f"[{section}]"]
        for key in KEYS.values():
            if key.name.startswith(f"{section}."):
                name = key.name.partition(".")[2]
                rule = "" if key.rule == "text" else f" ({key.rule})"
                lines += [f"# {key.about}{rule}", f"{name} = {written(getattr(part, name))}"]
        lines.append("")
    return "\n".join(lines)


def to_json(config: Config) -> str:
    """Return the configuration, with what was chosen, as one line of JSON for another process."""
    return msgspec.json.encode(config).decode()


def from_json(text: str | bytes) -> Config:
    """Return the configuration that `to_json` wrote."""
    return msgspec.json.decode(text, type=Config)
