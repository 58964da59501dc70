"""What training minimises, for each model of a stack apart.

    L = mean (p - p*)^2 + 0.1 mean |p_t+1 - p_t|^2 - 0.05 mean min((h_fast - h_slow)^2, 1),   p = sigmoid(y)

Means go over batch, frames and dimensions. The divergence keeps both equilibria apart; unbounded it drags the states
away within 20 batches, so it stops counting at a distance of 1. A last term, zero while the states stay within +-SAFE,
keeps them off the clip. Source: spec/seeds/1, "Loss Function Breakdown".
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from echelon_models.train.gated import Run

SMOOTH, DIVERGE, STATE = 0.1, 0.05, 0.03
SAFE = 3.0  # where a state begins to cost; the clip is at 10


class Losses(NamedTuple):
    """Loss terms, each (S,): `total` is what is minimised, `mse` alone chooses nothing."""

    total: Tensor
    mse: Tensor
    smooth: Tensor
    diverge: Tensor
    state: Tensor


def losses(run: Run, p: Tensor, mask: Tensor, weight: float | Tensor = DIVERGE) -> Losses:
    """Return every term from a run, target positions p (T, S, B, 32) in 0..1 and mask (T, S, B, 32), 1 where p counts.

    `weight` is the divergence term's. Frames on which no lane counts, as behind a short recording, count in no term.
    """
    made = torch.sigmoid(run.y)
    frames = mask.amax(-1)  # (T, S, B)
    # A stack without any target keeps a finite loss: 0.
    mse = ((made - p).square() * mask).sum((0, 2, 3)) / mask.sum((0, 2, 3)).clamp(min=1)
    both = frames[1:] * frames[:-1]
    steps = (made[1:] - made[:-1]).square().mean(-1)
    smooth = (steps * both).sum((0, 2)) / both.sum((0, 2)).clamp(min=1)
    zero = torch.zeros_like(mse)
    if run.fast is None or run.slow is None:
        return Losses(mse + SMOOTH * smooth, mse, smooth, zero, zero)
    count = frames.sum((0, 2)).clamp(min=1)
    apart = (run.fast - run.slow).square().clamp(max=1.0).mean(-1)
    diverge = (apart * frames).sum((0, 2)) / count
    state = (excess(run.fast) + excess(run.slow)).mean((0, 2))
    return Losses(mse + SMOOTH * smooth - weight * diverge + STATE * state, mse, smooth, diverge, state)


def excess(state: Tensor) -> Tensor:
    """Return the sum over a state's dimensions (.., 128) of the square by which each leaves +-SAFE."""
    return (state.abs() - SAFE).clamp(min=0).square().sum(-1)
