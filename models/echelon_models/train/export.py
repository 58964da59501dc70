"""A trained DELL gated becomes a weights file: checked, certified, and proved to be what the engine computes.

Nothing is written that the engine would refuse, or that the engine's kernel plays otherwise than PyTorch did.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_models.formats import FORMATS
from echelon_models.train import adversary
from echelon_models.train.checkpoint import TrainingError
from echelon_models.train.gated import FRAME_RATE, LIMIT, Gated, Times
from echelon_models.weights import Model, check, load, save

PARITY_FRAMES, PARITY = 600, 1e-5
Arrays = Mapping[str, NDArray[np.float32]]


def hypers(tau_fast: float = 1 / 60, tau_slow: float = 0.4) -> dict[str, float]:
    """Return the hyper-parameters of the metadata that belong to two time constants in seconds."""
    times = Times((tau_fast,), (tau_slow,))
    return {"frame_rate": FRAME_RATE, "tau_fast": tau_fast, "tau_slow": tau_slow, "slow_every": times.slow_every[0]}


def origin(data: str, seed: int, epoch: int, mse: float) -> str:
    """Return the line that says where trained weights come from; `mse` of positions 0..1, held out."""
    return f"trained on {data}, seed {seed}, best of epoch {epoch}, held-out mse {mse:.5f}"


def export(
    path: str | Path,
    tensors: Arrays,
    *,
    tau_fast: float = 1 / 60,
    tau_slow: float = 0.4,
    origin: str,
    notes: Mapping[str, Any] | None = None,
    steps: int = 12,
) -> Model:
    """Check a DELL gated, write it as safetensors and return it as read back; the file appears whole or not at all.

    The metadata gets the hyper-parameters, `origin`, the notes, and the largest state under the worst input found in
    `steps` steps of adversary.search.
    Raises WeightsError for whatever the engine refuses, TrainingError where kernel and PyTorch differ or the states
    reach their clip, OSError where the folder is gone. Imports Numba.
    """
    path = Path(path)
    metadata = {**hypers(tau_fast, tau_slow), **dict(notes or {}), "origin": origin}
    text = {name: value if isinstance(value, str) else repr(value) for name, value in metadata.items()}
    model = check(tensors, {**text, "format": FORMATS["dell_gated"].name}, str(path))
    stack = Gated((0,), (tau_fast,), (tau_slow,))
    stack.load(tensors)
    difference = parity(model, stack)
    if not difference <= PARITY:
        raise TrainingError(
            f"{path}: kernel and PyTorch differ by {difference:.3g} of the largest output over {PARITY_FRAMES} frames",
            f"{PARITY:g} is allowed",
            "the net amplifies rounding: train with more weight on its states, or longer",
        )
    worst = adversary.search(stack, steps=steps).largest
    if worst >= LIMIT:
        raise TrainingError(
            f"{path}: a state reaches {worst:.1f} under the worst input found",
            f"states stay within the clip at +-{LIMIT:g}",
            "train with more weight on its states",
        )
    metadata["largest_state"] = round(worst, 3)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.part.safetensors")
    try:
        save(partial, "dell_gated", tensors, metadata)
        partial.replace(path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    return load(path)


def parity(model: Model, stack: Gated, seed: int = 0) -> float:
    """Return the largest difference of y between kernel and PyTorch over 600 frames, in parts of the largest |y|."""
    from echelon_models.infer import infer

    rng = np.random.default_rng(seed)
    # Swings from slow to fast with jumps between: what a body does, and what it does not.
    t = np.arange(PARITY_FRAMES)[:, None] / FRAME_RATE
    x = np.tanh(1.5 * np.sin(t * rng.uniform(1, 20, 6) + rng.uniform(0, 6, 6)) + (rng.random((len(t), 6)) < 0.02))
    inputs = {"x": x, "c": rng.random(len(t)), "gate_bias": np.clip(1 - np.arange(len(t)) / 24, 0, 1)}
    inputs = {name: values.astype(np.float32) for name, values in inputs.items()}
    y = stack.play(inputs["x"], inputs["c"], inputs["gate_bias"]).y[:, 0, 0].cpu().numpy()
    return float(np.abs(infer(model, inputs)["y"] - y).max() / max(1.0, np.abs(y).max()))
