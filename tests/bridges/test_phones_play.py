"""A performer who holds nothing but phones is a performer: hands, energy, strikes, commitment, notes and lean."""

import math
from typing import Any

import numpy as np
import pytest
import senders
from senders import PHONES, Phone

from echelon_bridges import status
from echelon_bridges.hub import Hub
from echelon_bridges.sensors import Inlet, Sensor
from echelon_engine import rings, units
from echelon_engine.block import new_shared
from echelon_engine.config import Config
from echelon_engine.live import initial_settings
from echelon_engine.memory import CONTROL, HELD, PRESENT
from echelon_engine.process import process
from echelon_engine.state import new_engine
from echelon_models.weights import load_all

RATE_HZ, BLOCK = 48000, 512
SECOND = 1_000_000_000
TEMPO_HZ = 1.6


def wave(t: float, *, beats: bool, side: float) -> Phone:
    """What a hand's phone feels, lying flat: sharp strokes to the beat, or nothing."""
    if not beats:
        return Phone(time_s=t)
    phase = (t * TEMPO_HZ) % 1.0
    stroke = np.sin(2 * np.pi * phase / 0.3) if phase < 0.3 else 0.0  # down and caught again
    rocking = 3.0 * np.sin(2 * np.pi * TEMPO_HZ / 2 * t)
    return Phone(user_acceleration=(0.0, float(side * rocking), float(-28.0 * stroke)), time_s=t)


def perform(
    app: str, seconds: float, still_after_s: float, lean_rad: float = 0.0, silent_after_s: float = math.inf
) -> tuple[np.ndarray, Any, np.ndarray]:
    """Let two phones (and a third on the torso) play through hub and engine; return records, counters and sound."""
    sensor = Sensor("phones", 0, Inlet("test"))
    hub = Hub([sensor], Config())
    settings = initial_settings(Config())
    units.link()
    shared = new_shared(RATE_HZ, BLOCK)
    engine = new_engine(shared, settings[0], load_all(Config().models), rate_hz=RATE_HZ, block_frames=BLOCK)
    out, record = np.zeros((BLOCK, 2), np.float32), np.zeros(1, CONTROL)
    records, sound = [], []
    sent = 0
    lean = (0.0, senders.G * np.cos(lean_rad), -senders.G * np.sin(lean_rad))
    for start in range(0, round(seconds * RATE_HZ), BLOCK):
        now_ns = start * SECOND // RATE_HZ
        while sent / 60 <= min(start / RATE_HZ, silent_after_s):
            t = sent / 60
            for host, side in (("right", 1.0), ("left", -1.0)):
                for data in PHONES[app](wave(t, beats=t < still_after_s, side=side), host):
                    assert hub._hear(sensor, data, host, 1, now_ns, now_ns) is None
            for data in PHONES["zigsim"](Phone(gravity=lean, time_s=t), "torso"):
                hub._hear(sensor, data, "torso", 1, now_ns, now_ns)
            sent += 1
        hub.publish(shared["devices"], rings.publish, 0, now_ns)
        process(out, engine, shared)
        sound.append(out.copy())
        while rings.pop(record, shared["records"]):
            records.append(record[0].copy())
    return np.array(records, CONTROL), shared["counters"], np.concatenate(sound)


@pytest.mark.parametrize("app", ["zigsim", "sensors2osc"])
def test_two_phones_play_the_instrument(app: str) -> None:
    """Strokes to a beat give hand velocities, energy, strikes, commitment and sound; then rest gives none of them."""
    records, counters, sound = perform(app, seconds=14.0, still_after_s=9.0, lean_rad=0.3)
    moving, resting = records[120:530], records[-60:]
    assert (moving["x_valid"] == 0b111111).all()
    assert np.abs(moving["x"][:, [0, 2]]).max() > 0.4, "both hands go up and down"
    assert np.ptp(moving["x"][:, 1]) > 0.1, "and to and fro"
    assert moving["energy"].mean() > 0.2
    assert resting["energy"].max() < 0.03
    assert counters["strikes"] > 0.5 * 9 * TEMPO_HZ
    assert moving["onsets"][-1] > 5
    assert moving["c"][-60:].mean() > 0.3
    assert records[300]["c"] > records[60]["c"]
    assert np.abs(sound[3 * RATE_HZ : 9 * RATE_HZ]).max() > 0.01
    assert np.abs(resting["x"][:, :4]).max() < 0.05
    np.testing.assert_allclose(resting["x"][:, 4], np.tanh(0.3 / np.radians(30)), atol=0.03)
    np.testing.assert_allclose(resting["x"][:, 5], 0.0, atol=0.03)


def test_phones_alone_tell_the_latency() -> None:
    """While phones move the sound the records say so, with the arrival of their newest reading; silent, they do not."""
    records, _, _ = perform("zigsim", seconds=4.0, still_after_s=2.0, silent_after_s=2.0)
    moving, silent = records[30:110], records[-30:]
    age_ns = moving["time_ns"] - moving["motion_arrival_ns"]
    assert (age_ns >= 0).all()
    assert age_ns.max() < 0.05 * SECOND
    assert len(np.unique(moving["motion_arrival_ns"])) > 60
    assert all(status.latency_ms(record) is not None for record in moving)
    assert (moving["flags"] & (PRESENT | HELD) == PRESENT).all()
    assert all(status.latency_ms(record) is None for record in silent)
    assert (silent["flags"] & (PRESENT | HELD) == HELD).all()
