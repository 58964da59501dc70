"""What a process under the supervisor does: takes its configuration, says what happens, leaves when told or orphaned.

config, ended = begin()             # reads the configuration, from now on watches the supervisor
say("ready", device="null")
for request in requests(): ...      # what the supervisor asked since
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
from collections import deque
from collections.abc import Iterator
from typing import Any

from echelon_engine.config import Config
from echelon_engine.config_file import from_json

ORPHAN_GRACE_S = 1.2  # from the supervisor's death until the process is ended even if its body does not leave
LINE_BYTES = 1 << 15  # of one event
UNSENT_BYTES = 1 << 17  # events wait for a supervisor that is busy, up to this much
REQUESTS = 64  # that wait

_ended = threading.Event()
_ready = threading.Event()
_wanted = threading.Event()
_speaking = threading.Lock()
_unsent = bytearray()
_requests: deque[dict[str, Any]] = deque(maxlen=REQUESTS)


def say(event: str, **fields: Any) -> None:
    """Report one event to the supervisor, from any thread. Never blocks: where the pipe and what waits for it are full,
    the event is dropped.

    "ready" is said from the main thread: from then on SIGTERM is a wish (`ended` is set), no longer the end.
    """
    if event == "ready" and not _ready.is_set():
        _ready.set()
        signal.signal(signal.SIGTERM, lambda *_: _ended.set())
    line = json.dumps({"event": event, **fields}, default=str) + "\n"
    if len(line) > LINE_BYTES:
        line = json.dumps({"event": event, "text": str(fields)[: LINE_BYTES // 8]}) + "\n"
    with _speaking:
        if len(_unsent) + len(line) <= UNSENT_BYTES:
            _unsent.extend(line.encode())
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            while _unsent:
                del _unsent[: os.write(1, _unsent)]


def requests() -> Iterator[dict[str, Any]]:
    """Take what the supervisor has asked since the last call: JSON objects with an `id` for `answer`."""
    while _requests:
        yield _requests.popleft()


def answer(request: dict[str, Any], **fields: Any) -> None:
    """Answer a request; a field `error` makes it a refusal."""
    say("answer", id=request.get("id"), **fields)


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
    threading.Thread(target=_watch, args=(rest,), name="supervisor-watch", daemon=True).start()
    return from_json(line), _ended


def is_wanted() -> bool:
    """Return whether "go" was said: from the beginning, unless this process is on standby."""
    return _wanted.is_set()


def wait_until_wanted() -> None:
    """Wait for the supervisor's "go"."""
    _wanted.wait()


def _watch(rest: bytes) -> None:
    """Hear "go" and requests; when the supervisor's end of standard input closes, leave: by force if need be."""
    data = bytearray(rest)
    with contextlib.suppress(OSError):
        while True:
            *lines, partial = bytes(data).split(b"\n")
            data = bytearray(partial)
            for line in lines:
                _wanted.set()
                if line.startswith(b"{"):
                    _requests.append(json.loads(line))
            if not (part := os.read(0, 65536)):
                break
            data += part
    _ended.set()
    if _ready.is_set():
        time.sleep(ORPHAN_GRACE_S)
    os._exit(1)
