"""How far a DELL gated's states go under the worst input that a search finds: |x| <= 1, c and the gate's pull in 0..1.

The gated net contracts by no construction; the engine clips its states to +-10. What is found here is a lower bound of
the worst, so it is sought in several ways: random corners held for random times, and from there corners chosen by
the gradient of the largest state (each step moves to the corner that the linearised net likes best).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from echelon_models.train.gated import Gated, Run


class Worst(NamedTuple):
    """The largest |h_fast| and |h_slow| before the clip found for each model, (S,) each."""

    fast: list[float]
    slow: list[float]

    @property
    def largest(self) -> float:
        """Return the largest state of any model."""
        return max(*self.fast, *self.slow)


def largest(run: Run) -> Worst:
    """Return the largest states of a run."""
    assert run.fast is not None
    assert run.slow is not None
    return Worst(*([float(v) for v in h.detach().abs().amax((0, 2, 3))] for h in (run.fast, run.slow)))


def search(model: Gated, *, frames: int = 150, windows: int = 32, steps: int = 12, seed: int = 0) -> Worst:
    """Return the worst of all inputs tried, the same for the same seed."""
    device = next(model.parameters()).device
    x, c, pull = (each.to(device) for each in _corners(np.random.default_rng(seed), frames, model.size, windows))
    found = Worst([0.0] * model.size, [0.0] * model.size)
    for step in range(steps + 1):
        x.requires_grad_()
        c.requires_grad_()
        run = model(x, c, pull)
        found = Worst(
            *([max(pair) for pair in zip(*both, strict=True)] for both in zip(found, largest(run), strict=True))
        )
        if step == steps:
            break
        # Half of the windows drive the fast state, half the slow one; the sharp mean of the largest entries leads.
        assert run.fast is not None
        assert run.slow is not None
        half = windows // 2
        score = _sharp(run.fast[:, :, :half]) + _sharp(run.slow[:, :, half:])
        d_x, d_c = torch.autograd.grad(score, (x, c))
        with torch.no_grad():
            x = torch.where(d_x == 0, x, d_x.sign())
            c = torch.where(d_c == 0, c, (d_c > 0).to(c.dtype))
    return found


def _sharp(state: Tensor) -> Tensor:
    return torch.logsumexp(state.abs().transpose(0, 2).flatten(2) * 4, -1).sum() / 4


def _corners(rng: np.random.Generator, frames: int, models: int, windows: int) -> tuple[Tensor, Tensor, Tensor]:
    # Each number jumps between its ends after 1 to 100 frames; the first windows hold one corner throughout.
    chance = 10 ** -rng.uniform(0, 2, (1, models, windows, 8))
    chance[:, :, : windows // 4] = 0
    flips = rng.random((frames, models, windows, 8)) < chance
    flips[0] = rng.random((models, windows, 8)) < 0.5
    high = np.cumsum(flips, 0) % 2 == 1
    x = torch.from_numpy(np.where(high[..., :6], 1, -1).astype(np.float32))
    c, pull = (torch.from_numpy(high[..., k].astype(np.float32)) for k in (6, 7))
    return x, c, pull * (torch.arange(windows) % 2)
