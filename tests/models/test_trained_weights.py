"""The trained weights that come with the package: checked like any file; which of them play without a setting."""

from __future__ import annotations

import numpy as np
import pytest

from echelon_engine.config import Config, Models
from echelon_models import inspect
from echelon_models.formats import Key
from echelon_models.weights import INITIAL, built_in_path, initial_path, load, load_all, path_of

TRAINED = INITIAL / "dell_gated_trained.safetensors"


def test_they_say_what_they_are() -> None:
    """The engine takes them, and `inspect` tells from what they were trained and how far their states go."""
    model = load(TRAINED)
    assert model.spec.key == "dell_gated"
    text = inspect.describe(TRAINED)
    assert "17 real" in text
    assert "seed 1" in text
    assert "recipe: memory" in text
    assert 0 < float(text.split("largest_state: ")[1].split()[0]) < 10


def test_dell_gated_plays_what_it_learned() -> None:
    """Without a setting the trained weights play; `initial` names the designed ones, a path any others."""
    assert Config().models.gated == "built-in"
    assert path_of("dell_gated", "built-in") == built_in_path("dell_gated") == TRAINED
    assert path_of("dell_gated", "initial") == initial_path("dell_gated") != TRAINED
    assert "not trained" in inspect.describe(initial_path("dell_gated"))
    trained, designed = (load_all(Models(gated=name)).gated for name in ("built-in", "initial"))
    assert not np.array_equal(trained["W_y"], designed["W_y"])


def test_all_weights_of_the_package_are_small() -> None:
    """Under 2 MB together."""
    assert sum(path.stat().st_size for path in INITIAL.glob("*.safetensors")) < 2_000_000


@pytest.mark.parametrize("key", ["dell_coupled", "lim_rps"])
def test_the_limb_models_play_what_they_learned(key: Key) -> None:
    """Trained weights are the default, say what they are, and hold their certificates; the initial ones stay."""
    model = load(built_in_path(key))
    assert "trained on 17 real recordings" in model.metadata["origin"]
    assert all(figure.holds for figure in model.figures)
    assert path_of(key, "built-in") == built_in_path(key) != initial_path(key) == path_of(key, "initial")
    assert "not trained" in inspect.describe(initial_path(key))


def test_initial_weights_can_be_chosen_by_name() -> None:
    """`initial` in the configuration gives the designed weights, nothing gives the trained ones."""
    chosen, default = load_all(Models(coupled="initial", lim_rps="initial")), load_all(Models())
    for name in ("coupled", "lim_rps"):
        one, other = getattr(chosen, name), getattr(default, name)
        field = "W_rec" if name == "coupled" else "W_1"
        assert (one[field] != other[field]).any()
