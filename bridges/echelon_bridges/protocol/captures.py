"""Recorded datagrams as files: `.smfstream` (binary) and the `.mocopipackets` and `.vmcpackets` text captures.

A binary record is `f64 seconds, u32 length, bytes`, little-endian. A text capture has header lines, then for each
datagram a line `d SECONDS LENGTH` and its bytes in hex, 16 a line, an ASCII column behind `|`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

from echelon_bridges.motion.errors import MotionFileError

MAX_DATAGRAM = 65536
Datagram = tuple[float, bytes]


def read(path: str | Path) -> list[Datagram]:
    """Return (seconds, bytes) of every datagram in a capture; MotionFileError says where it is damaged."""
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise MotionFileError(path, f"cannot be read ({error.strerror or error}); check the name") from error
    found = list(_text(data, path) if data.startswith(b"!") else _binary(data, path))
    if not found:
        raise MotionFileError(path, "holds no datagram; record again")
    return found


def write(path: str | Path, datagrams: Iterable[Datagram]) -> None:
    """Write datagrams (seconds, bytes) as a binary capture."""
    with Path(path).open("wb") as file:
        for seconds, data in datagrams:
            file.write(struct.pack("<dI", seconds, len(data)) + data)


def _binary(data: bytes, path: Path) -> Iterator[Datagram]:
    at = 0
    while at < len(data):
        if len(data) - at < 12:
            raise MotionFileError(
                path, f"ends inside a record's header at byte {at}; the file is cut short: copy it again"
            )
        seconds, size = struct.unpack_from("<dI", data, at)
        if not math.isfinite(seconds) or size > MAX_DATAGRAM:
            raise MotionFileError(
                path, f"byte {at}: a record of {size} bytes at {seconds} s; this is no capture of datagrams"
            )
        if size > len(data) - at - 12:
            raise MotionFileError(path, f"ends inside the record at byte {at}; the file is cut short: copy it again")
        yield seconds, data[at + 12 : at + 12 + size]
        at += 12 + size


def _text(data: bytes, path: Path) -> Iterator[Datagram]:
    seconds, size, line_of, body = 0.0, -1, 0, bytearray()
    for number, line in enumerate(data.decode("utf-8", errors="replace").splitlines(), 1):
        words = line.split()
        try:
            if line.startswith("d "):
                if size >= 0:
                    yield _whole(seconds, size, body, path, line_of)
                seconds, size, line_of, body = float(words[1]), int(words[2]), number, bytearray()
            elif size >= 0 and line[:1].isspace() and words:
                body += bytes.fromhex(line.split("|", 1)[0])
        except (ValueError, IndexError) as error:
            raise MotionFileError(
                path, f"{line[:40]!r} is neither 'd SECONDS LENGTH' nor bytes in hex", number
            ) from error
    if size >= 0:
        yield _whole(seconds, size, body, path, line_of)


def _whole(seconds: float, size: int, body: bytearray, path: Path, line: int) -> Datagram:
    if len(body) != size or size > MAX_DATAGRAM or not math.isfinite(seconds):
        raise MotionFileError(
            path, f"datagram of {size} bytes has {len(body)}; the file is cut short: copy it again", line
        )
    return seconds, bytes(body)
