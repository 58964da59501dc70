"""Weights files: every refusal by name, what is certified, and what reaches the kernels."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paths import GOLDEN, needs_shared
from safetensors.numpy import load_file, save_file

from echelon_engine.config import Models
from echelon_engine.errors import UserError
from echelon_models import inspect
from echelon_models.certificates import norm
from echelon_models.formats import FORMATS, Key
from echelon_models.weights import WeightsError, initial_path, load, load_all, save, to_record

F = np.float32
KEYS: tuple[Key, ...] = ("dell_gated", "dell_coupled", "lim_rps")
Parts = tuple[dict[str, np.ndarray], dict[str, str]]


def parts(key: Key) -> Parts:
    """Return fresh copies of the tensors and metadata of the initial weights."""
    return load_file(initial_path(key)), dict(load(initial_path(key)).metadata)


def test_the_built_in_weights_load_complete() -> None:
    """All three files that ship load, hold their certificates and pack into the kernels' records."""
    weights = load_all(Models())
    assert weights.gated["slow_every"] == 24
    assert weights.gated["a_slow"] == pytest.approx(1 / 24)
    assert weights.gated["a_fast"] == 1.0
    assert (weights.coupled["k_fast"], weights.coupled["k_slow"]) == (4, 6)
    assert weights.lim_rps["rate"] == pytest.approx(0.6244, abs=1e-3)
    assert np.abs(weights.lim_rps["P"]).max() > 0


def test_a_file_for_another_model_is_refused_by_its_entry() -> None:
    """A coupled file under models.gated is named with the entry and the format it wants."""
    with pytest.raises(WeightsError, match=r"models\.gated wants echelon\.dell\.gated\.v1"):
        load_all(Models(gated=str(initial_path("dell_coupled"))))


def test_saving_and_loading_gives_the_same_bytes_and_numbers(tmp_path: Path) -> None:
    """A loaded model saved again is the same file, byte for byte."""
    for key in KEYS:
        model = load(initial_path(key))
        copy = tmp_path / f"{key}.safetensors"
        save(copy, key, model.tensors, model.metadata)
        assert copy.read_bytes() == initial_path(key).read_bytes()


def test_packing_keeps_every_weight_in_its_place() -> None:
    """The record's panels hold the file's matrices, transposed where the file is (inputs, outputs), padding zero."""
    model = load(initial_path("dell_gated"))
    record = to_record(model)
    w = model.tensors["W_f1"]
    assert record["W_f1"].shape == (8, 136, 32)
    for o, i in ((0, 0), (5, 134), (255, 6), (77, 99)):
        assert record["W_f1"][o // 32, i, o % 32] == w[i, o]
    assert (record["W_f1"][:, 135] == 0).all()
    assert record.__array_interface__["data"][0] % 64 == 0


def drop(name: str) -> Callable[[Parts], None]:
    """Return a change that removes a tensor."""
    return lambda p: p[0].pop(name) is None


def put(name: str, values: Any) -> Callable[[Parts], None]:
    """Return a change that sets a tensor."""
    return lambda p: p[0].__setitem__(name, values)


def say(name: str, text: str | None) -> Callable[[Parts], None]:
    """Return a change that sets or removes an entry of the metadata."""
    return lambda p: p[1].pop(name) if text is None else p[1].__setitem__(name, text)  # type: ignore[func-returns-value]


def poke(name: str, value: float) -> Callable[[Parts], None]:
    """Return a change that writes one number into a tensor."""
    return lambda p: p[0][name].reshape(-1).__setitem__(3, value)


def stretch(name: str, to: float) -> Callable[[Parts], None]:
    """Return a change that scales a tensor to a spectral norm."""
    return lambda p: p[0].__setitem__(name, (p[0][name] * (to / norm(p[0][name]))).astype(F))


REFUSALS: list[Any] = [
    pytest.param("dell_gated", drop("W_g"), r"missing tensor 'W_g' \(256, 128\)", id="missing"),
    pytest.param("lim_rps", drop("E_left"), r"missing tensor 'E_left'.*other encoders", id="half-a-group"),
    pytest.param("dell_gated", put("W_gg", np.zeros(3, F)), r"extra tensor 'W_gg'.*did you mean", id="extra"),
    pytest.param("dell_gated", put("b_y", np.zeros(31, F)), r"'b_y' is \(31,\).*\(32,\)", id="shape"),
    pytest.param("dell_gated", put("W_f1", np.zeros((256, 135), F)), r"'W_f1' is \(256, 135\).*transpose", id="turned"),
    pytest.param("dell_gated", put("b_y", np.zeros(32)), r"'b_y' is F64.*float32", id="float64"),
    pytest.param("dell_gated", put("b_y", np.zeros(32, np.float16)), r"'b_y' is F16.*float32", id="float16"),
    pytest.param("dell_coupled", poke("W_in", np.nan), r"'W_in' holds nan at \[0, 3\] \(1 not finite\)", id="nan"),
    pytest.param("lim_rps", poke("b_2", np.inf), r"'b_2' holds inf at \[3\]", id="inf"),
    pytest.param("lim_rps", say("format", None), r"no 'format'", id="no-format"),
    pytest.param("lim_rps", say("format", "echelon.lim_rps.v2"), r"'echelon\.lim_rps\.v2'.*did you mean", id="format"),
    pytest.param("lim_rps", say("gamma", None), r"no 'gamma' in the metadata", id="no-hyper"),
    pytest.param("lim_rps", say("tau", "half"), r"tau = 'half'.*a number 0 to 1", id="unparsable"),
    pytest.param("lim_rps", say("tau", "nan"), r"tau = nan", id="nan-hyper"),
    pytest.param("lim_rps", say("iterations", "17"), r"iterations = 17.*1 to 16", id="range"),
    pytest.param("lim_rps", say("iterations", "7.5"), r"iterations = 7\.5.*whole", id="whole"),
    pytest.param("dell_gated", say("frame_rate", "50"), r"frame_rate = 50.*60 to 60 Hz", id="rate"),
    pytest.param("dell_gated", say("slow_every", "12"), r"slow_every = 12.*round\(60 tau_slow\) = 24", id="schedule"),
    pytest.param("dell_coupled", stretch("W_rec", 1.0001), r"\|W_rec\| = 1\.0001.*must be < 1", id="W_rec"),
    pytest.param("dell_coupled", stretch("U_slow", 1.2), r"\|U_slow\| = 1\.2", id="U_slow"),
    pytest.param("dell_coupled", stretch("W_lift", 9.0), r"radius of M = ", id="radius"),
    pytest.param("lim_rps", stretch("W_2", 1.0001), r"\|W_2\| = 1\.0001.*must be <= 1", id="W_2"),
    pytest.param("lim_rps", say("tau", "0.0"), r"certificate q = 1\.\d+.*must be < 1", id="q"),
    pytest.param("lim_rps", stretch("E_body", 1.001), r"\|E_body\| = 1\.001", id="encoder"),
    pytest.param("lim_rps", stretch("P", 1.5), r"\|P\| = 1\.5", id="P"),
]


@pytest.mark.parametrize(("key", "change", "message"), REFUSALS)
def test_bad_weights_are_refused_by_name(key: Key, change: Any, message: str, tmp_path: Path) -> None:
    """Each broken rule is refused with the file, the value, the rule and a remedy."""
    found = parts(key)
    change(found)
    path = tmp_path / "bad.safetensors"
    save_file(found[0], path, metadata=found[1])
    with pytest.raises(WeightsError, match=message) as caught:
        load(path)
    assert str(path) in caught.value.value
    assert caught.value.rule
    assert caught.value.remedy


def test_the_edge_of_a_norm_is_allowed() -> None:
    """A norm of 1 + 5e-6 counts as 1: float32 cannot hold an orthonormal matrix better."""
    tensors, metadata = parts("lim_rps")
    tensors["W_1"] *= F((1 + 5e-6) / norm(tensors["W_1"]))
    from echelon_models.weights import check

    assert check(tensors, metadata).figures


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a whole safetensors file"),
        (b"BVH\n" * 100, "not a whole safetensors file"),
        (initial_path("lim_rps").read_bytes()[:100_000], "not a whole safetensors file"),
    ],
    ids=["empty", "other", "truncated"],
)
def test_unreadable_files_are_refused(content: bytes, message: str, tmp_path: Path) -> None:
    """An empty, foreign or truncated file is refused in words."""
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        load(path)


def test_missing_files_are_refused(tmp_path: Path) -> None:
    """A path that is not there, or is a folder, is refused in words, as an error that the command line prints."""
    with pytest.raises(UserError, match="no such weights file"):
        load(tmp_path / "none.safetensors")
    with pytest.raises(WeightsError, match="is a directory"):
        load(tmp_path)


def test_an_unwritable_place_is_refused(tmp_path: Path) -> None:
    """Saving into a folder that does not exist says so."""
    tensors, metadata = parts("lim_rps")
    with pytest.raises(WeightsError, match="cannot be written"):
        save(tmp_path / "none" / "x.safetensors", "lim_rps", tensors, metadata)


def test_the_engine_wants_the_encoders() -> None:
    """Without encoders LIM-RPS can be inspected but not played."""
    from echelon_models.weights import check

    tensors, metadata = parts("lim_rps")
    for name in ("E_body", "E_left", "E_right", "P"):
        del tensors[name]
    model = check(tensors, metadata)
    assert not model.has("encoders")
    assert "absent" in inspect.inspect(model)
    with pytest.raises(WeightsError, match=r"missing tensor 'E_body'.*complete"):
        to_record(model)


def test_certificates_agree_with_their_definitions() -> None:
    """The coupled radius is that of the 2 x 2 matrix of the specification, computed here from singular values."""
    tensors, metadata = parts("dell_coupled")
    figures = {figure.name: figure.value for figure in load(initial_path("dell_coupled")).figures}

    def largest(matrix: np.ndarray) -> float:
        return float(np.sqrt(np.linalg.eigvalsh(matrix.astype(np.float64).T @ matrix)[-1]))

    a, d = largest(tensors["W_rec"]), largest(tensors["U_slow"])
    b = 0.3 * largest(tensors["W_lift"])
    c = 0.5 * largest(tensors["W_slow"].astype(np.float64) @ tensors["W_out"].astype(np.float64))
    radius = (a + d) / 2 + np.sqrt(((a - d) / 2) ** 2 + b * c)
    assert figures["radius of M"] == pytest.approx(radius, abs=1e-9)
    assert float(metadata["slow_to_fast"]) == 0.3


@needs_shared
def test_inspect_names_everything() -> None:
    """The description of each golden file holds format, every tensor, hyper-parameter and figure."""
    for key in KEYS:
        model = load(GOLDEN / f"{key}.safetensors")
        text = inspect.describe(GOLDEN / f"{key}.safetensors")
        assert FORMATS[key].name in text
        for tensor in model.spec.tensors:
            assert tensor.name in text
        for hyper in model.spec.hypers:
            assert hyper.name in text
        for figure in model.figures:
            assert figure.name in text
            assert f"{figure.value:.6f}" in text
    assert "loop gain" in inspect.describe(GOLDEN / "dell_gated.safetensors")


def test_metadata_is_sorted_strings() -> None:
    """The header of each initial file is sorted JSON of strings, so that its bytes do not depend on a hash seed."""
    for key in KEYS:
        raw = initial_path(key).read_bytes()
        header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])["__metadata__"]
        assert list(header) == sorted(header)
        assert "not trained" in header["origin"]
