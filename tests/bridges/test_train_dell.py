"""`train dell` from the command line: weights that play, what nobody moved kept, mistakes explained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is in the extra `train`")

from swings import recording  # noqa: E402

from echelon_bridges.cli import main  # noqa: E402
from echelon_bridges.commands.training import dell  # noqa: E402
from echelon_models.train import dataset  # noqa: E402
from echelon_models.train.gated import Gated  # noqa: E402
from echelon_models.weights import initial_path, load  # noqa: E402

QUICK = ["--epochs", "1", "--batches", "1", "--threads", "1"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a data set of two recordings."""
    path = tmp_path / "data.npz"
    dataset.write(path, [recording(1), recording(2)], limbs=False)
    return path


def test_a_data_set_becomes_weights_and_pictures(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Weights with their origin, three pictures, no checkpoint left, and a line that says how to play them."""
    pytest.importorskip("matplotlib")
    target, plots = tmp_path / "mine.safetensors", tmp_path / "plots"
    assert main(["train", "dell", str(target), str(data), "--plots", str(plots), *QUICK]) == 0
    model = load(target)
    assert model.metadata["origin"].startswith("trained on data.npz (0.2 minutes: 2 dancer), seed 1, best of epoch 1")
    assert {each.name for each in plots.iterdir()} == {"loss.png", "states.png", "parameters.png"}
    assert {each.name for each in tmp_path.iterdir()} == {"data.npz", "mine.safetensors", "plots"}
    out = capsys.readouterr()
    assert f"models.gated={target}" in out.out
    assert "epoch   1 of at most 1" in out.err


def test_lanes_that_nobody_moved_aim_at_what_played_before() -> None:
    """Targets a person gave stay, all others become what the starting weights play."""
    start = dict(load(initial_path("dell_gated")).tensors)
    mask = np.zeros((400, 32), np.bool_)
    mask[100:, 7] = True
    each = recording(1, p_mask=mask)
    (made,) = dell.kept([each], start)
    stack = Gated((0,))
    stack.load(start)
    played = torch.sigmoid(stack.play(each.x, each.c, each.bias).y)[:, 0, 0].numpy()
    np.testing.assert_array_equal(made.p[100:, 7], each.p[100:, 7])
    np.testing.assert_allclose(made.p[~mask], played[~mask], atol=1e-6)
    assert made.p_mask.all()


def test_few_sources_are_divided_in_time() -> None:
    """Two recordings give four fifths of each to train with and the rest to validate; named sources go by name."""
    whole = [recording(1), recording(2)]
    training, testing = dell.divided(whole, [])
    assert [each.frames for each in training] == [320, 320]
    assert [each.frames for each in testing] == [80, 80]
    np.testing.assert_array_equal(testing[1].x, whole[1].x[320:])
    training, testing = dell.divided(whole, ["swing 2"])
    assert ([each.name for each in training], [each.name for each in testing]) == (["swing 1"], ["swing 2"])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "nothing to learn from"),
        (["missing.npz"], "no such data set"),
        (["{data}", "--hold-out", "nobody"], "'nobody': is not in this data set"),
        (["{data}", "--epochs", "0"], "must be a whole number from 1"),
        (["{data}", "--start", "{coupled}"], "name weights of DELL gated"),
    ],
)
def test_mistakes_are_explained(
    words: list[str], says: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line with what is wrong, and nothing written."""
    given = [word.format(data=data, coupled=initial_path("dell_coupled")) for word in words]
    assert main(["train", "dell", str(tmp_path / "mine.safetensors"), *given]) > 0
    err = capsys.readouterr().err
    assert says in err
    assert err.count("\n") == 1
    assert not (tmp_path / "mine.safetensors").exists()
