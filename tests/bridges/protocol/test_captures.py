"""Files of recorded datagrams, binary and text."""

from pathlib import Path

import pytest
from paths import MOTION, needs_shared

from echelon_bridges.motion.errors import MotionFileError
from echelon_bridges.protocol import captures
from echelon_bridges.protocol.sniff import protocol_of

PACKETS = MOTION / "packets"


@needs_shared
def test_reference_captures_are_read_whole() -> None:
    """857 datagrams of the stream, and every text capture with the lengths it states."""
    stream = captures.read(PACKETS / "mocopi_stream" / "mocopi-arm-raise-turn-50hz.smfstream")
    assert len(stream) == 857
    assert all(protocol_of(data) == "mocopi" for _, data in stream)
    for path in [*PACKETS.glob("*/*.mocopipackets"), *PACKETS.glob("*/*.vmcpackets")]:
        kinds = {protocol_of(data) for _, data in captures.read(path)}
        assert kinds == {"mocopi" if path.suffix == ".mocopipackets" else "osc"}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """Seconds and bytes survive, empty datagrams too."""
    path = tmp_path / "a.smfstream"
    datagrams = [(0.0, b"abc"), (0.02, b""), (1e6, bytes(3000))]
    captures.write(path, datagrams)
    assert captures.read(path) == datagrams


TEXT = "!x-packet-capture 1\nsender a\n\nd 0.5 3\n  61 62 63  |abc|\n"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "holds no datagram"),
        (b"12345", "header at byte 0"),
        (bytes(8) + b"\x05\0\0\0ab", "record at byte 0"),
        (bytes(8) + b"\xff\xff\xff\xff", "no capture"),
        (TEXT.replace("d 0.5 3", "d 0.5 4").encode(), "line 4: datagram of 4 bytes has 3"),
        (TEXT.replace("62", "zz").encode(), "line 5"),
        (TEXT.replace("0.5", "soon").encode(), "line 4"),
        (b"!nothing", "holds no datagram"),
    ],
)
def test_damaged_captures_are_refused(tmp_path: Path, data: bytes, says: str) -> None:
    """Cut records, wrong lengths and no capture at all are named with their place."""
    path = tmp_path / "a.cap"
    path.write_bytes(data)
    with pytest.raises(MotionFileError) as caught:
        captures.read(path)
    assert says in str(caught.value)


def test_missing_captures_are_refused(tmp_path: Path) -> None:
    """A name that is no file is refused in words."""
    with pytest.raises(MotionFileError, match="cannot be read"):
        captures.read(tmp_path / "none")


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"/a\0\0,\0\0\0", "osc"), (b"#bundle\0" + bytes(8), "osc"),
        (b"#\0\0\0head", "mocopi"), (b"\x23\0\0\0head..", "mocopi"),
        (b'{"a":1}', "json"), (b' \r\n\xef\xbb\xbf{"a":1}', "json"), (b"", None), (b"hello", None), (b"\0" * 40, None),
    ],
)  # fmt: skip
def test_protocols_are_told_by_their_first_bytes(data: bytes, kind: str | None) -> None:
    """One port may receive them all."""
    assert protocol_of(data) == kind
