"""What a process under the supervisor does: takes its configuration, says what happens, leaves when told or orphaned.

config, ended = begin()             # reads the configuration, from now on watches the supervisor
say("ready", device="null")
ended.wait()                        # set by SIGTERM, or when the supervisor is gone
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
from typing import Any

from echelon_engine.config import Config
from echelon_engine.config_file import from_json

ORPHAN_GRACE_S = 1.2  # from the supervisor's death until the process is ended even if its body does not leave
LINE_BYTES = 4096  # a pipe takes a line up to this size whole or not at all

_ended = threading.Event()
_ready = threading.Event()
_wanted = threading.Event()


def say(event: str, **fields: Any) -> None:
    """Report one event to the supervisor. Never blocks: an event that the pipe cannot take now is dropped.

    "ready" is said from the main thread: from then on SIGTERM is a wish (`ended` is set), no longer the end.
    """
    if event == "ready" and not _ready.is_set():
        _ready.set()
        signal.signal(signal.SIGTERM, lambda *_: _ended.set())
    line = json.dumps({"event": event, **fields}, default=str) + "\n"
    if len(line) > LINE_BYTES:
        line = json.dumps({"event": event, "text": str(fields)[: LINE_BYTES // 8]}) + "\n"
    with contextlib.suppress(BlockingIOError, BrokenPipeError):
        os.write(1, line.encode())


def begin() -> tuple[Config, threading.Event]:
    """Return the configuration, read from the first line of standard input, and the event that says "leave".

    Call it first and from the main thread: it leaves Ctrl-C to the supervisor. Ends the process when the supervisor is
    gone already.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.set_blocking(1, False)
    data = bytearray()
    while b"\n" not in data:
        part = os.read(0, 65536)
        if not part:
            sys.exit(1)
        data += part
    line, _, rest = bytes(data).partition(b"\n")
    if rest:  # "go" came along
        _wanted.set()
    threading.Thread(target=_watch, name="supervisor-watch", daemon=True).start()
    return from_json(line), _ended


def is_wanted() -> bool:
    """Return whether "go" was said: from the beginning, unless this process is on standby."""
    return _wanted.is_set()


def wait_until_wanted() -> None:
    """Wait for the supervisor's "go"."""
    _wanted.wait()


def _watch() -> None:
    """Hear "go"; when the supervisor's end of standard input closes, leave: by force if the body does not."""
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            _wanted.set()
    _ended.set()
    if _ready.is_set():
        time.sleep(ORPHAN_GRACE_S)
    os._exit(1)
