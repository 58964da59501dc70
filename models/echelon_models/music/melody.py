"""Pitches for chosen steps: a bass on its chord, held voices, stabs, an arpeggio, a melody with motifs.

Every function takes the scene of a bar and rising steps 0..15 and returns a MIDI note for each. A step's pitch depends
on the step and the scene, not on which other steps sound, so a melody stays itself as it thins out.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from echelon_engine.band import BAND, BAND_LANE
from echelon_models.music import harmony
from echelon_models.music.patterns import BAR, chance

if TYPE_CHECKING:
    from echelon_models.music.arranger import Scene

PHRASE = 4
APPROACH_AT = 0.45  # of harmonic_tension: the bass leads into the next chord
LEADING_AT = 0.6  # the leading tone, where the style has one
FORM = (0, 0, 0, 1)  # which motif each bar of a phrase has: A A A B, varied at its end
_RANGE = BAND[BAND_LANE["melodic_range"]]


def tone(tones: tuple[int, ...], letter: str) -> tuple[int, int]:
    """Return the pitch class that a letter of `tones` means on a chord, and its octave against the root (-1, 0, 1).

    1 root, 3 third, 5 fifth, 7 and 2 (or 9) what the chord has beyond its triad, 8 and 0 the root an octave up and
    down. What the chord lacks is its root.
    """  # fmt: skip
    root = tones[0]
    if letter == "8":
        return root, 1
    if letter == "0":
        return root, -1
    index = {"3": 1, "4": 1, "5": 2, "6": 2, "7": 3, "2": 4, "9": 4}.get(letter, 0)
    return tones[min(index, len(tones) - 1)] if index < 3 or len(tones) > 3 else root, 0


def bass(scene: Scene, written: str, steps: list[int], low: int, high: int) -> dict[int, int]:
    """Return the bass: the written tones above the chord's lowest root, and a step into the next chord if tense."""
    found = {}
    next_root = scene.following.root
    for step in steps:
        tones = scene.tones(step)
        letter = written[step + (BAR if len(written) > BAR and scene.bar % 2 else 0)]
        base = harmony.near(1 << tones[0], low + 3, low, high)
        pc, octave = tone(tones, letter)
        pitch = base + (pc - tones[0]) % 12 + 12 * octave
        if step >= 14 and scene.heard.of("harmonic_tension") > APPROACH_AT and next_root != tones[0]:
            goal = harmony.near(1 << next_root, low + 3, low, high)
            scale = harmony.shifted(scene.style.scale, scene.style.root) & ~(1 << next_root)
            pitch = harmony.near(scale, goal + (1 if base > goal else -1), low, high)
        while pitch > high:
            pitch -= 12
        while pitch < low:
            pitch += 12
        found[step] = pitch
    return found


def held(scene: Scene, steps: list[int], was: int, low: int, high: int, taken: int, moves: bool) -> dict[int, int]:
    """Return held tones: by the shortest way from the pitch before, another one at each onset of a bar.

    The first may stay where it was unless it `moves`. `taken` are the pitch classes that other held voices have, left
    to them while the chord has others.
    """
    found = {}
    centre = (low + high) / 2
    last = was if moves else None
    for step in steps:
        bits = harmony.mask(scene.tones(step))
        free = bits & ~taken or bits
        last = was = harmony.near(free, 0.8 * was + 0.2 * centre, low, high, avoid=last)
        found[step] = was
    return found


def stabs(scene: Scene, written: str, steps: list[int], was: int, low: int, high: int) -> dict[int, int]:
    """Return the written tones of the chord, each as near as can be to the one before."""
    found = {}
    centre = (low + high) / 2
    for step in steps:
        letter = written[step + (BAR if len(written) > BAR and scene.bar % 2 else 0)]
        pc, octave = tone(scene.tones(step), letter)
        was = harmony.near(1 << pc, 0.7 * was + 0.3 * centre + 7 * octave, low, high)
        found[step] = was
    return found


def arpeggio(scene: Scene, shape: str, steps: list[int], low: int, high: int) -> dict[int, int]:
    """Return the chord broken in a shape over a range that follows `melodic_range`."""
    reach = max(_RANGE.value(scene.heard.of("melodic_range")), 6.0)
    centre = (low + high) / 2
    found = {}
    for step in steps:
        bits = harmony.mask(scene.tones(step))
        ladder = [p for p in range(low, high + 1) if bits >> p % 12 & 1 and abs(p - centre) <= reach] or [
            harmony.near(bits, centre, low, high)
        ]
        n = len(ladder)
        if shape == "up":
            i = step % n
        elif shape == "down":
            i = n - 1 - step % n
        elif shape == "broken":
            i = (step // 2 + 2 * (step % 2)) % n
        else:
            i = step % (2 * n - 2) if n > 1 else 0
            i = min(i, 2 * n - 2 - i)
        found[step] = ladder[i]
    return found


def lead(scene: Scene, seed: int, steps: list[int], low: int, high: int) -> dict[int, int]:
    """Return the melody: a motif's contour times `melodic_range`, on chord tones on the beat, in the scale between."""
    reach = _RANGE.value(scene.heard.of("melodic_range"))
    centre = (low + high) / 2
    theme = scene.bar // (4 * PHRASE)
    motif = FORM[scene.age % PHRASE]
    found = {}
    root = scene.style.root
    for step in steps:
        target = centre + reach * contour(seed, theme, motif, step)
        bits = harmony.mask(scene.tones(step))
        if step % 4:
            bits |= scene.style.melody
        pitch = harmony.near(bits, min(max(target, low), high), low, high)
        tense = scene.heard.of("harmonic_tension") > LEADING_AT and scene.style.leading_tone
        if tense and step >= 14 and scene.following.root == root:
            pitch = harmony.near(1 << (root - 1) % 12, pitch, low, high)
        found[step] = pitch
    return found


def contour(seed: int, theme: int, motif: int, step: int) -> float:
    """Return a motif's height, about -1..1, at a step: three slow waves whose shape the seed draws for each theme.

        h = 1.3 (sum a_k sin(2 pi (k s / 16 + phi_k))) / sum a_k,   k = 1, 2, 3,   a_k = (0.5 + u_k) / k^2
    """  # fmt: skip
    total = most = 0.0
    for k in (1, 2, 3):
        a = (0.5 + chance(seed, theme, motif, k, 5)) / (k * k)
        phi = chance(seed, theme, motif, k, 6)
        total += a * math.sin(2.0 * math.pi * (k * step / BAR + phi))
        most += a
    return 1.3 * total / most
