"""Clips: loading by kind, looping without a seam, holding the end."""

from pathlib import Path

import numpy as np
import pytest
from paths import MOTION, needs_shared

from echelon_bridges.motion import files
from echelon_bridges.motion.errors import MotionFileError
from echelon_engine.memory import BREAK, LIMB_FRAME, SYNTHETIC

BVH = sorted((MOTION / "bvh").glob("*.bvh"))


def world(frames: np.ndarray) -> np.ndarray:
    """Return bone positions in the world, (N, 27, 3)."""
    h = frames["heading"].astype(np.float64)[:, None]
    x, y, z = np.moveaxis(frames["position"].astype(np.float64), -1, 0)
    turned = np.stack([np.cos(h) * x + np.sin(h) * z, y, np.cos(h) * z - np.sin(h) * x], -1)
    return turned + frames["origin"][:, None]


@needs_shared
@pytest.mark.parametrize("path", BVH, ids=lambda p: p.stem)
def test_loops_have_no_seam(path: Path) -> None:
    """Over three rounds no bone, no heading and no place on stage moves faster than within the clip, but for 3 m/s."""
    clip = files.load(path)
    loop = clip.loop()
    frames = loop.frames(0, 3 * loop.period + 40)
    rate = clip.rate_hz
    speed = np.linalg.norm(np.diff(world(frames), axis=0), axis=-1).max(axis=1) * rate
    inside = np.linalg.norm(np.diff(world(clip.frames), axis=0), axis=-1).max() * rate
    assert speed.max() < max(1.15 * inside, 3.0)
    turn = np.abs(np.diff(np.unwrap(frames["heading"].astype(np.float64)))) * rate
    turned = np.abs(np.diff(np.unwrap(clip.frames["heading"].astype(np.float64)))) * rate
    assert turn.max() < max(1.2 * turned.max(), 3.0)
    np.testing.assert_array_equal(frames["flags"], [BREAK] + [0] * (len(frames) - 1))
    np.testing.assert_allclose(np.diff(frames["time_ns"]), 1e9 / rate, atol=2)


@needs_shared
def test_loops_begin_as_the_clip_and_can_be_entered_anywhere() -> None:
    """The first round is the recording itself; any stretch equals the same stretch of a longer one."""
    clip = files.load(BVH[0])
    loop = clip.loop()
    np.testing.assert_array_equal(loop.frames(0, loop.period)["rotation"], clip.frames["rotation"][: loop.period])
    whole = loop.frames(0, 400)
    for name in LIMB_FRAME.names or ():
        np.testing.assert_array_equal(whole[name][250:260], loop.frames(250, 10)[name])


@needs_shared
def test_travellers_start_over_before_they_are_lost() -> None:
    """A run that is looped for an hour stays within 200 m, and says BREAK where it starts over."""
    loop = files.load(MOTION / "deepmimic" / "humanoid3d_run.txt").loop()
    again = next(k for k in range(1, 10_000) if loop.frames(k * loop.period, 1)["flags"][0] == BREAK) * loop.period
    frames = loop.frames(again - 200, 400)
    assert np.flatnonzero(frames["flags"]).tolist() == [200]
    assert 50 < np.abs(frames["origin"]).max() < 210
    np.testing.assert_array_equal(frames["origin"][200], loop.frames(0, 1)["origin"][0])
    speed = np.linalg.norm(np.diff(frames["origin"], axis=0), axis=1)[:199] * loop.rate_hz
    assert 1.0 < speed.min() < speed.max() < 6.0


def test_the_shortest_clips_loop() -> None:
    """One frame and two frames give endless motion too."""
    for count in (1, 2):
        frames = np.zeros(count, LIMB_FRAME)
        frames["rotation"][..., 3] = 1.0
        frames["time_ns"] = np.arange(count) * 20_000_000
        found = files.Clip("short", frames, 50.0, np.zeros((27, 3))).loop().frames(0, 7)
        assert found["number"].tolist() == list(range(7))


@needs_shared
def test_a_held_clip_stands_still_and_says_so() -> None:
    """hold() appends the last pose, marked SYNTHETIC, on the clip's own clock."""
    clip = files.load(BVH[-1])
    held = files.hold(clip, 2.0)
    tail = held.frames[len(clip.frames) :]
    assert len(tail) == 100
    assert np.all(tail["flags"] == SYNTHETIC)
    np.testing.assert_array_equal(tail["rotation"], np.repeat(clip.frames[-1:]["rotation"], 100, axis=0))
    np.testing.assert_allclose(np.diff(held.frames["time_ns"]), 2e7, atol=2)
    assert held.duration_s == pytest.approx(clip.duration_s + 2.0)


@needs_shared
def test_captured_datagrams_are_the_motion_they_were_made_from() -> None:
    """The mocopi stream (852 frames, 5 skeletons) gives the frames of the BVH that it was encoded from."""
    stream = files.load(next((MOTION / "packets" / "mocopi_stream").glob("*.smfstream")))
    clip = files.load(BVH[-1])
    assert len(stream.frames) == len(clip.frames) == 852
    for field in ("rotation", "position", "heading", "origin"):
        np.testing.assert_allclose(stream.frames[field], clip.frames[field], atol=1e-5)
    np.testing.assert_allclose(stream.frames["time_ns"], clip.frames["time_ns"], atol=2000)
    assert stream.rate_hz == pytest.approx(50.0, abs=0.01)


@needs_shared
def test_kinds_are_told_by_content_where_the_suffix_is_unknown(tmp_path: Path) -> None:
    """A BVH called .dat plays; a licence called .txt is refused with its line; a folder and a sound are refused."""
    odd = tmp_path / "dance.dat"
    odd.write_bytes(BVH[0].read_bytes())
    assert files.load(odd).name == "dance"
    with pytest.raises(MotionFileError, match="is not JSON"):
        files.load(MOTION / "deepmimic" / "LICENSE.bullet.txt")
    with pytest.raises(MotionFileError, match="is a folder"):
        files.load(tmp_path)
    with pytest.raises(MotionFileError, match="cannot be read"):
        files.load(tmp_path / "nothing.xyz")
    sound = tmp_path / "a.wav"
    sound.write_bytes(b"RIFF0000WAVE")
    with pytest.raises(MotionFileError, match=r"suffix \.wav"):
        files.load(sound)
