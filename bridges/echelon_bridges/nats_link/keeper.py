"""Starts a program that ends when this process's parent does. Run by path, with nothing of the product imported.

    python -I -S keeper.py PARENT_PID PROGRAM ARGUMENT..

On Linux it becomes the program, after asking the system to end it with its parent; elsewhere it stays and watches.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time

PR_SET_PDEATHSIG = 1
WATCH_S = 0.5


def become(parent: int, command: list[str]) -> None:
    """Become the program; Linux only."""
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == parent:  # it may have ended before it was watched
        os.execv(command[0], command)


def watch(parent: int, command: list[str]) -> int:
    """Run the program until it ends, this is told to end, or the parent is gone; return the exit code."""
    with subprocess.Popen(command) as program:
        signal.signal(signal.SIGTERM, lambda *_: program.terminate())
        while program.poll() is None:
            if os.getppid() != parent:
                program.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    program.wait(2.0)
                program.kill()
            time.sleep(WATCH_S)
        return program.returncode


if __name__ == "__main__":
    if sys.platform == "linux":
        become(int(sys.argv[1]), sys.argv[2:])
    sys.exit(watch(int(sys.argv[1]), sys.argv[2:]))
