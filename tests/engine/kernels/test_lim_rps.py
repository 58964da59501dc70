"""What LIM-RPS promises: one equilibrium, reached at the certified rate, from anywhere, whatever the weights."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echelon_engine.kernels import lim_rps
from echelon_models.formats import FORMATS
from echelon_models.weights import Model, check, initial_path, load, to_record

F = np.float32
HYPERS = {"format": FORMATS["lim_rps"].name, "gamma": "0.5", "tau": "0.5", "iterations": "8"}


@pytest.fixture(scope="module")
def shipped() -> Model:
    """The weights that come with the package."""
    return load(initial_path("lim_rps"))


def settled(weights: Any, e: np.ndarray, start: np.ndarray, iterations: int) -> tuple[np.ndarray, float, int]:
    """Return z, residual and iterations used from a start, with a number of iterations of one's own."""
    state, z = np.zeros(1, lim_rps.STATE)[0], np.zeros(96, F)
    mine = weights.copy()
    mine["iterations"] = iterations
    state["z"] = start
    lim_rps.step(z, state, mine, e.astype(F), -1.0)
    return z, float(state["residual"]), int(state["used"])


def edge_model(seed: int, gamma: float, tau: float) -> Model:
    """Return adversarial weights on the edge: orthogonal matrices (every singular value 1), large biases."""
    rng = np.random.default_rng(seed)

    def orthogonal(rows: int, columns: int) -> np.ndarray:
        size = max(rows, columns)
        return np.linalg.qr(rng.normal(size=(size, size)))[0][:rows, :columns].astype(F)

    tensors = {
        "W_1": orthogonal(128, 96), "b_1": rng.normal(scale=3, size=128).astype(F),
        "W_2": orthogonal(128, 128), "b_2": rng.normal(scale=3, size=128).astype(F), "W_3": orthogonal(96, 128),
    }  # fmt: skip
    return check(tensors, HYPERS | {"gamma": str(gamma), "tau": str(tau)})


def test_the_equilibrium_is_the_same_from_a_hundred_starts(shipped: Model) -> None:
    """Wherever the iteration starts, 40 iterations later it is at the one fixed point."""
    rng = np.random.default_rng(1)
    weights, e = to_record(shipped), rng.normal(size=96)
    ends = np.array([settled(weights, e, rng.uniform(-10, 10, 96), 60)[0] for _ in range(100)])
    assert np.ptp(ends, axis=0).max() < 1e-5


@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 10_000), gamma=st.sampled_from([0.1, 0.5, 0.9]))
def test_edge_weights_contract_at_the_certified_rate(seed: int, gamma: float) -> None:
    """With orthogonal matrices, each iteration still shrinks the distance to the equilibrium by q or more."""
    model = edge_model(seed, gamma, tau=0.5)
    rate = next(figure.value for figure in model.figures if figure.name == "q")
    assert rate == pytest.approx(0.5 * (1 + gamma / 2), abs=1e-4)
    rng = np.random.default_rng(seed)
    weights, e, start = to_record(model, complete=False), rng.normal(size=96) * 3, rng.uniform(-10, 10, 96)
    end = settled(weights, e, start, 200)[0].astype(np.float64)
    distance = np.linalg.norm(start - end)
    for k in range(1, 9):
        now = np.linalg.norm(settled(weights, e, start, k)[0] - end)
        assert now <= rate * distance + 1e-5
        distance = now


def test_the_error_after_eight_iterations_obeys_the_bound(shipped: Model) -> None:
    """The distance to the fixed point is at most q^8 / (1 - q) times the first step."""
    rng = np.random.default_rng(2)
    weights = to_record(shipped)
    q = float(weights["rate"])
    for _ in range(20):
        e, start = rng.normal(size=96) * 2, rng.uniform(-5, 5, 96)
        end = settled(weights, e, start, 200)[0]
        first = settled(weights, e, start, 1)[1]
        assert np.linalg.norm(settled(weights, e, start, 8)[0] - end) <= q**8 / (1 - q) * first + 1e-5


def test_a_warm_start_is_never_worse_on_continuous_motion(shipped: Model) -> None:
    """On every frame of a wandering body, the warm start ends at least as near to the equilibrium as a cold one."""
    rng = np.random.default_rng(3)
    weights = to_record(shipped)
    path = np.cumsum(rng.normal(scale=0.02, size=(90, 96)), axis=0) + rng.normal(size=96)
    state, z = np.zeros(1, lim_rps.STATE)[0], np.zeros(96, F)
    for n, e in enumerate(path):
        lim_rps.step(z, state, weights, e.astype(F), -1.0)
        cold, cold_residual, _ = settled(weights, e, np.zeros(96), 8)
        end = settled(weights, e, z, 100)[0]
        assert float(state["residual"]) <= cold_residual + 1e-6
        if n:
            assert np.linalg.norm(z - end) <= np.linalg.norm(cold - end) + 1e-5


def test_work_is_bounded_by_the_cap_and_ends_early_when_still(shipped: Model) -> None:
    """No input takes more than the cap of iterations; a body that holds still takes one."""
    rng = np.random.default_rng(4)
    weights, state, z = to_record(shipped), np.zeros(1, lim_rps.STATE)[0], np.zeros(96, F)
    for _ in range(50):
        lim_rps.step(z, state, weights, (rng.normal(size=96) * 100).astype(F), lim_rps.CONVERGED)
        assert 1 <= state["used"] <= 8
        assert np.abs(z).max() <= 10
        assert np.isfinite(state["residual"])
    for _ in range(5):
        lim_rps.step(z, state, weights, np.ones(96, F), lim_rps.CONVERGED)
    assert (state["used"], state["converged"]) == (1, 1)


def test_the_latent_moves_no_more_than_its_inputs_allow(shipped: Model) -> None:
    """Two encodings at distance d settle at most tau d / (1 - q) apart: what proves that no motion breaks the music."""
    rng = np.random.default_rng(5)
    weights = to_record(shipped)
    q = float(weights["rate"])
    for _ in range(20):
        e = rng.normal(size=96)
        other = e + rng.normal(size=96) * rng.choice([0.01, 1.0])
        ends = [settled(weights, each, np.zeros(96), 100)[0] for each in (e, other)]
        assert np.linalg.norm(ends[0] - ends[1]) <= 0.5 * np.linalg.norm(e - other) / (1 - q) + 1e-5
