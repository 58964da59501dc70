"""From the learned inverse's answer to a nearer one: the setting of the probe phrase, found by listening again.

What a network cannot tell from a spectrum, which modulator bends which carrier and how far, a search can: the setting
that was played gives the same sound. The operators are sought by the first note alone, a sixth of the phrase:
candidates are drawn from the inverse's distribution; the best evolve (`evolution`); and because the two pairs of
operators add up, a pair that one candidate has found is tried with the pairs of all others. Then each lane in turn is
moved while the whole phrase comes nearer. With the lanes so found the operators are sought once more, from the start:
the answer that sounds nearer over the whole phrase stands.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon_engine.parameters import LANES
from echelon_models.train import evolution, listening, settings
from echelon_models.train.inverse import Estimate
from echelon_models.train.listening import Resolution
from echelon_models.train.phrase import RATE_HZ, Phrase, render

Array = NDArray[np.float64]

OPERATORS = 8  # lanes: four ratios, four indices
PAIRS = ((0, 1, 4, 5), (2, 3, 6, 7))  # lanes of operators (1, 2) and (3, 4)
OPENING_S = 0.42  # the first note of the probe phrase
RESOLUTIONS = (Resolution(1024, 512, True, 40), Resolution(8192, 2048, False, 224))
FLOOR_DB = -80.0
DRAWN = 300
# Rounds: how many candidates evolve, for how many renders each, how widely at first in parts of the inverse's spread.
ROUNDS = ((8, 120, 0.4), (4, 300, 0.15), (2, 400, 0.05))
NARROWEST = 0.05  # spread of a lane of which the inverse is sure
BRED = 6  # candidates whose pairs are exchanged
STEPS, FINEST = (0.8, 0.4, 0.2), 0.02  # of a lane in turn: parts of its spread, which is no smaller

Cost = Callable[[Array], float]
Tell = Callable[[int, int, float], None]


def refined(
    sound: NDArray[np.float32],
    whole: Cost,
    guess: Estimate,
    *,
    seed: int = 1,
    effort: float = 1.0,
    tell: Tell | None = None,
) -> tuple[Array, int]:
    """Return positions float64 (32,) that sound nearer to `sound` than the guess, and how many renders it took.

    `sound` float32 (n, 2) at 48 kHz is a recording of the probe phrase, `whole` how far positions are from it over the
    whole phrase, `guess` the inverse's answer. At effort 1 about 6700 first notes and 200 phrases are rendered, a
    minute of computing; `tell(made, of, cost)` is called twice. One seed gives one result.
    """
    first, made = _with_operators(sound, guess, guess.position, np.random.default_rng(seed), effort)
    first, polishing = _polished(whole, first, guess.spread)
    total = 2 * made + polishing
    if tell is not None:
        tell(made + polishing, total, whole(first))
    others = np.concatenate((guess.position[:OPERATORS], first[OPERATORS:]))
    second, again = _with_operators(sound, guess, others, np.random.default_rng(seed + 1), effort)
    best = min(first, second, key=whole)
    made += polishing + again
    if tell is not None:
        tell(made, total, whole(best))
    return best, made


def _with_operators(
    sound: NDArray[np.float32], guess: Estimate, position: Array, rng: Any, effort: float
) -> tuple[Array, int]:
    """Return `position` with the operators that make its first note sound nearest, and the number of renders."""
    opening = Phrase(tuple(note for note in settings.PROBE.notes if note.start_s < OPENING_S), OPENING_S)
    target = _heard(sound[: round(OPENING_S * RATE_HZ)])
    made = 0

    def cost(operators: Array) -> float:
        nonlocal made
        made += 1
        ours = _heard(render(np.concatenate((operators, position[OPERATORS:])), opening))
        return sum(float(np.abs(a - b).mean()) for a, b in zip(ours, target, strict=True))

    operators = _operators(cost, guess, rng, effort)
    return settings.ordered(np.concatenate((operators, position[OPERATORS:]))), made


def _polished(cost: Cost, position: Array, spread: Array) -> tuple[Array, int]:
    """Move each lane in turn, by ever smaller parts of its spread, while the cost falls."""
    best, made = cost(position), 1
    for step in STEPS:
        for lane in range(LANES):
            for sign in (1.0, -1.0):
                moved = position.copy()
                moved[lane] = np.clip(moved[lane] + sign * step * max(spread[lane], FINEST), 0.0, 1.0)
                made += 1
                if (value := cost(moved)) < best:
                    position, best = moved, value
                    break
    return position, made


def _heard(sound: NDArray[np.float32]) -> list[NDArray[Any]]:
    floor = 10.0 ** (FLOOR_DB / 10.0)
    return [10.0 * np.log10(listening.powers(sound, each, RATE_HZ).sum(0) + floor) for each in RESOLUTIONS]


def _operators(cost: Cost, guess: Estimate, rng: Any, effort: float) -> Array:
    low, high = (each[:OPERATORS] for each in settings.limits())
    spread = np.maximum(guess.spread[:OPERATORS], NARROWEST)
    draws = guess.position[:OPERATORS] + spread * rng.standard_normal((max(int(effort * DRAWN), 8), OPERATORS))
    pool = _best([(cost(each), each) for each in (guess.position[:OPERATORS], *np.clip(draws, low, high))])
    for count, evaluations, width in ROUNDS:
        runs = [
            evolution.search(cost, each, width * spread, max(int(effort * evaluations), 1), rng)
            for _, each in pool[:count]
        ]
        pool = _best([(run.cost, run.position) for run in runs])
        pool = _best(pool + [(cost(each), each) for each in _bred([each for _, each in pool[:BRED]])])
    return pool[0][1]


def _best(pool: list[tuple[float, Array]]) -> list[tuple[float, Array]]:
    return sorted(pool, key=lambda each: each[0])


def _bred(parents: list[Array]) -> list[Array]:
    """Return every two pairs of operators that no parent has together, as settings of the operators (8,)."""
    pairs = [(number, parent[list(lanes)]) for number, parent in enumerate(parents) for lanes in PAIRS]
    return [
        np.concatenate((a[:2], b[:2], a[2:], b[2:]))
        for (mother, a), (father, b) in combinations(pairs, 2)
        if mother != father
    ]
