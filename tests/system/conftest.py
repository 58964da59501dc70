"""Real engines for the system tests."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from engines import COMMAND, Engine, free_port

Start = Callable[..., Engine]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start real engines on the null device with ports of their own."""
    engines: list[Engine] = []

    def begin(*options: str, name: str = f"r{os.getpid()}", ports: bool = True, within: Sequence[str] = ()) -> Engine:
        own = ["--set", "ports.bind=127.0.0.1"]
        if ports:
            own += [f"--set=ports.{kind}={free_port()}" for kind in ("mocopi", "vmc", "phones")]
        command = [*within, *COMMAND, "run", "--device", "null", "--name", name, *own, *options]
        engines.append(Engine(command, name, tmp_path, XDG_CONFIG_HOME=str(tmp_path)))
        return engines[-1]

    yield begin
    for engine in engines:
        engine.clear()
