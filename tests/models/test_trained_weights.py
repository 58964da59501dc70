"""The trained weights that come with the package: checked like any file, and never the default."""

from __future__ import annotations

from echelon_engine.config import Config
from echelon_models import inspect
from echelon_models.weights import INITIAL, initial_path, load

TRAINED = INITIAL / "dell_gated_trained.safetensors"


def test_they_say_what_they_are() -> None:
    """The engine takes them, and `inspect` tells from what they were trained and how far their states go."""
    model = load(TRAINED)
    assert model.spec.key == "dell_gated"
    text = inspect.describe(TRAINED)
    assert "origin: trained on 17 real recordings" in text
    assert 0 < float(text.split("largest_state: ")[1].split()[0]) < 10


def test_the_initial_weights_stay_the_default() -> None:
    """What plays without a setting is what was designed, not what was learned."""
    assert Config().models.gated == "built-in"
    assert initial_path("dell_gated") != TRAINED
    assert "not trained" in inspect.describe(initial_path("dell_gated"))


def test_all_weights_of_the_package_are_small() -> None:
    """Under 2 MB together."""
    assert sum(path.stat().st_size for path in INITIAL.glob("*.safetensors")) < 2_000_000
