"""What was learned, measured: `python -m echelon_models.train.evaluate RESULTS DATA.npz` prints tables, writes JSON.

RESULTS is what `echelon_models.train.sweep` wrote: folds_KIND.npz (positions of each fold on its held-out recording),
sensitivity, shipped and peers_KIND (json and npz). What is not there is left out. Linear baselines are solved here, on
the same folds. Intervals are 95 % bootstrap intervals over real sources; a recording is the mean over its seeds.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from echelon_models.train import baselines, responses, sweep, teacher
from echelon_models.train.dataset import Recording, read
from echelon_models.train.gated import Gated, Stacked
from echelon_models.train.intervals import Interval, bootstrap, ratio
from echelon_models.weights import built_in_path, initial_path, load

Floats = NDArray[np.floating]
Positions = Mapping[str, Floats]  # (seeds, T, 32) by recording's name
NETS, NEAR = ("gated", "gru", "mlp"), 1.05
PEERS: dict[str, Callable[[Sequence[int]], Stacked]] = {"gru": baselines.Gru, "mlp": baselines.Mlp}
LAGS = range(-6, 25)  # frames
EXCERPT = 1200  # frames of a recording that the sensitivity table plays


def mse(made: Floats, each: Recording) -> Floats:
    """Return the mean square error of positions (seeds, T, 32) over the targets that count, (seeds,)."""
    square = (np.asarray(made, np.float64) - each.p) ** 2 * each.p_mask
    return np.asarray(square.sum((1, 2)) / max(int(each.p_mask.sum()), 1))


def jitter(made: Floats, target: Floats) -> Floats:
    """Return the RMS over lanes and time of what (seeds, T, 32) changes from frame to frame beyond the target."""
    beyond = np.diff(np.asarray(made, np.float64) - np.asarray(target, np.float64), axis=-2)
    return np.asarray(np.sqrt((beyond**2).mean((-2, -1))))


def lag_ms(made: Floats, target: Floats) -> float:
    """Return by how many ms positions (T, 32) follow the target (T, 32): where their changes correlate best.

    NaN where either stands still. Whole frames, -100 to 400 ms; compared on the same target frames at every lag.
    """
    moved, wanted = np.diff(np.asarray(made, np.float64), axis=0), np.diff(np.asarray(target, np.float64), axis=0)
    kept = range(-LAGS[0], len(wanted) - LAGS[-1])
    if not len(kept) or not moved.any() or not wanted.any():
        return float("nan")
    base = wanted[kept.start : kept.stop]
    match = []
    for lag in LAGS:
        late = moved[kept.start + lag : kept.stop + lag]
        match.append(float((base * late).sum() / max(float(np.sqrt((late**2).sum())), 1e-30)))
    return LAGS[int(np.argmax(match))] * 1000 / 60


class Row(NamedTuple):
    """One model's figures on real recordings it never saw; lists run over recordings."""

    mse: list[float]
    jerk: list[float]
    lag_ms: list[float]
    seed_mse: list[float]  # mean over recordings of each seed

    def of(self, key: str) -> NDArray[np.float64]:
        """Return one figure of all recordings."""
        return np.array(getattr(self, key), np.float64)


def row(positions: Positions, recordings: Sequence[Recording]) -> Row:
    """Return the figures of one model from its positions on the held-out recordings."""
    errors = np.stack([mse(positions[each.name], each) for each in recordings])
    jerks = [float(np.mean([teacher.jerk(one) for one in positions[each.name]])) for each in recordings]
    lags = [float(np.mean([lag_ms(one, each.p) for one in positions[each.name]])) for each in recordings]
    return Row(errors.mean(1).tolist(), jerks, lags, errors.mean(0).tolist())


def mean(values: Floats, groups: Sequence[str]) -> Interval:
    """Return the mean over recordings with its interval."""
    return bootstrap(groups, lambda rows: float(np.nanmean(values[rows])))


def linear_positions(
    recordings: Sequence[Recording], say: Callable[[str], None], known: baselines.Known
) -> dict[str, dict[str, Floats]]:
    """Return what linear map and ridge, fitted to each fold's training part, make of its held-out recordings."""
    found: dict[str, dict[str, Floats]] = {"linear": {}, "ridge": {}}
    for plan in sweep.folds(recordings, "gated", (1,)):
        training, testing = ([recordings[i] for i in rows] for rows in (plan.training, plan.testing))
        fitted = {"linear": baselines.linear(training, known), "ridge": baselines.ridge(training, testing, known=known)}
        say(f"{plan.held_out}: penalty of the ridge {fitted['ridge'].ridge:g}")
        for each in real(recordings):
            if each.source == plan.held_out:
                for name, made in fitted.items():
                    found[name][each.name] = made.play(each.x, each.c)[None]
    return found


def played(stack: Gated, each: Recording, frames: int | None = None) -> Floats:
    """Return the positions (S, T, 32) of a stack over a recording from its first frame."""
    y = stack.play(each.x[:frames], each.c[:frames], each.bias[:frames]).y[:, :, 0]
    return torch.sigmoid(y).transpose(0, 1).numpy()


def real(recordings: Sequence[Recording]) -> list[Recording]:
    """Return the real recordings."""
    return [each for each in recordings if each.kind == "real"]


def verdicts(rows: Mapping[str, Row], groups: Sequence[str]) -> list[tuple[str, str, bool]]:
    """Return (bar, figure, holds) of everything that must hold and whose models are there."""
    own, found = rows["gated"], []
    high = mean(own.of("mse"), groups).high
    for name in ("linear", "ridge"):
        if name in rows:
            other, paired = rows[name].of("mse"), bootstrap(groups, ratio(own.of("mse"), rows[name].of("mse")))
            text = f"upper end {high:.3e}, {name} {other.mean():.3e}, ratio {paired}"
            found.append(
                (f"95 % interval of the MSE below {name}", text, bool(high < other.mean() and paired.high < 1))
            )
    if "gru" in rows:
        near = bootstrap(groups, ratio(own.of("mse"), rows["gru"].of("mse")))
        found.append(("MSE within 5 % of the GRU's", f"ratio {near}", near.value <= NEAR))
    better = [
        name
        for name, each in rows.items()
        if name != "gated"
        and all(each.of(key).mean() < own.of(key).mean() for key in ("mse", "jerk"))
    ]  # fmt: skip
    nearer = [name for name, each in rows.items() if each.of("mse").mean() < own.of("mse").mean()]
    jerks = [f"jerk of {name} {bootstrap(groups, ratio(rows[name].of('jerk'), own.of('jerk')))}" for name in nearer]
    text = ", ".join(better) or "none is"
    found.append(("no baseline better in MSE and jerk", "; ".join([text, *jerks]), not better))
    return found


def sensitivity(told: Mapping[str, Any], tensors: Mapping[str, Floats], recordings: Sequence[Recording]) -> list[Any]:
    """Return one row for each (tau_fast, tau_slow): loss, mse and jitter as (mean, deviation over seeds), and seeds.

    Loss and mse are the validation's at each model's best epoch; jitter is that of its first EXCERPT frames.
    """
    models = told["models"]
    stack = Gated(*([m[key] for m in models] for key in ("seed", "tau_fast", "tau_slow")))
    for k in range(len(models)):
        stack.load({name: np.asarray(values[k]) for name, values in tensors.items()}, k)
    heard = [each for each in recordings if each.name in models[0]["testing"]]
    shakes = np.mean([jitter(played(stack, each, EXCERPT), each.p[:EXCERPT]) for each in heard], axis=0)
    at_best = np.array(told["best_epoch"]) - 1
    errors = np.array(told["history"]["test_mse"])[at_best, np.arange(len(models))]
    rows = []
    for pair in dict.fromkeys((m["tau_fast"], m["tau_slow"]) for m in models):
        chosen = [k for k, m in enumerate(models) if (m["tau_fast"], m["tau_slow"]) == pair]
        figures = (np.array(told["best_loss"])[chosen], errors[chosen], shakes[chosen])
        rows.append([*pair, *((float(v.mean()), float(v.std(ddof=1))) for v in figures), len(chosen)])
    return rows


def evaluate(results: Path, recordings: Sequence[Recording], say: Callable[[str], None]) -> dict[str, Any]:
    """Return every figure, JSON-ready; `say` gets lines of progress."""
    found: dict[str, Any] = {}
    known: baselines.Known = {}
    everyone = real(recordings)
    torch.set_num_threads(1)
    initial = Gated((0,))
    initial.load(load(initial_path("dell_gated")).tensors)
    positions: dict[str, Positions] = {}
    for name in NETS:
        if (results / f"folds_{name}.npz").exists():
            with np.load(results / f"folds_{name}.npz") as archive:
                positions[name] = {key: archive[key] for key in archive.files}
    if "gated" in positions:
        everyone = [each for each in everyone if each.name in positions["gated"]]
        groups = [each.source for each in everyone]
        positions |= linear_positions(recordings, say, known)
        positions["initial"] = {each.name: played(initial, each) for each in everyone}
        rows = {name: row(each, everyone) for name, each in positions.items()}
        found["recordings"] = [each.name for each in everyone]
        found["target_jerk"] = [teacher.jerk(each.p) for each in everyone]
        found["folds"] = {
            name: {
                **each._asdict(),
                "intervals": {key: mean(each.of(key), groups)._asdict() for key in ("mse", "jerk", "lag_ms")},
                "to_gated": bootstrap(groups, ratio(rows["gated"].of("mse"), each.of("mse")))._asdict(),
            }
            for name, each in rows.items()
        }
        found["verdicts"] = verdicts(rows, groups)
    if (results / "sensitivity.npz").exists():
        told, tensors = job(results, "sensitivity")
        found["sensitivity"] = sensitivity(told, tensors, recordings)
    if (results / "shipped.npz").exists():
        told, tensors = job(results, "shipped")
        built_in = Gated((0,))
        built_in.load(load(built_in_path("dell_gated")).tensors)
        nets: dict[str, Stacked] = {"gated": filled(Gated, told, tensors), "built-in": built_in, "initial": initial}
        for kind, make in PEERS.items():
            if (results / f"peers_{kind}.npz").exists():
                nets[kind] = filled(make, *job(results, f"peers_{kind}"))
        parts = sweep.split(recordings, sweep.validation_sources(recordings))
        training, testing = ([recordings[i] for i in part] for part in parts)
        linears = {
            "linear": baselines.linear(training, known),
            "ridge": baselines.ridge(training, testing, known=known),
        }
        found["responses"] = responses.table(nets, linears)
        found["shipped"] = {key: told[key] for key in ("best_epoch", "best_loss", "seconds", "device", "worst")}
    return found


def filled(make: Callable[[Sequence[int]], Stacked], told: Mapping[str, Any], tensors: Mapping[str, Floats]) -> Stacked:
    """Return a job's stack with its weights."""
    stack = make([m["seed"] for m in told["models"]])
    for k in range(stack.size):
        stack.load({name: np.asarray(values[k]) for name, values in tensors.items()}, k)
    return stack


def job(results: Path, name: str) -> tuple[dict[str, Any], dict[str, Floats]]:
    """Return the json and the tensors of a job."""
    with np.load(results / f"{name}.npz") as archive:
        return json.loads((results / f"{name}.json").read_text()), {key: archive[key] for key in archive.files}


def markdown(found: Mapping[str, Any]) -> str:
    """Return the figures as markdown tables."""
    parts = []
    if "folds" in found:
        lines = []
        for name, each in found["folds"].items():
            spread, spans = np.array(each["seed_mse"]), each["intervals"]
            errors = [f"{spans['mse'][k] * 1e4:.2f}" for k in ("value", "low", "high")]
            jerks = [f"{spans['jerk'][k]:.0f}" for k in ("value", "low", "high")]
            deviation = f"{spread.std(ddof=1) * 1e4:.2f}" if len(spread) > 1 else "-"
            lines.append(
                [name, f"{errors[0]} [{errors[1]}, {errors[2]}]", deviation, f"{each['to_gated']['value']:.2f}",
                 f"{jerks[0]} [{jerks[1]}, {jerks[2]}]", f"{spans['lag_ms']['value']:.0f}"]
            )  # fmt: skip
        lines.append(["teacher", "0", "-", "-", f"{np.mean(found['target_jerk']):.0f}", "0"])
        head = ("model", "MSE x 1e-4", "deviation over seeds", "gated / it", "jerk, 1/s^3", "lag, ms")
        parts += [table(head, lines), table(("bar", "measured", "holds"), _told(found["verdicts"]))]
        names = list(found["folds"])
        cells = [
            [name, *(f"{found['folds'][model]['mse'][k] * 1e4:.2f}" for model in names)]
            for k, name in enumerate(found["recordings"])
        ]
        parts.append(table(("MSE x 1e-4 of", *names), cells))
    if "sensitivity" in found:
        cells = [
            [f"{fast * 1000:.0f}", f"{slow * 1000:.0f}",
             *(f"{value * scale:.2f} +- {deviation * scale:.2f}" for (value, deviation), scale in
               zip(figures, (1e4, 1e4, 1e3), strict=True)), str(seeds)]
            for fast, slow, *figures, seeds in found["sensitivity"]
        ]  # fmt: skip
        head = ("tau_fast, ms", "tau_slow, ms", "test loss x 1e-4", "test MSE x 1e-4", "jitter x 1e-3", "seeds")
        parts.append(table(head, cells))
    if "responses" in found:
        cells = [[name, *("-" if v is None else f"{v:.0f}" for v in each)] for name, each in found["responses"].items()]
        parts.append(table(("model", *responses.HEAD), cells))
    return "\n\n".join(parts)


def _told(rows: Sequence[tuple[str, str, bool]]) -> list[list[str]]:
    return [[name, text, "yes" if holds else "**no**"] for name, text, holds in rows]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a markdown table."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *rows])


def main(arguments: Sequence[str] | None = None) -> int:
    """Evaluate a folder of results, print its tables and write RESULTS/evaluation.json."""
    parser = argparse.ArgumentParser(prog="python -m echelon_models.train.evaluate", description=__doc__.split("\n")[0])
    parser.add_argument("results", type=Path, metavar="RESULTS")
    parser.add_argument("data", type=Path, metavar="DATA.npz")
    chosen = parser.parse_args(arguments)
    found = evaluate(chosen.results, read(chosen.data), lambda line: print(line, file=sys.stderr))
    if not found:
        parser.error(f"{chosen.results}: no results; `python -m echelon_models.train.sweep` makes them")
    (chosen.results / "evaluation.json").write_text(json.dumps(found, indent=1))
    sys.stdout.write(markdown(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
