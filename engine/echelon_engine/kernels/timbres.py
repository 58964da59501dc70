"""The eight pitched voices of the ensemble as a table: which waves, which filter, how long; `pitched` plays any row.

A musician may turn every number here. Levels are linear, times in seconds (falls: by 60 dB), intervals in semitones.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LAYERS = 6  # oscillators of a voice, at most
BANDS = 4  # filters side by side, at most
LOWPASS, VOWELS, HARMONICS = 0, 1, 2  # what `bands` are: one low-pass, formants, or resonators over the pitch


class Layer(NamedTuple):
    """One oscillator: `interval` above the note, or the next tone of the chord above the layer before it."""

    interval: float = 0.0
    cents: float = 0.0
    level: float = 1.0
    pan: float = 0.0
    chord: float = 0.0  # 1: the next tone of the chord where one is known
    ratio: float = 1.0  # of its modulator, a whole number
    depth: float = 0.0  # radians of phase modulation at the top of the second envelope


class Timbre(NamedTuple):
    """A pitched voice at velocity mf."""

    layers: tuple[Layer, ...]
    level: float
    attack_s: float
    decay_s: float
    sustain: float
    release_s: float
    # second envelope: waves, index, filter
    mod_attack_s: float = 0.001
    mod_decay_s: float = 0.3
    mod_sustain: float = 0.0
    # waves: partials fall by 8.7 dB a `roll` beyond their 1 / k; from the rest to the top of the second envelope
    roll_hz: float = 600.0
    roll_top_hz: float = 6000.0
    # filter
    bank: float = LOWPASS
    cutoff_hz: float = 1000.0
    follow: float = 0.5  # octaves it moves per octave of pitch
    sweep: float = 0.0  # octaves at the top of the second envelope
    q: float = 0.7
    band: float = 0.0  # 0 low-pass .. 1 band-pass
    travel: float = 0.0  # octaves over the length of the note
    hardness: float = 1.0  # octaves from velocity 0.65 to 1
    drive: float = 0.0
    # noise
    noise: float = 0.0  # all along
    chiff: float = 0.0  # with the second envelope
    # pitch
    drop: float = 0.0  # semitones above (or below) at the onset
    drop_s: float = 0.02
    rise: float = 0.0  # semitones over the length of the note
    vibrato_hz: float = 5.0
    vibrato_cents: float = 0.0
    vibrato_after_s: float = 0.25
    # slow life
    drift_hz: float = 0.2
    drift: float = 0.0  # 0..1 how far layers and bands swell, each at its own pace
    swell: float = 0.0  # share of the note's length that the attack takes instead
    spread: float = 0.0  # 0..1 how far bands stand left and right


_WIDE = 0.85
BASS = Timbre(
    (
        Layer(level=0.9),
        Layer(level=0.45, ratio=1.0, depth=2.2),
        Layer(interval=12.0, level=0.12, ratio=2.0, depth=1.0),
        Layer(cents=4.0, level=0.16, pan=0.0),
    ),
    level=0.30, attack_s=0.002, decay_s=1.6, sustain=0.62, release_s=0.09,
    mod_decay_s=0.28, mod_sustain=0.12, roll_hz=220.0, roll_top_hz=2600.0,
    cutoff_hz=420.0, follow=0.35, sweep=2.6, q=0.95, hardness=1.1, drive=0.9, drop=7.0, drop_s=0.012,
)  # fmt: skip
PAD = Timbre(
    (
        Layer(level=0.55),
        Layer(level=0.36, cents=-6.0, pan=-_WIDE),
        Layer(level=0.36, cents=6.0, pan=_WIDE),
        Layer(interval=7.0, chord=1.0, level=0.42, cents=3.0, pan=-0.6),
        Layer(interval=12.0, chord=1.0, level=0.38, cents=-4.0, pan=0.6),
        Layer(interval=19.0, chord=1.0, level=0.24, cents=6.0, pan=-_WIDE),
    ),
    level=0.15, attack_s=0.38, decay_s=3.0, sustain=0.8, release_s=1.5,
    mod_attack_s=0.9, mod_decay_s=5.0, mod_sustain=0.6, roll_hz=900.0, roll_top_hz=4500.0,
    cutoff_hz=560.0, follow=0.4, sweep=1.9, q=0.75, hardness=0.7, noise=0.012,
    vibrato_hz=0.4, vibrato_cents=3.0, vibrato_after_s=0.1, drift_hz=0.23, drift=0.35,
)  # fmt: skip
LEAD = Timbre(
    (
        Layer(level=0.75),
        Layer(level=0.34, cents=7.0, pan=0.5),
        Layer(level=0.34, cents=-7.0, pan=-0.5),
        Layer(interval=12.0, level=0.16, cents=2.0, pan=0.25, ratio=1.0, depth=1.2),
    ),
    level=0.26, attack_s=0.012, decay_s=0.9, sustain=0.72, release_s=0.22,
    mod_attack_s=0.006, mod_decay_s=0.7, mod_sustain=0.45, roll_hz=1600.0, roll_top_hz=7000.0,
    cutoff_hz=950.0, follow=0.6, sweep=1.7, q=1.5, hardness=1.0, chiff=0.02,
    drop=-0.6, drop_s=0.035, vibrato_hz=5.4, vibrato_cents=24.0, vibrato_after_s=0.22,
)  # fmt: skip
STAB = Timbre(
    (
        Layer(level=0.55),
        Layer(level=0.3, cents=-7.0, pan=-0.7),
        Layer(level=0.3, cents=7.0, pan=0.7),
        Layer(interval=7.0, chord=1.0, level=0.5, cents=4.0, pan=-0.4),
        Layer(interval=12.0, chord=1.0, level=0.45, cents=-3.0, pan=0.4),
        Layer(interval=19.0, chord=1.0, level=0.3, cents=5.0, pan=0.0),
    ),
    level=0.30, attack_s=0.002, decay_s=0.75, sustain=0.0, release_s=0.25,
    mod_decay_s=0.36, mod_sustain=0.0, roll_hz=900.0, roll_top_hz=8000.0,
    cutoff_hz=420.0, follow=0.3, sweep=3.1, q=1.3, hardness=1.2, chiff=0.05,
)  # fmt: skip
ARP = Timbre(
    (
        Layer(level=0.8, ratio=2.0, depth=1.7),
        Layer(level=0.3, cents=5.0, pan=0.5, ratio=3.0, depth=0.9),
        Layer(interval=12.0, level=0.22, cents=-4.0, pan=-0.5, ratio=4.0, depth=0.8),
    ),
    level=0.34, attack_s=0.001, decay_s=0.75, sustain=0.0, release_s=0.3,
    mod_decay_s=0.14, mod_sustain=0.03, roll_hz=240.0, roll_top_hz=4200.0,
    cutoff_hz=1500.0, follow=0.7, sweep=2.0, q=0.8, hardness=1.2, chiff=0.10,
)  # fmt: skip
FX = Timbre(
    (
        Layer(level=0.16, cents=-9.0, pan=-0.7),
        Layer(level=0.16, cents=9.0, pan=0.7),
        Layer(interval=12.0, level=0.08, pan=0.0),
    ),
    level=0.42, attack_s=0.03, decay_s=4.0, sustain=0.9, release_s=0.35,
    mod_attack_s=0.02, mod_decay_s=3.0, mod_sustain=0.7, roll_hz=1200.0, roll_top_hz=5000.0,
    cutoff_hz=480.0, follow=0.3, sweep=0.4, q=2.6, band=1.0, travel=4.2, hardness=0.6, noise=0.85,
    rise=12.0, swell=0.8, drift_hz=3.0, drift=0.15,
)  # fmt: skip
VOX = Timbre(
    (
        Layer(level=0.6),
        Layer(level=0.3, cents=6.0, pan=0.7),
        Layer(level=0.3, cents=-5.0, pan=-0.7),
    ),
    level=0.55, attack_s=0.06, decay_s=1.4, sustain=0.85, release_s=0.3,
    mod_attack_s=0.05, mod_decay_s=0.8, mod_sustain=0.7, roll_hz=5000.0, roll_top_hz=9000.0,
    bank=VOWELS, follow=0.08, q=7.0, band=1.0, hardness=0.15, noise=0.035, chiff=0.03,
    drop=-0.4, drop_s=0.05, vibrato_hz=5.1, vibrato_cents=18.0, vibrato_after_s=0.3, drift_hz=0.4, drift=0.1,
    spread=0.3,
)  # fmt: skip
AMB = Timbre(
    (
        Layer(level=0.4),
        Layer(level=0.08, pan=0.7, cents=3.0),
        Layer(level=0.08, pan=-0.7, cents=-3.0),
        Layer(interval=12.0, level=0.05, pan=-_WIDE, cents=3.0),
        Layer(interval=19.0, level=0.04, pan=_WIDE, chord=1.0, cents=-3.0),
    ),
    level=0.8, attack_s=0.7, decay_s=4.0, sustain=0.85, release_s=2.4,
    mod_attack_s=1.2, mod_decay_s=4.0, mod_sustain=0.7, roll_hz=150.0, roll_top_hz=500.0,
    bank=HARMONICS, follow=1.0, q=22.0, band=1.0, hardness=0.0, noise=0.55, drift_hz=0.31, drift=0.8, spread=_WIDE,
    vibrato_hz=0.2, vibrato_cents=3.0, vibrato_after_s=0.1,
)  # fmt: skip
TIMBRES = (BASS, PAD, LEAD, STAB, ARP, FX, VOX, AMB)

_SCALARS = Timbre._fields[1:]
FIRST_LAYER = len(_SCALARS)
PER_LAYER = len(Layer._fields)
COLUMNS = FIRST_LAYER + LAYERS * PER_LAYER
(
    LEVEL, ATTACK, DECAY, SUSTAIN, RELEASE, MOD_ATTACK, MOD_DECAY, MOD_SUSTAIN, ROLL, ROLL_TOP, BANK, CUTOFF, FOLLOW,
    SWEEP, Q, BAND, TRAVEL, HARDNESS, DRIVE, NOISE, CHIFF, DROP, DROP_S, RISE, VIBRATO, VIBRATO_CENTS, VIBRATO_AFTER,
    DRIFT_HZ, DRIFT, SWELL, SPREAD,
) = range(FIRST_LAYER)  # fmt: skip
INTERVAL, CENTS, LAYER_LEVEL, PAN, CHORD, RATIO, INDEX = range(PER_LAYER)


def table() -> NDArray[np.float64]:
    """Return TIMBRES as numbers, float64 (8, COLUMNS): the scalars, then six layers, missing ones with level 0."""
    rows = [
        [*timbre[1:], *(x for layer in timbre.layers for x in layer)]
        + [0.0] * (PER_LAYER * (LAYERS - len(timbre.layers)))
        for timbre in TIMBRES
    ]
    return np.array(rows, np.float64)


TABLE = table()

# Formants of sung vowels, Hz and linear level behind a source that falls by 6 dB/octave (after the alto and tenor
# tables of the Csound manual, appendix D): ah, eh, oh, oo.
VOWEL_HZ = np.array(
    [
        [750.0, 1150.0, 2800.0, 3600.0],
        [430.0, 1650.0, 2650.0, 3400.0],
        [450.0, 820.0, 2700.0, 3500.0],
        [330.0, 680.0, 2500.0, 3500.0],
    ]
)
VOWEL_LEVEL = np.array(
    [
        [1.0, 0.75, 0.35, 0.22],
        [1.0, 0.55, 0.35, 0.22],
        [1.0, 0.55, 0.20, 0.12],
        [1.0, 0.40, 0.14, 0.08],
    ]
)
# from which vowel to which a note moves: the next note of a voice takes the next pair
VOWEL_PATH = np.array([[0, 2], [1, 0], [2, 0], [3, 0], [0, 1], [2, 1]], np.int64)
PATHS = 6
# Resonators of the airy voice: multiples of the pitch, and their levels
HARMONIC = np.array([1.0, 2.0, 3.0, 5.0])
HARMONIC_LEVEL = np.array([0.9, 0.8, 0.55, 0.45])
LOG2_LOWEST = math.log2(10.0)  # the filter table of `svf` begins at 10 Hz
