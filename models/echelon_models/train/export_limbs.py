"""Trained DELL coupled and LIM-RPS become weights files: checked, certified, and proved to be what the engine computes.

Nothing is written that the engine would refuse, or that its kernels play otherwise than PyTorch did.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from echelon_models.formats import FORMATS
from echelon_models.train import coupled, lim_rps
from echelon_models.train.checkpoint import TrainingError
from echelon_models.weights import Model, check, load, save

PARITY_FRAMES, PARITY = 600, 1e-5
Key = Literal["dell_coupled", "lim_rps"]
Arrays = Mapping[str, NDArray[np.float32]]


def export(
    path: str | Path, key: Key, tensors: Arrays, *, origin: str, seed: int, notes: Mapping[str, Any] | None = None
) -> Model:
    """Check a model, write it as safetensors and return it as read back; the file appears whole or not at all.

    The metadata gets every hyper-parameter, `origin`, `seed` and the notes. Raises WeightsError for whatever the engine
    refuses, TrainingError where kernel and PyTorch differ. Imports Numba.
    """
    path = Path(path)
    hypers = coupled.HYPERS if key == "dell_coupled" else lim_rps.HYPERS
    metadata = {**hypers, **dict(notes or {}), "origin": origin, "seed": seed}
    text = {name: value if isinstance(value, str) else repr(value) for name, value in metadata.items()}
    difference = parity(check(tensors, {**text, "format": FORMATS[key].name}, str(path)))
    if not difference <= PARITY:
        raise TrainingError(
            f"{path}: kernel and PyTorch differ by {difference:.3g} over {PARITY_FRAMES} frames",
            f"{PARITY:g} is allowed",
            "the net amplifies rounding: train again, or report this",
        )
    partial = path.with_name(f".{path.stem}.{os.getpid()}.part.safetensors")
    try:
        save(partial, key, tensors, metadata)
        partial.replace(path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    return load(path)


def parity(model: Model, seed: int = 0) -> float:
    """Return the largest difference of z between kernel and PyTorch over 600 frames, in parts of the largest |z| or 1.

    Limbs swing within +-1, devices within what hands do; DELL coupled is compared with both kinds of boundaries.
    """
    from echelon_models.infer import infer

    rng = np.random.default_rng(seed)
    t = np.arange(PARITY_FRAMES)[:, None] / 60
    swings = np.sin(t * rng.uniform(1, 20, 240) + rng.uniform(0, 6, 240)).astype(np.float32)
    limbs = np.ascontiguousarray(swings[:, :216])
    w = {name: torch.from_numpy(np.array(values)) for name, values in model.tensors.items()}
    differences = []
    if model.key == "dell_coupled":
        for boundary in (coupled.regular(PARITY_FRAMES), coupled.at_beats(PARITY_FRAMES, rng)):
            with torch.no_grad():
                made = coupled.unroll(w, torch.from_numpy(limbs).unsqueeze(1), boundary).z[:, 0].numpy()
            wanted = infer(model, {"limbs": limbs, "boundary": np.array(boundary)})["z"]
            differences.append(_difference(made, wanted))
    else:
        size = np.repeat(np.array([8.0, 4.0, 1.0, 1.0], np.float32), 3)
        left, right = swings[:, 216:228] * size, swings[:, 228:] * size
        sensors = {"limbs": limbs, "left": left, "right": right}
        tensors = [torch.from_numpy(each).unsqueeze(1) for each in sensors.values()]
        made = lim_rps.follow(w, lim_rps.encode(w, *tensors), stop=-1.0)[0][:, 0].numpy()
        differences.append(_difference(made, infer(model, sensors)["z"]))
    return max(differences)


def _difference(made: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
    return float(np.abs(made - wanted).max() / max(1.0, float(np.abs(wanted).max())))
