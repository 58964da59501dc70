"""Files that people write: whatever lies at the path, reading ends, and says what is wrong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from echelon_bridges import show
from echelon_bridges.controllers import table
from echelon_engine.config import Config
from echelon_engine.errors import UserError
from echelon_models import text_file
from echelon_models.music import styles


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("pipe", "is no regular file"),
        ("device", "is no regular file"),
        ("folder", "is a folder"),
        ("large", "is larger than"),
        ("junk", "is not UTF-8 text"),
    ],
)
def test_what_is_no_text_file_is_refused_by_all_who_read(tmp_path: Path, kind: str, said: str) -> None:
    """A style, a show and a map that are a pipe, a device, a folder, too large or binary: refused at once, by name."""
    path = tmp_path / "x.toml"
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/zero")
        case "folder":
            path.mkdir()
        case "large":
            path.write_text("#" * (show.FILE_BYTES + 1))
        case "junk":
            path.write_bytes(b"\xff\xfe\x00")
    for read in (
        lambda: styles.load(str(path)),
        lambda: show.read(path, Config()),
        lambda: table.read(path),
    ):
        with pytest.raises(UserError, match=said) as caught:
            read()
        assert str(path) in str(caught.value)


def test_a_text_is_read_and_a_missing_one_is_told_apart(tmp_path: Path) -> None:
    """What is there is returned as it is, up to the limit; what is not there has an error of its own."""
    (tmp_path / "a").write_text("äb")
    assert text_file.read(tmp_path / "a", 3) == "äb"
    with pytest.raises(UserError, match="larger than 2 bytes"):
        text_file.read(tmp_path / "a", 2)
    for missing in (tmp_path / "b", tmp_path / "a" / "c"):
        with pytest.raises(text_file.MissingFileError, match="cannot be read"):
            text_file.read(missing, 3)
