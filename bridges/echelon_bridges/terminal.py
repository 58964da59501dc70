"""What the person who started the engine sees: events as lines and, on a terminal, a line that rewrites itself."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from typing import Any, TextIO

ERASE = "\r\x1b[2K"


def key_values(fields: dict[str, Any]) -> str:
    """Return `a=1 b="two words"`: a value with spaces, quotes or control characters is quoted as JSON."""
    return " ".join(f"{name}={_value(value)}" for name, value in fields.items())


def _value(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    plain = text.isprintable() and text and not any(mark in text for mark in ' "=')
    return text if plain or not isinstance(value, str) else json.dumps(text, ensure_ascii=False)


class Terminal:
    """Writes events to `stream`: one line each, key=value. On a terminal they read like sentences, above a status line.

    A stream that is gone (a closed terminal) is ignored: the sound matters more.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._line = ""
        self.interactive = stream.isatty()

    def event(self, event: str, level: str = "info", **fields: Any) -> None:
        """Write one event."""
        if self.interactive:
            mark = "" if level == "info" else f"{level}: "
            text = f"{time.strftime('%H:%M:%S')} {mark}{event}"
            if message := fields.pop("text", None):
                text += f": {message}"
            if fields:
                text += "  " + key_values(fields)
            self._write(f"{ERASE}{text}\n{self._shown()}")
        else:
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + f".{time.time_ns() // 1_000_000 % 1000:03d}Z"
            self._write(key_values({"time": stamp, "level": level, "event": event, **fields}) + "\n")

    def line(self, text: str) -> None:
        """Show `text` as the status line; nothing when the stream is not a terminal."""
        if self.interactive:
            self._line = text
            self._write(ERASE + self._shown())

    def clear(self) -> None:
        """Take the status line away."""
        if self.interactive and self._line:
            self._line = ""
            self._write(ERASE)

    def _shown(self) -> str:
        return self._line[: max(shutil.get_terminal_size().columns - 1, 20)]

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
            self._stream.flush()
