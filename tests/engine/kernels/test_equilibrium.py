"""The three equilibrium kernels: golden numbers, bounds, recovery, and what their compiled code may not contain."""

from types import ModuleType
from typing import Any

import numba
import numpy as np
import pytest
from paths import GOLDEN, needs_shared

from echelon_engine import _jit
from echelon_engine.kernels import dell_coupled, dell_gated, lim_rps
from echelon_models.weights import initial_path, load, to_record

F = np.float32


def fresh(module: ModuleType) -> Any:
    """Return a zero state."""
    return np.zeros(1, module.STATE)[0]


def golden(name: str) -> tuple[Any, Any]:
    """Return the kernel's weights record and the arrays of a golden file."""
    return to_record(load(GOLDEN / f"{name}.safetensors"), complete=False), dict(np.load(GOLDEN / f"{name}.npz"))


def initial(name: Any) -> Any:
    """Return the record of the weights that come with the package."""
    return to_record(load(initial_path(name)))


@needs_shared
def test_dell_gated_agrees_with_the_reference() -> None:
    """All 600 frames of y and of every state agree within 1e-5 of the largest value."""
    weights, data = golden("dell_gated")
    state, y = fresh(dell_gated), np.zeros(32, F)
    for n in range(600):
        dell_gated.step(y, state, weights, data["x"][n], float(data["c"][n]), float(data["gate_bias"][n]))
        for name, mine in (
            ("y", y),
            ("z", state["z"]),
            ("h_fast", state["pair"][:128]),
            ("h_slow", state["pair"][128:]),
        ):
            assert np.abs(mine - data[name][n]).max() <= 1e-5 * np.abs(data[name]).max(), (name, n)
        assert np.abs(state["gate"] - data["gate"][n]).max() <= 1e-5
    assert (state["clipped"], state["resets"], state["refused"]) == (0, 0, 0)


@needs_shared
def test_dell_coupled_agrees_with_the_reference() -> None:
    """All 600 frames of z, x_fast, y_slow and h agree within 1e-5, boundaries after frames 23, 47 and so on."""
    weights, data = golden("dell_coupled")
    state, z = fresh(dell_coupled), np.zeros(32, F)
    for n in range(600):
        dell_coupled.step(z, state, weights, data["limbs"][n], n % 24 == 23)
        for name, mine in (("z", z), ("x_fast", state["x_fast"]), ("y_slow", state["y_slow"]), ("h", state["h"])):
            assert np.abs(mine - data[name][n]).max() <= 1e-5, (name, n)
    fast, slow = data["x_fast"][-1], data["y_slow"][-1]
    expected = fast @ slow / np.linalg.norm(fast) / np.linalg.norm(slow)
    assert dell_coupled.coherence(state) == pytest.approx(expected, abs=1e-5)


@needs_shared
def test_lim_rps_agrees_with_the_reference() -> None:
    """All 600 frames of z and of the residual agree within 1e-5 of the largest, always eight iterations."""
    weights, data = golden("lim_rps")
    state, z = fresh(lim_rps), np.zeros(96, F)
    for n in range(600):
        lim_rps.step(z, state, weights, data["e"][n], -1.0)
        assert np.abs(z - data["z"][n]).max() <= 1e-5
        assert abs(state["residual"] - data["residual"][n]) <= 1e-5 * data["residual"].max()
        assert (state["used"], state["converged"]) == (8, int(data["residual"][n] <= 0.01))


def test_dell_gated_asks_the_slow_network_every_24th_frame() -> None:
    """The slow target changes at frames 0, 24, 48 and at no other."""
    weights, state, y = initial("dell_gated"), fresh(dell_gated), np.zeros(32, F)
    rng = np.random.default_rng(1)
    changed = []
    for n in range(60):
        before = state["target"].copy()
        dell_gated.step(y, state, weights, np.tanh(rng.normal(size=6)).astype(F), 0.5, 0.0)
        if (state["target"] != before).any():
            changed.append(n)
    assert changed == [0, 24, 48]


def test_the_gate_bias_pulls_toward_the_fast_network() -> None:
    """With a bias of 1 the gate is open and z is h_fast itself."""
    weights, state, y = initial("dell_gated"), fresh(dell_gated), np.zeros(32, F)
    for _ in range(5):
        dell_gated.step(y, state, weights, np.full(6, 0.5, F), 0.5, 1.0)
    np.testing.assert_allclose(state["gate"], 1.0, atol=1e-6)
    np.testing.assert_allclose(state["z"], state["pair"][:128], atol=1e-5)


def test_a_state_on_the_clip_is_counted() -> None:
    """Weights that drive the state away are held at +-10 and the frames are counted."""
    weights, state, y = initial("dell_gated"), fresh(dell_gated), np.zeros(32, F)
    weights["b_f2"][:] = 100.0
    for _ in range(10):
        dell_gated.step(y, state, weights, np.zeros(6, F), 0.0, 0.0)
    assert np.abs(state["z"]).max() <= 10
    assert state["pair"][:128].max() == 10
    assert state["clipped"] == 10


def run_gated(state: Any, weights: Any, value: float) -> np.ndarray:
    """Run one frame of DELL gated with every input at `value`."""
    y = np.full(32, 7.0, F)
    dell_gated.step(y, state, weights, np.full(6, value, F), 0.2, 0.0)
    return y


def run_coupled(state: Any, weights: Any, value: float) -> np.ndarray:
    """Run one frame of DELL coupled, a boundary, with every input at `value`."""
    z = np.full(32, 7.0, F)
    dell_coupled.step(z, state, weights, np.full(216, value, F), True)
    return z


def run_lim(state: Any, weights: Any, value: float) -> np.ndarray:
    """Run one frame of LIM-RPS with every input at `value`."""
    z = np.full(96, 7.0, F)
    lim_rps.step(z, state, weights, np.full(96, value, F), -1.0)
    return z


MODELS = [
    pytest.param(dell_gated, "dell_gated", run_gated, ("z", "pair", "target"), id="gated"),
    pytest.param(dell_coupled, "dell_coupled", run_coupled, ("h", "x_fast", "y_slow", "total"), id="coupled"),
    pytest.param(lim_rps, "lim_rps", run_lim, ("z",), id="lim_rps"),
]


@pytest.mark.parametrize(("module", "name", "run", "parts"), MODELS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_bad_input_holds_everything(module: Any, name: Any, run: Any, parts: Any, bad: float) -> None:
    """Input that is not finite leaves state and output as they were, and is counted."""
    weights, state = initial(name), fresh(module)
    for _ in range(3):
        run(state, weights, 0.3)
    before = state.copy()
    assert (run(state, weights, bad) == 7.0).all()
    assert state["refused"] == 1
    for part in parts:
        np.testing.assert_array_equal(state[part], before[part])
    assert np.isfinite(run(state, weights, 0.3)).all()


@pytest.mark.parametrize(("module", "name", "run", "parts"), MODELS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_state_never_sticks(module: Any, name: Any, run: Any, parts: Any, bad: float) -> None:
    """A state that turned non-finite, wherever, is finite again after the next frames, and a reset is counted."""
    weights = initial(name)
    for part in parts:
        state = fresh(module)
        run(state, weights, 0.3)
        state[part][-1] = bad
        run(state, weights, 0.3)
        out = run(state, weights, 0.3)
        assert np.isfinite(out).all(), part
        assert all(np.isfinite(state[each]).all() for each in parts), part
        if np.isnan(bad) and part != "x_fast":  # which every frame computes anew
            assert state["resets"] == 1, part


@pytest.mark.parametrize(("module", "name", "run", "parts"), MODELS)
def test_huge_input_stays_bounded(module: Any, name: Any, run: Any, parts: Any) -> None:
    """Inputs of 1e30 neither escape the clip nor leave anything behind that is not finite."""
    weights, state = initial(name), fresh(module)
    for value in (1e30, -1e30, 3e38, 0.1, 0.1):
        run(state, weights, value)
    assert np.abs(run(state, weights, 0.1)).max() < 100
    assert all(np.abs(state[part]).max() <= 100 for part in parts)


def test_an_absent_device_fades_within_a_second_and_says_so() -> None:
    """A device that falls silent contributes its last value, linearly faded to 0 over 60 frames."""
    weights, state, e = initial("lim_rps"), fresh(lim_rps), np.zeros(96, F)
    limbs, left, right = np.zeros(216, F), np.linspace(-1, 1, 12, dtype=F), np.ones(12, F)
    lim_rps.encode(e, state, weights, limbs, left, right, True, False)
    full = e[32:64].copy()
    expected = load(initial_path("lim_rps")).tensors["E_left"].astype(np.float64) @ left
    np.testing.assert_allclose(full, expected, atol=1e-6)
    assert (e[64:] == 0).all(), "the right device was never there"
    for n in range(1, 61):
        lim_rps.encode(e, state, weights, limbs, np.full(12, 9.0, F), right, False, False)
        np.testing.assert_allclose(e[32:64], full * (1 - n / 60), atol=1e-5)
        assert state["freshness"][0] == pytest.approx(1 - n / 60, abs=1e-5)
    assert np.abs(e).max() < 1e-5


def test_bad_sensor_values_are_held_at_the_last_good_ones() -> None:
    """NaN in the body or a device changes nothing but a counter (a device then counts as silent)."""
    weights, state, e = initial("lim_rps"), fresh(lim_rps), np.zeros(96, F)
    limbs, device = np.linspace(0, 1, 216, dtype=F), np.ones(12, F)
    lim_rps.encode(e, state, weights, limbs, device, device, True, True)
    good = e.copy()
    lim_rps.encode(e, state, weights, np.full(216, np.nan, F), device, np.full(12, np.inf, F), True, True)
    np.testing.assert_array_equal(e[:64], good[:64])
    np.testing.assert_allclose(e[64:], good[64:] * (59 / 60), atol=1e-6)
    assert state["refused"] == 2


@pytest.mark.parametrize(("module", "name", "run", "parts"), MODELS)
def test_nothing_is_allocated(module: Any, name: Any, run: Any, parts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiled code calls no allocator."""
    uncached = numba.njit(**{**_jit.OPTIONS, "cache": False})(module.step.py_func)
    monkeypatch.setattr(module, "step", uncached)
    run(fresh(module), initial(name), 0.3)
    (code,) = uncached.inspect_llvm().values()
    assert "NRT_MemInfo_alloc" not in code
    assert "NRT_Allocate" not in code
    assert "define" in code
