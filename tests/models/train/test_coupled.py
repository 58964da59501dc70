"""DELL coupled in torch: what the engine computes, inside its certificate whatever the optimiser does."""

from __future__ import annotations

import numpy as np
import pytest
from paths import GOLDEN, needs_shared

torch = pytest.importorskip("torch", reason="torch is in the extra `train`")

from echelon_models.certificates import figures  # noqa: E402
from echelon_models.formats import FORMATS  # noqa: E402
from echelon_models.infer import infer  # noqa: E402
from echelon_models.initial import HYPERS as INITIAL_HYPERS  # noqa: E402
from echelon_models.train.coupled import HYPERS, SHAPES, Coupled, at_beats, regular, unroll  # noqa: E402
from echelon_models.weights import check, initial_path, load  # noqa: E402


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
