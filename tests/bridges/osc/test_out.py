"""OSC out over real UDP, read by python-osc, which shares no line with the writer."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from pythonosc.osc_bundle import OscBundle

from echelon_bridges.lane_values import values as parameter_values
from echelon_bridges.motion.skeleton import NAMES
from echelon_bridges.osc.out import NOTES_BURST, OscOut
from echelon_bridges.osc.values import STATE
from echelon_bridges.performers import PERFORMER
from echelon_engine import config_file
from echelon_engine.band import BAND
from echelon_engine.errors import UsageError
from echelon_engine.memory import ALL_OFF, CONTROL, EVENT, LATENT_STATE_NAMES, LIMB_FRAME, NOTE_OFF, NOTE_ON
from echelon_engine.parameters import PARAMETERS

NONE = np.zeros(0, EVENT)
QUIET = np.zeros(0, CONTROL)


def control(frame: int, **fields: Any) -> Any:
    """Return one control record."""
    made = np.zeros(1, CONTROL)
    made["frame"] = frame
    for name, value in fields.items():
        made[name] = value
    return made


class Listener:
    """A UDP socket that decodes with python-osc."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(0.2)
        self.target = f"127.0.0.1:{self.socket.getsockname()[1]}"
        self.sizes: list[int] = []

    def messages(self) -> list[tuple[str, list[Any]]]:
        """Return all messages that wait, in order; every bundle must begin with its stamp."""
        found: list[tuple[str, list[Any]]] = []
        while True:
            try:
                data = self.socket.recv(65536)
            except TimeoutError:
                return found
            self.sizes.append(len(data))
            bundle = [(message.address, list(message.params)) for message in OscBundle(data)]
            assert bundle[0][0] == "/echelon/test/stamp"
            found.extend(bundle)

    def values(self) -> dict[str, list[Any]]:
        """Return the last arguments of every address."""
        return dict(self.messages())


@pytest.fixture
def listener() -> Iterator[Listener]:
    """Who gets it."""
    made = Listener()
    yield made
    made.socket.close()


def sender(listener: Listener, **more: Any) -> OscOut:
    """Return the outlet that sends to the listener."""
    values = {"engine.name": "test", "osc.targets": listener.target}
    return OscOut(config_file.make(values | {name.replace("__", "."): value for name, value in more.items()}), print)


def test_a_tick_says_everything(listener: Listener) -> None:
    """Parameters with position and value, every state field, x, z and latent arrive under their names."""
    rng = np.random.default_rng(5)
    position, z, x, latent = (rng.random(size).astype(np.float32) for size in (32, 32, 6, len(LATENT_STATE_NAMES)))
    out = sender(listener)
    clock = {"epoch": 3, "time_ns": 2**40, "beat": 1234567.25, "bar": 308641, "tempo_bpm": 96.5}
    body = {"c": 0.75, "flags": 9, "x_valid": 0b100101, "position": position, "z": z, "x": x, "latent": latent}
    out.offer(control(7, **clock, **body), NONE, time.monotonic_ns())
    heard = listener.values()
    for row in PARAMETERS:
        told = heard[f"/echelon/test/params/{row.name}"]
        assert told == pytest.approx([position[row.lane], row.value(float(position[row.lane]))], rel=1e-5, abs=1e-6)
    for name, index in zip(LATENT_STATE_NAMES, range(99), strict=False):
        assert heard[f"/echelon/test/state/latent/{name}"] == [pytest.approx(float(latent[index]))]
    state = {name: heard[f"/echelon/test/state/{name}"] for name, _, _ in STATE}
    assert state["z"] == pytest.approx(z.tolist())
    assert state["x"] == pytest.approx(x.tolist())
    assert state["x_valid"] == [1, 0, 1, 0, 0, 1]
    assert (state["frozen"], state["present"], state["held"], state["muted"]) == ([1], [1], [0], [0])
    assert (state["beat"], state["time_ns"], state["frame"]) == ([1234567.25], [2**40], [7])
    assert (state["commitment"], state["tempo_bpm"], state["latency_ms"]) == ([0.75], [96.5], [-1.0])
    version, sequence, monotonic_ns, wall_s = heard["/echelon/test/stamp"]
    assert (version, sequence) == (1, 1)
    assert abs(time.monotonic_ns() - monotonic_ns) < 60e9
    assert abs(time.time() - wall_s) < 60
    assert len(listener.sizes) > 1
    assert max(listener.sizes) <= 1472
    out.close()


def test_a_tick_tells_of_the_band(listener: Listener) -> None:
    """The band's 15 parameters, its grid, bar, step, section, style and mode arrive under band/."""
    positions = np.random.default_rng(6).random(len(BAND)).astype(np.float32)
    out = sender(listener)
    playing = {"grid": (3 << 32) + 7, "step": 17, "section": 3, "style": 2, "mode": 1, "bar": 41}
    out.offer(control(7, band=positions, **playing), NONE, time.monotonic_ns())
    heard = listener.values()
    for row in BAND:
        assert heard[f"/echelon/test/band/{row.name}"] == [pytest.approx(float(positions[row.lane]))]
    assert {name: heard[f"/echelon/test/band/{name}"] for name in playing} == {k: [v] for k, v in playing.items()}
    assert max(listener.sizes) <= 1472
    out.close()


def test_values_are_those_of_the_table() -> None:
    """The values of all lanes at once are those the table gives one by one."""
    for p in np.linspace(-0.1, 1.1, 25):
        expected = [row.value(p) for row in PARAMETERS]
        np.testing.assert_allclose(parameter_values(np.full(32, p)), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("rate_hz", "ticks"), [(60.0, 120), (30.0, 60), (25.0, 50), (1.0, 2)])
def test_the_rate_is_kept(listener: Listener, rate_hz: float, ticks: int) -> None:
    """Of 120 control frames as many go out as the rate says, and of a late pile only the newest."""
    out = sender(listener, osc__rate_hz=rate_hz)
    for frame in range(120):
        out.offer(control(frame), NONE, 0)
    assert out.ticks == ticks
    assert out.skipped == 0
    listener.messages()
    out.offer(np.concatenate([control(frame) for frame in range(300, 400)]), NONE, 0)
    assert listener.values()["/echelon/test/state/frame"] == [399]
    skipped = out.skipped
    assert -1.5 <= skipped - 280 * rate_hz / 60 <= 0.5
    for frame in range(400, 460):
        out.offer(control(frame), NONE, 0)
    assert out.skipped == skipped, "one late turn is counted once"
    ticks = out.ticks
    out.offer(control(0, epoch=1), NONE, 0)
    assert out.ticks == ticks + 1, "a replaced audio process counts from 0 again, and is heard at once"
    out.close()


def test_notes_and_beats(listener: Listener) -> None:
    """Notes go out at once and in order, beats and bars when they begin."""
    out = sender(listener, osc__rate_hz=0.1)
    out.offer(control(0, beat=2.9), NONE, 0)
    listener.messages()
    events = np.zeros(3, EVENT)
    events["kind"], events["key"], events["pitch"] = (NOTE_ON, NOTE_OFF, ALL_OFF), (5, 5, 0), (60.5, 0, 0)
    events["velocity"], events["pan"], events["source"] = 0.5, -0.25, 1
    out.offer(control(1, beat=3.0), events, 10**9)
    out.offer(control(2, beat=4.01, bar=1), NONE, 10**9)
    heard = [(a.removeprefix("/echelon/test/"), args) for a, args in listener.messages() if "stamp" not in a]
    assert heard == [
        ("note/on", [5, 60.5, 0.5, -0.25, 1]),
        ("note/off", [5, 1]),
        ("note/all_off", []),
        ("beat", [3]),
        ("beat", [4]),
        ("bar", [1]),
    ]
    out.close()


def test_a_flood_of_notes_is_capped_but_every_end_is_sent(listener: Listener) -> None:
    """More notes than anybody plays are dropped and counted; no end of a note is, and bundles keep their size."""
    out = sender(listener)
    events = np.zeros(1000, EVENT)
    events["kind"][:500], events["kind"][500:] = NOTE_ON, NOTE_OFF
    out.offer(QUIET, events, 1)
    heard = [address for address, _ in listener.messages()]
    assert heard.count("/echelon/test/note/on") == NOTES_BURST == out.notes
    assert heard.count("/echelon/test/note/off") == 500
    assert out.notes_dropped == 300
    assert max(listener.sizes) <= 1472
    out.close()


def test_every_performer_is_told_of(listener: Listener) -> None:
    """Each performer's state goes to an address of its own."""
    states = np.zeros(2, PERFORMER)
    states["performer"], states["present"], states["energy"], states["x"][1, 4] = (0, 1), (0, 1), (0.0, 0.5), 0.25
    out = sender(listener)
    out.performers(states)
    heard = listener.values()
    assert heard["/echelon/test/performer/0"][:3] == [0, 0.0, 0.0]
    assert heard["/echelon/test/performer/1"] == [1, 0.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.25, 0.0]
    out.close()


def test_a_body_goes_out_only_where_switched_on(listener: Listener) -> None:
    """Limb frames are sent with osc.body alone."""
    frames = np.zeros(2, LIMB_FRAME)
    frames["rotation"][..., 3] = 1.0
    frames["position"][1, 3] = (1, 2, 3)
    frames["heading"][1], frames["origin"][1], frames["time_ns"][1] = 0.5, (4, 5, 6), 77
    quiet, out = sender(listener), sender(listener, osc__body=True)
    quiet.body(0, frames)
    assert not listener.messages()
    out.body(0, frames)
    out.body(3, frames)
    heard = listener.values()
    assert heard[f"/echelon/test/body/0/{NAMES[3]}"] == [1, 2, 3, 0, 0, 0, 1]
    assert heard["/echelon/test/body/0/place"] == [0.5, 4, 5, 6]
    assert heard["/echelon/test/body/0/time_ns"] == [77]
    assert not any("/body/3/" in address for address in heard)
    assert max(listener.sizes) <= 1472
    quiet.close()
    out.close()


def test_an_unreachable_target_is_told_once_and_harms_nobody(listener: Listener) -> None:
    """Somebody who does not listen is named once; the others get everything."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
        gone.bind(("127.0.0.1", 0))
        dead = f"127.0.0.1:{gone.getsockname()[1]}"
    told: list[str] = []
    targets = f"{dead}, {listener.target}, no-such-host.invalid:9"
    out = OscOut(config_file.make({"engine.name": "test", "osc.targets": targets}), told.append)
    for frame in range(15):
        out.offer(control(frame), NONE, time.monotonic_ns())
    assert listener.values()["/echelon/test/state/frame"] == [14]
    assert sum(dead in text for text in told) == 1
    counts = out.report()["targets"]
    assert counts[dead]["failed"] > 1
    assert counts[listener.target]["failed"] == 0
    out.close()
    out.close()


@pytest.mark.parametrize(
    "targets", ["9000", "host", "host:0", "host:70000", ":9000", "host:٣", ",".join(f"h:{i + 1}" for i in range(17))]
)
def test_wrong_targets_are_refused(targets: str) -> None:
    """What is no HOST:PORT is named."""
    with pytest.raises(UsageError, match=r"osc\.targets"):
        OscOut(config_file.make({"osc.targets": targets}), print)
