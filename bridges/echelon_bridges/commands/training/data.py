"""`train data`: a data set from whatever motion there is."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from typing import TYPE_CHECKING

from echelon_bridges.commands import _options
from echelon_bridges.commands.training import _pairs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from echelon_models.train.dataset import Recording

MOST_MINUTES, MOST_VARIANTS = 6000.0, 10_000
FRAME_BYTES = (80, 1064)  # of a control frame, without and with limbs


def _minutes(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= MOST_MINUTES:
        raise ArgumentTypeError(f"{text!r} must be a number of minutes from 0 to {MOST_MINUTES:g}")
    return value


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options."""
    count = _options.whole(0, MOST_VARIANTS)
    parser.add_argument("target", metavar="OUT.npz", help="gets the data set")
    parser.add_argument(
        "places",
        nargs="*",
        metavar="FOLDER",
        help="folders of motion files (BVH, DeepMimic clips, captures), or such files",
    )
    parser.add_argument("--dancer", type=_minutes, default=0.0, metavar="MINUTES", help="of the built-in dancer")
    parser.add_argument(
        "--augment",
        type=count,
        default=0,
        metavar="N",
        help="N variants of each real recording, 20 s each, and as many mixtures of several",
    )
    parser.add_argument(
        "--sessions", metavar="DIR", help="sessions in which a person moved lanes while dancing: their own mapping"
    )
    _pairs.add_arguments(parser)
    parser.add_argument("--seed", type=count, default=1, help="another one makes another data set (default: 1)")
    parser.add_argument(
        "--no-limbs",
        action="store_true",
        help="the compact form: without the 216 limb numbers, which DELL gated does not need",
    )


def run(arguments: Namespace) -> int:
    """Make the data set and say what is in it."""
    import time

    from echelon_engine.errors import UsageError

    target = _options.check_output(arguments.target, ".npz")
    if arguments.sessions is not None and not arguments.sessions:
        raise UsageError("--sessions", "names no folder", "name the folder that `run --log DIR` was given")
    if not (arguments.places or arguments.dancer or arguments.sessions or arguments.pairs):
        raise UsageError(
            "train data",
            "there is nothing to learn from",
            "name folders, --dancer MINUTES, --sessions DIR or --pairs DIR",
        )
    if arguments.augment and not arguments.places:
        raise UsageError("--augment", "varies real recordings", "name folders with motion")
    from echelon_models.train import dataset

    began = time.perf_counter()
    recordings: list[Recording] = []
    frames = 0
    for each in _recordings(arguments):
        if arguments.no_limbs:
            each = each._replace(limbs=each.limbs[:, :0])
        recordings.append(each)
        frames += each.frames
        _check_room(target, frames, with_limbs=not arguments.no_limbs)
    size = dataset.write(target, recordings, limbs=not arguments.no_limbs)
    minutes = {kind: sum(each.frames for each in recordings if each.kind == kind) / 3600 for kind in dataset.KINDS}
    parts = ", ".join(f"{kind} {value:.1f}" for kind, value in minutes.items() if value)
    print(
        f"{target}: {len(recordings)} recordings, {sum(minutes.values()):.1f} minutes ({parts}), "
        f"{len(dataset.sources(recordings))} sources, {size / 1e6:.1f} MB, in {time.perf_counter() - began:.0f} s"
    )
    return 0


def _recordings(arguments: Namespace) -> Iterator[Recording]:
    """Yield every recording as it is made, telling the progress on standard error."""
    from echelon_bridges import recordings as made
    from echelon_engine import units
    from echelon_engine.errors import UserError
    from echelon_models.train.features import Stage

    takes, notices = made.gather(arguments.places)
    for text in notices:
        print(f"notice: {text}", file=sys.stderr)
    sessions = made.sessions(arguments.sessions) if arguments.sessions else []
    units.compile_cold(
        on_progress=lambda name, number, count: print(
            f"compiling {name} ({number} of {count})", file=sys.stderr, flush=True
        )
    )
    stage = Stage()
    plan = made.plan(takes, arguments.dancer, arguments.augment, arguments.seed)
    total = len(plan) + len(sessions)
    for number, job in enumerate(plan, 1):
        each = made.record(job(), stage)
        _tell(number, total, each.name, each.frames)
        yield each
    refused: UserError | None = None
    useful = 0
    for number, path in enumerate(sessions, len(plan) + 1):
        try:
            found = made.session(path, stage)
        except UserError as error:  # others may have what this one lacks
            print(f"notice: {error.value}: {error.rule}; it is left out", file=sys.stderr)
            refused = error
            continue
        useful += 1
        for each in found:
            _tell(number, total, each.name, each.frames)
            yield each
    if refused is not None and not useful:
        raise UserError(str(arguments.sessions), f"of {len(sessions)} sessions none can be learnt from", refused.remedy)
    yield from _pairs.recordings(arguments, stage, "data")


def _tell(number: int, total: int, name: str, frames: int) -> None:
    """Show the progress: a line that rewrites itself on a terminal, about twenty lines elsewhere."""
    text = f"train data: {number} of {total}: {name}, {frames / 60:.1f} s"
    if sys.stderr.isatty():
        print(f"\r{text[:100]:<100}", end="\n" if number == total else "", file=sys.stderr, flush=True)
    elif number == total or number * 20 // total != (number - 1) * 20 // total:
        print(text, file=sys.stderr, flush=True)


def _check_room(target: Path, frames: int, *, with_limbs: bool) -> None:
    """Stop early where the disk cannot hold what has been made."""
    import shutil

    from echelon_engine.errors import UserError

    needed = frames * FRAME_BYTES[with_limbs]
    free = shutil.disk_usage(target.parent).free
    if needed > free:
        raise UserError(
            str(target),
            f"{needed >> 20} MiB are needed so far and {free >> 20} MiB are free",
            "free space, or ask for less",
        )
