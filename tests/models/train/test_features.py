"""Features for training are what the models see on stage."""

from typing import Any

import numpy as np
import pytest
from paths import MOTION, needs_shared
from performances import perform

from echelon_bridges.motion.dancer import Dancer
from echelon_bridges.motion.files import load
from echelon_engine import live
from echelon_engine.config import Config
from echelon_engine.memory import SYNTHETIC
from echelon_engine.offline import render
from echelon_models.train.features import FeatureError, Features, Stage
from echelon_models.weights import load_all


@pytest.fixture(scope="module")
def stage() -> Stage:
    """One engine without sound for all tests."""
    return Stage()


@pytest.fixture(scope="module")
def weights() -> Any:
    """The weights that come with the package: what they say must not matter."""
    return load_all(Config().models)


def same_as(found: Features, records: Any) -> None:
    """Check features against control records, bit for bit."""
    latent = records["latent"]
    pairs = (
        (found.x, records["x"]), (found.c, records["c"]), (found.energy, records["energy"]),
        (found.bias, records["gate_bias"]), (found.tempo_bpm, latent[:, 13]), (found.phase, latent[:, 14]),
    )  # fmt: skip
    for ours, theirs in pairs:
        n = min(len(ours), len(theirs))
        assert ours[:n].tobytes() == np.ascontiguousarray(theirs[:n]).tobytes()
    assert np.abs(found.x).max() > 0.1
    assert found.c.max() > 0.1
    assert found.bias.max() > 0.5


def test_a_dance_gives_the_numbers_of_a_render(stage: Stage, weights: Any) -> None:
    """x, c, energy, gate pull, tempo and phase equal those of the offline renderer bit for bit."""
    frames = Dancer(3, 110.0).frames(0, 300)
    records = render(frames, 5.0, live.initial_settings(Config())[0], weights).records
    assert len(records) == 300
    same_as(stage.of(frames, 5.0), records)


@needs_shared
def test_a_real_recording_gives_the_numbers_of_a_render(stage: Stage, weights: Any) -> None:
    """The same for a captured dance at 100 frames a second, after another recording was heard."""
    frames = load(MOTION / "bvh/ad-rokoko-jesse_dance.bvh").frames
    stage.of(Dancer(1).frames(0, 200))
    records = render(frames, 4.0, live.initial_settings(Config())[0], weights).records
    same_as(stage.of(frames, 4.0), records)


def test_a_session_gives_what_it_logged(stage: Stage, weights: Any) -> None:
    """With late and lost motion, settings that change and devices, x and c are those of the session."""
    played = perform(Dancer(2).frames(0, 400), live.initial_settings(Config()), weights)
    found = stage.of_life(played.controls, played.inputs)
    assert len(found.c) == len(played.controls) > 300
    same_as(found, played.controls)


def test_a_session_of_devices_alone_gives_what_it_logged(stage: Stage, weights: Any) -> None:
    """Where no body was heard, the devices in the hands make x and c, here as there."""
    nobody = Dancer(2).frames(0, 0)
    played = perform(nobody, live.initial_settings(Config()), weights, seconds=3)
    same_as(stage.of_life(played.controls, played.inputs), played.controls)


def test_every_recording_starts_from_nothing(stage: Stage) -> None:
    """What was heard before leaves no trace."""
    frames = Dancer(4).frames(0, 120)
    first = stage.of(frames)
    stage.of(Dancer(5, 140.0).frames(0, 200))
    for once, again in zip(first, stage.of(frames), strict=True):
        assert once.tobytes() == again.tobytes()


def test_limbs_presence_and_idle(stage: Stage) -> None:
    """Limbs move with the body; where it stood still for long the networks do not run, and where it left it is gone."""
    frames = Dancer(1).frames(0, 480)
    frames[120:] = frames[120]
    frames["time_ns"] = np.arange(480) * 16_666_667
    frames["number"] = np.arange(480)
    frames["flags"][360:] = SYNTHETIC
    found = stage.of(frames)
    assert found.limbs.shape == (len(found.c), 216)
    assert np.abs(found.limbs[100] - found.limbs[40]).max() > 0.05
    assert found.present[60:350].all()
    assert not found.present[-1]
    assert found.running[60:400].all()
    assert not found.running[-1]


def test_rates_may_be_mixed(stage: Stage) -> None:
    """A recording that goes on at a third of its rate is played by its stamps: the same dance."""
    frames = Dancer(1).frames(0, 360)
    mixed = np.concatenate([frames[:180], frames[180::3]])
    whole, found = stage.of(frames, 5.9), stage.of(mixed, 5.9)
    np.testing.assert_allclose(found.x, whole.x, atol=0.05)
    np.testing.assert_allclose(found.energy[30:], whole.energy[30:], atol=0.1)


def test_wrong_recordings_are_named(stage: Stage) -> None:
    """Too short, not finite, out of order, no limb frames: each says what and where."""
    frames = Dancer(1).frames(0, 60)
    with pytest.raises(FeatureError, match=r"10 frames of motion in 0\.15 s; .* lasts 0\.5 s"):
        stage.of(frames[:10])
    with pytest.raises(FeatureError, match="0 frames"):
        stage.of(frames[:0])
    for field in ("rotation", "position", "origin", "heading"):
        broken = frames.copy()
        broken[field][7] = np.nan
        with pytest.raises(FeatureError, match=f"frame 7 has a {field} that is not finite"):
            stage.of(broken)
    turned = frames.copy()
    turned["time_ns"][30] = turned["time_ns"][29]
    with pytest.raises(FeatureError, match="frame 30 is not later than frame 29"):
        stage.of(turned)
    with pytest.raises(FeatureError, match="no limb frame"):
        stage.of(np.zeros((60, 216), np.float32))
    slow = frames.copy()
    slow["time_ns"] *= 12
    with pytest.raises(FeatureError, match="5 frames a second; a body is seen 8 times"):
        stage.of(slow)
    held = frames.copy()
    held["flags"] |= SYNTHETIC
    with pytest.raises(FeatureError, match="0 frames of motion"):
        stage.of(held)
