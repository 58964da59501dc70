"""The loop of the limb models: AdamW with a cosine rate, clipping, validation, best model, early stop, exact resume.

What a batch holds depends on (seed, batch number) alone, and a checkpoint is written after each epoch, whole or not at
all: one seed on one machine gives one result, however often it was interrupted.
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
from torch import Tensor, nn

from echelon_models.train import checkpoint
from echelon_models.train.checkpoint import TrainingError

Loss = Callable[[np.random.Generator], Tensor]
Validate = Callable[[], Mapping[str, float]]


@dataclass(frozen=True)
class Settings:
    """The numbers of a training; `epochs` x `batches` steps, the rate falls to a hundredth along half a cosine."""

    epochs: int = 40
    batches: int = 100  # an epoch
    patience: int = 8  # epochs without improvement
    rate: float = 2e-3
    decay: float = 0.01
    clip: float = 1.0
    seed: int = 0


@dataclass
class History:
    """How a training went: figures of each epoch by name, the best epoch (from 1) and its loss."""

    epochs: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0
    best_loss: float = math.inf
    seconds: float = 0.0


def fit(
    model: nn.Module,
    loss: Loss,
    validate: Validate,
    settings: Settings = Settings(),
    *,
    path: str | Path | None = None,
    about: Mapping[str, Any] | None = None,
    until: int | None = None,
    say: Callable[[str], None] | None = None,
) -> History:
    """Train in place, or go on from the checkpoint at `path`; the model ends with its best weights.

    `loss(rng)` draws a batch and returns its loss; `validate()` returns figures, of which `loss` chooses the best.
    `about`: what else must be the same to go on. `until` ends this call after that epoch. Raises TrainingError for a
    loss that is not finite, and for checkpoints that cannot be read or written; the last good one stays.
    """
    say = say or (lambda text: None)
    optimizer = torch.optim.AdamW(model.parameters(), settings.rate, weight_decay=settings.decay)
    history = History()
    best = _copy(model)
    identity = {"model": type(model).__name__, **asdict(settings), **dict(about or {})}
    if path is not None and Path(path).exists():
        state = checkpoint.read(path, identity)
        history = History(**state["history"])
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        best = {name: value.to(best[name]) for name, value in state["best"].items()}
        say(f"going on after epoch {len(history.epochs)} from {path}")
    steps = settings.epochs * settings.batches
    last = settings.epochs if until is None else min(until, settings.epochs)
    while len(history.epochs) < last and len(history.epochs) - history.best_epoch < settings.patience:
        began, epoch = time.perf_counter(), len(history.epochs)
        total = torch.zeros((), dtype=torch.float64)
        for number in range(epoch * settings.batches, (epoch + 1) * settings.batches):
            # rate <- rate (0.01 + 0.99 (1 + cos(pi t)) / 2),  t from 0 to 1
            share = 0.01 + 0.495 * (1 + math.cos(math.pi * number / steps))
            for group in optimizer.param_groups:
                group["lr"] = settings.rate * share
            optimizer.zero_grad(set_to_none=True)
            value = loss(np.random.default_rng([settings.seed, number]))
            value.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
            optimizer.step()
            total += value.detach().double().cpu()
        figures = {"training": float(total) / settings.batches, **validate()}
        wrong = [name for name, value in figures.items() if not math.isfinite(value)]
        if wrong:
            raise TrainingError(
                f"epoch {epoch + 1}: {wrong[0]} is {figures[wrong[0]]}",
                "a loss is a finite number",
                "the last checkpoint is from before it; look at the data, or train with a smaller rate",
            )
        history.epochs.append(figures)
        if figures["loss"] < history.best_loss:
            history.best_loss, history.best_epoch, best = figures["loss"], epoch + 1, _copy(model)
        history.seconds += time.perf_counter() - began
        say(_line(history, settings))
        if path is not None:
            state = {"model": _copy(model), "best": best, "optimizer": optimizer.state_dict()}
            checkpoint.write(path, identity, {**state, "history": asdict(history)})
    model.load_state_dict(best)
    return history


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}


def _line(history: History, settings: Settings) -> str:
    figures = ", ".join(f"{name} {value:.4f}" for name, value in history.epochs[-1].items())
    count = len(history.epochs)
    return (
        f"epoch {count:3d} of at most {settings.epochs}: {figures} (best {history.best_loss:.4f}, "
        f"epoch {history.best_epoch}), {history.seconds / count:.1f} s an epoch"
    )
