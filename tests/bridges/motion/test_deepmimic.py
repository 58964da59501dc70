"""DeepMimic clips: facing, hinges, floor, and refusals."""

import json
from pathlib import Path

import numpy as np
import pytest
from paths import MOTION, needs_shared

from echelon_bridges.motion import deepmimic, files
from echelon_bridges.motion.errors import MotionFileError
from echelon_bridges.motion.skeleton import INDEX

CLIPS = sorted((MOTION / "deepmimic").glob("humanoid3d_*.txt"))


def standing(**changed: float) -> list[float]:
    """Return one frame of a body that stands; `changed` maps column names cNN to values."""
    frame = [1 / 30, 0.0, 0.85, 0.0] + [0.0] * 40
    for column in (4, 8, 12, 16, 21, 25, 30, 35, 39):
        frame[column] = 1.0
    for name, value in changed.items():
        frame[int(name[1:])] = value
    return frame


def write(tmp_path: Path, frames: object) -> Path:
    """Write a clip of these frames."""
    path = tmp_path / "clip.txt"
    path.write_text(json.dumps({"Loop": "none", "Frames": frames}))
    return path


@needs_shared
@pytest.mark.parametrize("name", ["walk", "run"])
def test_walkers_walk_forward_on_bending_knees(name: str) -> None:
    """The root travels along its own +Z, knees bend backwards, elbows forwards, feet stay above the floor."""
    frames = files.load(MOTION / "deepmimic" / f"humanoid3d_{name}.txt").frames
    seconds = np.diff(frames["time_ns"])[:, None] * 1e-9
    velocity = np.diff(frames["origin"], axis=0) / seconds
    heading = frames["heading"][:-1]
    assert np.mean(velocity[:, 0] * np.sin(heading) + velocity[:, 2] * np.cos(heading)) > 0.8
    for side in ("l_", "r_"):
        shank = frames["rotation"][:, INDEX[side + "low_leg"]].astype(np.float64)
        assert np.degrees(2 * np.arctan2(shank[:, 0], shank[:, 3])).max() > 50  # +X: the shank swings back
        assert np.degrees(2 * np.arctan2(shank[:, 0], shank[:, 3])).min() > -1
        p = frames["position"]
        upper = p[:, INDEX[side + "low_arm"]] - p[:, INDEX[side + "up_arm"]]
        lower = p[:, INDEX[side + "hand"]] - p[:, INDEX[side + "low_arm"]]
        # an elbow that bends forward turns the forearm from hanging towards +Z
        assert np.mean(upper[:, 1] * lower[:, 2] - upper[:, 2] * lower[:, 1]) < 0
        assert (p[:, INDEX[side + "foot"], 1] + frames["origin"][:, 1]).min() > -0.05
    assert np.median(frames["position"][:, INDEX["l_up_arm"], 0]) > 0.1


@needs_shared
@pytest.mark.parametrize("path", CLIPS, ids=lambda p: p.stem)
def test_every_clip_plays(path: Path) -> None:
    """All twelve clips give finite bodies no larger than a person, with rising time; the last frame lasts 0 s."""
    clip = files.load(path)
    assert np.isfinite(clip.frames["position"]).all()
    assert np.abs(clip.frames["position"]).max() < 1.3
    assert np.all(np.diff(clip.frames["time_ns"]) > 0)
    assert 14 < clip.rate_hz < 61
    assert clip.loop().frames(0, 500).shape == (500,)


def test_a_standing_body_stands(tmp_path: Path) -> None:
    """All rotations identity: legs and arms hang, and the left arm is at +X."""
    frames = files.load(write(tmp_path, [standing(), standing()])).frames
    hand = frames["position"][0, INDEX["l_hand"]]
    assert hand[0] > 0.1
    assert hand[1] < 0.0
    assert frames["position"][0, INDEX["l_foot"], 1] == pytest.approx(-0.83, abs=0.01)
    assert frames["heading"][0] == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("frames", "says"),
    [
        ([], "no list 'Frames'"),
        ("fish", "no list 'Frames'"),
        ([standing()[:-1]], "frame 0 has 43 numbers"),
        ([standing(), standing(c7=float("nan"))], "frame 1 holds"),
        ([standing(c5="x")], "frame 0 holds"),
        ([standing(c5=True)], "frame 0 holds"),
        ([standing(c0=-1.0)], "lasts -1.0 s"),
        ([standing(c0=0.0), standing()], "frame 0 lasts 0 s"),
        ([standing(), standing(c8=0.0)], "frame 1: rotation of chest has length 0"),
    ],
)
def test_damaged_clips_are_refused(tmp_path: Path, frames: object, says: str) -> None:
    """Wrong counts, words, NaN, zero rotations and zero durations are named with their frame."""
    with pytest.raises(MotionFileError) as caught:
        deepmimic.read(write(tmp_path, frames))
    assert says in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"{", b"[1]", b"\xff\xfe", b"[" * 100_000, b"null", b"1" * 5000])
def test_bytes_that_are_no_clip_are_refused(data: bytes) -> None:
    """Empty, cut, binary and absurd JSON is refused by MotionFileError alone."""
    with pytest.raises(MotionFileError):
        deepmimic.parse(data)
