"""What DELL gated is measured against: of equal size, correct, and learning in the same loop."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is in the extra `train`")

from swings import recording  # noqa: E402

from echelon_models.train import baselines  # noqa: E402
from echelon_models.train.baselines import Gru, Mlp  # noqa: E402
from echelon_models.train.gated import Gated, Stacked  # noqa: E402
from echelon_models.train.loop import Settings, train  # noqa: E402
from echelon_models.train.losses import losses  # noqa: E402
from echelon_models.train.pool import Pool  # noqa: E402

DATA = [recording(seed) for seed in range(4)]


def test_they_have_the_size_of_the_gated_net() -> None:
    """GRU and MLP have within 0.5 % as many parameters."""
    sizes = {type(each): sum(p.numel() for p in each.parameters()) for each in (Gated((0,)), Gru((0,)), Mlp((0,)))}
    assert sizes[Gated] == 172_480
    assert abs(sizes[Gru] / sizes[Gated] - 1) < 0.005
    assert abs(sizes[Mlp] / sizes[Gated] - 1) < 0.005


def test_the_gru_is_torchs() -> None:
    """Outputs and gradients equal torch.nn.GRU with the same weights, for each model of a stack."""
    model = Gru((1, 2)).double()
    with torch.no_grad():
        for value in model.parameters():
            value.add_(torch.from_numpy(np.random.default_rng(3).normal(scale=0.05, size=value.shape)))
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.uniform(-1, 1, (20, 2, 3, 6)))
    c = torch.from_numpy(rng.random((20, 2, 3)))
    y = model(x, c, c).y
    y.square().sum().backward()
    for s in range(2):
        other = torch.nn.GRU(7, baselines.GRU_WIDTH).double()
        parts = {name: value[s].detach() for name, value in model.named_parameters()}
        with torch.no_grad():
            for name, key in (("weight_ih_l0", "W"), ("weight_hh_l0", "U"), ("bias_ih_l0", "b"), ("bias_hh_l0", "d")):
                joined = torch.cat([parts[f"{key}_{gate}"] for gate in "run"], -1)
                getattr(other, name).copy_(joined.T if joined.ndim == 2 else joined)
        found = other(torch.cat([x[:, s], c[:, s, :, None]], -1))[0] @ parts["W_y"] + parts["b_y"]
        torch.testing.assert_close(found, y[:, s])
        found.square().sum().backward()
        for name, key in (("weight_ih_l0", "W"), ("weight_hh_l0", "U"), ("bias_ih_l0", "b"), ("bias_hh_l0", "d")):
            grads = [model.get_parameter(f"{key}_{gate}").grad for gate in "run"]
            mine = torch.cat([grad[s] for grad in grads if grad is not None], -1)
            torch.testing.assert_close(mine.T if mine.ndim == 2 else mine, getattr(other, name).grad)


def test_the_one_pole_is_a_one_pole() -> None:
    """A step at the input is approached by 1 - (1 - a)^n, each lane with its own a."""
    model = Mlp((1,))
    with torch.no_grad():
        model.get_parameter("k")[0] = torch.linspace(-3, 3, 32)
    x, c = torch.zeros(30, 1, 1, 6), torch.zeros(30, 1, 1)
    x[1:] = 0.7
    y = model(x, c, c).y[:, 0, 0].detach().double()
    with torch.no_grad():
        model.get_parameter("k")[0] = 50.0  # no smoothing
    raw = model(x, c, c).y[:, 0, 0].detach().double()
    a = torch.sigmoid(torch.linspace(-3, 3, 32).double())
    n = torch.arange(30).view(-1, 1)
    wanted = raw[:1] + (raw[-1:] - raw[:1]) * (1 - (1 - a) ** n)
    torch.testing.assert_close(y, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", [Gru, Mlp])
def test_they_learn_in_the_same_loop(kind: type[Stacked]) -> None:
    """Thirty batches bring the error below the resting output's; no term of states is counted."""
    pools = [Pool(DATA, [members] * 2, length=50) for members in ([0, 1, 2], [3])]
    result = train(kind((1, 2)), *pools, Settings(epochs=2, batches=15, batch=8))
    rest = np.concatenate([each.p for each in DATA[:3]]).var(0).mean()
    assert (result.history["train_mse"][-1] < 0.7 * rest).all()
    assert result.history["train_diverge"].max() == 0


def test_linear_finds_a_linear_map() -> None:
    """Targets that are a linear map of the present frame are found exactly, lanes without targets stay out of it."""
    rng = np.random.default_rng(5)
    mix = rng.normal(scale=0.03, size=(7, 32))
    made = []
    for each in DATA:
        p = np.column_stack([each.x, each.c]) @ mix + 0.5
        mask = each.p_mask.copy()
        mask[:200, 4] = False
        p[:200, 4] = 0.9
        made.append(each._replace(p=p.astype(np.float32), p_mask=mask))
    fitted = baselines.linear(made)
    np.testing.assert_allclose(fitted.weights[:-1], mix, atol=1e-4)
    np.testing.assert_allclose(fitted.weights[-1], 0.5, atol=1e-4)
    assert baselines.error(fitted, made) < 1e-9


def test_ridge_looks_back_sixty_frames() -> None:
    """A target that is the input 59 frames ago is found; the linear map of one frame cannot."""
    made = []
    for each in DATA:
        p = np.full_like(each.p, 0.5)
        p[59:, 0] = 0.5 + 0.4 * each.x[:-59, 2]
        made.append(each._replace(p=p))
    fitted = baselines.ridge(made[:3], made[3:])
    assert fitted.history == 60
    assert fitted.weights.shape == (421, 32)
    assert baselines.error(fitted, made) < 0.05 * baselines.error(baselines.linear(made), made)


def test_the_ridge_is_chosen_by_what_was_not_seen() -> None:
    """The penalty that does best on the testing recordings is taken."""
    fitted = baselines.ridge(DATA[:1], DATA[2:])
    errors = [baselines.error(baselines.ridge(DATA[:1], DATA[2:], (each,)), DATA[2:]) for each in baselines.RIDGES]
    assert baselines.error(fitted, DATA[2:]) == min(errors)


def test_the_gradient_of_a_stack_is_each_models_own() -> None:
    """A GRU alone and beside another gets the same gradient."""
    pool = Pool(DATA, [[0], [1]], length=50)
    batch = pool.gather(*pool.put(pool.draw((1, 2), 0, 2)))
    model = Gru((1, 2))
    losses(model(batch.x, batch.c, batch.pull), batch.p, batch.mask).total.sum().backward()
    both = model.get_parameter("U_n").grad
    assert both is not None
    found = both[1].clone()
    model.zero_grad()
    losses(model(batch.x, batch.c, batch.pull), batch.p, batch.mask).total[1].backward()
    assert both is not None
    torch.testing.assert_close(model.get_parameter("U_n").grad[1], found)  # type: ignore[index]
