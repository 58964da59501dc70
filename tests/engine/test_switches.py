"""What is switched while the band plays: on its bar line where it has one, without a click, and no note stays."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from measures import measures
from numpy.typing import NDArray

from echelon_engine import offline
from echelon_engine.memory import GRID
from echelon_engine.vocabulary import MODES, TRACK_NAMES

sounds = measures("audio_measures")
RATE = 48000
KICK, BASS, PAD = (TRACK_NAMES.index(name) for name in ("kick", "bass", "pad"))
BD, A2, E4, HALF_NOTE = 50, 10, 29, 72  # tokens


def grid(number: int = 1) -> NDArray[Any]:
    """Return an empty GRID (1,)."""
    made = np.zeros(1, GRID)
    made["number"], made["tempo_bpm"], made["swing"] = number, 120.0, 0.5
    return made


def held(number: int = 1) -> NDArray[Any]:
    """Return a GRID (1,) with half notes of bass and pad that sound on over the bar line."""
    made = grid(number)
    for track, token in ((BASS, A2), (PAD, E4)):
        made["cell"][0, track, [5, 12, 20, 28]] = token
        made["cell"][0, track, 4] = HALF_NOTE
    return made


class Asking:
    """Both who composes and who switches: the same grid, or another from bar 1 on; settings as told, at their beats."""

    def __init__(self, settings: Any, first: NDArray[Any], second: NDArray[Any] | None = None) -> None:
        self._settings, self._first, self._second = settings[0].copy(), first, second
        self.due: list[tuple[float, str, int | None, float]] = []

    def first(self) -> NDArray[Any]:
        """Return the first grid."""
        return self._first

    def feed(self, records: NDArray[Any], settings: Any) -> NDArray[Any] | None:
        """Return the second grid a beat before bar 1, once."""
        answer = None
        if len(records) and records["beat"][-1] >= 3.0:
            answer, self._second = self._second, None
        return answer

    def ask(self, records: NDArray[Any]) -> Any | None:
        """Return the settings that are due."""
        asked = None
        while self.due and len(records) and records["beat"][-1] >= self.due[0][0]:
            _, field, track, value = self.due.pop(0)
            if track is None:
                self._settings[field] = value
            else:
                self._settings[field][track] = value
            asked = self._settings
        return asked


@pytest.fixture
def play(settings, weights) -> Callable[..., offline.Rendering]:
    """Render the band alone, with what is switched: (beat, field, track or None, value)."""
    settings["notes_from_motion"] = 0
    settings["tempo_bpm"], settings["tempo_source"] = 120.0, 0

    def rendered(
        first: NDArray[Any],
        *due: tuple[float, str, int | None, float],
        second: NDArray[Any] | None = None,
        seconds: float = 3.6,
        frames: NDArray[Any] | None = None,
    ) -> offline.Rendering:
        asking = Asking(settings, first, second)
        asking.due = sorted(due)
        bodies = np.zeros(0, offline.LIMB_FRAME) if frames is None else frames
        done = offline.render(bodies, seconds, settings[0], weights, composer=asking, ask=asking.ask)
        assert not asking.due
        return done

    return rendered


def test_another_style_sounds_so_from_its_first_attack(play) -> None:
    """The first kick of a style that has it louder is as loud as if the style before had had it so, too."""
    quiet, loud, after = grid(1), grid(1), grid(2)
    quiet["level_db"][0, KICK], quiet["pan"][0, KICK] = -24.0, 0.8
    after["cell"][0, KICK, [16, 20]] = BD
    switched, same = play(quiet, second=after), play(loud, second=after)
    peak = np.abs(same.sound[2 * RATE : 2 * RATE + 4800]).max()
    assert peak > 0.02
    assert np.abs(switched.sound - same.sound).max() < 0.005 * peak  # the band's parameters are on their way, too


def test_another_style_does_not_click_in_what_still_sounds(play) -> None:
    """Levels and places that a style changes at its bar line move under held notes without a click."""
    before, after = held(1), held(2)
    after["level_db"][0, [BASS, PAD]], after["pan"][0, [BASS, PAD]] = -12.0, (0.9, -0.9)
    done = play(before, second=after, seconds=2.4)
    at = slice(2 * RATE - 480, 2 * RATE + 2400)
    assert np.abs(done.sound[at]).max() > 0.02
    assert not [t for t in sounds.clicks(done.sound, RATE) if 1.9 < t < 2.2]


def test_mode_waits_for_the_bar_line(play, dance) -> None:
    """A mode asked for in the middle of a bar moves nothing before the bar line, and is in the records from there."""
    plain = play(held(), seconds=3.0, frames=dance)
    other = (MODES.index("rules") + int(plain.records["mode"][0]) + 1) % 2
    changed = play(held(), (1.3, "mode", None, other), seconds=3.0, frames=dance)
    line = int(np.searchsorted(changed.records["sample"], 2 * RATE, side="right"))
    assert (changed.records["mode"][:line] == plain.records["mode"][0]).all()
    assert (changed.records["mode"][line + 1 :] == other).all()
    differs = np.flatnonzero((changed.sound != plain.sound).any(axis=1))
    assert differs[0] >= 2 * RATE


@pytest.mark.parametrize(
    "due",
    [
        [(2.3, "track_mute", PAD, 1), (2.9, "track_mute", PAD, 0)],
        [(2.3, "track_solo", BASS, 1), (2.9, "track_solo", BASS, 0)],
        [(2.3, "track_db", BASS, -60.0), (2.6, "track_db", BASS, 6.0), (3.3, "track_db", BASS, 0.0)],
        [(2.3, "track_pan", PAD, -1.0), (2.6, "track_pan", PAD, 1.0)],
        [(2.3, "band", None, 0), (2.9, "band", None, 1)],
        [(2.3, "band_db", None, -40.0), (2.7, "band_db", None, 6.0)],
        [(2.3, "tempo_bpm", None, 171.0), (3.1, "tempo_source", None, 1)],
        [(2.3, "mode", None, 0), (2.3, "swing", None, 0.7)],
    ],
    ids=lambda due: due[0][1],
)
def test_switches_under_held_notes_do_not_click(play, due) -> None:
    """Whatever is switched while notes sound, only their attacks are sharp; a cut of the same sound would be found."""
    done = play(held(), *due, seconds=2.4)
    begins = sounds.clicks(play(held(), seconds=2.4).sound, RATE)
    found = [t for t in sounds.clicks(done.sound, RATE) if not len(begins) or np.abs(begins - t).min() > 0.05]
    steps = np.flatnonzero(np.diff(done.records["step"]) > 0)
    struck = done.records["sample"][steps] / RATE
    assert [t for t in found if np.abs(struck - t).min() > 0.06] == []
    cut = done.sound.copy()
    cut[round(1.11 * RATE) :] *= 0.5
    assert (np.abs(sounds.clicks(cut, RATE) - 1.11) < 0.005).any()


def test_no_note_goes_on_after_the_band_is_switched_off(play) -> None:
    """Five seconds after `band off`, room and echoes included, less than -60 dBFS is left, and no track sounds."""
    done = play(held(), (3.3, "band", None, 0), seconds=8.0)
    assert sounds.rms_windows(done.sound[RATE : RATE * 3 // 2], RATE, 0.1).max() > 1e-2
    assert sounds.rms_windows(done.sound[-RATE:], RATE, 0.1).max() < 1e-3
    assert done.records["track"][-30:].max() < 1e-4
