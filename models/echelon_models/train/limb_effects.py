"""What the limb models do in the engine: calibration of the confidence, LatentState, gradients of the trained nets.

Runs the engine's own kernels over recordings, a body without devices, as `run` does with a suit. Imports Numba.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from echelon_engine.kernels import latent, lim_rps
from echelon_engine.memory import LATENT_STATE_NAMES
from echelon_models.formats import FORMATS
from echelon_models.train import coupled, dataset, limb_card
from echelon_models.train import lim_rps as lim
from echelon_models.train.calibration import calibration
from echelon_models.train.dataset import Recording
from echelon_models.train.limb_folds import groups
from echelon_models.weights import built_in_path, check, initial_path, load, to_record

DANCES, DANCE_FRAMES = 6, 1800  # of the dancer, 30 s each
_F4 = np.float32


def latents(record: Any, limbs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return LatentStates (n, 25) of limbs (n, 216) by the engine's kernels; the body's own six numbers stay 0."""
    state, other = np.zeros(1, lim_rps.STATE)[0], np.zeros(1, latent.LATENT)[0]
    e, z, phone = np.zeros(96, _F4), np.zeros(96, _F4), np.zeros(12, _F4)
    speed, omega, place, origin = np.zeros((27, 3), _F4), np.zeros(27, _F4), np.zeros((27, 3), _F4), np.zeros(3, _F4)
    made = np.zeros((len(limbs), len(LATENT_STATE_NAMES)), _F4)
    for n, row in enumerate(limbs):
        lim_rps.encode(e, state, record, row, phone, phone, False, False)
        lim_rps.step(z, state, record, e, lim_rps.CONVERGED)
        latent.step(
            made[n], other, z, np.ascontiguousarray(record["P"]), float(state["residual"]), int(state["converged"]),
            int(state["used"]), speed, omega, place, origin, False, 0.0, 0.0, 0.0,
        )  # fmt: skip
    return made


def record_of(tensors: Mapping[str, NDArray[np.float32]]) -> Any:
    """Return the engine's record of the tensors of LIM-RPS, checked as a file would be."""
    text = {name: repr(value) for name, value in lim.HYPERS.items()}
    return to_record(check(tensors, {**text, "format": FORMATS["lim_rps"].name}))


def motion(data: Path) -> list[Recording]:
    """Return the real recordings of a data set, and the beginnings of some dances."""
    found = dataset.read(data)
    dances = [each for each in found if each.kind == "dancer"][:DANCES]
    cut = [each._replace(**{key: getattr(each, key)[:DANCE_FRAMES] for key in dataset.ARRAYS}) for each in dances]
    return [each for each in found if each.kind == "real"] + cut


def confidence(results: Path, data: Path) -> str:
    """Return the reliability table of prediction_confidence on real recordings never seen, and with initial weights."""
    recordings = [each for each in motion(data) if each.kind == "real"]
    of_group = {source: k for k, names in enumerate(groups(dataset.read(data))) for source in names}
    found = limb_card.read(results)
    trained: list[NDArray[np.float32]] = []
    for each in recordings:
        seeds = found[("lim_rps", str(of_group[each.source]))]
        records = [record_of(_weights(seed)) for seed in seeds]
        trained += [latents(record, each.limbs) for record in records]
    sources = [each.source for each in recordings]
    start = to_record(load(initial_path("lim_rps")))
    initial = [latents(start, each.limbs) for each in recordings]
    many = len(trained) // len(recordings)
    tables = {
        "trained": calibration(trained, [name for name in sources for _ in range(many)]),
        "initial": calibration(initial, sources),
    }
    text = "\n| it says | frames, % | earned by trained | frames, % | earned by initial |\n" + "|---" * 5 + "|\n"
    for k in range(10):
        row = f"| {k / 10:.1f} to {(k + 1) / 10:.1f} |"
        for found_of in tables.values():
            row += f" {100 * found_of.share[k]:.1f} | {found_of.earned[k]:.2f} |"
        text += row + "\n"
    for name, found_of in tables.items():
        text += f"\n{name}: mean |said - earned| over the bins {limb_card.told(found_of.error)}, of a single frame "
        text += f"{limb_card.told(found_of.spread)}, rank correlation {limb_card.told(found_of.rank)}\n"
    return text


def _weights(values: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
    return {name.removeprefix("weights."): array for name, array in values.items() if name.startswith("weights.")}


def states(results: Path, data: Path) -> str:
    """Return LatentState with the built-in and with the initial weights, over all real recordings and some dances."""
    recordings = motion(data)
    text = "\n| | built-in | initial |\n|---|---|---|\n"
    rows: list[list[float]] = []
    for path in (built_in_path("lim_rps"), initial_path("lim_rps")):
        record = to_record(load(path))
        made = np.concatenate([latents(record, each.limbs)[30:] for each in recordings]).astype(float)
        column = {name: made[:, k] for k, name in enumerate(LATENT_STATE_NAMES)}
        means = {name: float(values.mean()) for name, values in column.items()}
        rows.append(
            [
                100 * means["converged"],
                means["iterations"],
                float(np.quantile(column["residual"], 0.99)),
                means["norm"],
                float(np.sqrt((made[:, 2] ** 2 + made[:, 3] ** 2).mean())),
                means["micro_tension"],
                float(np.median(column["curvature"])),
                means["tension"],
                means["prediction_confidence"],
                100 * float(np.isfinite(made).all(1).mean()),
            ]
        )
    names = (
        "converged, % of frames", "iterations, mean", "residual, 99 %", "norm, mean", "speed of the position, RMS 1/s",
        "micro tension, mean", "curvature, median", "tension, mean", "prediction confidence, mean", "finite, %",
    )  # fmt: skip
    for name, one, other in zip(names, *rows, strict=True):
        text += f"| {name} | {one:.4g} | {other:.4g} |\n"
    return text


def gradients(results: Path, data: Path) -> str:
    """Return how far gradients of unrolled iterations are from the implicit ones: built-in nets, real motion."""
    found = [each for each in motion(data) if each.frames >= 96][:8]
    limbs = torch.from_numpy(np.stack([each.limbs[:96] for each in found], 1))
    generator = torch.Generator().manual_seed(3)

    def difference(
        names: list[str], tensors: Mapping[str, Any], run: Callable[[dict[str, Any], int | None], Any]
    ) -> Any:
        w = {name: torch.from_numpy(np.array(value)).double().requires_grad_() for name, value in tensors.items()}
        weight: Any = None
        flat = {}
        for steps in (None, 4, 8, 100):
            z = run(w, steps)
            weight = torch.randn(z.shape, generator=generator, dtype=z.dtype) if weight is None else weight
            made = torch.autograd.grad((z * weight).sum(), [w[name] for name in names])
            flat[steps] = torch.cat([each.flatten() for each in made])
        exact = flat[None]
        return [float((flat[steps] - exact).norm() / exact.norm()) for steps in (4, 8, 100)]

    fast = difference(
        [*coupled.SHAPES],
        load(built_in_path("dell_coupled")).tensors,
        lambda w, k: coupled.unroll(w, limbs.double(), coupled.regular(96), k, k).z,
    )
    w_lim = load(built_in_path("lim_rps")).tensors

    def relaxed(w: dict[str, Any], steps: int | None) -> Any:
        nothing = torch.zeros(*limbs.shape[:2], 12, dtype=torch.float64)
        e = lim.encode(w, limbs.double(), nothing, nothing)
        if steps is None:
            return lim.relax(w, e, 1e-12).z
        z = torch.zeros_like(e)
        for _ in range(steps):
            z = lim.step(w, z, e)
        return z

    agree = difference(["W_1", "b_1", "W_2", "b_2", "W_3", "E_body"], w_lim, relaxed)
    text = (
        "\n| gradient of a random linear loss against the implicit one | K = 4 | K = 8 | K = 100 |\n|---|---|---|---|\n"
    )
    for name, row in (("DELL coupled, warm started", fast), ("LIM-RPS, from zero", agree)):
        text += f"| {name} | " + " | ".join(f"{value:.2g}" for value in row) + " |\n"
    return text


TABLES: list[tuple[str, Callable[[Path, Path], str]]] = [
    ("Calibration of the confidence", confidence), ("LatentState", states), ("Gradients", gradients),
]  # fmt: skip
