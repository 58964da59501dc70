"""What the tests of the running engine share: settings, initial weights, a moving body."""

import numpy as np
import pytest

from echelon_bridges.motion.dancer import Dancer
from echelon_engine.config import Config
from echelon_engine.live import initial_settings
from echelon_engine.state import Weights
from echelon_models.weights import load_all


@pytest.fixture(scope="session")
def weights() -> Weights:
    """The weights that ship."""
    return load_all(Config().models)


@pytest.fixture
def settings() -> np.ndarray:
    """The settings an engine starts with, as a one-element array."""
    return initial_settings(Config())


@pytest.fixture(scope="session")
def dance() -> np.ndarray:
    """Twelve seconds of the built-in dancer, from where it has warmed up."""
    frames = Dancer(seed=1, tempo_bpm=96.0).frames(60 * 20, 60 * 12)
    frames["time_ns"] -= frames["time_ns"][0]
    return frames
