"""The grids that may play, by number: control records name only the number of the one that does. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from echelon_bridges.messages.fields import copied

MOST_GRIDS = 64  # that are kept, half a minute and more: a grid that plays is one of the newest


class Book:
    """The newest grids, and the names of the styles in the order of their numbers. For one thread."""

    def __init__(self, styles: Sequence[str] = ()) -> None:
        self._styles = tuple(styles)
        self._grids: dict[int, Any] = {}
        self._cells: dict[int, list[list[int]]] = {}

    def add(self, grids: NDArray[Any]) -> None:
        """Take memory.GRID (n,), n may be 0; number 0 is none, a number that is known means the newer grid."""
        for grid in copied(grids):
            if number := int(grid["number"]):
                self._grids.pop(number, None)
                self._cells.pop(number, None)
                self._grids[number] = grid
        while len(self._grids) > MOST_GRIDS:
            oldest = next(iter(self._grids))
            del self._grids[oldest]
            self._cells.pop(oldest, None)

    def grid(self, number: int) -> Any:
        """Return the memory.GRID of a number; None where it is not known."""
        return self._grids.get(number)

    def cells(self, number: int) -> list[list[int]] | None:
        """Return the cells of a grid, 12 lists of 32 token ids, the same lists every time; None where not known."""
        if number not in self._grids:
            return None
        if number not in self._cells:
            self._cells[number] = self._grids[number]["cell"].tolist()
        return self._cells[number]

    def style(self, index: int) -> str | None:
        """Return the name of a style by its number."""
        return self._styles[index] if 0 <= index < len(self._styles) else None
