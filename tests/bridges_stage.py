"""Bridges that a test turns by hand, on a shared block that outlives them."""

import socket
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from engines import free_port

from echelon_bridges.bridges_process import Bridges
from echelon_bridges.motion.dancer import Dancer
from echelon_bridges.protocol import vmc
from echelon_engine import rings
from echelon_engine.block import new_shared
from echelon_engine.config_file import make
from echelon_engine.memory import LIMB_FRAME

TURNS = 500


class Block:
    """A shared block that no file backs."""

    def __init__(self) -> None:
        self.shared = new_shared(48000, 512)
        self.shared["counters"]["start_ns"] = time.monotonic_ns()


class Stage:
    """A block that outlives the bridges on it, and everything they say."""

    def __init__(self, said: list[dict[str, Any]]) -> None:
        self.block, self.said = Block(), said
        self.shared = self.block.shared
        self.port = free_port()
        self.running: list[Bridges] = []
        self.sent = 0  # frames of bodies

    def start(self, **settings: Any) -> Bridges:
        """Start bridges, restarted ones after the first time."""
        values = {"ports.bind": "127.0.0.1", "ports.mocopi": 0, "ports.phones": 0, "ports.vmc": self.port, **settings}
        values = {name.replace("__", "."): value for name, value in values.items()}
        if self.running:
            self.shared["header"]["epoch"] += 1
        self.running.append(Bridges(make(values), self.block))  # type: ignore[arg-type]
        return self.running[-1]

    def kill(self) -> None:
        """End the newest bridges as kill -9 does: sockets closed, nothing said."""
        self.running[-1]._selector.close()
        for sensor in self.running[-1].sensors:
            sensor.port.close()

    def until(self, condition: Callable[[], Any]) -> None:
        """Let the newest bridges turn until `condition`."""
        for _ in range(TURNS):
            if condition():
                return
            self.running[-1].turn()
        raise AssertionError("waited in vain")

    def texts(self, event: str) -> list[str]:
        """Return the texts of all events of a kind."""
        return [each["text"] for each in self.said if each["event"] == event]

    def popped(self, performer: int = 0) -> np.ndarray:
        """Return everything in a performer's ring."""
        found = []
        frame = np.zeros(1, LIMB_FRAME)
        while rings.pop(frame, self.shared["frames"][performer]):
            found.append(frame[0].copy())
        return np.array(found, LIMB_FRAME)

    def body(self, performer: int = 0) -> None:
        """Send three frames of a body: each completes the one before."""
        frames = Dancer(seed=3).frames(600, 3)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for frame in frames:
                self.sent += 1
                for data in vmc.encode_frame(self.sent / 60.0, frame["rotation"].astype(np.float64), frame["origin"]):
                    sender.sendto(data, ("127.0.0.1", self.port + performer))
