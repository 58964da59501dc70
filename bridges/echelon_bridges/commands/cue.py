"""`cue`: step through the cues of a running engine's show."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from echelon_bridges.commands import _options


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "which", nargs="*", metavar="WHICH", help="next, back, a cue's name or its number; nothing lists them all"
    )
    _options.add_name(parser)


def run(arguments: Namespace) -> int:
    """Give the cue and say which it is, or list them."""
    from echelon_bridges.control import request

    name = _options.engine_name(arguments)
    if arguments.which:
        cue = request(name, command="cue", which=" ".join(arguments.which))["cue"]
        print(f"cue {cue['number']} of {cue['of']}: {cue['name']}" + (f"; next: {cue['next']}" if cue["next"] else ""))
        return 0
    answer = request(name, command="cue")
    for number, cue in enumerate(answer["cues"], 1):
        mark = "*" if number == answer["cue"]["number"] else " "
        settings = ", ".join(f"{key} {value}" for key, value in cue["settings"].items())
        print(f"{mark} {number:>3} {cue['name']:<24} {settings}")
    return 0
