"""Tap tempo: the median of a few taps, and what is not one of them."""

from __future__ import annotations

import numpy as np
import pytest

from echelon_bridges.taps import Taps

MS = 1_000_000


def tapped(taps: Taps, *times_ms: float) -> list[float | None]:
    """Return what each tap gives."""
    return [taps.tap(round(ms * MS)) for ms in times_ms]


@pytest.mark.parametrize("bpm", [40.0, 97.5, 120.0, 174.0, 290.0])
def test_even_taps_are_their_tempo(bpm: float) -> None:
    """From the second tap on, the tempo is there, in tenths."""
    found = tapped(Taps(), *(i * 60_000 / bpm for i in range(10)))
    assert found[0] is None
    assert found[1:] == [pytest.approx(bpm, abs=0.06)] * 9


def test_the_median_of_uneven_taps() -> None:
    """Eight taps of a hand that is 20 ms off are within 2 % of what it means."""
    rng = np.random.default_rng(2)
    times = np.arange(8) * 500.0 + rng.uniform(-20, 20, 8)
    last = tapped(Taps(), *times)[-1]
    assert last == pytest.approx(120.0, rel=0.02)


def test_one_late_tap_does_not_count_for_much_and_old_ones_do_not_count() -> None:
    """A tap a third late is within the median; after eight taps at a new tempo close by, only that one is known."""
    taps = Taps()
    assert tapped(taps, 0, 500, 1000, 1650, 2000, 2500)[-1] == 120.0
    found = tapped(taps, *(2500 + i * 450 for i in range(1, 9)))
    assert found[-1] == pytest.approx(60_000 / 450, abs=0.06)
    assert len(taps) == 8


def test_a_pause_or_another_tempo_begins_anew() -> None:
    """After 2 s, or at twice or half the tempo, the tap is a first one."""
    taps = Taps()
    assert tapped(taps, 0, 500, 1000, 3100) == [None, 120.0, 120.0, None]
    assert tapped(taps, 3600, 4600) == [120.0, None]
    assert tapped(taps, 5600) == [60.0]
    assert tapped(taps, 5900) == [None]
    assert tapped(taps, 6200) == [200.0]


def test_a_bounce_is_no_tap() -> None:
    """A switch that closes twice, and two ways for one tap, count once."""
    assert tapped(Taps(), 0, 30, 500, 510, 1000) == [None, None, 120.0, None, 120.0]
