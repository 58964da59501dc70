"""Long trainings of the limb models, many at a time: `python -m echelon_models.train.limb_folds DATA.npz OUT`.

Real sources and dances are dealt into five groups. Each group is held out once, every seed: it is in neither training
nor validation (two real sources and a tenth of the dances of the rest). `shipped` learns from all but validation.
Jobs, each a process of one thread:
    coupled        DELL coupled trained; errors of every window, rhythm
    coupled_start  the initial weights frozen, the same heads trained on their z for as long
    lim_rps        LIM-RPS trained; sums of squares of each dropped device; convergence
    lim_rps_start  the initial weights with read-outs solved in the same way
    bounds         what a ridge, an MLP, a GRU and the limbs' own physics tell of a dropped device
OUT gets JOB-GROUP-SEED.npz, what is there already is not done again. Needs NumPy, torch and safetensors alone.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file

from echelon_models.train import agreement, agreement_bounds, dataset, devices, forecast, judge, limbs
from echelon_models.train.dataset import Recording
from echelon_models.train.fit import Settings
from echelon_models.train.frames import Frames
from echelon_models.train.lim_rps import CONVERGED, encode, follow
from echelon_models.train.sensors import VARIANTS, Part, Sensors, ideal, parts_of
from echelon_models.train.sweep import split, validation_sources

KINDS = ("coupled", "coupled_start", "lim_rps", "lim_rps_start", "bounds")
GROUPS = 5
SHIPPED = -1  # in place of a group
VALIDATE = 2  # real sources
DANCE_FRAMES = 1080  # of a recording that LIM-RPS is judged on: as long as the longest of a person


class Job(NamedTuple):
    """One training: what, without which group (SHIPPED: none), from which seed."""

    kind: str
    group: int
    seed: int

    @property
    def name(self) -> str:
        """Return the name of its file."""
        return f"{self.kind}-{'shipped' if self.group == SHIPPED else self.group}-{self.seed}"


class Material(NamedTuple):
    """What every job reads: recordings, their phones (variants included), initial weights, how long to train."""

    recordings: list[Recording]
    parts: list[list[Part]]
    initial: dict[str, dict[str, NDArray[np.float32]]]
    epochs: dict[str, int]
    out: Path


class Share(NamedTuple):
    """Recordings of a job by index."""

    training: list[int]
    validation: list[int]
    testing: list[int]


_material: list[Material] = []  # of this process, inherited by the workers


def groups(recordings: Sequence[Recording]) -> list[list[str]]:
    """Return the sources of each group, dealt in the order of the alphabet."""
    names = [sorted({each.source for each in recordings if each.kind == kind}) for kind in ("real", "dancer")]
    return [names[0][k::GROUPS] + names[1][k::GROUPS] for k in range(GROUPS)]


def share(recordings: Sequence[Recording], group: int) -> Share:
    """Return what a job without this group learns from, is stopped by and is judged on."""
    away = [] if group == SHIPPED else groups(recordings)[group]
    rest = [each for each in recordings if not each.sources & set(away)]
    validate = validation_sources(rest, VALIDATE)
    training, _ = split(recordings, [*away, *validate])
    return Share(training, split(recordings, validate)[1], split(recordings, away or validate)[1])


def run(job: Job) -> str:
    """Do one job, write its file, and say how long it took."""
    torch.set_num_threads(1)
    began, material = time.perf_counter(), _material[0]
    parts = share(material.recordings, job.group)
    work = {"coupled": _coupled, "lim_rps": _lim_rps, "bounds": _bounds}[job.kind.removesuffix("_start")]

    def say(line: str) -> None:
        sys.stdout.write(f"{job.name}: {line}\n")
        sys.stdout.flush()

    made = work(job, parts, material, say)
    partial = material.out / f".{job.name}.{os.getpid()}.npz"
    np.savez(partial, **made)
    partial.replace(material.out / f"{job.name}.npz")
    return f"{job.name}: {time.perf_counter() - began:.0f} s"


def _coupled(job: Job, share: Share, material: Material, say: limbs.Say) -> dict[str, Any]:
    training, validation, testing = (Frames([material.recordings[i] for i in each]) for each in share)
    model = forecast.Forecaster(job.seed)
    epochs = material.epochs["coupled"]
    frozen = material.initial["dell_coupled"] if job.kind.endswith("start") else None
    settings = Settings(epochs, material.epochs["batches"], patience=epochs, seed=job.seed)
    history = forecast.train(model, training, validation, settings, frozen=frozen, say=say)
    rhythm = Settings(material.epochs["rhythm"], material.epochs["batches"], rate=5e-3, seed=job.seed)
    forecast.train_rhythm(model, training, validation, rhythm, say=say)
    ridge = judge.fit_ridge(model.heads, training, validation)
    made: dict[str, Any] = {"best": [history.best_epoch, history.best_loss], "unit": model.heads.unit.numpy()}
    for beats in (False, True):
        found = judge.judge(model, testing, ridge, beats=beats)
        made.update({f"{'beats' if beats else 'frames'}.{name}": values for name, values in found.items()})
    if frozen is None:
        made.update({f"weights.{name}": values for name, values in model.coupled.tensors().items()})
        made["history"] = [[each["loss"], each["training"]] for each in history.epochs]
    if job.group == SHIPPED and frozen is None:
        model.heads.save(material.out / f"{job.name}.heads.safetensors", {"seed": str(job.seed)})
    return made


def _sensors(share: Share, material: Material) -> list[Sensors]:
    training = [part for i in share.training for part in material.parts[i]]
    others = [[_beginning(material.parts[i][0]) for i in each if material.parts[i]] for each in share[1:]]
    return [Sensors.of(each) for each in (training, *others)]


def _beginning(part: Part) -> Part:
    return part._replace(values=tuple(each[:DANCE_FRAMES] for each in part.values))


def _lim_rps(job: Job, share: Share, material: Material, say: limbs.Say) -> dict[str, Any]:
    training, validation, testing = _sensors(share, material)
    model, initial = agreement.Agreement(job.seed), material.initial["lim_rps"]
    made: dict[str, Any] = {}
    if job.kind.endswith("start"):
        model.prepare(training)
        model.net.load(initial)
        model.eval()
        agreement.fit_readouts(model, training, devices.standing())
    else:
        epochs = material.epochs["lim_rps"]
        settings = Settings(epochs, material.epochs["batches"], patience=epochs, seed=job.seed)
        history = agreement.train(model, training, validation, settings, absent=devices.standing(), say=say)
        model.eval()
        found = limbs.finish_lim_rps(model, training, validation, initial)
        made.update({f"made.{name}": interval.value for name, interval in found.items()})
        made.update({f"weights.{name}": values for name, values in model.net.tensors().items()})
        made["best"] = [history.best_epoch, history.best_loss]
        made["history"] = [[each["loss"], each["training"]] for each in history.epochs]
        if job.group == SHIPPED:
            model.save(material.out / f"{job.name}.heads.safetensors", {"seed": str(job.seed)})
    for dropped in (1, 2):
        made[f"squares.{dropped}"] = agreement.judge(model, testing, dropped)
    made["source"] = np.array(testing.sources)
    made.update(convergence(model, testing))
    return made


def convergence(model: agreement.Agreement, testing: Sensors) -> dict[str, Any]:
    """Return what residuals the engine's steps leave, with a body alone and with both phones.

    Share of the frames at or under 0.01, median, 99th percentile, largest: float64 (4,) each.
    """
    w, made = model.net.weights(), {}
    body, left, right = testing.sequences()
    inside = (torch.arange(len(body)).unsqueeze(1) < torch.from_numpy(testing.count)).numpy()
    for name, there in (("alone", 0.0), ("phones", 1.0)):
        with torch.no_grad():
            _, residual = follow(w, encode(w, body, there * left, there * right))
        left_over = residual.double().numpy()[inside]
        made[f"residual.{name}"] = [(left_over <= CONVERGED).mean(), *np.quantile(left_over, (0.5, 0.99, 1.0))]
    return made


def _bounds(job: Job, share: Share, material: Material, say: limbs.Say) -> dict[str, Any]:
    training, validation, testing = _sensors(share, material)
    pure = [_beginning(part) for part in ideal([material.recordings[i] for i in share.testing])]
    model = agreement.Agreement(job.seed)
    model.prepare(training)
    settings = Settings(material.epochs["bounds"], material.epochs["batches"], seed=job.seed)
    made: dict[str, Any] = {"source": np.array(testing.sources)}
    for dropped in (1, 2):
        found = agreement_bounds.judge(model, training, validation, testing, pure, dropped, settings=settings, say=say)
        made.update({f"{name}.{dropped}": values for name, values in found.items()})
    return made


def load_initial(folder: Path | None) -> dict[str, dict[str, NDArray[np.float32]]]:
    """Return the initial weights of both models, from a folder or as the package has them."""
    keys = ("dell_coupled", "lim_rps")
    if folder is not None:
        return {key: load_file(folder / f"{key}.safetensors") for key in keys}
    from echelon_models.weights import initial_path

    return {key: load_file(initial_path(key)) for key in keys}  # type: ignore[arg-type]


def plan(kinds: Sequence[str], seeds: Sequence[int], which: Sequence[int], out: Path) -> Iterator[Job]:
    """Yield the jobs that are not done, the longest first."""
    for kind in sorted(kinds, key=list(KINDS).index):
        for group in which:
            for seed in seeds:
                once = kind not in ("coupled", "lim_rps") and seed != seeds[0]  # little in them is drawn
                job = Job(kind, group, seed)
                if not once and not (group == SHIPPED and kind == "bounds") and not (out / f"{job.name}.npz").exists():
                    yield job


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chosen jobs."""
    parser = argparse.ArgumentParser(prog="python -m echelon_models.train.limb_folds", description=__doc__)
    parser.add_argument("data", type=Path, metavar="DATA.npz")
    parser.add_argument("out", type=Path, metavar="OUT", help="a folder, made if it is not there")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--groups", default="0,1,2,3,4,shipped")
    parser.add_argument("--seeds", default="1,2,3,4,5")
    parser.add_argument("--epochs-coupled", type=int, default=forecast.DEFAULTS.epochs)
    parser.add_argument("--epochs-rhythm", type=int, default=forecast.RHYTHM_DEFAULTS.epochs)
    parser.add_argument("--epochs-lim-rps", type=int, default=agreement.DEFAULTS.epochs)
    parser.add_argument("--epochs-bounds", type=int, default=agreement_bounds.DEFAULTS.epochs)
    parser.add_argument("--batches", type=int, default=Settings.batches)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes at a time")
    parser.add_argument("--initial", type=Path, help="folder of the initial weights; default: the package's own")
    chosen = parser.parse_args(arguments)
    chosen.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    recordings = dataset.read(chosen.data)
    kinds = chosen.kinds.split(",")
    epochs = {
        "coupled": chosen.epochs_coupled, "rhythm": chosen.epochs_rhythm, "lim_rps": chosen.epochs_lim_rps,
        "bounds": chosen.epochs_bounds, "batches": chosen.batches,
    }  # fmt: skip
    which = [SHIPPED if name == "shipped" else int(name) for name in chosen.groups.split(",")]
    jobs = list(plan(kinds, [int(seed) for seed in chosen.seeds.split(",")], which, chosen.out))
    with ProcessPoolExecutor(chosen.workers, multiprocessing.get_context("fork")) as pool:
        needed = any(kind in ("lim_rps", "lim_rps_start", "bounds") for kind in kinds)
        parts = list(pool.map(_parts, [(each, k) for k, each in enumerate(recordings)])) if needed else []
    _material[:] = [Material(recordings, parts, load_initial(chosen.initial), epochs, chosen.out)]
    with ProcessPoolExecutor(chosen.workers, multiprocessing.get_context("fork")) as pool:
        running = [pool.submit(run, job) for job in jobs]
        for number, done in enumerate(as_completed(running), 1):
            sys.stdout.write(f"{number} of {len(jobs)}: {done.result()}\n")
            sys.stdout.flush()
    return 0


def _parts(given: tuple[Recording, int]) -> list[Part]:
    return parts_of(*given, variants=VARIANTS)


if __name__ == "__main__":
    sys.exit(main())
