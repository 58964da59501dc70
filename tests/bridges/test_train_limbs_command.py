"""`train coupled` and `train lim-rps`: from a data set to weights that the engine takes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from echelon_bridges import cli
from echelon_models.train import dataset
from echelon_models.weights import load

pytest.importorskip("torch", reason="torch is in the extra `train`")


def swinging(seed: int, limbs: bool = True) -> dataset.Recording:
    """Return 5 s of limbs that swing."""
    rng = np.random.default_rng(seed)
    t, zeros = np.arange(300)[:, None] / 60, np.zeros(300, np.float32)
    moved = 0.3 * np.sin(t * rng.uniform(2, 6) + rng.uniform(0, 6, 216)) + (np.arange(216) % 8 == 3)
    name = f"swing-{seed}"
    return dataset.Recording(
        name, "real", np.zeros((300, 6), np.float32), zeros, np.zeros((300, 32), np.float32),
        np.zeros((300, 32), np.bool_), (moved if limbs else moved[:, :0]).astype(np.float32), zeros, zeros,
        np.full(300, 100, np.float32), zeros, np.ones(300, np.bool_), name,
    )  # fmt: skip


@pytest.mark.parametrize(("action", "key"), [("coupled", "dell_coupled"), ("lim-rps", "lim_rps")])
def test_a_data_set_becomes_weights_and_a_report(
    action: str, key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The weights load with their origin; the report has figures with intervals; the last line says where all lies."""
    dataset.write(tmp_path / "d.npz", [swinging(seed) for seed in range(3)])
    target = tmp_path / "w.safetensors"
    few = ("--epochs", "1", "--batches", "1", "--hold-out", "swing-2", "--threads", "1")
    assert cli.main(["train", action, str(tmp_path / "d.npz"), str(target), *few]) == 0
    model = load(target)
    assert model.key == key
    assert model.metadata["origin"].startswith("trained on d.npz, seed 1, best of epoch 1")
    report = json.loads(target.with_suffix(".json").read_text())
    assert report["held_out"] == ["swing-2"]
    assert all(len(interval) == 3 for interval in report["figures"].values())
    assert "w.safetensors" in capsys.readouterr().out.splitlines()[-1]


def test_mistakes_are_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No limbs, unknown sources and missing files each end with one line that says what to do."""
    dataset.write(tmp_path / "d.npz", [swinging(seed, limbs=False) for seed in range(2)], limbs=False)
    cases = [
        (("d.npz", "w.safetensors", "--hold-out", "swing-1"), "make the data set without --no-limbs"),
        (("d.npz", "w.safetensors", "--hold-out", "swing-9"), "it has swing-0, swing-1"),
        (("none.npz", "w.safetensors"), "none.npz"),
        (("d.npz", "w.txt"), "must end in .safetensors"),
        (("d.npz", "w.safetensors", "--epochs", "0"), "whole number"),
    ]
    for (source, target, *rest), said in cases:
        assert cli.main(["train", "lim-rps", str(tmp_path / source), str(tmp_path / target), *rest]) != 0
        shown = capsys.readouterr().err.strip()
        assert said in shown
        assert len(shown.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["d.npz"]
