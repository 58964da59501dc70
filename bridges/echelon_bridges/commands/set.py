"""`set`: change a live setting of a running engine."""

from __future__ import annotations

import re
import time
from argparse import ArgumentParser, Namespace
from dataclasses import replace

from echelon_bridges.commands import _options

WEIGHTS = "models.gated"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options."""
    # argparse takes "-6dB" for an option unless told that it looks like a number.
    parser._negative_number_matcher = re.compile(r"-[\d.].*")
    parser.add_argument("key", nargs="?", metavar="KEY", help="what to change; `set --list` shows all keys")
    parser.add_argument("value", nargs="*", metavar="VALUE", help="its value, with a unit if you like: -6 dB")
    parser.add_argument("--list", action="store_true", help="show every key with its rule and, when it runs, its value")
    _options.add_name(parser)


def run(arguments: Namespace) -> int:
    """Ask the engine to change it and print the effective value."""
    from pathlib import Path

    from echelon_bridges.control import request
    from echelon_engine.config import BUILT_IN
    from echelon_engine.errors import UsageError
    from echelon_models.weights import INITIAL_NAME

    name = _options.engine_name(arguments)
    if arguments.list:
        return _list(name)
    if arguments.key is None:
        raise UsageError("set", "needs a key and a value", "`set --list` shows every key")
    value = " ".join(arguments.value)
    if arguments.key == WEIGHTS:
        path = value
        if value not in (BUILT_IN, INITIAL_NAME):  # as seen from here, not from where the engine was started
            path = str(_options.check_input(Path(value).expanduser(), "weights file").absolute())
        answer = request(name, command="weights", path=path)
    else:
        answer = request(name, command="set", key=arguments.key, value=value, time_ns=time.monotonic_ns())
    print(f"{answer['key']} = {answer['value']}")
    if notice := answer.get("notice"):
        print(f"notice: {notice}")
    return 0


def _list(name: str) -> int:
    from echelon_bridges import lock
    from echelon_bridges.control import request
    from echelon_engine import live, live_table
    from echelon_engine.parameters import PARAMETERS

    answer = request(name, command="get") if lock.is_held(name) else {}
    values, choices = answer.get("values", {}), answer.get("choices", {})
    for row in live_table.LIVE.values():
        if row.kind == "style":
            row = replace(row, choices=tuple(choices.get(row.key, row.choices)))
        source = values.get("tempo_source", "fixed") if row.key == "tempo" else "fixed"
        waits = "" if source == "fixed" else f"; in force with tempo_source fixed, now it is {source}"
        print(f"{row.key:<24} {values.get(row.key, '-'):<18} {row.rule}: {row.about}{waits}")
    print(f"{WEIGHTS:<43} a safetensors file of DELL gated, or built-in: y glides over 250 ms")
    print(f"{'lane.NAME or lane.NUMBER':<43} {live.LANE_ABOUT}:")
    for lane in PARAMETERS:
        unit = f" {lane.unit}" if lane.unit else ""
        key = f"lane.{lane.name}"
        print(f"{key:<24} {values.get(key, '-'):<18} {lane.low:g} to {lane.high:g}{unit}: {lane.about}")
    return 0
