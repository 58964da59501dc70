"""Body to band: the seed's rules with hysteresis, the 16 mappings against NumPy, and nothing that jumps."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echelon_engine.band import BAND, BAND_LANE, BAND_LANES, BAND_NEUTRAL, MAPPINGS, SOURCES
from echelon_engine.kernels import conducting
from echelon_engine.kernels.conducting import CONDUCTING, CONTINUOUS, FULL_RANGE_S, RULES
from echelon_engine.memory import CONTROL, LATENT_STATE_NAMES

DT = 1.0 / 60.0
CALM = dict.fromkeys(SOURCES, 0.0) | {"energy": 0.5, "verticality": 1.0, "prediction_confidence": 1.0}


def fresh() -> Any:
    """Return a new state."""
    return np.zeros(1, CONDUCTING)[0]


def run(state: Any, frames: int, mode: int, **sources: float) -> dict[str, float]:
    """Step so often with the same sources and return the parameters by name."""
    out = np.zeros(BAND_LANES, np.float32)
    given_values = CALM | sources
    source = np.array([given_values[name] for name in SOURCES])
    for _ in range(frames):
        conducting.step(out, state, source, mode, DT)
    return {p.name: float(out[p.lane]) for p in BAND}


def test_the_tables_are_whole() -> None:
    """There are 15 parameters in order and 16 mappings, each from a field of the records to a parameter."""
    assert [p.lane for p in BAND] == list(range(15))
    assert len(MAPPINGS) == 16
    assert {m.parameter for m in MAPPINGS} == set(BAND_LANE)
    fields = set(CONTROL.names or ()) | set(LATENT_STATE_NAMES)
    assert {m.source for m in MAPPINGS} == set(SOURCES) <= fields
    assert all(m.low < m.high and (m.curve == "linear" or m.low > 0.0) for m in MAPPINGS)
    asked = {"periodicity": "rhythmic_density", "curvature": "melodic_range", "tension": "harmonic_tension"}
    asked |= {"grounding": "bass_weight", "prediction_confidence": "arrangement_stability"}
    assert set(asked.items()) <= {(m.source, m.parameter) for m in MAPPINGS}


@pytest.mark.parametrize(
    ("name", "position", "value"),
    [
        ("bass_weight", 0.5, 0.0),
        ("bass_weight", 0.0, -6.0),
        ("bass_weight", 1.0, 4.0),
        ("pad_level", 0.8, 0.0),
        ("intensity", 1.0, 3.0),
        ("brightness", 0.5, math.sqrt(400.0 * 16000.0)),
        ("width", 2.0, 1.0),
    ],
)
def test_positions_mean_what_the_table_says(name: str, position: float, value: float) -> None:
    """A position has its value in the parameter's unit, clipped to the ends."""
    assert BAND[BAND_LANE[name]].value(position) == pytest.approx(value)


@pytest.mark.parametrize(
    ("source", "on", "between", "off", "parameter"),
    [
        ("tension", 0.75, 0.65, 0.5, "hat_density"),
        ("energy", 0.9, 0.7, 0.5, "bass_weight"),
        ("energy", 0.2, 0.35, 0.5, "pad_level"),
        ("transition_intensity", 0.6, 0.4, 0.1, "reverb"),
    ],
)
def test_each_rule_has_its_threshold_and_hysteresis(
    source: str, on: float, between: float, off: float, parameter: str
) -> None:
    """A rule begins beyond its threshold, holds on the way back, and ends beyond the margin; all else is neutral."""
    state = fresh()
    neutral = {p.name: p.neutral for p in BAND}
    assert run(state, 600, RULES, **{source: between}) == pytest.approx(neutral, abs=1e-3)
    up = run(state, 600, RULES, **{source: on})
    assert up[parameter] > neutral[parameter] + 0.15
    assert {k: v for k, v in up.items() if k != parameter} == pytest.approx(
        {k: v for k, v in neutral.items() if k != parameter}, abs=1e-3
    )
    assert run(state, 600, RULES, **{source: between})[parameter] == pytest.approx(up[parameter], abs=1e-3)
    assert run(state, 600, RULES, **{source: off}) == pytest.approx(neutral, abs=1e-3)


def test_continuous_follows_the_table() -> None:
    """Held sources bring every parameter to the weighted mean of its mappings, computed from the table in NumPy."""
    draw = np.random.default_rng(4)
    for _ in range(5):
        sources = {
            m.source: float(draw.uniform(-0.2, 1.3) * (m.high - max(m.low, 0.0)) + max(m.low, 0.0)) for m in MAPPINGS
        }
        got = run(fresh(), 1800, CONTINUOUS, **sources)
        total = {p.name: 0.0 for p in BAND}
        weights = dict(total)
        for m in MAPPINGS:
            v = abs(sources[m.source]) if m.sense == "size" else sources[m.source]
            if m.curve == "log":
                u = math.log(max(v, m.low) / m.low) / math.log(m.high / m.low)
            else:
                u = (v - m.low) / (m.high - m.low)
            u = min(max(u, 0.0), 1.0)
            total[m.parameter] += m.weight * (1.0 - u if m.sense == "down" else u)
            weights[m.parameter] += m.weight
        assert got == pytest.approx({name: total[name] / weights[name] for name in total}, abs=1e-3)


def test_smoothing_has_its_time_constant() -> None:
    """After one time constant a lone mapping has come 63 % of its way."""
    state = fresh()
    for m in MAPPINGS:
        if [other.parameter for other in MAPPINGS].count(m.parameter) == 1:
            state = fresh()
            lane = BAND_LANE[m.parameter]
            begin = BAND_NEUTRAL[lane]
            end = 0.0 if m.sense == "down" else 1.0
            got = run(state, round(m.smooth_s * 60), CONTINUOUS, **{m.source: m.high})[m.parameter]
            assert (got - begin) / (end - begin) == pytest.approx(1 - math.exp(-1), abs=0.12), m


@settings(deadline=None, max_examples=25)
@given(
    st.lists(
        st.tuples(st.integers(0, 13), st.floats(width=32, allow_nan=True), st.integers(0, 1)), min_size=1, max_size=40
    )
)
def test_nothing_jumps_and_nothing_leaves_its_range(moves: list[tuple[int, float, int]]) -> None:
    """Whatever the sources say, NaN included, and whenever the mode changes, parameters glide within 0..1."""
    state = fresh()
    out = np.zeros(BAND_LANES, np.float32)
    source = np.array([CALM[name] for name in SOURCES])
    conducting.step(out, state, source, RULES, DT)
    for index, value, mode in moves:
        source[index] = value
        for _ in range(3):
            before = out.copy()
            conducting.step(out, state, source, mode, DT)
            assert np.all((out >= 0.0) & (out <= 1.0))
            assert np.max(np.abs(out - before)) <= DT / FULL_RANGE_S + 1e-6


def test_a_source_that_is_no_number_keeps_its_last_value() -> None:
    """NaN and infinity are counted and change nothing."""
    one, two = fresh(), fresh()
    run(one, 60, CONTINUOUS, energy=0.9)
    run(two, 60, CONTINUOUS, energy=0.9)
    good = run(one, 60, CONTINUOUS, energy=0.9)
    for bad in (math.nan, math.inf):
        assert run(two, 30, CONTINUOUS, energy=bad)["intensity"] > 0.8
    assert two["refused"] == 60
    assert {p.name: two["value"][p.lane] for p in BAND} == pytest.approx(good, abs=1e-6)
