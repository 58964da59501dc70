"""The shared block as a file that every process maps: made by the supervisor, refused when foreign or older."""

from __future__ import annotations

import contextlib
import mmap
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from echelon_engine.errors import UserError
from echelon_engine.memory import MAGIC, SCHEMA, SHARED


class BlockError(UserError):
    """A shared block that cannot be made or must not be used."""


def folder() -> Path:
    """Return where blocks live: memory-backed /dev/shm on Linux, the temporary folder elsewhere."""
    return Path("/dev/shm") if sys.platform.startswith("linux") else Path(tempfile.gettempdir())


def path_of(name: str) -> Path:
    """Return the file of the engine called `name`."""
    return folder() / f"echelon-{os.getuid()}-{name}.block"


class SharedBlock:
    """A mapped block; `shared` is its one record of `memory.SHARED`.

    `create` replaces whatever a dead owner left; `attach` raises `BlockError` for a file that is missing, too short,
    foreign or of another schema. The owner calls `unlink`; everybody calls `close`.
    """

    def __init__(self, path: Path, mapping: mmap.mmap) -> None:
        self.path = path
        self._mapping = mapping
        self._array = np.frombuffer(mapping, SHARED, 1)
        self.shared: Any = self._array[0]

    @property
    def address(self) -> int:
        """Address of the record in this process."""
        return int(self._array.ctypes.data)

    @classmethod
    def create(cls, name: str, rate_hz: int = 48000, block_frames: int = 512) -> SharedBlock:
        """Make the block of engine `name`, zeroed, with its triple buffers ready and epoch 1."""
        path = path_of(name)
        path.unlink(missing_ok=True)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise BlockError(
                str(path), f"cannot make the shared block ({error.strerror})", f"free {path.parent}"
            ) from None
        try:
            os.ftruncate(descriptor, SHARED.itemsize)
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(descriptor, 0, SHARED.itemsize)  # full memory shows here, not as a crash later
            mapping = mmap.mmap(descriptor, SHARED.itemsize)
        except OSError as error:
            path.unlink(missing_ok=True)
            rule = f"the shared block needs {SHARED.itemsize // 1024} KiB ({error.strerror})"
            raise BlockError(str(path), rule, f"free {path.parent}") from None
        finally:
            os.close(descriptor)
        block = cls(path, mapping)
        init_shared(block.shared, rate_hz, block_frames)
        return block

    @classmethod
    def attach(cls, name: str) -> SharedBlock:
        """Map the block of the running engine `name`."""
        path = path_of(name)
        try:
            descriptor = os.open(path, os.O_RDWR)
        except OSError:
            raise BlockError(f"engine {name!r}", "is not running", "start one with: echelon-engine run") from None
        try:
            size = os.fstat(descriptor).st_size
            if size != SHARED.itemsize:
                rule = f"{size} bytes, this version's block has {SHARED.itemsize}"
                raise BlockError(str(path), rule, "stop the engine that made it")
            mapping = mmap.mmap(descriptor, SHARED.itemsize)
        finally:
            os.close(descriptor)
        block = cls(path, mapping)
        header = block.shared["header"]
        magic, schema = int(header["magic"]), int(header["schema"])
        if magic != MAGIC:
            block.close()
            raise BlockError(str(path), f"not a block of this engine (magic {magic:#x})", "remove the file")
        if schema != SCHEMA:
            block.close()
            raise BlockError(
                str(path), f"schema {schema}, this version speaks {SCHEMA}", "stop the engine that made it"
            )
        return block

    def close(self) -> None:
        """Unmap. References to `shared` must be gone; if some are left, the mapping goes with the last of them."""
        self.shared = None
        del self._array
        with contextlib.suppress(BufferError):
            self._mapping.close()

    def unlink(self) -> None:
        """Remove the file; processes that have it mapped keep their mapping."""
        self.path.unlink(missing_ok=True)


def init_shared(shared: Any, rate_hz: int, block_frames: int) -> None:
    """Write the header and make the triple buffers ready, in a zeroed record of `memory.SHARED`.

    The magic is written last: a block without it is not ready.
    """
    for name in ("devices", "settings"):
        buffer = shared[name]
        buffer["back"][0], buffer["middle"][0], buffer["front"][0] = 0, 1, 2
    header = shared["header"]
    header["schema"] = SCHEMA
    header["epoch"] = 1
    header["rate_hz"] = rate_hz
    header["block_frames"] = block_frames
    header["magic"] = MAGIC


def new_shared(rate_hz: int, block_frames: int) -> Any:
    """Return a private record of `memory.SHARED`, for offline rendering and tests."""
    array = np.zeros(1, SHARED)
    init_shared(array[0], rate_hz, block_frames)
    return array[0]
