"""The clock's tempo: what people set holds at once, what is followed is followed smoothly and within bounds."""

from typing import Any

import numpy as np
import pytest

from echelon_engine.kernels import tempo

DT = 1.0 / 60.0


def begun(bpm: float) -> Any:
    """Return a TEMPO record that stands at `bpm`."""
    state = np.zeros(1, tempo.TEMPO)[0]
    tempo.init(state, bpm)
    return state


class Following:
    """A clock that follows; `go` lets it run and returns the tempo of each control frame."""

    def __init__(self, source: int, bpm: float) -> None:
        self.state, self.source, self.beat = begun(bpm), source, 0.0
        self.motion_phase = 0.0

    def go(self, seconds: float, motion_bpm: float, sure: float = 1.0, style: tuple[float, float, float] = (0, 0, 0)):
        """Run; the motion beats evenly at `motion_bpm`."""
        found = []
        for _ in range(round(seconds / DT)):
            low, default, high = style
            tempo.step(
                self.state, self.source, 100.0, default, low, high, motion_bpm, self.motion_phase, sure, self.beat, DT
            )
            self.motion_phase = (self.motion_phase + motion_bpm / 60.0 * DT) % 1.0
            self.beat += float(self.state["bpm"]) / 60.0 * DT
            found.append(float(self.state["bpm"]))
        return np.array(found)


def test_a_fixed_tempo_is_there_at_once() -> None:
    """What people set needs no time."""
    assert (Following(tempo.FIXED, 77.0).go(0.1, 130.0) == 100.0).all()


def test_a_style_is_approached_evenly() -> None:
    """From one style's tempo to the next it glides, then stands."""
    found = Following(tempo.STYLE, 100.0).go(5.0, 0.0, style=(118.0, 124.0, 130.0))
    assert np.diff(found).max() <= tempo.GLIDE * DT + 1e-9
    assert found[-1] == 124.0


def test_a_performer_is_followed_into_phase() -> None:
    """Within half a minute the tempo is the motion's, and beats fall on the motion's beats."""
    clock = Following(tempo.PERFORMER, 120.0)
    clock.beat = 0.37
    found = clock.go(40.0, 108.0, style=(100.0, 110.0, 130.0))
    assert np.abs(np.diff(found)).max() < 2.0  # never a jump
    assert abs(found[-1] - 108.0) < 0.5
    assert abs(tempo.wrapped(clock.beat - clock.motion_phase)) < 0.03


@pytest.mark.parametrize(("motion", "played"), [(55.0, 110.0), (216.0, 108.0), (27.0, 108.0), (95.0, 100.0)])
def test_tempi_are_folded_into_the_range_of_the_style(motion: float, played: float) -> None:
    """Half and double tempo mean the same; what has no octave in the range comes as near as it may."""
    found = Following(tempo.PERFORMER, 105.0).go(60.0, motion, style=(100.0, 110.0, 130.0))
    assert abs(found[-300:].mean() - played) < 0.5 + (played == 100.0) * 4.0


def test_a_doubtful_rhythm_is_not_followed() -> None:
    """Without commitment the tempo stays."""
    assert (Following(tempo.PERFORMER, 121.0).go(2.0, 100.0, sure=0.1) == 121.0).all()


def test_an_external_clock_is_followed_and_its_loss_changes_nothing() -> None:
    """Tempo and phase are the external clock's; when it falls silent the tempo stays."""
    clock = Following(tempo.EXTERNAL, 100.0)
    beat = 0.25
    for _ in range(20 * 6):
        tempo.heard(clock.state, 126.0, beat % 1.0)
        clock.go(0.1 + 1e-9, 0.0)
        beat += 0.1 * 126.0 / 60.0
    assert abs(float(clock.state["bpm"]) - 126.0) < 0.5
    assert abs(tempo.wrapped(clock.beat - beat)) < 0.05
    before = float(clock.state["followed"])
    assert abs(clock.go(5.0, 0.0)[-1] - before) < 0.01


@pytest.mark.parametrize("wrong", [np.nan, -3.0, 0.0, 1e9])
def test_what_no_clock_says_is_not_heard(wrong: float) -> None:
    """Impossible tempi and phases change nothing."""
    state = begun(100.0)
    tempo.heard(state, wrong, 0.5)
    tempo.heard(state, 120.0, wrong if wrong != 0.0 else 2.0)
    assert state["external_bpm"] == 0.0
