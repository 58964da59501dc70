"""Limbs and rhythm of all recordings as one table on the training device, and the windows drawn from it.

A draw is a pure function of the generator it is given: a training resumed at any batch draws what it would have drawn.
Needs NumPy and torch alone.
"""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from echelon_models.train.checkpoint import TrainingError
from echelon_models.train.dataset import LIMB_NUMBERS, Recording

DANCE = re.compile(r"dancer-\d+-(?P<bpm>[\d.]+)bpm")
DELAY_FRAMES = 2.4  # control frames that limbs are behind the dance: the de-jitter delay of 40 ms


class Beat(NamedTuple):
    """The rhythm that a recording was danced to: float32 (n,) each, 0 where nobody knows it."""

    tempo_bpm: NDArray[np.float32]
    phase: NDArray[np.float32]


def known_beat(recording: Recording) -> Beat:
    """Return the beat of a built-in dancer's recording, whose name tells its tempo; frame 0 is on the beat.

    Of real and augmented motion nobody knows a beat: zeros. What the engine heard is in the recording itself.
    """
    zeros = np.zeros(recording.frames, np.float32)
    found = DANCE.fullmatch(recording.source) if recording.kind == "dancer" else None
    if found is None:
        return Beat(zeros, zeros)
    bpm = float(found["bpm"])
    turns = (np.arange(recording.frames) - DELAY_FRAMES) * bpm / 3600.0
    return Beat(zeros + np.float32(bpm), np.mod(turns, 1.0).astype(np.float32))


class Windows(NamedTuple):
    """Windows, time-major: limbs (T, B, 216), tempo_bpm and phase (T, B), `inside` (T, B) bool: no repeated frame.

    Tempo and phase are those of `known_beat`.

    `rows` int64 (T, B) says where each frame lies in the table, `last` (B,) where its recording ends.
    """

    limbs: Tensor
    tempo_bpm: Tensor
    phase: Tensor
    inside: Tensor
    rows: Tensor
    last: Tensor


class Frames:
    """The frames of recordings, one after the other; every one of them about equally likely to be drawn."""

    def __init__(self, recordings: Sequence[Recording], device: str | torch.device = "cpu") -> None:
        """Raise TrainingError where recordings are missing or were written without limbs."""
        if not recordings:
            raise TrainingError("no recordings", "there is nothing to learn from", "widen the split")
        for each in recordings:
            if each.limbs.shape[1] != LIMB_NUMBERS:
                raise TrainingError(
                    f"recording {each.name!r} has no limbs",
                    "this model learns from the 216 limb numbers",
                    "make the data set without --no-limbs",
                )
        self.count = np.array([each.frames for each in recordings], np.int64)
        self.ends = np.cumsum(self.count)
        self.sources = [each.source for each in recordings]
        digest = hashlib.sha256()

        def table(name: str) -> Tensor:
            rows = np.concatenate([np.asarray(getattr(each, name), np.float32) for each in recordings])
            digest.update(rows.tobytes())
            return torch.from_numpy(rows).to(device)

        self.limbs, heard_bpm, heard_phase, present = map(table, ("limbs", "tempo_bpm", "phase", "present"))
        self.present = present > 0
        # What the engine's own commitment heard, beside what was danced.
        self.heard: tuple[Tensor, ...] = (heard_bpm, heard_phase)
        beats = [known_beat(each) for each in recordings]
        self.tempo_bpm, self.phase = (
            torch.from_numpy(np.concatenate([beat[k] for beat in beats])).to(device) for k in range(2)
        )
        self.digest = digest.hexdigest()  # the same frames, the same digest

    @property
    def device(self) -> torch.device:
        """Return where the frames are."""
        return self.limbs.device

    def only(self, chosen: Tensor) -> Frames:
        """Return the recordings whose first frame is among the `chosen` rows (rows,) bool."""
        kept = chosen.cpu().numpy()[self.ends - self.count]
        rows = torch.from_numpy(np.repeat(kept, self.count)).to(self.device)
        made = copy.copy(self)
        made.limbs, made.tempo_bpm, made.phase = self.limbs[rows], self.tempo_bpm[rows], self.phase[rows]
        made.present, made.heard = self.present[rows], tuple(each[rows] for each in self.heard)
        made.count = self.count[kept]
        made.ends = np.cumsum(made.count)
        made.sources = [name for name, keep in zip(self.sources, kept, strict=True) if keep]
        return made

    def draw(self, rng: np.random.Generator, count: int, length: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return first and last row of `count` random windows of `length` frames, int64 (count,) each.

        The last row is that of the recording: a window longer than what is left repeats it.
        """
        which = rng.choice(len(self.count), size=count, p=self.count / self.count.sum())
        room = np.maximum(self.count[which] - length, 0)
        start = np.minimum((rng.random(count) * (room + 1)).astype(np.int64), room)
        return self.ends[which] - self.count[which] + start, self.ends[which] - 1

    def tiles(self, length: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Return windows side by side over all recordings: first row, last row and recording, int64 (windows,).

        What is left at the end of a recording is a window if it is half as long at least, or its only one.
        """
        found = [
            (end - count + start, end - 1, number)
            for number, (end, count) in enumerate(zip(self.ends, self.count, strict=True))
            for start in range(0, max(1, int(count) - length // 2), length)
        ]
        first, last, which = np.array(found, np.int64).T
        return first, last, which

    def gather(self, first: NDArray[np.int64], last: NDArray[np.int64], length: int) -> Windows:
        """Return the windows that begin at rows `first` and may read up to rows `last`, int64 (B,)."""
        begin, end = (torch.from_numpy(np.ascontiguousarray(rows)).to(self.device) for rows in (first, last))
        rows = begin + torch.arange(length, device=self.device).unsqueeze(1)
        inside = rows <= end
        rows = torch.minimum(rows, end)
        return Windows(self.limbs[rows], self.tempo_bpm[rows], self.phase[rows], inside, rows, end)
