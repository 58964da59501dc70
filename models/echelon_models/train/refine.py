"""From the learned answers to the nearest one: the setting of the probe phrase, found by listening again.

`ratio_judge` offers pairs of operators, `inverse` says all other lanes. Which two of the pairs play together is told by
the lines of the first note's spectrum, whatever filter and room make of their levels. With the right operators every
other lane changes the sound a little where it is a little wrong, so Gauss-Newton leads to the setting that was played.
The lanes so found make the choice of the operators surer: all of it is done twice.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from echelon_engine.parameters import LANE, LANES
from echelon_models.train import evolution, gauss_newton, listening, settings
from echelon_models.train.inverse import Estimate
from echelon_models.train.phrase import RATE_HZ, Phrase, render
from echelon_models.train.ratio_judge import Pair

Array = NDArray[np.float64]
Tell = Callable[[int, int, float], None]
Costs = Callable[[Array], Array]

OPERATORS = 8  # lanes: four ratios, four indices
OPENING_S, HOLD_S, WINDOW = 0.362, 0.02, 16384  # the first note of the probe phrase and where its window begins
_HANN = np.hanning(WINDOW + 1)[:-1] / np.sqrt((np.hanning(WINDOW + 1) ** 2).sum() * WINDOW)
_EDGES = np.geomspace(25.0, 16000.0, 450) * WINDOW / RATE_HZ  # of 448 bands, each over half of the next, in bins
AROUND = 15  # bands: a line is what stands out of a third of an octave
FLOOR = 1e-10

TRUST = 0.05  # dB that one unit of the judge's score is worth
APART = 0.01  # pairs nearer than that are one pair
LIKELIEST, CLOSE_DB = 2, 0.3  # couples of pairs that are followed at once, and how near the second is to the first
ROUNDS, STEPS, TOLD = 2, 8, 2000  # of everything; of Gauss-Newton; renders that all of it takes, roughly
LINES = (*range(4), LANE["body_structure"])  # lanes that move lines
SHARP, SHARPENED = np.array([0.0005] * 4 + [0.003]), 120  # how exactly those are sought, and with how many renders
# By how much a lane is moved to see what it does: where it moves lines or echoes, by less.
_PROBE = np.full(LANES, 0.01)
_PROBE[:4] = 0.0003
_PROBE[[LANE["body_structure"], LANE["reverb_size"]]] = 0.001
BALANCE_DB = 4.0  # what a sound that moves from one side to the other is worth


class Opening:
    """The first note of a recording of the probe phrase: how far other settings are from its lines, in dB."""

    def __init__(self, sound: NDArray[np.float32]) -> None:
        self._phrase = Phrase(tuple(note for note in settings.PROBE.notes if note.start_s < OPENING_S), OPENING_S)
        self._target = self._heard(sound)

    def cost(self, position: Array) -> float:
        """Return the mean distance of the lines, in dB, of the instrument without its room."""
        return float(np.abs(self._heard(render(position, self._phrase, dry=True)) - self._target).mean())

    @staticmethod
    def _heard(sound: NDArray[np.float32]) -> Array:
        begin = round(HOLD_S * RATE_HZ)
        total = np.cumsum(np.abs(np.fft.rfft(sound[begin : begin + WINDOW].sum(1) * _HANN)) ** 2)
        reached = np.interp(_EDGES, np.arange(len(total)), total)
        power = (reached[2:] - reached[:-2]) / (_EDGES[2:] - _EDGES[:-2])
        level = 10.0 * np.log10(power + FLOOR)
        around = np.convolve(np.pad(level, AROUND // 2, mode="edge"), np.full(AROUND, 1.0 / AROUND), "valid")
        return np.asarray(level - around)


class Whole:
    """A recording of the probe phrase, and by how much renders of it differ, cell by cell of its spectra."""

    def __init__(self, sound: NDArray[np.float32]) -> None:
        self._target = self._heard(sound)

    def residuals(self, position: Array) -> Array:
        """Return levels in dB less those of the recording, and balances, float64 (m,)."""
        return self._heard(render(position, settings.PROBE)) - self._target

    @staticmethod
    def _heard(sound: NDArray[np.float32]) -> Array:
        powers = [listening.powers(sound, each, RATE_HZ) for each in listening.RESOLUTIONS]
        cells = [listening.decibels(each.sum(0)) for each in powers]
        # each picture counts alike, however many cells it has
        most = max(each.size for each in cells)
        parts = [each.ravel() * np.sqrt(most / each.size) for each in cells]
        return np.concatenate([*parts, BALANCE_DB * listening.balance(powers[-1]).ravel()]).astype(np.float64)


def refined(
    sound: NDArray[np.float32],
    guess: Estimate,
    pairs: Sequence[Pair],
    *,
    seed: int = 1,
    effort: float = 1.0,
    tell: Tell | None = None,
) -> tuple[Array, int]:
    """Return positions float64 (32,) that sound nearer to `sound` than the guess, and how many renders it took.

    `sound` float32 (n, 2) at 48 kHz is a recording of the probe phrase, `guess` the inverse's answer, `pairs` those of
    the judge, the likeliest first. `tell(made, of, loss)` is called as renders are made. One seed gives one result.
    """
    opening, whole, rng = Opening(sound), Whole(sound), np.random.default_rng(seed)
    made, found = 0, [gauss_newton.Found(guess.position, np.inf, 0)]

    def count(renders: int) -> None:
        nonlocal made
        made += renders
        if tell is not None:
            tell(made, max(TOLD, made + 1), min(each.loss for each in found))

    with ThreadPoolExecutor() as pool:

        def costs(positions: Array) -> Array:
            count(len(positions))
            return np.array(list(pool.map(opening.cost, positions)))

        def residuals(positions: Array) -> Array:
            count(len(positions))
            return np.array(list(pool.map(whole.residuals, positions)))

        followed: list[Array] = []
        for _ in range(ROUNDS):
            others = min(found, key=lambda each: each.loss).position
            for couple in _couples(costs, pairs, others):
                if all(np.abs(couple[:4] - other).max() > APART for other in followed):
                    followed.append(couple[:4])
                    start = _sharpened(costs, couple, rng)
                    found.append(gauss_newton.descend(residuals, start, _PROBE, max(round(effort * STEPS), 1)))
    best = min(found, key=lambda each: each.loss)
    if tell is not None:
        tell(made, max(made, 1), best.loss)
    return settings.ordered(best.position), made


def _couples(costs: Costs, pairs: Sequence[Pair], others: Array) -> list[Array]:
    """Return settings with two of the pairs, and the other lanes as they are, whose lines lie nearest; best first."""
    positions, scores = [], []
    for one, two in itertools.combinations(pairs, 2):
        if max(abs(a - b) for a, b in zip(one.ratios, two.ratios, strict=True)) > APART:
            operators = (*one.ratios, *two.ratios, *one.indices, *two.indices)
            positions.append(settings.ordered(np.concatenate((operators, others[OPERATORS:]))))
            scores.append(one.score + two.score)
    if not positions:
        return []
    found = costs(np.array(positions)) - TRUST * np.array(scores)
    order = np.argsort(found)[:LIKELIEST]
    return [positions[k] for k in order if found[k] < found[order[0]] + CLOSE_DB]


def _sharpened(costs: Costs, position: Array, rng: np.random.Generator) -> Array:
    """Return the setting with the lanes that move lines where the first note's lie."""
    lanes = list(LINES)

    def moved(values: Array) -> Array:
        tried = position.copy()
        tried[lanes] = values
        return tried

    def cost(values: Array) -> float:
        return float(costs(moved(values)[None])[0])

    return moved(evolution.search(cost, position[lanes], SHARP, SHARPENED, rng).position)
