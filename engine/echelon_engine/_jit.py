"""The one door to Numba: `kernel` compiles a pure function, `callback` a C function pointer.

Numba's cache notices a change in a function's own file, not in the files of the functions it calls. So the cache
lives in a directory named by a hash of every source file of the engine: any edit starts a fresh one.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numba.core.caching import IndexDataCacheFile

F = TypeVar("F", bound=Callable[..., Any])


def source_hash() -> str:
    """Return 16 hex digits that change with any Python source of this package."""
    root = Path(__file__).parent
    digest = hashlib.sha256(sys.version.encode())
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def cache_root() -> Path:
    """Return the folder that holds all compiled caches: `ECHELON_CACHE_DIR`, or the user's cache folder."""
    if chosen := os.environ.get("ECHELON_CACHE_DIR"):
        return Path(chosen)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "echelon-engine"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "echelon-engine"


def writable_root() -> Path:
    """Return `cache_root`, or, where that cannot be written, a private folder beside the temporary files."""
    for root in (cache_root(), Path(tempfile.gettempdir()) / f"echelon-engine-cache-{os.getuid()}"):
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=root).close()
        except OSError:
            continue
        if root.stat().st_uid == os.getuid():
            return root
    return cache_root()


def cache_name() -> str:
    """Return 16 hex digits that change with the sources and with when they were written.

    Numba compiles a file anew when its time has changed; then the whole cache must count as cold, and be filled aloud.
    """
    root = Path(__file__).parent
    times = [path.stat().st_mtime_ns for path in sorted(root.rglob("*.py"))]
    return hashlib.sha256(f"{source_hash()} {times}".encode()).hexdigest()[:16]


CACHE_DIR = writable_root() / cache_name()
CACHES_KEPT = 3  # of the newest versions
numba.config.CACHE_DIR = str(CACHE_DIR)  # read whenever a function is decorated


def forget_old_caches() -> None:
    """Remove the caches of all versions but this one and the newest others, `CACHES_KEPT` together."""
    others = [path for path in CACHE_DIR.parent.glob("[0-9a-f]" * 16) if path.is_dir() and path != CACHE_DIR]
    with contextlib.suppress(OSError):  # another process may be removing them, too
        others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        for path in others[CACHES_KEPT - 1 :]:
            shutil.rmtree(path, ignore_errors=True)


def _name_records_briefly() -> None:
    """Make Numba call a record type by a digest of its fields instead of by their full list.

    The name goes into the symbol of every function that takes the record: for the engine's records it has up to 20,000
    letters, and compiling spends most of its time on them. Equal records still have equal names.
    """
    original = numba.types.Record.__init__

    def named(self: Any, fields: Any, size: int, aligned: bool) -> None:
        original(self, fields, size, aligned)
        self.name = f"Record{hashlib.sha256(self.name.encode()).hexdigest()[:16]}"

    numba.types.Record.__init__ = named
    numba.types.Record.__repr__ = lambda self: str(self.name)


_name_records_briefly()


def _save_one_at_a_time() -> None:
    """Let one process at a time add to the cache.

    Numba lists what it has compiled of a function in one file, and numbers the code by it. Two processes that compile
    the same function for different records at once give both the same number; the list may then name one and the code
    be the other's, for good: arrays are refused, or memory is overwritten.
    """
    original = IndexDataCacheFile.save

    def save(self: Any, key: Any, data: Any) -> None:
        with contextlib.ExitStack() as held:
            with contextlib.suppress(OSError):
                CACHE_DIR.mkdir(parents=True, exist_ok=True)
                lock = held.enter_context((CACHE_DIR / "lock").open("w"))
                fcntl.flock(lock, fcntl.LOCK_EX)
            original(self, key, data)

    IndexDataCacheFile.save = save


_save_one_at_a_time()

# Reductions may be reordered into SIMD lanes and products fused; NaN and infinity keep their meaning,
# because the guards against them must survive the optimiser.
FAST_MATH = {"reassoc", "contract", "nsz", "arcp"}
int64: Any = np.int64  # in kernels: a 64-bit integer of one type, so that a callee is compiled once
OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": FAST_MATH, "cache": True}


def kernel(function: F) -> F:
    """Compile `function` for the callback: no GIL, no exceptions, cached; `function.py_func` stays callable."""
    return cast(F, numba.njit(**OPTIONS)(function))


def inlined(function: F) -> F:
    """Like `kernel`, for small helpers that LLVM should inline into their callers."""
    return cast(F, numba.njit(**OPTIONS, forceinline=True)(function))


def callback(signature: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function to a C function pointer (`.address`) with the given Numba signature."""
    return cast(
        Callable[[Callable[..., Any]], Any],
        numba.cfunc(signature, nopython=True, error_model="numpy", fastmath=FAST_MATH, cache=True),
    )
