"""The styles that can be chosen while it plays, each read once for every state of its file.

shelf = StyleShelf(config.band.styles)
style = shelf.get("house")                               # raises StyleError with the file, the place and the reason
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from echelon_engine import live_table
from echelon_models.music import styles
from echelon_models.music.style import Style, StyleError

Stamp = tuple[str, int, int, int] | None  # path, file number, time of change in ns and size


class StyleShelf:
    """The styles of the product and of a person's own `folder`; `names` are in the order of their numbers."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder).expanduser() if folder else None
        self.names = live_table.styles(folder)
        self._known: dict[str, tuple[Stamp, Style | StyleError]] = {}

    def get(self, name: str) -> Style:
        """Return a style as its file is now. Raises `StyleError`."""
        stamp = self.stamp(name)
        if name not in self._known or self._known[name][0] != stamp:
            found: Style | StyleError
            try:
                found = styles.load(name, self.folder, self.names)
            except StyleError as error:
                found = error
            self._known[name] = stamp, found
        found = self._known[name][1]
        if isinstance(found, StyleError):
            raise StyleError(found.value, found.rule, found.remedy)
        return found

    def stamp(self, name: str) -> Stamp:
        """Return what tells whether a style's file has changed; None where there is none."""
        path = styles.place(name, self.folder)
        with contextlib.suppress(OSError):
            found = path.stat()
            return str(path), found.st_ino, found.st_mtime_ns, found.st_size
        return None
