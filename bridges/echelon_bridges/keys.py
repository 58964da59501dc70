"""Single keys of the terminal in which `run` was started: the stage's most certain remote control.

Line mode and echo are off while the engine has the terminal to itself, and back as they were when it ends; Ctrl-C and
Ctrl-Z mean what they mean. In the background (`bg`, `&`) the terminal is the shell's: it is neither read nor changed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import termios
import time
from collections.abc import Callable
from typing import Any

LINE_MODES = 3  # place of the local modes in what termios says
MODES = termios.ICANON | termios.ECHO


class Keys:
    """Calls `pressed(key, time_ns)` for each key of the terminal `descriptor`; nothing where it is no terminal.

    Call `look` now and then: it takes the terminal when it is ours again.
    """

    def __init__(self, descriptor: int, pressed: Callable[[str, int], None]) -> None:
        self._descriptor, self._pressed = descriptor, pressed
        self._before: list[Any] | None = None
        self._reading = False
        if os.isatty(descriptor):
            with contextlib.suppress(termios.error):
                self._before = termios.tcgetattr(descriptor)

    def _ours(self) -> bool:
        try:
            return os.tcgetpgrp(self._descriptor) == os.getpgrp()
        except OSError:
            return False

    def look(self) -> bool:
        """Take the terminal where it is ours, leave it where it is not; return whether keys are read."""
        if self._before is None:
            return False
        if not self._ours():
            self._leave()
            return False
        with contextlib.suppress(termios.error):
            modes = termios.tcgetattr(self._descriptor)
            if modes[LINE_MODES] & MODES:  # or again, after a shell had it
                modes[LINE_MODES] &= ~MODES
                termios.tcsetattr(self._descriptor, termios.TCSANOW, modes)
            if not self._reading:
                asyncio.get_running_loop().add_reader(self._descriptor, self._read)
                self._reading = True
        return self._reading

    def _leave(self) -> None:
        if self._reading:
            self._reading = False
            asyncio.get_running_loop().remove_reader(self._descriptor)

    def _read(self) -> None:
        if not self._ours():
            return self._leave()
        try:
            data = os.read(self._descriptor, 64)
        except OSError:
            data = b""
        if not data:  # the terminal was closed
            self._leave()
            self._before = None
            return None
        now_ns = time.monotonic_ns()
        if not data.startswith(b"\x1b"):  # arrows and their like are several bytes, and mean nothing
            for key in data.decode("latin-1"):
                self._pressed(key, now_ns)
        return None

    def close(self) -> None:
        """Give the terminal back as it was."""
        self._leave()
        if self._before is not None and self._ours():
            with contextlib.suppress(termios.error):
                termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)
        self._before = None
