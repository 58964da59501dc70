"""What is proved about a set of weights, by exact singular values in float64; never by power iteration.

Source: spec/equilibrium.md. "Norm <= 1" means <= 1 + 1e-5, what float32 storage of an orthonormal matrix needs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echelon_models.formats import Key

SLACK = 1e-5
Tensors = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Figure:
    """One computed number and the rule it has to satisfy: `value < bound` if strict, else `value <= bound`.

    `bound` None: the figure is printed, nothing is promised about it.
    """

    name: str
    value: float
    about: str
    bound: float | None = None
    strict: bool = False

    @property
    def holds(self) -> bool:
        """Tell whether the rule is satisfied."""
        if self.bound is None:
            return True
        return self.value < self.bound if self.strict else self.value <= self.bound + SLACK

    @property
    def rule(self) -> str:
        """Return the rule in words."""
        return "" if self.bound is None else f"must be {'<' if self.strict else '<='} {self.bound:g}"


def norm(matrix: NDArray[np.float32] | NDArray[np.float64]) -> float:
    """Return the spectral norm of a matrix: its largest singular value, in float64."""
    # The root of the largest eigenvalue of the smaller of A A^T and A^T A: a start waits for sixteen of these.
    wide = np.asarray(matrix, np.float64)
    wide = wide if wide.shape[0] <= wide.shape[1] else wide.T
    return math.sqrt(max(float(np.linalg.eigvalsh(wide @ wide.T)[-1]), 0.0))


def figures(key: Key, tensors: Tensors, hypers: Mapping[str, float]) -> tuple[Figure, ...]:
    """Return every figure of a model of the given format."""
    return {"dell_gated": _gated, "dell_coupled": _coupled, "lim_rps": _lim_rps}[key](tensors, hypers)


def _gated(tensors: Tensors, hypers: Mapping[str, float]) -> tuple[Figure, ...]:
    # z feeds back through the last 128 rows of W_f1 and W_s1; relu is 1-Lipschitz. For one frozen gate the map
    # z -> g h_fast + (1 - g) h_slow stretches by at most the larger of both paths. The gate moves with z too, so the
    # true bound is higher (at most by |h_fast - h_slow|_inf |W_g| / 4 times as much): a figure to keep low, no promise.
    fast = norm(tensors["W_f1"][7:]) * norm(tensors["W_f2"])
    slow = norm(tensors["W_s1"][7:]) * norm(tensors["W_s2"])
    return (
        Figure("fast gain", fast, "|W_f1, rows of z| |W_f2|: how much the fast path can stretch z in one frame"),
        Figure("slow gain", slow, "|W_s1, rows of z| |W_s2|: the same for the slow path, over many frames"),
        Figure("loop gain", max(fast, slow), "the larger of both, at a frozen gate; below 1 a disturbance dies out"),
        Figure("gate gain", norm(tensors["W_g"]) / 4, "|W_g| / 4: how fast the gate can move with both states"),
    )


def _coupled(tensors: Tensors, hypers: Mapping[str, float]) -> tuple[Figure, ...]:
    recurrent, slow = norm(tensors["W_rec"]), norm(tensors["U_slow"])
    down = hypers["slow_to_fast"] * norm(tensors["W_lift"])
    up = hypers["fast_to_slow"] * norm(
        np.asarray(tensors["W_slow"], np.float64) @ np.asarray(tensors["W_out"], np.float64)
    )
    # M = [[|W_rec|, 0.3 |W_lift|], [0.5 |W_slow W_out|, |U_slow|]]; nonnegative, so its spectral radius is its largest
    # eigenvalue, which is real.
    radius = float(np.max(np.abs(np.linalg.eigvals(np.array([[recurrent, down], [up, slow]])))))
    return (
        Figure("|W_rec|", recurrent, "the fast equilibrium contracts", 1.0, strict=True),
        Figure("|U_slow|", slow, "the slow equilibrium contracts", 1.0, strict=True),
        Figure("radius of M", radius, "both together contract", 1.0, strict=True),
    )


def _lim_rps(tensors: Tensors, hypers: Mapping[str, float]) -> tuple[Figure, ...]:
    norms = [norm(tensors[f"W_{i}"]) for i in (1, 2, 3)]
    lipschitz = float(np.prod(norms)) / 2
    rate = (1 - hypers["tau"]) * (1 + hypers["gamma"] * lipschitz)
    found = [
        Figure(f"|W_{i}|", value, "the operator is bounded", 1.0) for i, value in zip((1, 2, 3), norms, strict=True)
    ]
    found.append(Figure("L_B", lipschitz, "|W_1||W_2||W_3| / 2, the Lipschitz constant of B"))
    found.append(Figure("q", rate, "each iteration shrinks the distance to the equilibrium by q", 1.0, strict=True))
    for name in ("E_body", "E_left", "E_right", "P"):
        if name in tensors:
            about = "the read-out does not stretch" if name == "P" else "the encoder does not stretch"
            found.append(Figure(f"|{name}|", norm(tensors[name]), about, 1.0))
    return tuple(found)
