"""Trainings of the limb models and what they are judged by: DELL coupled and LIM-RPS with their read-outs.

Every figure is an interval over recordings. Needs NumPy, torch and safetensors alone, so this folder and a data set can
be taken anywhere; `limb_folds.py` runs many of these trainings.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from echelon_models.train import agreement, devices, forecast, judge
from echelon_models.train.dataset import Recording
from echelon_models.train.fit import History, Settings
from echelon_models.train.frames import Frames
from echelon_models.train.heads import HORIZONS
from echelon_models.train.intervals import Interval, bootstrap, ratio
from echelon_models.train.lim_rps import encode, follow
from echelon_models.train.sensors import VARIANTS, Sensors
from echelon_models.train.sweep import split

Say = Callable[[str], None]
Figures = dict[str, Interval]
MOST_RAISED = 8.0  # times
Tensors = dict[str, NDArray[np.float32]]


class Trained(NamedTuple):
    """Weights of the format, how the training went, and figures on held-out recordings."""

    tensors: Tensors
    history: History
    figures: Figures


def train_coupled(
    recordings: Sequence[Recording],
    held_out: Sequence[str],
    settings: Settings,
    out: Path,
    *,
    initial: Mapping[str, NDArray[np.float32]] | None = None,
    say: Say | None = None,
) -> Trained:
    """Train DELL coupled, write its heads beside `out`; figures are on what stopped the training."""
    training, testing = (Frames([recordings[i] for i in chosen]) for chosen in split(recordings, held_out))
    model = forecast.Forecaster(settings.seed)
    history = forecast.train(model, training, testing, settings, path=out.with_suffix(".checkpoint"), say=say)
    forecast.train_rhythm(model, training, testing, say=say)
    model.heads.save(out.with_suffix(".heads.safetensors"), {"seed": str(settings.seed)})
    ridge = judge.fit_ridge(model.heads, training, testing)
    figures = {}
    for beats in (False, True):
        found = judge.judge(model, testing, ridge, beats=beats)
        figures.update(forecast_figures(found, model.heads.unit, "at beats, " if beats else ""))
    return Trained(model.coupled.tensors(), history, figures)


def in_spreads(errors: NDArray[np.float64], unit: Tensor) -> NDArray[np.float64]:
    """Return errors of three kinds (.., 3) as the mean over the 216 numbers, each in units of its spread."""
    share = np.array([4.0, 3.0, 1.0]) / 8
    each: NDArray[np.float64] = errors @ (share / unit.double().cpu().numpy()[[0, 4, 7]] ** 2)
    return each


def forecast_figures(found: Mapping[str, NDArray[Any]], unit: Tensor, name: str = "") -> Figures:
    """Return RMS errors per horizon and way of guessing, what the net gains on the others, and rhythm."""
    figures: Figures = {}
    source, counts = found["source"], found["frames"]
    ways = ("net", "blind") if name else judge.WAYS
    for k, frames in enumerate(HORIZONS):
        where = f"{name}{round(frames * 1000 / 60)} ms"
        errors = {way: in_spreads(found[way][:, k], unit) * counts[:, k] for way in judge.WAYS}
        for way in ways:
            mean = ratio(errors[way], counts[:, k])
            figures[f"{where}, rms of {way}"] = bootstrap(source, lambda rows, mean=mean: mean(rows) ** 0.5)  # type: ignore[misc]
        for other in ("stays", "damped", "ridge"):
            gain = ratio(errors["net"], errors[other])
            figures[f"{where}, net against {other}"] = bootstrap(source, lambda rows, gain=gain: gain(rows) ** 0.5)  # type: ignore[misc]
    for what in ("tempo", "octave", "phase", "heard_tempo", "heard_octave", "heard_phase"):
        known = np.isfinite(found[what])
        if known.any():
            values = found[what][known]
            figures[f"{name}{what.replace('_', ' ')} error"] = bootstrap(
                source[known],
                lambda rows, values=values: float(np.median(values[rows])),  # type: ignore[misc]
            )
    return figures


def train_lim_rps(
    recordings: Sequence[Recording],
    held_out: Sequence[str],
    settings: Settings,
    out: Path,
    *,
    initial: Mapping[str, NDArray[np.float32]] | None = None,
    say: Say | None = None,
) -> Trained:
    """Train LIM-RPS, write its read-outs beside `out`; `initial` sets how lively its latent is."""
    parts = [[recordings[i] for i in chosen] for chosen in split(recordings, held_out)]
    training, testing = Sensors(parts[0], variants=VARIANTS), Sensors(parts[1])
    model = agreement.Agreement(settings.seed)
    path = out.with_suffix(".checkpoint")
    history = agreement.train(model, training, testing, settings, absent=devices.standing(), path=path, say=say)
    figures = finish_lim_rps(model, training, testing, initial)
    model.save(out.with_suffix(".heads.safetensors"), {"seed": str(settings.seed)})
    return Trained(model.net.tensors(), history, {**figures, **agreement_figures(model, testing)})


def finish_lim_rps(
    model: agreement.Agreement,
    training: Sensors,
    testing: Sensors,
    initial: Mapping[str, NDArray[np.float32]] | None,
) -> Figures:
    """Give a trained net a latent as lively as that of `initial`, P and read-outs; return what became of them.

    LatentState's constants (tension, curvature, confidence) were chosen for the speed of the initial latent.
    """
    absent, raised, slower = devices.standing(), 1.0, 1.0
    if initial is not None:
        raised = enliven(model, testing, initial)
    suit, phones = agreement.learn_directions(model, training, absent)
    if initial is not None:
        slower = slow_down(model, testing, initial)
    agreement.fit_readouts(model, training, absent)
    values = {"suit's variance in P": suit, "phones' variance in P": phones, "raised": raised, "length of P": slower}
    return {name: Interval(value, value, value) for name, value in values.items()}


def speeds(net: Mapping[str, Tensor], sensors: Sensors, P: Tensor) -> tuple[float, float]:
    """Return the RMS speed per second of the latent and of P z, as the engine runs a body without devices."""
    body, left, right = sensors.sequences()
    with torch.no_grad():
        z, _ = follow(net, encode(net, body, torch.zeros_like(left), torch.zeros_like(right)))
    inside = torch.arange(1, len(z)).unsqueeze(1) < torch.from_numpy(sensors.count)
    inside[:30] = False  # on the way from zero
    change = 60.0 * (z[1:] - z[:-1])[inside]
    return tuple(float(each.square().sum(-1).mean().sqrt()) for each in (change, change @ P.T))  # type: ignore[return-value]


def _torch(tensors: Mapping[str, NDArray[np.float32]]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.array(value)) for name, value in tensors.items()}


def enliven(model: agreement.Agreement, sensors: Sensors, initial: Mapping[str, NDArray[np.float32]]) -> float:
    """Raise the body encoder until its code moves as fast as that of `initial`, as far as a norm of 1 allows.

    Returns how far its weaker directions were raised at most.
    """
    ends = np.cumsum(sensors.count)[:-1] - 1
    change = np.delete(np.diff(sensors.values[0].cpu().numpy().astype(np.float64), axis=0), ends, 0)

    def speed(encoder: NDArray[np.floating]) -> float:
        return float(np.square(change @ encoder.T).sum(1).mean())

    wanted = speed(initial["E_body"])
    u, s, vh = np.linalg.svd(model.net.weights()["E_body"].detach().double().cpu().numpy(), full_matrices=False)
    low, high = 1.0, MOST_RAISED
    for _ in range(30):
        most = (low * high) ** 0.5
        slow = speed((u * np.minimum(s * most, np.maximum(s, 1.0))) @ vh) < wanted
        low, high = (most, high) if slow else (low, most)
    model.net.enliven(high)
    return high


def slow_down(model: agreement.Agreement, sensors: Sensors, initial: Mapping[str, NDArray[np.float32]]) -> float:
    """Shorten P until P z is no faster than that of `initial`, for the same reason; return by how much."""
    _, wanted = speeds(_torch(initial), sensors, torch.from_numpy(np.array(initial["P"])))
    _, made = speeds(model.net.weights(), sensors, model.net.P)
    factor = min(1.0, wanted / made)
    model.net.P.mul_(factor)
    return factor


def agreement_figures(model: agreement.Agreement, testing: Sensors) -> Figures:
    """Return R^2 of each dropped device, in all and for each quantity."""
    figures: Figures = {}
    for dropped in (1, 2):
        found = agreement.judge(model, testing, dropped)
        for k, name in enumerate(["everything", *agreement.QUANTITIES]):
            figures[f"R2 of the {agreement.SENSORS[dropped]} device, {name}"] = r2(found, k - 1, testing.sources)
    return figures


def r2(squares: NDArray[np.float64], quantity: int, sources: Sequence[str]) -> Interval:
    """Return R^2 of a quantity (-1: all four) from `agreement.squares`."""
    over, under = (squares[:, k].sum(1) if quantity < 0 else squares[:, k, quantity] for k in range(2))
    share = ratio(over, under)
    return bootstrap(sources, lambda rows: 1 - share(rows))


def write(out: Path, trained: Trained, settings: Settings, held_out: Sequence[str], **notes: Any) -> None:
    """Write weights and the report of one training."""
    np.savez(out.with_suffix(".npz"), **trained.tensors)  # type: ignore[arg-type]
    report = {
        "settings": asdict(settings), "held_out": list(held_out), "torch": torch.__version__, **notes,
        "history": asdict(trained.history),
        "figures": {name: list(value) for name, value in trained.figures.items()},
    }  # fmt: skip
    out.with_suffix(".json").write_text(json.dumps(report, indent=1))
