"""Long trainings on one machine, from a data set to results: `python -m echelon_models.train.sweep DATA.npz OUT`.

Needs NumPy and torch alone, so this folder and a data set can be taken to any machine. Jobs:
    shipped      seeds of DELL gated on everything but the validation sources
    sensitivity  the four rows of (tau_fast, tau_slow) of the source, every seed, the same split
    peers        seeds of the GRU and the MLP on the split of `shipped`, for how fast they answer
    folds        each real source held out once, every seed: gated, GRU, MLP; their positions on the held-out recordings
Every job is one stack. OUT gets JOB.json (models, settings, losses), JOB.npz (weights or positions), and resumes.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from echelon_models.train import adversary, baselines, dataset, starts
from echelon_models.train.dataset import Recording
from echelon_models.train.gated import Gated, Stacked
from echelon_models.train.loop import Result, train
from echelon_models.train.pool import Pool
from echelon_models.train.recipes import RECIPES, Recipe

# spec/seeds/1, "Hyperparameter Sensitivity Analysis": (tau_fast, tau_slow) in seconds
SENSITIVITY = ((1 / 60, 0.2), (1 / 60, 0.4), (1 / 60, 0.8), (1 / 30, 0.4))
JOBS = ("shipped", "sensitivity", "peers", "folds")
DANCER_SHARE = 10  # one in ten recordings of the dancer validates


class Plan(NamedTuple):
    """One model of a stack: what it is, and the recordings it learns from and is validated on, by index."""

    kind: str
    seed: int
    tau_fast: float
    tau_slow: float
    training: list[int]
    testing: list[int]
    held_out: str = ""  # the source of a fold: in neither


def validation_sources(recordings: Sequence[Recording], real: int = 3) -> list[str]:
    """Return the sources that stop the training: `real` real ones, and a tenth of the dancer's, one at least."""
    found: list[str] = []
    for kind in ("real", "dancer"):
        names = sorted({each.source for each in recordings if each.kind == kind})
        count = real if kind == "real" else max(1, len(names) // DANCER_SHARE)
        if len(names) > count:  # evenly spread over the alphabet
            found += [names[(2 * k + 1) * len(names) // (2 * count)] for k in range(count)]
    return found


def split(recordings: Sequence[Recording], out: Sequence[str]) -> tuple[list[int], list[int]]:
    """Return (training, testing) as indices: testing is the unaltered recordings of `out`, training touches none."""
    away = frozenset(out)
    training = [i for i, each in enumerate(recordings) if not each.sources & away]
    testing = [i for i, each in enumerate(recordings) if each.sources <= away and each.kind != "augmented"]
    return training, testing


def folds(recordings: Sequence[Recording], kind: str, seeds: Sequence[int]) -> list[Plan]:
    """Return a model for each real source and seed; the next two real sources and dancer's recordings validate it."""
    real = sorted({each.source for each in recordings if each.kind == "real"})
    dancer = validation_sources(recordings, 0)
    plans = []
    for k, source in enumerate(real):
        validate = [real[(k + step) % len(real)] for step in (1, 2) if len(real) > step + 1] + dancer
        training = split(recordings, [source, *validate])[0]
        testing = split(recordings, validate)[1]
        plans += [Plan(kind, seed, 1 / 60, 0.4, training, testing, source) for seed in seeds]
    return plans


def model_of(plans: Sequence[Plan]) -> Stacked:
    """Return the stack of some plans of one kind."""
    seeds = [plan.seed for plan in plans]
    if plans[0].kind == "gated":
        return Gated(seeds, [plan.tau_fast for plan in plans], [plan.tau_slow for plan in plans])
    return {"gru": baselines.Gru, "mlp": baselines.Mlp}[plans[0].kind](seeds)


def run(
    name: str,
    plans: Sequence[Plan],
    recordings: Sequence[Recording],
    out: Path,
    recipe: Recipe,
    device: str,
    search: int = 12,
) -> tuple[Stacked, Result]:
    """Train one stack, going on from its checkpoint, and write JOB.json."""
    settings = recipe.settings
    say(f"{name}: {len(plans)} models of {plans[0].kind}, {sum(len(each.c) for each in recordings) / 3600:.1f} minutes")
    training = Pool(
        recordings, [plan.training for plan in plans], device=device, burn_in=recipe.burn_in, starts=recipe.starts
    )
    testing = Pool(recordings, [plan.testing for plan in plans], device=device, burn_in=recipe.burn_in)
    model = model_of(plans)
    if recipe.memory and isinstance(model, Gated):
        starts.remember(model)
    path = out / f"{name}.checkpoint"
    result = train(
        model, training, testing, settings, path=path, about=recipe.about(), say=lambda line: say(f"{name}: {line}")
    )
    found: dict[str, Any] = {
        "models": [
            {**plan._asdict(), "training": len(plan.training), "testing": [recordings[i].name for i in plan.testing]}
            for plan in plans
        ],
        "settings": settings.__dict__, **recipe.about(), "device": device, "torch": torch.__version__,
        "tf32": torch.backends.cuda.matmul.allow_tf32, "seconds": result.seconds,
        "best_epoch": result.best_epoch.tolist(), "best_loss": result.best_loss.tolist(),
        "history": {key: np.round(rows, 7).tolist() for key, rows in result.history.items()},
    }  # fmt: skip
    if isinstance(model, Gated):
        found["worst"] = adversary.search(model, steps=search, windows=8 if len(plans) > 30 else 32)._asdict()
        say(f"{name}: largest state under the worst input {max(map(max, found['worst'].values())):.2f}")
    (out / f"{name}.json").write_text(json.dumps(found))
    return model, result


def positions(model: Stacked, plans: Sequence[Plan], recordings: Sequence[Recording]) -> dict[str, NDArray[np.float32]]:
    """Return what each fold's model makes of its own held-out recordings: p (seeds, T, 32) by recording's name."""
    found: dict[str, NDArray[np.float32]] = {}
    for each in recordings:
        chosen = [s for s, plan in enumerate(plans) if plan.held_out == each.source]
        if each.kind == "real" and chosen:
            y = model.play(each.x, each.c, each.bias).y[:, chosen, 0]
            found[each.name] = torch.sigmoid(y).transpose(0, 1).cpu().numpy()
    return found


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chosen jobs."""
    parser = argparse.ArgumentParser(prog="python -m echelon_models.train.sweep", description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, metavar="DATA.npz")
    parser.add_argument("out", type=Path, metavar="OUT", help="a folder, made if it is not there")
    parser.add_argument("--jobs", default=",".join(JOBS), help=f"some of {', '.join(JOBS)}")
    parser.add_argument("--kinds", default="gated,gru,mlp", help="of the folds and peers")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--recipe", choices=RECIPES, default="source", help="see recipes.py; what follows overrides it")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--batches", type=int)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--diverge", type=float, help="weight of the divergence term")
    parser.add_argument("--diverge-epochs", type=int, help="in which its weight falls to 0; 0: it stays")
    parser.add_argument("--outlier", type=float, help="norm of a gradient, in means of those before; 0: no limit")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--search", type=int, default=12, help="steps of the search for the worst input")
    parser.add_argument("--tf32", action="store_true", help="products in TF32 on a GPU: faster, rounded to 10 bits")
    parser.add_argument("--threads", type=int, default=0)
    chosen = parser.parse_args(arguments)
    wrong = set(chosen.jobs.split(",")) - set(JOBS)
    if wrong:
        parser.error(f"--jobs {', '.join(sorted(wrong))}: some of {', '.join(JOBS)}")
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    torch.backends.cuda.matmul.allow_tf32 = chosen.tf32
    chosen.out.mkdir(parents=True, exist_ok=True)
    recordings = dataset.read(chosen.data)
    given = {
        name: getattr(chosen, name)
        for name in ("epochs", "batches", "rate", "diverge", "diverge_epochs", "outlier")
        if getattr(chosen, name) is not None
    }
    recipe = RECIPES[chosen.recipe].but(**given)
    seeds = range(1, chosen.seeds + 1)
    parts = split(recordings, validation_sources(recordings))
    for job in chosen.jobs.split(","):
        if job == "folds":
            for kind in chosen.kinds.split(","):
                plans = folds(recordings, kind, seeds)
                model, _ = run(f"folds_{kind}", plans, recordings, chosen.out, recipe, chosen.device, chosen.search)
                np.savez(chosen.out / f"folds_{kind}.npz", **positions(model, plans, recordings))  # type: ignore[arg-type]
            continue
        taus = SENSITIVITY if job == "sensitivity" else SENSITIVITY[1:2]
        kinds = [kind for kind in chosen.kinds.split(",") if kind != "gated"] if job == "peers" else ["gated"]
        for kind in kinds:
            name = f"{job}_{kind}" if job == "peers" else job
            plans = [Plan(kind, seed, *pair, *parts) for pair in taus for seed in seeds]
            _, result = run(name, plans, recordings, chosen.out, recipe, chosen.device, chosen.search)
            np.savez(chosen.out / f"{name}.npz", **result.tensors)  # type: ignore[arg-type]
    return 0


if __name__ == "__main__":
    sys.exit(main())
