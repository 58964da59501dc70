"""The long trainings: who learns from what, and results that can be read elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is in the extra `train`")

from swings import recording  # noqa: E402

from echelon_models.train import dataset, sweep  # noqa: E402
from echelon_models.train.gated import SHAPES  # noqa: E402

REAL = [recording(seed, 320, kind="real") for seed in range(5)]
MIXED = [
    recording(8, 320, kind="augmented", name="a", source="swing 0"),
    recording(9, 320, kind="augmented", name="b", source="swing 0+swing 1"),
]
DATA = [*REAL, *MIXED, recording(20), recording(21)]


def test_a_fold_never_meets_its_held_out_source() -> None:
    """Neither training nor validation holds a recording made from the source of the fold, nor they one another."""
    plans = sweep.folds(DATA, "gated", (1, 2))
    assert len(plans) == 10
    for plan in plans:
        seen = [frozenset[str]().union(*(DATA[i].sources for i in part)) for part in (plan.training, plan.testing)]
        assert plan.held_out not in seen[0] | seen[1]
        assert not seen[0] & seen[1]
        assert all(DATA[i].kind != "augmented" for i in plan.testing)
    assert {plan.held_out for plan in plans} == {f"swing {k}" for k in range(5)}


def test_validation_is_spread_over_real_and_dancer() -> None:
    """Three real sources and one of the dancer's; their mixtures are in no part."""
    out = sweep.validation_sources(DATA)
    training, testing = sweep.split(DATA, out)
    assert len(out) == 4
    assert {DATA[i].source for i in testing} == set(out)
    assert not any(DATA[i].sources & set(out) for i in training)


def test_all_jobs_leave_their_results(tmp_path: Path) -> None:
    """Weights of every model, positions on held-out recordings, and losses as JSON; once more resumes and is done."""
    data, out = tmp_path / "data.npz", tmp_path / "out"
    dataset.write(data, DATA, limbs=False)
    command = [
        str(data),
        str(out),
        "--seeds",
        "1",
        "--epochs",
        "1",
        "--batches",
        "1",
        "--device",
        "cpu",
        "--search",
        "0",
    ]
    assert sweep.main([*command, "--kinds", "gated,mlp"]) == 0
    for job, models in (("shipped", 1), ("sensitivity", 4)):
        about, weights = json.loads((out / f"{job}.json").read_text()), np.load(out / f"{job}.npz")
        assert len(about["models"]) == models == len(about["best_loss"])
        assert {name: weights[name].shape[1:] for name in weights.files} == SHAPES
        assert 0 < max(about["worst"]["fast"]) < 100
    assert [round(each["tau_slow"], 3) for each in about["models"]] == [0.2, 0.4, 0.8, 0.4]
    for kind in ("gated", "mlp"):
        positions = np.load(out / f"folds_{kind}.npz")
        assert set(positions.files) == {each.name for each in REAL}
        assert positions["swing 2"].shape == (1, 320, 32)
        assert 0 <= positions["swing 2"].min() <= positions["swing 2"].max() <= 1
    before = np.load(out / "shipped.npz")["W_g"]
    assert sweep.main([*command, "--jobs", "shipped"]) == 0
    np.testing.assert_array_equal(np.load(out / "shipped.npz")["W_g"], before)
