"""What others can tell of a dropped phone from the same recordings: the reference that LIM-RPS is read against.

`ridge` and `mlp` see one frame of the other sensors, as LIM-RPS does; `gru` sees their past as well; `physics` turns
the limbs into an ideal phone, four frames late: all that a phone says beside its own errors follows from the body.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from echelon_models.train.agreement import FITTED, FOLDED, NOISE, QUANTITIES, Agreement, Table, solve, squares
from echelon_models.train.fit import Settings, fit
from echelon_models.train.sensors import Part, Sensors

WAYS = ("ridge", "mlp", "gru", "physics")
WIDTH, STATE = 128, 96
LENGTH, SETTLE = 90, 15  # frames of a GRU's window, and those at its beginning that count nothing
DEFAULTS = Settings(epochs=8, patience=8)


class Mlp(nn.Module):
    """Two layers of 128 from the others' numbers (.., n) to the phone's 12."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(inputs, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 12)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the phone (.., 12), in units of its spread."""
        made: Tensor = self.net(x)
        return made


class Gru(nn.Module):
    """A GRU of 96 over the others' numbers (T, B, n), its state read linearly."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.gru, self.out = nn.GRU(inputs, STATE), nn.Linear(STATE, 12)

    def forward(self, x: Tensor) -> Tensor:
        """Return the phone (T, B, 12), in units of its spread, from a zero state."""
        made: Tensor = self.out(self.gru(x)[0])
        return made


def others(model: Agreement, values: Sequence[Tensor], dropped: int) -> Tensor:
    """Return what is there when a device is dropped (.., 228), in units of its spread."""
    return torch.cat([each for k, each in enumerate(model.normal(values)) if k != dropped], -1)


def judge(
    model: Agreement,
    training: Sensors,
    validation: Sensors,
    testing: Sensors,
    ideal: Sequence[Part],
    dropped: int,
    *,
    settings: Settings = DEFAULTS,
    say: Callable[[str], None] | None = None,
) -> dict[str, NDArray[np.float64]]:
    """Return `squares` of each of WAYS; `model` gives means and spreads, `ideal` the testing motion's ideal phones."""

    def seen(rows: NDArray[np.integer]) -> Table:
        values = training.frames(rows)
        return Table(others(model, values, dropped), model.normal(values)[dropped])

    rows = np.random.default_rng(9).integers(0, len(training.values[0]), FITTED)
    folds = [(kept, seen(own[:: max(1, len(own) // FOLDED)])) for kept, own in training.folds(rows)]
    weight, bias = solve(seen(rows), folds, list(QUANTITIES.values()))
    sequences = testing.sequences()
    given = others(model, sequences, dropped)
    found = {"ridge": squares(model, testing, dropped, given @ weight.T + bias)}
    inputs = given.shape[-1]
    for name, kind in (("mlp", Mlp), ("gru", Gru)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            net: nn.Module = kind(inputs)
        _train(net, model, training, validation, dropped, settings, say)
        with torch.no_grad():
            found[name] = squares(model, testing, dropped, net(given))
    pure = Sensors.of(ideal)
    found["physics"] = squares(model, testing, dropped, model.normal(pure.sequences())[dropped])
    return found


def _train(
    net: nn.Module,
    model: Agreement,
    training: Sensors,
    validation: Sensors,
    dropped: int,
    settings: Settings,
    say: Callable[[str], None] | None,
) -> None:
    length = LENGTH if isinstance(net, Gru) else 1
    settle = SETTLE if length > 1 else 0

    def windows(sensors: Sensors, rng: np.random.Generator, count: int) -> list[Tensor]:
        ends = np.cumsum(sensors.count)
        long = np.flatnonzero(sensors.count >= length)
        which = rng.choice(long, count, p=sensors.count[long] / sensors.count[long].sum())
        start = ends[which] - sensors.count[which] + rng.integers(0, sensors.count[which] - length + 1)
        rows = torch.from_numpy(start + np.arange(length)[:, None])
        return [each[rows] for each in sensors.values]

    def error(values: Sequence[Tensor], noise: Tensor | float) -> Tensor:
        told = net(others(model, values, dropped) + noise)
        missed: Tensor = (told - model.normal(values)[dropped])[settle:].square().mean()
        return missed

    def step(rng: np.random.Generator) -> Tensor:
        values = windows(training, rng, 32 if length > 1 else 256)
        shape = (*values[0].shape[:2], 228)
        return error(values, torch.from_numpy(rng.normal(scale=NOISE, size=shape).astype(np.float32)))

    tested = windows(validation, np.random.default_rng(5), 64 if length > 1 else 4096)

    def validate() -> dict[str, float]:
        with torch.no_grad():
            return {"loss": float(error(tested, 0.0))}

    fit(net, step, validate, settings, say=say)
