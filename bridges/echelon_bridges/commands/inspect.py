"""`inspect`: what a weights file holds and what it promises."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from echelon_bridges.commands import _options


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("weights", metavar="WEIGHTS", help="a safetensors file")


def run(arguments: Namespace) -> int:
    """Print format, shapes and certificate."""
    from echelon_models.inspect import describe

    print(describe(_options.check_input(arguments.weights, "weights file")))
    return 0
