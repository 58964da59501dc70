"""`train lim-rps`: LIM-RPS learns on what body and phones agree, from phones synthesised out of limbs."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from echelon_bridges.commands.training import _limbs


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options."""
    _limbs.add_arguments(parser, epochs=10)


def run(arguments: Namespace) -> int:
    """Train, export and judge."""
    return _limbs.run(arguments, "lim-rps", "lim_rps", "lim_rps")
