"""Least squares where an evaluation is dear: Gauss-Newton steps on the unit cube, damped as by Levenberg and Marquardt.

Residuals count by the pseudo-Huber loss: squared where small, in proportion where large, so that what no position can
explain does not decide where the rest goes. D. Marquardt, SIAM Journal 11(2), 1963.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

DAMPING = 0.01
REACH = 12.0  # probes: the farthest that a position moves at once
TRIES = 5  # ever shorter steps, before it is given up


class Found(NamedTuple):
    """The best position (n,), its mean loss, and how many positions were evaluated."""

    position: Array
    loss: float
    evaluations: int


def descend(residuals: Callable[[Array], Array], start: Array, probe: Array, steps: int) -> Found:
    """Return a position (n,) 0..1 whose residuals are smaller than those at `start`, after at most `steps`.

    `residuals` of positions (k, n) are (k, m). `probe` (n,) is by how much each position is moved to see what it does:
    no more than residuals are linear over; one of 0 stays where it is. Residuals of 1 are where the loss turns from
    squared to proportional.
    """
    position, moved = start.copy(), np.flatnonzero(probe)
    at = residuals(position[None])[0]
    loss, damping, made = _loss(at), DAMPING, 1
    for _ in range(steps):
        sides = np.copysign(probe, 0.5 - position)[moved]
        beside = np.repeat(position[None], len(moved), 0)
        beside[np.arange(len(moved)), moved] += sides
        slopes = ((residuals(beside) - at) / sides[:, None]).T
        weight = 1.0 / np.sqrt(1.0 + at**2)
        curvature = (slopes * weight[:, None]).T @ slopes
        slope = (slopes * weight[:, None]).T @ at
        made += len(moved)
        for _ in range(TRIES):
            # what hardly changes the residuals hardly moves: it would move far for nothing
            steep = np.diag(curvature) + 1e-3 * np.median(np.diag(curvature))
            step = -np.linalg.solve(curvature + damping * np.diag(steep), slope)
            tried = position.copy()
            tried[moved] = np.clip(tried[moved] + np.clip(step, -REACH * probe[moved], REACH * probe[moved]), 0.0, 1.0)
            there = residuals(tried[None])[0]
            made += 1
            if (better := _loss(there)) < loss:
                break
            damping = max(5.0 * damping, DAMPING)
        else:
            return Found(position, loss, made)
        gained, position, at, loss = loss - better, tried, there, better
        damping /= 5.0
        if gained < 1e-3 * loss:
            break
    return Found(position, loss, made)


def _loss(residuals: Array) -> float:
    return float((np.sqrt(1.0 + residuals**2) - 1.0).mean())
