"""`config`: print the effective configuration; the output is itself a configuration file."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from echelon_bridges.commands import _options


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options."""
    _options.add_config(parser)


def run(arguments: Namespace) -> int:
    """Print it."""
    from echelon_engine.config_file import to_toml

    print(to_toml(_options.load_config(arguments)), end="")
    return 0
