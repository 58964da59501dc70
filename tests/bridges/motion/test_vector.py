"""Single vectors: turns between directions and from axes."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from echelon_bridges.motion import scalar as one
from echelon_bridges.motion import vector as v
from echelon_engine import quaternion as qt


@pytest.mark.parametrize("seed", range(40))
def test_axes_tell_their_rotation(seed: int) -> None:
    """Every rotation comes back from its axes, half turns about each axis too."""
    half = Rotation.from_rotvec(np.pi * np.eye(3)).as_quat()
    q = half[seed] if seed < 3 else Rotation.random(random_state=seed).as_quat()
    x, y, z = (tuple(qt.rotate(q, axis).tolist()) for axis in np.eye(3))
    assert qt.angle(np.array(v.from_axes(x, y, z)), q) < 1e-7


@pytest.mark.parametrize("seed", range(10))
def test_between_turns_one_direction_into_another(seed: int) -> None:
    """The smallest rotation takes u to v, opposite ones too; the zero vector is turned by nothing."""
    u, w = np.random.default_rng(seed).normal(size=(2, 3))
    if seed == 0:
        w = -2.0 * u
    turned = one.rotate(v.between(u.tolist(), w.tolist()), u.tolist())
    np.testing.assert_allclose(turned / np.linalg.norm(u), w / np.linalg.norm(w), atol=1e-6)
    assert v.between((0.0, 0.0, 0.0), w.tolist()) == one.IDENTITY
