"""`audition`: every voice to be heard, with figures; a wrong name is told what is near."""

from pathlib import Path

import numpy as np
import pytest

from echelon_bridges import audition, cli
from echelon_engine import wav
from echelon_models.music.tokens import DRUMS, TRACKS


def test_voices_become_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each named voice becomes a WAV with sound in it, and a line of figures; HH and hh do not overwrite each other."""
    assert cli.main(["audition", "STAB", "HH", "hh", "--out", str(tmp_path / "new")]) == 0
    shown = capsys.readouterr().out
    for name in ("STAB", "HH", "drum-hh"):
        sound, rate_hz = wav.read(tmp_path / "new" / f"{name}.wav")
        assert rate_hz == 48000
        assert 0.02 < np.abs(sound).max() < 0.7
        assert f"{name}.wav" in shown
    assert shown.count("centroid") == 3


def test_a_picture_is_drawn(tmp_path: Path) -> None:
    """`draw` writes a PNG."""
    pytest.importorskip("matplotlib")
    audition.draw(tmp_path / "x.png", audition.render("rim")[:24000], 48000, "rim")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


def test_a_wrong_name_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown voice is refused with the nearest one, and nothing is written."""
    assert cli.main(["audition", "STABB", "--out", str(tmp_path / "none")]) == 2
    assert "STAB" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_every_voice_has_a_phrase() -> None:
    """All tracks, drums and the band have onsets on their tracks, in time, and an end after the last."""
    for voice in (*TRACKS, *DRUMS, audition.BAND):
        notes, seconds = audition.phrase(voice)
        assert notes
        assert max(note.at_s for note in notes) < seconds
        if voice in TRACKS:
            assert {note.track for note in notes} == {TRACKS.index(voice)}
    assert {note.track for note in audition.arrangement(1)} == set(range(12))
