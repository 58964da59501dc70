"""Layers and activations against NumPy in float64."""

import numpy as np
import pytest

from echelon_engine.kernels import dense


@pytest.mark.parametrize(("outputs", "inputs"), [(256, 135), (128, 256), (32, 129), (96, 128), (32, 12)])
def test_affine_agrees_with_numpy(outputs: int, inputs: int) -> None:
    """A packed layer computes W x + b, for even and odd numbers of inputs."""
    rng = np.random.default_rng(outputs * inputs)
    matrix = rng.normal(size=(outputs, inputs)).astype(np.float32)
    bias = rng.normal(size=outputs).astype(np.float32)
    x = np.zeros(dense.padded(inputs), np.float32)
    x[:inputs] = rng.normal(size=inputs)
    packed = np.empty(dense.panels(outputs, inputs), np.float32)
    dense.pack(packed, matrix)
    out = np.empty(outputs, np.float32)
    dense.affine(out, packed, x, bias)
    expected = matrix.astype(np.float64) @ x[:inputs] + bias
    np.testing.assert_allclose(out, expected, atol=2e-5)


def test_affine_may_add_onto_its_own_bias() -> None:
    """Out may be the bias: a second layer is added onto the result of a first."""
    rng = np.random.default_rng(5)
    matrix, x = rng.normal(size=(64, 32)).astype(np.float32), rng.normal(size=32).astype(np.float32)
    packed = np.empty(dense.panels(64, 32), np.float32)
    dense.pack(packed, matrix)
    out = np.ones(64, np.float32)
    dense.affine(out, packed, x, out)
    np.testing.assert_allclose(out, matrix.astype(np.float64) @ x + 1, atol=1e-5)


def test_activations_are_accurate_and_keep_nan() -> None:
    """Tanh and sigmoid stay within 4e-7 over all magnitudes; infinities saturate, NaN stays NaN."""
    points = np.concatenate([np.linspace(-12, 12, 4001), [1e-8, -1e-8, 80.0, -80.0, np.inf, -np.inf]])
    for point in points.astype(np.float32):
        assert abs(dense.tanh(point) - np.tanh(np.float64(point))) < 4e-7
        with np.errstate(over="ignore"):
            assert abs(dense.sigmoid(point) - 1 / (1 + np.exp(-np.float64(point)))) < 4e-7
    assert np.isnan(dense.tanh(np.float32(np.nan)))
    assert np.isnan(dense.sigmoid(np.float32(np.nan)))


def test_finite_sees_every_bad_number_anywhere() -> None:
    """One NaN or infinity at any place is found; the largest finite numbers are not mistaken for one."""
    values = np.full(33, np.finfo(np.float32).max, np.float32)
    assert dense.finite(values)
    for bad in (np.nan, np.inf, -np.inf):
        for place in range(33):
            one = values.copy()
            one[place] = bad
            assert not dense.finite(one)
