"""`infer`: one model alone, frame by frame from the zero state, for comparing with a reference."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from echelon_bridges.commands import _options


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("weights", metavar="WEIGHTS", help="a safetensors file")
    parser.add_argument("source", metavar="IN.npz", help="inputs, one row a frame, under the model's input names")
    parser.add_argument("target", metavar="OUT.npz", help="gets the outputs, one row a frame")


def run(arguments: Namespace) -> int:
    """Run the model over the file."""
    weights = _options.check_input(arguments.weights, "weights file")
    source = _options.check_input(arguments.source, "input file")
    target = _options.check_output(arguments.target, ".npz")

    from echelon_models.infer import run as infer

    print(infer(weights, source, target))
    return 0
