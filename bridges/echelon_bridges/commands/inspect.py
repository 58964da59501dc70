"""`inspect`: what a weights file holds and what it promises."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from echelon_bridges.commands import _options


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("weights", nargs="?", metavar="WEIGHTS", help="a safetensors file (default: the built-in ones)")


def run(arguments: Namespace) -> int:
    """Print format, shapes and certificate."""
    from echelon_models.formats import FORMATS
    from echelon_models.inspect import describe
    from echelon_models.weights import built_in_path

    chosen = arguments.weights
    files = [_options.check_input(chosen, "weights file")] if chosen else [built_in_path(key) for key in FORMATS]
    print("\n\n".join(map(describe, files)))
    return 0
