"""Pictures of a training and of what the trained net does, as PNG: needs matplotlib (the extra `plot`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_models.train.dataset import Recording
from echelon_models.train.gated import LIMIT, Gated

MOST_SECONDS = 20.0  # of a recording in a picture
_INK, _SOFT = "#1f2430", "#9aa3b2"


def _figure(rows: int, height: float = 2.2) -> tuple[Any, Sequence[Any]]:
    # The object interface: no global state, no display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, height * rows + 0.6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, 1, squeeze=False)[:, 0]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25)
    return figure, list(axes)


def loss(path: str | Path, history: Mapping[str, NDArray[np.float64]], best_epoch: int, index: int = 0) -> None:
    """Draw every loss term over the epochs, training and held out; `history` as in loop.Result, one model of it."""
    figure, (top, bottom) = _figure(2, 3.0)
    epochs = np.arange(1, len(history["train_total"]) + 1)
    for prefix, colour, name in (("train", "#2f6fb7", "training"), ("test", "#d1495b", "held out")):
        top.plot(epochs, history[f"{prefix}_mse"][:, index], color=colour, marker=".", label=f"{name}")
    top.axvline(best_epoch, color=_SOFT, linestyle="--", label=f"best: epoch {best_epoch}")
    top.set(title="Error of the positions", ylabel="mse", yscale="log")
    for term, weight in (("smooth", 0.1), ("diverge", 0.05), ("state", 0.03)):
        values = weight * history[f"test_{term}"][:, index]
        bottom.plot(epochs, values, marker=".", label=f"{weight:g} {term}")
    bottom.set(title="The other terms, held out", xlabel="epoch", ylabel="share of the loss")
    for axis in (top, bottom):
        axis.legend(frameon=False)
    figure.savefig(path)


def states(path: str | Path, model: Gated, recording: Recording) -> None:
    """Draw gate, h_fast against h_slow and the fast-slow distance over a recording."""
    part = _begin(recording)
    run = model.play(part.x, part.c, part.bias)
    assert run.fast is not None
    assert run.slow is not None
    assert run.gate is not None
    fast, slow, gate = (each[:, 0, 0].cpu().numpy() for each in (run.fast, run.slow, run.gate))
    t = np.arange(len(fast)) / 60
    figure, (top, middle, bottom, cloud) = _figure(4)
    top.fill_between(t, *np.quantile(gate, (0.1, 0.9), axis=1), color="#2f6fb7", alpha=0.2, label="10 to 90 %")
    top.plot(t, gate.mean(1), color="#2f6fb7", label="mean of 128")
    top.plot(t, part.bias, color=_SOFT, label="pull of the state machine")
    top.set(title=f"Gate (1: fast, 0: slow): {recording.name}", ylim=(-0.02, 1.02))
    chosen = np.argsort(-fast.std(0))[:3]
    for k, colour in zip(chosen, ("#2f6fb7", "#d1495b", "#3a9d6e"), strict=True):
        middle.plot(t, fast[:, k], color=colour, linewidth=0.9, label=f"h_fast[{k}]")
        middle.plot(t, slow[:, k], color=colour, linewidth=2.2, alpha=0.55, label=f"h_slow[{k}]")
    middle.set(title="The three liveliest dimensions")
    bottom.plot(t, np.abs(fast).max(1), color="#2f6fb7", label="largest |h_fast|")
    bottom.plot(t, np.abs(slow).max(1), color="#d1495b", label="largest |h_slow|")
    bottom.axhline(LIMIT, color=_SOFT, linestyle="--", label="clip")
    bottom.set(title="Distance from the clip", xlabel="s", ylim=(0, 1.1 * LIMIT))
    step = max(1, len(fast) // 400)
    cloud.scatter(slow[::step].ravel(), fast[::step].ravel(), s=1, alpha=0.15, color=_INK)
    ends = [min(slow.min(), fast.min()), max(slow.max(), fast.max())]
    cloud.plot(ends, ends, color=_SOFT, linestyle="--", label="h_fast = h_slow")
    cloud.set(title="h_fast against h_slow, all dimensions", xlabel="h_slow", ylabel="h_fast")
    for axis in (top, middle, bottom, cloud):
        axis.legend(frameon=False, ncols=3, fontsize=8, loc="best")
    figure.savefig(path)


def parameters(path: str | Path, model: Gated, recording: Recording, names: Mapping[int, str]) -> None:
    """Draw motion energy and commitment, and below them the lanes `names` (number to name) beside their targets."""
    part = _begin(recording)
    y = model.play(part.x, part.c, part.bias).y[:, 0, 0].cpu().numpy()
    made = 1 / (1 + np.exp(-y))
    t = np.arange(len(y)) / 60
    figure, axes = _figure(1 + len(names), 1.5)
    axes[0].plot(t, part.energy, color=_INK, label="energy, m/s")
    axes[0].plot(t, part.c, color="#e09f3e", label="commitment")
    axes[0].set(title=f"Motion: {recording.name}")
    for axis, (lane, name) in zip(axes[1:], names.items(), strict=True):
        target = np.where(part.p_mask[:, lane], part.p[:, lane], np.nan)
        axis.plot(t, target, color=_SOFT, linewidth=2.5, label="target")
        axis.plot(t, made[:, lane], color="#2f6fb7", label="played")
        axis.set(ylabel=name, ylim=(-0.02, 1.02))
    axes[-1].set(xlabel="s")
    for axis in axes[:2]:
        axis.legend(frameon=False, ncols=2, fontsize=8, loc="upper right")
    figure.savefig(path)


def _begin(recording: Recording) -> Recording:
    most = slice(0, round(MOST_SECONDS * 60))
    rows = {name: getattr(recording, name)[most] for name in ("x", "c", "bias", "energy", "p", "p_mask")}
    return recording._replace(**rows)
