"""Gradients through an equilibrium by the implicit function theorem, without keeping the iterations.

At z = f(z, theta) the loss L(z) has the gradient v df/dtheta with v = (I - J^T)^-1 dL/dz, J = df/dz. Where f contracts,
v is itself an equilibrium, v = J^T v + dL/dz, found by vector-Jacobian products of one step of f: memory does not grow
with the number of iterations. Source: Bai, Kolter, Koltun, "Deep Equilibrium Models" (2019), equation 3 and theorem 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

Step = Callable[[Tensor], Tensor]


class Solved(NamedTuple):
    """An equilibrium (differentiable), the L2 norm of the last step of its worst row, and the steps it took."""

    z: Tensor
    residual: float
    steps: int


def iterate(step: Step, start: Tensor, most: int, tolerance: float) -> Solved:
    """Iterate z <- f(z) at most `most` times, or until the step of every row (last dimension) is <= tolerance."""
    z, residual, n = start, float("inf"), 0
    while n < most and residual > tolerance:
        following = step(z)
        residual = float((following - z).norm(dim=-1).max())
        z, n = following, n + 1
    return Solved(z, residual, n)


def fixed_point(step: Step, start: Tensor, most: int = 400, tolerance: float = 1e-6) -> Solved:
    """Return z = f(z), differentiable with respect to everything `step` reads; `start` (.., n) gets no gradient.

    `step` must be pure and contract. The backward pass stops at `most` products or at the same tolerance, relative to
    the largest row of the incoming gradient. Second derivatives are not offered.
    """
    with torch.no_grad():
        found = iterate(step, start.detach(), most, tolerance)
    if not torch.is_grad_enabled():
        return found
    inner = found.z.detach().requires_grad_()
    image = step(inner)
    # One step carries the gradient to the parameters; the hook turns dL/dz into v before it does.
    z = step(found.z.detach())
    if not z.requires_grad:
        return found

    def solve(gradient: Tensor) -> Tensor:
        # v <- J^T v + dL/dz
        scale = float(gradient.norm(dim=-1).max())

        def backward(v: Tensor) -> Tensor:
            (product,) = torch.autograd.grad(image, inner, v, retain_graph=True)
            return product + gradient

        return iterate(backward, gradient, most, tolerance * scale).z

    z.register_hook(solve)  # type: ignore[no-untyped-call]
    return found._replace(z=z)
