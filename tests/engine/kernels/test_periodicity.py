"""Periodicity: the autocorrelation peak of the last 4 s of energy, incremental and free of drift."""

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from echelon_engine._jit import kernel
from echelon_engine.kernels import periodicity
from echelon_engine.kernels.periodicity import FIRST, FLOOR_MPS, LAGS, PERIODICITY, WINDOW


@kernel
def play(out: Any, state: Any, energy: Any) -> None:
    """Step through an energy and keep the strength of every frame."""
    for i in range(energy.shape[0]):
        periodicity.step(state, energy[i])
        out[i] = state.strength


def strengths(energy: Any, state: Any = None) -> Any:
    """Return the strength of every frame."""
    out = np.zeros(len(energy), np.float32)
    play(out, np.zeros(1, PERIODICITY)[0] if state is None else state, np.asarray(energy, np.float64))
    return out


def reference(window: Any) -> Any:
    """Return r of every lag of one window by its definition."""
    r = []
    for lag in range(FIRST, FIRST + LAGS):
        new, old = window[lag:], window[: WINDOW - lag]
        floor = len(new) * FLOOR_MPS**2
        spread = (len(new) * new.var() + floor) * (len(old) * old.var() + floor)
        r.append(((new - new.mean()) * (old - old.mean())).sum() / np.sqrt(spread))
    return np.array(r)


def test_the_incremental_correlation_is_pearsons_also_after_an_hour() -> None:
    """Every lag agrees with the definition in float64 after 200,000 frames of loud and quiet motion."""
    random = np.random.default_rng(0)
    energy = np.abs(random.standard_normal(200_000)) * (0.01 + 5 * (np.arange(200_000) // 1000 % 2))
    state = np.zeros(1, PERIODICITY)[0]
    for length in (100, 1000, len(energy)):
        state = np.zeros(1, PERIODICITY)[0]
        strengths(energy[:length], state)
        window = np.concatenate([np.zeros(WINDOW), energy[:length]])[-WINDOW:]
        np.testing.assert_allclose(state["r"], reference(window), atol=1e-6)


def test_rhythm_is_strong_noise_and_stillness_are_not() -> None:
    """Above 0.9 for a steady swing, under 0.5 for noise, 0 for a body that stands or leaves."""
    t = np.arange(480) / 60
    for bpm in (50, 90, 170):
        assert strengths(0.5 + 0.5 * np.cos(2 * np.pi * bpm / 60 * t))[-1] > 0.9
    assert strengths(np.abs(np.random.default_rng(1).standard_normal(2400)))[WINDOW:].max() < 0.5
    assert strengths(np.zeros(480))[-1] == 0.0
    assert strengths(np.concatenate([np.abs(np.sin(t)), np.zeros(WINDOW + 120)]))[-1] < 1e-6


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.floats(0, 10), st.integers(1, 200)), min_size=1, max_size=20))
def test_strength_is_bounded(runs: list[tuple[float, int]]) -> None:
    """Any energy inside its range gives 0..1."""
    found = strengths(np.concatenate([np.full(length, value) for value, length in runs]))
    assert np.isfinite(found).all()
    assert found.min() >= 0.0
    assert found.max() <= 1.0
