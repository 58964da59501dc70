"""LIM-RPS learns to agree: with a sensor masked, z still tells what that sensor would have said.

    L = mean over masked sensors of |sensor' - sensor|^2 / var
      + 0.3 mean over sensors of the same, out of z_all + 0.1 |z - z_all|^2 / var z_all

A mask hides one device, both, or the body; z_all is the equilibrium with all three. Device signals are synthesised from
the limbs (devices.py), not measured. Read-outs of z are linear and live in a file of their own: trained along, then
solved for the net that stands (`fit_readouts`), each on frames that lack its sensor, with the penalty that tells
people's recordings best from all the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import save_file
from torch import Tensor, nn

from echelon_models.train.checkpoint import TrainingError
from echelon_models.train.fit import History, Settings, fit
from echelon_models.train.lim_rps import INPUTS, LATENT, LimRps, encode, follow, relax
from echelon_models.train.sensors import Sensors

FORMAT = "echelon.lim_rps.heads.v1"
SENSORS = ("body", "left", "right")
# What is there: everything, one device missing, both, the body missing.
MASKS = ((1, 1, 1), (1, 0, 1), (1, 1, 0), (1, 0, 0), (0, 1, 1))
SEEN, AGREE = 0.3, 0.1
BATCH = 256
NOISE = 0.3  # of each number's spread, on what goes in while training: few poses were measured
DEFAULTS = Settings(epochs=10)
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 0.3, 1.0, 3.0, 10.0)  # of a ridge, in parts of its inputs' variance
FITTED, FOLDED = 8192, 1024  # frames that solve a read-out, and of each fold that chooses its penalty
# A device's 12 numbers in words.
QUANTITIES = {
    "acceleration": slice(0, 3),
    "angular_rate": slice(3, 6),
    "gravity": slice(6, 9),
    "velocity": slice(9, 12),
}


class Agreement(nn.Module):
    """LIM-RPS with linear read-outs of every sensor.

    `mean` and `spread` (240,) of the sensors are data. The read-outs see z less its mean in units of its spread, both
    followed while it trains: encoders of norm 1 let little through, and what they let through wanders as they learn.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.net = LimRps(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.readout = nn.Linear(LATENT, sum(INPUTS))
        self.register_buffer("mean", torch.zeros(sum(INPUTS)))
        self.register_buffer("spread", torch.ones(sum(INPUTS)))
        self.scale = nn.BatchNorm1d(LATENT, affine=False, momentum=0.1)

    def prepare(self, sensors: Sensors) -> None:
        """Take mean and spread from the data; what never moves counts by a floor of 0.05."""
        self.mean.copy_(torch.cat([each.double().mean(0) for each in sensors.values]))
        spread = torch.cat([each.double().std(0, correction=0) for each in sensors.values])
        self.spread.copy_(spread.clamp(min=0.05))

    def forward(self, w: Mapping[str, Tensor], values: Sequence[Tensor], mask: Tensor, absent: Tensor) -> Tensor:
        """Return the equilibrium (B, 96) from the sensors that are there by mask (B, 3); `absent` (216,) stands in
        for the body."""
        body, left, right = values
        seen = mask[:, :1] * body + (1 - mask[:, :1]) * absent
        return relax(w, encode(w, seen, mask[:, 1:2] * left, mask[:, 2:] * right)).z

    def told(self, z: Tensor) -> tuple[Tensor, ...]:
        """Return body (.., 216), left and right (.., 12) as z tells them, in units of their spread."""
        made = self.readout(self.scale(z.reshape(-1, LATENT))).view(*z.shape[:-1], sum(INPUTS))
        body, left, right = torch.split(made, list(INPUTS), -1)
        return body, left, right

    def normal(self, values: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the sensors less their mean, in units of their spread."""
        scaled = (torch.cat(list(values), -1) - self.mean) / self.spread
        body, left, right = torch.split(scaled, list(INPUTS), -1)
        return body, left, right

    def save(self, path: str | Path, notes: Mapping[str, str]) -> None:
        """Write the read-outs as safetensors; the engine does not run them."""
        tensors = {
            name.replace("readout.", ""): value for name, value in self.state_dict().items() if "net." not in name
        }
        arrays = {name: value.detach().cpu().contiguous().numpy() for name, value in tensors.items()}
        try:
            save_file(arrays, str(path), metadata={**notes, "format": FORMAT})
        except (OSError, SafetensorError) as error:
            raise TrainingError(
                str(path), f"cannot be written ({error})", "choose a folder you may write to"
            ) from error


def loss(
    model: Agreement, values: Sequence[Tensor], mask: Tensor, absent: Tensor, noise: Sequence[Tensor] | None = None
) -> dict[str, Tensor]:
    """Return the terms of the loss of one batch under mask (B, 3); `loss` is what is minimised.

    `noise` is added to what the encoders see, not to what is to be told.
    """
    w = model.net.weights()
    twice = [torch.cat([each, each]) for each in values]
    heard = values if noise is None else [each + more for each, more in zip(values, noise, strict=True)]
    both = model(w, [torch.cat([each, each]) for each in heard], torch.cat([mask, torch.ones_like(mask)]), absent)
    z, every = both.chunk(2)
    wanted = model.normal(twice)
    errors = [(told - want).square().mean(-1) for told, want in zip(model.told(both), wanted, strict=True)]
    blind, seeing = torch.stack(errors, 1).chunk(2)
    hidden = 1 - mask
    masked, seen = (blind * hidden).sum() / hidden.sum().clamp(min=1), seeing.mean()
    spread = every.detach().var(0).sum().clamp(min=1e-6)
    apart = (z - every).square().sum(-1).mean() / spread
    terms = {"masked": masked, "seen": seen, "apart": apart}
    return {"loss": terms["masked"] + SEEN * terms["seen"] + AGREE * terms["apart"], **terms}


def train(
    model: Agreement,
    training: Sensors,
    testing: Sensors,
    settings: Settings = DEFAULTS,
    *,
    absent: NDArray[np.float32],
    batch: int = BATCH,
    path: str | Path | None = None,
    until: int | None = None,
    about: Mapping[str, Any] | None = None,
    say: Any = None,
) -> History:
    """Train in place, or go on from the checkpoint at `path`; `absent` (216,) are the limbs without a body sensor."""
    where = training.values[0].device
    nobody = torch.from_numpy(absent).to(where)
    model.to(where)
    model.prepare(training)
    with torch.no_grad():
        model.net.centre(encode(model.net.weights(), *training.batch(np.random.default_rng(4), 4096)))
    masks = torch.tensor(MASKS, dtype=torch.float32, device=where)
    tested = testing.batch(np.random.default_rng(5), 1024)
    chosen = masks[1 + torch.arange(1024, device=where) % (len(MASKS) - 1)]

    def step(rng: np.random.Generator) -> Tensor:
        model.train()
        values = training.batch(rng, batch)
        mask = masks[torch.from_numpy(rng.integers(1, len(MASKS), batch)).to(where)]
        drawn = torch.from_numpy(rng.normal(scale=NOISE, size=(batch, sum(INPUTS))).astype(np.float32)).to(where)
        noise = torch.split(drawn * model.spread, list(INPUTS), -1)
        return loss(model, values, mask, nobody, noise)["loss"]

    def validate() -> dict[str, float]:
        model.eval()
        with torch.no_grad():
            return {name: float(value) for name, value in loss(model, tested, chosen, nobody).items()}

    sizes = [int(each.count.sum()) for each in (training, testing)]
    identity = {"frames": sizes, "batch": batch, "mean": round(float(model.mean.double().sum()), 3), **(about or {})}
    return fit(model, step, validate, settings, path=path, about=identity, until=until, say=say)


def learn_directions(model: Agreement, sensors: Sensors, absent: NDArray[np.float32], count: int = 8192) -> list[float]:
    """Set P from the latents of a suit alone and of two phones alone; return the share of variance it holds of each."""
    where = sensors.values[0].device
    values = sensors.batch(np.random.default_rng(6), count)
    w, nobody, latents = model.net.weights(), torch.from_numpy(absent).to(where), []
    for worn in ((1.0, 0.0, 0.0), (0.0, 1.0, 1.0)):
        with torch.no_grad():
            latents.append(model(w, values, torch.tensor([worn], device=where).expand(count, 3), nobody).cpu().numpy())
    return model.net.learn_directions(*latents)


class Table(NamedTuple):
    """Inputs (n, inputs) and what they should tell (n, outputs)."""

    x: Tensor
    y: Tensor


def solve(table: Table, folds: Sequence[tuple[NDArray[np.bool_], Table]], groups: Sequence[slice]) -> Table:
    """Return weights (outputs, inputs) and bias of the ridge over a table.

    Penalties count in each input's variance; each group of outputs takes the one that is best where the rows of a fold
    tell what is beside them.
    """
    errors = torch.zeros(len(PENALTIES), len(groups), dtype=torch.float64)
    for kept, tested in folds:
        if kept.any() and len(tested.x):
            rows = torch.from_numpy(kept)
            for k, (weight, bias) in enumerate(_ridges(Table(table.x[rows], table.y[rows]))):
                missed = (tested.x.double() @ weight.T + bias - tested.y.double()).square().mean(0)
                errors[k] += torch.stack([missed[group].mean() for group in groups])
    found = _ridges(table)
    weight, bias = (torch.zeros_like(each) for each in found[0])
    for group, best in zip(groups, errors.argmin(0).tolist(), strict=True):
        weight[group], bias[group] = found[best][0][group], found[best][1][group]
    return Table(weight.float(), bias.float())


def _ridges(table: Table) -> list[tuple[Tensor, Tensor]]:
    x, y = (each.detach().double() for each in table)
    mean, spread, middle = x.mean(0), x.std(0).clamp(min=1e-6), y.mean(0)
    scaled = (x - mean) / spread
    gram, right = scaled.T @ scaled / len(x), scaled.T @ (y - middle) / len(x)
    made = []
    for penalty in PENALTIES:
        weight = (torch.linalg.solve(gram + penalty * torch.eye(len(gram)).to(gram), right) / spread.unsqueeze(1)).T
        made.append((weight, middle - weight @ mean))
    return made


def fit_readouts(model: Agreement, training: Sensors, absent: NDArray[np.float32]) -> None:
    """Solve the read-outs of the net that stands, each sensor's on frames that lack it."""
    nobody = torch.from_numpy(absent).to(training.values[0])
    w = model.net.weights()
    ends = np.cumsum(INPUTS)
    for sensor, end in enumerate(ends):

        def seen(rows: NDArray[np.integer], sensor: int = sensor) -> Table:
            values = training.frames(rows)
            mask = torch.ones(len(rows), 3).to(nobody)
            mask[:, sensor] = 0
            with torch.no_grad():
                return Table(model(w, values, mask, nobody), model.normal(values)[sensor])

        rows = np.random.default_rng([8, sensor]).integers(0, len(training.values[0]), FITTED)
        groups = list(QUANTITIES.values()) if sensor else [slice(0, INPUTS[0])]
        folds = [(kept, seen(own[:: max(1, len(own) // FOLDED)])) for kept, own in training.folds(rows)]
        weight, bias = solve(seen(rows), folds, groups)
        part = slice(int(end) - INPUTS[sensor], int(end))
        with torch.no_grad():
            model.readout.weight[part], model.readout.bias[part] = weight, bias
    for buffer, value in ((model.scale.running_mean, 0.0), (model.scale.running_var, 1.0 - model.scale.eps)):
        if buffer is not None:
            buffer.fill_(value)


def judge(model: Agreement, testing: Sensors, dropped: int = 1) -> NDArray[np.float64]:
    """Return sums of squares (recordings, 2, 4) of a dropped device (1 left, 2 right): see `squares`.

    The net runs as the engine runs it: warm started, at most 8 iterations, what is dropped reads zero.
    """
    model.eval()
    w = model.net.weights()
    given = [each * float(k != dropped) for k, each in enumerate(testing.sequences())]
    with torch.no_grad():
        z, _ = follow(w, encode(w, *given))
        return squares(model, testing, dropped, model.told(z)[dropped])


def squares(model: Agreement, testing: Sensors, dropped: int, told: Tensor) -> NDArray[np.float64]:
    """Return sums of squares over the frames of each recording (recordings, 2, 4), in units of the spread.

    Of what is told, (T, recordings, 12), less what the device said, and of that less its training mean, for each of
    QUANTITIES: R^2 = 1 - first / second.
    """
    made = []
    for number, values in enumerate(
        zip(*(torch.split(e, testing.count.tolist()) for e in testing.values), strict=True)
    ):
        wanted = model.normal(values)[dropped].double()
        error = told[: len(wanted), number].double() - wanted
        both = [each.square().sum(0).cpu().numpy() for each in (error, wanted)]
        made.append([[each[part].sum() for part in QUANTITIES.values()] for each in both])
    return np.array(made)
