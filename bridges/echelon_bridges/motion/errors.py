"""What a motion file can be refused for, said as file, place, value, rule and remedy; and reading one within bounds."""

from __future__ import annotations

from pathlib import Path


class MotionFileError(ValueError):
    """A motion file that cannot be played. `path`, `line` (1-based, 0 for the whole file) and `reason` are kept."""

    def __init__(self, path: str | Path, reason: str, line: int = 0) -> None:
        self.path, self.reason, self.line = Path(path), reason, line
        super().__init__(f"{path}, line {line}: {reason}" if line else f"{path}: {reason}")


def read_bounded(path: str | Path, most_bytes: int) -> bytes:
    """Return the content of a motion file of at most `most_bytes`; MotionFileError for a larger or unreadable one."""
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > most_bytes:
            raise MotionFileError(
                path, f"{size >> 20} MiB: a motion file may have {most_bytes >> 20} MiB at most; cut it into takes"
            )
        return path.read_bytes()
    except OSError as error:
        raise MotionFileError(
            path, f"cannot be read ({error.strerror or error}); check the name and its rights"
        ) from error
