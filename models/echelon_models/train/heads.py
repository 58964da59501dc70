"""What is read out of DELL coupled's z while it trains and is judged: future motion, tempo and phase.

Heads live in a file of their own: the engine does not run them. The future is told in principal components of the
limbs, as the pose now and its change by each horizon; tempo and phase by a small recurrent net over z.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from torch import Tensor, nn

from echelon_models.train.checkpoint import TrainingError

FORMAT = "echelon.dell.coupled.heads.v1"
HORIZONS = (6, 15, 30, 60)  # control frames: 100, 250, 500, 1000 ms
COMPONENTS = 40
LATENT, HIDDEN, MEMORY = 32, 192, 48
MIDDLE_BPM = 90.0  # tempo is told in octaves from here


class Future(NamedTuple):
    """Principal components (.., C) of the pose now and of its change by each horizon, (.., H, C)."""

    now: Tensor
    change: Tensor


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
    """Read-outs of z (T, B, 32); `mean` (216,), `basis` (C, 216) orthonormal rows and `spread` are data, not learned.

    `spread` (1 + H,): standard deviation of the pose and of its change by each horizon, per component on average: the
    heads and their loss count in these.
    """

    mean: Tensor
    basis: Tensor
    spread: Tensor

    def __init__(self, seed: int = 0, components: int = COMPONENTS) -> None:
        super().__init__()
        outputs = (1 + len(HORIZONS)) * components
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.future_1, self.future_2 = nn.Linear(LATENT, HIDDEN), nn.Linear(HIDDEN, outputs)
            self.skip = nn.Linear(LATENT, outputs, bias=False)
            self.memory, self.rhythm_out = nn.GRU(LATENT, MEMORY), nn.Linear(MEMORY, 3)
        self.register_buffer("mean", torch.zeros(216))
        self.register_buffer("basis", torch.zeros(components, 216))
        self.register_buffer("spread", torch.ones(1 + len(HORIZONS)))

    def learn_basis(self, limbs: NDArray[np.float32], changes: list[NDArray[np.float32]]) -> float:
        """Set mean, basis and spreads from limbs (n, 216) and their changes (m, 216) by each horizon.

        Returns the share of the limbs' variance that the components hold.
        """
        centred = limbs.astype(np.float64) - limbs.mean(0, dtype=np.float64)
        values, vectors = np.linalg.eigh(centred.T @ centred / len(limbs))
        basis = vectors[:, ::-1][:, : len(self.basis)].T
        basis = basis * np.sign(basis[np.arange(len(basis)), np.abs(basis).argmax(1)])[:, None]
        spread = [float(np.sqrt(np.square(each @ basis.T).mean())) for each in (centred, *changes)]
        self.mean.copy_(torch.from_numpy(limbs.mean(0, dtype=np.float64)))
        self.basis.copy_(torch.from_numpy(np.ascontiguousarray(basis)))
        self.spread.copy_(torch.tensor(spread).clamp(min=1e-6))
        return float(values[::-1][: len(basis)].sum() / values.sum())

    def components(self, limbs: Tensor) -> Tensor:
        """Return principal components (.., C) of limbs (.., 216)."""
        return (limbs - self.mean) @ self.basis.T

    def future(self, z: Tensor) -> Future:
        """Read the pose and its changes out of z (.., 32)."""
        made = self.future_2(torch.nn.functional.silu(self.future_1(z))) + self.skip(z)
        made = made.unflatten(-1, (1 + len(HORIZONS), len(self.basis))) * self.spread.unsqueeze(-1)
        return Future(made[..., 0, :], made[..., 1:, :])

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
