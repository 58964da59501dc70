"""Search without derivatives: a covariance matrix adaptation evolution strategy on the unit cube.

N. Hansen, "The CMA evolution strategy: a tutorial", 2016 (arXiv 1604.00772), with its default constants. Positions that
leave the cube are reflected back into it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Found(NamedTuple):
    """The best position (n,), its cost, and how many positions were tried."""

    position: Array
    cost: float
    evaluations: int


def reflected(x: Array) -> Array:
    """Return positions folded into 0..1 as by mirrors at 0 and 1, shape kept."""
    return np.asarray(1.0 - np.abs(np.mod(x, 2.0) - 1.0))


def search(
    cost: Callable[[Array], float],
    start: Array,
    spread: float | Array,
    evaluations: int,
    rng: np.random.Generator,
    tell: Callable[[int, float], None] | None = None,
    *,
    population: int | None = None,
    run: Callable[[Callable[[Array], float], Array], Iterable[float]] = map,
) -> Found:
    """Return the best of about `evaluations` positions, beginning around `start` (n,) within `spread` (a deviation).

    `cost(position)` gets a position (n,) 0..1; a cost that is not finite counts as the worst. `tell(evaluations, best)`
    is called after every generation. `population` positions are a generation (the default is few; more are slower and
    are caught less); `run` may be the `map` of an executor. One `rng` state gives one result.
    """
    n = len(start)
    scale = np.broadcast_to(np.asarray(spread, np.float64), (n,))
    count = population or 4 + int(3 * np.log(n))
    parents = count // 2
    weights = np.log(parents + 0.5) - np.log(np.arange(1, parents + 1))
    weights /= weights.sum()
    mass = 1.0 / float((weights**2).sum())
    c_path = (4 + mass / n) / (n + 4 + 2 * mass / n)
    c_step = (mass + 2) / (n + mass + 5)
    c_one = 2 / ((n + 1.3) ** 2 + mass)
    c_many = min(1 - c_one, 2 * (mass - 2 + 1 / mass) / ((n + 2) ** 2 + mass))
    damp = 1 + 2 * max(0.0, np.sqrt((mass - 1) / (n + 1)) - 1) + c_step
    usual = np.sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n * n))

    mean, step = np.asarray(start, np.float64).copy(), 1.0
    covariance, path, path_step = np.eye(n), np.zeros(n), np.zeros(n)
    best = Found(mean.copy(), float(cost(mean)), 1)
    used, generation = 1, 0
    while used < evaluations:
        values, axes = np.linalg.eigh(covariance)
        lengths = np.sqrt(np.maximum(values, 1e-12))
        z = rng.standard_normal((count, n)) * lengths @ axes.T
        candidates = reflected(mean + step * scale * z)
        costs = np.array(list(run(cost, candidates)))
        costs[~np.isfinite(costs)] = np.inf
        used += count
        generation += 1
        order = np.argsort(costs)
        if costs[order[0]] < best.cost:
            best = Found(candidates[order[0]].copy(), float(costs[order[0]]), used)
        # the step that was really made, mirrors included
        moves = (candidates[order[:parents]] - mean) / (step * scale)
        move = weights @ moves
        mean = mean + step * scale * move
        whitened = axes @ ((axes.T @ move) / lengths)
        path_step = (1 - c_step) * path_step + np.sqrt(c_step * (2 - c_step) * mass) * whitened
        long = np.linalg.norm(path_step) / np.sqrt(1 - (1 - c_step) ** (2 * generation))
        keep = long < (1.4 + 2 / (n + 1)) * usual
        path = (1 - c_path) * path + keep * np.sqrt(c_path * (2 - c_path) * mass) * move
        covariance = (
            (1 - c_one - c_many) * covariance
            + c_one * (np.outer(path, path) + (not keep) * c_path * (2 - c_path) * covariance)
            + c_many * (moves.T * weights) @ moves
        )
        step *= float(np.exp(min((c_step / damp) * (np.linalg.norm(path_step) / usual - 1), 1.0)))
        if tell is not None:
            tell(used, best.cost)
    return best._replace(evaluations=used)
