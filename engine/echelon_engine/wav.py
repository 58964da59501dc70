"""WAV files: written so that they survive a kill at any moment, read back for tests and tools.

float32 is WAVE_FORMAT_IEEE_FLOAT with its `fact` chunk, 24 bit plain PCM (Multimedia Programming Interface and Data
Specifications 1.0, and its 1994 revision for the formats). The sizes in the header are brought up to date once a second
of sound: a file whose writer was killed opens in any program and holds everything up to the last second.
"""

from __future__ import annotations

import contextlib
import os
import struct
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from echelon_engine.errors import UserError

Encoding = Literal["float32", "pcm24"]
PCM, IEEE_FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
SAMPLE_BYTES: dict[Encoding, int] = {"float32": 4, "pcm24": 3}
MOST_BYTES = 0xFFFF_FFFF  # the size fields hold 32 bits
FULL_SCALE_24 = 8388607.0


HEADER_MOST = 128  # bytes in which a header of ours ends


class OutputError(UserError):
    """A sound file that cannot be opened, written or grown, or that is no readable WAV."""


def _header(rate_hz: int, channels: int, encoding: Encoding, frames: int) -> bytes:
    width = SAMPLE_BYTES[encoding]
    frame_bytes = channels * width
    data = frames * frame_bytes
    if encoding == "float32":
        # cbSize 0 belongs to every format that is not plain PCM.
        about = struct.pack("<HHIIHHH", IEEE_FLOAT, channels, rate_hz, rate_hz * frame_bytes, frame_bytes, 32, 0)
        chunks = b"fmt " + struct.pack("<I", len(about)) + about + b"fact" + struct.pack("<II", 4, frames)
    else:
        about = struct.pack("<HHIIHH", PCM, channels, rate_hz, rate_hz * frame_bytes, frame_bytes, 24)
        chunks = b"fmt " + struct.pack("<I", len(about)) + about
    riff = 4 + len(chunks) + 8 + data + (data & 1)
    return b"RIFF" + struct.pack("<I", riff) + b"WAVE" + chunks + b"data" + struct.pack("<I", data)


def to_pcm24(samples: NDArray[np.float32]) -> bytes:
    """Return samples -1..1 as little-endian 24-bit integers, rounded to nearest, clipped; not finite becomes 0."""
    finite = np.nan_to_num(np.asarray(samples, np.float64), nan=0.0, posinf=1.0, neginf=-1.0)
    whole = np.rint(np.clip(finite, -1.0, 1.0) * FULL_SCALE_24).astype("<i4")
    return whole.reshape(-1, 1).view(np.uint8)[:, :3].tobytes()


class WavWriter:
    """Writes float32 blocks to a WAV file; use as a context manager or call `close`.

    `path` is replaced if it exists; `rate_hz` and `channels` as heard; `encoding` "float32" or "pcm24". The same calls
    give the same bytes. Raises `OutputError` when the path cannot be opened, the disk refuses, or the file would pass
    4 GiB (what was written until then stays readable).
    """

    def __init__(
        self, path: str | os.PathLike[str], rate_hz: int, channels: int = 2, encoding: Encoding = "float32"
    ) -> None:
        if encoding not in SAMPLE_BYTES:
            raise OutputError(f"encoding {encoding!r}", "a WAV is written as float32 or pcm24", "choose one of the two")
        if not 1 <= channels <= 64:
            raise OutputError(f"{channels} channels", "a WAV is written with 1 to 64 channels", "choose fewer channels")
        self.path = Path(path)
        self.rate_hz, self.channels, self.encoding = int(rate_hz), channels, encoding
        self.frames = 0
        self._header_frames = 0
        self._frame_bytes = channels * SAMPLE_BYTES[encoding]
        self.max_frames = (MOST_BYTES - len(self._packed()) - 1) // self._frame_bytes
        try:
            self._file = self.path.open("wb", buffering=0)
        except OSError as error:
            remedy = "choose a folder that exists and that you may write to"
            raise OutputError(str(path), f"cannot be written ({error.strerror})", remedy) from error
        try:
            self._put(self._packed())
        except OutputError:
            self._file.close()
            raise

    def _packed(self) -> bytes:
        return _header(self.rate_hz, self.channels, self.encoding, self.frames)

    def _put(self, data: bytes) -> None:
        try:
            view = memoryview(data)
            while view:
                view = view[self._file.write(view) :]
        except OSError as error:
            raise OutputError(
                str(self.path), f"the disk refused more ({error.strerror})", "free some space and record again"
            ) from error

    def write(self, samples: NDArray[np.float32]) -> None:
        """Append `samples`, float32 (n, channels), full scale 1; (n,) is taken for one channel."""
        block = np.ascontiguousarray(samples, np.float32).reshape(-1, self.channels)
        room = self.max_frames - self.frames
        kept = block[:room]
        if self._file.closed:
            raise OutputError(str(self.path), "was closed already", "open a new file")
        self._put(kept.astype("<f4").tobytes() if self.encoding == "float32" else to_pcm24(kept))
        self.frames += len(kept)
        full = len(kept) < len(block)
        if full or self.frames - self._header_frames >= self.rate_hz:
            self.patch()
        if full:
            hours = self.max_frames / self.rate_hz / 3600.0
            raise OutputError(
                str(self.path), f"a WAV of this format holds {hours:.1f} hours (4 GiB)", "record to a second file"
            )

    def patch(self) -> None:
        """Bring the sizes in the header up to date, so that the file can be read as it is now."""
        end = self._file.seek(0, os.SEEK_CUR)
        self._file.seek(0)
        self._put(self._packed())
        self._file.seek(end)
        self._header_frames = self.frames

    def close(self) -> None:
        """Finish and close the file; closing twice does nothing."""
        if self._file.closed:
            return
        try:
            if self.frames * self._frame_bytes & 1:
                self._put(b"\0")  # chunks end on even bytes
            self.patch()
        finally:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def mend(path: str | os.PathLike[str]) -> None:
    """Let the header of a recording that was cut off (by kill -9, a power cut) own all the samples the file holds.

    Only files as `WavWriter` makes them are touched; anything else, or what cannot be written, is left as it is.
    """
    with contextlib.suppress(OSError), Path(path).open("r+b") as file:
        start = file.read(HEADER_MOST)
        data = start.find(b"data")
        if start[:4] != b"RIFF" or start[8:12] != b"WAVE" or data < 0:
            return
        held = file.seek(0, os.SEEK_END) - (data + 8)
        frame_bytes = struct.unpack_from("<H", start, 32)[0]
        held -= held % max(frame_bytes, 1)
        if not struct.unpack_from("<I", start, data + 4)[0] < held < 1 << 32:
            return
        file.seek(data + 4)
        file.write(struct.pack("<I", held))
        file.seek(4)
        file.write(struct.pack("<I", data + held + (held & 1)))
        if (fact := start.find(b"fact", 0, data)) > 0:
            file.seek(fact + 8)
            file.write(struct.pack("<I", held // frame_bytes))


def read(path: str | os.PathLike[str]) -> tuple[NDArray[np.float32], int]:
    """Return (samples, rate_hz): float32 (frames, channels), full scale 1; 16- and 24-bit PCM and float32.

    A file cut short is read as far as it goes. Raises `OutputError` when it is no WAV of these formats.
    """
    data = Path(path).read_bytes()
    name = str(path)
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise OutputError(name, "is no WAV file", "give a file that begins with RIFF .. WAVE")
    at, about, body = 12, b"", None
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] == b"fmt ":
            about = data[at + 8 : at + 8 + size]
        elif data[at : at + 4] == b"data":
            body = data[at + 8 : at + 8 + size]
            break
        at += 8 + size + (size & 1)
    if len(about) < 16 or body is None:
        raise OutputError(name, "has no format or no sound in it", "record it again")
    kind, channels, rate_hz, _, frame_bytes, bits = struct.unpack("<HHIIHH", about[:16])
    if kind == EXTENSIBLE and len(about) >= 26:
        kind = int.from_bytes(about[24:26], "little")
    if (
        (kind, bits) not in ((IEEE_FLOAT, 32), (PCM, 24), (PCM, 16))
        or frame_bytes != channels * bits // 8
        or not channels
    ):
        raise OutputError(name, f"format {kind} with {bits} bits", "16- and 24-bit PCM and 32-bit float can be read")
    body = body[: len(body) // frame_bytes * frame_bytes]
    if bits == 32:
        samples = np.frombuffer(body, "<f4").astype(np.float32)
    elif bits == 16:
        samples = np.frombuffer(body, "<i2").astype(np.float32) / np.float32(32767.0)
    else:
        padded = np.zeros((len(body) // 3, 4), np.uint8)
        padded[:, 1:] = np.frombuffer(body, np.uint8).reshape(-1, 3)
        samples = ((padded.view("<i4")[:, 0] >> 8) / FULL_SCALE_24).astype(np.float32)
    return samples.reshape(-1, channels), rate_hz
