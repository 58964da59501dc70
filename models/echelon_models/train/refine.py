"""From the learned inverse's answer to a nearer one: the setting of the probe phrase, found by listening again.

What a network cannot tell from a spectrum, which modulator bends which carrier and how far, a search can: the setting
that was played gives the same sound. The operators are sought by the lines of the first note's spectrum, whatever the
filter and the room make of their levels. `partials` says which ratios a pair may have; each is listened to with the
other pair as it was guessed. The best pairs get indices, then another pair beside them, and the best of all evolve
(`evolution`). A modulator that is still wrong beside a right carrier is sought over its whole range. Then each lane in
turn is moved while the whole phrase comes nearer; with the lanes so found modulators and indices are sought once more.
All of it is done twice, the second time with the lanes that the first has found; the nearer answer stands.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from echelon_engine.parameters import LANE, LANES
from echelon_models.train import evolution, partials, settings
from echelon_models.train.inverse import Estimate
from echelon_models.train.phrase import RATE_HZ, Phrase, render

Array = NDArray[np.float64]

OPERATORS = 8  # lanes: four ratios, four indices
RATIOS, INDICES = ((0, 1), (2, 3)), ((4, 5), (6, 7))  # lanes of modulator and carrier of each pair
STRUCTURE = LANE["body_structure"]  # moves the lines of the body
OPENING_S, HOLD_S, WINDOW = 0.362, 0.02, 16384  # the first note of the probe phrase and where its window begins
_HANN = np.hanning(WINDOW + 1)[:-1] / np.sqrt((np.hanning(WINDOW + 1) ** 2).sum() * WINDOW)
_EDGES = np.geomspace(25.0, 16000.0, 450) * WINDOW / RATE_HZ  # of 448 bands, each over half of the next, in bins
AROUND = 15  # bands: a line is what stands out of a third of an octave
FLOOR = 1e-10

ATTEMPTS = 2
DRAWN = 200  # settings of the operators drawn from the inverse's distribution
PAIRS, BESIDE = 900, 450  # ratios that are tried for either pair; beside a pair that was found
INDEXED, KEPT = 40, 5  # pairs that get indices; that get another pair beside them
INDEX_GRID = np.linspace(0.22, 0.93, 6)
BASES, MODULATORS = 2, 300  # settings of which modulators are sought; ratios that are tried
TUNED = ((0.015, 41), (0.0015, 13), (0.0004, 7))  # of the body's structure: how far around, how many
EVOLVED, RENDERS = 3, 220
NARROW = np.array([0.002] * 4 + [0.05] * 4)  # of ratios and indices, where the search has come near
FIRST_STEPS, LAST_STEPS = (0.8, 0.4, 0.2, 0.1), (0.4, 0.2, 0.1, 0.05)  # of a lane's spread
FINEST = 0.02  # a spread is no smaller

Cost = Callable[[Array], float]
Tell = Callable[[int, int, float], None]


class Candidate(NamedTuple):
    """A setting, float64 (32,), and how far its first note is from the one that was heard."""

    cost: float
    position: Array


class Opening:
    """The first note of a recording of the probe phrase: how far other settings are from its lines, in dB."""

    def __init__(self, sound: NDArray[np.float32]) -> None:
        self._phrase = Phrase(tuple(note for note in settings.PROBE.notes if note.start_s < OPENING_S), OPENING_S)
        self._target = self._heard(sound)
        self.made = 0

    def cost(self, position: Array) -> float:
        """Return the mean distance of the lines, in dB, of the instrument without its room."""
        self.made += 1
        return float(np.abs(self._heard(render(position, self._phrase, dry=True)) - self._target).mean())

    def candidate(self, position: Array) -> Candidate:
        """Return the setting with its cost."""
        return Candidate(self.cost(position), position)

    @staticmethod
    def _heard(sound: NDArray[np.float32]) -> Array:
        begin = round(HOLD_S * RATE_HZ)
        total = np.cumsum(np.abs(np.fft.rfft(sound[begin : begin + WINDOW].sum(1) * _HANN)) ** 2)
        reached = np.interp(_EDGES, np.arange(len(total)), total)
        power = (reached[2:] - reached[:-2]) / (_EDGES[2:] - _EDGES[:-2])
        level = 10.0 * np.log10(power + FLOOR)
        around = np.convolve(np.pad(level, AROUND // 2, mode="edge"), np.full(AROUND, 1.0 / AROUND), "valid")
        return np.asarray(level - around)


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
    whole phrase, `guess` the inverse's answer. At effort 1 about 25000 first notes and 1000 phrases are rendered, two
    minutes of computing; `tell(made, of, cost)` is called as they are. One seed gives one result.
    """
    opening, rng = Opening(sound), np.random.default_rng(seed)
    total, polishing = round(ATTEMPTS * 13_000 * effort) + ATTEMPTS * 500, 0
    spread = np.maximum(guess.spread, FINEST)
    best, around = guess.position, guess

    def polished(candidate: Candidate, steps: tuple[float, ...]) -> Array:
        nonlocal polishing
        position, made = _polished(whole, candidate.position, spread, steps)
        polishing += made
        if tell is not None:
            tell(opening.made + polishing, max(total, opening.made + polishing), whole(position))
        return position

    for _ in range(ATTEMPTS):
        pool = _modulators(opening, _pairs(opening, sound, around, rng, effort), rng, effort)
        first = polished(pool[0], FIRST_STEPS)
        tuned = [_with(first, range(OPERATORS), each.position[:OPERATORS]) for each in pool]
        pool = _modulators(opening, _best([opening.candidate(each) for each in (first, *tuned)]), rng, effort)
        best = min(best, first, polished(pool[0], LAST_STEPS), key=whole)
        # the next attempt begins with what this one found of all but the operators
        around = guess._replace(position=_with(best, range(OPERATORS), guess.position[:OPERATORS]))
    return settings.ordered(best), opening.made + polishing


def _pairs(opening: Opening, sound: NDArray[np.float32], guess: Estimate, rng: Any, effort: float) -> list[Candidate]:
    """Return settings whose operators make the first note's lines, the best first."""
    drawn = [_with(guess.position, range(OPERATORS), each) for each in _draw(guess, rng, _share(DRAWN, effort))]
    bases = _best([opening.candidate(each) for each in (guess.position, *drawn)])[:4]
    structure = _structure(opening, [each.position for each in bases[:3]], guess)
    bases = [opening.candidate(_with(each.position, (STRUCTURE,), structure)) for each in bases]

    likely = [partials.likely_ratios(sound, guess, pair, _share(PAIRS, effort)) for pair in (0, 1)]
    found = []
    for pair in (0, 1):
        tried = []
        for ratios in likely[pair]:
            base = bases[rng.integers(len(bases))].position
            tried.append((pair, opening.candidate(_with_pair(base, pair, ratios, guess, rng))))
        found += tried
    found = sorted(found, key=lambda each: each[1].cost)[: _share(INDEXED, effort)]
    found = [(pair, _indexed(opening, each, pair, rng)) for pair, each in found]
    found.sort(key=lambda each: each[1].cost)

    pool = [*bases, *(each for _, each in found)]
    for pair, one in _different(found)[:KEPT]:
        other = 1 - pair
        beside = _best(
            [
                opening.candidate(_with_pair(one.position, other, ratios, guess, rng))
                for ratios in likely[other][: _share(BESIDE, effort)]
            ]
        )
        pool += [_indexed(opening, each, other, rng) for each in beside[: _share(10, effort)]]
    return _evolved(opening, pool, rng, effort)


def _modulators(opening: Opening, pool: list[Candidate], rng: Any, effort: float) -> list[Candidate]:
    """Seek the modulators of the best settings over their whole range; the best first."""
    low, high = settings.limits()
    found = list(pool)
    for each in pool[:BASES]:
        for pair in (0, 1):
            lane = RATIOS[pair][0]
            tried = []
            for ratio in np.linspace(low[lane], high[lane], _share(MODULATORS, effort)):
                index = rng.choice(INDEX_GRID)
                tried.append(opening.candidate(_with(each.position, (lane, INDICES[pair][0]), (ratio, index))))
            found += [_indexed(opening, one, pair, rng) for one in _best(tried)[: _share(8, effort)]]
    return _evolved(opening, found, rng, effort)


def _evolved(opening: Opening, pool: list[Candidate], rng: Any, effort: float) -> list[Candidate]:
    """Let the best settings' operators evolve; return twelve, the best first."""
    pool = _best(pool)[:12]
    for each in pool[:EVOLVED]:
        start = each.position

        def cost(operators: Array, start: Array = start) -> float:
            return opening.cost(np.concatenate((operators, start[OPERATORS:])))

        run = evolution.search(cost, start[:OPERATORS], NARROW, _share(RENDERS, effort), rng)
        pool.append(Candidate(run.cost, np.concatenate((run.position, start[OPERATORS:]))))
    return _best(pool)[:12]


def _structure(opening: Opening, positions: list[Array], guess: Estimate) -> float:
    """Return where the lines of the body lie best, whichever of the settings plays them."""
    best = float(guess.position[STRUCTURE])
    for reach, count in TUNED:
        reach = max(reach, 2.0 * guess.spread[STRUCTURE]) if reach == TUNED[0][0] else reach
        tried = np.clip(best + np.linspace(-reach, reach, count), 0.0, 1.0)
        costs = [min(opening.cost(_with(each, (STRUCTURE,), value)) for each in positions) for value in tried]
        best = float(tried[int(np.argmin(costs))])
    return best


def _indexed(opening: Opening, candidate: Candidate, pair: int, rng: Any) -> Candidate:
    """Move both indices of a pair, in turn and twice, over their range; return the best."""
    low, high = settings.limits()
    for lane in INDICES[pair] * 2:
        for value in INDEX_GRID + 0.06 * rng.standard_normal(len(INDEX_GRID)):
            moved = opening.candidate(_with(candidate.position, (lane,), np.clip(value, low[lane], high[lane])))
            candidate = min(candidate, moved, key=lambda each: each.cost)
    return candidate


def _polished(cost: Cost, position: Array, spread: Array, steps: tuple[float, ...]) -> tuple[Array, int]:
    """Move each lane but the ratios in turn, by ever smaller parts of its spread, while the cost falls."""
    best, made = cost(position), 1
    for step in steps:
        for lane in range(4, LANES):
            for sign in (1.0, -1.0):
                moved = _with(position, (lane,), np.clip(position[lane] + sign * step * spread[lane], 0.0, 1.0))
                made += 1
                if (value := cost(moved)) < best:
                    position, best = moved, value
                    break
    return position, made


def _draw(guess: Estimate, rng: Any, count: int) -> Any:
    """Return positions of the operators by the inverse's chances, float64 (count, 8)."""
    low, high = settings.limits()
    parts = guess.chance.shape[1]
    drawn = [(rng.choice(parts, count, p=each) + rng.random(count)) / parts for each in guess.chance[:OPERATORS]]
    return np.clip(np.stack(drawn, 1), low[:OPERATORS], high[:OPERATORS])


def _with_pair(position: Array, pair: int, ratios: Array, guess: Estimate, rng: Any) -> Array:
    """Return the setting with these ratios of a pair and indices drawn by the inverse's chances."""
    indices = _draw(guess, rng, 1)[0][list(INDICES[pair])]
    return _with(position, (*RATIOS[pair], *INDICES[pair]), np.concatenate((ratios, indices)))


def _with(position: Array, lanes: Any, values: Any) -> Array:
    moved = position.copy()
    moved[list(lanes)] = values
    return moved


def _different(found: list[tuple[int, Candidate]]) -> list[tuple[int, Candidate]]:
    """Return the pairs whose ratios are no other's before them."""
    kept: list[tuple[int, Candidate]] = []
    for pair, each in found:
        lanes = list(RATIOS[pair])
        if all(
            pair != other or np.abs(each.position[lanes] - one.position[lanes]).max() > 0.006 for other, one in kept
        ):
            kept.append((pair, each))
    return kept


def _best(pool: list[Candidate]) -> list[Candidate]:
    return sorted(pool, key=lambda each: each.cost)


def _share(count: int, effort: float) -> int:
    return max(int(effort * count), 1)
