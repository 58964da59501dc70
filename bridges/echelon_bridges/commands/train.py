"""`train`: data sets, training and evaluation of the models: a table of sub-commands, each a module of `training`.

A module `training.NAME` has `add_arguments(parser)` and `run(arguments) -> exit code`, as commands have; a dash in the
sub-command's name is an underscore in the module's. All need the extra `train`, except `data`.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

# Every sub-command, in the order of the work.
ACTIONS: dict[str, str] = {
    "data": "make a data set: motion files, sessions and the built-in dancer, augmented, with their targets",
    "dell": "DELL gated learns from a data set, or from sessions in which a person moved lanes while dancing",
    "coupled": "train DELL coupled: forecast the limbs, tell tempo and phase",
    "lim-rps": "train LIM-RPS: body and phones agree, from phones synthesised out of limbs",
    "extract": "parameters from sound: the 32 positions whose instrument sounds like a recording",
}


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the sub-commands and their options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, about in ACTIONS.items():
        sub = actions.add_parser(name, help=about, description=about, allow_abbrev=False)
        module(name).add_arguments(sub)


def run(arguments: Namespace) -> int:
    """Run the chosen sub-command."""
    return int(module(arguments.action).run(arguments))


def module(action: str) -> Any:
    """Return the module of a sub-command."""
    import importlib

    return importlib.import_module(f"echelon_bridges.commands.training.{action.replace('-', '_')}")


def torch_or_explain(action: str) -> Any:
    """Return PyTorch, or raise `UserError` saying how it is installed."""
    import importlib

    from echelon_engine.errors import UserError

    try:
        return importlib.import_module("torch")
    except ImportError as error:
        reason = f"PyTorch cannot be imported ({error})"
        raise UserError(f"train {action}", reason, "install it: pip install 'echelon-engine[train]'") from None
