"""What was learned, measured: figures with a known answer, and the bars that must be able to fail."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is in the extra `train`")

from swings import recording  # noqa: E402

from echelon_models.train import dataset, evaluate, responses  # noqa: E402
from echelon_models.train.evaluate import Row  # noqa: E402
from echelon_models.train.gated import Gated  # noqa: E402

REAL = [recording(seed, 150, kind="real") for seed in range(3)]
SOURCES = [each.source for each in REAL]


def shaken(p: np.ndarray, amount: float, seed: int = 0) -> np.ndarray:
    """Return positions with noise on every frame, one seed."""
    return (p + np.random.default_rng(seed).normal(scale=amount, size=p.shape))[None]


def bars(**noise: float) -> dict[str, bool]:
    """Return which bars hold, by name, where each model is its targets under a noise."""
    rows = {
        name: evaluate.row({each.name: shaken(each.p, amount, k) for k, each in enumerate(REAL)}, REAL)
        for name, amount in noise.items()
    }
    return {name: holds for name, _, holds in evaluate.verdicts(rows, SOURCES)}


def test_only_targets_that_count_are_in_the_error() -> None:
    """A lane that is masked may be anywhere; the others' mean square is over their own number."""
    mask = np.ones((150, 32), np.bool_)
    mask[:, 5] = False
    each = REAL[0]._replace(p_mask=mask)
    made = np.stack([each.p + 0.1, each.p + 0.2])
    made[:, :, 5] = 9
    np.testing.assert_allclose(evaluate.mse(made, each), [0.01, 0.04], rtol=1e-4)


def test_jitter_is_what_the_target_does_not_do() -> None:
    """The target itself, or the target moved, has none; a lane that hops by 0.2 every frame has 0.2 / sqrt(32)."""
    p = REAL[0].p
    made = np.stack([p, p + 0.1])
    np.testing.assert_allclose(evaluate.jitter(made, p), 0, atol=1e-6)
    hops = p.copy()
    hops[::2, 3] += 0.2
    np.testing.assert_allclose(evaluate.jitter(hops, p), 0.2 / math.sqrt(32), rtol=1e-4)


@pytest.mark.parametrize("frames", [-3, 0, 9])
def test_the_lag_is_found(frames: int) -> None:
    """Positions that are the target some frames later lag by just that; what stands still has no lag."""
    p = recording(4, 300).p
    assert evaluate.lag_ms(np.roll(p, frames, 0)[10:-10], p[10:-10]) == pytest.approx(frames * 1000 / 60)
    assert math.isnan(evaluate.lag_ms(np.full_like(p, 0.5), p))


def test_the_bars_hold_and_fall() -> None:
    """A good model passes every bar; one that is a little, or far, worse falls at those it should fall at."""
    good = bars(gated=0.010, gru=0.0101, linear=0.1, ridge=0.05)
    assert len(good) == 4
    assert all(good.values())
    close = bars(gated=0.0101, gru=0.010, linear=0.1, ridge=0.05)
    assert [name for name, holds in close.items() if not holds] == ["no baseline better in MSE and jerk"]
    assert not any(bars(gated=0.2, gru=0.010, linear=0.1, ridge=0.05).values())


def test_an_advantage_on_one_recording_alone_does_not_hold() -> None:
    """The interval decides, not the mean: better by one recording out of three is no bar passed."""
    own, other = ([1e-4, 1e-4, 1e-4], [0.9e-4, 0.9e-4, 9e-4])
    rows = {name: Row(values, [1.0] * 3, [0.0] * 3, [1e-4]) for name, values in (("gated", own), ("linear", other))}
    assert not evaluate.verdicts(rows, SOURCES)[0][2]


@pytest.mark.parametrize("tau_slow", [0.2, 0.4, 0.8])
def test_the_slow_state_has_its_time_constant(tau_slow: float) -> None:
    """As measured in a run with the target held: the Euler step's own, within 5 % of the nominal one."""
    model = Gated((3,), tau_slow=(tau_slow,))
    found = responses.slow_ms(model)
    assert found == pytest.approx(-1000 / (60 * math.log(1 - 1 / (60 * tau_slow))), rel=1e-4)
    assert found == pytest.approx(1000 * tau_slow, rel=0.05)


@pytest.mark.parametrize("delay", [0, 6])
def test_a_reaction_is_timed_from_the_gesture(delay: int) -> None:
    """A map that hands on commitment some frames late is that late; one that never moves has no reaction."""

    def late(x: np.ndarray, c: np.ndarray) -> np.ndarray:
        return np.repeat(np.concatenate([np.zeros(delay), c[: len(c) - delay]])[:, None], 32, 1)

    assert responses.reaction_ms(late) == pytest.approx(delay * 1000 / 60)
    assert math.isnan(responses.reaction_ms(lambda x, c: np.zeros((len(x), 32))))


def test_a_folder_of_results_becomes_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Positions of folds, and the weights of a sensitivity job, give their tables and JSON; no results is an error."""
    data, results = tmp_path / "data.npz", tmp_path / "results"
    results.mkdir()
    everything = [*REAL, recording(8, 150), recording(9, 150)]
    dataset.write(data, everything, limbs=False)
    with pytest.raises(SystemExit):
        evaluate.main([str(results), str(data)])
    for name, amount in (("gated", 0.01), ("gru", 0.02)):
        made = {each.name: np.concatenate([shaken(each.p, amount, k) for k in range(2)]) for each in REAL}
        np.savez(results / f"folds_{name}.npz", **made)  # type: ignore[arg-type]
    stack = Gated((1, 2, 1, 2))
    np.savez(results / "sensitivity.npz", **{k: v.detach().numpy() for k, v in stack.named_parameters()})  # type: ignore[arg-type]
    taus = ((1 / 60, 0.2), (1 / 60, 0.2), (1 / 30, 0.4), (1 / 30, 0.4))
    told = {
        "models": [
            {"seed": seed, "tau_fast": fast, "tau_slow": slow, "testing": [REAL[0].name]}
            for seed, (fast, slow) in zip(stack.seeds, taus, strict=True)
        ],
        "best_epoch": [2, 1, 1, 1], "best_loss": [2e-4, 4e-4, 1e-4, 1e-4],
        "history": {"test_mse": [[9, 3e-4, 1e-4, 1e-4], [1e-4, 9, 9, 9]]},
    }  # fmt: skip
    (results / "sensitivity.json").write_text(json.dumps(told))
    assert evaluate.main([str(results), str(data)]) == 0
    shown = capsys.readouterr().out
    found = json.loads((results / "evaluation.json").read_text())
    assert set(found["folds"]) == {"gated", "gru", "linear", "ridge", "initial"}
    assert found["folds"]["gated"]["intervals"]["mse"]["value"] == pytest.approx(1e-4, rel=0.1)
    assert found["folds"]["linear"]["seed_mse"][0] > 0
    assert found["sensitivity"][0][2][0] == pytest.approx(3e-4)
    assert found["sensitivity"][0][3][0] == pytest.approx(2e-4)
    assert "| 17 | 200 | 3.00 +- 1.41 |" in shown
    assert all(each.name in shown for each in REAL)
