"""The research variants of LIM-RPS: same equilibrium, sooner or noisier."""

import numpy as np
import pytest

from echelon_models.research import Map, anderson, langevin, picard, relaxation
from echelon_models.weights import initial_path, load


@pytest.fixture(scope="module")
def step() -> Map:
    """One relaxation of the initial weights toward a fixed encoding."""
    return relaxation(load(initial_path("lim_rps")), np.random.default_rng(1).normal(size=96))


def test_anderson_finds_the_same_equilibrium_sooner(step: Map) -> None:
    """It ends where the plain iteration ends, and needs fewer steps to a residual of 1e-9."""
    plain, fast = picard(step, np.zeros(96), 200, 1e-9), anderson(step, np.zeros(96), 200, 1e-9)
    np.testing.assert_allclose(fast.z, plain.z, atol=1e-8)
    assert len(fast.residuals) < len(plain.residuals)


def test_anderson_falls_back_when_singular() -> None:
    """Steps that repeat give a singular system: it takes plain steps, counts them, and stays finite."""
    drift = np.full(96, 1e-3)
    result = anderson(lambda z: z + drift, np.zeros(96), 20)
    assert result.fallbacks > 0
    np.testing.assert_allclose(result.z, 20 * drift, atol=1e-9)


def test_langevin_wanders_around_the_equilibrium(step: Map) -> None:
    """At temperature 0 it is the plain iteration; above, its mean stays near and its spread follows the noise."""
    rng = np.random.default_rng(2)
    end = picard(step, np.zeros(96), 200).z
    still = langevin(step, np.zeros(96), 100, 0.5, rng, temperature=0.0)
    np.testing.assert_allclose(still[-1], end, atol=1e-9)
    path = langevin(step, end, 4000, 0.5, rng, temperature=0.01)
    assert np.abs(path.mean(axis=0) - end).max() < 0.05
    assert 0.08 < (path - end).std() < 0.3
    assert np.abs(path).max() <= 10
