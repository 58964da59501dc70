"""AdamW for a stack of models, each with its own gradient clipped by its own norm.

Sources: Loshchilov & Hutter 2019, "Decoupled Weight Decay Regularization", algorithm 2; a clip that follows the norms
seen so far, after Seetharaman et al. 2020, "AutoClip". All parameters lie in one table
(S, N), so that a step is a handful of operations however many models there are, and its whole state is four tensors.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from echelon_models.train.gated import Stacked

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8
USUAL = 0.99  # of the running mean of a model's norms, a step


class AdamW:
    """Owns a stack's parameters: `values` (S, N); the model's own tensors become views of it."""

    def __init__(self, model: Stacked, rate: float, decay: float, clip: float, outlier: float = 0.0) -> None:
        """Clip norms to `clip`, and where `outlier` is not 0 to so many times the mean of the norms before."""
        self._decay, self._clip, self._outlier = decay, clip, outlier
        parameters = list(model.parameters())
        self.values = torch.cat([each.detach().flatten(1) for each in parameters], 1)
        self._mean, self._square = torch.zeros_like(self.values), torch.zeros_like(self.values)
        self.rate = torch.full((1, 1), rate, device=self.values.device)  # fill it to change it
        self.diverge = torch.zeros((), device=self.values.device)  # a weight of the loss that changes as the rate does
        self._count = torch.zeros((), dtype=torch.float64, device=self.values.device)
        self._usual = torch.zeros_like(self.values[:, :1])  # 0: no step yet
        begin = 0
        for each in parameters:
            end = begin + each[0].numel()
            each.data = self.values[:, begin:end].view(each.shape)
            begin = end

    def state(self) -> list[Tensor]:
        """Return the tensors that a step changes: copy into them to go back or on."""
        return [self.values, self._mean, self._square, self._count, self._usual]

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor]) -> None:
        """Move all parameters against their gradients, given in the order of the model's parameters, (S, ..) each."""
        gradient = torch.cat([each.flatten(1) for each in gradients], 1)
        # g <- g min(1, clip / |g|), |g| over all parameters of one model. A gradient that overflowed says nothing: 0.
        norm = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)
        most = torch.full_like(norm, self._clip)
        if self._outlier:
            most = torch.where(self._usual > 0, torch.minimum(most, self._outlier * self._usual), most)
        finite = torch.isfinite(norm)
        scaled = gradient * (most / (norm + 1e-6)).clamp(max=1.0)
        gradient = torch.where(finite, scaled, 0.0)
        kept = torch.where(finite, torch.minimum(norm, most), self._usual)
        self._usual.copy_(torch.where(self._usual > 0, torch.lerp(kept, self._usual, USUAL), kept))
        self._count.add_(1)
        # m <- b1 m + (1 - b1) g;  v <- b2 v + (1 - b2) g^2;  w <- w - rate (m' / (sqrt v' + e) + decay w)
        self._mean.lerp_(gradient, 1 - BETA_1)
        self._square.mul_(BETA_2).addcmul_(gradient, gradient, value=1 - BETA_2)
        scale_1 = (1 - BETA_1**self._count).to(gradient.dtype)
        scale_2 = (1 - BETA_2**self._count).sqrt().to(gradient.dtype)
        self.values.mul_(1 - self.rate * self._decay)
        divisor = self._square.sqrt().div_(scale_2).add_(EPSILON).mul_(scale_1)
        self.values.addcdiv_(self._mean * self.rate, divisor, value=-1.0)
