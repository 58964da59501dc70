"""The command line `echelon-engine`: a table of commands, each a module of `commands` imported only when chosen.

A command module has `add_arguments(parser)` and `run(arguments) -> exit code`. A person's mistake raises `UserError`
and becomes one line on stderr; exit codes: 0 done, 1 failed, 2 wrong use. `ECHELON_DEBUG=1` shows the stack trace.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    import argparse

PROGRAM = "echelon-engine"

# Every command, in the order a newcomer needs them.
COMMANDS: dict[str, str] = {
    "run": "play: start the engine, live, until Ctrl-C",
    "render": "play a motion file into a WAV file, as fast as it can",
    "audition": "hear the voices of the ensemble one by one: sound files, figures, pictures",
    "status": "what a running engine counts: blocks, underruns, load, sensors, processes",
    "sensors": "what is heard: rates, loss, jitter, roles; assign, recentre, calibrate",
    "set": "change a live setting of a running engine: echelon-engine set KEY VALUE",
    "cue": "step through the cues of a running engine's show: echelon-engine cue next|back|NAME|N",
    "devices": "list the audio devices",
    "midi": "list MIDI ports, show what comes in, learn which controller moves which setting",
    "doctor": "check audio, priority, ports, models and caches, and say what to do",
    "config": "print the effective configuration as TOML",
    "inspect": "show the format, shapes and certificate of a weights file",
    "infer": "run one model alone, frame by frame, on arrays from a file",
    "sessions": "list, inspect, draw and export what `session.log` kept",
    "grid": "grids of music: shown, listed as onsets, converted between text, MIDI, arrays and pictures",
    "train": "make data sets, train, evaluate and export the models",
    "bench": "measure speed and latency",
}


def build_parser(chosen: str | None) -> argparse.ArgumentParser:
    """Return the parser of the whole command line; only the chosen command's options are filled in."""
    import argparse
    import importlib

    from echelon_engine import __version__
    from echelon_engine.errors import UsageError

    class Parser(argparse.ArgumentParser):
        """An argument parser whose mistakes are ours to print."""

        def error(self, message: str) -> NoReturn:
            raise UsageError(self.prog.removeprefix(PROGRAM).strip() or "usage", message, f"see `{self.prog} --help`")

    parser = Parser(
        prog=PROGRAM,
        description="Body in, sound out: a performer's motion played as a physical-modelling instrument.",
        epilog=f"`{PROGRAM} COMMAND --help` explains a command.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)
    for name, about in COMMANDS.items():
        sub = commands.add_parser(name, help=about, description=about, allow_abbrev=False)
        if name == chosen:
            importlib.import_module(f"echelon_bridges.commands.{name}").add_arguments(sub)
    return parser


def execute(argv: list[str]) -> int:
    """Parse and run one command line; return its exit code. Raises `UserError` for mistakes."""
    import importlib

    from echelon_engine.errors import UsageError, nearest

    chosen = next((word for word in argv if not word.startswith("-")), None)
    if chosen is not None and chosen not in COMMANDS:
        raise UsageError(chosen, "no such command", nearest(chosen, COMMANDS) or f"commands: {', '.join(COMMANDS)}")
    if not argv:
        build_parser(None).print_help()
        return 0
    arguments = build_parser(chosen).parse_args(argv)
    module: Any = importlib.import_module(f"echelon_bridges.commands.{arguments.command}")
    return int(module.run(arguments))


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit code for `sys.exit`."""
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["run"]:
        # Until the supervisor has something to clean up, stopping is leaving at once.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: os._exit(0))
    try:
        from echelon_engine.errors import EXIT_FAILURE, UserError
    except KeyboardInterrupt:
        return 130
    try:
        return execute(argv)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `echelon-engine devices | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return EXIT_FAILURE
    except UserError as error:
        _explain(str(error))
        return error.exit_code
    except Exception as error:
        # Modules nearer the core raise their own ValueError or OSError with value, rule and remedy.
        named = isinstance(error, ValueError | OSError) or type(error).__module__.startswith("echelon_")
        _explain(
            str(error) if named else f"internal error: {type(error).__name__}: {error}; see it with ECHELON_DEBUG=1"
        )
        return EXIT_FAILURE


def _explain(text: str) -> None:
    if os.environ.get("ECHELON_DEBUG"):
        import traceback

        traceback.print_exc()
    print(f"{PROGRAM}: {' '.join(text.split())}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
