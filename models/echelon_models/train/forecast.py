"""DELL coupled learns to see what comes: z must tell the limbs 100 to 1000 ms ahead, the tempo and the phase.

    L = |now' - now|^2 / var(now) + mean over horizons |change' - change|^2 / var(change) + 0.2 rhythm
    rhythm = huber(octaves' - octaves) + |arrow' - (cos, sin) 2 pi phase|^2 / 2

A change's variance is the error of "the pose stays", so each horizon counts by what it gains on that. Half of the
batches have a boundary every 24 frames, half at the beats of a random tempo. Source: spec/equilibrium.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from echelon_models.train.coupled import Coupled, at_beats, regular
from echelon_models.train.fit import History, Settings, fit
from echelon_models.train.frames import Frames, Windows
from echelon_models.train.heads import HORIZONS, MIDDLE_BPM, Future, Heads, Rhythm

WARMUP = 30  # frames after the start from zero that count in no figure
RHYTHM_FROM = 120  # tempo cannot be known sooner
LENGTH, BATCH = 240, 32
OFFSET = 0.3  # of each limb number's spread, added for a whole window: the few poses measured are not learnt by heart
DEFAULTS = Settings()
EXTRAPOLATION = 4  # frames over which linear extrapolation takes its speed: the engine's own 67 ms


class Forecaster(nn.Module):
    """DELL coupled with its heads; `k_fast` None trains the equilibrium instead of the map that the engine runs."""

    def __init__(self, seed: int = 0, *, k_fast: int | None = 4) -> None:
        super().__init__()
        self.coupled, self.heads, self.k_fast = Coupled(seed), Heads(seed), k_fast

    def prepare(self, frames: Frames, seed: int = 0) -> float:
        """Take the data's mean, principal components and spreads; return the share of variance the components hold."""
        rng = np.random.default_rng([seed, 2])
        first, last = frames.draw(rng, 4096, 1 + HORIZONS[-1])
        limbs = frames.limbs.cpu().numpy()
        changes = [limbs[np.minimum(first + h, last)] - limbs[first] for h in HORIZONS]
        self.coupled.centre(limbs[first])
        return self.heads.learn_basis(limbs[first], changes)


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
    z = model.coupled(found.limbs + shift, boundary, k_fast=model.k_fast).z
    with torch.no_grad():
        ahead, inside = future_of(frames, found)
        now = heads.components(found.limbs)
        change = heads.components(ahead) - now.unsqueeze(-2)
    made = heads.future(z[WARMUP:])
    counts = inside[WARMUP:].to(z.dtype)
    known = counts.amax(-1)
    # errors in units of the spread: (T, B) and (T, B, H)
    pose = ((made.now - now[WARMUP:]) / heads.spread[0]).square().mean(-1)
    ahead_error = ((made.change - change[WARMUP:]) / heads.spread[1:].unsqueeze(-1)).square().mean(-1)
    terms = {
        "pose": (pose * known).sum() / known.sum().clamp(min=1),
        "future": (ahead_error * counts).sum() / counts.sum().clamp(min=1),
        "rhythm": _rhythm(heads.rhythm(z), found),
    }
    return {"loss": terms["pose"] + terms["future"] + 0.2 * terms["rhythm"], **terms}


def _rhythm(made: Rhythm, found: Windows) -> Tensor:
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
    length: int = LENGTH,
    batch: int = BATCH,
    path: str | Path | None = None,
    until: int | None = None,
    about: Mapping[str, Any] | None = None,
    say: Any = None,
) -> History:
    """Train in place and return how it went; `path` is the checkpoint, from which it goes on where there is one."""
    model.prepare(training, settings.seed)
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
        "data": [training.digest, testing.digest], "windows": [batch, length], "k_fast": model.k_fast, **(about or {}),
    }  # fmt: skip
    return fit(model, step, validate, settings, path=path, about=identity, until=until, say=say)


def judge(model: Forecaster, frames: Frames, *, length: int = 600, beats: bool = False) -> dict[str, NDArray[Any]]:
    """Return errors of every window of `length` frames: what the figures and their intervals are made of.

    Each forecast is an array (windows, horizons) of mean squared errors over the 216 limb numbers: `net` (the pose
    now, which everybody sees, plus the change read out of z), `blind` (pose and change both out of z), `stays` and
    `linear` (the baselines). `frames` (windows, horizons) says over how many frames. `tempo` (windows,) is the median
    relative tempo error, `phase` (windows,) the mean distance in beats (0..0.5; 0.25 is chance), NaN where no
    rhythm was heard; `source` (windows,) the recording. Runs the engine's map from the zero state.
    """
    first, last, which = frames.tiles(length)
    boundary = at_beats(length, np.random.default_rng(7)) if beats else regular(length)
    parts: dict[str, list[NDArray[Any]]] = {}
    with torch.no_grad():
        for k in range(0, len(first), 32):
            found = frames.gather(first[k : k + 32], last[k : k + 32], length)
            z = model.coupled(found.limbs, boundary, k_fast=model.k_fast).z
            for name, values in _errors(model.heads, frames, found, z).items():
                parts.setdefault(name, []).append(values)
    made = {name: np.concatenate(values) for name, values in parts.items()}
    return {**made, "source": np.array([frames.sources[i] for i in which])}


def _errors(heads: Heads, frames: Frames, found: Windows, z: Tensor) -> dict[str, NDArray[Any]]:
    ahead, inside = future_of(frames, found)
    now = found.limbs.unsqueeze(-2)
    back = torch.cat([found.limbs[:1].expand(EXTRAPOLATION, -1, -1), found.limbs[:-EXTRAPOLATION]])
    steps = torch.tensor(HORIZONS, dtype=z.dtype, device=z.device).unsqueeze(-1) / EXTRAPOLATION
    made: Future = heads.future(z)
    guesses = {
        "net": now + made.change @ heads.basis,
        "blind": heads.mean + (made.now.unsqueeze(-2) + made.change) @ heads.basis,
        "stays": now,
        "linear": now + steps * (found.limbs - back).unsqueeze(-2),
    }
    counts = inside.to(z.dtype)
    counts[:WARMUP] = 0
    total = counts.sum(0)
    result = {
        name: ((guess - ahead).square().mean(-1) * counts).sum(0) / total.clamp(min=1)
        for name, guess in guesses.items()
    }
    result["frames"] = total
    rhythm = heads.rhythm(z)
    heard = (found.tempo_bpm > 0) & found.inside
    heard[:RHYTHM_FROM] = False
    nan = torch.full_like(found.phase, float("nan"))
    tempo = (rhythm.tempo_bpm / found.tempo_bpm.clamp(min=1.0) - 1).abs()
    apart = torch.remainder(rhythm.phase - found.phase + 0.5, 1.0) - 0.5
    result["tempo"] = torch.where(heard, tempo, nan).nanmedian(0).values
    result["phase"] = torch.where(heard, apart.abs(), nan).nanmean(0)
    return {name: values.cpu().numpy() for name, values in result.items()}
