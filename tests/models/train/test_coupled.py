"""DELL coupled in torch: what the engine computes, inside its certificate whatever the optimiser does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paths import GOLDEN, needs_shared

torch = pytest.importorskip("torch", reason="torch is in the extra `train`")
torch.set_num_threads(1)  # these nets are small: threads would wait for each other

from echelon_models.certificates import figures  # noqa: E402
from echelon_models.formats import FORMATS  # noqa: E402
from echelon_models.infer import infer  # noqa: E402
from echelon_models.initial import HYPERS as INITIAL_HYPERS  # noqa: E402
from echelon_models.train import forecast, heads, judge, limbs  # noqa: E402
from echelon_models.train.checkpoint import TrainingError  # noqa: E402
from echelon_models.train.coupled import HYPERS, SHAPES, Coupled, at_beats, regular, unroll  # noqa: E402
from echelon_models.train.dataset import Recording  # noqa: E402
from echelon_models.train.export_limbs import export  # noqa: E402
from echelon_models.train.fit import Settings  # noqa: E402
from echelon_models.train.frames import Frames, known_beat  # noqa: E402
from echelon_models.train.intervals import bootstrap, ratio  # noqa: E402
from echelon_models.weights import WeightsError, check, initial_path, load  # noqa: E402


def body(frames: int, batch: int, seed: int = 0) -> np.ndarray:
    """Return limbs (frames, batch, 216) that swing smoothly within +-1."""
    rng = np.random.default_rng(seed)
    t = np.arange(frames)[:, None, None] / 60
    return np.sin(t * rng.uniform(1, 9, (batch, 216)) + rng.uniform(0, 6, (batch, 216))).astype(np.float32)


def test_the_tables_are_those_of_the_format() -> None:
    """Tensor names, shapes and hyper-parameters agree with formats.py and the initial weights."""
    assert {tensor.name: tensor.shape for tensor in FORMATS["dell_coupled"].tensors} == SHAPES
    assert INITIAL_HYPERS["dell_coupled"] == HYPERS


@pytest.mark.parametrize("beats", [False, True])
def test_torch_and_the_kernel_agree(beats: bool) -> None:
    """600 frames of the unroll and of the engine's kernel differ by at most 1e-5, for both kinds of boundaries."""
    model = Coupled(3)
    limbs = body(600, 1)
    boundary = at_beats(600, np.random.default_rng(1)) if beats else regular(600)
    tensors = model.tensors()
    with torch.no_grad():
        made = unroll({name: torch.from_numpy(v) for name, v in tensors.items()}, torch.from_numpy(limbs), boundary)
    metadata = {"format": FORMATS["dell_coupled"].name, **{name: repr(value) for name, value in HYPERS.items()}}
    wanted = infer(check(tensors, metadata), {"limbs": limbs[:, 0], "boundary": np.array(boundary)})
    for name in ("z", "x_fast", "y_slow", "h"):
        np.testing.assert_allclose(getattr(made, name)[:, 0].numpy(), wanted[name], atol=1e-5, rtol=0)


@needs_shared
def test_the_golden_numbers_come_back() -> None:
    """The unroll gives the golden outputs from the golden weights within 1e-5."""
    golden = dict(np.load(GOLDEN / "dell_coupled.npz"))
    model = load(GOLDEN / "dell_coupled.safetensors")
    weights = {name: torch.from_numpy(np.array(values)) for name, values in model.tensors.items()}
    limbs = torch.from_numpy(golden["limbs"].astype(np.float32)).unsqueeze(1)
    with torch.no_grad():
        made = unroll(weights, limbs, regular(len(limbs)))
    for name in ("z", "x_fast", "y_slow", "h"):
        np.testing.assert_allclose(getattr(made, name)[:, 0].numpy(), golden[name], atol=1e-5, rtol=0)


def test_certificates_hold_wherever_the_optimiser_goes() -> None:
    """Free parameters far outside give weights under the margins, and a gradient step leaves them there."""
    model = Coupled(1)
    for scale in (1.0, 30.0):
        with torch.no_grad():
            for value in model.parameters():
                value.mul_(scale)
        found = {figure.name: figure for figure in figures("dell_coupled", model.tensors(), HYPERS)}
        assert all(figure.holds for figure in found.values()), found
        assert found["radius of M"].value <= 0.99 + 1e-6
        assert found["|W_rec|"].value <= 0.97 + 1e-6


def test_weights_inside_come_through_unchanged() -> None:
    """Initial weights of the package, loaded and exported, are the same numbers."""
    tensors = load(initial_path("dell_coupled")).tensors
    model = Coupled()
    model.load(tensors)
    for name, values in model.tensors().items():
        np.testing.assert_array_equal(values, tensors[name])


def test_beats_are_as_the_engine_admits_them() -> None:
    """Boundaries at beats are 20 to 60 frames apart from the start on."""
    for seed in range(20):
        at = np.flatnonzero(at_beats(600, np.random.default_rng(seed)))
        gaps = np.diff(np.concatenate([[-1], at]))
        assert gaps.min() >= 20
        assert gaps.max() <= 60


def circling(frames: int, seed: int, limbs: bool = True) -> Recording:
    """Return a recording whose limbs circle in a plane at a tempo of its own: all that comes is in what is."""
    rng = np.random.default_rng(seed)
    bpm = rng.uniform(60, 120)
    turn = bpm / 3600 * np.arange(frames) + rng.random()
    plane = np.random.default_rng(0).normal(size=(2, 216)) * 0.3
    moved = np.stack([np.cos(2 * np.pi * turn), np.sin(2 * np.pi * turn)], 1) @ plane
    zeros, name = np.zeros(frames, np.float32), f"circle-{seed}"
    return Recording(
        name, "real", np.zeros((frames, 6), np.float32), zeros, np.zeros((frames, 32), np.float32),
        np.zeros((frames, 32), np.bool_), (moved if limbs else moved[:, :0]).astype(np.float32), zeros, zeros,
        np.full(frames, bpm, np.float32), (turn % 1.0).astype(np.float32), np.ones(frames, np.bool_), name,
    )  # fmt: skip


def taught(training: Frames, testing: Frames, batches: int, **rest: Any) -> forecast.Forecaster:
    """Return a model after two epochs of some batches."""
    model, settings = forecast.Forecaster(2), Settings(epochs=2, batches=batches, seed=2, rate=5e-3)
    forecast.train(model, training, testing, settings, length=130, batch=8, **rest)
    return model


@pytest.fixture(scope="module")
def circles() -> tuple[Frames, Frames]:
    """Return frames to learn from and others to be judged on."""
    return Frames([circling(400, seed) for seed in range(4)]), Frames([circling(400, seed) for seed in (8, 9)])


def test_a_resumed_training_is_the_same_training(circles: tuple[Frames, Frames], tmp_path: Path) -> None:
    """Interrupted and resumed, the weights are those of one go; another training is refused by what differs."""
    whole = taught(*circles, 2).coupled.tensors()
    for until in (1, 2):
        model = taught(*circles, 2, path=tmp_path / "checkpoint", until=until)
    for name, values in model.coupled.tensors().items():
        np.testing.assert_array_equal(values, whole[name])
    with pytest.raises(TrainingError, match="batches = 2"):
        taught(*circles, 3, path=tmp_path / "checkpoint")


def test_a_short_training_sees_what_comes(circles: tuple[Frames, Frames], tmp_path: Path) -> None:
    """After 20 batches forecasts beat the pose that stays; heads come back from their file as they were."""
    training, testing = circles
    model = taught(training, testing, 10)
    found = judge.judge(model, testing, judge.fit_ridge(model.heads, training, testing))
    figures = limbs.forecast_figures(found, model.heads.unit)
    assert figures["250 ms, net against stays"].high < 1.0
    assert figures["250 ms, rms of ridge"].value < figures["250 ms, rms of linear"].value

    model.heads.save(tmp_path / "heads.safetensors", {})
    again = heads.load(tmp_path / "heads.safetensors")
    z = torch.randn(5, 2, 32, generator=torch.Generator().manual_seed(0))
    for one, other in zip(again.future(z), model.heads.future(z), strict=True):
        torch.testing.assert_close(one, other)
    with pytest.raises(TrainingError, match="holds no heads"):
        heads.load(tmp_path / "nothing")


def test_frozen_weights_stay_while_heads_learn(circles: tuple[Frames, Frames]) -> None:
    """Heads alone learn to read weights that are given, and the loss falls."""
    tensors = load(initial_path("dell_coupled")).tensors
    model = forecast.Forecaster(2)
    settings = Settings(epochs=2, batches=6, seed=2, rate=5e-3)
    history = forecast.train(model, *circles, settings, frozen=tensors, length=130, batch=8)
    assert history.epochs[1]["loss"] < history.epochs[0]["loss"]
    for name, values in model.coupled.tensors().items():
        np.testing.assert_array_equal(values, tensors[name])


def test_a_rhythm_is_read_from_the_z_that_stands() -> None:
    """Dances whose names tell their tempo teach it in a short training; without any there is nothing to learn."""
    dances = [
        circling(400, seed)._replace(kind="dancer", source=f"dancer-{seed}-{60 + 15 * seed}bpm") for seed in range(3)
    ]
    beat = known_beat(dances[1])
    assert beat.tempo_bpm[0] == 75.0
    assert beat.phase[50] == pytest.approx((50 - 2.4) * 75 / 3600 % 1.0, abs=1e-6)
    assert not known_beat(circling(40, 1)).tempo_bpm.any()
    frames = Frames(dances)
    model = forecast.Forecaster(1)
    model.prepare(frames)
    before = model.coupled.tensors()
    history = forecast.train_rhythm(model, frames, frames, Settings(epochs=2, batches=5, rate=5e-3), batch=4)
    assert history is not None
    assert history.epochs[1]["loss"] < history.epochs[0]["loss"]
    for name, values in model.coupled.tensors().items():
        np.testing.assert_array_equal(values, before[name])
    found = judge.judge(model, frames, judge.fit_ridge(model.heads, frames, frames))
    assert np.isfinite(found["tempo"]).all()
    assert (found["octave"] <= found["tempo"] + 1e-6).all()
    still = Frames([circling(400, 1)])
    assert forecast.train_rhythm(model, still, still) is None


def test_the_damped_speed_and_the_units_are_those_of_the_data() -> None:
    """Every kind of number counts by its spread; of a motion that goes on evenly all of its speed is expected."""
    frames = np.arange(300, dtype=np.float32)[:, None]
    ramp = np.random.default_rng(0).normal(size=(1, 216)).astype(np.float32) * frames / 100
    limbs_ = torch.from_numpy(ramp)
    read = heads.Heads()
    ahead = torch.stack([limbs_ * 0 + h * limbs_[1:2] for h in heads.HORIZONS], 1)
    read.learn(limbs_, heads.BACK * limbs_[1:2].expand(300, -1), ahead)
    for k, horizon in enumerate(heads.HORIZONS):
        torch.testing.assert_close(read.pace[k], torch.full((216,), horizon / heads.BACK))
    for part in heads.KINDS.values():
        values = ramp.reshape(-1, 27, 8)[..., part]
        spread = np.sqrt(np.square(values - values.mean(0)).mean())
        np.testing.assert_allclose(read.unit.reshape(27, 8)[:, part].numpy(), spread, rtol=1e-4)


def test_export_writes_what_the_engine_takes_and_nothing_else(tmp_path: Path) -> None:
    """A file carries every hyper-parameter and loads again; weights outside the certificate leave no file."""
    tensors = Coupled(4).tensors()
    written = export(tmp_path / "coupled.safetensors", "dell_coupled", tensors, origin="a test", seed=4)
    assert {name: written.hypers[name] for name in HYPERS} == HYPERS
    worse = {**tensors, "W_rec": tensors["W_rec"] * np.float32(2.0)}
    with pytest.raises(WeightsError, match=r"certificate \|W_rec\|"):
        export(tmp_path / "worse.safetensors", "dell_coupled", worse, origin="a test", seed=4)
    assert [path.name for path in tmp_path.iterdir()] == ["coupled.safetensors"]


def test_recordings_without_limbs_are_refused() -> None:
    """The message names the recording and the remedy."""
    with pytest.raises(TrainingError, match=r"circle-3.*without --no-limbs"):
        Frames([circling(50, 3, limbs=False)])


def test_intervals_draw_whole_recordings() -> None:
    """Rows of one recording move together: many copies of a row make an interval no narrower."""
    values = np.random.default_rng(0).normal(3.0, 1.0, 12)
    plain = bootstrap(np.arange(12), ratio(values, np.ones(12)), rounds=400)
    copied = bootstrap(np.repeat(np.arange(12), 50), ratio(np.repeat(values, 50), np.ones(600)), rounds=400)
    assert plain.low < 3.0 < plain.high
    np.testing.assert_allclose(plain, copied, rtol=1e-9)
