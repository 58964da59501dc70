"""The initial weights: the same bytes every time, musical at rest, and moved by the body in the right directions."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from echelon_engine.parameters import LANE, PARAMETERS
from echelon_models.formats import FORMATS, Key
from echelon_models.infer import infer
from echelon_models.initial import REST, make, rest_positions
from echelon_models.weights import Model, initial_path, load

FRAMES = 240
FIRST = {"dell_gated": "5dc012e991154e62", "dell_coupled": "b3f1b2f7145ad052", "lim_rps": "60ae7afde95a2405"}  # SHA-256


@pytest.fixture(scope="module")
def gated() -> Model:
    """The initial DELL gated."""
    return load(initial_path("dell_gated"))


def positions(model: Model, x: np.ndarray, c: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    """Return the lanes' positions 0..1 of every frame."""
    inputs = {"x": x, "c": c} | ({} if bias is None else {"gate_bias": bias})
    return 1 / (1 + np.exp(-infer(model, inputs)["y"].astype(np.float64)))


def dancing(amount: float) -> np.ndarray:
    """Return motion states (frames, 6) of two hands swinging 1.5 times a second."""
    t = np.arange(FRAMES) / 60
    swing = np.stack([np.sin(9.4 * t), np.cos(9.4 * t), np.sin(9.4 * t + 1), np.cos(9.4 * t + 1)], axis=1)
    return np.concatenate([np.tanh(amount * swing), np.zeros((FRAMES, 2))], axis=1)


@pytest.mark.parametrize("key", list(FORMATS))
def test_the_script_makes_the_same_bytes_every_time(key: Key, tmp_path: Path) -> None:
    """Made again, each file is the one that the engine finds, and the one that was first designed, byte for byte."""
    path = tmp_path / "again.safetensors"
    make(key, path)
    made = path.read_bytes()
    assert made == initial_path(key).read_bytes()
    assert hashlib.sha256(made).hexdigest()[:16] == FIRST[key]


def test_at_rest_every_lane_is_at_its_preset(gated: Model) -> None:
    """Without motion the sound is the documented preset from the first frame on, and stands still."""
    p = positions(gated, np.zeros((FRAMES, 6)), np.zeros(FRAMES))
    assert np.abs(p - rest_positions()).max() < 0.02
    assert np.abs(p[-1] - rest_positions()).max() < 1e-4
    for parameter in PARAMETERS:
        assert parameter.value(p[-1, parameter.lane]) == pytest.approx(REST[parameter.name], rel=0.01, abs=0.01)


@pytest.mark.parametrize("amount", [0.3, 1.0])
def test_motion_opens_the_sound(gated: Model, amount: float) -> None:
    """Moving hands and commitment raise index, cutoff, brightness, drive and gain; ratios and ceiling do not move."""
    p = positions(gated, dancing(amount), np.linspace(0, 0.9, FRAMES))
    late, rest = p[FRAMES // 2 :].mean(axis=0), rest_positions()
    for name in ("index_1", "index_2", "filter_cutoff", "body_brightness", "filter_drive", "gain", "width"):
        assert late[LANE[name]] > rest[LANE[name]] + 0.01, name
    for name in ("ratio_1", "ratio_2", "ratio_3", "ratio_4", "ceiling"):
        assert np.abs(p[:, LANE[name]] - rest[LANE[name]]).max() < 1e-4, name


def test_leaning_pans_darkens_and_widens_the_room(gated: Model) -> None:
    """Leaning left pans left, right pans right; leaning forward closes the filter and opens the reverb."""

    def lean(component: int, amount: float) -> np.ndarray:
        x = np.zeros((FRAMES, 6))
        x[:, component] = amount
        return positions(gated, x, np.zeros(FRAMES))[-1]

    rest = rest_positions()
    assert lean(5, 0.6)[LANE["pan"]] < 0.35
    assert lean(5, -0.6)[LANE["pan"]] > 0.65
    forward = lean(4, 0.6)
    assert forward[LANE["filter_cutoff"]] < rest[LANE["filter_cutoff"]] - 0.05
    for name in ("reverb_mix", "reverb_size", "reverb_decay"):
        assert forward[LANE[name]] > rest[LANE[name]] + 0.05, name


def test_no_lane_jumps_on_ordinary_motion(gated: Model) -> None:
    """From frame to frame no position moves by more than 0.15, also when the gate's pull comes and goes."""
    rng = np.random.default_rng(1)
    bias = np.clip(1 - np.arange(FRAMES) / 24, 0, 1)
    for amount in (0.3, 1.0, 2.0):
        p = positions(gated, dancing(amount), rng.uniform(size=FRAMES), bias)
        assert np.abs(np.diff(p, axis=0)).max() < 0.15


def test_the_initial_loop_gain_is_low(gated: Model) -> None:
    """The designed net dies out by itself: its loop gain is below 1 and its state far from the clip."""
    figures = {figure.name: figure.value for figure in gated.figures}
    assert figures["loop gain"] < 1
    outputs = infer(gated, {"x": np.ones((FRAMES, 6)), "c": np.ones(FRAMES)})
    assert max(np.abs(outputs[name]).max() for name in ("z", "h_fast", "h_slow")) < 5
