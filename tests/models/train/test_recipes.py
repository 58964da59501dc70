"""The recipe with a memory: what a net starts from, what its windows show, and how a wild gradient is met."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is in the extra `train`")

from swings import recording  # noqa: E402

from echelon_models.train import starts  # noqa: E402
from echelon_models.train.gated import Gated  # noqa: E402
from echelon_models.train.loop import Settings, rate, train  # noqa: E402
from echelon_models.train.optimizer import AdamW  # noqa: E402
from echelon_models.train.pool import Pool  # noqa: E402
from echelon_models.train.recipes import RECIPES  # noqa: E402

DATA = [recording(seed, 320) for seed in range(4)]
FRAMES = 300


def left(memory: bool, frames: int) -> float:
    """Return the share of a single frame's motion that z holds so many frames later, the slow network muted."""
    model = Gated((1,))
    if memory:
        starts.remember(model)
    with torch.no_grad():
        model.get_parameter("W_s2").zero_()
        model.get_parameter("b_s2").zero_()
    x, rest = np.zeros((FRAMES, 6), np.float32), np.zeros(FRAMES, np.float32)
    x[0] = 0.8
    moved, still = (model.play(each, rest, rest).z[:, 0, 0] for each in (x, np.zeros_like(x)))
    fading = (moved - still).norm(dim=1)
    return float(fading[frames] / fading[0])


def test_a_start_with_memory_holds_what_xavier_forgets() -> None:
    """A third of a second after a motion some of it is in the state, where Xavier's start has nothing; it does fade."""
    assert left(True, 20) > 0.02
    assert left(False, 20) < 1e-6
    assert left(True, 250) < 1e-3


def test_integrators_start_with_a_gain_of_about_one() -> None:
    """Under inputs held at their ends no state comes near the range in which it costs; one seed, one start."""
    model, again = Gated((1, 2)), Gated((1, 2))
    starts.remember(model)
    starts.remember(again)
    run = model.play(np.ones((FRAMES, 6), np.float32), np.ones(FRAMES, np.float32), np.zeros(FRAMES, np.float32))
    assert float(run.fast.abs().max()) < 6
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    assert not torch.equal(model.get_parameter("W_f1")[0], model.get_parameter("W_f1")[1])


def test_both_states_start_apart() -> None:
    """Once h_slow has come to rest, most dimensions are further from h_fast than the divergence term counts."""
    model = Gated((1,))
    starts.remember(model)
    each = DATA[0]
    run = model.play(each.x, each.c, each.bias)
    assert float(((run.fast - run.slow).abs()[60:] > 1).float().mean()) > 0.75


def test_a_window_in_the_middle_counts_after_its_burn_in() -> None:
    """Targets that hang on frames before the window count from frame 24, those at a recording's start at once."""
    pool = Pool(DATA, [[0, 1], [2, 3]], length=40, burn_in=[24, 0])
    first = torch.tensor([[0, 100], [640, 700]])
    mask = pool.gather(first, first + 39).mask.amax(-1)
    assert mask[:, 0, 0].all()
    assert not mask[:24, 0, 1].any()
    assert mask[24:, 0, 1].all()
    assert mask[:, 1].all()


def test_a_share_of_windows_begins_where_recordings_do() -> None:
    """A fifth of the windows begins at a first frame, at every recording's; the others lie anywhere."""
    pool = Pool(DATA, [[0, 1, 2]], length=40, starts=0.2)
    first = np.concatenate([pool.draw((1,), step, 100).first[0] for step in range(20)])
    at_start = first[first % 320 == 0]
    assert 0.15 < len(at_start) / len(first) < 0.27
    assert set(at_start) == {0, 320, 640}
    assert len(np.unique(first % 320)) > 200
    assert (first % 320).max() == 280


def test_a_wild_gradient_moves_little() -> None:
    """A gradient a thousand times the usual counts as four of the usual, and no more than the clip."""
    steps = []
    for outlier in (0.0, 4.0):
        model = Gated((1,))
        optimizer = AdamW(model, 1e-3, 0.0, 1.0, outlier)
        quiet = [torch.full_like(each, 1e-6) for each in model.parameters()]
        for _ in range(50):
            optimizer.step(quiet)
        before = optimizer.values.clone()
        optimizer.step([each * -1000 for each in quiet])
        optimizer.step(quiet)
        steps.append(float((optimizer.values - before).mean()))
    assert steps[0] > 1e-3
    assert steps[1] < 0


def test_the_rate_rises_and_falls() -> None:
    """From nothing over the first batches, then along half a cosine to nothing; without cooling it stays."""
    settings = RECIPES["memory"].settings
    rates = [rate(settings, number) for number in range(settings.epochs * settings.batches)]
    assert rates[0] == pytest.approx(settings.rate / 100, rel=1e-3)
    assert max(rates) == pytest.approx(settings.rate, rel=0.01)
    assert rates[-1] < 1e-5 * settings.rate
    assert {rate(Settings(), number) for number in (0, 5000)} == {1e-3}


def test_a_recipe_with_other_epochs_is_not_stopped_early() -> None:
    """A rate that falls gains most at the end, so patience grows with the epochs; the source's stays at 5."""
    assert RECIPES["memory"].but(epochs=40).settings.patience == 40
    assert RECIPES["source"].but(epochs=40).settings.patience == 5


def test_a_training_with_memory_resumes_exactly(tmp_path: object) -> None:
    """Ended after an epoch and gone on with: the same bits as in one go."""
    recipe = RECIPES["memory"].but(epochs=2, batches=2, batch=4, validation=4)

    def run(until: int | None, path: str | None) -> dict[str, np.ndarray]:
        model = Gated((1,))
        starts.remember(model)
        pools = [Pool(DATA, [rows], length=60, burn_in=recipe.burn_in) for rows in ([0, 1, 2], [3])]
        return train(model, *pools, recipe.settings, path=path, until=until, about=recipe.about()).tensors

    path = f"{tmp_path}/run.checkpoint"
    run(1, path)
    resumed, whole = run(None, path), run(None, None)
    assert all(np.array_equal(resumed[name], whole[name]) for name in whole)
