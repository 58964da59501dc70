"""Small text files that people write (styles, shows, maps), read so that no path can hang or fill memory."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from echelon_engine.errors import UserError


class MissingFileError(UserError):
    """There is nothing at this path."""


def read(path: Path, most_bytes: int) -> str:
    """Return the text of a regular file of at most `most_bytes` bytes of UTF-8.

    Raises `MissingFileError` where there is none, `UserError` for a folder, a pipe, a device, a file that is too
    large, cannot be read or is no text. Nothing is opened that could wait or go on for ever.
    """
    name = str(path)
    try:
        _check_kind(name, path.stat().st_mode)
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # it may be another file by now
        with os.fdopen(descriptor, "rb") as stream:
            _check_kind(name, os.fstat(descriptor).st_mode)
            data = stream.read(most_bytes + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingFileError(name, f"cannot be read ({error.strerror})", "check the path") from None
    except (OSError, ValueError) as error:  # ValueError: a zero in the path
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(name, f"cannot be read ({reason})", "check the path") from None
    if len(data) > most_bytes:
        raise UserError(name, f"is larger than {most_bytes} bytes", "name a file that people write")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(name, f"is not UTF-8 text (byte {error.start + 1})", "save it as UTF-8") from None


def _check_kind(name: str, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise UserError(name, "is a folder", "name a file in it")
    if not stat.S_ISREG(mode):
        raise UserError(name, "is no regular file", "pipes and devices are not read")
