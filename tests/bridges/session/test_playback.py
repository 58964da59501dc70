"""Sessions played again: `render` gives the bytes heard, life after life; the body plays as a clip."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from performances import RATE, Performance
from sessions import feed_with_a_drop, open_log, same, written

from echelon_bridges import cli
from echelon_bridges.motion import files
from echelon_bridges.motion.dancer import Dancer
from echelon_bridges.motion.errors import MotionFileError
from echelon_bridges.session import format as form
from echelon_bridges.session import playback
from echelon_bridges.session.motion import even
from echelon_bridges.session.reader import Session
from echelon_engine import config_file, wav
from echelon_engine.errors import UserError
from echelon_engine.memory import SYNTHETIC, TOOK_MOTION
from echelon_models.weights import built_in_path


@pytest.fixture(autouse=True)
def _nothing_of_this_person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config_file, "default_path", lambda: tmp_path / "none.toml")


def heard(performance: Performance) -> np.ndarray:
    """What a replay gives of a performance: up to its last control frame."""
    return performance.sound[: int(performance.controls["sample"][-1])]


def test_render_gives_the_bytes_that_were_heard(
    kept: Path, performance: Performance, second_life: Performance, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`render SESSION` writes both lives, one after the other, byte for byte, and the parameters with them."""
    out, params = tmp_path / "out.wav", tmp_path / "out.npz"
    assert cli.main(["render", str(kept), str(out), "--params", str(params)]) == 0
    expected = np.concatenate([heard(performance), heard(second_life)])
    sound, rate_hz = wav.read(out)
    assert rate_hz == RATE
    assert np.array_equal(sound.view(np.uint32), expected.view(np.uint32))
    assert np.abs(expected).max() > 0.01
    with np.load(params) as arrays:
        y = np.concatenate([performance.controls["y"][:-1], second_life.controls["y"][:-1]])
        assert arrays["y"].tobytes() == y.tobytes()
    said = capsys.readouterr()
    assert "times faster" in said.out
    assert f"({len(expected)} samples, up to the last control frame of each life)" in said.out
    assert said.err == ""


def test_render_of_a_cut_session_plays_up_to_the_cut(
    copy: Callable[[], Path], performance: Performance, tmp_path: Path
) -> None:
    """Whatever byte a kill hit, what is rendered is the beginning of what was heard."""
    for share in (0.1, 0.21, 0.4):
        folder = copy()
        data = (folder / "frames").read_bytes()
        (folder / "frames").write_bytes(data[: int(len(data) * share)])
        assert cli.main(["render", str(folder), str(tmp_path / "o.wav"), "--seconds", "3"]) == 0
        sound, _ = wav.read(tmp_path / "o.wav")
        assert len(sound) > 0
        assert sound.tobytes() == performance.sound[: len(sound)].tobytes()


def hurt(folder: Path, kind: int, which: int) -> None:
    """Damage the payload of one record of a session."""
    data = bytearray((folder / "frames").read_bytes())
    data[form.scan(bytes(data)).places[kind][which] + 30] ^= 0x10
    (folder / "frames").write_bytes(data)


def test_a_damaged_session_plays_up_to_the_damage(
    copy: Callable[[], Path], performance: Performance, second_life: Performance, tmp_path: Path
) -> None:
    """What lies behind a damaged record is read; its life plays byte for byte up to there, the next one whole."""
    for kind, which, lost in ((TOOK_MOTION, 150, (0, 1)), (form.CONTROLS, 200, (1, 0))):
        folder = copy()
        hurt(folder, kind, which)
        session = Session.open(folder)
        assert "1 damaged place from byte" in session.notes[0]
        assert not session.whole
        life, other = session.lives()
        assert (len(life.controls), len(life.inputs)) == (
            len(performance.controls) - lost[0],
            len(performance.inputs) - lost[1],
        )
        assert same(life.events, performance.events)
        assert 100 < life.plays < 200
        assert "what was damaged after control frame" in life.missing[-1]
        assert other.whole
        assert same(other.controls, second_life.controls)
        assert cli.main(["render", str(folder), str(tmp_path / "o.wav")]) == 0
        sound, _ = wav.read(tmp_path / "o.wav")
        first = performance.sound[: int(performance.controls["sample"][life.plays])]
        assert sound.tobytes() == np.concatenate([first, heard(second_life)]).tobytes()


def test_a_lost_note_of_a_gap_is_allowed_for(tmp_path: Path, performance: Performance) -> None:
    """Where the damaged record may have told of dropped inputs, nothing is played that may have needed them."""
    log = open_log(tmp_path)
    feed_with_a_drop(log, performance, 30)
    written(log)
    log.close()
    hurt(log.path, form.GAP, 0)
    life = Session.open(log.path).life(1)
    assert life.plays == 0
    assert "damaged" in life.missing[-1]
    with pytest.raises(UserError, match="cannot be played again"):
        life.playable()


def test_seconds_end_the_render(kept: Path, performance: Performance, tmp_path: Path) -> None:
    """`--seconds` counts from the beginning."""
    assert cli.main(["render", str(kept), str(tmp_path / "o.wav"), "--seconds", "1"]) == 0
    sound, _ = wav.read(tmp_path / "o.wav")
    assert 0.98 * RATE < len(sound) < 1.02 * RATE
    assert sound.tobytes() == performance.sound[: len(sound)].tobytes()


def test_other_weights_are_refused(kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Weights of another content are refused with both digests; the same content under another name plays."""
    same = tmp_path / "same.safetensors"
    data = built_in_path("dell_gated").read_bytes()
    same.write_bytes(data)
    target = str(tmp_path / "o.wav")
    argv = ["render", str(kept), target, "--seconds", "0.5", "--set", f"models.gated={same}"]
    assert cli.main(argv) == 0
    same.write_bytes(data + b" ")
    assert cli.main(argv) == 1
    said = capsys.readouterr().err
    assert "the session was played with" in said
    assert "--anyway" in said
    assert cli.main(["render", str(kept), target, "--set", "models.lim_rps=absent.safetensors"]) == 1
    assert "no such weights" in capsys.readouterr().err
    assert cli.main(["render", str(kept), target, "--hold", "1"]) == 2
    assert cli.main(["render", "dancer", target, "--anyway"]) == 2


def test_another_product_is_said(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another version plays, with a warning that names it: the bytes may differ."""
    here = playback.product()
    monkeypatch.setattr(playback, "product", lambda: here | {"version": "9.9"})
    assert cli.main(["render", str(kept), str(tmp_path / "o.wav"), "--seconds", "0.5"]) == 0
    said = capsys.readouterr().err
    assert "9.9 now" in said
    assert "bytes may differ" in said


def test_the_body_plays_as_a_clip(kept: Path, performance: Performance, second_life: Performance) -> None:
    """`files.load` gives the body of both lives: every frame that was taken, in its time, lost ones filled in."""
    clip = files.load(kept)
    taken = [each.inputs["motion"][each.inputs["kind"] == TOOK_MOTION] for each in (performance, second_life)]
    assert clip.rate_hz == pytest.approx(60.0, rel=1e-3)
    begin = int(taken[0]["time_ns"][0])
    assert clip.duration_s == pytest.approx((int(taken[1]["time_ns"][-1]) - begin) * 1e-9, abs=0.05)
    np.testing.assert_allclose(clip.frames["time_ns"], np.arange(len(clip.frames)) / 60 * 1e9, atol=9e6)
    assert set((np.concatenate(taken)["time_ns"] - begin).tolist()) <= set(clip.frames["time_ns"].tolist())
    between = (clip.frames["time_ns"] > 6.3e9) & (clip.frames["time_ns"] < 6.9e9)
    assert (clip.frames["flags"][between] == SYNTHETIC).all()  # nobody was heard between the lives
    assert same(files.load(kept / "frames").frames, clip.frames)
    np.testing.assert_allclose(clip.offsets[1:], Dancer(seed=1, tempo_bpm=96.0).offsets[1:], atol=1e-4)
    assert len(clip.loop().frames(0, 1000)) == 1000


def test_an_even_rate_keeps_frames_and_fills_what_is_lost() -> None:
    """A lost frame lies between its neighbours; in a long gap the last pose is held and counts as no motion."""
    frames = Dancer(seed=2, tempo_bpm=96.0).frames(600, 120)
    frames["time_ns"] -= frames["time_ns"][0]
    lost = np.ones(120, bool)
    lost[[30, 31, 77]] = False
    lost[90:105] = False
    filled, rate_hz, notes = even(frames[lost])
    assert rate_hz == pytest.approx(60.0)
    assert len(filled) == 120
    assert "18 of 120 frames were not heard: 15 of them are held" in notes[0]
    for name in ("rotation", "position", "origin", "heading"):
        assert filled[name][lost].tobytes() == frames[name][lost].tobytes()
        np.testing.assert_allclose(filled[name][77], frames[name][77], atol=0.02)
    assert (filled["flags"][90:105] == SYNTHETIC).all()
    assert (filled["position"][90:105] == frames["position"][89]).all()
    assert not filled["flags"][:90][1:].any()


def test_a_session_without_a_body_is_no_motion_file(tmp_path: Path) -> None:
    """It is said what is missing, as for any motion file."""
    log = open_log(tmp_path)
    log.close()
    with pytest.raises(MotionFileError, match="nobody moves"):
        files.load(log.path)
    (log.path / "frames").write_bytes((log.path / "frames").read_bytes()[:200])
    with pytest.raises(MotionFileError, match="ends within its header"):
        files.load(log.path)


def test_a_picture_is_drawn(kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`sessions plot` writes a PNG of both lives that is not empty."""
    pytest.importorskip("matplotlib")
    from matplotlib import image

    target = tmp_path / "o.png"
    assert cli.main(["sessions", "plot", str(kept), str(target)]) == 0
    pixels = image.imread(target)
    assert pixels.shape[0] > 800
    assert pixels.shape[1] > 1200
    assert len(np.unique(pixels.reshape(-1, pixels.shape[2])[::97], axis=0)) > 200
    assert "o.png" in capsys.readouterr().out


def test_without_matplotlib_the_extra_is_named(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where matplotlib is absent the message says which extra brings it."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert cli.main(["sessions", "plot", str(kept), str(tmp_path / "o.png")]) == 1
    assert "echelon-engine[plot]" in capsys.readouterr().err


def test_list_inspect_and_export(
    kept: Path, copy: Callable[[], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`sessions` lists whole and cut ones, `inspect` says lives and weights, `export` gives every array."""
    cut = copy()
    data = (cut / "frames").read_bytes()
    (cut / "frames").write_bytes(data[:-30])
    whole = copy()
    (cut.parent / "zz").mkdir()
    (cut.parent / "zz" / "frames").write_bytes(b"something else")
    assert cli.main(["sessions", str(cut.parent)]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert lines[whole.name].split()[1:] == ["0:09.0", "5", "2", "whole"]
    assert "its last record is cut" in lines[cut.name]
    assert "not the log of a session" in lines["zz"]
    assert cli.main(["sessions", "inspect", str(kept)]) == 0
    said = capsys.readouterr().out
    for part in ("life 1", "life 2", "359 can be played again", "dell_gated", "started", "monotonic"):
        assert part in said
    assert cli.main(["sessions", "export", str(kept), str(tmp_path / "o.npz")]) == 0
    with np.load(tmp_path / "o.npz") as arrays:
        assert len(arrays["controls"]) == 360 + 180
        assert set(arrays) == {"controls", "inputs", "events", "grids", "header", "bars", "marks"}
    assert Session.open(kept).life(1).controls.tobytes()


@pytest.mark.parametrize(
    ("argv", "code", "parts"),
    [
        ([], 2, ["session.log"]),
        (["absent"], 1, ["absent", "no such folder"]),
        (["inspect"], 2, ["takes SESSION"]),
        (["plot", "a"], 2, ["takes SESSION OUT.png"]),
        (["plot", "absent", "o.txt"], 2, ["must end in .png"]),
        (["export", "absent", "o.foo"], 2, ["must end in .mid, .txt, .npz"]),
        (["inspect", "absent"], 1, ["is no session"]),
        (["one", "two"], 2, ["sessions inspect SESSION"]),
    ],
)
def test_mistakes_are_explained(
    argv: list[str], code: int, parts: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Each has value, rule and remedy, and its exit code."""
    assert cli.main(["sessions", *argv]) == code
    said = capsys.readouterr().err
    for part in parts:
        assert part in said
