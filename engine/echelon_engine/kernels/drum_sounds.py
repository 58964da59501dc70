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
    length_s: float = 10.0  # it ends then if it has not decayed before
    close_s: float = 0.01  # within that long, as a hat closes


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
LENGTH = BAND + BANDS * BAND_COLUMNS
CLOSE = LENGTH + 1
COLUMNS = CLOSE + 1


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
            sound.length_s,
            sound.close_s,
        ],
        np.float64,
    )


MEMBRANE = (1.0, 1.594, 2.136, 2.296, 2.653, 2.918)  # zeros of the Bessel functions: an ideal circular membrane

SOUNDS: dict[str, Sound] = {
    "bd": Sound(
        pitch_hz=55.4,
        level=1.22,
        ratios=(1.0, 1.6, 2.1),
        levels=(0.681, 0.105, 0.0821),
        decays_s=(0.334, 0.118, 0.0526),
        glide=2.19,
        glide_s=0.011,
        attack_s=0.000295,
        drive=0.819,
        noise=Band(level=0.163, cutoff_hz=838.0, q=0.749, low=1.0, attack_s=0.000606, fast_s=0.046),
        click=Band(level=0.918, cutoff_hz=1520.0, q=0.609, low=1.0, attack_s=0.000333, fast_s=0.00546),
    ),
    "sd": Sound(
        pitch_hz=166.0,
        level=0.791,
        ratios=(1.0, 0.885, 1.85, 2.03),
        levels=(0.55, 0.338, 0.136, 0.0621),
        decays_s=(0.174, 0.0953, 0.0896, 0.0706),
        glide=0.338,
        glide_s=0.00929,
        attack_s=0.000144,
        drive=0.528,
        noise=Band(
            level=1.16,
            cutoff_hz=3330.0,
            q=1.29,
            band=1.0,
            high=0.12,
            attack_s=0.000602,
            fast_s=0.224,
            slow_s=0.204,
            slow=0.919,
        ),
        click=Band(level=0.488, cutoff_hz=9420.0, q=0.408, low=1.0, attack_s=0.000176, fast_s=0.0176),
    ),
    "hh": Sound(
        pitch_hz=1710.0,
        level=1.08,
        ratios=(1.0, 1.02, 2.26, 1.62, 2.47, 3.37, 2.11, 8.43),
        levels=(0.0533, 0.129, 0.135, 0.146, 0.067, 0.0221, 0.1, 0.146),
        decays_s=(0.116, 0.182, 0.164, 0.111, 0.16, 0.251, 0.146, 0.13),
        attack_s=0.000367,
        bend=0.753,
        bend_ratio=1.32,
        bend_s=7.56,
        route=1.0,
        noise=Band(
            level=1.29,
            cutoff_hz=4040.0,
            q=1.68,
            band=0.924,
            high=0.364,
            attack_s=0.000473,
            fast_s=0.168,
            slow_s=0.198,
            slow=0.174,
        ),
        click=Band(
            level=0.506, cutoff_hz=1020.0, q=0.4, band=1.0, attack_s=0.000549, fast_s=0.00696, slow_s=0.197, slow=0.95
        ),
    ),
    "oh": Sound(
        pitch_hz=1060.0,
        level=1.3,
        ratios=(1.0, 1.2, 4.79, 2.78, 2.78, 8.9, 8.63, 3.01),
        levels=(0.0286, 0.0656, 0.14, 0.0984, 0.0941, 0.142, 0.251, 0.078),
        decays_s=(1.51, 0.624, 0.658, 0.903, 0.642, 1.28, 0.725, 1.18),
        attack_s=0.000101,
        bend=0.529,
        bend_ratio=1.21,
        bend_s=6.31,
        route=1.0,
        length_s=0.451,
        close_s=0.264,
        noise=Band(
            level=2.31,
            cutoff_hz=4430.0,
            q=0.949,
            band=0.381,
            high=0.098,
            attack_s=0.000278,
            fast_s=0.153,
            slow_s=1.05,
            slow=0.95,
        ),
        click=Band(
            level=0.351, cutoff_hz=767.0, q=0.906, band=1.0, attack_s=0.000158, fast_s=0.0514, slow_s=1.03, slow=0.407
        ),
    ),
    "cp": Sound(
        pitch_hz=1000.0,
        level=0.391,
        ratios=(1.0,),
        levels=(0.0,),
        decays_s=(0.01,),
        bursts=4.0,
        spacing_s=0.0125,
        noise=Band(
            level=9.83,
            cutoff_hz=1270.0,
            q=1.1,
            band=1.0,
            high=0.0078,
            attack_s=0.00148,
            fast_s=0.0298,
            slow_s=0.455,
            slow=0.245,
        ),
        click=Band(level=0.321, cutoff_hz=2020.0, q=0.651, band=1.0, attack_s=0.0282, fast_s=0.149),
    ),
    "rim": Sound(
        pitch_hz=375.0,
        level=0.902,
        ratios=(1.0, 4.03, 2.44, 11.1),
        levels=(0.2, 1.6, 0.3, 0.399),
        decays_s=(0.0313, 0.0231, 0.0525, 0.0188),
        attack_s=4.52e-05,
        drive=1.74,
        noise=Band(level=0.629, cutoff_hz=995.0, q=0.546, band=1.0, attack_s=0.000417, fast_s=0.136),
        click=Band(level=0.125, cutoff_hz=5760.0, q=1.21, low=1.0, attack_s=0.00068, fast_s=0.00483),
    ),
    "tom": Sound(
        pitch_hz=140.0,
        level=0.458,
        ratios=MEMBRANE,
        levels=(2.57, 0.145, 0.0624, 0.0707, 0.0837, 0.0468),
        decays_s=(0.354, 0.124, 0.51, 0.116, 0.358, 0.0335),
        glide=0.135,
        glide_s=0.048,
        attack_s=0.000529,
        drive=0.28,
        noise=Band(level=0.103, cutoff_hz=2410.0, q=0.4, low=1.0, attack_s=0.000906, fast_s=0.105),
        click=Band(level=3.42, cutoff_hz=2480.0, q=0.78, low=1.0, attack_s=0.000264, fast_s=0.00386),
    ),
    "perc": Sound(
        pitch_hz=304.0,
        level=0.625,
        ratios=MEMBRANE,
        levels=(1.56, 0.162, 0.172, 0.0676, 0.0917, 0.0701),
        decays_s=(0.271, 0.00987, 0.0263, 0.0377, 0.0366, 0.0147),
        glide=0.144,
        glide_s=0.0171,
        attack_s=0.000202,
        drive=0.146,
        noise=Band(level=0.111, cutoff_hz=1910.0, q=0.587, band=1.0, attack_s=0.000812, fast_s=0.0328),
        click=Band(level=0.168, cutoff_hz=4520.0, q=0.871, low=1.0, attack_s=0.000513, fast_s=0.00226),
    ),
}
DRUMS = tuple(SOUNDS)  # in the order of the tokens 50..57
TABLE = np.stack([row(sound) for sound in SOUNDS.values()])
