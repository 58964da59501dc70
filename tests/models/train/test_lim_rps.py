"""LIM-RPS in torch: what the engine computes, norms that cannot be exceeded, and phones out of limbs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paths import GOLDEN, needs_shared

torch = pytest.importorskip("torch", reason="torch is in the extra `train`")
torch.set_num_threads(1)  # these nets are small: threads would wait for each other

from echelon_engine.kernels.neutral import NEUTRAL_POSITION, NEUTRAL_ROTATION, PARENT  # noqa: E402
from echelon_models.certificates import figures  # noqa: E402
from echelon_models.formats import FORMATS  # noqa: E402
from echelon_models.initial import HYPERS as INITIAL_HYPERS  # noqa: E402
from echelon_models.train import agreement, agreement_bounds, devices, limbs, poses  # noqa: E402
from echelon_models.train.dataset import Recording  # noqa: E402
from echelon_models.train.export_limbs import export, parity  # noqa: E402
from echelon_models.train.fit import Settings  # noqa: E402
from echelon_models.train.lim_rps import HYPERS, SHAPES, LimRps, encode, follow, relax  # noqa: E402
from echelon_models.train.sensors import Sensors, ideal  # noqa: E402
from echelon_models.weights import WeightsError, initial_path, load  # noqa: E402

F = np.float32


def swaying(frames: int, seed: int = 0) -> Recording:
    """Return a recording of a standing body whose arms swing about Z; limbs by rotating what hangs below."""
    rng = np.random.default_rng(seed)
    limbs = np.tile(devices.standing(), (frames, 1))
    t = np.arange(frames) / 60
    for arm, side in ((12, 1), (16, -1)):
        angle = np.radians(-75 * side + 30 * np.sin(t * rng.uniform(2, 6) + rng.uniform(0, 6)))
        limbs[:, 8 * arm + 2], limbs[:, 8 * arm + 3] = np.sin(angle / 2), np.cos(angle / 2)
        reach = 0.534 * side  # upper arm to hand
        shoulder = limbs[:, 8 * arm + 4 : 8 * arm + 7]
        hand = 8 * (arm + 2) + 4
        limbs[:, hand] = shoulder[:, 0] + reach * np.cos(angle)
        limbs[:, hand + 1] = shoulder[:, 1] + reach * np.sin(angle)
    zeros = np.zeros(frames, F)
    return Recording(
        f"sway-{seed}", "real", np.zeros((frames, 6), F), zeros, np.zeros((frames, 32), F),
        np.zeros((frames, 32), np.bool_), limbs.astype(F), zeros, zeros, zeros, zeros, np.ones(frames, np.bool_),
        f"sway-{seed}",
    )  # fmt: skip


def test_the_tables_are_those_of_the_format_and_the_engine() -> None:
    """Tensors, hyper-parameters, skeleton and the pose without sensors agree with formats.py and the engine."""
    wanted = {tensor.name: tensor.shape for tensor in FORMATS["lim_rps"].tensors}
    assert wanted == {**SHAPES, "P": (2, 96)}
    assert INITIAL_HYPERS["lim_rps"] == HYPERS
    assert devices.PARENT == PARENT
    pose = devices.standing().reshape(27, 8)
    np.testing.assert_allclose(pose[:, :4], NEUTRAL_ROTATION, atol=1e-6)
    np.testing.assert_allclose(pose[1:, 4:7], NEUTRAL_POSITION[1:], atol=1e-5)


@needs_shared
def test_the_golden_numbers_come_back() -> None:
    """8 warm-started iterations and the implicit solver give the golden latents and fixed points."""
    golden = dict(np.load(GOLDEN / "lim_rps.npz"))
    w = {name: torch.from_numpy(np.array(v)) for name, v in load(GOLDEN / "lim_rps.safetensors").tensors.items()}
    e = torch.from_numpy(golden["e"].astype(F))
    z, residual = follow(w, e.unsqueeze(1), stop=-1.0)
    np.testing.assert_allclose(z[:, 0].numpy(), golden["z"], atol=1e-5)
    np.testing.assert_allclose(residual[:, 0].numpy(), golden["residual"], atol=1e-5)
    np.testing.assert_allclose(relax(w, e, 1e-7).z.numpy(), golden["fixed_point"], atol=1e-5)


def test_torch_and_the_kernel_agree() -> None:
    """600 frames of sensors through torch and the engine's kernel differ by at most 1e-5."""
    assert parity(load(initial_path("lim_rps"))) <= 1e-5


def test_norms_hold_wherever_the_optimiser_goes() -> None:
    """Free parameters far outside give |W_i| and encoders of norm <= 1, and q <= 0.625."""
    model = LimRps(1)
    with torch.no_grad():
        for value in model.parameters():
            value.mul_(50.0)
    found = {figure.name: figure for figure in figures("lim_rps", model.tensors(), HYPERS)}
    assert all(figure.holds for figure in found.values()), found
    assert found["q"].value <= 0.625 + 1e-5


def test_an_ideal_phone_at_rest_reads_nothing_but_gravity() -> None:
    """Standing still: no acceleration, no rate, no velocity; down in the hand is where the hanging arm puts it."""
    limbs = np.tile(devices.standing(), (60, 1))
    told = devices.device(limbs, devices.LEFT_HAND, np.random.default_rng(0), devices.IDEAL)
    np.testing.assert_allclose(told[:, [0, 1, 2, 3, 4, 5, 9, 10, 11]], 0.0, atol=1e-4)
    # The left arm is turned by -75 degrees about Z: down is mostly along the arm, +X of the hand.
    np.testing.assert_allclose(told[30, 6:9], [np.sin(np.radians(75)), -np.cos(np.radians(75)), 0.0], atol=1e-5)


def test_a_swinging_phone_reads_its_pendulum() -> None:
    """An arm swinging about Z reads the swing's angular rate, and accelerations of rate^2 r and d rate/dt r."""
    limbs = swaying(600).limbs
    told = devices.device(limbs, devices.LEFT_HAND, np.random.default_rng(0), devices.IDEAL)[20:-20].astype(float)
    angle = 2 * np.arctan2(limbs[:, 98].astype(float), limbs[:, 99].astype(float))
    rate = np.gradient(angle) * 60
    np.testing.assert_allclose(told[:, 5], rate[20:-20], atol=0.02)
    # Along the arm (X) toward the shoulder, across it (Y) with the swing.
    np.testing.assert_allclose(told[:, 0], (-(rate**2) * 0.534)[20:-20], atol=0.15)
    np.testing.assert_allclose(told[:, 1], (np.gradient(rate) * 60 * 0.534)[20:-20], atol=0.4)
    assert np.abs(told[:, [2, 3, 4, 8, 11]]).max() < 0.02


def taught(training: Sensors, testing: Sensors, batches: int, **rest: Any) -> agreement.Agreement:
    """Return a small model after two epochs of some batches."""
    model, settings = agreement.Agreement(3), Settings(epochs=2, batches=batches, seed=3, rate=5e-3)
    agreement.train(model, training, testing, settings, absent=devices.standing(), batch=64, **rest)
    return model


@pytest.fixture(scope="module")
def sensors() -> tuple[Sensors, Sensors]:
    """Return sensors to learn from and others to be judged on."""
    made = [Sensors([swaying(300, seed) for seed in seeds]) for seeds in (range(8), (8, 9))]
    return made[0], made[1]


def test_a_resumed_training_is_the_same_training(sensors: tuple[Sensors, Sensors], tmp_path: Path) -> None:
    """Interrupted after the first epoch and resumed, the weights are those of a training in one go."""
    whole = taught(*sensors, 4).net.tensors()
    for until in (1, 2):
        model = taught(*sensors, 4, path=tmp_path / "checkpoint", until=until)
    for name, values in model.net.tensors().items():
        np.testing.assert_array_equal(values, whole[name])


def test_a_dropped_phone_is_told_by_the_body(sensors: tuple[Sensors, Sensors], tmp_path: Path) -> None:
    """A short training tells a dropped phone's gravity from the rest; what it learned can be exported."""
    training, testing = sensors
    model, absent = taught(training, testing, 40), devices.standing()
    agreement.fit_readouts(model, training, absent)
    over, under = agreement.judge(model, testing).sum(0)
    gravity = list(agreement.QUANTITIES).index("gravity")
    assert over[gravity] < 0.5 * under[gravity]
    assert limbs.r2(agreement.judge(model, testing), gravity, testing.sources).value > 0.5

    assert all(0.05 < share <= 1.0 for share in agreement.learn_directions(model, training, absent))
    np.testing.assert_allclose(model.net.P @ model.net.P.T, np.eye(2), atol=1e-5)
    path = tmp_path / "lim.safetensors"
    written = export(path, "lim_rps", model.net.tensors(), origin="a test", seed=3)
    assert written.metadata["origin"] == "a test"
    assert written.has("encoders")
    worse = {**model.net.tensors(), "W_2": model.net.tensors()["W_2"] * F(1.5)}
    with pytest.raises(WeightsError, match=r"certificate \|W_2\|"):
        export(tmp_path / "worse.safetensors", "lim_rps", worse, origin="a test", seed=3)
    assert not (tmp_path / "worse.safetensors").exists()


def test_references_are_ordered_as_what_they_know(sensors: tuple[Sensors, Sensors]) -> None:
    """Physics says nearly all of a dropped phone, the trained references more than its mean."""
    training, testing = sensors
    model = agreement.Agreement(1)
    model.prepare(training)
    pure = ideal([swaying(300, seed) for seed in (8, 9)])
    settings = Settings(epochs=1, batches=60)
    found = agreement_bounds.judge(model, training, testing, testing, pure, 1, settings=settings)
    told = {name: limbs.r2(values, 2, testing.sources).value for name, values in found.items()}
    assert tuple(told) == agreement_bounds.WAYS
    assert told["physics"] > 0.4  # phones are held a few degrees off, and these arms swing little
    assert min(told["ridge"], told["mlp"], told["gru"]) > 0.2


def test_a_livelier_latent_keeps_norms_and_what_the_operator_sees() -> None:
    """Raised directions of the body's encoder move more; W_1 reads the same of them; every norm stays at most 1."""
    model, body = LimRps(2), torch.from_numpy(swaying(60).limbs)
    nothing = torch.zeros(60, 12)

    def seen() -> tuple[torch.Tensor, torch.Tensor]:
        w = model.weights()
        e = encode(w, body, nothing, nothing)
        return (e @ w["W_1"].T).detach(), e.detach()

    (before, slow), norms = seen(), figures("lim_rps", model.tensors(), HYPERS)
    model.enliven(3.0)
    after, lively = seen()
    torch.testing.assert_close(after, before, atol=1e-4, rtol=1e-4)
    assert lively.diff(dim=0).norm() > 1.5 * slow.diff(dim=0).norm()
    assert all(figure.holds for figure in figures("lim_rps", model.tensors(), HYPERS)), norms


def test_turned_joints_keep_bones_and_angular_speeds() -> None:
    """Other joints, the same bones, speeds and way of the root; a scale of 0 changes nothing."""
    limbs_ = swaying(90).limbs
    rng = np.random.default_rng(5)
    np.testing.assert_allclose(poses.turned(limbs_, rng, 0.0), limbs_, atol=1e-5)
    made = poses.turned(limbs_, rng)
    assert np.abs(made - limbs_).max() > 0.1
    one, other = (each.reshape(-1, 27, 8) for each in (limbs_, made))
    np.testing.assert_array_equal(one[..., 7], other[..., 7])
    np.testing.assert_array_equal(one[:, 0, 4:7], other[:, 0, 4:7])
    for limb, parent in enumerate(PARENT):
        if parent > 0:
            bones = [np.linalg.norm(each[:, limb, 4:7] - each[:, parent, 4:7], axis=1) for each in (one, other)]
            np.testing.assert_allclose(*bones, atol=1e-4)
    # The phone in the turned hand still reads gravity of length 1 and the swing's own rate.
    told = devices.device(made, devices.LEFT_HAND, np.random.default_rng(0), devices.IDEAL)
    plain = devices.device(limbs_, devices.LEFT_HAND, np.random.default_rng(0), devices.IDEAL)
    np.testing.assert_allclose(np.linalg.norm(told[:, 6:9], axis=1), 1.0, atol=1e-4)
    rates = [np.linalg.norm(each[20:-20, 3:6], axis=1) for each in (told, plain)]
    np.testing.assert_allclose(*rates, atol=0.02)
