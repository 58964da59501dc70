"""How well DELL coupled forecasts: errors of every window, beside what can be said without it.

`net` is the pose now, which everybody sees, its damped speed and what z adds; `blind` is told by z alone. Beside them:
`stays` the pose does not change; `linear` its speed over 67 ms goes on; `damped` the share of it that is best on the
training data; `ridge` a linear map from the pose and its changes over 67 and 250 ms, its penalty chosen on validation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from echelon_models.train.coupled import at_beats, regular
from echelon_models.train.forecast import RHYTHM_FROM, WARMUP, Forecaster, future_of
from echelon_models.train.frames import Frames, Windows
from echelon_models.train.heads import BACK, HORIZONS, Heads, before, by_kind

WAYS = ("net", "blind", "stays", "linear", "damped", "ridge")
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
LONG_BACK = 15  # frames, the ridge's second look back


def ridge_inputs(heads: Heads, limbs: Tensor) -> Tensor:
    """Return what the ridge sees of limbs (T, B, 216): components of the pose and of two changes, and 1."""
    return _seen(heads, limbs, before(limbs), before(limbs, LONG_BACK))


def _seen(heads: Heads, now: Tensor, short: Tensor, long: Tensor) -> Tensor:
    """Return the ridge's inputs (.., 3 C + 1) of the pose now and of two earlier ones (.., 216)."""
    parts = [heads.components(now), heads.changes(now - short), heads.changes(now - long)]
    return torch.cat([*parts, torch.ones_like(now[..., :1])], -1)


def fit_ridge(heads: Heads, training: Frames, testing: Frames, seed: int = 0) -> Tensor:
    """Return the ridge's coefficients (inputs, H C), solved on 32768 training frames, the penalty by validation."""
    rng, length, count = np.random.default_rng([seed, 4]), LONG_BACK + 1, 32768
    tables = []
    for frames in (training, testing):
        first, last = frames.draw(rng, count, length + HORIZONS[-1])
        found = frames.gather(first, last, length)
        ahead, inside = future_of(frames, found._replace(rows=found.rows[-1:], inside=found.inside[-1:]))
        now = found.limbs[-1]
        inputs = _seen(heads, now, found.limbs[-1 - BACK], found.limbs[-1 - LONG_BACK])
        wanted = heads.changes(ahead[0] - now.unsqueeze(-2)).flatten(1)
        kept = inside[0].all(-1)
        tables.append((inputs[kept].double(), wanted[kept].double()))
    (x, y), (tested, wanted) = tables
    gram, right = x.T @ x / len(x), x.T @ y / len(x)
    best, coefficients = float("inf"), right
    for penalty in PENALTIES:
        made = torch.linalg.solve(gram + penalty * torch.diag(gram.diag().clamp(min=1e-9)), right)
        error = float((tested @ made - wanted).square().mean())
        if error < best:
            best, coefficients = error, made
    return coefficients.float()


def judge(
    model: Forecaster, frames: Frames, ridge: Tensor, *, length: int = 600, beats: bool = False
) -> dict[str, NDArray[Any]]:
    """Return errors of every window of `length` frames: what the figures and their intervals are made of.

    Each of WAYS is an array (windows, horizons, 3): mean squared errors of rotations, positions (m^2) and angular
    speeds. `frames` (windows, horizons) says over how many frames. `tempo`, `octave` (windows,) are the median relative
    tempo error against the known beat, as it is and to the nearest of half, same and double; `phase` the mean distance
    in beats (0..0.5; 0.25 is chance); `heard_..` the same of the engine's own commitment, its phase counted from where
    it is right on average; NaN where no beat is known. `source` (windows,) the recording. Runs the engine's map from
    the zero state.
    """
    first, last, which = frames.tiles(length)
    boundary = at_beats(length, np.random.default_rng(7)) if beats else regular(length)
    parts: dict[str, list[NDArray[Any]]] = {}
    with torch.no_grad():
        for k in range(0, len(first), 32):
            found = frames.gather(first[k : k + 32], last[k : k + 32], length)
            z = model.coupled(found.limbs, boundary, k_fast=model.k_fast).z
            made = {**_errors(model.heads, frames, found, z, ridge), **_rhythm(model.heads, frames, found, z)}
            for name, values in made.items():
                parts.setdefault(name, []).append(values.cpu().numpy())
    made_all = {name: np.concatenate(values) for name, values in parts.items()}
    return {**made_all, "source": np.array([frames.sources[i] for i in which])}


def _errors(heads: Heads, frames: Frames, found: Windows, z: Tensor, ridge: Tensor) -> dict[str, Tensor]:
    ahead, inside = future_of(frames, found)
    now, speed = found.limbs.unsqueeze(-2), found.limbs - before(found.limbs)
    steps = torch.tensor(HORIZONS, dtype=z.dtype, device=z.device).unsqueeze(-1) / BACK
    made = heads.future(z)
    damped = now + heads.damped(speed)
    told = (ridge_inputs(heads, found.limbs) @ ridge).view(*now.shape[:2], len(HORIZONS), -1)
    guesses = {
        "net": damped + heads.limbs(made.rest),
        "blind": heads.mean + heads.limbs(made.now.unsqueeze(-2) + made.change),
        "stays": now,
        "linear": now + steps * speed.unsqueeze(-2),
        "damped": damped,
        "ridge": now + heads.limbs(told),
    }
    counts = inside.to(z.dtype)
    counts[:WARMUP] = 0
    total = counts.sum(0)
    result = {
        name: (by_kind((guess - ahead).square()) * counts.unsqueeze(-1)).sum(0) / total.clamp(min=1).unsqueeze(-1)
        for name, guess in guesses.items()
    }
    result["frames"] = total
    return result


def _rhythm(heads: Heads, frames: Frames, found: Windows, z: Tensor) -> dict[str, Tensor]:
    told = heads.rhythm(z)
    known = (found.tempo_bpm > 0) & found.inside
    known[:RHYTHM_FROM] = False
    nan = torch.full_like(found.phase, float("nan"))
    result: dict[str, Tensor] = {}
    heard_bpm, heard_phase = (each[found.rows] for each in frames.heard)
    for name, bpm, phase in (("", told.tempo_bpm, told.phase), ("heard_", heard_bpm, heard_phase)):
        share = bpm.clamp(min=1.0) / found.tempo_bpm.clamp(min=1.0)
        result[f"{name}tempo"] = torch.where(known, (share - 1).abs(), nan).nanmedian(0).values
        nearest = torch.stack([(share * k - 1).abs() for k in (0.5, 1.0, 2.0)]).amin(0)
        result[f"{name}octave"] = torch.where(known, nearest, nan).nanmedian(0).values
        apart = 2 * torch.pi * (phase - found.phase)
        if name:  # its beat is the peak of the energy, wherever in the bar's beat the dancer is fastest
            mean = torch.where(known, torch.exp(1j * apart), torch.zeros_like(apart)).sum(0)
            apart = apart - mean.angle()
        distance = (torch.remainder(apart / (2 * torch.pi) + 0.5, 1.0) - 0.5).abs()
        result[f"{name}phase"] = torch.where(known, distance, nan).nanmean(0)
    return result
