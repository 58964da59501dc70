"""Which two ratios of modulator and carrier put their partials where a spectrum has lines, judged on a fine grid.

A pair of operators plays sin(p_c + I_m sin p_m + I_c sin p_c). Its partials lie at |k r_c + n r_m| times the pitch and
are as strong as the coefficients of that function's Fourier series in both phases; a ratio that is off by a thousandth
of its range misses them. So the ratios are read off the lines, before anything is rendered.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from echelon_engine._jit import kernel
from echelon_engine.parameters import PARAMETERS
from echelon_models.train.inverse import Estimate
from echelon_models.train.phrase import RATE_HZ

Array = NDArray[np.float64]

GRID = np.linspace(0.0, 1.0, 1001)  # positions of a ratio
MODULATION = (0.7, 1.5, 3.0, 5.0)  # indices of the modulator that are tried, rad
OWN_SHARE = 0.6  # of the carrier's guessed index: its envelope lowers it over the note
WEAKEST_DB = -26.0  # partials below the strongest one that still count
CARRIERS, MODULATORS = 6, 12  # highest multiples of both ratios
LOWEST_HZ, HIGHEST_HZ = 40.0, 12000.0
LEAST_DB, MOST_DB = -15.0, 25.0  # what a line can say against and for a partial
PRIOR_WEIGHT = 3.0  # dB for each neper of the inverse's chance
APART = 3  # grid steps that two answers differ by, at least


class Note(NamedTuple):
    """Where a note of the probe phrase holds: when it begins in seconds, window in samples, pitch in Hz."""

    start_s: float
    window: int
    pitch_hz: float


HELD = (Note(0.02, 16384, 220.0), Note(0.7, 32768, 110.0))


def likely_ratios(sound: NDArray[np.float32], guess: Estimate, pair: int, count: int) -> Array:
    """Return positions of modulator and carrier, float64 (<= count, 2), the likeliest first.

    `sound` float32 (n, 2) at 48 kHz is a recording of the probe phrase; `pair` 0 or 1 says of which two operators the
    inverse's `guess` is asked how likely a ratio is.
    """
    ratios = np.array([PARAMETERS[0].value(each) for each in GRID])
    spectra = [_lines(sound, note) for note in HELD]
    best = np.full((len(GRID), len(GRID)), -np.inf, np.float32)
    own = OWN_SHARE * PARAMETERS[5 + 2 * pair].value(float(guess.position[5 + 2 * pair]))
    for index in MODULATION:
        _judge(best, ratios, _partials(index, own), *spectra[0], *spectra[1])
    for axis, lane in enumerate((2 * pair, 2 * pair + 1)):
        chance = _smooth(guess.chance[lane][np.minimum((GRID * guess.chance.shape[1]).astype(int), 23)])
        best += np.expand_dims(PRIOR_WEIGHT * np.log(chance + 1e-3), 1 - axis).astype(np.float32)
    return _peaks(best, count)


def _partials(modulator: float, carrier: float) -> Array:
    """Return the audible partials at these indices as rows (k, n, strength 0..1), float64 (partials, 3)."""
    size = 64
    phase = 2.0 * np.pi * np.arange(size) / size
    p_c, p_m = phase[:, None], phase[None, :]
    series = np.abs(np.fft.fft2(np.sin(p_c + modulator * np.sin(p_m) + carrier * np.sin(p_c))))
    rows = [
        (k, n, series[k, n % size])
        for k in range(CARRIERS + 1)
        for n in range(-MODULATORS, MODULATORS + 1)
        if k > 0 or n > 0
    ]
    found = np.array(rows)
    found[:, 2] /= found[:, 2].max()
    return np.ascontiguousarray(found[found[:, 2] > 10.0 ** (WEAKEST_DB / 20.0)])


def _lines(sound: NDArray[np.float32], note: Note) -> tuple[NDArray[np.float32], float, float]:
    """Return how far each bin stands out of a sixth of an octave around it, in dB, bin width and pitch in Hz."""
    begin = round(note.start_s * RATE_HZ)
    window = np.hanning(note.window + 1)[:-1, None]
    power = (np.abs(np.fft.rfft(sound[begin : begin + note.window] * window, axis=0)) ** 2).sum(1)
    level = 10.0 * np.log10(power / ((window**2).sum() * note.window) + 1e-10)
    total = np.concatenate(([0.0], np.cumsum(level)))
    bins = np.arange(len(level))
    low, high = np.maximum((0.8 * bins).astype(int) - 3, 0), np.minimum((1.25 * bins).astype(int) + 4, len(level))
    out = level - (total[high] - total[low]) / (high - low)
    return np.clip(out, LEAST_DB, MOST_DB).astype(np.float32), RATE_HZ / note.window, note.pitch_hz


@kernel
def _judge(
    best: NDArray[np.float32],
    ratios: Array,
    partials: Array,
    first: NDArray[np.float32],
    first_bin_hz: float,
    first_hz: float,
    second: NDArray[np.float32],
    second_bin_hz: float,
    second_hz: float,
) -> None:
    """Raise `best[m, c]` to what the lines of both notes say for the ratios m and c with these partials, mean dB."""
    for m in range(len(ratios)):
        for c in range(len(ratios)):
            total = 0.0
            weight = 0.0
            for row in range(partials.shape[0]):
                place = abs(partials[row, 0] * ratios[c] + partials[row, 1] * ratios[m])
                hz = place * first_hz
                if LOWEST_HZ < hz < HIGHEST_HZ:
                    total += partials[row, 2] * first[int(hz / first_bin_hz + 0.5)]
                    weight += partials[row, 2]
                hz = place * second_hz
                if LOWEST_HZ < hz < HIGHEST_HZ:
                    total += partials[row, 2] * second[int(hz / second_bin_hz + 0.5)]
                    weight += partials[row, 2]
            if weight > 0.3:  # many partials that fit say more than few
                best[m, c] = max(best[m, c], np.float32(total / weight * min(weight, 6.0) ** 0.5))


def _smooth(chance: Array, width: int = 41) -> Array:
    return np.convolve(np.pad(chance, width // 2, mode="edge"), np.full(width, 1.0 / width), "valid")


def _peaks(score: NDArray[Any], count: int) -> Array:
    """Return the positions of the highest local maxima, float64 (<= count, 2)."""
    padded = np.pad(score, APART, constant_values=-np.inf)
    around = np.lib.stride_tricks.sliding_window_view(padded, (2 * APART + 1, 1)).max((2, 3))
    around = np.lib.stride_tricks.sliding_window_view(around, (1, 2 * APART + 1)).max((2, 3))
    rows, columns = np.nonzero((score == around) & np.isfinite(score))
    order = np.argsort(score[rows, columns])[::-1][:count]
    return np.stack((GRID[rows[order]], GRID[columns[order]]), 1)
