"""Derivatives of the latent and curvature, against float64 formulas and the golden numbers."""

from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paths import GOLDEN, needs_shared

from echelon_engine import _jit
from echelon_engine.kernels import dynamics
from echelon_engine.kernels.dynamics import DELAY_FRAMES, DYNAMICS, Z


def derivatives(z: Any) -> tuple[Any, Any]:
    """Return v and a of every frame of z (frames, 96)."""
    state = np.zeros(1, DYNAMICS)[0]
    v, a = np.zeros(z.shape), np.zeros(z.shape)
    for frame, row in enumerate(z.astype(np.float32)):
        dynamics.differentiate(state, row)
        v[frame], a[frame] = state["velocity"], state["acceleration"]
    return v, a


@needs_shared
def test_curvature_agrees_with_the_golden_numbers() -> None:
    """Raw curvature in 32 dimensions within 1e-5 of the largest; 0 at v = 0."""
    golden = np.load(GOLDEN / "curvature.npz")
    v, a = golden["v"].astype(np.float32), golden["a"].astype(np.float32)
    found = np.array([dynamics.curvature(v[i], a[i]) for i in range(len(v))])
    np.testing.assert_allclose(found, golden["curvature"], atol=1e-5 * golden["curvature"].max())
    assert found[0] == 0.0


def test_curvature_is_the_cross_product_in_three_dimensions() -> None:
    """|v x a| / |v|^3, and 1/r on a circle of radius r."""
    random = np.random.default_rng(0)
    v, a = random.standard_normal((2, 20, 3)).astype(np.float32)
    expected = np.linalg.norm(np.cross(v, a), axis=1) / np.linalg.norm(v, axis=1) ** 3
    found = [dynamics.curvature(v[i], a[i]) for i in range(20)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    circle = dynamics.curvature(np.array([0.0, 3.0], np.float32), np.array([-4.5, 0.0], np.float32))
    assert circle == pytest.approx(1 / 2.0)


@settings(deadline=None, max_examples=50)
@given(st.floats(0, 100), st.floats(0, 100), st.floats(-1, 1), st.floats(0.01, 10))
def test_floored_curvature_is_bounded_and_never_above_the_raw(v: float, a: float, cosine: float, v0: float) -> None:
    """With a speed floor the curvature stays under |a| / v0^2 and under the raw one."""
    vv, aa, va = v * v, a * a, v * a * cosine
    floored = dynamics.bend(vv, aa, va, v0)
    assert 0.0 <= floored <= a / v0**2 + 1e-9
    assert vv == 0.0 or floored <= dynamics.bend(vv, aa, va, 0.0) * (1 + 1e-9) + 1e-12


def test_derivatives_of_a_parabola_are_exact_and_three_frames_old() -> None:
    """The stated delay: v and a of z(t) = 1 + 2 t - 3 t^2 are those of t - 50 ms."""
    t = np.arange(40)[:, None] / 60 * np.ones(Z)
    v, a = derivatives(1 + 2 * t - 3 * t**2)
    late = t - DELAY_FRAMES / 60
    np.testing.assert_allclose(v[10:], (2 - 6 * late)[10:], atol=2e-3)
    np.testing.assert_allclose(a[10:], -6.0, atol=0.15)


def test_derivatives_agree_with_a_least_squares_parabola() -> None:
    """Every frame is numpy.polyfit of the last seven, read at their middle."""
    z = np.random.default_rng(1).standard_normal((20, Z))
    v, a = derivatives(z)
    k = np.arange(-3, 4) / 60
    for frame in (8, 15):
        square, slope, _ = np.polyfit(k, z[frame - 6 : frame + 1], 2)
        np.testing.assert_allclose(v[frame], slope, atol=1e-3)
        np.testing.assert_allclose(a[frame], 2 * square, atol=0.1)


def test_a_latent_that_begins_somewhere_has_no_velocity() -> None:
    """The first z is taken to have been there for ever."""
    v, a = derivatives(np.full((3, Z), 7.0))
    assert np.abs(v).max() < 1e-4
    assert np.abs(a).max() < 1e-2


def test_dynamics_allocates_nothing() -> None:
    """No allocation call in the compiled code."""
    step = numba.njit(**{**_jit.OPTIONS, "cache": False})(dynamics.differentiate.py_func)
    step(np.zeros(1, DYNAMICS)[0], np.zeros(Z, np.float32))
    code = "".join(step.inspect_llvm().values())
    assert "NRT_MemInfo_alloc" not in code
    assert "NRT_Allocate" not in code
