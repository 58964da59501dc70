"""`echelon-engine train data` makes a data set, tells what is in it, and explains what it cannot use."""

import resource
from pathlib import Path

import numpy as np
import pytest
from paths import MOTION, needs_shared
from performances import perform
from sessions import keep

from echelon_bridges import cli
from echelon_bridges.commands import train
from echelon_bridges.motion.dancer import Dancer
from echelon_engine import live
from echelon_engine.config import Config
from echelon_models.train import dataset
from echelon_models.weights import load_all

BVH = MOTION / "bvh/ad-cmu1-jumping_jacks.bvh"


def run(*argv: str) -> int:
    """Run a command line in this process."""
    try:
        return cli.main(["train", *argv])
    except SystemExit as end:
        return int(end.code or 0)


def test_the_dancer_alone_makes_a_data_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Six seconds of the dancer: all arrays are there, the same for the same seed, others for another."""
    paths = [tmp_path / f"{name}.npz" for name in "abc"]
    for path, seed in zip(paths, "112", strict=True):
        assert run("data", str(path), "--dancer", "0.1", "--seed", seed) == 0
    (one,), (same,), (other,) = map(dataset.read, paths)
    assert one.kind == "dancer"
    assert one.frames == pytest.approx(360, abs=4)
    assert one.limbs.shape == (one.frames, 216)
    for name in dataset.Recording._fields:
        assert np.array_equal(getattr(one, name), getattr(same, name))
    assert one.name != other.name
    shown = capsys.readouterr()
    assert f"{paths[0]}: 1 recordings, 0.1 minutes (dancer 0.1), 1 sources" in shown.out
    assert "train data: 1 of 1: dancer-" in shown.err


@needs_shared
def test_files_are_augmented_and_split_by_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A real recording, its variants of 20 s, no limbs where none are wanted."""
    path = tmp_path / "d.npz"
    assert run("data", str(path), str(BVH), "--augment", "2", "--no-limbs") == 0
    found = dataset.read(path)
    assert [each.kind for each in found] == ["real", "augmented", "augmented"]
    assert dataset.sources(found) == ["ad-cmu1-jumping_jacks"]
    assert found[1].frames == pytest.approx(1200, abs=6)
    assert found[1].limbs.shape[1] == 0
    assert "2 of 3: ad-cmu1-jumping_jacks~0" in capsys.readouterr().err


def test_sessions_give_a_persons_own_mapping(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A session with a moved lane is learnt from; one without is left out and said; only such ones are an error."""
    dance, weights = Dancer(2).frames(0, 300), load_all(Config().models)
    settings = live.initial_settings(Config())
    performance = perform(dance, settings, weights, seconds=2)
    inputs = performance.inputs.copy()
    inputs["settings"]["override_on"] = 0
    folders = [tmp_path / name for name in ("moved", "still")]
    keep(folders[0], performance)
    keep(folders[0], performance._replace(inputs=inputs))
    keep(folders[1], performance._replace(inputs=inputs))
    path = tmp_path / "d.npz"
    assert run("data", str(path), "--sessions", str(folders[0])) == 0
    (found,) = dataset.read(path)
    assert found.kind == "session"
    assert found.p_mask.any(axis=0).nonzero()[0].tolist() == [16]
    assert "nobody moved a lane in it while dancing; it is left out" in capsys.readouterr().err
    assert run("data", str(tmp_path / "e.npz"), "--sessions", str(folders[1])) == 1
    assert "of 1 sessions none can be learnt from" in capsys.readouterr().err
    assert not (tmp_path / "e.npz").exists()


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        ((), 2, "ACTION"),
        (("dance",), 2, "invalid choice"),
        (("data",), 2, "OUT.npz"),
        (("data", "{tmp}/d.npz"), 2, "there is nothing to learn from"),
        (("data", "{tmp}/d.txt", "--dancer", "1"), 2, "must end in .npz"),
        (("data", "{tmp}/none/d.npz", "--dancer", "1"), 1, "folder does not exist"),
        (("data", "{tmp}/d.npz", "--dancer", "-1"), 2, "from 0 to 6000"),
        (("data", "{tmp}/d.npz", "--dancer", "nan"), 2, "from 0 to 6000"),
        (("data", "{tmp}/d.npz", "--dancer", "1", "--augment", "2"), 2, "varies real recordings"),
        (("data", "{tmp}/d.npz", "--dancer", "1", "--augment", "1.5"), 2, "whole number"),
        (("data", "{tmp}/d.npz", "--sessions", ""), 2, "names no folder"),
        (("data", "{tmp}/d.npz", "--sessions", "{tmp}"), 1, "holds no sessions"),
        (("data", "{tmp}/d.npz", "{tmp}"), 1, "holds no motion"),
        (("data", "{tmp}/d.npz", "{tmp}/none.bvh"), 1, "there is no such file"),
        (("data", "{tmp}/d.npz", "--dancer", "0.001"), 1, "no recording to write"),
    ],
)
def test_mistakes_are_explained_in_one_line(
    argv: tuple[str, ...], code: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each says value, rule and remedy, and leaves no file."""
    assert run(*(word.format(tmp=tmp_path) for word in argv)) == code
    shown = capsys.readouterr().err.strip()
    assert said in shown
    assert len(shown.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_no_half_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file is whole or not there."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        assert run("data", str(tmp_path / "d.npz"), "--dancer", "0.1") == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "cannot be written (File too large)" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_every_action_has_a_module_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    """The table of actions and the folder of modules say the same."""
    folder = Path(train.__file__).parent / "training"
    assert {path.stem.replace("_", "-") for path in folder.glob("[a-z]*.py")} == set(train.ACTIONS)
    for action, about in train.ACTIONS.items():
        assert run(action, "--help") == 0
        assert about in " ".join(capsys.readouterr().out.split())


def test_torch_that_is_not_there_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, training says how to install it."""
    from echelon_engine.errors import UserError

    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(UserError, match=r"train dell: PyTorch cannot be imported .*; install it: pip install"):
        train.torch_or_explain("dell")
