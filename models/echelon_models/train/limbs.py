"""Long trainings of the limb models on any machine: `python -m echelon_models.train.limbs DATA.npz OUT`.

Needs NumPy, torch and safetensors alone, so this folder and a data set can be taken anywhere. For each model and seed
OUT gets MODEL-SEED.npz (the weights of the format, to be exported), MODEL-SEED.heads.safetensors (its read-outs),
MODEL-SEED.json (settings, losses, figures on held-out recordings with intervals) and a checkpoint to resume from.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from echelon_models.train import agreement, coupled, dataset, devices, forecast, lim_rps
from echelon_models.train.dataset import Recording
from echelon_models.train.fit import History, Settings
from echelon_models.train.frames import Frames
from echelon_models.train.heads import HORIZONS
from echelon_models.train.intervals import Interval, bootstrap, ratio
from echelon_models.train.sweep import split, validation_sources

MODELS = ("coupled", "lim_rps")
Say = Callable[[str], None]
Figures = dict[str, Interval]
Trained = tuple[dict[str, NDArray[np.float32]], History, Figures]


def train_coupled(
    recordings: Sequence[Recording],
    held_out: Sequence[str],
    settings: Settings,
    out: Path,
    *,
    device: str = "cpu",
    length: int = forecast.LENGTH,
    batch: int = forecast.BATCH,
    say: Say | None = None,
) -> Trained:
    """Train DELL coupled, write its heads beside `out`, return weights, history and held-out figures."""
    parts = [[recordings[i] for i in chosen] for chosen in split(recordings, held_out)]
    training, testing = (Frames(each, device) for each in parts)
    model = forecast.Forecaster(settings.seed)
    path = out.with_suffix(".checkpoint")
    history = forecast.train(model, training, testing, settings, length=length, batch=batch, path=path, say=say)
    model.heads.save(out.with_suffix(".heads.safetensors"), {"seed": str(settings.seed)})
    return model.coupled.tensors(), history, forecast_figures(model, testing)


def forecast_figures(model: forecast.Forecaster, testing: Frames) -> Figures:
    """Return RMS errors per horizon and way of guessing, what the net gains on the pose that stays, and rhythm."""
    figures: Figures = {}
    for beats in (False, True):
        found = forecast.judge(model, testing, beats=beats)
        source, counts, name = found["source"], found["frames"], "at beats, " if beats else ""
        for k, frames in enumerate(HORIZONS):
            where = f"{name}{round(frames * 1000 / 60)} ms"
            for way in ("net", "blind") if beats else ("net", "blind", "stays", "linear"):
                mean = ratio(found[way][:, k] * counts[:, k], counts[:, k])
                figures[f"{where}, rms of {way}"] = bootstrap(source, lambda rows, mean=mean: mean(rows) ** 0.5)  # type: ignore[misc]
            gain = ratio(found["net"][:, k] * counts[:, k], found["stays"][:, k] * counts[:, k])
            figures[f"{where}, net against stays"] = bootstrap(source, lambda rows, gain=gain: gain(rows) ** 0.5)  # type: ignore[misc]
        for what in ("tempo", "phase"):
            heard = np.isfinite(found[what])
            if heard.any():
                values = found[what][heard]
                figures[f"{name}{what} error"] = bootstrap(
                    source[heard],
                    lambda rows, values=values: float(np.median(values[rows])),  # type: ignore[misc]
                )
    return figures


def train_lim_rps(
    recordings: Sequence[Recording],
    held_out: Sequence[str],
    settings: Settings,
    out: Path,
    *,
    device: str = "cpu",
    batch: int = agreement.BATCH,
    say: Say | None = None,
) -> Trained:
    """Train LIM-RPS, write its read-outs beside `out`, return weights, history and held-out figures."""
    parts = [[recordings[i] for i in chosen] for chosen in split(recordings, held_out)]
    training, testing = (agreement.Sensors(each, settings.seed, device) for each in parts)
    model, absent = agreement.Agreement(settings.seed), devices.standing()
    path = out.with_suffix(".checkpoint")
    history = agreement.train(model, training, testing, settings, absent=absent, batch=batch, path=path, say=say)
    share = agreement.learn_directions(model, training, absent)
    model.save(out.with_suffix(".heads.safetensors"), {"seed": str(settings.seed)})
    figures = {"variance in P": Interval(share, share, share), **agreement_figures(model, training, testing)}
    return model.net.tensors(), history, figures


def agreement_figures(model: agreement.Agreement, training: agreement.Sensors, testing: agreement.Sensors) -> Figures:
    """Return R^2 of each dropped device, in all and for each quantity, of the net and of a ridge regression."""
    figures: Figures = {}
    for dropped in (1, 2):
        found = agreement.judge(model, training, testing, dropped)
        names = ["everything", *agreement.QUANTITIES]
        for way in ("error", "ridge"):
            for k, name in enumerate(names):
                over, under = (found[each].sum(1) if k == 0 else found[each][:, k - 1] for each in (way, "total"))
                share = ratio(over, under)
                figures[
                    f"R2 of the {agreement.SENSORS[dropped]} device, {name}, {'net' if way == 'error' else way}"
                ] = bootstrap(found["source"], lambda rows, share=share: 1 - share(rows))  # type: ignore[misc]
    return figures


def write(out: Path, trained: Trained, settings: Settings, held_out: Sequence[str], **notes: Any) -> None:
    """Write weights and the report of one training."""
    tensors, history, figures = trained
    np.savez(out.with_suffix(".npz"), **tensors)  # type: ignore[arg-type]
    report = {
        "settings": asdict(settings), "held_out": list(held_out), "torch": torch.__version__, **notes,
        "history": asdict(history), "figures": {name: list(value) for name, value in figures.items()},
    }  # fmt: skip
    out.with_suffix(".json").write_text(json.dumps(report, indent=1))


def main(arguments: Sequence[str] | None = None) -> int:
    """Train the chosen models, one seed after the other."""
    parser = argparse.ArgumentParser(prog="python -m echelon_models.train.limbs", description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, metavar="DATA.npz")
    parser.add_argument("out", type=Path, metavar="OUT", help="a folder, made if it is not there")
    parser.add_argument("--models", default=",".join(MODELS), help=f"some of {', '.join(MODELS)}")
    parser.add_argument("--seeds", default="1", help="one or more, for example 1,2,3")
    parser.add_argument("--epochs", type=int, default=Settings.epochs)
    parser.add_argument("--batches", type=int, default=Settings.batches)
    parser.add_argument("--patience", type=int, default=Settings.patience)
    parser.add_argument("--batch", type=int, default=0, help="windows or frames a batch; 0: the model's own")
    parser.add_argument("--held-out", default="", help="sources; default: three real ones and a tenth of the dancer's")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=0)
    chosen = parser.parse_args(arguments)
    models = chosen.models.split(",")
    if wrong := set(models) - set(MODELS):
        parser.error(f"--models {', '.join(sorted(wrong))}: some of {', '.join(MODELS)}")
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    chosen.out.mkdir(parents=True, exist_ok=True)
    recordings = dataset.read(chosen.data)
    held_out = chosen.held_out.split(",") if chosen.held_out else validation_sources(recordings)
    for seed in map(int, chosen.seeds.split(",")):
        settings = Settings(chosen.epochs, chosen.batches, chosen.patience, seed=seed)
        for name in models:
            job = {"coupled": train_coupled, "lim_rps": train_lim_rps}[name]
            out = chosen.out / f"{name}-{seed}"
            sizes = {"batch": chosen.batch} if chosen.batch else {}

            def say(line: str, job: str = out.name) -> None:
                sys.stdout.write(f"{job}: {line}\n")
                sys.stdout.flush()

            trained = job(recordings, held_out, settings, out, device=chosen.device, say=say, **sizes)
            hypers = {"coupled": coupled.HYPERS, "lim_rps": lim_rps.HYPERS}[name]
            write(out, trained, settings, held_out, data=chosen.data.name, hypers=hypers, device=chosen.device)
            for what, interval in trained[2].items():
                say(f"{what}: {interval}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
