"""The eight drum sounds as a table: which body, which noise, how long; `drums` plays any row of it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MODES = 8
BANDS = 2


class Band(NamedTuple):
    """Noise through a state-variable filter under an envelope of two decays."""

    level: float = 0.0
    cutoff_hz: float = 1000.0
    q: float = 0.7
    low: float = 0.0  # outputs of the filter
    band: float = 0.0
    high: float = 0.0
    attack_s: float = 0.0005
    fast_s: float = 0.05  # decay by 60 dB
    slow_s: float = 0.1
    slow: float = 0.0  # share of the slow decay


class Sound(NamedTuple):
    """A drum at velocity 0.8: modes of a struck body, bent by one another, and two bands of noise."""

    pitch_hz: float  # of a mode with ratio 1
    level: float
    ratios: tuple[float, ...]
    levels: tuple[float, ...]
    decays_s: tuple[float, ...]  # by 60 dB
    noise: Band
    click: Band
    glide: float = 0.0  # pitch at the blow above the pitch at rest, as a share of it
    glide_s: float = 0.02  # time constant of its fall
    attack_s: float = 0.0003
    bend: float = 0.0  # phase modulation of each mode by its third neighbour, turns
    bend_ratio: float = 1.0
    bend_s: float = 0.05  # decay by 60 dB
    route: float = 0.0  # share of the body that goes through the filter of the noise
    drive: float = 0.0
    bursts: float = 1.0  # how often the fast decay of the noise starts
    spacing_s: float = 0.01


# columns of the table
_SCALARS = (
    *("pitch_hz", "level", "glide", "glide_s", "attack_s", "bend", "bend_ratio", "bend_s", "route", "drive"),
    *("bursts", "spacing_s"),
)
PITCH, LEVEL, GLIDE, GLIDE_S, ATTACK, BEND, BEND_RATIO, BEND_S, ROUTE, DRIVE, BURSTS, SPACING = range(12)
RATIO = 12
MODE_LEVEL = RATIO + MODES
MODE_DECAY = MODE_LEVEL + MODES
BAND = MODE_DECAY + MODES
BAND_COLUMNS = len(Band._fields)
B_LEVEL, B_CUTOFF, B_Q, B_LOW, B_BAND, B_HIGH, B_ATTACK, B_FAST, B_SLOW, B_SHARE = range(BAND_COLUMNS)
COLUMNS = BAND + BANDS * BAND_COLUMNS


def row(sound: Sound) -> NDArray[np.float64]:
    """Return a sound as one row of the table, float64 (COLUMNS,); missing modes are silent."""

    def padded(values: tuple[float, ...], with_value: float) -> list[float]:
        return [*values, *[with_value] * (MODES - len(values))]

    return np.array(
        [
            *(getattr(sound, name) for name in _SCALARS),
            *padded(sound.ratios, 1.0),
            *padded(sound.levels, 0.0),
            *padded(sound.decays_s, 0.01),
            *sound.noise,
            *sound.click,
        ],
        np.float64,
    )


MEMBRANE = (1.0, 1.594, 2.136, 2.296, 2.653, 2.918)  # zeros of the Bessel functions: an ideal circular membrane
METAL = (1.0, 1.483, 1.932, 2.546, 2.630, 3.897, 5.121, 6.747)

SOUNDS: dict[str, Sound] = {
    "bd": Sound(
        pitch_hz=52.0,
        level=0.9,
        ratios=(1.0, 1.6, 2.1),
        levels=(1.0, 0.12, 0.05),
        decays_s=(0.55, 0.12, 0.06),
        glide=2.6,
        glide_s=0.018,
        drive=1.0,
        noise=Band(level=0.1, cutoff_hz=900.0, low=1.0, fast_s=0.04),
        click=Band(level=0.35, cutoff_hz=3500.0, low=1.0, fast_s=0.008),
    ),
    "sd": Sound(
        pitch_hz=185.0,
        level=0.8,
        ratios=(1.0, 1.75, 2.3, 3.1),
        levels=(0.6, 0.3, 0.1, 0.05),
        decays_s=(0.22, 0.14, 0.08, 0.05),
        glide=0.35,
        glide_s=0.012,
        drive=0.5,
        noise=Band(level=0.55, cutoff_hz=2400.0, q=0.6, band=0.6, high=0.5, fast_s=0.16, slow_s=0.3, slow=0.35),
        click=Band(level=0.6, cutoff_hz=6000.0, low=1.0, fast_s=0.01),
    ),
    "hh": Sound(
        pitch_hz=3300.0,
        level=0.8,
        ratios=METAL,
        levels=(0.2,) * 8,
        decays_s=(0.07,) * 8,
        bend=0.4,
        bend_ratio=1.37,
        bend_s=5.0,
        route=1.0,
        noise=Band(level=0.4, cutoff_hz=8200.0, q=0.9, high=1.0, fast_s=0.05, slow_s=0.11, slow=0.3),
        click=Band(level=0.3, cutoff_hz=10000.0, high=1.0, fast_s=0.008),
    ),
    "oh": Sound(
        pitch_hz=3300.0,
        level=0.8,
        ratios=METAL,
        levels=(0.2,) * 8,
        decays_s=(0.7,) * 8,
        bend=0.4,
        bend_ratio=1.37,
        bend_s=5.0,
        route=1.0,
        noise=Band(level=0.4, cutoff_hz=8000.0, q=0.9, high=1.0, fast_s=0.3, slow_s=0.8, slow=0.5),
        click=Band(level=0.3, cutoff_hz=10000.0, high=1.0, fast_s=0.01),
    ),
    "cp": Sound(
        pitch_hz=1000.0,
        level=0.9,
        ratios=(1.0,),
        levels=(0.0,),
        decays_s=(0.01,),
        noise=Band(
            level=1.2, cutoff_hz=1150.0, q=1.6, band=1.0, high=0.15, attack_s=0.001, fast_s=0.03, slow_s=0.3, slow=0.25
        ),
        click=Band(level=0.2, cutoff_hz=3000.0, band=1.0, attack_s=0.02, fast_s=0.12),
        bursts=4.0,
        spacing_s=0.0105,
    ),
    "rim": Sound(
        pitch_hz=480.0,
        level=0.8,
        ratios=(1.0, 3.5, 5.3, 7.9),
        levels=(0.5, 0.8, 0.4, 0.2),
        decays_s=(0.03, 0.04, 0.025, 0.02),
        drive=1.5,
        attack_s=0.0001,
        noise=Band(level=0.2, cutoff_hz=4000.0, band=1.0, fast_s=0.02),
        click=Band(level=0.5, cutoff_hz=7000.0, low=1.0, fast_s=0.004),
    ),
    "tom": Sound(
        pitch_hz=112.0,
        level=0.8,
        ratios=MEMBRANE,
        levels=(1.0, 0.35, 0.2, 0.1, 0.1, 0.05),
        decays_s=(0.6, 0.35, 0.2, 0.15, 0.1, 0.1),
        glide=0.35,
        glide_s=0.05,
        drive=0.5,
        noise=Band(level=0.15, cutoff_hz=800.0, low=1.0, fast_s=0.1),
        click=Band(level=0.3, cutoff_hz=3000.0, low=1.0, fast_s=0.012),
    ),
    "perc": Sound(
        pitch_hz=315.0,
        level=0.8,
        ratios=MEMBRANE,
        levels=(1.0, 0.3, 0.15, 0.1, 0.08, 0.05),
        decays_s=(0.28, 0.12, 0.09, 0.07, 0.05, 0.05),
        glide=0.08,
        glide_s=0.03,
        drive=0.3,
        noise=Band(level=0.1, cutoff_hz=2000.0, band=1.0, fast_s=0.03),
        click=Band(level=0.4, cutoff_hz=4000.0, low=1.0, fast_s=0.006),
    ),
}
DRUMS = tuple(SOUNDS)  # in the order of the tokens 50..57
TABLE = np.stack([row(sound) for sound in SOUNDS.values()])
