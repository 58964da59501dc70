"""Sessions: what the callback logs is enough to play the same bytes again."""

from typing import Any

import numpy as np
import pytest
from performances import RATE, perform

from echelon_engine.errors import UserError
from echelon_engine.memory import ALL_OFF, NOTE_OFF, NOTE_ON
from echelon_engine.replay import replay


@pytest.fixture
def performance(dance, settings, weights) -> Any:
    """Six seconds as if live: what was heard and logged."""
    return perform(dance, settings, weights)


def test_a_session_plays_the_same_bytes_again(performance, weights) -> None:
    """A replay from what was logged equals what was heard, sample by sample, and thinks the same."""
    sound, controls, inputs, _ = performance
    again = replay(controls, inputs, weights, rate_hz=RATE)
    heard = min(len(sound), len(again.sound))
    assert heard > 5.9 * RATE
    assert np.abs(sound).max() > 0.01
    assert again.sound[:heard].tobytes() == sound[:heard].tobytes()
    for field in ("sample", "x", "y", "z", "position", "latent", "state", "c", "energy"):
        assert again.records[field].tobytes() == controls[field].tobytes(), field


@pytest.mark.parametrize("block_frames", [64, 2048])
def test_a_session_plays_the_same_bytes_with_other_blocks(performance, weights, block_frames: int) -> None:
    """The script, not the block, says when everything was taken."""
    sound, controls, inputs, _ = performance
    again = replay(controls, inputs, weights, rate_hz=RATE, block_frames=block_frames)
    heard = min(len(sound), len(again.sound))
    assert again.sound[:heard].tobytes() == sound[:heard].tobytes()


def test_a_changed_input_changes_the_sound(performance, weights) -> None:
    """The replay does play what was logged: without one override, it sounds different."""
    sound, controls, inputs, _ = performance
    inputs["settings"]["override_on"] = 0
    again = replay(controls, inputs, weights, rate_hz=RATE)
    heard = min(len(sound), len(again.sound))
    assert again.sound[:heard].tobytes() != sound[:heard].tobytes()


def test_every_note_is_reported_when_it_sounds(performance) -> None:
    """Events tell the body's notes and those of others with their sample, and the panic."""
    _, controls, _, events = performance
    assert {0, 1} == set(events["source"])
    assert {NOTE_ON, NOTE_OFF, ALL_OFF} == set(events["kind"])
    assert (np.diff(events["sample"]) >= 0).all()
    assert (events["kind"] == NOTE_ON).sum() == controls["onsets"][-1]
    begun = events[events["kind"] == NOTE_ON]
    assert ((begun["velocity"] > 0) & (begun["velocity"] <= 1)).all()


def test_a_session_with_a_hole_is_refused(performance, weights) -> None:
    """A missing control frame, or no settings at the beginning, is said instead of a wrong sound."""
    _, controls, inputs, _ = performance
    with pytest.raises(UserError, match="follow each other"):
        replay(np.delete(controls, 30), inputs, weights, rate_hz=RATE)
    with pytest.raises(UserError, match="settings"):
        replay(controls, inputs[1:], weights, rate_hz=RATE)
