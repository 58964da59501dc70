"""Parameters from sound: the 32 positions whose instrument sounds like a recording, found by analysis by synthesis.

The synthesiser is the engine's own (`phrase.render`). A recording of which nothing is known is taken for one note: its
pitch is estimated, many settings are tried, and an evolution strategy moves the best one, together with the note's
pitch and length, until its spectra over time lie near the recording's. A recording of a known phrase keeps its notes.
Of the probe phrase (`settings.PROBE`) networks trained on such renders tell the setting at once (`inverse`,
`ratio_judge`); `refine` leads from there to the nearest one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from echelon_engine.errors import UserError
from echelon_engine.parameters import LANES, PARAMETERS
from echelon_models.train import evolution, inverse, listening, ratio_judge, refine, settings
from echelon_models.train.phrase import RATE_HZ, Note, Phrase, render
from echelon_models.train.sound_file import checked, resampled

Array = NDArray[np.float64]

BUDGET_S = 4500.0  # of sound to render: about a minute of two cores
FEWEST, MOST = 1500, 12000  # renders
CANDIDATES = 600  # settings tried before the search proper
POPULATION = 60  # settings of a generation: with fewer the search stops at the first likeness
MOST_S = 3.0  # of a recording that is taken for one note
LEAD_S = 0.01  # before the onset
VELOCITY = 0.8
LOWEST_NOTE, HIGHEST_NOTE = 24.0, 120.0
SHORTEST_HOLD_S = 0.02
MIDDLE = 0.5  # the default setting: every lane in its middle
BALANCE_WEIGHT, ATTACK_WEIGHT = 4.0, 0.35
AUDIBLE_DB = 0.25  # mean over all cells of the log-mel distance; 1 dB in a quarter of them
MOVE = 0.25  # of a lane, by which it is asked whether the lane can be heard


class Extraction(NamedTuple):
    """What was found in a sound.

    `position` float64 (32,) 0..1; `heard` bool (32,): moving the lane by a quarter of its range changes the log-mel
    distance between the two renders by at least 0.25 dB, so its position means something; `phrase` the notes that were
    played; `distance` and `default_distance` log-mel distance in dB of the render and of all lanes in their middle,
    `levelled_distance` that of the latter brought to the recording's RMS; `sound` float32 (n, 2) the part of the
    recording that was matched, `rendered` the same of the instrument, both at 48 kHz.
    """

    position: Array
    heard: NDArray[np.bool_]
    phrase: Phrase
    distance: float
    default_distance: float
    levelled_distance: float
    evaluations: int
    sound: NDArray[np.float32]
    rendered: NDArray[np.float32]


Tell = Callable[[int, int, float], None]


class Target:
    """A sound to be matched, as the search hears it."""

    def __init__(self, sound: NDArray[np.float32]) -> None:
        self.sound = sound
        self._resolutions = listening.RESOLUTIONS[:2]
        found = [listening.powers(sound, each, RATE_HZ) for each in self._resolutions]
        self._floors = [float(each.sum(0).max()) * 10.0 ** (-listening.DISTANCE_RANGE_DB / 10.0) for each in found]
        self._levels = [self._decibels(each, floor) for each, floor in zip(found, self._floors, strict=True)]
        self._balance = self._balanced(found[1])

    def cost(self, rendered: NDArray[np.float32]) -> float:
        """Return how far a render of the same length is from the sound, in dB: timbre, attacks and stereo."""
        found = [listening.powers(rendered, each, RATE_HZ) for each in self._resolutions]
        attack, timbre = (
            float(np.abs(self._decibels(each, floor) - level).mean())
            for each, floor, level in zip(found, self._floors, self._levels, strict=True)
        )
        stereo = float(np.abs(self._balanced(found[1]) - self._balance).mean())
        return timbre + ATTACK_WEIGHT * attack + BALANCE_WEIGHT * stereo

    @staticmethod
    def _decibels(power: Any, floor: float) -> Any:
        return 10.0 * np.log10(np.maximum(power.sum(0), floor))

    def _balanced(self, power: Any) -> Any:
        wide = power.reshape(2, power.shape[1], 16, -1).mean(-1)
        return (wide[0] - wide[1]) / (wide.sum(0) + self._floors[1])


def extract(
    sound: Any,
    rate_hz: float,
    *,
    note: float | None = None,
    phrase: Phrase | None = None,
    start: Array | None = None,
    evaluations: int | None = None,
    seed: int = 1,
    tell: Tell | None = None,
) -> Extraction:
    """Find the positions whose instrument sounds like `sound`, (n,) or (n, channels) at full scale 1.

    `note` is the pitch of a single note in MIDI semitones, estimated where it is None; `phrase` are notes that are
    known (the sound then begins where the phrase does). `start` (32,) begins the search at a setting, such as that of
    the sound before. About `evaluations` renders are made, by default more of a shorter sound; one alone, of the probe
    phrase, is the learned answer at once;
    `tell(made, of, distance)` is called as they are. The same seed gives the same positions. Raises `UserError` for a
    sound that cannot be analysed.
    """
    rng = np.random.default_rng(seed)
    whole = resampled(checked(sound, rate_hz), round(rate_hz), RATE_HZ)
    matched = fitted(whole, phrase.length_s) if phrase else begun(whole)
    target = Target(matched)
    if phrase == settings.PROBE and start is None and (evaluations is None or evaluations == 1):
        return _report(target, *_probe(target, evaluations, seed, tell))
    if evaluations is None:
        evaluations = usual_evaluations(len(matched) / RATE_HZ)
    if phrase is None:
        found = _search_note(target, note, start, evaluations, rng, tell)
    else:
        found = _search_phrase(target, phrase, start, evaluations, rng, tell)
    return _report(target, *found)


def usual_evaluations(length_s: float) -> int:
    """Return how many renders are made of a sound of this length in seconds: about a minute of two cores."""
    return int(np.clip(BUDGET_S / length_s, FEWEST, MOST))


def fitted(sound: NDArray[np.float32], length_s: float) -> NDArray[np.float32]:
    """Return sound (n, 2) cut, or continued by silence, to a length in seconds."""
    frames = round(length_s * RATE_HZ)
    return np.pad(sound[:frames], ((0, max(frames - len(sound), 0)), (0, 0)))


def begun(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return sound (n, 2) from 10 ms before it comes within 40 dB of its peak, at most 3 s, at least 50 ms."""
    level = np.abs(sound).max(1)
    first = int(np.argmax(level > 0.01 * level.max())) - round(LEAD_S * RATE_HZ)
    from_onset = np.pad(sound, ((max(-first, 0), 0), (0, 0)))[max(first, 0) :][: round(MOST_S * RATE_HZ)]
    return fitted(from_onset, max(len(from_onset) / RATE_HZ, 0.05))


def pitch_of(sound: NDArray[np.float32]) -> tuple[float, float]:
    """Return (MIDI semitones, strength 0..1) of a sound (n, 2) at 48 kHz, by normalised autocorrelation up to 1 kHz.

    The first lag whose correlation reaches 0.9 of the highest is taken, so that octaves below do not win. Strength is
    that correlation: noise has little.
    """
    mono = sound.sum(1)[: RATE_HZ // 2].astype(np.float64)
    mono = mono - mono.mean()
    size = 1 << (2 * len(mono) - 1).bit_length()
    spectrum = np.fft.rfft(mono, size)
    shifted = np.fft.irfft(np.abs(spectrum) ** 2, size)[: len(mono)]
    energy = np.concatenate(([0.0], np.cumsum(mono**2)))
    lags = np.arange(len(mono))
    shared = np.sqrt(np.maximum(energy[len(mono) - lags] * (energy[-1] - energy[lags]), 1e-20))
    likeness = shifted / shared
    low, high = RATE_HZ // 1000, min(RATE_HZ // 32, len(mono) // 2)
    if high <= low + 2:
        return 60.0, 0.0
    part = likeness[low:high]
    peaks = np.flatnonzero((part[1:-1] > part[:-2]) & (part[1:-1] >= part[2:])) + 1
    if not len(peaks):
        return 60.0, 0.0
    first = peaks[part[peaks] >= 0.9 * part[peaks].max()][0]
    midi = 69.0 + 12.0 * np.log2(RATE_HZ / (low + first) / 440.0)
    return float(np.clip(midi, LOWEST_NOTE, HIGHEST_NOTE)), float(np.clip(part[first], 0.0, 1.0))


def _search_note(
    target: Target, note: float | None, start: Array | None, evaluations: int, rng: Any, tell: Tell | None
) -> tuple[Array, Phrase, int]:
    """Search setting, hold and (where it is not given) pitch of one note: the 33rd and 34th dimension."""
    length_s = len(target.sound) / RATE_HZ
    guess, strength = pitch_of(target.sound)
    centre = guess if note is None else note

    def phrase(position: Array) -> Phrase:
        hold_s = SHORTEST_HOLD_S * (length_s / SHORTEST_HOLD_S) ** position[LANES]
        pitch = LOWEST_NOTE + position[LANES + 1] * (HIGHEST_NOTE - LOWEST_NOTE) if note is None else centre
        return Phrase((Note(LEAD_S, LEAD_S + hold_s, pitch, VELOCITY),), length_s)

    def candidate() -> Array:
        pitch = centre if rng.random() < 0.3 + 0.6 * strength else rng.uniform(LOWEST_NOTE, HIGHEST_NOTE)
        tail = [rng.choice([0.5, 0.8, 1.0]), (pitch - LOWEST_NOTE) / (HIGHEST_NOTE - LOWEST_NOTE)]
        setting = settings.draw(rng) if start is None else start
        setting = np.clip(setting, 0.0, 1.0)
        if start is None:
            # a recording is more often dry and centred than not
            setting[-5] *= rng.random()
            setting[-3] = 0.5
        return np.concatenate((setting, tail))

    def cost(position: Array) -> float:
        return target.cost(render(position[:LANES], phrase(position)))

    best = _search(cost, candidate, evaluations, rng, tell, few=start is not None)
    return settings.ordered(best.position[:LANES]), phrase(best.position), best.evaluations


def _probe(target: Target, evaluations: int | None, seed: int, tell: Tell | None) -> tuple[Array, Phrase, int]:
    """Return what the inverse says of the probe phrase, refined unless one evaluation was asked for."""
    guess = inverse.estimate(target.sound)
    if evaluations == 1:
        return guess.position, settings.PROBE, 1

    pairs = ratio_judge.likely_pairs(target.sound, guess)
    position, made = refine.refined(target.sound, guess, pairs, seed=seed, tell=tell)
    return position, settings.PROBE, made


def _search_phrase(
    target: Target, phrase: Phrase, start: Array | None, evaluations: int, rng: Any, tell: Tell | None
) -> tuple[Array, Phrase, int]:
    """Search the setting of a phrase whose notes are known; that of the probe begins where its inverse says."""
    if start is None and phrase == settings.PROBE:
        start = inverse.estimate(target.sound).position

    def cost(position: Array) -> float:
        return target.cost(render(position, phrase))

    def candidate() -> Array:
        return settings.draw(rng) if start is None else np.asarray(start, np.float64)

    best = _search(cost, candidate, evaluations, rng, tell, few=start is not None)
    return settings.ordered(best.position), phrase, best.evaluations


def _search(
    cost: Callable[[Array], float],
    candidate: Callable[[], Array],
    evaluations: int,
    rng: Any,
    tell: Tell | None,
    *,
    few: bool,
) -> evolution.Found:
    """Try candidates, then let the best one evolve."""
    count = 4 if few else min(CANDIDATES, evaluations // 20)
    tried = [candidate() for _ in range(max(count, 1))]

    def told(used: int, value: float) -> None:
        if tell is not None:
            tell(len(tried) + used, evaluations, value)

    left = evaluations - len(tried)
    spread, population = (0.05, None) if few else (0.25, min(POPULATION, max(left // 40, 8)))
    with ThreadPoolExecutor() as pool:
        costs = list(pool.map(cost, tried))
        best = int(np.argmin(costs))
        told(0, costs[best])
        found = evolution.search(cost, tried[best], spread, left, rng, told, population=population, run=pool.map)
    return found._replace(evaluations=found.evaluations + len(tried))


def _report(target: Target, position: Array, phrase: Phrase, evaluations: int) -> Extraction:
    rendered = render(position, phrase)
    middle = render(np.full(LANES, MIDDLE), phrase)
    level = np.sqrt(float((target.sound**2).mean()) / max(float((middle**2).mean()), 1e-20))
    near, default, levelled = (
        listening.log_mel_distance(each, target.sound, RATE_HZ)
        for each in (rendered, middle, (level * middle).astype(np.float32))
    )
    heard = audible(position, phrase, rendered)
    return Extraction(position, heard, phrase, near, default, levelled, evaluations, target.sound, rendered)


def audible(position: Array, phrase: Phrase, rendered: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return which lanes can be heard in this setting and phrase, bool (32,): moved by a quarter, they change it."""
    heard = np.zeros(LANES, np.bool_)
    for lane in range(LANES):
        moved = position.copy()
        moved[lane] += MOVE if moved[lane] < 0.5 else -MOVE
        heard[lane] = listening.log_mel_distance(render(moved, phrase), rendered, RATE_HZ) >= AUDIBLE_DB
    return heard


def save(path: Path, found: Extraction) -> None:
    """Write an npz file: `position`, `value`, `heard` (32,) each, `lane` names, `notes` (n, 5), and the distances.

    The file appears whole or not at all. Raises `UserError` where the disk refuses.
    """
    arrays = {
        "lane": np.array([each.name for each in PARAMETERS]),
        "position": found.position.astype(np.float32),
        "value": np.array([each.value(p) for each, p in zip(PARAMETERS, found.position, strict=True)], np.float32),
        "heard": found.heard,
        "notes": np.array(found.phrase.notes, np.float64),  # start, end, pitch, velocity, pan
        "distance": np.array([found.distance, found.default_distance, found.levelled_distance]),
    }
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with partial.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        partial.replace(path)
    except OSError as error:
        raise UserError(
            str(path), f"cannot be written ({error.strerror})", "free space, or choose another place"
        ) from None
    finally:
        partial.unlink(missing_ok=True)
