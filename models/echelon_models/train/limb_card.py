"""Every table of the card about the limb models: `python -m echelon_models.train.limb_card RESULTS DATA.npz`.

RESULTS is the folder that `limb_folds` filled. A recording's figure is the mean over seeds, every figure the mean over
recordings never seen, its interval a 95 % bootstrap over these recordings.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_models.train.intervals import Interval, bootstrap
from echelon_models.train.judge import WAYS

HORIZONS_MS = (100, 250, 500, 1000)
QUANTITIES = ("acceleration", "angular rate", "gravity", "velocity")
ROUNDS = 1000
Results = dict[tuple[str, str], list[dict[str, NDArray[Any]]]]  # by kind and group, one of each seed
Array = NDArray[np.float64]


def read(folder: Path) -> Results:
    """Return the results in a folder."""
    found: Results = {}
    for path in sorted(folder.glob("*.npz")):
        if match := re.fullmatch(r"(.+)-(\d|shipped)-(\d+)", path.stem):
            with np.load(path) as opened:
                found.setdefault((match[1], match[2]), []).append(dict(opened))
    return found


def folds(results: Results, kind: str) -> list[list[dict[str, NDArray[Any]]]]:
    """Return the groups held out, a list of seeds each."""
    return [seeds for (name, group), seeds in results.items() if name == kind and group != "shipped"]


def errors(results: Results, kind: str, way: str, mode: str = "frames") -> dict[str, Array]:
    """Return mean squared errors (seeds, horizons, 3) of every held-out recording; NaN where it is too short."""
    made: dict[str, Array] = {}
    for seeds in folds(results, kind):
        for source in np.unique(seeds[0][f"{mode}.source"]):
            rows = []
            for each in seeds:
                chosen = each[f"{mode}.source"] == source
                weight = each[f"{mode}.frames"][chosen][..., None].astype(float)
                with np.errstate(invalid="ignore", divide="ignore"):
                    rows.append((each[f"{mode}.{way}"][chosen] * weight).sum(0) / weight.sum(0))
            made[str(source)] = np.array(rows)
    return made


def unit(results: Results) -> Array:
    """Return the spreads of rotations, positions and angular speeds, the mean over the trainings."""
    each = [seed["unit"][[0, 4, 7]] for seeds in folds(results, "coupled") for seed in seeds]
    return np.asarray(np.mean(each, 0), float)


def over(values: Mapping[str, Array], chosen: Callable[[str], bool]) -> Array:
    """Return the values of chosen recordings, (recordings, ..), the mean over seeds."""
    return np.array([value.mean(0) for name, value in sorted(values.items()) if chosen(name)])


def real(name: str) -> bool:
    """Tell whether a source is a recording of a person."""
    return not name.startswith("dancer-")


def mean(values: Array, root: bool = False) -> Interval:
    """Return the mean of values (recordings,) with its interval, NaN left out; `root`: of its root."""
    kept = values[np.isfinite(values)]

    def statistic(rows: NDArray[np.int64]) -> float:
        value = float(kept[rows].mean())
        return value**0.5 if root else value

    return bootstrap(np.arange(len(kept)), statistic, rounds=ROUNDS)


def told(interval: Interval, places: int = 3) -> str:
    """Return a figure as the tables show it."""
    return f"{interval.value:.{places}f} [{interval.low:.{places}f}, {interval.high:.{places}f}]"


def forecasts(results: Results) -> str:
    """Return the tables of forecast errors: in units of the spread, in centimetres, and what is gained."""
    share = np.array([4.0, 3.0, 1.0]) / 8 / unit(results) ** 2
    rows: list[tuple[str, str, str]] = [
        ("trained, z and the pose", "coupled", "net"),
        ("trained, z alone", "coupled", "blind"),
    ]
    rows += [("initial, z and the pose", "coupled_start", "net"), ("initial, z alone", "coupled_start", "blind")]
    rows += [(way, "coupled", way) for way in WAYS[2:]]
    text = ""
    for title, chosen in (("real recordings", real), ("dances", lambda name: not real(name))):
        tables = {name: over(errors(results, kind, way), chosen) for name, kind, way in rows if folds(results, kind)}
        count = len(next(iter(tables.values())))
        for what, weights, scale, places in (
            ("all 216 numbers, RMS in units of their spread", share, 1.0, 3),
            ("positions, RMS in cm", np.array([0.0, 1.0, 0.0]), 100.0, 2),
        ):
            text += f"\n{count} {title}, {what}\n\n| way | " + " | ".join(f"{ms} ms" for ms in HORIZONS_MS) + " |\n"
            text += "|---" * 5 + "|\n"
            for name, values in tables.items():
                cells = [mean(values[:, k] @ weights * scale**2, root=True) for k in range(4)]
                text += f"| {name} | " + " | ".join(told(cell, places) for cell in cells) + " |\n"
        text += f"\n{count} {title}, ratio of RMS errors, paired\n\n| ratio | " + " | ".join(
            f"{ms} ms" for ms in HORIZONS_MS
        )
        text += " |\n" + "|---" * 5 + "|\n"
        net, blind = "trained, z and the pose", "trained, z alone"
        pairs = [(net, other) for other in ("stays", "damped", "ridge", "initial, z and the pose")]
        for one, other in [*pairs, (blind, "initial, z alone"), (blind, "ridge")]:
            if one not in tables or other not in tables:
                continue
            cells = []
            for k in range(4):
                a, b = (tables[name][:, k] @ share for name in (one, other))
                kept = np.isfinite(a)
                cells.append(_ratio(a[kept], b[kept]))
            text += f"| {one} / {other} | " + " | ".join(told(cell) for cell in cells) + " |\n"
        spread = np.array([v[:, :, :] @ share for name, v in errors(results, "coupled", "net").items() if chosen(name)])
        deviation = np.nanmean(np.sqrt(np.nanmean(spread, 0)), 0), np.std(np.sqrt(np.nanmean(spread, 0)), 0)
        text += "\nSeeds: " + ", ".join(f"{a:.3f} +- {b:.3f}" for a, b in zip(*deviation, strict=True)) + "\n"
    return text


def _ratio(a: Array, b: Array) -> Interval:
    return bootstrap(np.arange(len(a)), lambda rows: float((a[rows].mean() / b[rows].mean()) ** 0.5), rounds=ROUNDS)


def rhythm(results: Results) -> str:
    """Return the table of tempo and phase errors on dances."""
    text = "\n| heard by | tempo error, % | to half, same or double, % | phase, beats (chance 0.25) | within 4 % |\n"
    text += "|---" * 5 + "|\n"
    for name, kind, prefix in (
        ("head on trained z", "coupled", ""), ("head on initial z", "coupled_start", ""),
        ("the engine's commitment", "coupled", "heard_"),
    ):  # fmt: skip
        cells = []
        rows: dict[str, list[Array]] = {}
        for seeds in folds(results, kind):
            for each in seeds:
                for source in np.unique(each["frames.source"]):
                    chosen = each["frames.source"] == source
                    found = [each[f"frames.{prefix}{what}"][chosen] for what in ("tempo", "octave", "phase")]
                    if np.isfinite(found[0]).any():
                        within = np.nanmean(np.where(np.isfinite(found[0]), found[0] <= 0.04, np.nan))
                        rows.setdefault(str(source), []).append(np.array([*map(np.nanmedian, found), within]))
        if not rows:
            continue
        values = np.array([np.mean(each, 0) for each in rows.values()])
        for k, scale, places in ((0, 100.0, 1), (1, 100.0, 1), (2, 1.0, 3), (3, 1.0, 2)):
            cells.append(told(mean(values[:, k] * scale), places))
        text += f"| {name} | " + " | ".join(cells) + " |\n"
    return text


def reconstruction(results: Results) -> str:
    """Return the tables of R^2 of a dropped device on real recordings and on dances."""
    text = ""
    for title, chosen in (("real recordings", real), ("dances", lambda name: not real(name))):
        text += f"\n{title}\n\n| told by | everything | " + " | ".join(QUANTITIES) + " |\n" + "|---" * 6 + "|\n"
        for name, kind, key in (
            ("LIM-RPS trained", "lim_rps", "squares"), ("LIM-RPS initial", "lim_rps_start", "squares"),
            ("ridge, one frame", "bounds", "ridge"), ("MLP, one frame", "bounds", "mlp"),
            ("GRU, with the past", "bounds", "gru"), ("physics of the limbs", "bounds", "physics"),
        ):  # fmt: skip
            sums: dict[str, Array] = {}
            for seeds in folds(results, kind):
                for each in seeds:
                    for number, source in enumerate(each["source"]):
                        if chosen(str(source)):
                            both = (each[f"{key}.1"][number] + each[f"{key}.2"][number]) / len(seeds)
                            sums[str(source)] = sums.get(str(source), np.zeros((2, 4))) + both
            if not sums:
                continue
            table = np.array(list(sums.values()))
            cells = [_r2(table.sum(2))] + [_r2(table[:, :, k]) for k in range(4)]
            text += f"| {name} | " + " | ".join(told(cell, 2) for cell in cells) + " |\n"
    return text


def _r2(sums: Array) -> Interval:
    return bootstrap(
        np.arange(len(sums)), lambda rows: float(1 - sums[rows, 0].sum() / sums[rows, 1].sum()), rounds=ROUNDS
    )


def convergence(results: Results) -> str:
    """Return the table of what the engine's steps leave of the residual."""
    text = "\n| LIM-RPS | sensors | frames at or under 0.01 | median | 99 % | largest |\n" + "|---" * 6 + "|\n"
    for name, kind in (("trained", "lim_rps"), ("initial", "lim_rps_start")):
        for sensors in ("alone", "phones"):
            each = [seed[f"residual.{sensors}"] for seeds in folds(results, kind) for seed in seeds]
            if each:
                values = np.array(each)
                row = [*values[:, :3].mean(0), values[:, 3].max()]
                words = {"alone": "body alone", "phones": "body and both phones"}[sensors]
                text += (
                    f"| {name} | {words} | {100 * row[0]:.1f} % | " + " | ".join(f"{v:.4f}" for v in row[1:]) + " |\n"
                )
    return text


def main(arguments: Sequence[str] | None = None) -> int:
    """Print every table."""
    parser = argparse.ArgumentParser(
        prog="python -m echelon_models.train.limb_card", description=__doc__.split("\n")[0]
    )
    parser.add_argument("results", type=Path, metavar="RESULTS")
    parser.add_argument("data", type=Path, metavar="DATA.npz")
    chosen = parser.parse_args(arguments)
    results = read(chosen.results)

    def say(text: str) -> None:
        sys.stderr.write(f"limb_card: {text}\n")
        sys.stderr.flush()

    say(f"{sum(map(len, results.values()))} results in {chosen.results}")
    sections: list[tuple[str, Callable[[], str]]] = [
        ("Forecast", lambda: forecasts(results)), ("Tempo and phase", lambda: rhythm(results)),
        ("A dropped device, R^2", lambda: reconstruction(results)), ("Convergence", lambda: convergence(results)),
    ]  # fmt: skip
    from echelon_models.train import limb_effects

    sections += [(title, lambda work=work: work(chosen.results, chosen.data)) for title, work in limb_effects.TABLES]  # type: ignore[misc]
    for number, (title, work) in enumerate(sections, 1):
        say(f"{number} of {len(sections)}: {title}")
        sys.stdout.write(f"\n## {title}\n{work()}")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
