"""The stacked DELL gated: what the engine computes, its gradients, and models that do not know of each other."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is in the extra `train`")

from echelon_models.formats import FORMATS  # noqa: E402
from echelon_models.infer import infer  # noqa: E402
from echelon_models.initial import HYPERS  # noqa: E402
from echelon_models.train.gated import FRAME_RATE, SHAPES, Gated, Run, Times, xavier  # noqa: E402
from echelon_models.train.losses import losses  # noqa: E402
from echelon_models.weights import check  # noqa: E402

TAUS = ((1 / 60, 0.2), (1 / 60, 0.4), (1 / 60, 0.8), (1 / 30, 0.4))


def motion(frames: int, models: int, batch: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return x, c and the gate's pull: slow swings with noise, a pull that dies away over 24 frames."""
    rng = np.random.default_rng(seed)
    t = np.arange(frames)[:, None, None, None] / 60
    swing = np.sin(t * rng.uniform(1, 9, (models, batch, 6)) + rng.uniform(0, 6, (models, batch, 6)))
    x = np.clip(swing * 0.8 + rng.normal(scale=0.2, size=(frames, models, batch, 6)), -1, 1)
    c = rng.random((frames, models, batch))
    pull = np.broadcast_to(np.clip(1 - np.arange(frames)[:, None, None] / 24, 0, 1), c.shape)
    return tuple(torch.from_numpy(np.array(a, np.float32)) for a in (x, c, pull))  # type: ignore[return-value]


def plain(model: Gated, x: torch.Tensor, c: torch.Tensor, pull: torch.Tensor) -> Run:
    """Run the formulas of the specification frame by frame, for torch to differentiate."""
    w = {name: model.get_parameter(name) for name in SHAPES}

    def net(path: str, u: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(u @ w[f"W_{path}1"] + w[f"b_{path}1"].unsqueeze(1))
        return hidden @ w[f"W_{path}2"] + w[f"b_{path}2"].unsqueeze(1)

    a_f, a_s = (torch.tensor(a, dtype=x.dtype).view(-1, 1, 1) for a in (model.times.a_fast, model.times.a_slow))
    every = torch.tensor(model.times.slow_every).view(-1, 1, 1)
    z = x.new_zeros(*x.shape[1:3], 128)
    h_f, h_s, target = z, z, z
    found: list[tuple[torch.Tensor, ...]] = []
    for n in range(len(x)):
        u = torch.cat([x[n], c[n].unsqueeze(-1), z], -1)
        target = torch.where(n % every == 0, net("s", u), target)
        fast, slow = (1 - a_f) * h_f + a_f * net("f", u), (1 - a_s) * h_s + a_s * target
        h_f, h_s = fast.clamp(-10, 10), slow.clamp(-10, 10)
        g = torch.sigmoid(torch.cat([h_f, h_s], -1) @ w["W_g"] + w["b_g"].unsqueeze(1))
        b = pull[n].unsqueeze(-1)
        g = b + (1 - b) * g
        z = (g * h_f + (1 - g) * h_s).clamp(-10, 10)
        y = torch.cat([z, c[n].unsqueeze(-1)], -1) @ w["W_y"] + w["b_y"].unsqueeze(1)
        found.append((y, fast, slow, g, z))
    return Run(*(torch.stack(values) for values in zip(*found, strict=True)))


def stack(scale: float = 1.0) -> Gated:
    """Return four models of the sensitivity table, in float64, with biases that are not zero."""
    model = Gated((1, 2, 3, 4), *zip(*TAUS, strict=True)).double()
    rng = np.random.default_rng(9)
    with torch.no_grad():
        for value in model.parameters():
            value.mul_(scale).add_(torch.from_numpy(rng.normal(scale=0.05, size=value.shape)))
    return model


def test_the_table_of_shapes_is_that_of_the_format() -> None:
    """Tensor names, their order and shapes agree with formats.py."""
    assert {tensor.name: tensor.shape for tensor in FORMATS["dell_gated"].tensors} == SHAPES


@pytest.mark.parametrize("taus", TAUS)
def test_torch_and_the_kernel_agree(taus: tuple[float, float]) -> None:
    """600 frames of the unroll and of the engine's kernel differ by at most 1e-5, for each row of time constants."""
    model = Gated((5, 6), taus[:1], taus[1:])
    x, c, pull = motion(600, 2, 1)
    run = model(x, c, pull)
    hypers = {"frame_rate": FRAME_RATE, "tau_fast": taus[0], "tau_slow": taus[1], "slow_every": round(60 * taus[1])}
    for s in range(2):
        text = {name: repr(value) for name, value in hypers.items()}
        engine = check(model.tensors(s), {**text, "format": FORMATS["dell_gated"].name})
        inputs = {"x": x[:, s, 0].numpy(), "c": c[:, s, 0].numpy(), "gate_bias": pull[:, s, 0].numpy()}
        made = infer(engine, inputs)
        assert run.fast is not None
        assert run.gate is not None
        for name, values in (("y", run.y), ("h_fast", run.fast.clamp(-10, 10)), ("gate", run.gate)):
            assert np.abs(made[name] - values[:, s, 0].detach().numpy()).max() <= 1e-5, name


def test_the_hypers_of_the_initial_weights_are_the_defaults() -> None:
    """The ordinary model has the time constants the package ships with."""
    times = Times((1 / 60,), (0.4,))
    assert times == Gated((0,)).times
    assert times.slow_every[0] == HYPERS["dell_gated"]["slow_every"]
    assert times.a_fast == (1.0,)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_gradients_are_those_of_the_plain_unroll(scale: float) -> None:
    """Loss and every gradient, of weights and inputs, equal torch's own through the formulas, in the clip too."""
    model = stack(scale)
    x, c, pull = (a.double() for a in motion(30 if scale == 1 else 6, 4, 3))
    rng = np.random.default_rng(2)
    p = torch.from_numpy(rng.random((*x.shape[:3], 32)))
    mask = torch.from_numpy((rng.random(p.shape) < 0.8).astype(float))
    found = []
    for forward in (model.__call__, lambda *inputs: plain(model, *inputs)):
        model.zero_grad()
        inputs = {"x": x.clone().requires_grad_(), "c": c.clone().requires_grad_()}
        run = forward(inputs["x"], inputs["c"], pull)
        loss = losses(run, p, mask).total
        loss.sum().backward()
        differentiated = {**dict(model.named_parameters()), **inputs}
        found.append((loss.detach(), {name: value.grad for name, value in differentiated.items()}))
    assert run.fast is not None
    assert bool((run.fast.abs() > 10).any()) == (scale > 1)
    (loss, grads), (wanted, references) = found
    torch.testing.assert_close(loss, wanted, rtol=1e-9, atol=1e-12)
    for name, grad in grads.items():
        assert grad is not None
        torch.testing.assert_close(grad, references[name], rtol=1e-7, atol=1e-9 * float(references[name].abs().max()))


def test_the_models_of_a_stack_do_not_know_of_each_other() -> None:
    """A model alone and in a stack of four makes the same outputs."""
    together = stack()
    x, c, pull = (a.double() for a in motion(50, 4, 2))
    run = together(x, c, pull)
    for s, taus in enumerate(TAUS):
        alone = Gated((0,), taus[:1], taus[1:]).double()
        with torch.no_grad():
            for name in SHAPES:
                alone.get_parameter(name)[0] = together.get_parameter(name)[s]
        single = alone(x[:, s : s + 1], c[:, s : s + 1], pull[:, s : s + 1])
        torch.testing.assert_close(single.y, run.y[:, s : s + 1], rtol=1e-10, atol=1e-10)


def test_xavier_depends_on_the_seed_alone() -> None:
    """A seed gives one start wherever it stands in a stack; matrices lie within Xavier's bound, vectors are zero."""
    first, second = xavier((7, 8), SHAPES), xavier((8,), SHAPES)
    for name, shape in SHAPES.items():
        assert torch.equal(first[name][1], second[name][0])
        assert first[name].shape == (2, *shape)
        bound = (6 / sum(shape)) ** 0.5 if len(shape) == 2 else 0
        assert first[name].abs().max() <= bound
        assert first[name].std() >= bound / 2


def test_masked_frames_count_in_no_term() -> None:
    """Whatever stands behind the end of a recording changes no loss but the state's."""
    model = stack()
    x, c, pull = (a.double() for a in motion(40, 4, 2))
    p = torch.full((40, 4, 2, 32), 0.3, dtype=torch.float64)
    mask = torch.ones_like(p)
    mask[25:] = 0
    before = losses(model(x, c, pull), p, mask)
    x[25:], c[25:], p[25:] = 0.9, 1.0, 0.9
    after = losses(model(x, c, pull), p, mask)
    for name in ("mse", "smooth", "diverge"):
        torch.testing.assert_close(getattr(before, name), getattr(after, name), rtol=0, atol=0)


def test_a_wrong_number_of_time_constants_is_refused() -> None:
    """Two time constants for three models name the rule."""
    with pytest.raises(ValueError, match="2 tau_fast and 1 tau_slow for 3 models"):
        Gated((1, 2, 3), (0.02, 0.03))
