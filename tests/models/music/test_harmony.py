"""Chords from numerals against textbooks, what tension adds, and pitches by the shortest way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echelon_engine.scales import SCALES
from echelon_models.music import harmony
from echelon_models.music.harmony import HarmonyError, chord, mask, near, pitch_class


def notes(*names: str) -> tuple[int, ...]:
    """Return pitch classes of names."""
    return tuple(pitch_class(name) for name in names)


@pytest.mark.parametrize(
    ("numeral", "root", "scale", "tones"),
    [
        ("i", "A", "minor", ("A", "C", "E")),
        ("VI", "A", "minor", ("F", "A", "C")),
        ("VII", "A", "minor", ("G", "B", "D")),
        ("V", "A", "minor", ("E", "G#", "B")),
        ("vii°", "C", "major", ("B", "D", "F")),
        ("V7", "C", "major", ("G", "B", "D", "F")),
        ("IV", "D", "dorian", ("G", "B", "D")),
        ("II", "F", "phrygian", ("Gb", "Bb", "Db")),
        ("Isus4", "C", "major", ("C", "F", "G")),
        ("bVII", "C", "major", ("Bb", "D", "F")),
        ("i9", "D", "dorian", ("D", "F", "A", "C", "E")),
        ("I5", "C", "major", ("C", "G")),
    ],
)
def test_numerals_are_the_chords_of_the_textbook(numeral: str, root: str, scale: str, tones: tuple[str, ...]) -> None:
    """Numerals count the degrees of the scale as it is; case says major or minor."""
    assert chord(numeral, pitch_class(root), SCALES[scale]).tones == notes(*tones)


def test_tension_adds_sevenths_ninths_and_suspensions_of_the_scale() -> None:
    """More tension means more tones, the third gives way last, and all of them are in the scale."""
    found = chord("i", pitch_class("A"), SCALES["minor"])
    assert found.at(0.0) == notes("A", "C", "E")
    assert found.at(0.5) == notes("A", "C", "E", "G")
    assert found.at(0.7) == notes("A", "C", "E", "G", "B")
    assert found.at(1.0) == notes("A", "D", "E", "G", "B")


@given(
    st.sampled_from([name for name, bits in SCALES.items() if bits.bit_count() == 7]),
    st.integers(0, 11),
    st.sampled_from(harmony.DEGREES),
    st.floats(0.0, 1.0),
)
def test_what_tension_adds_stays_in_the_scale(scale: str, root: int, degree: str, tension: float) -> None:
    """Whatever a diatonic chord gains is in its scale, at any tension, in any key."""
    for numeral in (degree, degree.upper(), degree + "°"):
        found = chord(numeral, root, SCALES[scale])
        if not harmony.outside(found, root, SCALES[scale]):
            assert not mask(found.at(tension)) & ~harmony.shifted(SCALES[scale], root)


@pytest.mark.parametrize("numeral", ["", "H", "viii", "Iv", "i13", "bb", "iii!", "i" * 4])
def test_a_numeral_that_is_none_is_refused(numeral: str) -> None:
    """What is no chord is refused by its own text."""
    with pytest.raises(HarmonyError, match="chord"):
        chord(numeral, 0, SCALES["minor"])


def test_chords_need_seven_degrees() -> None:
    """A pentatonic scale has no seventh degree to count to."""
    with pytest.raises(HarmonyError, match="seven degrees"):
        chord("i", 0, SCALES["minor_pentatonic"])


@given(st.integers(1, 4095), st.floats(30.0, 90.0), st.integers(36, 60), st.integers(11, 24), st.integers(36, 84))
def test_near_is_the_nearest(bits: int, target: float, low: int, span: int, avoid: int) -> None:
    """`near` finds what a search over all pitches finds, avoids one where it can, and stays in its register."""
    high = low + span
    inside = [p for p in range(low, high + 1) if bits >> p % 12 & 1]
    others = [p for p in inside if p != avoid] or inside
    assert abs(near(bits, target, low, high, avoid) - target) == pytest.approx(min(abs(p - target) for p in others))
    assert near(bits, target, low, high) in inside
