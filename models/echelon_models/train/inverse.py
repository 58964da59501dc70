"""The learned inverse of the probe phrase: from what is heard of it to the 32 positions that may have made it.

A convolutional network hears the phrase as five pictures and says for every lane how likely each of 24 parts of its
range is. Its answer is the median of that distribution: a lane that cannot be heard comes out at its usual place. It is
trained on renders of random settings (`inverse_training`); the weights, float16, lie beside this file and not with
those of the engine's models: they never run on stage.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from echelon_engine.parameters import LANES
from echelon_models.train import listening, settings
from echelon_models.train.phrase import RATE_HZ

WEIGHTS = Path(__file__).with_name("probe_inverse.safetensors")
PARTS = 24  # of a lane's range
DROPOUT = 0.1
FLOOR_DB = -120.0  # of full scale; a recording of 16 bits has less than that in a band of the finest resolution
CENTRE_DB, SPREAD_DB = -70.0, 25.0  # of levels, roughly: what the network gets is near 0 and 1
PEAK_FRAME = 512
# Where the windows of 341 ms of `lines` begin, in seconds, and how many bins of 2.9 Hz are a line: 0.053 of the pitch.
VIEWS = ((0.02, 4), (0.15, 4), (0.7, 2), (0.85, 2), (1.06, 2), (1.58, 8), (2.0, 2))
LINES = 768  # up to 41 times the pitch


class Pictures(NamedTuple):
    """What is heard of renders, each float (batch, ...): levels in `SPREAD_DB` around `CENTRE_DB`, and a balance.

    `attack` (21, frames of 11 ms): 20 wide bands and the highest sample; `timbre` (frames of 21 ms, 64 mel bands);
    `partials` (frames of 171 ms, 224 bands of a 24th of an octave); `lines` (7 views, 768 lines on a linear scale in
    units of the pitch that sounds there); `balance` (frames of 171 ms, 14 bands), -1 right .. 1 left.
    """

    attack: Tensor
    timbre: Tensor
    partials: Tensor
    lines: Tensor
    balance: Tensor


def pictures(sound: Tensor) -> Pictures:
    """Return what is heard of float32 sounds (batch, n, 2) at 48 kHz, on their device."""
    fine, middle, long = (
        listening.spectra(sound, each.window, each.hop)
        @ listening.band_matrix(each.window, RATE_HZ, each.mel, each.bands).to(sound.device)
        for each in listening.RESOLUTIONS
    )
    frames = sound.shape[1] // PEAK_FRAME
    peak = sound[:, : frames * PEAK_FRAME].abs().reshape(len(sound), frames, -1).amax(2)
    left, right = long.reshape(*long.shape[:-1], listening.BALANCE_BANDS, -1).mean(-1).unbind(1)
    return Pictures(
        torch.cat((_levels(fine.sum(1)[:, :frames]), _levels(peak.square())[..., None]), 2).transpose(1, 2),
        _levels(middle.sum(1)),
        _levels(long.sum(1)),
        torch.stack([_levels(_lines(sound, begin_s, together)) for begin_s, together in VIEWS], 1),
        (left - right) / (left + right + 10.0 ** (listening.FLOOR_DB / 10.0)),
    )


def _lines(sound: Tensor, begin_s: float, together: int) -> Tensor:
    size = listening.RESOLUTIONS[2].window
    first = round(begin_s * RATE_HZ)
    power = listening.spectra(sound[:, first : first + size], size, size, padded=False).sum(1)[:, 0]
    return power[:, : LINES * together].reshape(-1, LINES, together).sum(2)


def _levels(power: Tensor) -> Tensor:
    return (10.0 * torch.log10(power + 10.0 ** (FLOOR_DB / 10.0)) - CENTRE_DB) / SPREAD_DB


class Inverse(nn.Module):
    """The network: pictures of a batch of renders to logits (batch, 32, `PARTS`)."""

    def __init__(self) -> None:
        super().__init__()
        self.attack = nn.Sequential(*_slide(21, 48, 5), *_slide(48, 64, 5), *_slide(64, 64, 5), *_read(64, 10, 96))
        self.timbre = nn.Sequential(
            nn.Conv2d(1, 24, 5, 2, 2), nn.GELU(), nn.Conv2d(24, 48, 5, 2, 2), nn.GELU(),
            nn.Conv2d(48, 64, 3, 2, 1), nn.GELU(), nn.Conv2d(64, 12, 1), nn.Flatten(), nn.LazyLinear(128), nn.GELU(),
        )  # fmt: skip
        self.partials = nn.Sequential(
            *_slide(16, 96, 7), *_slide(96, 112, 5), *_slide(112, 128, 5), *_read(128, 24, 128)
        )
        self.lines = nn.Sequential(
            *_slide(len(VIEWS), 96, 9), *_slide(96, 128, 7), *_slide(128, 128, 5), *_read(128, 20, 192)
        )
        self.balance = nn.Sequential(nn.Flatten(), nn.LazyLinear(64), nn.GELU())
        self.body = nn.Sequential(
            nn.Dropout(DROPOUT), nn.LazyLinear(448), nn.GELU(), nn.Dropout(DROPOUT), nn.Linear(448, 320), nn.GELU(),
            nn.Dropout(DROPOUT), nn.Linear(320, LANES * PARTS), nn.Unflatten(1, (LANES, PARTS)),
        )  # fmt: skip

    def forward(self, heard: Pictures) -> Tensor:
        """Return logits of the parts of every lane's range, (batch, 32, `PARTS`)."""
        parts = (
            self.attack(heard.attack),
            self.timbre(heard.timbre[:, None]),
            self.partials(heard.partials),
            self.lines(heard.lines),
            self.balance(heard.balance),
        )
        logits: Tensor = self.body(torch.cat(parts, 1))
        return logits


def _slide(inputs: int, outputs: int, width: int) -> list[nn.Module]:
    return [nn.Conv1d(inputs, outputs, width, 2, width // 2), nn.GELU()]


def _read(inputs: int, narrow: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv1d(inputs, narrow, 1), nn.Flatten(), nn.LazyLinear(outputs), nn.GELU()]


def quantile(logits: Tensor, share: float) -> Tensor:
    """Return where the distribution over parts of the range reaches `share`, positions (..., 32) 0..1."""
    reached = nn.functional.pad(logits.softmax(-1).cumsum(-1), (1, 0))
    reached[..., -1] = 1.0
    part = (reached[..., 1:] < share).sum(-1, keepdim=True)
    below, above = reached.gather(-1, part), reached.gather(-1, part + 1)
    into = (share - below) / (above - below).clamp_min(1e-9)
    return ((part + into.clamp(0.0, 1.0)) / logits.shape[-1]).squeeze(-1)


def shared(position: Tensor) -> Tensor:
    """Return positions (...) as weights of the nearest two parts of the range, (..., `PARTS`); their sum is 1."""
    middles = (torch.arange(PARTS, device=position.device) + 0.5) / PARTS
    return (1.0 - PARTS * (position[..., None].clamp(middles[0], middles[-1]) - middles).abs()).clamp_min(0.0)


class Estimate(NamedTuple):
    """`position` float64 (32,), the median of every lane; `spread` float64 (32,), half of its middle two thirds.

    `chance` float64 (32, 24), how likely each of so many parts of the lane's range is; its sum is 1.
    """

    position: NDArray[np.float64]
    spread: NDArray[np.float64]
    chance: NDArray[np.float64]


def estimate(sound: NDArray[np.float32]) -> Estimate:
    """Return the positions that most likely made a recording of the probe phrase, float32 (n, 2) at 48 kHz."""
    with torch.inference_mode():
        logits = _load()(pictures(torch.from_numpy(sound)[None]))[0]
        median, low, high = (quantile(logits, share).double().numpy() for share in (0.5, 1 / 6, 5 / 6))
    found = Estimate(median, (high - low) / 2.0, logits.double().softmax(-1).numpy())
    return found if median[1] <= median[3] else Estimate(*(settings.exchanged(each) for each in found))


@lru_cache(maxsize=1)
def _load() -> Inverse:
    net = Inverse()
    net.load_state_dict({name: tensor.float() for name, tensor in load_file(WEIGHTS).items()})
    return net.eval()
