"""The fuzz command: it repeats itself by its seed, feeds everybody, and shows what escapes."""

import importlib
import queue
import sys
import threading
from collections.abc import Iterator
from types import ModuleType

import pytest
from paths import ROOT

from echelon_bridges.protocol import adapters


@pytest.fixture
def fuzz(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module `fuzz`."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    before = set(sys.modules)
    yield importlib.import_module("fuzz")
    for name in ("fuzz", "figures"):
        if name not in before:
            sys.modules.pop(name, None)


def run(fuzz: ModuleType, count: int) -> dict:
    """Work in this process; return the figures."""
    results: queue.Queue[dict] = queue.Queue()
    fuzz.work(0, 1, count, [0], threading.Event(), results)
    return results.get()


def test_the_same_seed_makes_the_same_datagrams(fuzz: ModuleType) -> None:
    """Two mutators of one seed agree, those of two seeds do not; most datagrams are changed, some are not."""
    corpus = fuzz.corpus()
    one, two, other = (fuzz.Mutator(corpus, seed) for seed in (1, 1, 2))
    first = [one.next() for _ in range(300)]
    assert first == [two.next() for _ in range(300)]
    assert first != [other.next() for _ in range(300)]
    known = {data for kind in corpus for data in kind}
    assert 15 < sum(data in known for data in first) < 150


def test_every_reader_is_fed(fuzz: ModuleType) -> None:
    """A short run reaches the streams, the adapters and the trackers, and nothing escapes."""
    row = run(fuzz, 1500)
    assert row["failure"] is None
    assert row["datagrams"] == 1500
    assert min(row["fed"].values()) > 30
    assert min(row["frames"], row["readings"], row["refused"]) > 30


def test_what_escapes_is_shown_with_its_datagram(fuzz: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception stops the run and is reported with the datagram's bytes, and so is a value out of bounds."""
    right = adapters.decode

    def broken(data: bytes) -> object:
        if b"gyro" in data:
            raise ZeroDivisionError("planted")
        return right(data)

    monkeypatch.setattr(adapters, "decode", broken)
    failure = run(fuzz, 2000)["failure"]
    assert "planted" in failure["traceback"]
    assert b"gyro" in bytes.fromhex(failure["datagram"])
    monkeypatch.setattr(adapters, "decode", right)
    monkeypatch.setattr(fuzz, "LIMITS", dict.fromkeys(fuzz.LIMITS, 0.001))
    assert "AssertionError" in run(fuzz, 2000)["failure"]["traceback"]


def test_the_command_tells_rate_and_memory(fuzz: ModuleType) -> None:
    """Run as people run it, in processes of its own: every datagram is counted and the bars are met."""
    result = fuzz.measure(600, seed=3, workers=2)
    assert result["datagrams"] == 600
    assert result["rate_per_second"] > 0
    assert [row["worker"] for row in result["figures"]] == [0, 1]
    assert [bar["met"] for bar in result["bars"]] == [True, True, True]
    assert "600 datagrams" in fuzz.table(result)
