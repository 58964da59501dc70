"""Motion with the sound that was recorded beside it, as `train data` and `train dell` take it."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from echelon_bridges.commands import _options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from echelon_models.train.dataset import Recording
    from echelon_models.train.features import Stage

FEWEST_RENDERS, RENDERS, MOST_RENDERS = 20, 300, 10_000


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--pairs",
        metavar="DIR",
        help="motion and sound of the same performances, dance.bvh beside dance.wav, begun at the same moment: the "
        "parameters whose instrument sounds so become what is learnt",
    )
    parser.add_argument(
        "--renders",
        type=_options.whole(FEWEST_RENDERS, MOST_RENDERS),
        default=RENDERS,
        metavar="N",
        help=f"trials for each second of that sound: more sound nearer and take longer (default: {RENDERS})",
    )


def recordings(arguments: Namespace, stage: Stage, task: str) -> Iterator[Recording]:
    """Yield every pair of `--pairs` as it is made, telling the progress on standard error. Raises `UserError`."""
    from echelon_bridges import recordings as made
    from echelon_bridges.commands.train import torch_or_explain
    from echelon_engine.errors import UserError

    if arguments.pairs is None:
        return
    torch_or_explain(task)
    found, notices = made.pairs(arguments.pairs)
    refused: UserError | None = None
    useful = 0
    for number, (motion, sound) in enumerate(found, 1):
        name = f"train {task}: sound {number} of {len(found)}: {sound.name}"
        try:
            recording = made.pair(motion, sound, stage, renders=arguments.renders, tell=_Progress(name))
        except UserError as error:  # others may have what this one lacks
            notices.append(f"{error.value}: {error.rule}; it is left out")
            refused = error
            continue
        useful += 1
        yield recording
    for text in notices:
        print(f"notice: {text}", file=sys.stderr)
    if refused is not None and not useful:
        raise UserError(str(arguments.pairs), f"of {len(found)} pairs none can be learnt from", refused.remedy)


class _Progress:
    """Says every few seconds how far a sound is, how near it came and how long it will take."""

    def __init__(self, name: str) -> None:
        self._name, self._began, self._said = name, time.monotonic(), 0.0

    def __call__(self, done: int, rows: int, distance_db: float) -> None:
        now = time.monotonic()
        if now - self._said > 5.0:
            self._said = now
            text = f"{done / 60:.1f} of {rows / 60:.1f} s, {distance_db:.1f} dB off, {now - self._began:.0f} s so far"
            print(f"{self._name}: {text}", file=sys.stderr, flush=True)
