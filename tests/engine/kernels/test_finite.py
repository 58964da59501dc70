"""What guards against NaN and infinity must survive the optimiser."""

import numpy as np
import pytest

from echelon_engine._jit import kernel
from echelon_engine.kernels.finite import finite_number

BAD = [(np.inf, -np.inf), (np.inf, 1.0), (1.0, -np.inf), (np.nan, 1.0), (1.0, np.nan), (np.nan, np.inf)]


@kernel
def sum_is_finite(a, b):
    """Tell whether a computed value is finite."""
    return finite_number(a + b)


@kernel
def finite_sums(a, b):
    """Count the finite sums of two arrays, in a loop that vectorises."""
    count = 0
    for i in range(a.shape[0]):
        if finite_number(a[i] + b[i]):
            count += 1
    return count


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_a_computed_value_that_is_not_finite_is_found(kind) -> None:
    """A sum of NaN or infinity is not finite, alone and in a loop; a sum of numbers is."""
    for a, b in BAD:
        assert not sum_is_finite(kind(a), kind(b)), (a, b)
    assert sum_is_finite(kind(1.0), kind(-2e30))
    a, b = (np.array(column, kind) for column in zip(*BAD, strict=True))
    assert finite_sums(np.tile(a, 11), np.tile(b, 11)) == 0
    assert finite_sums(np.ones(67, kind), np.full(67, -3e37, kind)) == 67


def test_overflow_to_infinity_is_found() -> None:
    """A float32 sum of two finite numbers that overflows is not finite."""
    assert not sum_is_finite(np.float32(3.4e38), np.float32(3.4e38))
