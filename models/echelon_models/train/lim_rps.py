"""LIM-RPS in torch: the equilibrium on which the sensors agree, exact in its norms by construction.

Every |W_i| and every encoder's norm stays at or under 1 whatever an optimiser does, so q = (1 - tau)(1 + gamma / 2)
= 0.625 at most; norms are exact singular values at every step, in float64 when weights are exported. Trained is the
equilibrium itself, by implicit gradients: at q = 0.625 the engine's 8 warm-started iterations stand within 0.01 of it,
and frames need no history, so they are drawn one by one. Source: spec/equilibrium.md, "LIM-RPS".
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from echelon_models.train.coupled import bounded
from echelon_models.train.implicit import Solved, fixed_point

LATENT, HIDDEN, SENSOR = 96, 128, 32
LIMBS, DEVICE = 216, 12
LIMIT, CONVERGED = 10.0, 0.01
HYPERS: dict[str, float] = {"gamma": 0.5, "tau": 0.5, "iterations": 8}
OPERATOR: dict[str, tuple[int, ...]] = {
    "W_1": (HIDDEN, LATENT), "b_1": (HIDDEN,), "W_2": (HIDDEN, HIDDEN), "b_2": (HIDDEN,), "W_3": (LATENT, HIDDEN),
}  # fmt: skip
ENCODERS: dict[str, tuple[int, ...]] = {
    "E_body": (SENSOR, LIMBS), "E_left": (SENSOR, DEVICE), "E_right": (SENSOR, DEVICE),
}  # fmt: skip
SHAPES = {**OPERATOR, **ENCODERS}
INPUTS = (LIMBS, DEVICE, DEVICE)


def constrained(free: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights of norm <= 1 from free parameters of the same shapes; differentiable."""
    return {name: bounded(value, 1.0) if value.ndim == 2 else value for name, value in free.items()}


def encode(w: Mapping[str, Tensor], body: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Return e (.., 96) from limbs (.., 216) and devices (.., 12); a device that is not there is zeros."""
    return torch.cat([body @ w["E_body"].T, left @ w["E_left"].T, right @ w["E_right"].T], -1)


def step(w: Mapping[str, Tensor], z: Tensor, e: Tensor) -> Tensor:
    """Return clip((1 - tau)(z - gamma B(z)) + tau e, -10, 10), B(z) = W_3 act(W_2 act(W_1 z + b_1) + b_2).

    act(v) = relu(v) / sqrt(2). z and e are (.., 96).
    """
    tau, gamma, half = HYPERS["tau"], HYPERS["gamma"], 0.5**0.5
    first = torch.relu(z @ w["W_1"].T + w["b_1"]) * half
    second = torch.relu(first @ w["W_2"].T + w["b_2"]) * half
    moved: Tensor = (1 - tau) * (z - gamma * (second @ w["W_3"].T)) + tau * e
    return moved.clamp(-LIMIT, LIMIT)


def relax(w: Mapping[str, Tensor], e: Tensor, tolerance: float = 1e-4) -> Solved:
    """Return the equilibrium for e (.., 96), differentiable; q bounds the iterations it takes."""
    return fixed_point(lambda z: step(w, z, e), e.detach().clamp(-LIMIT, LIMIT), 100, tolerance)


def follow(w: Mapping[str, Tensor], e: Tensor, stop: float = CONVERGED) -> tuple[Tensor, Tensor]:
    """Return z and residual, (T, B, 96) and (T, B), as the engine runs e (T, B, 96): warm started, from zero.

    Each sequence stops by itself once its residual is <= `stop` (below 0: never before 8 iterations). No gradient.
    """
    made, residuals = [], []
    with torch.no_grad():
        z = torch.zeros_like(e[0])
        for target in e:
            going = torch.ones(e.shape[1], 1, dtype=torch.bool, device=e.device)
            residual = torch.zeros_like(target[:, :1])
            for _ in range(int(HYPERS["iterations"])):
                if not going.any():
                    break
                following = step(w, z, target)
                size = (following - z).norm(dim=-1, keepdim=True)
                z, residual = torch.where(going, following, z), torch.where(going, size, residual)
                going = going & (size > stop)
            made.append(z)
            residuals.append(residual.squeeze(-1))
    return torch.stack(made), torch.stack(residuals)


class LimRps(nn.Module):
    """Encoders and operator; a seed gives one start. `P` (2, 96) comes from data: see `learn_directions`."""

    P: Tensor

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        rng = np.random.default_rng([seed, 3])
        for name, shape in SHAPES.items():
            values = rng.normal(size=shape)
            values *= 0.1 if len(shape) == 1 else 0.9 / np.linalg.norm(values, 2)
            self.register_parameter(name, nn.Parameter(torch.from_numpy(values.astype(np.float32))))
        self.register_buffer("P", torch.eye(2, LATENT))

    def weights(self) -> dict[str, Tensor]:
        """Return the weights that the engine would run, norms <= 1; differentiable."""
        return constrained({name: self.get_parameter(name) for name in SHAPES})

    def centre(self, e: Tensor) -> None:
        """Start with every unit of the operator at its kink for the mean of encodings e (n, 96), where it bends."""
        half = 0.5**0.5
        with torch.no_grad():
            w = self.weights()
            z = relax(w, e.mean(0, keepdim=True)).z
            first = z @ w["W_1"].T
            self.get_parameter("b_1").add_(-first[0])
            second = (torch.relu(first + self.get_parameter("b_1")) * half) @ w["W_2"].T
            self.get_parameter("b_2").add_(-second[0])

    def enliven(self, most: float) -> None:
        """Raise the body encoder's weaker directions, each up to `most` times and to a singular value of 1.

        E = U S V^T <- U (a S) V^T with a = min(1 / S, most), and W_1 reads U a^-1 U^T of what it read: the operator
        sees the body as before, the latent moves more with it, and no norm exceeds what it was.
        """
        with torch.no_grad():
            w = {name: value.double() for name, value in self.weights().items()}
            u, s, vh = torch.linalg.svd(w["E_body"], full_matrices=False)
            a = (1.0 / s.clamp(min=1e-9)).clamp(min=1.0, max=most)
            w["E_body"] = (u * (a * s)) @ vh
            w["W_1"][:, :SENSOR] = w["W_1"][:, :SENSOR] @ (u / a) @ u.T
            for name in SHAPES:
                self.get_parameter(name).copy_(w[name])

    def load(self, tensors: Mapping[str, NDArray[np.float32]]) -> None:
        """Put arrays named as in the format; norms <= 1 come out of `weights` unchanged."""
        with torch.no_grad():
            for name in SHAPES:
                self.get_parameter(name).copy_(torch.from_numpy(np.array(tensors[name])))
            self.P.copy_(torch.from_numpy(np.array(tensors["P"])))

    def learn_directions(self, *latents: NDArray[np.floating]) -> list[float]:
        """Set P from latents (n, 96) of several kinds of performers; return the share of variance P holds of each.

        Each row is the sum of one principal direction of every kind, so that both coordinates move whatever is worn;
        rows are orthonormal. Of each direction the largest element is positive: the same data, the same picture.
        """
        total = np.zeros((2, LATENT))
        covariances = []
        for z in latents:
            centred = z.astype(np.float64) - z.mean(0, dtype=np.float64)
            covariances.append(centred.T @ centred)
            rows = np.linalg.eigh(covariances[-1])[1][:, ::-1][:, :2].T
            total += rows * np.sign(rows[np.arange(2), np.abs(rows).argmax(1)])[:, None]
        q, r = np.linalg.qr(total.T)
        rows = (q * np.sign(np.diag(r))).T
        self.P.copy_(torch.from_numpy(np.ascontiguousarray(rows)))
        return [float(np.trace(rows @ each @ rows.T) / max(np.trace(each), 1e-30)) for each in covariances]

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """Return the constrained weights and P as float32 arrays, norms by exact SVD in float64."""
        free = {name: self.get_parameter(name).detach().cpu().double() for name in SHAPES}
        made = {name: value.numpy().astype(np.float32) for name, value in constrained(free).items()}
        return {**made, "P": self.P.detach().cpu().numpy().copy()}
