"""Recordings as one table of frames on the training device, and the windows each model of a stack draws from it.

A window is a pure function of (seed, batch number): a training resumed at any batch draws what it would have drawn.
Batches are time-major: (T, S, B, ..). Needs NumPy and torch alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from echelon_models.train.dataset import Recording

WARMUP_FRAMES = 24
STORM_FRAMES = 20_000


class Batch(NamedTuple):
    """Windows for a stack: x (T, S, B, 6), c and pull (T, S, B), targets p and mask (T, S, B, 32), all float32."""

    x: Tensor
    c: Tensor
    pull: Tensor
    p: Tensor
    mask: Tensor


class Places(NamedTuple):
    """Where windows lie in the table: first and last row each may read, int64 (S, B)."""

    first: NDArray[np.int64]
    last: NDArray[np.int64]


class Pool:
    """The frames of all recordings on a device; `members[s]` lists the recordings model s may see."""

    def __init__(
        self,
        recordings: Sequence[Recording],
        members: Sequence[Sequence[int]],
        *,
        length: int = 300,
        device: str | torch.device = "cpu",
        burn_in: int | Sequence[int] = 0,
        starts: float | Sequence[float] = 0.0,
    ) -> None:
        """Raise ValueError where a model is left without a target to learn from.

        `burn_in`: first frames of a window whose targets do not count, unless it begins where its recording does: the
        targets hang on what came before, which the window does not show. `starts`: share of the windows drawn that
        begin where a recording does, any as likely as another. Both for all models, or one for each.
        """
        self.length, self.members = length, [list(each) for each in members]
        self._starts = np.broadcast_to(np.asarray(starts, np.float64), (len(members),)).reshape(-1, 1)
        self._frames = np.array([len(each.c) for each in recordings], np.int64)
        self._ends = np.cumsum(self._frames)
        for s, each in enumerate(self.members):
            if not any(recordings[i].p_mask.any() for i in each):
                raise ValueError(
                    f"model {s}: none of its {len(each)} recordings has a target that counts; "
                    "name recordings made with the teacher or with a performer's moves"
                )

        digest = hashlib.sha256()

        storm = _storm(STORM_FRAMES)

        def table(name: str) -> Tensor:
            rows = np.concatenate([np.asarray(getattr(each, name), np.float32) for each in recordings])
            digest.update(rows.tobytes())
            rows = np.concatenate([rows, storm[name]])
            return torch.from_numpy(rows).to(device)

        self.x, self.c, self.p, self.mask, self.bias = map(table, ("x", "c", "p", "p_mask", "bias"))
        self.digest = digest.hexdigest()  # the same frames, the same digest
        # A window begins with states at 0, as the engine does while it warms up: the gate leans to the fast net.
        ramp = torch.clamp(1 - torch.arange(length, dtype=torch.float32) / WARMUP_FRAMES, min=0)
        self._ramp = ramp.to(device).view(-1, 1, 1)
        self._ticks = torch.arange(length, device=device).view(-1, 1, 1)
        burnt = np.broadcast_to(np.asarray(burn_in, np.int64), (len(members),))
        self._burn_in = torch.from_numpy(burnt.copy()).to(device).view(1, -1, 1) if burnt.any() else None
        begins = np.zeros(len(self.c), np.bool_)
        begins[self._ends - self._frames] = True
        self._begins = torch.from_numpy(begins).to(device)
        # Each recording is drawn as often as it is long, so that every frame is about as likely as any other.
        share = [np.cumsum(self._frames[each]) / self._frames[each].sum() for each in self.members]
        self._which = np.concatenate([np.array(each, np.int64) for each in self.members])
        self._cumulated = np.concatenate([values + s for s, values in enumerate(share)])

    @property
    def device(self) -> torch.device:
        """Return where the frames are."""
        return self.x.device

    def draw(self, seeds: Sequence[int], step: int, count: int, storm: int = 0) -> Places:
        """Return `count` random windows for each model, and `storm` more without targets, of inputs at their ends.

        Model s draws by (seeds[s], step) alone.
        """
        drawn = np.stack(
            [np.random.Generator(np.random.Philox(key=[seed + 1, step])).random(2 * count + storm) for seed in seeds]
        )
        chance = drawn[:, : 2 * count].reshape(len(seeds), 2, count)
        offsets = np.arange(len(seeds))[:, None]
        # Rounding must not lead into the next model's share.
        found = np.searchsorted(self._cumulated, np.minimum(chance[:, 0] + offsets, offsets + (1 - 1e-12)), "right")
        counts = np.array([len(each) for each in self.members])[:, None]
        at_start = chance[:, 1] < self._starts
        any_one = np.cumsum(counts, 0) - counts + (chance[:, 0] * counts).astype(np.int64)
        which = self._which[np.where(at_start, any_one, found)]
        room = np.maximum(self._frames[which] - self.length, 0)
        along = (chance[:, 1] - self._starts) / np.maximum(1 - self._starts, 1e-12)
        start = np.where(at_start, 0, np.clip((along * (room + 1)).astype(np.int64), 0, room))
        begin = self._ends[which] - self._frames[which]
        first, last = begin + start, self._ends[which] - 1
        inside = (drawn[:, 2 * count :] * (STORM_FRAMES - self.length)).astype(np.int64)
        end = self._ends[-1] + STORM_FRAMES - 1
        return Places(
            np.concatenate([first, self._ends[-1] + inside], 1), np.concatenate([last, np.full_like(inside, end)], 1)
        )

    def tiles(self, most: int) -> list[Places]:
        """Return windows side by side over each model's recordings, `most` at most, evenly spread, 32 a batch.

        A model with fewer has empty windows (last < first), which count nowhere.
        """
        rows = []
        for each in self.members:
            tiles = [
                (self._ends[i] - self._frames[i] + start, self._ends[i] - 1)
                for i in each
                for start in range(0, max(1, int(self._frames[i]) - self.length // 2), self.length)
            ]
            keep = np.unique(np.linspace(0, len(tiles) - 1, min(most, len(tiles))).round().astype(int))
            rows.append([tiles[k] for k in keep])
        width = max(map(len, rows))
        first, last = np.zeros((len(rows), width), np.int64), np.full((len(rows), width), -1, np.int64)
        for s, found in enumerate(rows):
            first[s, : len(found)], last[s, : len(found)] = np.array(found).T
        return [Places(first[:, k : k + 32], last[:, k : k + 32]) for k in range(0, width, 32)]

    def gather(self, first: Tensor, last: Tensor) -> Batch:
        """Return the windows at `first` .. `last`, int64 (S, B) on the device; behind the end the last row is held."""
        rows = first + self._ticks
        counts = (rows <= last).unsqueeze(-1)
        if self._burn_in is not None:
            counts = counts & ((self._ticks >= self._burn_in) | self._begins[first]).unsqueeze(-1)
        rows = torch.minimum(rows, last.clamp(min=0))
        pull = torch.maximum(self.bias[rows], self._ramp)
        return Batch(self.x[rows], self.c[rows], pull, self.p[rows], self.mask[rows] * counts)

    def put(self, places: Places) -> tuple[Tensor, Tensor]:
        """Return places as tensors on the device."""
        return torch.from_numpy(places.first).to(self.device), torch.from_numpy(places.last).to(self.device)

    def rest(self) -> Tensor:
        """Return y (S, 32) whose sigmoid is the mean target of each model's recordings, within 0.01..0.99."""
        found = []
        for each in self.members:
            rows = np.concatenate([np.arange(self._ends[i] - self._frames[i], self._ends[i]) for i in each])
            index = torch.from_numpy(rows).to(self.device)
            p, mask = self.p[index].double(), self.mask[index].double()
            mean = (p * mask).sum(0) / mask.sum(0).clamp(min=1)
            found.append(torch.logit(torch.where(mask.sum(0) > 0, mean, 0.5).clamp(0.01, 0.99)))
        return torch.stack(found).float()


def _storm(frames: int) -> dict[str, NDArray[np.float32]]:
    """Return inputs that no body makes: each number at one end of its range, jumping after 1 to 100 frames."""
    rng = np.random.default_rng(0)
    pace = 10 ** -np.repeat(rng.uniform(0, 2, (frames // 300 + 1, 8)), 300, axis=0)[:frames]
    high = np.cumsum(rng.random((frames, 8)) < pace, axis=0) % 2 == 1
    f = np.float32
    return {
        "x": np.where(high[:, :6], 1, -1).astype(f), "c": high[:, 6].astype(f), "bias": high[:, 7].astype(f),
        "p": np.zeros((frames, 32), f), "p_mask": np.zeros((frames, 32), f),
    }  # fmt: skip
