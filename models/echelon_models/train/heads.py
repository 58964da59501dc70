"""What is read out of DELL coupled's z while it trains and is judged: future motion, tempo and phase.

Heads live in a file of their own: the engine does not run them. The future is told in principal components of the
limbs, from z and its own change over 67 ms, as what listens to z gets both: the pose now, its change by each horizon,
and what is left of that change where the motion's own speed, damped, goes on. Tempo and phase are told by a small
recurrent net over z. Rotations, positions and angular speeds count in units of their spread.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from torch import Tensor, nn

from echelon_models.train.checkpoint import TrainingError

FORMAT = "echelon.dell.coupled.heads.v2"
HORIZONS = (6, 15, 30, 60)  # control frames: 100, 250, 500, 1000 ms
COMPONENTS = 40
LATENT, HIDDEN, MEMORY = 32, 192, 48
BACK = 4  # frames over which a change is a speed: 67 ms
QUICK = 4.0  # z changes about this much less over them than it varies at all
KINDS = {"rotation": slice(0, 4), "position": slice(4, 7), "angular_speed": slice(7, 8)}  # of a limb's 8 numbers
MIDDLE_BPM = 90.0  # tempo is told in octaves from here


class Future(NamedTuple):
    """Principal components (.., C) of the pose now, and (.., H, C) of its change by each horizon and of what is left
    of that change beyond the damped speed."""

    now: Tensor
    change: Tensor
    rest: Tensor


def by_kind(values: Tensor) -> Tensor:
    """Return the means over rotations, positions and angular speeds (.., 3) of limb numbers (.., 216)."""
    limbs = values.reshape(*values.shape[:-1], 27, 8)
    return torch.stack([limbs[..., part].mean((-1, -2)) for part in KINDS.values()], -1)


def spread_of(by: Tensor) -> Tensor:
    """Return values of the three kinds (.., 3) as limb numbers (.., 216)."""
    each = torch.cat([by[..., k : k + 1].expand(*by.shape[:-1], n) for k, n in enumerate((4, 3, 1))], -1)
    return each.repeat(*(1,) * (by.dim() - 1), 27)


def before(values: Tensor, back: int = BACK) -> Tensor:
    """Return values (T, ..) of `back` frames ago, the first ones at the beginning."""
    return torch.cat([values[:1].expand(back, *values.shape[1:]), values[:-back]])[: len(values)]


class Rhythm(NamedTuple):
    """Tempo in octaves from 90 bpm (..), and the phase as an arrow (.., 2), (1, 0) on the beat."""

    octaves: Tensor
    arrow: Tensor

    @property
    def tempo_bpm(self) -> Tensor:
        """Return beats a minute."""
        return MIDDLE_BPM * torch.exp2(self.octaves)

    @property
    def phase(self) -> Tensor:
        """Return the phase in 0..1, 0 on the beat."""
        return torch.remainder(torch.atan2(self.arrow[..., 1], self.arrow[..., 0]) / (2 * torch.pi), 1.0)


class Heads(nn.Module):
    """Read-outs of z (T, B, 32); what else there is are data, not learned.

    `mean` (216,), `basis` (C, 216) orthonormal rows in units of `unit` (216,), the spread of each kind of number;
    `pace` (H, 216): how much of the last 67 ms' change is best expected by each horizon; `spread` (1 + 2 H,): standard
    deviation of the pose, of its changes and of their rests, per component on average: the loss counts in these.
    """

    mean: Tensor
    basis: Tensor
    unit: Tensor
    pace: Tensor
    spread: Tensor

    def __init__(self, seed: int = 0, components: int = COMPONENTS) -> None:
        super().__init__()
        count = len(HORIZONS)
        outputs = (1 + 2 * count) * components
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.future_1, self.future_2 = nn.Linear(2 * LATENT, HIDDEN), nn.Linear(HIDDEN, outputs)
            self.skip = nn.Linear(2 * LATENT, outputs, bias=False)
            self.memory, self.rhythm_out = nn.GRU(LATENT, MEMORY), nn.Linear(MEMORY, 3)
        self.register_buffer("mean", torch.zeros(216))
        self.register_buffer("basis", torch.zeros(components, 216))
        self.register_buffer("unit", torch.ones(216))
        self.register_buffer("pace", torch.zeros(count, 216))
        self.register_buffer("spread", torch.ones(1 + 2 * count))

    def learn(self, limbs: Tensor, speed: Tensor, changes: Tensor) -> float:
        """Take what is data from limbs (n, 216), their change over the last 67 ms and by each horizon (n, H, 216).

        Returns the share of the limbs' variance, in units of the spread, that the components hold.
        """
        limbs, speed, changes = limbs.double(), speed.double(), changes.double()
        centred = limbs - limbs.mean(0)
        unit = spread_of(by_kind(centred.square()).mean(0).sqrt().clamp(min=1e-3))
        # pace = <change speed> / <speed^2>, one for each kind and horizon
        together, alone = by_kind(changes * speed.unsqueeze(-2)).mean(0), by_kind(speed.square()).mean(0)
        pace = spread_of((together / alone.clamp(min=1e-9)).clamp(min=0.0))
        scaled = centred / unit
        values, vectors = torch.linalg.eigh(scaled.T @ scaled / len(limbs))
        basis = vectors.flip(1)[:, : len(self.basis)].T
        basis = basis * basis.gather(1, basis.abs().argmax(1, keepdim=True)).sign()
        told = [scaled @ basis.T]
        told += [changes[:, k] / unit @ basis.T for k in range(len(HORIZONS))]
        told += [(changes[:, k] - pace[k] * speed) / unit @ basis.T for k in range(len(HORIZONS))]
        for name, value in {
            "mean": limbs.mean(0), "unit": unit, "pace": pace, "basis": basis,
            "spread": torch.stack([each.square().mean().sqrt() for each in told]).clamp(min=1e-6),
        }.items():  # fmt: skip
            getattr(self, name).copy_(value)
        return float(values.flip(0)[: len(basis)].sum() / values.sum())

    def components(self, limbs: Tensor) -> Tensor:
        """Return principal components (.., C) of limbs (.., 216)."""
        return self.changes(limbs - self.mean)

    def changes(self, change: Tensor) -> Tensor:
        """Return principal components (.., C) of a change of the limbs (.., 216)."""
        return (change / self.unit) @ self.basis.T

    def limbs(self, components: Tensor) -> Tensor:
        """Return the change of the limbs (.., 216) of components (.., C)."""
        return (components @ self.basis) * self.unit

    def damped(self, speed: Tensor) -> Tensor:
        """Return the change (.., H, 216) to be expected of the limbs' change over the last 67 ms (.., 216)."""
        return self.pace * speed.unsqueeze(-2)

    def future(self, z: Tensor) -> Future:
        """Read the pose and its changes out of z (T, .., 32), causally."""
        both = torch.cat([z, QUICK * (z - before(z))], -1)
        made = self.future_2(torch.nn.functional.silu(self.future_1(both))) + self.skip(both)
        made = made.unflatten(-1, (1 + 2 * len(HORIZONS), len(self.basis))) * self.spread.unsqueeze(-1)
        now, change, rest = torch.split(made, [1, len(HORIZONS), len(HORIZONS)], -2)
        return Future(now.squeeze(-2), change, rest)

    def rhythm(self, z: Tensor) -> Rhythm:
        """Read tempo and phase out of z (T, B, 32), causally, from an empty memory."""
        made = self.rhythm_out(self.memory(z)[0])
        return Rhythm(made[..., 0], made[..., 1:])

    def save(self, path: str | Path, metadata: Mapping[str, str]) -> None:
        """Write the heads as safetensors."""
        tensors = {name: value.detach().cpu().contiguous().numpy() for name, value in self.state_dict().items()}
        try:
            save_file(tensors, str(path), metadata={**metadata, "format": FORMAT})
        except (OSError, SafetensorError) as error:
            raise TrainingError(
                str(path), f"cannot be written ({error})", "choose a folder you may write to"
            ) from error


def load(path: str | Path) -> Heads:
    """Return the heads of a file; raise TrainingError for a file that holds none."""
    try:
        tensors = load_file(str(path))
        heads = Heads(components=len(tensors["basis"]))
        heads.load_state_dict({name: torch.from_numpy(value) for name, value in tensors.items()})
    except (OSError, SafetensorError, KeyError, RuntimeError) as error:
        raise TrainingError(str(path), f"holds no heads ({error})", "give the file that training wrote") from error
    return heads
