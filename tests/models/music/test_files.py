"""Files of grids by suffix, and pictures of them."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from music_grids import GRIDS, grids, needs_music

from echelon_engine.errors import UserError
from echelon_engine.vocabulary import STEPS
from echelon_models.music import events as ev
from echelon_models.music import files, picture, tokens
from echelon_models.music.piece import absolute, piece
from echelon_models.music.tokens import TRACKS


@pytest.fixture
def song() -> files.Piece:
    """Return three grids with two tempi, the middle one unknown."""
    cells = np.zeros((3, 12, STEPS), np.uint8)
    for number in range(3):
        cells[number, 0, ::4] = tokens.token_of("bd")
        cells[number, 5, 0:3] = [tokens.token_of(word) for word in ("half", "reverb", "C4")]
        cells[number, 8, 0:3] = [tokens.token_of(word) for word in ("ff", "E5", "fill")]
    return piece(cells, [100, 0, 124])


@pytest.mark.parametrize("suffix", [".txt", ".npz", ".mid"])
def test_every_format_gives_back_what_was_written(tmp_path: Path, song: files.Piece, suffix: str) -> None:
    """Onsets come back from each, tempi too; a file that says the tempo where it changes fills those between."""
    path = tmp_path / f"song{suffix}"
    files.write(path, song)
    found = files.read(path)
    for wanted, grid in zip(song.grids, found.grids, strict=True):
        np.testing.assert_array_equal(ev.events(grid), ev.events(wanted))
    assert found.bpm.tolist() == ([100, 100, 124] if suffix == ".mid" else [100, 0, 124])
    assert not found.notes
    assert files.read(path, 2, 3).bpm[-1] == 124
    with pytest.raises(UserError, match="grid 2-4: there are 3, counted from 1"):
        files.read(path, 2, 4)


@needs_music
def test_data_set_gets_its_dynamics_and_durations_as_tokens() -> None:
    """An npz with `vel` and `dur` is read as grids that say them, and what they cannot say is told."""
    found = files.read(GRIDS / "freedoom.npz", 2000, 2003)
    assert len(found) == 4
    onsets = ev.many(found.grids)[1]
    assert len(np.unique(onsets["duration"])) > 2
    assert len(np.unique(onsets["velocity"])) > 2
    assert "duration of" in found.notes[1]


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.npz", b"nothing", "byte 0: is no npz file"),
        ("a.npz", b"PK\3\4nothing", "is no npz file"),
        ("a.txt", b"KICK \xff", "byte 5: is no text"),
        ("a.txt", b"", "holds no grid"),
        ("a.mid", b"nothing", "byte 0: is no MIDI file"),
        ("a.wav", b"", "grids are read from .txt .mid .midi .npz"),
        ("a.png", b"", "grids are read from"),
    ],
)
def test_bad_files_are_refused_by_name_and_place(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    """Each format says what is wrong with a file, and where."""
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError) as caught:
        files.read(tmp_path / name)
    assert str(caught.value).startswith(str(tmp_path / name))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"x": np.zeros(3)}, "holds no array `grid`"),
        ({"grid": np.zeros((2, 3))}, "12 tracks by 32 steps"),
        ({"grid": np.full((1, 12, 32), 81)}, "grid 1, KICK step 0: token 81: the mask"),
        ({"grid": np.zeros((2, 12, 32), int), "bpm": np.zeros(3)}, "do not fit together"),
        ({"grid": np.zeros((1, 12, 32), int), "bpm": np.array([1e9])}, "tempi are 20..400 bpm"),
        (
            {"grid": np.ones((2, 12, 32), int), "vel": np.zeros((1, 12, 32)), "dur": np.zeros((2, 12, 32))},
            "fit together",
        ),
        ({"grid": np.array([{}, None])}, "is no npz file"),
    ],
)
def test_bad_arrays_are_refused(tmp_path: Path, arrays: dict[str, np.ndarray], said: str) -> None:
    """Arrays of other names, shapes and values are refused with the file's name; objects are never loaded."""
    np.savez(tmp_path / "a.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(UserError) as caught:
        files.read(tmp_path / "a.npz")
    assert str(caught.value).startswith(str(tmp_path / "a.npz"))
    assert said in str(caught.value)


@settings(max_examples=30, deadline=None)
@given(grids(), grids())
def test_gates_end_at_the_next_onset_also_in_the_next_grid(one: ev.Grid, two: ev.Grid) -> None:
    """Over a whole piece no two notes of a track sound at once, and no gate is longer than its own grid says."""
    found, steps, gates = absolute(piece(np.array([one, two])))
    assert (gates <= found["gate"]).all()
    for track in range(len(TRACKS)):
        own = (found["track"] == track) & (found["kind"] == ev.PITCH)
        ends = steps[own] + gates[own] + 0.5 * (found["count"][own] == 2)
        after = np.array([min(steps[(found["track"] == track) & (steps > s)], default=np.inf) for s in steps[own]])
        assert (ends <= after + 1e-6).all()


def test_tempi_are_held_until_the_next_known_one(song: files.Piece) -> None:
    """A grid without a tempo has the one before it, a first one the next, all else 120."""
    assert song.tempi.tolist() == [100, 100, 124]
    assert piece(song.grids, [0, 0, 90]).tempi.tolist() == [90, 90, 90]
    assert piece(song.grids).tempi.tolist() == [120, 120, 120]


def test_picture_shows_notes_where_they_sound(tmp_path: Path, song: files.Piece) -> None:
    """A piano roll of three grids has two lines; ink stands in the rows that play, and none in silent ones."""
    plt = pytest.importorskip("matplotlib.pyplot")
    picture.draw(song, tmp_path / "a.png")
    image = plt.imread(tmp_path / "a.png")[..., :3]
    assert image.shape[0] == 2 * 700
    coloured = (image.max(axis=2) - image.min(axis=2) > 0.25).sum(axis=1)  # the ink of notes, by line of the picture
    row = 700 / 12.6  # pixels, about

    def ink(track: str) -> int:
        begin = int(15 + row * TRACKS.index(track))
        return int(coloured[begin + 12 : begin + int(row) - 8].sum())

    assert min(ink("KICK") + ink("PAD"), ink("ARP")) > 100
    assert max(ink("BASS"), ink("VOX"), ink("SNARE")) == 0


def test_pictures_refuse_what_they_cannot_hold(tmp_path: Path, song: files.Piece) -> None:
    """More grids than a picture holds, and places that cannot be written, are said."""
    pytest.importorskip("matplotlib")
    many = piece(np.zeros((33, 12, STEPS), np.uint8))
    with pytest.raises(UserError, match=r"33 grids: one picture holds 1\.\.32"):
        files.write(tmp_path / "a.png", many)
    with pytest.raises(UserError, match="cannot be written"):
        files.write(tmp_path / "absent" / "a.png", song)
