"""`bench`: the suite of the `benchmarks` folder, which lives in the repository, not in the package."""

from __future__ import annotations

import subprocess
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from echelon_bridges.commands import _options

SUITE = Path(__file__).resolve().parents[3] / "benchmarks" / "run.py"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--json", metavar="FILE", help="also write every figure, with the machine described, as JSON")
    parser.add_argument("--quick", action="store_true", help="a few minutes less, rougher tails")
    parser.add_argument("--only", metavar="NAMES", help="some benchmarks alone: control_frame,block,latency ..")


def run(arguments: Namespace) -> int:
    """Run the suite in a process of its own and pass its exit code on."""
    from echelon_engine.errors import UserError

    if not SUITE.is_file():
        raise UserError(
            "bench", "the suite is not part of the installed package", "run it from a clone of the repository"
        )
    command = [sys.executable, str(SUITE)]
    if arguments.json:
        command += ["--json", str(_options.check_output(arguments.json))]
    if arguments.quick:
        command += ["--quick"]
    if arguments.only:
        command += ["--only", arguments.only]
    return subprocess.run(command, check=False).returncode
