"""From PyTorch to a weights file: what the engine would refuse is not written, and what is written is the same net."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is in the extra `train`")

from echelon_models.inspect import describe  # noqa: E402
from echelon_models.train import adversary, export  # noqa: E402
from echelon_models.train.checkpoint import TrainingError  # noqa: E402
from echelon_models.train.gated import Gated  # noqa: E402
from echelon_models.weights import WeightsError, initial_path, load  # noqa: E402

Arrays = dict[str, np.ndarray]
ORIGIN = export.origin("eight swings", 3, 12, 0.0123)


@pytest.fixture
def tensors() -> Arrays:
    """Return a seeded model."""
    return Gated((3,)).tensors()


def test_a_model_becomes_a_file_that_the_engine_loads(tmp_path: Path, tensors: Arrays) -> None:
    """Weights, time constants, origin and the largest state stand in the file; nothing else is left in the folder."""
    path = tmp_path / "gated.safetensors"
    model = export.export(path, tensors, tau_slow=0.8, origin=ORIGIN, notes={"seed": 3}, steps=1)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    assert (model.hypers["tau_slow"], model.hypers["slow_every"]) == (0.8, 48)
    for name, values in load(path).tensors.items():
        np.testing.assert_array_equal(values, tensors[name])
    text = describe(path)
    assert "trained on eight swings, seed 3, best of epoch 12, held-out mse 0.01230" in text
    assert 0 < float(model.metadata["largest_state"]) < 10


def test_the_same_model_gives_the_same_bytes(tmp_path: Path, tensors: Arrays) -> None:
    """Exporting twice writes one file twice."""
    paths = [tmp_path / name for name in ("one.safetensors", "two.safetensors")]
    for path in paths:
        export.export(path, tensors, origin=ORIGIN, steps=1)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_the_initial_weights_pass(tmp_path: Path) -> None:
    """The designed net is the same in PyTorch and in the kernel, and stays off its clip."""
    model = load(initial_path("dell_gated"))
    stack = Gated((0,))
    stack.load(model.tensors)
    assert export.parity(model, stack) <= 1e-5
    assert adversary.search(stack, frames=60, steps=3).largest < 10


def test_what_the_engine_refuses_is_not_written(tmp_path: Path, tensors: Arrays) -> None:
    """A weight that is not finite, a missing tensor, a time constant out of range: refused by name, nothing written."""
    path = tmp_path / "gated.safetensors"
    broken = {name: values.copy() for name, values in tensors.items()}
    broken["W_g"][3, 4] = np.nan
    with pytest.raises(WeightsError, match=r"'W_g' holds nan at \[3, 4\]"):
        export.export(path, broken, origin=ORIGIN, steps=1)
    with pytest.raises(WeightsError, match="missing tensor 'b_y'"):
        export.export(path, {name: values for name, values in tensors.items() if name != "b_y"}, origin=ORIGIN, steps=1)
    with pytest.raises(WeightsError, match="tau_slow = 100"):
        export.export(path, tensors, tau_slow=100.0, origin=ORIGIN, steps=1)
    assert not list(tmp_path.iterdir())


def test_a_net_that_reaches_its_clip_is_not_written(tmp_path: Path, tensors: Arrays) -> None:
    """The search finds an input that drives a net of high gain to its clip, and export says so."""
    loud = {**tensors, "W_f2": tensors["W_f2"] * np.float32(4), "W_f1": tensors["W_f1"].copy()}
    loud["W_f1"][7:] = 0  # no feedback: parity holds, the state is large all the same
    loud["W_s1"] = np.zeros_like(loud["W_s1"])
    loud["W_f1"][:7] *= 8
    with pytest.raises(TrainingError, match=r"a state reaches \d+\.\d under the worst input.*clip at \+-10"):
        export.export(tmp_path / "gated.safetensors", loud, origin=ORIGIN, steps=1)
    assert not list(tmp_path.iterdir())


def test_a_kernel_that_plays_otherwise_is_noticed(
    tmp_path: Path, tensors: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A difference above 1e-5 between kernel and PyTorch stops the export."""
    monkeypatch.setattr(Gated, "load", lambda self, _: None)  # PyTorch plays another net than the file holds
    with pytest.raises(TrainingError, match="kernel and PyTorch differ by"):
        export.export(tmp_path / "gated.safetensors", tensors, origin=ORIGIN, steps=1)
    assert not list(tmp_path.iterdir())


def test_the_search_finds_what_random_corners_do_not() -> None:
    """Following the gradient leads to larger states than the random start, and never to smaller ones."""
    model = Gated((1, 2))
    start = adversary.search(model, frames=60, steps=0)
    worst = adversary.search(model, frames=60, steps=4)
    assert all(b > a for a, b in zip(start.fast, worst.fast, strict=True))
    assert all(b >= a for a, b in zip(start.slow, worst.slow, strict=True))
