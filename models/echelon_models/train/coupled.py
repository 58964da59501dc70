"""DELL coupled in torch: the map as the engine runs it, or its equilibrium, inside its certificate by construction.

Weights are functions of free parameters: whatever an optimiser does, |W_rec| and |U_slow| stay under CAP and the
spectral radius of M = [[|W_rec|, 0.3 |W_lift|], [0.5 |W_slow W_out|, |U_slow|]] stays at or under RADIUS. Norms are
exact singular values at every step, in float64 when weights are exported. Source: spec/equilibrium.md, "DELL coupled".

Trained is the map that plays (4 and 6 iterations, warm started): its gradient is exact for what is heard, and a step
costs less than half. How far it is from the equilibrium's: models/TRAINING.md, "Gradients".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from echelon_models.train.implicit import fixed_point

INPUTS, HIDDEN, LATENT = 216, 128, 32
EVERY = 24  # frames between two boundaries unless the beat decides
BEAT_SHORTEST, BEAT_LONGEST = 20, 60
CAP, RADIUS = 0.97, 0.99
HYPERS: dict[str, float] = {
    "frame_rate": 60, "k_fast": 4, "k_slow": 6, "slow_to_fast": 0.3, "fast_to_slow": 0.5, "mix": 0.7,
}  # fmt: skip
SHAPES: dict[str, tuple[int, ...]] = {
    "W_in": (HIDDEN, INPUTS), "W_rec": (HIDDEN, HIDDEN), "b_fast": (HIDDEN,), "W_out": (LATENT, HIDDEN),
    "W_lift": (HIDDEN, LATENT), "W_slow": (LATENT, LATENT), "U_slow": (LATENT, LATENT), "b_slow": (LATENT,),
}  # fmt: skip


class States(NamedTuple):
    """What a batch of sequences made of the net: z, x_fast, y_slow (T, B, 32) and h (T, B, 128)."""

    z: Tensor
    x_fast: Tensor
    y_slow: Tensor
    h: Tensor


def spectral_norm(matrix: Tensor) -> Tensor:
    """Return the largest singular value u^T W v, exact and differentiable; () from (m, n)."""
    with torch.no_grad():
        u, _, vh = torch.linalg.svd(matrix.detach().cpu(), full_matrices=False)
        first, last = u[:, 0].to(matrix), vh[0].to(matrix)
    norm: Tensor = first @ matrix @ last
    return norm


def bounded(matrix: Tensor, limit: float) -> Tensor:
    """Return the matrix scaled down to a spectral norm of at most `limit`; differentiable."""
    return matrix * (limit / spectral_norm(matrix).clamp(min=limit))


def constrained(free: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights inside the certificate from free parameters of the same shapes; differentiable.

    For nonnegative 2 x 2 matrices radius(M) <= R exactly where (R - |W_rec|)(R - |U_slow|) >= down up, with both
    norms under R: W_lift and W_slow share what has to give.
    """
    weights = dict(free)
    weights["W_rec"], weights["U_slow"] = bounded(free["W_rec"], CAP), bounded(free["U_slow"], CAP)
    room = (RADIUS - spectral_norm(weights["W_rec"])) * (RADIUS - spectral_norm(weights["U_slow"]))
    down = HYPERS["slow_to_fast"] * spectral_norm(free["W_lift"])
    up = HYPERS["fast_to_slow"] * spectral_norm(free["W_slow"] @ free["W_out"])
    share = (room / (down * up).clamp(min=1e-12)).clamp(max=1.0).sqrt()
    weights["W_lift"], weights["W_slow"] = free["W_lift"] * share, free["W_slow"] * share
    return weights


class Coupled(nn.Module):
    """DELL coupled from the zero state; a seed gives one start."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        rng = np.random.default_rng([seed, 1])
        scales = {"W_rec": 0.9, "W_out": 0.6, "W_lift": 0.8, "W_slow": 1.6, "U_slow": 0.5}
        for name, shape in SHAPES.items():
            values = np.zeros(shape)
            if name == "W_in":
                values = rng.normal(scale=0.3, size=shape)
            elif name in scales:
                values = rng.normal(size=shape)
                values *= scales[name] / np.linalg.norm(values, 2)
            self.register_parameter(name, nn.Parameter(torch.from_numpy(values.astype(np.float32))))

    def weights(self) -> dict[str, Tensor]:
        """Return the weights that the engine would run, inside the certificate; differentiable."""
        return constrained({name: self.get_parameter(name) for name in SHAPES})

    def centre(self, limbs: NDArray[np.float32]) -> None:
        """Start with a drive of zero at the mean of limbs (n, 216): tanh then begins where it is steepest."""
        mean = torch.from_numpy(limbs.mean(0, dtype=np.float64)).to(self.get_parameter("b_fast"))
        with torch.no_grad():
            self.get_parameter("b_fast").copy_(-self.get_parameter("W_in") @ mean)

    def load(self, tensors: Mapping[str, NDArray[np.float32]]) -> None:
        """Put arrays named as in the format; within the certificate's margin they come out of `weights` unchanged."""
        with torch.no_grad():
            for name in SHAPES:
                self.get_parameter(name).copy_(torch.from_numpy(np.array(tensors[name])))

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """Return the constrained weights as float32 arrays, norms by exact SVD in float64."""
        free = {name: value.detach().cpu().double() for name, value in self.named_parameters()}
        return {name: value.numpy().astype(np.float32) for name, value in constrained(free).items()}

    def forward(
        self,
        limbs: Tensor,
        boundary: Sequence[bool],
        *,
        k_fast: int | None = 4,
        weights: dict[str, Tensor] | None = None,
    ) -> States:
        """Run limbs (T, B, 216) from the zero state; `boundary` (T,): the slow solver runs after this frame.

        `k_fast` iterations a frame, warm started, and 6 of the slow solver as the engine runs them; None: both at
        their equilibrium, with gradients by the implicit function theorem.
        """
        return unroll(self.weights() if weights is None else weights, limbs, boundary, k_fast)


def unroll(
    w: Mapping[str, Tensor], limbs: Tensor, boundary: Sequence[bool], k_fast: int | None = 4, k_slow: int | None = None
) -> States:
    """Return the states of the net with weights `w` over limbs (T, B, 216); see `Coupled.forward`.

    `k_slow`: iterations of the slow solver, default those of HYPERS.
    """
    frames, batch, _ = limbs.shape
    if len(boundary) != frames:
        raise ValueError(f"{len(boundary)} boundary flags for {frames} frames: one a frame is wanted")
    down, up, mix = HYPERS["slow_to_fast"], HYPERS["fast_to_slow"], HYPERS["mix"]
    # drive = W_in limbs + b_fast + 0.3 W_lift y_slow: the first two terms for all frames at once
    felt = torch.addmm(w["b_fast"], limbs.reshape(-1, INPUTS), w["W_in"].T).view(frames, batch, HIDDEN)
    recurrent, lift, u_slow = w["W_rec"].T, w["W_lift"].T, w["U_slow"].T
    h, y = felt.new_zeros(batch, HIDDEN), felt.new_zeros(batch, LATENT)
    hs: list[Tensor] = []
    xs: list[Tensor] = []
    ys: list[Tensor] = []
    ends = [n + 1 for n in range(frames) if boundary[n]]
    starts = [0, *ends]
    for start, end in zip(starts, [*ends, frames], strict=True):
        if start == end:
            continue
        drive = felt[start:end] + (down * y) @ lift
        if k_fast is None:
            segment = fixed_point(lambda v, d=drive: torch.tanh(d + v @ recurrent), torch.zeros_like(drive)).z  # type: ignore[misc]
            h = segment[-1]
        else:
            found = []
            for n in range(end - start):
                for _ in range(k_fast):
                    h = torch.tanh(torch.addmm(drive[n], h, recurrent))
                found.append(h)
            segment = torch.stack(found)
        x = segment @ w["W_out"].T
        hs.append(segment)
        xs.append(x)
        ys += [y] * (end - start)
        if boundary[end - 1]:
            # s = W_slow (0.5 mean(x_fast since the last boundary)) + b_slow;   y_slow <- tanh(s + U_slow y_slow)
            s = torch.addmm(w["b_slow"], up * x.mean(0), w["W_slow"].T)
            if k_fast is None:
                y = fixed_point(lambda v, s=s: torch.tanh(s + v @ u_slow), y).z  # type: ignore[misc]
            else:
                for _ in range(k_slow or int(HYPERS["k_slow"])):
                    y = torch.tanh(torch.addmm(s, y, u_slow))
            ys[-1] = y  # the boundary frame itself already has it
    x_fast, y_slow = torch.cat(xs), torch.stack(ys)
    return States(mix * x_fast + (1 - mix) * y_slow, x_fast, y_slow, torch.cat(hs))


def regular(frames: int, every: int = EVERY) -> list[bool]:
    """Return the boundaries of a start from zero: after frames 23, 47 .. of `frames`."""
    return [n % every == every - 1 for n in range(frames)]


def at_beats(frames: int, rng: np.random.Generator) -> list[bool]:
    """Return boundaries at the beats of a random tempo as the engine admits them: 20 to 60 frames apart."""
    interval, wander = rng.uniform(BEAT_SHORTEST, BEAT_LONGEST), rng.uniform(0.0, 2.0)
    flags, last, due = [False] * frames, 0, rng.uniform(BEAT_SHORTEST, interval + 1)
    while (end := last + int(np.clip(round(due - last), BEAT_SHORTEST, BEAT_LONGEST))) <= frames:
        flags[end - 1] = True
        last, due = end, due + interval + rng.normal(scale=wander)
    return flags
