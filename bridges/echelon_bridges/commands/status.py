"""`status`: what a running engine counts."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from echelon_bridges.commands import _options


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    _options.add_name(parser)


def run(arguments: Namespace) -> int:
    """Ask the engine and print its answer."""
    import json

    from echelon_bridges.control import request

    document = request(_options.engine_name(arguments), command="status")["status"]
    if arguments.json:
        print(json.dumps(document, indent=2))
    else:
        from echelon_bridges.status import table

        print(table(document))
    return 0
