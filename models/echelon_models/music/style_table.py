"""A table of a style file that knows its own place, so that whatever is wrong in it is refused by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from echelon_engine.errors import nearest
from echelon_models.music.style import StyleError


class StyleTable:
    """A table of a style file that knows its place, for messages, and which keys were asked for."""

    def __init__(self, file: str, place: str, values: Any) -> None:
        if not isinstance(values, Mapping):
            raise StyleError(f"{file}: {place} = {values!r}", "is a table", f"write [{place}]")
        self.file, self.place, self.values = file, place, values

    def at(self, key: str) -> str:
        """Return the full name of a key, without anything that a terminal could obey."""
        key = key if key.isprintable() else repr(key)
        return f"{self.place}.{key}" if self.place else key

    def refuse(self, key: str, rule: str, remedy: str = "") -> StyleError:
        """Return the error that says what a key's value breaks."""
        value = self.values.get(key)
        shown = f" = {value!r}" if key in self.values and not isinstance(value, dict) else ""
        return StyleError(f"{self.file}: {self.at(key)}{shown}", rule, remedy)

    def only(self, known: Iterable[str]) -> None:
        """Refuse any key that is not known, with the nearest one that is."""
        known = list(known)
        for key in self.values:
            if key not in known:
                spelled = {name.lower(): name for name in known}
                hint = nearest(key, spelled)
                for low, name in spelled.items():
                    hint = hint.replace(repr(low), repr(name))
                raise StyleError(f"{self.file}: {self.at(key)}", "no such key", hint or "known: " + " ".join(known))

    def table(self, key: str) -> StyleTable:
        """Return the table under a key, empty where it is absent."""
        return StyleTable(self.file, self.at(key), self.values.get(key, {}))

    def text(self, key: str, default: str | None = None) -> str:
        """Return a text, or `default`; refuse anything else."""
        value = self.values.get(key, default)
        if value is None:
            raise StyleError(f"{self.file}: {self.at(key)}", "is missing", "every style says it")
        if not isinstance(value, str):
            raise self.refuse(key, "is a text", "put it in quotes")
        if not value.isprintable():
            at = next(i for i, letter in enumerate(value) if not letter.isprintable())
            raise self.refuse(key, f"letter {at + 1}, {value[at]!r}, cannot be printed", "write one line of plain text")
        return value

    def flag(self, key: str) -> bool:
        """Return true or false, false where it is absent."""
        value = self.values.get(key, False)
        if not isinstance(value, bool):
            raise self.refuse(key, "is true or false")
        return value

    def number(self, key: str, default: float, low: float, high: float) -> float:
        """Return a number within `low` and `high`, or `default` where it is absent."""
        value = self.values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise self.refuse(key, f"is a number from {low:g} to {high:g}", f"the default is {default:g}")
        return float(value)

    def texts(self, key: str) -> list[str]:
        """Return a text or a list of texts as a list; empty where the key is absent."""
        value = self.values.get(key, [])
        value = [value] if isinstance(value, str) else value
        if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
            raise self.refuse(key, "is a text, or a list of texts")
        return value

    def one_of(self, key: str, known: Iterable[str], default: str | None = None) -> str:
        """Return one of some words."""
        value, known = self.text(key, default), list(known)
        if value not in known:
            raise self.refuse(key, "is one of " + ", ".join(known), nearest(value, known))
        return value
