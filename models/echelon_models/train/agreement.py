"""LIM-RPS learns to agree: with a sensor masked, z still tells what that sensor would have said.

    L = mean over masked sensors of |sensor' - sensor|^2 / var
      + 0.3 mean over sensors of the same, out of z_all + 0.1 |z - z_all|^2 / var z_all

A mask hides one device, both, or the body; z_all is the equilibrium with all three. Device signals are synthesised from
the limbs (devices.py), not measured. Read-outs of z are linear and live in a file of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import save_file
from torch import Tensor, nn

from echelon_models.train.checkpoint import TrainingError
from echelon_models.train.dataset import Recording
from echelon_models.train.devices import LEFT_HAND, RIGHT_HAND, device
from echelon_models.train.fit import History, Settings, fit
from echelon_models.train.lim_rps import INPUTS, LATENT, LimRps, encode, follow, relax

FORMAT = "echelon.lim_rps.heads.v1"
SENSORS = ("body", "left", "right")
# What is there: everything, one device missing, both, the body missing.
MASKS = ((1, 1, 1), (1, 0, 1), (1, 1, 0), (1, 0, 0), (0, 1, 1))
SEEN, AGREE = 0.3, 0.1
BATCH = 256
NOISE = 1.0  # of each number's spread, on what goes in while training: few poses were measured
DEFAULTS = Settings(epochs=30)
Arrays = dict[str, NDArray[np.float32]]
# A device's 12 numbers in words.
QUANTITIES = {
    "acceleration": slice(0, 3),
    "angular_rate": slice(3, 6),
    "gravity": slice(6, 9),
    "velocity": slice(9, 12),
}


class Sensors:
    """Limbs and both hands' synthetic devices of all recordings, frame by frame, on the training device."""

    def __init__(self, recordings: Sequence[Recording], seed: int = 0, device_name: str | torch.device = "cpu") -> None:
        if not recordings or any(each.limbs.shape[1] != INPUTS[0] for each in recordings):
            raise TrainingError(
                f"{len(recordings)} recordings",
                "this model learns from the 216 limb numbers of at least one",
                "make the data set without --no-limbs",
            )
        rows: list[list[NDArray[np.float32]]] = [[], [], []]
        for number, each in enumerate(recordings):
            rng = np.random.default_rng([seed, number])
            parts = (each.limbs, device(each.limbs, LEFT_HAND, rng), device(each.limbs, RIGHT_HAND, rng))
            for found, part in zip(rows, parts, strict=True):
                found.append(part[each.present])
        self.values = [torch.from_numpy(np.concatenate(found)).to(device_name) for found in rows]
        self.count = np.array([len(part) for part in rows[0]], np.int64)
        self.sources = [each.source for each in recordings]
        if not self.count.sum():
            raise TrainingError("no frame shows a body", "limbs are learned from", "name recordings with motion")

    def batch(self, rng: np.random.Generator, count: int) -> list[Tensor]:
        """Return `count` random frames: body (B, 216), left and right (B, 12)."""
        rows = torch.from_numpy(rng.integers(0, len(self.values[0]), count)).to(self.values[0].device)
        return [each[rows] for each in self.values]


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


def learn_directions(model: Agreement, sensors: Sensors, absent: NDArray[np.float32], count: int = 8192) -> float:
    """Set P to the principal directions of z over the data, with all sensors and with the body alone, half and half.

    Returns the share of z's variance that they hold.
    """
    where = sensors.values[0].device
    values = sensors.batch(np.random.default_rng(6), count)
    mask = torch.ones(count, 3, device=where)
    mask[count // 2 :, 1:] = 0
    with torch.no_grad():
        z = model(model.net.weights(), values, mask, torch.from_numpy(absent).to(where))
    return model.net.learn_directions(z.cpu().numpy())


def judge(model: Agreement, training: Sensors, testing: Sensors, dropped: int = 1) -> dict[str, NDArray[Any]]:
    """Return how well a dropped device (1 left, 2 right) is told by the others, recording by recording.

    `error`, `ridge` and `total` (recordings, 4): sums of squares in units of the spread, of the net run as the engine
    runs it (warm started, 8 iterations), of a ridge regression from the raw numbers of the other sensors, and of the
    training mean, for each of QUANTITIES. R^2 is 1 - error / total; `source` (recordings,) groups them.
    """
    model.eval()
    w = model.net.weights()
    others = [k for k in range(3) if k != dropped]
    fitted = [model.normal(training.values)[k].double() for k in range(3)]
    inputs = torch.cat([fitted[k] for k in others], -1)
    inputs = torch.cat([inputs, torch.ones_like(inputs[:, :1])], -1)
    gram = inputs.T @ inputs + 1e-3 * len(inputs) * torch.eye(inputs.shape[1]).to(inputs)
    ridge = torch.linalg.solve(gram, inputs.T @ fitted[dropped])
    sums: dict[str, list[NDArray[Any]]] = {"error": [], "ridge": [], "total": []}
    # All recordings side by side, zeros behind the shorter ones.
    pieces = [torch.split(each, testing.count.tolist()) for each in testing.values]
    given = [nn.utils.rnn.pad_sequence(list(each)) * float(k != dropped) for k, each in enumerate(pieces)]
    with torch.no_grad():
        z, _ = follow(w, encode(w, *given))
        told = model.told(z)[dropped].double()
    for number, values in enumerate(zip(*pieces, strict=True)):
        wanted = [each.double() for each in model.normal(values)]
        made = told[: len(values[0]), number]
        side = torch.cat([wanted[k] for k in others], -1)
        guess = torch.cat([side, torch.ones_like(side[:, :1])], -1) @ ridge
        for name, found in (("error", made), ("ridge", guess), ("total", torch.zeros_like(made))):
            squares = (found - wanted[dropped]).square().detach().cpu().numpy()
            sums[name].append(np.array([squares[:, part].sum() for part in QUANTITIES.values()]))
    return {**{name: np.stack(rows) for name, rows in sums.items()}, "source": np.array(testing.sources)}
