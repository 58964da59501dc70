"""Options that several commands share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable

    from echelon_engine.config import Config


def add_config(parser: ArgumentParser) -> None:
    """Add `--config FILE` and `--set KEY=VALUE`."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML file instead of your own configuration")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="overrides",
        metavar="KEY=VALUE",
        help="override one setting, for example --set audio.block=256; may be repeated",
    )


def add_name(parser: ArgumentParser) -> None:
    """Add `--name NAME`, which tells several engines on one machine apart."""
    parser.add_argument("--name", help="which engine, when several run on this machine (default: echelon)")


def load_config(arguments: Namespace, **chosen: Any) -> Config:
    """Return the effective configuration; `chosen` maps `section__key` to the values of the command's own options."""
    from echelon_engine import config_file

    dedicated = {name.replace("__", "."): value for name, value in chosen.items()}
    return config_file.load(arguments.config, arguments.overrides, dedicated)


def check_connections(config: Config) -> None:
    """Refuse what can be known to be wrong with sensors and connections before anything is started: `UsageError`."""
    from echelon_bridges.fusion.roles import parse_roles
    from echelon_engine.errors import UsageError, UserError

    parse_roles(config.sensors.roles)
    try:
        if config.osc.targets:
            from echelon_bridges.osc.targets import parse

            parse(config.osc.targets)
        if config.sensors.relay:
            from echelon_bridges.relay import parse_target

            parse_target(config.sensors.relay)
        if config.clock.link:
            from echelon_bridges.link_clock import load

            load()
        if config.nats.url:
            from echelon_bridges.nats_link.connection import check

            check(config)
        if config.osc.port or config.midi.input:
            from echelon_bridges.controllers.table import path_of, read

            read(path_of(config))
    except UserError as error:
        raise UsageError(error.value, error.rule, error.remedy) from None


def check_band(config: Config) -> None:
    """Refuse a style or mode that cannot be played before anything is started or compiled: `UserError`."""
    from echelon_engine import live

    styles_folder(config)
    live.initial_settings(config)
    if config.band.enabled:
        from echelon_bridges.band import Band

        Band(config)


def styles_folder(config: Config) -> Path | None:
    """Return the folder of a person's own styles, None without one. Raises `UserError` where it is no folder."""
    from echelon_engine.errors import UserError

    folder = Path(config.band.styles).expanduser() if config.band.styles else None
    if folder is not None and not folder.is_dir():
        raise UserError(f"band.styles = {config.band.styles!r}", "no such folder", "make it, or correct the setting")
    return folder


def engine_name(arguments: Namespace) -> str:
    """Return the name of the engine a command talks to, checked."""
    from echelon_engine.config_file import key_named

    return str(key_named("engine.name").check(arguments.name if arguments.name is not None else "echelon"))


def whole(low: int, high: int) -> Callable[[str], int]:
    """Return what reads a whole number from `low` to `high` of an option's text, for argparse."""
    from argparse import ArgumentTypeError

    def read(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not low <= int(text[:9]) <= high:
            raise ArgumentTypeError(f"{text!r} must be a whole number from {low} to {high}")
        return int(text)

    return read


def check_output(path: str | Path, suffix: str = "") -> Path:
    """Return `path` if a file can be written there, or raise `UserError` saying why not."""
    from echelon_engine.errors import UsageError, UserError

    target = Path(path)
    if suffix and target.suffix.lower() != suffix:
        remedy = f"write to {target.with_suffix(suffix)}" if target.name else "name a file"
        raise UsageError(str(path), f"the output must end in {suffix}", remedy)
    if target.is_dir():
        raise UserError(str(path), "is a folder", "name a file inside it")
    if not target.parent.is_dir():
        raise UserError(str(path), "its folder does not exist", f"make it: mkdir -p {target.parent}")
    writable = target if target.exists() else target.parent
    if not os.access(writable, os.W_OK):
        raise UserError(str(path), f"{writable} cannot be written", "choose another place, or change its permissions")
    return target


def check_input(path: str | Path, what: str) -> Path:
    """Return `path` if it is a readable file, or raise `UserError`."""
    from echelon_engine.errors import UserError

    source = Path(path)
    if source.is_dir():
        raise UserError(str(path), f"is a folder, not a {what}", "name one file")
    if not source.is_file():
        raise UserError(str(path), f"no such {what}", "check the path")
    if not os.access(source, os.R_OK):
        raise UserError(str(path), f"this {what} cannot be read", "change its permissions")
    return source
