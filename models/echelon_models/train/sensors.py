"""Limbs and both hands' synthetic phones of recordings: what LIM-RPS learns from, and everything it is compared with.

Of every recording the motion as it was, and, to learn from, the same with other joints (poses.py), a third of it each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from echelon_models.train.checkpoint import TrainingError
from echelon_models.train.dataset import TOGETHER, Recording
from echelon_models.train.devices import IDEAL, LEFT_HAND, REAL, RIGHT_HAND, Imperfection, device
from echelon_models.train.lim_rps import INPUTS
from echelon_models.train.poses import turned

VARIANTS = 3
Values = tuple[NDArray[np.float32], ...]


class Part(NamedTuple):
    """A stretch of a recording, the frames that show a body: `values` are body (n, 216), left and right (n, 12).

    `real`: of a person, as it was recorded.
    """

    source: str
    values: Values
    real: bool = False


def parts_of(
    recording: Recording, number: int, *, seed: int = 0, variants: int = 0, real: Imperfection = REAL
) -> list[Part]:
    """Return a recording and `variants` of it; which phones it gets follows from (seed, number) alone."""
    made = []
    there = np.flatnonzero(recording.present)
    for variant in range(variants + 1):
        chosen = np.array_split(there, variants)[variant - 1] if variant else there
        if not len(chosen):
            continue
        rng = np.random.default_rng([seed, number, variant])
        limbs = np.ascontiguousarray(recording.limbs[chosen])
        limbs = turned(limbs, rng) if variant else limbs
        phones = (device(limbs, LEFT_HAND, rng, real), device(limbs, RIGHT_HAND, rng, real))
        made.append(Part(recording.source, (limbs, *phones), recording.kind == "real" and not variant))
    return made


def ideal(recordings: Sequence[Recording]) -> list[Part]:
    """Return recordings with phones that err in nothing: what the limbs' own history says about them."""
    return [part for number, each in enumerate(recordings) for part in parts_of(each, number, real=IDEAL)]


class Sensors:
    """Limbs and both hands' synthetic phones, frame by frame, on the training device."""

    def __init__(
        self, recordings: Sequence[Recording], seed: int = 0, device_name: str | torch.device = "cpu", variants: int = 0
    ) -> None:
        if not recordings or any(each.limbs.shape[1] != INPUTS[0] for each in recordings):
            raise TrainingError(
                f"{len(recordings)} recordings",
                "this model learns from the 216 limb numbers of at least one",
                "make the data set without --no-limbs",
            )
        made = [part for k, each in enumerate(recordings) for part in parts_of(each, k, seed=seed, variants=variants)]
        self._take(made, device_name)

    @classmethod
    def of(cls, parts: Sequence[Part], device_name: str | torch.device = "cpu") -> Sensors:
        """Return the sensors of stretches that are there already."""
        made = cls.__new__(cls)
        made._take(parts, device_name)
        return made

    def _take(self, parts: Sequence[Part], device_name: str | torch.device) -> None:
        if not parts:
            raise TrainingError("no frame shows a body", "limbs are learned from", "name recordings with motion")
        self.values = [
            torch.from_numpy(np.concatenate([part.values[k] for part in parts])).to(device_name) for k in range(3)
        ]
        self.count = np.array([len(part.values[0]) for part in parts], np.int64)
        self.sources = [part.source for part in parts]
        self.real = np.array([part.real for part in parts])

    def batch(self, rng: np.random.Generator, count: int) -> list[Tensor]:
        """Return `count` random frames: body (B, 216), left and right (B, 12)."""
        return self.frames(rng.integers(0, len(self.values[0]), count))

    def frames(self, rows: NDArray[np.integer]) -> list[Tensor]:
        """Return the frames of some rows: body (B, 216), left and right (B, 12)."""
        chosen = torch.from_numpy(rows).to(self.values[0].device)
        return [each[chosen] for each in self.values]

    def folds(self, rows: NDArray[np.integer], count: int = 3) -> list[tuple[NDArray[np.bool_], NDArray[np.int64]]]:
        """Deal the sources into `count` groups; return which of `rows` hold none of a group, and the group's own rows.

        A group's own rows are the unaltered recordings of people in it, or, where too few are known, all that is its.
        Fewer sources make fewer groups; a single one is its own judge.
        """
        known = sorted({name for name, real in zip(self.sources, self.real, strict=True) if real})
        people = len(known) >= count
        known = known if people else sorted({name for source in self.sources for name in source.split(TOGETHER)})
        part_of = np.repeat(np.arange(len(self.count)), self.count)
        made = []
        for k in range(count):
            group = set(known[k::count])
            touched = np.array([bool(set(source.split(TOGETHER)) & group) for source in self.sources])
            own = touched & self.real if people else touched
            kept, judged = ~touched[part_of[rows]], np.flatnonzero(own[part_of])
            if kept.any() and len(judged):
                made.append((kept, judged))
        return made or [(np.ones(len(rows), bool), np.arange(len(part_of)))]

    def sequences(self) -> list[Tensor]:
        """Return all stretches side by side, (T, parts, ..) each of body, left and right, zeros behind shorter ones."""
        pieces = [torch.split(each, self.count.tolist()) for each in self.values]
        return [torch.nn.utils.rnn.pad_sequence(list(each)) for each in pieces]
