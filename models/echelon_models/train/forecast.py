"""DELL coupled learns to see what comes: z must tell the limbs 100 to 1000 ms ahead, the tempo and the phase.

    L = |now' - now|^2 / var(now)
      + mean over horizons of |change' - change|^2 / var(change) + |rest' - rest|^2 / var(rest)
    rest = change - pace speed,  speed = limbs(t) - limbs(t - 67 ms)

A change's variance is the error of "the pose stays", a rest's that of the damped extrapolation: each horizon counts by
what it gains on these. Half of the batches have a boundary every 24 frames, half at the beats of a random tempo. Tempo
and phase are read from z once it stands (`train_rhythm`), from dances whose beat is known:

    L = huber(octaves' - octaves) / 0.1 + |arrow' - (cos, sin) 2 pi phase|^2 / 2

Source: spec/equilibrium.md, "DELL coupled".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from echelon_models.train.coupled import Coupled, at_beats, regular
from echelon_models.train.fit import History, Settings, fit
from echelon_models.train.frames import Frames, Windows
from echelon_models.train.heads import BACK, HORIZONS, MIDDLE_BPM, Heads, Rhythm, before

WARMUP = 30  # frames after the start from zero that count in no figure
RHYTHM_FROM = 120  # tempo cannot be known sooner
LENGTH, BATCH = 120, 32
RHYTHM_LENGTH = 360
OFFSET = 0.15  # of each limb number's spread, added for a whole window: the few poses measured are not learnt by heart
DEFAULTS = Settings(epochs=15)
RHYTHM_DEFAULTS = Settings(epochs=6, rate=5e-3)


class Forecaster(nn.Module):
    """DELL coupled with its heads; `k_fast` None trains the equilibrium instead of the map that the engine runs."""

    def __init__(self, seed: int = 0, *, k_fast: int | None = 4) -> None:
        super().__init__()
        self.coupled, self.heads, self.k_fast = Coupled(seed), Heads(seed), k_fast

    def prepare(self, frames: Frames, seed: int = 0) -> float:
        """Take from the data what is not learned; return the share of variance that the components hold."""
        rng = np.random.default_rng([seed, 2])
        first, last = frames.draw(rng, 4096, BACK + 1 + HORIZONS[-1])
        limbs = frames.limbs[first + BACK]
        ahead = torch.stack([frames.limbs[np.minimum(first + BACK + h, last)] for h in HORIZONS], 1)
        self.coupled.centre(limbs.cpu().numpy())
        return self.heads.learn(limbs, limbs - frames.limbs[first], ahead - limbs.unsqueeze(1))


def future_of(frames: Frames, found: Windows) -> tuple[Tensor, Tensor]:
    """Return the limbs at each horizon (T, B, H, 216), and whether they were measured (T, B, H)."""
    ahead = torch.tensor(HORIZONS, device=frames.device)
    rows = found.rows.unsqueeze(-1) + ahead
    last = found.last.view(1, -1, 1)
    inside = (rows <= last) & found.inside.unsqueeze(-1)
    rows = torch.minimum(rows, last)
    return frames.limbs[rows], inside & frames.present[rows] & frames.present[found.rows].unsqueeze(-1)


def loss(
    model: Forecaster, frames: Frames, found: Windows, boundary: list[bool], shift: Tensor | float = 0.0
) -> dict[str, Tensor]:
    """Return the terms of the loss of one batch; `loss` is minimised; `shift` (B, 216) is added to the input."""
    heads = model.heads
    with torch.set_grad_enabled(torch.is_grad_enabled() and model.coupled.get_parameter("W_rec").requires_grad):
        z = model.coupled(found.limbs + shift, boundary, k_fast=model.k_fast).z
    made = heads.future(z)
    with torch.no_grad():
        ahead, inside = future_of(frames, found)
        limbs = found.limbs.unsqueeze(-2)
        now, change = heads.components(found.limbs), heads.changes(ahead - limbs)
        rest = change - heads.changes(heads.damped(found.limbs - before(found.limbs)))
        counts = inside.to(z.dtype)
        counts[:WARMUP] = 0
        known = counts.amax(-1)

    def error(told: Tensor, wanted: Tensor, spread: Tensor, weights: Tensor) -> Tensor:
        each = ((told - wanted) / spread).square().mean(-1)
        return (each * weights).sum() / weights.sum().clamp(min=1)

    several = heads.spread[1:].view(2, -1, 1)
    terms = {
        "pose": error(made.now, now, heads.spread[0], known),
        "future": error(made.change, change, several[0], counts),
        "rest": error(made.rest, rest, several[1], counts),
    }
    return {"loss": terms["pose"] + terms["future"] + terms["rest"], **terms}


def rhythm_loss(made: Rhythm, found: Windows) -> Tensor:
    """Return the loss of tempo and phase over what is known of them after RHYTHM_FROM frames."""
    heard = (found.tempo_bpm[RHYTHM_FROM:] > 0) & found.inside[RHYTHM_FROM:]
    octaves = torch.log2(found.tempo_bpm[RHYTHM_FROM:].clamp(min=1.0) / MIDDLE_BPM)
    angle = 2 * torch.pi * found.phase[RHYTHM_FROM:]
    arrow = torch.stack([angle.cos(), angle.sin()], -1)
    tempo = nn.functional.huber_loss(made.octaves[RHYTHM_FROM:], octaves, reduction="none", delta=0.2)
    phase = (made.arrow[RHYTHM_FROM:] - arrow).square().sum(-1) / 2
    total: Tensor = ((tempo / 0.1 + phase) * heard).sum() / heard.sum().clamp(min=1)
    return total


def train(
    model: Forecaster,
    training: Frames,
    testing: Frames,
    settings: Settings = DEFAULTS,
    *,
    frozen: Mapping[str, NDArray[np.float32]] | None = None,
    length: int = LENGTH,
    batch: int = BATCH,
    path: str | Path | None = None,
    until: int | None = None,
    about: Mapping[str, Any] | None = None,
    say: Callable[[str], None] | None = None,
) -> History:
    """Train in place and return how it went; `path` is the checkpoint, from which it goes on where there is one.

    `frozen`: weights of the format that stay as they are; only the heads learn to read them.
    """
    model.prepare(training, settings.seed)
    if frozen is not None:
        model.coupled.load(frozen)
        model.coupled.requires_grad_(False)
    model.to(training.device)
    first, last, _ = testing.tiles(length)
    keep = np.unique(np.linspace(0, len(first) - 1, min(128, len(first))).round().astype(int))
    tested = testing.gather(first[keep], last[keep], length)
    beats = at_beats(length, np.random.default_rng(7))
    spread = training.limbs.std(0, correction=0)

    def step(rng: np.random.Generator) -> Tensor:
        boundary = at_beats(length, rng) if rng.random() < 0.5 else regular(length)
        found = training.gather(*training.draw(rng, batch, length + HORIZONS[-1]), length)
        shift = torch.from_numpy(rng.normal(scale=OFFSET, size=(batch, 216)).astype(np.float32)).to(spread)
        return loss(model, training, found, boundary, shift * spread)["loss"]

    def validate() -> dict[str, float]:
        with torch.no_grad():
            each = [loss(model, testing, tested, boundary) for boundary in (regular(length), beats)]
        return {name: float(sum(terms[name] for terms in each)) / len(each) for name in each[0]}

    identity = {
        "data": [training.digest, testing.digest], "windows": [batch, length], "k_fast": model.k_fast,
        "frozen": frozen is not None, **(about or {}),
    }  # fmt: skip
    return fit(model, step, validate, settings, path=path, about=identity, until=until, say=say)


def train_rhythm(
    model: Forecaster,
    training: Frames,
    testing: Frames,
    settings: Settings = RHYTHM_DEFAULTS,
    *,
    batch: int = BATCH,
    say: Callable[[str], None] | None = None,
) -> History | None:
    """Teach the rhythm head to read the z that stands, from the dances in the data; None where there are none."""
    if not (training.tempo_bpm > 0).any() or not (testing.tempo_bpm > 0).any():
        return None
    parts = [each.only(each.tempo_bpm > 0) for each in (training, testing)]
    latents = [_latents(model, each) for each in parts]
    head = nn.ModuleList([model.heads.memory, model.heads.rhythm_out])
    first, last, _ = parts[1].tiles(RHYTHM_LENGTH)
    keep = np.unique(np.linspace(0, len(first) - 1, min(96, len(first))).round().astype(int))

    def of(number: int, begin: NDArray[np.int64], end: NDArray[np.int64]) -> Tensor:
        found = parts[number].gather(begin, end, RHYTHM_LENGTH)
        return rhythm_loss(model.heads.rhythm(latents[number][found.rows]), found)

    def step(rng: np.random.Generator) -> Tensor:
        return of(0, *parts[0].draw(rng, batch, RHYTHM_LENGTH))

    def validate() -> dict[str, float]:
        with torch.no_grad():
            return {"loss": float(of(1, first[keep], last[keep]))}

    return fit(head, step, validate, settings, say=say)


def _latents(model: Forecaster, frames: Frames) -> Tensor:
    """Return z (rows, 32) of whole recordings, each from the zero state."""
    made = frames.limbs.new_zeros(len(frames.limbs), 32)
    begin, end = frames.ends - frames.count, frames.ends - 1
    order = np.argsort(frames.count, kind="stable")
    with torch.no_grad():
        for k in range(0, len(order), 32):  # of like length together
            chosen = order[k : k + 32]
            length = int(frames.count[chosen].max())
            found = frames.gather(begin[chosen], end[chosen], length)
            z = model.coupled(found.limbs, regular(length), k_fast=model.k_fast).z
            made[found.rows[found.inside]] = z[found.inside]
    return made
