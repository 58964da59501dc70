"""The training loop: what it learns, that it repeats and resumes exactly, and what it says when it cannot go on."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is in the extra `train`")
from swings import recording  # noqa: E402

from echelon_models.train import checkpoint, loop  # noqa: E402
from echelon_models.train.gated import Gated  # noqa: E402
from echelon_models.train.loop import Result, Settings, TrainingError, train  # noqa: E402
from echelon_models.train.losses import losses  # noqa: E402
from echelon_models.train.optimizer import AdamW  # noqa: E402
from echelon_models.train.pool import Pool  # noqa: E402

SMALL = Settings(epochs=3, batches=2, batch=4, validation=4)
DATA = [recording(seed) for seed in range(4)]


def pools(models: int = 2, length: int = 40) -> tuple[Pool, Pool]:
    """Return three recordings to train with, one held out, the same for every model."""
    return Pool(DATA, [[0, 1, 2]] * models, length=length), Pool(DATA, [[3]] * models, length=length)


def run(
    seeds: tuple[int, ...] = (1, 2), settings: Settings = SMALL, path: Path | None = None, **more: object
) -> Result:
    """Train a fresh stack."""
    return train(Gated(seeds), *pools(len(seeds)), settings, path=path, **more)  # type: ignore[arg-type]


def same(one: Result, other: Result) -> bool:
    """Tell whether two trainings left the same bits."""
    return all(np.array_equal(one.tensors[name], other.tensors[name]) for name in one.tensors) and all(
        np.array_equal(one.history[name], other.history[name]) for name in one.history
    )


def test_it_learns() -> None:
    """Sixty batches halve the error of the resting output it begins with."""
    result = run((1,), Settings(epochs=3, batches=20, batch=8))
    rest = np.concatenate([each.p for each in DATA[:3]]).var(0).mean()
    assert result.history["train_mse"][-1, 0] < 0.5 * rest
    assert result.history["test_mse"][-1, 0] < result.history["test_mse"][0, 0]


def test_one_seed_gives_one_result() -> None:
    """Training twice gives the same bits; another seed gives others."""
    first, second = run(), run()
    assert same(first, second)
    assert not np.array_equal(first.tensors["W_g"][0], first.tensors["W_g"][1])


def test_a_training_that_was_ended_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    """Ended after the first epoch and resumed in a new stack: bit for bit the uninterrupted training."""
    path = tmp_path / "run.checkpoint"
    part = run(path=path, until=1)
    assert not part.done
    said: list[str] = []
    whole = run(path=path, say=said.append)
    assert "going on after epoch 1" in said[0]
    assert whole.done
    assert same(whole, run())


def test_an_epoch_broken_off_leaves_its_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between two checkpoints, a training resumes at the last one and ends with the same bits."""
    path = tmp_path / "run.checkpoint"
    real, calls = AdamW.step, [0]

    def killed(self: AdamW, gradients: object) -> None:
        calls[0] += 1
        if calls[0] == 4:  # inside the second epoch
            raise KeyboardInterrupt
        real(self, gradients)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(AdamW, "step", killed)
        with pytest.raises(KeyboardInterrupt):
            run(path=path)
    assert same(run(path=path), run())


def test_early_stop_keeps_the_best() -> None:
    """Without improvement for `patience` epochs training ends, with the weights of the best epoch."""
    settings = dataclasses.replace(SMALL, rate=0.2, patience=2, epochs=30)
    result = run((1,), settings)
    assert result.done
    assert len(result.history["test_mse"]) == result.best_epoch[0] + 2 < 30
    _, testing = pools(1)
    model = Gated((0,))
    model.load(result.model())
    found = loop.validate(model, testing, [testing.put(each) for each in testing.tiles(settings.validation)])
    assert float(found[1, 0] + 0.1 * found[2, 0]) == pytest.approx(result.best_loss[0], rel=1e-6)


def test_a_model_draws_the_same_windows_in_any_stack() -> None:
    """Windows depend on the model's seed and the batch number, not on its place."""
    pool = Pool(DATA, [[0, 1], [2, 3], [0, 1]], length=40)
    places = pool.draw((5, 6, 5), 17, 8)
    np.testing.assert_array_equal(places.first[0], places.first[2])
    assert (places.first[1] >= 800).all()
    alone = Pool(DATA, [[2, 3]], length=40).draw((6,), 17, 8)
    np.testing.assert_array_equal(places.first[1], alone.first[0])
    assert not np.array_equal(places.first, pool.draw((5, 6, 5), 18, 8).first)


def test_windows_hold_what_the_recording_holds() -> None:
    """A gathered window is the recording's rows; behind a short recording's end nothing counts."""
    short = [recording(0), recording(1, frames=25)]
    pool = Pool(short, [[1]], length=40)
    places = pool.draw((3,), 0, 2)
    batch = pool.gather(*pool.put(places))
    np.testing.assert_array_equal(batch.x[:25, 0, 0].numpy(), short[1].x)
    assert batch.mask[:25].min() == 1
    assert batch.mask[25:].max() == 0
    np.testing.assert_array_equal(batch.x[25:, 0, 0].numpy(), np.repeat(short[1].x[-1:], 15, 0))


def test_a_window_warms_up_as_the_engine_does() -> None:
    """From its first frame the gate is pulled by 1 - n/24 at least, and by the recording where that is more."""
    late = recording(0)._replace(bias=np.where(np.arange(400) > 200, 0.7, 0.0).astype(np.float32))
    pool = Pool([late], [[0]], length=40)
    first, last = torch.tensor([[100, 300]]), torch.tensor([[399, 399]])
    pull = pool.gather(first, last).pull[:, 0].numpy()
    ramp = np.clip(1 - np.arange(40) / 24, 0, 1).astype(np.float32)
    np.testing.assert_allclose(pull[:, 0], ramp, atol=1e-7)
    np.testing.assert_allclose(pull[:, 1], np.maximum(ramp, np.float32(0.7)), atol=1e-7)


def test_validation_sees_every_frame_once() -> None:
    """Tiles lie side by side; models with fewer recordings have empty tiles that count nothing."""
    pool = Pool(DATA, [[0, 1], [2]], length=100)
    (tiles,) = pool.tiles(32)
    np.testing.assert_array_equal(tiles.first[0], np.arange(8) * 100)
    np.testing.assert_array_equal(tiles.first[1, :4], 800 + np.arange(4) * 100)
    assert (tiles.last[1, 4:] == -1).all()
    assert pool.gather(*pool.put(tiles)).mask[:, 1, 4:].max() == 0


def test_the_optimizer_is_adamw_with_a_clip_for_each_model() -> None:
    """Ten steps equal torch's AdamW and clip_grad_norm_ on each model alone."""
    model = Gated((1, 2))
    optimizer = AdamW(model, 1e-3, 0.01, 1.0)
    alone = [
        {name: torch.nn.Parameter(value[s].detach().clone()) for name, value in model.named_parameters()}
        for s in range(2)
    ]
    others = [torch.optim.AdamW(each.values(), lr=1e-3, weight_decay=0.01) for each in alone]
    rng = np.random.default_rng(0)
    for _ in range(10):
        gradients = []
        for name, value in model.named_parameters():
            scale = np.array([1.0, 1e-4]).reshape(2, *[1] * (value.ndim - 1))  # the second stays under the clip
            noise = (rng.normal(size=value.shape) * scale).astype(np.float32)
            gradients.append(torch.from_numpy(noise))
            for s in range(2):
                alone[s][name].grad = gradients[-1][s].clone()
        optimizer.step(gradients)
        for each, other in zip(alone, others, strict=True):
            torch.nn.utils.clip_grad_norm_(each.values(), 1.0)
            other.step()
    for name, value in model.named_parameters():
        for s in range(2):
            torch.testing.assert_close(value[s], alone[s][name], rtol=1e-5, atol=1e-7)


def test_rate_and_divergence_change_as_told() -> None:
    """By default both stay; told so, the rate follows half a cosine and the divergence's weight a line, to 0."""
    assert {loop.rate(SMALL, n) for n in range(6)} == {1e-3}
    assert {loop.diverge(SMALL, n) for n in range(6)} == {0.05}
    told = dataclasses.replace(SMALL, epochs=4, cooling=True, diverge_epochs=2)
    assert [loop.rate(told, n) for n in (0, 4, 8)] == pytest.approx([1e-3, 5e-4, 0], abs=1e-12)
    assert [loop.diverge(told, n) for n in (0, 2, 4, 7)] == pytest.approx([0.05, 0.025, 0, 0])


def test_the_divergence_keeps_both_states_apart() -> None:
    """Trained with the term, h_fast and h_slow are farther apart than without it."""
    apart = [
        run((1,), dataclasses.replace(SMALL, batches=10, diverge=weight)).history["test_diverge"][-1, 0]
        for weight in (0.05, 0.0)
    ]
    assert apart[0] > 1.5 * apart[1]


def test_a_gradient_that_overflowed_moves_nothing() -> None:
    """The model it belongs to stays where it is but for the weight decay; the other one of the stack moves."""
    model = Gated((1, 2))
    optimizer = AdamW(model, 1e-3, 0.0, 1.0)
    before = optimizer.values.clone()
    gradients = [torch.ones_like(value) for value in model.parameters()]
    gradients[0][0, 0, 0] = torch.inf
    optimizer.step(gradients)
    assert torch.equal(optimizer.values[0], before[0])
    assert not torch.equal(optimizer.values[1], before[1])


def test_a_loss_that_is_not_finite_ends_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names epoch, model and seed; the checkpoint before it is as it was."""
    path = tmp_path / "run.checkpoint"
    run(path=path, until=1)
    before = path.read_bytes()

    def broken(*arguments: object) -> object:
        found = losses(*arguments)  # type: ignore[arg-type]
        return found._replace(total=found.total * torch.tensor([1.0, torch.nan]))

    monkeypatch.setattr(loop, "losses", broken)
    with pytest.raises(TrainingError, match=r"epoch 2: the loss of model 1 \(seed 2\) is nan"):
        run(path=path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda raw: raw[:-100], "not whole"),
        (lambda raw: raw[:5000] + bytes([raw[5000] ^ 1]) + raw[5001:], "not whole"),
        (lambda raw: b"", "no checkpoint of this program"),
        (lambda raw: b"PK" + raw, "no checkpoint of this program"),
    ],
)
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, damage: object, says: str) -> None:
    """Cut, changed, empty or another file: the error says so, and the file stays for whoever wants it."""
    path = tmp_path / "run.checkpoint"
    run((1,), path=path, until=1)
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(TrainingError, match=says):
        run((1,), path=path)
    assert path.exists()


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    """Another seed, other numbers of the procedure or other frames are named."""
    path = tmp_path / "run.checkpoint"
    run((1,), path=path, until=1)
    with pytest.raises(TrainingError, match=r"seeds = \[1\], this training has \[2\]"):
        run((2,), path=path)
    with pytest.raises(TrainingError, match=r"rate = 0.001, this training has 0.01"):
        run((1,), dataclasses.replace(SMALL, rate=0.01), path=path)
    moved = [DATA[0]._replace(x=DATA[0].x * np.float32(0.5)), *DATA[1:]]
    with pytest.raises(TrainingError, match="data = "):
        train(Gated((1,)), Pool(moved, [[0, 1, 2]], length=40), pools(1)[1], SMALL, path=path)


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a checkpoint cannot be written the error says what to do, and the one before still resumes."""
    path = tmp_path / "run.checkpoint"
    run((1,), path=path, until=1)
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.os, "fsync", full)
        with pytest.raises(TrainingError, match=r"No space left on device.*goes on from the last checkpoint"):
            run((1,), path=path)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["run.checkpoint"]
    assert run((1,), path=path).done


def test_recordings_without_targets_are_refused() -> None:
    """A model whose recordings have no target that counts is named."""
    empty = recording(0)._replace(p_mask=np.zeros((400, 32), np.bool_))
    with pytest.raises(ValueError, match="model 1: none of its 1 recordings has a target"):
        Pool([empty, DATA[1]], [[1], [0]])
