"""A learned judge of ratios: how likely is it that a modulator and a carrier of these ratios made a spectrum's lines?

The partials of a pair lie at |k r_c + n r_m| times the pitch. For a candidate (r_m, r_c) the levels of a spectrum are
read at those places, whatever the ratios are; there a small network sees the same picture for every right pair, and
says how likely this one is and which indices it has. It hears two notes of the probe phrase, and what `inverse` thinks
of all other lanes and of the ratios. The weights, float16, lie beside this file. Trained by `inverse_training`.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from echelon_engine.parameters import LANES, PARAMETERS
from echelon_models.train import listening
from echelon_models.train.inverse import PARTS, Estimate, quantile
from echelon_models.train.phrase import RATE_HZ

WEIGHTS = Path(__file__).with_name("ratio_judge.safetensors")
OPERATORS = 8
HIDDEN, CONTEXT = 256, 96
GRID = 1001  # positions of a ratio that are judged: a thousandth of its range is heard
APART = 3  # of them, at least, between two pairs
LIKELY = 40
TOGETHER = 8  # rows of the grid that are judged at once


class Held(NamedTuple):
    """Where a note of the probe phrase holds: when it begins in seconds, window in samples, pitch in Hz."""

    start_s: float
    window: int
    pitch_hz: float


NOTES = (Held(0.02, 16384, 220.0), Held(0.7, 32768, 110.0))
BINS = 4096  # of each note, up to 54.6 times its pitch
PER_PLACE = NOTES[0].window * NOTES[0].pitch_hz / RATE_HZ  # bins between multiples of the pitch, the same in both
LOWEST = 3.0 / 16.0  # places below are not looked at
AROUND = (0.8, 1.25)  # a line stands out of what lies between these multiples of its frequency
SMEARED = 2  # bins to either side that a line may have moved by
# |k r_c + n r_m|: multiples of carrier and modulator
MULTIPLES = torch.tensor([(0, n) for n in range(1, 11)] + [(k, n) for k in range(1, 6) for n in range(-10, 11)])


def lines(sound: Tensor) -> Tensor:
    """Return what is seen of both notes, (batch, 4, `BINS`), of float32 sounds (batch, n, 2) at 48 kHz.

    For each note: by how much a bin stands out of what lies around it, in 10 dB, and its level, -1 to 1 over the 80 dB
    below the highest.
    """
    seen = []
    for note in NOTES:
        begin = round(note.start_s * RATE_HZ)
        power = listening.spectra(sound[:, begin : begin + note.window], note.window, note.window, padded=False)
        level = 10.0 * torch.log10(power.sum(1)[:, 0] + 1e-10)
        total = nn.functional.pad(level.double().cumsum(1), (1, 0))
        bins = torch.arange(BINS, device=sound.device)
        low = ((AROUND[0] * bins).long() - 3).clamp_min(0)
        high = ((AROUND[1] * bins).long() + 4).clamp_max(level.shape[1])
        around = (total[:, high] - total[:, low]) / (high - low)
        level = level[:, :BINS]
        seen.append((level - around).clamp(-15.0, 25.0) / 10.0)
        seen.append((level - level.amax(1, keepdim=True)).clamp_min(-80.0) / 40.0 + 1.0)
    return torch.stack(seen, 1).float()


def smeared(seen: Tensor) -> Tensor:
    """Return `lines` with the highest of the bins around each beside them, (batch, 6, `BINS`)."""
    highest = nn.functional.max_pool1d(seen, 2 * SMEARED + 1, 1, SMEARED)
    return torch.cat((seen[:, ::2], highest), 1)


def ratio(position: Tensor) -> Tensor:
    """Return the ratio at positions 0..1."""
    lane = PARAMETERS[0]
    return lane.low * (lane.high / lane.low) ** position


def gathered(seen: Tensor, candidates: Tensor) -> Tensor:
    """Return what `smeared` lines show where the partials of candidates would lie.

    `seen` (batch, 6, bins), `candidates` (batch, n, 2) positions of modulator and carrier; (batch, n, 6 * places).
    """
    ratios = ratio(candidates.float())
    multiples = MULTIPLES.to(seen.device, torch.float32)
    place = (ratios[..., 1:] * multiples[:, 0] + ratios[..., :1] * multiples[:, 1]).abs()
    at = (place * PER_PLACE + 0.5).long()
    inside = (place > LOWEST) & (at < BINS)
    at = torch.where(inside, at, 0)
    batch, count, places = at.shape
    found = torch.gather(seen, 2, at.reshape(batch, 1, -1).expand(-1, seen.shape[1], -1))
    found = found.reshape(batch, -1, count, places) * inside[:, None]
    return found.transpose(1, 2).reshape(batch, count, -1)


class Judge(nn.Module):
    """The network: candidates and what is known of the sound to a score and the indices' distributions."""

    def __init__(self) -> None:
        super().__init__()
        self.places = nn.Linear(6 * len(MULTIPLES) + 6, HIDDEN)
        self.context = nn.Sequential(
            nn.Linear(2 * (LANES - OPERATORS), CONTEXT), nn.GELU(), nn.Dropout(0.1), nn.Linear(CONTEXT, HIDDEN)
        )
        self.body = nn.Sequential(
            nn.GELU(), nn.Linear(HIDDEN, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, HIDDEN // 2), nn.GELU()
        )
        self.score = nn.Linear(HIDDEN // 2, 1)
        self.indices = nn.Linear(HIDDEN // 2, 2 * PARTS)

    def forward(self, seen: Tensor, known: Tensor, chance: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores (batch, n) and logits of modulator's and carrier's index (batch, n, 2, `PARTS`).

        `seen` is `smeared` lines, `known` (batch, 48) median and spread of all lanes but the operators', `chance`
        (batch, 4, parts) the inverse's log chances of the four ratios, `candidates` (batch, n, 2) positions.
        """
        part = (candidates * chance.shape[2]).long().clamp(0, chance.shape[2] - 1)
        m, c = part.unbind(2)
        likely = torch.stack([torch.gather(chance[:, k], 1, m if k % 2 == 0 else c) for k in range(4)], 2)
        inputs = torch.cat((gathered(seen, candidates), likely / 4.0, 2.0 * candidates - 1.0), 2)
        hidden = self.body(self.places(inputs.to(self.places.weight.dtype)) + self.context(known)[:, None])
        return self.score(hidden)[..., 0], self.indices(hidden).unflatten(-1, (2, PARTS))


class Pair(NamedTuple):
    """A modulator and a carrier that may have played: a score, the higher the likelier, and positions 0..1."""

    score: float
    ratios: tuple[float, float]
    indices: tuple[float, float]


def likely_pairs(sound: NDArray[np.float32], guess: Estimate, count: int = LIKELY) -> list[Pair]:
    """Return the pairs that most likely made the lines of a recording of the probe phrase, the likeliest first.

    `sound` float32 (n, 2) at 48 kHz, `guess` what the inverse says of it. A million pairs are judged, in ten seconds.
    """
    net, axis = _load(), torch.linspace(0.0, 1.0, GRID)
    with torch.inference_mode():
        seen = smeared(lines(torch.from_numpy(sound)[None]))
        told = context(*(torch.from_numpy(each)[None].float() for each in (guess.position, guess.spread, guess.chance)))
        rows = torch.split(axis, TOGETHER)
        with ThreadPoolExecutor() as pool:
            score = torch.cat(list(pool.map(lambda some: _scores(net, seen, told, some, axis), rows)))
        places = peaks(score)[:count]
        ratios = places / (GRID - 1.0)
        indices = quantile(net(seen, *told, ratios[None])[1][0], 0.5)
        scores = score[places[:, 0], places[:, 1]]
    found = zip(scores.tolist(), ratios.tolist(), indices.tolist(), strict=True)
    return [Pair(score, (m, c), (i, j)) for score, (m, c), (i, j) in found]


def _scores(net: Judge, seen: Tensor, told: tuple[Tensor, Tensor], modulators: Tensor, carriers: Tensor) -> Tensor:
    with torch.inference_mode():  # of this thread
        scores: Tensor = net(seen, *told, torch.cartesian_prod(modulators, carriers)[None])[0]
    return scores.reshape(len(modulators), len(carriers))


def context(position: Tensor, spread: Tensor, chance: Tensor) -> tuple[Tensor, Tensor]:
    """Return what the judge is told of the inverse's answers: `known` and `chance` of `Judge.forward`."""
    known = torch.cat((2.0 * position[:, OPERATORS:] - 1.0, 8.0 * spread[:, OPERATORS:]), 1)
    return known, (chance[:, :4] + 1e-3).log()


def peaks(score: Tensor) -> Tensor:
    """Return rows and columns of all local maxima of scores (rows, columns), the highest first, int64 (n, 2)."""
    highest = nn.functional.max_pool2d(score[None, None], 2 * APART + 1, 1, APART)[0, 0]
    places = (score == highest).nonzero()
    return places[score[places[:, 0], places[:, 1]].argsort(descending=True)]


@lru_cache(maxsize=1)
def _load() -> Judge:
    net = Judge()
    net.load_state_dict({name: tensor.float() for name, tensor in load_file(WEIGHTS).items()})
    return net.eval()
