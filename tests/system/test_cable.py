"""A network that goes away in the middle of a show, with its interface and its address, and comes back."""

import contextlib
import itertools
import json
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import senders
from engines import COMPILE_S, Engine, wait_for
from nats_rig import PROGRAM, needs_nats
from stage_network import HALL, STAGE, Network, network

pytestmark = [pytest.mark.realtime, *needs_nats]

MOCOPI, NATS, OSC = 12351, 4222, 9100  # nobody else is in these namespaces


@pytest.fixture
def cable() -> Iterator[Network]:
    """Stage and hall, joined."""
    with network() as made:
        yield made


@pytest.fixture
def server(cable: Network, tmp_path: Path) -> Iterator[None]:
    """A NATS server in the hall."""
    assert PROGRAM is not None
    settings = {"host": "0.0.0.0", "port": NATS, "jetstream": {"store_dir": str(tmp_path / "store")}}
    (tmp_path / "server.conf").write_text(json.dumps(settings))
    process = subprocess.Popen(
        [*cable.within(cable.hall), PROGRAM, "-c", str(tmp_path / "server.conf")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield
    process.kill()
    process.wait()


@pytest.fixture
def body(cable: Network) -> Iterator[None]:
    """A performer in the hall who sends all the time, whether it arrives or not."""
    ended = threading.Event()
    sender = cable.sender(cable.hall)

    def send() -> None:
        for _, data in itertools.cycle(senders.mocopi_frames(60 * 60)):
            with contextlib.suppress(OSError):  # unreachable for now
                sender.sendto(data, (STAGE, MOCOPI))
            if ended.wait(1 / 60):
                return

    thread = threading.Thread(target=send)
    thread.start()
    yield
    ended.set()
    thread.join()
    sender.close()


@pytest.mark.usefixtures("server", "body")
def test_an_interface_goes_away_and_comes_back(start: Callable[..., Engine], cable: Network) -> None:
    """Sound and control go on, what is gone is said once, and body and server are back when the network is."""
    engine = start(
        f"--set=ports.bind={STAGE}",
        f"--set=nats.url=nats://{HALL}:{NATS}",
        f"--set=osc.targets={HALL}:{OSC}",
        ports=False,
        within=cable.within(cable.stage),
    )
    engine.ready(COMPILE_S)

    def nats() -> dict[str, object]:
        return dict(engine.status()["outlets"].get("nats", {"connected": False}))  # told from the first second on

    def frames() -> int:
        return sum(int(row.get("frames", 0)) for row in engine.status()["sensors"])

    wait_for(lambda: nats()["connected"] and frames() > 30, "body and server")
    pids = engine.pids()
    cable.pull()
    blocks = int(engine.status()["blocks"])
    wait_for(lambda: not nats()["connected"], "the loss to be noticed")
    heard = frames()
    wait_for(lambda: int(engine.status()["blocks"]) > blocks + 300, "sound without a network")
    assert frames() == heard
    engine.ask(command="set", key="tempo", value="90")
    lost = [line for line in engine.said().splitlines() if f"{HALL}:{NATS}" in line and "warning" in line]
    assert lost
    assert len(lost) <= 3, lost
    assert not cable.plug()
    wait_for(lambda: nats()["connected"] and frames() > heard + 30, "body and server to be back")
    assert int(str(nats()["connections"])) == 2
    assert engine.pids() == pids
    assert "Traceback" not in engine.said()
    print(engine.said())
    engine.process.send_signal(signal.SIGINT)
    assert engine.end() == 0
