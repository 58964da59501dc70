"""What the tests of sessions share: a performance, and it logged as bridges would."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from performances import Performance, perform
from sessions import keep

from echelon_bridges.band import Band
from echelon_bridges.motion.dancer import Dancer
from echelon_engine.config import Config
from echelon_engine.live import initial_settings
from echelon_engine.state import Weights
from echelon_models.weights import load_all


@pytest.fixture(scope="session")
def weights() -> Weights:
    """The weights that ship."""
    return load_all(Config().models)


@pytest.fixture(scope="session")
def dance() -> np.ndarray:
    """Twelve seconds of the built-in dancer, from where it has warmed up."""
    frames = Dancer(seed=1, tempo_bpm=96.0).frames(60 * 20, 60 * 12)
    frames["time_ns"] -= frames["time_ns"][0]
    return frames


@pytest.fixture(scope="session")
def performance(dance: np.ndarray, weights: Weights) -> Performance:
    """Six seconds as if live. Not to be changed."""
    return perform(dance, initial_settings(Config()), weights)


@pytest.fixture(scope="session")
def concert(dance: np.ndarray, weights: Weights) -> Performance:
    """Six seconds as if live with the band. Not to be changed."""
    config = Config()
    return perform(dance, initial_settings(config), weights, band=Band(config, 1 << 32))


@pytest.fixture(scope="session")
def kept_concert(concert: Performance, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a whole session of it. Not to be changed."""
    return keep(tmp_path_factory.mktemp("concert"), concert)


@pytest.fixture(scope="session")
def second_life(dance: np.ndarray, weights: Weights) -> Performance:
    """Three seconds of an audio process that was started after the first. Not to be changed."""
    return perform(dance, initial_settings(Config()), weights, seconds=3, epoch=2)


@pytest.fixture(scope="session")
def kept(performance: Performance, second_life: Performance, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a whole session of both. Not to be changed."""
    return keep(tmp_path_factory.mktemp("kept"), performance, second_life)


@pytest.fixture
def copy(kept: Path, tmp_path: Path) -> Callable[[], Path]:
    """Makes a copy of that folder, which may be damaged."""

    def make() -> Path:
        folder = tmp_path / f"{len(list(tmp_path.iterdir()))}-copy"
        folder.mkdir()
        for path in kept.iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        return folder

    return make
