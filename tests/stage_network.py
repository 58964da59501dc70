"""A network of two machines for the tests: the stage and the hall, two namespaces with a cable that can be pulled."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

CLONE_NEWNET = 0x4000_0000
STAGE, HALL = "10.77.0.1", "10.77.0.2"  # nobody else's: they exist in these namespaces alone


def _ip(*words: str) -> str:
    """Run `ip`; return what it complains about, "" for nothing."""
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stderr.strip() or f"exit code {done.returncode}"


class Network:
    """Namespaces `stage` and `hall`; `plug` lays the cable, `pull` takes it away with both of its interfaces."""

    def __init__(self) -> None:
        self.stage, self.hall = f"stage{os.getpid()}", f"hall{os.getpid()}"
        self.problem = ""
        for name in (self.stage, self.hall):
            self.problem = self.problem or _ip("netns", "add", name) or _ip("-n", name, "link", "set", "lo", "up")
        self.problem = self.problem or self.plug()

    def plug(self) -> str:
        """Join the two; return what hindered it."""
        return (
            _ip("-n", self.stage, "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", self.hall)
            or _ip("-n", self.stage, "address", "add", f"{STAGE}/24", "dev", "cable")
            or _ip("-n", self.hall, "address", "add", f"{HALL}/24", "dev", "cable")
            or _ip("-n", self.stage, "link", "set", "cable", "up")
            or _ip("-n", self.hall, "link", "set", "cable", "up")
        )

    def pull(self) -> None:
        """Remove the interfaces, and their addresses with them."""
        assert not _ip("-n", self.stage, "link", "delete", "cable")

    def within(self, name: str) -> tuple[str, ...]:
        """Return what to put before a command so that it runs there."""
        return ("ip", "netns", "exec", name)

    def sender(self, name: str) -> socket.socket:
        """Return a UDP socket that sends from there."""
        made: list[socket.socket] = []

        def make() -> None:
            with Path(f"/run/netns/{name}").open() as place:
                assert ctypes.CDLL(None).setns(place.fileno(), CLONE_NEWNET) == 0
            made.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))

        thread = threading.Thread(target=make)  # a thread of its own: the others stay where they are
        thread.start()
        thread.join()
        return made[0]

    def close(self) -> None:
        """Remove both."""
        for name in (self.stage, self.hall):
            _ip("netns", "delete", name)


@contextlib.contextmanager
def network() -> Iterator[Network]:
    """Yield a network, or skip the test with the reason why there can be none."""
    if sys.platform != "linux" or shutil.which("ip") is None:
        pytest.skip("network namespaces need Linux and the program ip")
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    made = Network()
    try:
        if made.problem:
            pytest.skip(f"no network namespaces here: {made.problem}")
        yield made
    finally:
        made.close()
