"""`train coupled`: DELL coupled learns to forecast the limbs, and to tell tempo and phase."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from echelon_bridges.commands.training import _limbs


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options."""
    _limbs.add_arguments(parser, epochs=15)


def run(arguments: Namespace) -> int:
    """Train, export and judge."""
    return _limbs.run(arguments, "coupled", "dell_coupled", "coupled")
