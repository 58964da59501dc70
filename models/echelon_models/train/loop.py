"""The training loop, for a stack of models at once: AdamW, clipping, validation, best model, early stop, exact resume.

One seed on one machine gives one result: what a batch holds depends on (seed, batch number) alone. A checkpoint is
written after each epoch, whole or not at all. Source: spec/seeds/1, "Training Procedure".
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from echelon_models.train import checkpoint
from echelon_models.train.checkpoint import TrainingError
from echelon_models.train.gated import Stacked
from echelon_models.train.losses import DIVERGE, Losses, losses
from echelon_models.train.optimizer import AdamW
from echelon_models.train.pool import Places, Pool

__all__ = ["Result", "Settings", "TrainingError", "train"]

Say = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """The procedure's numbers; the defaults are the specification's."""

    epochs: int = 100
    batches: int = 100  # an epoch
    batch: int = 32  # windows
    patience: int = 5  # epochs without improvement
    rate: float = 1e-3
    cooling: bool = False  # the rate falls to 0 over the epochs along half a cosine; else it stays
    warming: int = 0  # batches in which the rate rises from 0 at first
    decay: float = 0.01  # AdamW's weight decay
    clip: float = 1.0  # largest norm of a model's gradient
    outlier: float = 0.0  # and so many times the mean of its norms so far; 0: no such limit
    diverge: float = DIVERGE  # weight of the divergence term
    diverge_epochs: int = 0  # in which that weight falls to 0, once both equilibria are apart; 0: it stays
    validation: int = 128  # windows at most
    storm: int = 4  # windows more without targets, for models with states: inputs at their ends, see Pool.draw


@dataclass
class Result:
    """What a training left: the best weights (S, ..) by validation, float32, and how it went.

    `history[name]` is (epochs, S): `train_..` and `test_..` of total, mse, smooth, diverge and state. `best_epoch`,
    `best_loss` (S,): 1-based; the validation's mse + 0.1 smooth, what is heard of the loss. `done`: no epoch is left.
    """

    tensors: dict[str, NDArray[np.float32]]
    history: dict[str, NDArray[np.float64]]
    best_epoch: NDArray[np.int64]
    best_loss: NDArray[np.float64]
    done: bool = True
    seconds: float = 0.0

    def model(self, index: int = 0) -> dict[str, NDArray[np.float32]]:
        """Return one model's tensors."""
        return {name: values[index] for name, values in self.tensors.items()}


@dataclass
class _Progress:
    epoch: int = 0
    best: Tensor = field(default_factory=lambda: torch.empty(0))
    best_epoch: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    best_loss: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    history: dict[str, list[list[float]]] = field(default_factory=dict)
    seconds: float = 0.0


def train(
    model: Stacked,
    training: Pool,
    testing: Pool,
    settings: Settings = Settings(),
    *,
    start: Mapping[str, NDArray[np.float32]] | None = None,
    path: str | Path | None = None,
    until: int | None = None,
    about: Mapping[str, Any] | None = None,
    say: Say | None = None,
) -> Result:
    """Train a stack, or go on from its checkpoint at `path`, and return the best of each model.

    `start`: weights that every model begins with, instead of its seed's. `about`: what else must be the same to go on.
    `until` ends this call after that epoch.
    Raises TrainingError for a loss that is not finite, a checkpoint of another training or one that is not whole, and
    where a checkpoint cannot be written; the last good checkpoint stays.
    """
    say = say or (lambda text: None)
    model.to(training.device)
    if start is None:
        model.set_rest(training.rest())
    else:
        for index in range(model.size):
            model.load(start, index)
    optimizer = AdamW(model, settings.rate, settings.decay, settings.clip, settings.outlier)
    identity = {
        "model": type(model).__name__, "seeds": list(model.seeds), "about": dict(about or {}), **asdict(settings),
        "times": [list(each) for each in getattr(model, "times", ())],
        "names": [name for name, _ in model.named_parameters()],
        "windows": training.length, "data": [training.digest, testing.digest],
        "members": [training.members, testing.members],
        "start": [[name, float(np.abs(values).sum(dtype=np.float64))] for name, values in (start or {}).items()],
    }  # fmt: skip
    if not settings.cooling:
        del identity["epochs"]  # a finished training may be given more
    progress = _Progress(
        best=optimizer.values.clone(),
        best_epoch=np.zeros(model.size, np.int64),
        best_loss=np.full(model.size, np.inf),
    )
    step = _step_of(model, training, optimizer, settings)
    if path is not None and Path(path).exists():
        _restore(progress, optimizer, checkpoint.read(path, identity))
        say(f"going on after epoch {progress.epoch} from {path}")
    tiles = [testing.put(places) for places in testing.tiles(settings.validation)]
    last = settings.epochs if until is None else min(until, settings.epochs)
    while progress.epoch < last and not _stopped(progress, settings).all():
        _epoch(model, training, testing, tiles, optimizer, settings, progress, step)
        say(_line(progress, settings))
        if path is not None:
            checkpoint.write(path, identity, _state(progress, optimizer))
    optimizer.values.copy_(progress.best)
    names = [name for name, _ in model.named_parameters()]
    return Result(
        {name: model.get_parameter(name).detach().cpu().numpy().copy() for name in names},
        {name: np.array(rows) for name, rows in progress.history.items()},
        progress.best_epoch.copy(),
        progress.best_loss.copy(),
        progress.epoch >= settings.epochs or bool(_stopped(progress, settings).all()),
        progress.seconds,
    )


def _stopped(progress: _Progress, settings: Settings) -> NDArray[np.bool_]:
    return progress.epoch - progress.best_epoch >= settings.patience


def _epoch(
    model: Stacked,
    training: Pool,
    testing: Pool,
    tiles: list[tuple[Tensor, Tensor]],
    optimizer: AdamW,
    settings: Settings,
    progress: _Progress,
    step: Callable[[Places], Tensor],
) -> None:
    began = time.perf_counter()
    sums = torch.zeros(len(Losses._fields), model.size, dtype=torch.float64, device=training.device)
    for number in range(progress.epoch * settings.batches, (progress.epoch + 1) * settings.batches):
        optimizer.rate.fill_(rate(settings, number))
        optimizer.diverge.fill_(diverge(settings, number))
        sums += step(training.draw(model.seeds, number, settings.batch, _storm(model, settings)))
    tested = validate(model, testing, tiles)
    seen = (sums / settings.batches).cpu().numpy()
    test = tested.cpu().numpy()
    wrong = np.flatnonzero(~(np.isfinite(seen).all(0) & np.isfinite(test).all(0)))
    if wrong.size:
        s = int(wrong[0])
        raise TrainingError(
            f"epoch {progress.epoch + 1}: the loss of model {s} (seed {model.seeds[s]}) is {seen[0, s]}",
            "a loss is a finite number",
            "the last checkpoint is from before it; look at the data, or train with a smaller rate",
        )
    going = ~_stopped(progress, settings)
    progress.epoch += 1
    for prefix, values in (("train", seen), ("test", test)):
        for name, row in zip(Losses._fields, values, strict=True):
            progress.history.setdefault(f"{prefix}_{name}", []).append(row.tolist())
    heard = test[Losses._fields.index("mse")] + 0.1 * test[Losses._fields.index("smooth")]
    # A model that has stopped keeps its best, however long the others of its stack go on.
    better = going & (heard < progress.best_loss)
    progress.best_loss[better], progress.best_epoch[better] = heard[better], progress.epoch
    chosen = torch.from_numpy(better).to(training.device).view(-1, 1)
    progress.best = torch.where(chosen, optimizer.values, progress.best)
    progress.seconds += time.perf_counter() - began


def rate(settings: Settings, number: int) -> float:
    """Return the learning rate of a batch, counted from 0 over all epochs."""
    risen = min(1.0, (number + 1) / settings.warming) if settings.warming else 1.0
    if not settings.cooling:
        return settings.rate * risen
    return settings.rate * risen * 0.5 * (1 + math.cos(math.pi * number / (settings.epochs * settings.batches)))


def diverge(settings: Settings, number: int) -> float:
    """Return the weight of the divergence term of a batch, counted from 0 over all epochs."""
    if not settings.diverge_epochs:
        return settings.diverge
    return settings.diverge * max(0.0, 1 - number / (settings.diverge_epochs * settings.batches))


def validate(model: Stacked, testing: Pool, tiles: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Return every loss term over all windows, (5, S) float64: each batch counts by its targets."""
    sums = torch.zeros(len(Losses._fields), model.size, dtype=torch.float64, device=testing.device)
    counts = torch.zeros(model.size, dtype=torch.float64, device=testing.device)
    with torch.no_grad():
        for first, last in tiles:
            batch = testing.gather(first, last)
            found = losses(model(batch.x, batch.c, batch.pull), batch.p, batch.mask)
            weight = batch.mask.sum((0, 2, 3), dtype=torch.float64)
            sums += torch.stack(found).double() * weight
            counts += weight
    return sums / counts.clamp(min=1)


def _step_of(model: Stacked, pool: Pool, optimizer: AdamW, settings: Settings) -> Callable[[Places], Tensor]:
    """Return the function that learns from one batch and returns its losses (5, S)."""

    def learn(first: Tensor, last: Tensor) -> Tensor:
        batch = pool.gather(first, last)
        found = losses(model(batch.x, batch.c, batch.pull), batch.p, batch.mask, optimizer.diverge)
        # The models share nothing, so the sum's gradient is each model's own.
        gradients = torch.autograd.grad(found.total.sum(), list(model.parameters()))
        optimizer.step(gradients)
        return torch.stack([each.detach() for each in found])

    if pool.device.type != "cuda":
        return lambda places: learn(*pool.put(places))
    return _captured(learn, pool, model, optimizer, settings)


def _captured(
    learn: Callable[[Tensor, Tensor], Tensor], pool: Pool, model: Stacked, optimizer: AdamW, settings: Settings
) -> Callable[[Places], Tensor]:
    # A step is thousands of small kernels: recorded once, then played as one graph.
    first, last = pool.put(pool.draw(model.seeds, 0, settings.batch, _storm(model, settings)))
    before = [state.clone() for state in optimizer.state()]
    cuda: Any = torch.cuda
    stream = cuda.Stream()
    stream.wait_stream(cuda.current_stream())
    with cuda.stream(stream):
        for _ in range(2):
            learn(first, last)
    cuda.current_stream().wait_stream(stream)
    graph = cuda.CUDAGraph()
    with cuda.graph(graph):
        found = learn(first, last)
    for state, value in zip(optimizer.state(), before, strict=True):
        state.copy_(value)

    def step(places: Places) -> Tensor:
        new_first, new_last = pool.put(places)
        first.copy_(new_first)
        last.copy_(new_last)
        graph.replay()
        return found

    return step


def _storm(model: Stacked, settings: Settings) -> int:
    return settings.storm if model.clipped else 0


def _line(progress: _Progress, settings: Settings) -> str:
    last = {name: np.array(rows[-1]) for name, rows in progress.history.items()}
    each = progress.seconds / progress.epoch
    stopped = int(_stopped(progress, settings).sum())
    models = len(progress.best_loss)
    count = f", {stopped} of {models} stopped" if models > 1 else ""
    return (
        f"epoch {progress.epoch:3d} of at most {settings.epochs}: loss {last['train_total'].mean():.5f}, "
        f"mse {last['train_mse'].mean():.5f}, held out {last['test_mse'].mean():.5f} "
        f"(best {progress.best_loss.mean():.5f}, epoch {int(progress.best_epoch.max())}{count}), {each:.1f} s an epoch"
    )


def _state(progress: _Progress, optimizer: AdamW) -> dict[str, Any]:
    return {
        "epoch": progress.epoch, "seconds": progress.seconds, "history": progress.history,
        "best": progress.best.cpu(), "best_epoch": progress.best_epoch.tolist(),
        "best_loss": progress.best_loss.tolist(), "optimizer": [state.cpu() for state in optimizer.state()],
    }  # fmt: skip


def _restore(progress: _Progress, optimizer: AdamW, state: Mapping[str, Any]) -> None:
    progress.epoch, progress.seconds, progress.history = state["epoch"], state["seconds"], state["history"]
    progress.best = state["best"].to(optimizer.values.device)
    progress.best_epoch = np.array(state["best_epoch"], np.int64)
    progress.best_loss = np.array(state["best_loss"])
    for own, saved in zip(optimizer.state(), state["optimizer"], strict=True):
        own.copy_(saved)
