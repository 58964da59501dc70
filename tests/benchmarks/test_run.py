"""The suite's arithmetic and its table: percentiles, bars, one document of many benchmarks. No timings."""

import importlib
import json
import sys
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pytest
from paths import ROOT


@pytest.fixture
def suite(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module `run`, with two benchmarks that measure nothing."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    before = set(sys.modules)
    run = importlib.import_module("run")
    good, bad = ModuleType("good"), ModuleType("bad")
    good.measure = lambda size=3: {  # type: ignore[attr-defined]
        "figures": {"size": size},
        "seconds": 3.0,
        "bars": [run_figures().bar("a thing", 3.0, "us", "<=", 2.0)],
        "ratios": [{"what": "twice", "ratio": 2.5, "bar": "at least 2", "holds": True}],
    }
    good.BARS = {"seconds": ("at most", 4.0), "of something else": ("at most", 1.0)}  # type: ignore[attr-defined]
    bad.measure = lambda: 1 / 0  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "good", good)
    monkeypatch.setitem(sys.modules, "bad", bad)
    monkeypatch.setattr(run, "SUITE", {"good": ({"size": 1}, "fine"), "bad": ({}, "breaks")})
    yield run
    for name in set(sys.modules) - before:
        if name in ("run", "figures", "machine"):
            del sys.modules[name]


def run_figures() -> ModuleType:
    """Return the module `figures` that the suite uses."""
    return sys.modules["figures"]


def test_a_run_keeps_every_figure_and_tells_what_failed(suite) -> None:
    """Figures, bars and machine are in one JSON document; a benchmark that breaks does not end the others."""
    said: list[str] = []
    document = json.loads(json.dumps(suite.run_suite(["bad", "good"], True, said.append)))
    assert document["benchmarks"]["good"]["figures"] == {"size": 1}
    assert "ZeroDivisionError" in document["benchmarks"]["bad"]["error"]
    assert [b["met"] for b in document["bars"]] == [False, True, True]
    assert document["machine"]["versions"]["numpy"]
    text = suite.readable(document)
    assert "MISSED" in text
    assert "2 of 3 bars met" in text
    assert "failed: bad" in text
    assert any("fine" in line for line in said)


def test_percentiles_of_values_and_of_a_histogram_agree(suite) -> None:
    """Counts a bin give the same percentiles as the values, to one bin; the largest is exact."""
    figures = run_figures()
    values = np.random.default_rng(2).gamma(2.0, 10.0, 20_000)
    exact = figures.percentiles(values)
    counts = np.bincount(np.minimum(values / 0.5, 511).astype(int), minlength=512)
    binned = figures.histogram_percentiles(counts, 0.5, float(values.max()))
    for name in figures.SHARES:
        assert exact[name] <= binned[name] + 0.01 <= exact[name] + 0.52
    assert binned["max"] == exact["max"]
    assert binned["count"] == exact["count"] == 20_000
    assert figures.percentiles([]) == figures.histogram_percentiles([0, 0], 1.0, 0.0)


def test_the_last_bin_means_more(suite) -> None:
    """A percentile in the last bin is told as the largest value, never as the edge of the bin."""
    assert run_figures().histogram_percentiles([1, 0, 99], 1.0, 250.0)["p50"] == 250.0


def test_a_bar_needs_a_known_operator(suite) -> None:
    """A comparison that is not one of three is refused."""
    assert run_figures().bar("x", 1.0, "us", "<", 1.0)["met"] is False
    with pytest.raises(ValueError, match="must be one of"):
        run_figures().bar("x", 1.0, "us", "==", 1.0)
