"""Gradients through an equilibrium: the implicit function theorem against unrolled iterations."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="torch is in the extra `train`")

from echelon_models.train.coupled import bounded  # noqa: E402
from echelon_models.train.implicit import fixed_point, iterate  # noqa: E402


def parts(norm: float = 0.9, n: int = 48) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return a recurrent matrix of a given norm, drives (8, n) and the gradient of a loss, float64."""
    generator = torch.Generator().manual_seed(5)
    matrix = bounded(100 * torch.randn(n, n, generator=generator, dtype=torch.float64), norm)
    drive = 0.5 * torch.randn(8, n, generator=generator, dtype=torch.float64)
    return matrix.requires_grad_(), drive.requires_grad_(), torch.randn(8, n, generator=generator, dtype=torch.float64)


def unrolled(steps: int, norm: float = 0.9) -> torch.Tensor:
    """Return both gradients, flat, by automatic differentiation of `steps` iterations from zero."""
    matrix, drive, weight = parts(norm)
    z = torch.zeros_like(drive)
    for _ in range(steps):
        z = torch.tanh(drive + z @ matrix.T)
    return torch.cat([g.flatten() for g in torch.autograd.grad((weight * z).sum(), [matrix, drive])])


def implicit(norm: float = 0.9) -> torch.Tensor:
    """Return the same gradients by the implicit function theorem."""
    matrix, drive, weight = parts(norm)
    found = fixed_point(lambda z: torch.tanh(drive + z @ matrix.T), torch.zeros_like(drive), tolerance=1e-12)
    return torch.cat([g.flatten() for g in torch.autograd.grad((weight * found.z).sum(), [matrix, drive])])


def difference(steps: int, norm: float = 0.9) -> float:
    """Return the relative difference of both."""
    exact = implicit(norm)
    return float((unrolled(steps, norm) - exact).norm() / exact.norm())


def test_implicit_gradients_are_those_of_many_iterations() -> None:
    """100 and 300 unrolled iterations give the implicit gradients within 1e-6 and 1e-10."""
    assert difference(100) <= 1e-6
    assert difference(300) <= 1e-10


def test_four_iterations_have_another_gradient() -> None:
    """What K = 4 iterations from zero give is far from the equilibrium's gradient, the more so near the constraint."""
    assert 0.01 < difference(4, 0.6) < difference(4, 0.9) < 1.0


def test_gradients_are_those_of_finite_differences() -> None:
    """The implicit gradient passes the numerical check."""
    matrix, drive, _ = parts(0.7, 5)

    def solved(m: torch.Tensor, d: torch.Tensor) -> torch.Tensor:
        return fixed_point(lambda z: torch.tanh(d + z @ m.T), torch.zeros_like(d), tolerance=1e-13).z

    assert torch.autograd.gradcheck(solved, (matrix, drive), check_undefined_grad=False)


def test_the_solver_stops_when_it_is_there_and_at_its_limit() -> None:
    """Iterations end at the tolerance, or at the most that were allowed."""
    assert iterate(lambda z: 0.5 * z, torch.ones(3, 4), 100, 1e-3).steps < 15
    assert iterate(lambda z: 0.5 * z, torch.ones(3, 4), 5, 0.0).steps == 5
