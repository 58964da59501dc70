"""Calibration of the prediction's confidence."""

from __future__ import annotations

import numpy as np
import pytest

from echelon_engine.kernels import latent
from echelon_engine.memory import LATENT_STATE_NAMES
from echelon_models.train.calibration import AHEAD_FRAMES, CONFIDENCE, calibration


def states(confidence: np.ndarray) -> np.ndarray:
    """Return LatentStates (n, 25) with these confidences."""
    made = np.zeros((len(confidence), 25), np.float32)
    made[:, CONFIDENCE] = confidence
    return made


def test_places_are_the_engines() -> None:
    """The confidence and how far it looks ahead are where the engine has them."""
    assert LATENT_STATE_NAMES[CONFIDENCE] == "prediction_confidence"
    assert latent.AHEAD_FRAMES == AHEAD_FRAMES


def test_who_keeps_the_word_is_calibrated_and_who_boasts_is_not() -> None:
    """A slowly changing confidence is right; one that flips every 250 ms says the opposite of what comes."""
    t = np.arange(1200)
    slow = [states(0.5 + 0.45 * np.sin(t / 300 + k)) for k in range(4)]
    flips = [states(0.5 + 0.4 * (-1.0) ** ((t + k) // AHEAD_FRAMES)) for k in range(4)]
    names = ["a", "b", "c", "d"]
    good, bad = calibration(slow, names, rounds=50), calibration(flips, names, rounds=50)
    assert good.error.value < 0.02
    assert good.rank.value > 0.9
    assert bad.error.value > 0.7
    assert bad.rank.value < -0.9
    assert good.error.low <= good.error.value <= good.error.high
    np.testing.assert_allclose(good.share.sum(), 1.0)


def test_recordings_too_short_are_refused() -> None:
    """A recording shorter than the prediction says nothing."""
    with pytest.raises(ValueError, match="none is longer than 250 ms"):
        calibration([states(np.ones(15))], ["a"])
