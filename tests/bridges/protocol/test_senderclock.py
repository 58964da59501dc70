"""Sender clocks: the least delayed datagram tells the offset."""

import numpy as np
import pytest

from echelon_bridges.protocol.senderclock import SenderClock

MS = 1_000_000


def run(delays_ms: np.ndarray, drift: float = 0.0, rate: float = 60.0) -> np.ndarray:
    """Return stamp minus true time, ms, of frames with these delays from a clock that runs fast by `drift`."""
    clock = SenderClock()
    errors = []
    for n, delay in enumerate(delays_ms):
        true = 10**9 + int(n / rate * 1e9)
        sender = int(n / rate * 1e9 * (1 + drift))
        arrival = true + int(delay * MS)
        stamp = clock.engine_ns(sender, arrival)
        assert stamp <= arrival
        errors.append((stamp - true) / MS)
    return np.array(errors)


def test_jitter_does_not_reach_the_stamps() -> None:
    """With delays of 1 to 40 ms the stamps settle 1 to 2 ms late, and evenly."""
    errors = run(np.random.default_rng(0).uniform(1, 40, 1800))
    assert np.all((errors[300:] > 0.9) & (errors[300:] < 4.0))
    assert np.abs(np.diff(errors[300:])).max() < 1.0


@pytest.mark.parametrize("drift", [1.667e-3, -1.667e-3])
def test_drifting_clocks_are_followed(drift: float) -> None:
    """The largest drift measured between two clocks of one phone stays within 10 ms for minutes."""
    errors = run(np.random.default_rng(1).uniform(1, 10, 60 * 180), drift)
    assert np.abs(errors).max() < 12.0


def test_a_longer_path_is_taken_over_in_seconds() -> None:
    """When every datagram takes 200 ms longer than before, stamps follow within five seconds."""
    errors = run(np.concatenate([np.full(600, 2.0), np.full(600, 202.0)]))
    assert errors[-1] == pytest.approx(202.0, abs=1.0)
    assert errors[610] < 5.0
