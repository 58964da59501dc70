"""Quaternions against scipy's rotations."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from echelon_bridges.motion import scalar
from echelon_engine import quaternion as qt

RNG = np.random.default_rng(5)
A, B = Rotation.random(50, random_state=1), Rotation.random(50, random_state=2)
V = RNG.normal(size=(50, 3))


def same(q: np.ndarray, r: Rotation) -> None:
    """Assert that the quaternions are these rotations, whatever their sign."""
    assert np.abs((Rotation.from_quat(q) * r.inv()).magnitude()).max() < 1e-7


def test_products_turns_and_matrices_agree_with_scipy() -> None:
    """multiply, rotate, conjugate and to_matrix mean what scipy means."""
    same(qt.multiply(A.as_quat(), B.as_quat()), A * B)
    same(qt.conjugate(A.as_quat()), A.inv())
    np.testing.assert_allclose(qt.rotate(A.as_quat(), V), A.apply(V), atol=1e-12)
    np.testing.assert_allclose(qt.to_matrix(A.as_quat())[:, :3, :3], A.as_matrix(), atol=1e-12)
    for matrix, q in zip(A.as_matrix(), A.as_quat(), strict=True):
        assert qt.angle(qt.from_matrix(matrix), q) < 1e-7


@pytest.mark.parametrize("order", ["ZXY", "ZYX", "XYZ", "YXZ"])
def test_euler_angles_are_intrinsic_in_channel_order(order: str) -> None:
    """Channels Zrotation Xrotation Yrotation mean Rz Rx Ry, also beyond 90 degrees."""
    angles = RNG.uniform(-180, 180, (30, 3))
    same(qt.from_euler(angles, order), Rotation.from_euler(order, angles, degrees=True))


def test_slerp_takes_the_short_way_at_constant_speed() -> None:
    """A quarter of the way is a quarter of the angle, also between q and -q of one rotation."""
    a, b = A.as_quat(), -B.as_quat()
    middle = qt.slerp(a, b, np.full(50, 0.25))
    np.testing.assert_allclose(qt.angle(a, middle), 0.25 * qt.angle(a, b), atol=1e-7)
    np.testing.assert_allclose(qt.angle(qt.slerp(a, -a, 0.5), a), 0.0, atol=1e-7)


def test_between_is_the_smallest_turn_also_for_opposites() -> None:
    """between(u, v) turns u onto v; opposite vectors are half a turn apart."""
    u, v = V[:25], V[25:]
    turned = qt.rotate(qt.between(u, v), u)
    np.testing.assert_allclose(np.cross(turned, v), 0.0, atol=1e-9)
    assert np.all(np.sum(turned * v, axis=1) > 0)
    for axis in np.eye(3):
        np.testing.assert_allclose(qt.rotate(qt.between(axis, -axis), axis), -axis, atol=1e-12)


def test_continuous_removes_sign_leaps() -> None:
    """Neighbouring frames lie in one hemisphere; no rotation changes."""
    q = qt.slerp(A.as_quat()[0], B.as_quat()[0], np.linspace(0, 1, 20))
    flickering = q * np.where(RNG.random(20) < 0.5, -1.0, 1.0)[:, None]
    smooth = qt.continuous(flickering)
    assert np.all(np.sum(smooth[1:] * smooth[:-1], axis=1) > 0)
    np.testing.assert_allclose(qt.angle(smooth, q), 0.0, atol=1e-7)


def test_scalar_helpers_equal_the_arrays() -> None:
    """The tuple versions give what the array versions give."""
    for a, b, v in zip(A.as_quat(), B.as_quat(), V, strict=True):
        ta, tb = tuple(map(float, a)), tuple(map(float, b))
        np.testing.assert_allclose(scalar.multiply(ta, tb), qt.multiply(a, b), atol=1e-12)
        np.testing.assert_allclose(scalar.rotate(ta, list(v)), qt.rotate(a, v), atol=1e-12)
        np.testing.assert_allclose(scalar.slerp(ta, tb, 0.3), qt.slerp(a, b, 0.3), atol=1e-9)
        np.testing.assert_allclose(scalar.normalise([2 * x for x in a]), a, atol=1e-12)
