"""Motion and the sound recorded beside it become what is learnt; what has no counterpart is left out and named."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is in the extra `train`")
pytest.importorskip("soundfile", reason="soundfile is in the extra `train`")

from paths import MOTION, needs_shared  # noqa: E402

from echelon_bridges import recordings  # noqa: E402
from echelon_bridges.cli import main  # noqa: E402
from echelon_engine.errors import UserError  # noqa: E402
from echelon_engine.wav import WavWriter  # noqa: E402
from echelon_models.train import dataset  # noqa: E402
from echelon_models.train.features import Stage  # noqa: E402
from echelon_models.weights import load  # noqa: E402

JACKS = MOTION / "bvh/ad-cmu1-jumping_jacks.bvh"


def tone(path: Path, seconds: float, level: float = 0.3) -> Path:
    """Write a tone of 220 Hz, louder on the left."""
    t = np.arange(int(48000 * seconds)) / 48000
    wave = level * np.sin(2 * np.pi * 220 * t)
    with WavWriter(path, 48000) as writer:
        writer.write(np.stack([wave, 0.1 * wave], axis=1).astype(np.float32))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One pair, a motion without a sound, and a sound without a motion."""
    made = tmp_path / "pairs"
    made.mkdir()
    for name in ("jacks.bvh", "alone.bvh"):
        shutil.copyfile(JACKS, made / name)
    tone(made / "jacks.wav", 1.2)
    tone(made / "song.wav", 1.0)
    return made


@needs_shared
def test_what_belongs_together_is_found(folder: Path) -> None:
    """Pairs go by name; everything else is named."""
    found, notices = recordings.pairs(folder)
    assert found == [(folder / "jacks.bvh", folder / "jacks.wav")]
    assert [notice.split(":")[0] for notice in notices] == [str(folder / "alone.bvh"), str(folder / "song.wav")]


@needs_shared
def test_targets_stand_where_the_motion_is_seen(folder: Path) -> None:
    """Rows begin when the models see the first body; they count where somebody moves and the lane is heard."""
    stage = Stage()
    motion, sound = folder / "jacks.bvh", folder / "jacks.wav"
    pair = recordings.pair(motion, sound, stage, renders=20)
    dataset.check(pair)
    alone = stage.of(recordings.load([motion])[0].frames)
    late = round(60 * stage.delay_s)
    assert late > 0
    assert pair.kind == "pair"
    assert pair.frames == min(72, len(alone.c) - late)
    np.testing.assert_array_equal(pair.x, alone.x[late : late + pair.frames])
    assert pair.p_mask.any(axis=0).sum() >= 3
    assert not pair.p_mask[~alone.present[late : late + pair.frames]].any()


@needs_shared
def test_pairs_train_a_net_and_make_a_data_set(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`train dell --pairs` gives weights that say where they come from, `train data --pairs` the same as a file."""
    target = tmp_path / "mine.safetensors"
    words = ["--pairs", str(folder), "--renders", "20"]
    assert main(["train", "dell", str(target), *words, "--epochs", "1", "--batches", "1", "--threads", "1"]) == 0
    assert load(target).metadata["origin"].startswith("trained on pairs (0.0 minutes: 1 pair), seed 1")
    err = capsys.readouterr().err
    assert "notice: " in err
    assert "alone.bvh: has no counterpart" in err
    assert main(["train", "data", str(tmp_path / "set.npz"), *words]) == 0
    (made,) = dataset.read(tmp_path / "set.npz")
    assert made.kind == "pair"


@needs_shared
def test_what_cannot_be_a_pair_is_said(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No folder, no pair, a sound that is silent or too short: a line with the remedy, no trace."""
    with pytest.raises(UserError, match="no such folder"):
        recordings.pairs(tmp_path / "nowhere")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match="no motion with a sound of the same name"):
        recordings.pairs(empty)
    for sound in (tone(folder / "jacks.wav", 1.2, 0.0), tone(folder / "jacks.wav", 0.4)):
        assert sound.exists()
        assert main(["train", "data", str(tmp_path / "set.npz"), "--pairs", str(folder)]) > 0
        err = capsys.readouterr().err
        assert "of 1 pairs none can be learnt from" in err
        assert "Traceback" not in err
