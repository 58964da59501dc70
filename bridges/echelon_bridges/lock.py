"""One engine per name: a locked file beside the shared block, which also says how to reach the engine that holds it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

from echelon_engine import block
from echelon_engine.errors import UserError

ORPHANS_S = 2.5  # children of a killed supervisor are gone by then


@dataclass
class Holder:
    """What a lock file says: who holds it, where its control socket is, which processes belong to it."""

    pid: int
    socket: str
    children: list[int] = field(default_factory=list)


def path_of(name: str) -> Path:
    """Return the lock file of the engine called `name`."""
    return block.path_of(name).with_suffix(".lock")


def read(name: str) -> Holder | None:
    """Return what the lock file of `name` says, or None when there is none that can be read."""
    try:
        content = json.loads(path_of(name).read_text("utf-8"))
        return Holder(int(content["pid"]), str(content["socket"]), [int(pid) for pid in content["children"]])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def is_held(name: str) -> bool:
    """Return whether a living engine holds this name."""
    try:
        descriptor = os.open(path_of(name), os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def running() -> list[str]:
    """Return the names of all running engines of this user."""
    prefix, suffix = path_of("*").name.split("*")
    paths = path_of("x").parent.glob(f"{prefix}*{suffix}")
    return sorted(name for path in paths if is_held(name := path.name[len(prefix) : -len(suffix)]))


class NameLock:
    """The lock of one name, held until `release`. Raises `UserError` when another engine holds it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.stale: Holder | None = None
        path = path_of(name)
        while True:
            try:
                self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            except OSError as error:
                raise UserError(
                    str(path), f"cannot be written ({error.strerror})", "remove it, or change --name"
                ) from None
            if not _lock(self._descriptor):
                os.close(self._descriptor)
                holder = read(name)
                who = f" (process {holder.pid})" if holder else ""
                raise UserError(
                    f"engine {name!r}", f"is already running{who}", "stop it, or choose another --name"
                ) from None
            # The holder before us may have removed the file between our open and our lock.
            with contextlib.suppress(OSError):
                if os.fstat(self._descriptor).st_ino == path.stat().st_ino:
                    break
            os.close(self._descriptor)
        self.stale = read(name)

    def write(self, holder: Holder) -> None:
        """Say how to reach this engine."""
        content = json.dumps({"pid": holder.pid, "socket": holder.socket, "children": holder.children}).encode()
        os.pwrite(self._descriptor, content, 0)
        os.ftruncate(self._descriptor, len(content))

    def clear_stale(self) -> bool:
        """Remove what an engine of this name that was killed left: its socket; wait for its last processes.

        Returns whether there was anything.
        """
        if self.stale is None:
            return False
        deadline = time.monotonic() + ORPHANS_S
        while any(map(_alive, self.stale.children)) and time.monotonic() < deadline:
            time.sleep(0.05)
        with contextlib.suppress(OSError):
            Path(self.stale.socket).unlink()
        return True

    def release(self) -> None:
        """Remove the file and give the name back."""
        path_of(self.name).unlink(missing_ok=True)
        os.close(self._descriptor)


def _lock(descriptor: int) -> bool:
    """Take the lock; an onlooker (`is_held`) may have it for an instant, so one refusal is not an answer."""
    for _ in range(5):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            time.sleep(0.02)
        else:
            return True
    return False


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
