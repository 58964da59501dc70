"""Motion of any kind becomes recordings for training; what cannot is named."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paths import MOTION, needs_shared
from performances import perform
from sessions import keep

from echelon_bridges import recordings
from echelon_bridges.motion.dancer import Dancer
from echelon_engine import live
from echelon_engine.config import Config
from echelon_engine.errors import UserError
from echelon_models.train import dataset, teacher
from echelon_models.train.features import Stage
from echelon_models.weights import load_all


@pytest.fixture(scope="module")
def stage() -> Stage:
    """One engine without sound for all tests."""
    return Stage()


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A session of six seconds in which lane 16 was held now and then, and what was played in it."""
    performance = perform(Dancer(2).frames(0, 400), live.initial_settings(Config()), load_all(Config().models))
    return keep(tmp_path_factory.mktemp("sessions"), performance), performance


def test_a_session_gives_the_lanes_that_a_person_moved(played: Any, stage: Stage) -> None:
    """Targets are the positions that were played; only overridden lanes count, in the frames in which they were."""
    path, performance = played
    (found,) = recordings.session(path, stage)
    dataset.check(found)
    controls = performance.controls[: found.frames]
    assert found.kind == "session"
    assert np.array_equal(found.x, controls["x"])
    assert np.array_equal(found.p[:, 16], controls["position"][:, 16])
    assert not np.delete(found.p_mask, 16, axis=1).any()
    held = np.zeros(found.frames, bool)
    for each in performance.inputs[performance.inputs["kind"] == 2]:
        held[each["frame"] :] = each["settings"]["override_on"][16]
    assert 0.2 < held.mean() < 0.8
    assert np.array_equal(found.p_mask[:, 16], held & found.present)
    assert recordings.sessions(path.parent) == [path] == recordings.sessions(path)


def test_a_session_without_a_hand_on_a_lane_is_refused(tmp_path: Path, played: Any, stage: Stage) -> None:
    """There is nothing of the person's own to learn in it."""
    performance = played[1]
    inputs = performance.inputs.copy()
    inputs["settings"]["override_on"] = 0
    path = keep(tmp_path, performance._replace(inputs=inputs))
    with pytest.raises(UserError, match="nobody moved a lane"):
        recordings.session(path, stage)


def test_no_sessions_is_said(tmp_path: Path) -> None:
    """An empty folder and one that is not there."""
    for place, said in ((tmp_path, "holds no sessions"), (tmp_path / "none", "no such folder")):
        with pytest.raises(UserError, match=said):
            recordings.sessions(place)


@needs_shared
def test_every_real_recording_is_found_and_played(stage: Stage) -> None:
    """Five BVH files and twelve clips, licences left aside, each with all its motion."""
    paths = recordings.find([MOTION / "bvh", MOTION / "deepmimic"])
    assert len(paths) == 17
    takes = recordings.load(paths)
    assert len({take.name for take in takes}) == 17
    for take in takes:
        found = recordings.record(take, stage)
        dataset.check(found)
        assert found.kind == "real"
        assert found.frames / 60 == pytest.approx(take.frames["time_ns"][-1] * 1e-9, abs=0.08)
        assert found.energy.max() > 0.3
        assert np.array_equal(found.p, teacher.positions(found.x, found.c))


def test_plan_is_what_was_asked_for_whatever_else_is_made(stage: Stage) -> None:
    """Dances of two minutes, variants of each take and mixtures; each job gives the same whenever it is done."""
    takes = [recordings.Take(name, "real", Dancer(n).frames(0, 90), name) for n, name in enumerate("abc")]
    made = [job() for job in recordings.plan(takes, 2.5, 2, 1)]
    kinds = [take.kind for take in made]
    assert kinds.count("real") == 3
    assert kinds.count("dancer") == 2
    assert kinds.count("augmented") == 2 * (3 + 1)
    assert len({take.name for take in made}) == len(made)
    assert sum(len(take.frames) for take in made if take.kind == "dancer") == 2.5 * 3600
    mixtures = [take for take in made if "+" in take.source]
    assert {len(take.source.split("+")) for take in mixtures} == {3}
    (again,) = (job() for job in recordings.plan(takes, 0.0, 2, 1)[3:4])
    assert again.name == made[5].name
    assert np.array_equal(again.frames["rotation"], made[5].frames["rotation"])
    (other,) = (job() for job in recordings.plan(takes, 0.0, 2, 2)[3:4])
    assert not np.array_equal(other.frames["rotation"][:60], made[5].frames["rotation"][:60])


def test_what_cannot_be_learnt_from_is_named(tmp_path: Path) -> None:
    """A missing file, a folder without motion, a broken file, too short a clip, one with NaN: name, rule, remedy."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/LICENSE.txt").write_text("free")
    broken = tmp_path / "broken.bvh"
    broken.write_text("nothing")
    hierarchy = "HIERARCHY\nROOT Hips\n{\nOFFSET 0 0 0\nCHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation"
    hierarchy += " Yrotation\nEnd Site\n{\nOFFSET 0 0 0\n}\n}\nMOTION\nFrames: 2\nFrame Time: 0.01\n"
    nan = tmp_path / "nan.bvh"
    nan.write_text(hierarchy + "0 0 0 0 0 0\nnan 0 0 0 0 0\n")
    for place, said in ((tmp_path / "empty", "holds no motion"), (tmp_path / "none", "no such file")):
        with pytest.raises(UserError, match=said) as error:
            recordings.find([place])
        assert str(place) in str(error.value)
    for path, said in ((broken, "begins with HIERARCHY"), (nan, "'nan' is not a finite number")):
        with pytest.raises(UserError, match=said) as error:
            recordings.load([path])
        assert str(error.value).startswith(str(path))


@needs_shared
def test_a_folder_gives_what_it_can(tmp_path: Path) -> None:
    """What cannot be used is left out with a notice; a folder of nothing else or a file named outright is an error."""
    source = MOTION / "bvh/ad-cmu1-jumping_jacks.bvh"
    good, bad = tmp_path / "good.bvh", tmp_path / "bad.bvh"
    bad.write_text("nothing")
    with pytest.raises(UserError, match=r"none of its 1 files can be used, .*bad\.bvh.*begins with HIERARCHY"):
        recordings.gather([tmp_path])
    good.write_bytes(source.read_bytes())
    (tmp_path / "again").mkdir()
    (tmp_path / "again/good.bvh").write_bytes(source.read_bytes())
    takes, (notice,) = recordings.gather([tmp_path])
    assert [take.name for take in takes] == ["good", "good'"]
    assert notice.startswith(str(bad))
    assert notice.endswith("it is left out")
    with pytest.raises(UserError, match="begins with HIERARCHY"):
        recordings.gather([good, bad])


@needs_shared
def test_a_clip_too_short_is_named(tmp_path: Path) -> None:
    """Ten frames at 100 a second are no recording."""
    lines = (MOTION / "bvh/ad-rokoko-jesse_dance.bvh").read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("Frames:"))
    path = tmp_path / "short.bvh"
    path.write_text("\n".join([*lines[:at], "Frames: 10", *lines[at + 1 : at + 12]]) + "\n")
    with pytest.raises(UserError, match=r"10 frames of motion in 0\.09 s; .*0\.5 s at least"):
        recordings.load([path])
