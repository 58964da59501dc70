"""The local socket of a running engine: one JSON object a line in, one JSON object a line out."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import socket
import stat
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from echelon_bridges import lock
from echelon_engine.config import Engine
from echelon_engine.errors import UserError

LINE_BYTES = 1 << 16
CLIENTS = 16
IDLE_S = 10.0  # a client that says or takes nothing for so long is dropped
ANSWER_S = 10.0
PATH_BYTES = 100  # the operating systems' limit is 104 or 108

Answer = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


def runtime_folder() -> Path:
    """Return this user's folder for sockets, made with mode 0700; refuses one that somebody else could write."""
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    if base and os.access(base, os.W_OK):
        folder = Path(base) / "echelon"
    else:
        folder = Path(tempfile.gettempdir()) / f"echelon-{os.getuid()}"
    if len(os.fsencode(folder)) > PATH_BYTES - 40:
        folder = Path("/tmp") / f"echelon-{os.getuid()}-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:8]}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise UserError(str(folder), f"cannot be made ({error.strerror})", "set XDG_RUNTIME_DIR") from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise UserError(str(folder), "is not a private folder of yours", f"remove it, or chmod 700 {folder}")
    return folder


class ControlServer:
    """Answers requests with `answer(request)`; garbage, long lines, slow and many clients are refused, never fatal."""

    def __init__(self, path: Path, answer: Answer) -> None:
        self.path = path
        self._answer = answer
        self._clients: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen."""
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        self._server = await asyncio.start_unix_server(self._accept, self.path, limit=LINE_BYTES)
        self.path.chmod(0o600)

    async def close(self) -> None:
        """Stop listening, drop every client, remove the socket, and its folder when that is empty."""
        if self._server is not None:
            self._server.close()
        for task in list(self._clients):
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        with contextlib.suppress(OSError):
            self.path.unlink()
        with contextlib.suppress(OSError):
            self.path.parent.rmdir()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if len(self._clients) > CLIENTS:
                await self._send(writer, {"ok": False, "error": f"more than {CLIENTS} clients; close one"})
                return
            while line := await asyncio.wait_for(reader.readline(), IDLE_S):
                await self._send(writer, await self._reply(line))
        except ValueError:  # the stream's word for a line over the limit
            with contextlib.suppress(Exception):
                await self._send(writer, {"ok": False, "error": f"a request line is at most {LINE_BYTES} bytes"})
        except (TimeoutError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _reply(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            request = None
        if not isinstance(request, dict):
            return {"ok": False, "error": "a request is one JSON object on one line"}
        try:
            return {"ok": True, **await self._answer(request)}
        except UserError as error:
            return {"ok": False, "error": str(error), "exit_code": error.exit_code}

    async def _send(self, writer: asyncio.StreamWriter, reply: dict[str, Any]) -> None:
        writer.write(json.dumps(reply).encode() + b"\n")
        await asyncio.wait_for(writer.drain(), IDLE_S)


def request(name: str, **fields: Any) -> dict[str, Any]:
    """Ask the running engine `name` and return its answer.

    Raises `UserError` when it does not run (naming those that do), does not answer, or refuses.
    """
    holder = lock.read(name) if lock.is_held(name) else None
    if holder is None:
        others = ", ".join(lock.running())
        own = f" --name {name}" if name != Engine().name else ""
        remedy = f"running: {others}; choose with --name" if others else f"start it: echelon-engine run{own}"
        raise UserError(f"engine {name!r}", "is not running", remedy)
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_S)
            connection.connect(holder.socket)
            connection.sendall(json.dumps(fields).encode() + b"\n")
            with connection.makefile("rb") as stream:
                answer = json.loads(stream.readline())
    except (OSError, ValueError) as error:
        reason = "does not answer" if isinstance(error, TimeoutError) else f"cannot be reached ({error})"
        raise UserError(f"engine {name!r}", reason, "it may be starting or stopping; try again") from None
    if not answer.pop("ok", False):
        refused = UserError(name, "refused")
        refused.args = (answer.get("error", "refused"),)
        refused.exit_code = int(answer.get("exit_code", 1))
        raise refused
    return dict(answer)
