"""Data sets come back as they were written, are split by source, and are drawn from evenly."""

import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echelon_models.train import dataset
from echelon_models.train.dataset import DatasetError, Recording, Windows


def recording(name: str = "a", frames: int = 50, source: str = "", kind: str = "real", seed: int = 0) -> Recording:
    """A recording of random numbers."""
    rng = np.random.default_rng(seed)

    def numbers(*shape: int) -> Any:
        return rng.random((frames, *shape), np.float32)

    return Recording(
        name, kind, numbers(6) - np.float32(0.5), numbers(), numbers(32), numbers(32) > 0.3, numbers(216), numbers(),
        numbers(), 100 * numbers(), numbers(), numbers() > 0.1, source or name,
    )  # fmt: skip


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """Every array, name and kind comes back as it was, with limbs or without."""
    given = [recording("a"), recording("b", 7, "a+c", "augmented", 1), recording("c", 300, seed=2)]
    assert dataset.write(tmp_path / "d.npz", given) == (tmp_path / "d.npz").stat().st_size
    for one, other in zip(given, dataset.read(tmp_path / "d.npz"), strict=True):
        for name in Recording._fields:
            assert np.array_equal(getattr(one, name), getattr(other, name)), name
    small = dataset.write(tmp_path / "e.npz", given, limbs=False)
    found = dataset.read(tmp_path / "e.npz")
    assert small < 0.3 * (tmp_path / "d.npz").stat().st_size
    for one, other in zip(given, found, strict=True):
        assert other.limbs.shape == (one.frames, 0)
        assert other.p.dtype == np.float32
        np.testing.assert_allclose(other.p, one.p, rtol=0, atol=0.5 / 65535 + 1e-7)
        for name in set(Recording._fields) - {"p", "limbs"}:
            assert np.array_equal(getattr(one, name), getattr(other, name)), name
    assert {path.name for path in tmp_path.iterdir()} == {"d.npz", "e.npz"}


def test_split_goes_by_source() -> None:
    """A held-out source takes its variants along, and mixtures with it are in neither part."""
    given = [recording("a"), recording("a~0", source="a"), recording("b"), recording("m", source="a+b")]
    train, test = dataset.split([*given, recording("c")], ["a"])
    assert [each.name for each in train] == ["b", "c"]
    assert [each.name for each in test] == ["a", "a~0"]
    train, test = dataset.split(given[2:] + given[:2] + [recording("c")], ["a", "b"])
    assert {each.name for each in test} == {"a", "a~0", "b", "m"}
    assert dataset.sources(given) == ["a", "b"]
    with pytest.raises(DatasetError, match=r"source 'd': is not in this data set; it has a, b"):
        dataset.split(given, ["d"])
    with pytest.raises(DatasetError, match="nothing is left to train with"):
        dataset.split(given, ["a", "b"])


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000), st.integers(1, 40), st.integers(1, 400))
def test_windows_are_stretches_of_recordings(seed: int, count: int, length: int) -> None:
    """Each window is a stretch of one recording; past its end the last frame repeats and no target counts."""
    given = [recording("a", 300), recording("b", 60, seed=1), recording("c", 1, seed=2)]
    batch = Windows(given).batch(np.random.default_rng(seed), count, length)
    for n in range(count):
        source, start = given[int(batch["recording"][n])], int(batch["start"][n])
        inside = min(length, source.frames - start)
        assert start == 0 or inside == length
        for key in Windows.KEYS:
            assert batch[key].shape[:2] == (count, length)
            assert np.array_equal(batch[key][n, :inside], getattr(source, key)[start : start + inside])
        assert not batch["p_mask"][n, inside:].any()
        assert (batch["x"][n, inside:] == source.x[-1]).all()


def test_windows_are_drawn_evenly_and_by_seed() -> None:
    """A recording three times as long is drawn three times as often; the same seed draws the same windows."""
    windows = Windows([recording("a", 900), recording("b", 300, seed=1)])
    assert windows.frames == 1200
    first, again = (windows.batch(np.random.default_rng(5), 400, 100, keys=("c",)) for _ in range(2))
    assert (first["recording"] == 0).mean() == pytest.approx(0.75, abs=0.07)
    assert set(first) == {"c", "start", "recording"}
    for key, value in first.items():
        assert np.array_equal(value, again[key])
    assert first["start"].max() > 780


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"x": np.full((50, 6), np.nan, np.float32)}, "x is not finite in frame 0"),
        ({"p": np.full((50, 32), 1.5, np.float32)}, r"p leaves 0\.\.1 \(1\.5 to 1\.5\)"),
        ({"c": np.zeros(50)}, r"c is float64 \(50,\); float32 \(50,\) is wanted"),
        ({"limbs": np.zeros((49, 216), np.float32)}, r"limbs is float32 \(49, 216\)"),
        ({"kind": "dream"}, "kind 'dream'; one of real, dancer"),
    ],
)
def test_wrong_recordings_are_refused(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    """Nothing that cannot be trained with gets into a file."""
    with pytest.raises(DatasetError, match=said):
        dataset.write(tmp_path / "d.npz", [recording()._replace(**change)])
    assert not list(tmp_path.iterdir())


def test_nothing_is_no_data_set(tmp_path: Path) -> None:
    """Neither an empty list, nor an empty recording, nor windows of nothing."""
    with pytest.raises(DatasetError, match="no recording to write"):
        dataset.write(tmp_path / "d.npz", [])
    with pytest.raises(DatasetError, match="has no frames"):
        dataset.check(recording(frames=0))
    with pytest.raises(DatasetError, match="nothing to draw"):
        Windows([])
    with pytest.raises(DatasetError, match="0 windows"):
        Windows([recording()]).batch(np.random.default_rng(0), 0)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    """A cut file, a foreign one, a bare array and one that lacks an array are refused with what is wrong."""
    whole = tmp_path / "d.npz"
    dataset.write(whole, [recording()])
    cut = tmp_path / "cut.npz"
    cut.write_bytes(whole.read_bytes()[:-3000])
    foreign, bare, lacking = tmp_path / "f.npz", tmp_path / "b.npz", tmp_path / "l.npz"
    np.savez(foreign, x=np.zeros(3))
    with bare.open("wb") as file:
        np.save(file, np.zeros(3))
    with np.load(whole) as arrays:
        some = {name: arrays[name] for name in arrays.files if name != "c"}
    np.savez(lacking, **some)
    text = tmp_path / "t.npz"
    text.write_text("no archive at all")
    uneven = tmp_path / "u.npz"
    np.savez(uneven, **{**some, "c": np.zeros(20, np.float32)})
    faster = tmp_path / "r.npz"
    with np.load(whole) as arrays:
        np.savez(faster, **{**{name: arrays[name] for name in arrays.files}, "frame_rate": 120})
    for path, said in (
        (faster, "has 120 rows a second; the models run at 60"),
        (cut, "not a whole npz"), (foreign, "no data set of format"), (bare, "one bare array"),
        (lacking, "lacks c"), (text, "not a whole npz"), (uneven, "have not the 50 rows"),
        (tmp_path / "none.npz", "there is no such data set"),
    ):  # fmt: skip
        with pytest.raises(DatasetError, match=said) as error:
            dataset.read(path)
        assert str(path) in str(error.value)


def test_a_damaged_byte_is_an_error_or_harmless(tmp_path: Path) -> None:
    """Whatever byte is wrong, the file is refused in our words, or what is read is what was written."""
    path = tmp_path / "d.npz"
    dataset.write(path, [recording("a", 20)], limbs=False)
    whole, rng, refused = path.read_bytes(), np.random.default_rng(0), 0
    (given,) = dataset.read(path)
    for place in rng.choice(len(whole), 150, replace=False):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            (found,) = dataset.read(path)
        except DatasetError:
            refused += 1
        else:
            assert all(np.array_equal(one, other) for one, other in zip(found, given, strict=True))
    assert refused > 100


def test_a_full_disk_leaves_the_last_good_file(tmp_path: Path) -> None:
    """Where the new file does not fit, the old one is still there, and nothing beside it."""
    path = tmp_path / "d.npz"
    dataset.write(path, [recording("old")])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(DatasetError, match=r"cannot be written \(File too large\); free some space"):
            dataset.write(path, [recording("new", 5000)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [each.name for each in dataset.read(path)] == ["old"]
    assert [each.name for each in tmp_path.iterdir()] == ["d.npz"]
