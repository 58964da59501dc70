"""`run`: the engine, live, until Ctrl-C."""

from __future__ import annotations

import signal
from argparse import ArgumentParser, ArgumentTypeError, Namespace

from echelon_bridges.commands import _options

DANCER = "dancer"


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value <= 1e7:
        raise ArgumentTypeError(f"{text!r} must be a number of seconds above 0")
    return value


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--device", help="audio device: name or index from `devices`, `default` or `null`")
    parser.add_argument("--motion", metavar="FILE", help="a BVH or DeepMimic clip or a session to play, or `dancer`")
    parser.add_argument("--loop", action="store_true", default=None, help="play the clip again when it ends")
    parser.add_argument("--record", metavar="FILE.wav", help="write what is heard")
    parser.add_argument("--log", metavar="DIR", help="keep the session in a folder below DIR, to be played again")
    parser.add_argument("--show", metavar="FILE", help="cues to step through with `cue next`, keys, MIDI, OSC or NATS")
    parser.add_argument("--nats", metavar="URL", help="publish over NATS: a server's address, or `embedded`")
    parser.add_argument("--seconds", type=_seconds, metavar="N", help="stop by itself after N seconds of sound")
    _options.add_name(parser)
    _options.add_config(parser)


def run(arguments: Namespace) -> int:
    """Play."""
    from echelon_bridges.session.folder import is_session
    from echelon_bridges.supervisor import SIGNALS, supervise
    from echelon_engine.errors import UsageError

    if arguments.motion == DANCER:
        arguments.motion = ""
    config = _options.load_config(
        arguments,
        engine__name=arguments.name,
        audio__device=arguments.device,
        motion__file=arguments.motion,
        motion__loop=arguments.loop,
        output__record=arguments.record,
        session__log=arguments.log,
        show__file=arguments.show,
        nats__url=arguments.nats,
    )
    if arguments.loop and not config.motion.file:
        raise UsageError("--loop", "loops a motion file, and none is given", "add --motion FILE")
    if config.motion.file and not is_session(config.motion.file):
        _options.check_input(config.motion.file, "motion file")
    if config.output.record:
        _options.check_output(config.output.record, ".wav")
    _options.check_connections(config)
    code = supervise(config, arguments.seconds)
    for number in SIGNALS:  # everything is gone already: a late Ctrl-C must not look like a failure
        signal.signal(number, signal.SIG_IGN)
    return code
