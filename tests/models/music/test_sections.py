"""The form: sections by drive, with least lengths, an end in silence and a beginning at once."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from echelon_models.music.sections import (
    BREAKDOWN,
    BUILD,
    CLIMAX,
    GROOVE,
    INTRO,
    LEAST_BARS,
    OUTRO,
    QUIET,
    SECTIONS,
    Form,
)


def walk(energies: list[float], active: bool = True, form: Form | None = None, first: int = 0) -> list[int]:
    """Return the sections of bars with these energies (m/s)."""
    form = form or Form()
    found = []
    for bar, energy in enumerate(energies, first):
        form.advance(bar, energy, min(energy, 0.6), 0.8, active)
        found.append(form.section)
    return found


def test_a_dance_passes_through_all_sections_in_order() -> None:
    """Rising, holding, falling: Intro, Groove, Build, Climax, Breakdown, and up again."""
    wave = [0.1] * 4 + [0.3] * 6 + [0.6] * 4 + [1.2] * 8 + [0.08] * 4 + [0.4] * 6 + [1.3] * 8
    passed = walk(wave)
    order = [section for i, section in enumerate(passed) if i == 0 or passed[i - 1] != section]
    assert order[:5] == [INTRO, GROOVE, BUILD, CLIMAX, BREAKDOWN]
    assert CLIMAX in order[5:]


def test_a_gentle_body_has_a_climax_too() -> None:
    """Drive is measured against what this body does: a tenth of the energy passes through the same sections."""
    wave = ([0.05] * 4 + [0.1] * 4 + [0.2] * 8) * 4
    assert CLIMAX in walk(wave)


def test_rest_ends_the_piece_and_motion_begins_it_again() -> None:
    """A body that rests brings the Outro at the next bar, odd or even; one that moves again brings the Intro."""
    form = Form()
    walk([0.6] * 11, form=form)
    assert walk([0.0] * 9, active=False, form=form, first=11) == [OUTRO] * 9
    assert walk([0.3], form=form, first=20) == [INTRO]
    assert form.age == 0


def test_the_piece_begins_whether_somebody_moves_or_not() -> None:
    """The first bars are an Intro; where nobody comes it ends."""
    assert walk([0.0] * 10, active=False) == [INTRO] * LEAST_BARS[INTRO] + [OUTRO] * 6


@given(st.lists(st.floats(0.0, 3.0), min_size=1, max_size=120), st.integers(0, 1))
def test_sections_last(energies: list[float], odd: int) -> None:
    """Sections change on even bars and last their least number of bars, or two when the drive is gone."""
    form = Form()
    began, before = 0, -1
    for bar, energy in enumerate(energies, odd):
        form.advance(bar, energy, 0.3, 0.5, True)
        assert 0.0 <= form.drive <= 1.0
        if before >= 0 and form.section != before:
            assert bar % 2 == 0
            assert bar - began >= (2 if form.drive < QUIET else LEAST_BARS[before])
            began = bar
        before = form.section
    assert SECTIONS[form.section]


def test_hysteresis() -> None:
    """An energy that trembles around a threshold does not make sections tremble."""
    form = Form()
    walk([0.1, 0.8] * 6 + [0.1] * 4, form=form)
    passed = walk([0.35, 0.40] * 12, form=form, first=16)
    changes = sum(a != b for a, b in pairwise(passed))
    assert changes <= 2
