"""What a motion file can be refused for, said as file, place, value, rule and remedy."""

from __future__ import annotations

from pathlib import Path


class MotionFileError(ValueError):
    """A motion file that cannot be played. `path`, `line` (1-based, 0 for the whole file) and `reason` are kept."""

    def __init__(self, path: str | Path, reason: str, line: int = 0) -> None:
        self.path, self.reason, self.line = Path(path), reason, line
        super().__init__(f"{path}, line {line}: {reason}" if line else f"{path}: {reason}")
