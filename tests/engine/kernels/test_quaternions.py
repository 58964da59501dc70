"""Quaternions of whole bodies against SciPy."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation, Slerp

from echelon_engine._jit import kernel
from echelon_engine.kernels.quaternions import angle_between, slerp_limbs


def bodies(seed: int, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Two rows of 27 unit quaternions whose rotations differ by about `spread` radians."""
    random = np.random.default_rng(seed)
    first = Rotation.random(27, random_state=seed)
    second = Rotation.from_rotvec(random.normal(0, spread, (27, 3))) * first
    return first.as_quat().astype(np.float32).ravel(), second.as_quat().astype(np.float32).ravel()


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), spread=st.sampled_from([0.0, 1e-3, 0.03, 0.5]), fraction=st.floats(0, 1.5))
def test_slerp_follows_scipy(seed: int, spread: float, fraction: float) -> None:
    """Every limb lies on the arc that SciPy's Slerp draws, also beyond its end, whatever the quaternions' signs."""
    a, b = bodies(seed, spread)
    out = np.zeros_like(a)
    slerp_limbs(out, a, -b, fraction, 27)
    for limb in range(27):
        pair = Rotation.from_quat([a[4 * limb : 4 * limb + 4], b[4 * limb : 4 * limb + 4]])
        arc = (pair[0].inv() * pair[1]).as_rotvec()
        expected = pair[0] * Rotation.from_rotvec(fraction * arc)
        if fraction <= 1:
            assert (expected.inv() * Slerp([0, 1], pair)(fraction)).magnitude() < 1e-6
        got = Rotation.from_quat(out[4 * limb : 4 * limb + 4])
        assert (got.inv() * expected).magnitude() < 2e-5
        assert abs(np.linalg.norm(out[4 * limb : 4 * limb + 4]) - 1) < 1e-6


def test_slerp_between_equal_bodies_is_exact() -> None:
    """A body that stands still does not creep by rounding: the same result at every fraction."""
    a, _ = bodies(3, 0.0)
    results = []
    for fraction in (0.0, 0.3, 0.99, 1.4):
        out = np.zeros_like(a)
        slerp_limbs(out, a, a.copy(), fraction, 27)
        results.append(out)
    for out in results[1:]:
        np.testing.assert_array_equal(out, results[0])


@kernel
def angles(out: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
    """Angle of every limb."""
    for i in range(len(out)):
        out[i] = angle_between(a, b, 4 * i)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), spread=st.sampled_from([0.0, 1e-4, 0.1, 2.0]))
def test_angle_keeps_its_digits(seed: int, spread: float) -> None:
    """The angle agrees with SciPy's from fractions of a millidegree to half a turn."""
    a, b = bodies(seed, spread)
    out = np.zeros(27)
    angles(out, a, -b)
    expected = (Rotation.from_quat(a.reshape(-1, 4)).inv() * Rotation.from_quat(b.reshape(-1, 4))).magnitude()
    np.testing.assert_allclose(out, expected, atol=1e-6, rtol=2e-3)
