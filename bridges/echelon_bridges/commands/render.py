"""`render`: a motion file into a WAV file through the same `process()` as live: same input, same bytes.

A session is played again from what it logged: the bytes that were heard, of each life up to where its last control
frame begins. What was taken while that one was played may not be in the log any more, so that sixtieth of a second, at
most, is left out and not made up.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from echelon_bridges.commands import _options

if TYPE_CHECKING:
    from pathlib import Path

    from echelon_engine.config import Config

DANCER = "dancer"
DANCE_S = 30.0
HOLD_S = 2.0


def _length(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 36_000.0:
        raise ArgumentTypeError(f"{text!r} must be a number of seconds from 0 to 36000")
    return value


def _above_0(text: str) -> float:
    if (value := _length(text)) == 0.0:
        raise ArgumentTypeError("must be a number of seconds above 0")
    return value


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "motion",
        metavar="MOTION",
        help="BVH or DeepMimic clip, `dancer` for the built-in performer, or a session (the folder of one: each of "
        "its lives up to where its last control frame begins, 1/60 s at most before its log ends)",
    )
    parser.add_argument("target", metavar="OUT.wav", help="gets the sound")
    parser.add_argument("--params", metavar="OUT.npz", help="gets x, c, y, z and energy, one row a control frame")
    parser.add_argument("--seconds", type=_above_0, metavar="N", help="length; the clip is looped if it is shorter")
    parser.add_argument(
        "--hold", type=_length, metavar="N", help="then hold the last pose while it rings out (default: 2)"
    )
    parser.add_argument(
        "--anyway", action="store_true", help="render a session with other weights than it was played with"
    )
    _options.add_config(parser)


def run(arguments: Namespace) -> int:
    """Render and say what came out."""
    import time

    from echelon_engine.errors import UsageError

    config = _options.load_config(arguments)
    target = _options.check_output(arguments.target, ".wav")
    params = _options.check_output(arguments.params, ".npz") if arguments.params else None
    if _is_session(arguments.motion):
        return _replay(arguments, config, target, params)
    if arguments.anyway:
        raise UsageError("--anyway", "is for sessions", f"{arguments.motion} is none; leave it out")
    if arguments.motion != DANCER:
        _options.check_input(arguments.motion, "motion file")
    _options.check_band(config)
    hold_s = HOLD_S if arguments.hold is None else arguments.hold
    frames, seconds = _motion(config, arguments.motion, arguments.seconds, hold_s)

    import numpy as np

    from echelon_bridges.band import Band
    from echelon_engine import live, units
    from echelon_engine.offline import render
    from echelon_engine.wav import WavWriter
    from echelon_models.weights import load_all

    weights = load_all(config.models)
    units.compile_cold(on_progress=_tell_compiling)
    began = time.perf_counter()
    result = render(
        frames,
        seconds,
        live.initial_settings(config)[0],
        weights,
        rate_hz=config.audio.rate_hz,
        block_frames=config.audio.block,
        composer=Band(config) if config.band.enabled else None,
    )
    took = time.perf_counter() - began
    with WavWriter(target, config.audio.rate_hz, encoding=config.output.record_format) as writer:
        writer.write(result.sound)
    if params:
        _write_params(params, result.records)
    peak = float(np.max(np.abs(result.sound), initial=0.0))
    print(f"{target}: {seconds:.2f} s, peak {_level(peak)}, {seconds / took:.0f} times faster than real time")
    return 0


def _level(peak: float) -> str:
    import math

    return f"{20 * math.log10(peak):.1f} dBFS" if peak > 0 else "silence"


def _is_session(name: str) -> bool:
    from echelon_bridges.session.folder import is_session

    return name != DANCER and is_session(name)


def _replay(arguments: Namespace, config: Config, target: Path, params: Path | None) -> int:
    """Play a session again, one life after the other, and say what came out."""
    import time

    from echelon_bridges.session import playback
    from echelon_bridges.session.reader import Session
    from echelon_engine.errors import UsageError

    if arguments.hold is not None:
        raise UsageError("--hold", "is for motion files: a session ends where it ended", "leave it out")
    session = Session.open(arguments.motion)
    models = playback.models_of(session, config)
    if not arguments.anyway:
        playback.check_weights(session, models)
    if differ := playback.differences(session):
        print(f"warning: {session.name}: {differ}: the bytes may differ from those heard", file=sys.stderr)
    for note in session.notes:
        print(f"notice: {session.name}: {note}", file=sys.stderr)
    import numpy as np

    from echelon_engine import units
    from echelon_engine.memory import CONTROL_RATE_HZ
    from echelon_engine.wav import WavWriter
    from echelon_models.weights import load_all

    weights = load_all(models)
    units.compile_cold(on_progress=_tell_compiling)
    most = None if arguments.seconds is None else max(1, round(arguments.seconds * CONTROL_RATE_HZ))
    began, samples, peak, cut, records = time.perf_counter(), 0, 0.0, False, []
    lives = playback.play(session, weights, most_frames=most)
    first = next(lives)  # what cannot be played is said before a file is made
    with WavWriter(target, session.rate_hz, encoding=config.output.record_format) as writer:
        for life in (first, *lives):
            writer.write(life.sound)
            samples += len(life.sound)
            peak = max(peak, float(np.max(np.abs(life.sound), initial=0.0)))
            records.append(life.records)
            cut = cut or bool(life.missing)
            for text in life.missing:
                print(f"notice: life {life.epoch}: {text} is missing; it plays up to there", file=sys.stderr)
    seconds = samples / session.rate_hz
    if params:
        _write_params(params, np.concatenate(records))
    speed = seconds / (time.perf_counter() - began)
    end = ", up to the last control frame of each life" if most is None and not cut else ""
    length = f"{seconds:.2f} s ({samples} samples{end})"
    print(f"{target}: {length}, peak {_level(peak)}, {speed:.0f} times faster than real time")
    return 0


def _tell_compiling(name: str, number: int, count: int) -> None:
    """Say on standard error what is compiled, once for each version."""
    print(f"compiling {name} ({number} of {count})", file=sys.stderr, flush=True)


def _motion(config: Config, name: str, seconds: float | None, hold_s: float) -> tuple[Any, float]:
    """Return limb frames (memory.LIMB_FRAME, from time 0) and how long to render, the held pose included."""
    from echelon_bridges.motion import files

    if name == DANCER:
        from echelon_bridges.motion.dancer import Dancer

        dancer = Dancer(config.dancer.seed, config.dancer.tempo_bpm)
        seconds = DANCE_S if seconds is None else seconds
        frames = dancer.frames(0, max(1, round(seconds * dancer.rate_hz)))
        clip = files.Clip(DANCER, frames, dancer.rate_hz, dancer.offsets)
    else:
        clip = files.load(name)
        if seconds is not None and seconds > clip.duration_s:
            clip = replace(clip, frames=clip.loop().frames(0, round(seconds * clip.rate_hz)))
        elif seconds is not None:
            clip = replace(clip, frames=clip.frames[clip.frames["time_ns"] < seconds * 1e9])
    length = clip.duration_s if seconds is None else seconds
    return files.hold(clip, hold_s).frames, length + hold_s


def _write_params(path: Path, records: Any) -> None:
    import numpy as np

    from echelon_engine.errors import UserError

    try:
        x, c, y, z, energy = (np.ascontiguousarray(records[name]) for name in ("x", "c", "y", "z", "energy"))
        np.savez(path, x=x, c=c, y=y, z=z, energy=energy)
    except OSError as error:
        raise UserError(str(path), f"cannot be written ({error.strerror})", "choose another place") from None
