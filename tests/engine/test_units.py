"""A cold start compiles everything, says what, and says what fails; old caches go."""

import os
import subprocess
import threading

import pytest
from numba.core.caching import IndexDataCacheFile

from echelon_engine import _jit, units
from echelon_engine.errors import UserError


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    """An empty cache folder, here and in the processes that compile."""
    monkeypatch.setenv("ECHELON_CACHE_DIR", str(tmp_path))
    cache = tmp_path / _jit.cache_name()
    monkeypatch.setattr(units, "CACHE_DIR", cache)
    monkeypatch.setattr(_jit, "CACHE_DIR", cache)
    return cache


def test_a_cold_start_compiles_what_is_missing_and_says_so(empty_cache, monkeypatch) -> None:
    """The job is announced with its number, is in the cache after, and the next call has nothing to do."""
    monkeypatch.setattr(units, "JOBS", {"report": "units._report"})
    told = []
    assert units.compile_cold(2, lambda *progress: told.append(progress)) == []
    assert told == [("report", 1, 1)]
    assert units.missing() == []
    units.compile_cold(2, lambda *progress: told.append(progress))
    assert len(told) == 1


def test_a_job_that_fails_is_reported_with_its_reason(empty_cache, monkeypatch) -> None:
    """A job that ends with an error raises one line that names it and its last word, and does not hang."""
    monkeypatch.setattr(units, "JOBS", {"nonsense": "units._nonsense"})
    with pytest.raises(UserError, match="compiling nonsense: KeyError: 'nonsense'"):
        units.compile_cold(2)


def test_a_compiler_that_cannot_speed_up_compiles_the_plain_way(empty_cache, monkeypatch) -> None:
    """Where the fast compiler does not run, the job is done by Numba as it is."""
    monkeypatch.setattr(units, "JOBS", {"start": "units._start"})
    popen = subprocess.Popen

    def broken(command, *arguments, **options):
        return popen(["false"] if "echelon_engine.unit_compiler" in command else command, *arguments, **options)

    monkeypatch.setattr(subprocess, "Popen", broken)
    assert units.compile_cold(1) == ["start"]
    assert units.missing() == []


def test_two_that_compile_at_once_do_not_mix_up_their_code(empty_cache, monkeypatch) -> None:
    """What one adds to a function's cache while another is about to, both find again."""
    one, other = (IndexDataCacheFile(str(empty_cache), "function", "stamp") for _ in range(2))
    empty_cache.mkdir(parents=True)
    begun, done = threading.Event(), threading.Event()
    keep = one._save_index

    def slowly(overloads) -> None:
        begun.set()
        done.wait(0.5)  # as long as that, the other may do all it wants to
        keep(overloads)

    monkeypatch.setattr(one, "_save_index", slowly)
    first = threading.Thread(target=one.save, args=("one", "code of one"))
    first.start()
    assert begun.wait(10.0)
    other.save("other", "code of the other")
    done.set()
    first.join()
    assert (other.load("one"), other.load("other")) == ("code of one", "code of the other")


def test_old_caches_are_removed(tmp_path, monkeypatch) -> None:
    """The present version's cache and the two newest others stay; anything else in the folder is left alone."""
    monkeypatch.setenv("ECHELON_CACHE_DIR", str(tmp_path))
    names = [f"{i:016x}" for i in range(5)]
    for age, name in enumerate(names):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (1e9 - age, 1e9 - age))
    (tmp_path / "weights").mkdir()
    monkeypatch.setattr(_jit, "CACHE_DIR", tmp_path / names[4])
    _jit.forget_old_caches()
    assert {path.name for path in tmp_path.iterdir()} == {names[0], names[1], names[4], "weights"}
