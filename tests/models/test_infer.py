"""One model alone: golden numbers through files, and inputs refused by name."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paths import GOLDEN, needs_shared

from echelon_models.formats import Key
from echelon_models.infer import ModelInputError, infer, run
from echelon_models.weights import check, initial_path, load

F = np.float32


@needs_shared
@pytest.mark.parametrize("key", ["dell_gated", "dell_coupled", "lim_rps"])
def test_golden_files_come_back(key: Key, tmp_path: Path) -> None:
    """Every output array of the golden file, under its name, within 1e-5 of its largest value."""
    target = tmp_path / "out.npz"
    line = run(GOLDEN / f"{key}.safetensors", GOLDEN / f"{key}.npz", target)
    assert "600 frames" in line
    made, wanted = dict(np.load(target)), dict(np.load(GOLDEN / f"{key}.npz"))
    outputs = set(wanted) - {"x", "c", "gate_bias", "limbs", "e"}
    assert outputs == set(made)
    for name in outputs:
        assert made[name].shape == wanted[name].shape
        assert made[name].dtype == F
        assert np.abs(made[name] - wanted[name]).max() <= 1e-5 * np.abs(wanted[name]).max(), name


def test_lim_rps_encodes_the_sensors_itself() -> None:
    """With encoders the sensors' arrays give e = [E_body limbs; E_left left; E_right right], and its latent."""
    model = load(initial_path("lim_rps"))
    rng = np.random.default_rng(1)
    sensors = {
        name: rng.normal(size=(5, size)).astype(F) for name, size in (("limbs", 216), ("left", 12), ("right", 12))
    }
    out = infer(model, sensors)
    parts = (("E_body", "limbs"), ("E_left", "left"), ("E_right", "right"))
    expected = np.concatenate([sensors[s] @ model.tensors[m].astype(np.float64).T for m, s in parts], axis=1)
    np.testing.assert_allclose(out["e"], expected, atol=1e-5)
    np.testing.assert_array_equal(out["z"], infer(model, {"e": out["e"]})["z"])


X, C = np.zeros((4, 6)), np.zeros(4)
BAD: list[Any] = [
    pytest.param("dell_gated", {"x": X}, r"missing array 'c'.*needs x and c", id="missing"),
    pytest.param("dell_gated", {}, r"no inputs.*takes x, c", id="empty"),
    pytest.param("dell_gated", {"x": X, "c": C, "cc": C}, r"array 'cc'.*did you mean 'c'", id="unknown"),
    pytest.param("dell_gated", {"x": X[:, :5], "c": C}, r"'x' is \(4, 5\).*\(frames, 6\)", id="shape"),
    pytest.param("dell_gated", {"x": X, "c": C[:3]}, r"x 4, c 3.*one row a frame", id="length"),
    pytest.param("dell_gated", {"x": X[:0], "c": C[:0]}, r"'x' is \(0, 6\)", id="no-frames"),
    pytest.param("dell_gated", {"x": X + np.nan, "c": C}, r"'x' holds nan at \[0, 0\]", id="nan"),
    pytest.param("dell_gated", {"x": X + 1e300, "c": C}, r"'x' holds 1e\+300.*finite float32", id="float32"),
    pytest.param("dell_gated", {"x": X, "c": C + 1.5}, r"c\[0\] = 1\.5.*0\.\.1", id="c"),
    pytest.param("dell_gated", {"x": X.astype(str), "c": C}, r"'x' is <U.*numbers", id="text"),
    pytest.param("dell_coupled", {"limbs": np.zeros((4, 27, 8))}, r"'limbs' is \(4, 27, 8\)", id="limbs"),
    pytest.param("lim_rps", {"limbs": np.zeros((4, 216))}, r"missing array 'left'", id="left"),
    pytest.param("lim_rps", {"e": np.zeros((4, 96)), "left": np.zeros((4, 12))}, r"e and left.*not both", id="both"),
]


@pytest.mark.parametrize(("key", "inputs", "message"), BAD)
def test_bad_inputs_are_refused_by_name(key: Key, inputs: Any, message: str) -> None:
    """Each misfit is named with its rule."""
    with pytest.raises(ModelInputError, match=message):
        infer(load(initial_path(key)), inputs)


def test_sensors_without_encoders_are_refused() -> None:
    """Weights without encoders say that they take e alone."""
    model = load(initial_path("lim_rps"))
    bare = {name: value for name, value in model.tensors.items() if name[0] not in "EP"}
    with pytest.raises(ModelInputError, match="no encoders"):
        infer(check(bare, model.metadata), {"limbs": np.zeros((4, 216))})


def test_files_that_are_no_npz_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    """Missing, foreign, bare and pickled inputs, and a target that cannot be written, are refused in words."""
    weights, target = initial_path("dell_gated"), tmp_path / "out.npz"
    with pytest.raises(ModelInputError, match="no such input file"):
        run(weights, tmp_path / "none.npz", target)
    (tmp_path / "text.npz").write_text("hello")
    np.save(tmp_path / "bare.npy", X)
    np.savez(tmp_path / "object.npz", x=np.array([{}], dtype=object))
    for name in ("text.npz", "bare.npy", "object.npz"):
        with pytest.raises(ModelInputError, match="npz"):
            run(weights, tmp_path / name, target)
    assert not target.exists()
    np.savez(tmp_path / "good.npz", x=X, c=C)
    with pytest.raises(ModelInputError, match="cannot be written"):
        run(weights, tmp_path / "good.npz", tmp_path / "none" / "out.npz")
