"""Variants of LIM-RPS for research, in NumPy float64: Anderson acceleration, and the noisy form (Langevin).

The stage runs `echelon_engine.kernels.lim_rps`; these answer what it would gain. Source: spec/equilibrium.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echelon_models.weights import Model

Vector = NDArray[np.float64]
Map = Callable[[Vector], Vector]
LIMIT = 10.0


@dataclass(frozen=True, slots=True)
class Solution:
    """An equilibrium: latent z (96,), the residual |T(z) - z| of each step, how often acceleration fell back."""

    z: Vector
    residuals: tuple[float, ...]
    fallbacks: int = 0


def relaxation(model: Model, e: NDArray[np.floating]) -> Map:
    """Return T(z) = clip((1 - tau)(z - gamma B(z)) + tau e, -10, 10); float64 (96,) to (96,)."""
    weights = {name: np.asarray(values, np.float64) for name, values in model.tensors.items()}
    gamma, tau = model.hypers["gamma"], model.hypers["tau"]
    target = tau * np.asarray(e, np.float64)

    def step(z: Vector) -> Vector:
        first = np.maximum(weights["W_1"] @ z + weights["b_1"], 0) / np.sqrt(2)
        second = np.maximum(weights["W_2"] @ first + weights["b_2"], 0) / np.sqrt(2)
        moved: Vector = (1 - tau) * (z - gamma * (weights["W_3"] @ second)) + target
        return np.clip(moved, -LIMIT, LIMIT)

    return step


def picard(step: Map, start: Vector, iterations: int, tolerance: float = 0.0) -> Solution:
    """Iterate z <- T(z), at most `iterations` times or until the residual is <= tolerance."""
    z, residuals = np.array(start, np.float64), []
    for _ in range(iterations):
        following = step(z)
        residuals.append(float(np.linalg.norm(following - z)))
        z = following
        if residuals[-1] <= tolerance:
            break
    return Solution(z, tuple(residuals))


def anderson(step: Map, start: Vector, iterations: int, tolerance: float = 0.0, memory: int = 5) -> Solution:
    """Anderson acceleration (Walker & Ni 2011, type II) of z <- T(z), with a plain step wherever it is not trusted.

    The next iterate combines the last `memory` steps so that their combined residual is least. It falls back to T(z),
    and forgets, when the least-squares system is singular or the combination is not finite or its residual grew.
    """
    z = np.array(start, np.float64)
    points: list[Vector] = []  # T(z) of the last iterates
    gaps: list[Vector] = []  # T(z) - z
    residuals: list[float] = []
    fallbacks = 0
    for _ in range(iterations):
        image = step(z)
        gap = image - z
        residuals.append(float(np.linalg.norm(gap)))
        if residuals[-1] <= tolerance:
            return Solution(image, tuple(residuals), fallbacks)
        if gaps and residuals[-1] > residuals[-2]:
            points, gaps = [], []
            fallbacks += 1
        points, gaps = [*points, image][-memory - 1 :], [*gaps, gap][-memory - 1 :]
        z = image
        if len(gaps) > 1:
            combined = _combine(points, gaps)
            if combined is None:
                points, gaps = points[-1:], gaps[-1:]
                fallbacks += 1
            else:
                z = combined
    return Solution(z, tuple(residuals), fallbacks)


def _combine(points: list[Vector], gaps: list[Vector]) -> Vector | None:
    # minimise |gap - dG alpha| over alpha;   z = T(z) - dT alpha
    gap_steps = np.diff(np.stack(gaps, axis=1), axis=1)
    point_steps = np.diff(np.stack(points, axis=1), axis=1)
    singular_values = np.linalg.svd(gap_steps, compute_uv=False)
    if not np.all(np.isfinite(singular_values)) or singular_values[-1] <= 1e-12 * singular_values[0]:
        return None
    alpha = np.linalg.lstsq(gap_steps, gaps[-1], rcond=None)[0]
    combined = np.clip(points[-1] - point_steps @ alpha, -LIMIT, LIMIT)
    return combined if np.all(np.isfinite(combined)) else None


def langevin(
    step: Map, start: Vector, iterations: int, gamma: float, rng: np.random.Generator, temperature: float = 1.0
) -> NDArray[np.float64]:
    """Return the path (iterations, 96) of z <- clip(T(z) + sqrt(2 gamma temperature) eta, -10, 10), eta normal.

    It wanders around the equilibrium instead of resting in it; at temperature 0 it is `picard`.
    """
    z = np.array(start, np.float64)
    path = np.empty((iterations, len(z)))
    scale = np.sqrt(2 * gamma * temperature)
    for n in range(iterations):
        z = np.clip(step(z) + scale * rng.standard_normal(len(z)), -LIMIT, LIMIT)
        path[n] = z
    return path
