"""A phone's messages become the engine's twelve numbers, the same ones whichever program sent them."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import senders
from hypothesis import given, settings
from hypothesis import strategies as st
from senders import PHONES, G, Phone

from echelon_bridges.fusion.device import LOST_NS, Device
from echelon_bridges.protocol import adapters
from echelon_bridges.protocol.reading import QUANTITIES, Reading, Readings

_spec = importlib.util.spec_from_file_location("phones", Path(__file__).with_name("phones.py"))
assert _spec is not None
assert _spec.loader is not None
phones: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(phones)

SECOND = 1_000_000_000
DELAY_NS = 40_000_000
# Programs that send an acceleration, and how far their velocity may be off the true one's RMS: those that send raw
# accelerations alone (no gyroscope) cannot tell a tilt from a push.
TOLD = {"zigsim": 0.2, "zigsim_json": 0.2, "gyrosc": 0.2, "sensors2osc": 0.2, "sensorlog": 0.2, "android": 0.2,
        "rime": 0.2, "sensorvisualizer": 0.2}  # fmt: skip


def play(app: str, motion: Any, device: Device | None = None, **options: Any) -> tuple[Device, np.ndarray]:
    """Let a program send a motion; return the device and its latents after every sample (n, 12)."""
    device = device or Device("x", app, "10.0.0.1", 0)
    rows = []
    for n, phone in enumerate(motion):
        arrival_ns = SECOND + round(n * SECOND / phones.RATE_HZ)
        for data in PHONES[app](phone, **options):
            found = adapters.decode(data)
            assert isinstance(found, Readings)
            device.take(found.readings, arrival_ns, DELAY_NS)
        rows.append(device.latent(arrival_ns))
    return device, np.array(rows)


@pytest.mark.parametrize("app", TOLD)
def test_velocity_is_the_leaky_integral_whichever_program_sends(app: str) -> None:
    """A hand that swings up and down while it tilts: velocity along the true up follows the true leaky integral."""
    motion = list(phones.swing(6.0))
    device, rows = play(app, motion)
    up = np.array([phone.gravity for phone in motion]) / G
    upward = np.einsum("ij,ij->i", rows[:, 9:12], up)
    true = phones.true_velocity(6.0)
    after = slice(90, None)
    error = np.sqrt(np.mean((upward - true)[after] ** 2)) / np.sqrt(np.mean(true[after] ** 2))
    assert error < TOLD[app]
    assert device.frames >= len(motion) - 20


@pytest.mark.parametrize("app", [*TOLD, "touchosc"])
def test_gravity_points_down_whichever_program_sends(app: str) -> None:
    """At rest the direction of gravity is the true one's opposite of up, to 1 degree."""
    motion = list(phones.swing(1.5, still_s=9.0))
    _, rows = play(app, motion)
    down = -np.array(motion[-1].gravity) / G
    np.testing.assert_allclose(rows[-1, 6:9], down, atol=0.02)
    np.testing.assert_allclose(rows[-1, 9:12], 0.0, atol=0.01)
    np.testing.assert_allclose(rows[-1, :3], 0.0, atol=0.05)


@pytest.mark.parametrize("in_g", [False, True])
def test_resting_magnitude_tells_the_unit_and_the_sign(in_g: bool) -> None:
    """TouchOSC says no unit: 1 at rest is g in Apple's sign, 9.81 is m/s^2 in Android's; a push up is the same push."""
    rest = [Phone() for _ in range(60)]
    push = [Phone(user_acceleration=(0.0, 0.0, 5.0)) for _ in range(6)]
    device, rows = play("touchosc", rest + push, in_g=in_g)
    assert device.unit == ("g" if in_g else "m/s2")
    np.testing.assert_allclose(rows[59, 6:9], (0, 0, -1), atol=1e-3)
    assert rows[-1, 2] == pytest.approx(5.0, abs=0.5)
    assert rows[-1, 11] == pytest.approx(5.0 * 6 / 60, rel=0.25)


def test_a_declared_unit_is_overruled_by_what_rests() -> None:
    """A phone that claims g but rests at 9.81 counts in m/s^2: no acceleration of 96 m/s^2 is heard."""
    device = Device("x", "zigsim", "h", 0)
    for n in range(60):
        at = n * SECOND // 60
        device.take([Reading("x", "zigsim", "gravity", (0.0, 0.0, 9.81), "g")], at, DELAY_NS)
        device.take([Reading("x", "zigsim", "user_acceleration", (0.0, 0.0, 2.0), "g")], at, DELAY_NS)
    assert device.unit == "m/s2"
    assert device.acceleration[2] == pytest.approx(2.0)


def test_a_shaken_phone_is_told_too_in_the_end() -> None:
    """A phone that is never at rest: after two seconds the median tells its unit."""
    rng = np.random.default_rng(1)
    motion = [Phone(user_acceleration=tuple(rng.normal(0, 6, 3))) for _ in range(130)]
    assert play("touchosc", motion, in_g=True)[0].unit == "g"
    assert play("touchosc", motion)[0].unit == "m/s2"


@pytest.mark.parametrize("with_gyro", [True, False])
def test_raw_acceleration_is_split(with_gyro: bool) -> None:
    """From raw acceleration alone gravity is found: with a gyroscope well, without one at least roughly."""
    motion = list(phones.swing(6.0, turning=with_gyro))
    device = Device("x", "android", "h", 0)
    errors = []
    for n, phone in enumerate(motion):
        readings = [Reading("x", "android", "acceleration", tuple(phone.acceleration), "m/s2", phone.time_s)]
        if with_gyro:
            readings.insert(0, Reading("x", "android", "angular_rate", tuple(phone.angular_rate), "rad/s"))
        device.take(readings, n * SECOND // 60, DELAY_NS)
        errors.append(float(np.dot(device.down(), np.array(phone.gravity) / -G)))
    tilt = np.degrees(np.arccos(np.clip(errors[90:], -1, 1)))
    assert tilt.max() < (6.0 if with_gyro else 3.0)


def test_a_phone_at_rest_comes_to_a_stop() -> None:
    """After a swing the phone lies still: its velocity is gone within half a second, though its sensor has a bias."""
    motion = [*phones.swing(3.0), *[Phone(user_acceleration=(0.1, 0.0, 0.1)) for _ in range(40)]]
    _, rows = play("gyrosc", motion)
    assert np.linalg.norm(rows[170, 9:12]) > 0.1
    assert np.linalg.norm(rows[-1, 9:12]) < 0.03


def test_a_gap_takes_the_speed_away() -> None:
    """After half a second without a datagram the velocity begins from 0: nothing is integrated across the gap."""
    device = Device("x", "zigsim", "h", 0)
    for n in range(30):
        device.take([Reading("x", "zigsim", "user_acceleration", (9.0, 0, 0), "m/s2")], n * SECOND // 60, DELAY_NS)
    assert device.velocity[0] > 1.0
    device.take([Reading("x", "zigsim", "user_acceleration", (9.0, 0, 0), "m/s2")], 2 * SECOND, DELAY_NS)
    assert device.velocity == (0.0, 0.0, 0.0)


def test_late_and_repeated_samples_are_left_out() -> None:
    """Stamped samples that come twice or out of order change nothing, and are counted; a lost one is, too."""
    phones_ = list(phones.swing(2.0))
    straight, _ = play("android", phones_)
    again = Device("x", "android", "h", 0)
    for n, phone in enumerate(phones_):
        for data in [*senders.android(phone), *(senders.android(phones_[n - 3]) if n > 3 else [])]:
            found = adapters.decode(data)
            assert isinstance(found, Readings)
            again.take(found.readings, SECOND + round(n * SECOND / 60), DELAY_NS)
    np.testing.assert_allclose(again.velocity, straight.velocity, atol=0.02)
    assert again.clock.late >= len(phones_) - 10
    gappy, _ = play("android", phones_[:60] + phones_[62:])
    assert gappy.clock.lost == 2


def test_worn_counts_from_the_posture_of_the_last_recentre() -> None:
    """A torso phone put on crookedly is upright after recentre; leaning forward from there turns gravity to +z."""
    device = Device("x", "zigsim", "h", 0)

    def hold(pitch: float) -> tuple[float, ...]:
        gravity = (0.1, float(np.cos(pitch)), -float(np.sin(pitch)))
        scale = float(np.linalg.norm(gravity)) / G
        for n in range(3):
            device.take([Reading("x", "zigsim", "gravity", tuple(v / scale for v in gravity), "m/s2")], n, DELAY_NS)
        return device.latent(3, worn=True)[6:9]

    crooked = hold(0.2)
    assert crooked[2] == pytest.approx(np.sin(0.2), abs=0.01)
    device.recentre()
    assert hold(0.2) == pytest.approx((0.0, -1.0, 0.0), abs=1e-9)
    assert hold(0.5)[2] == pytest.approx(np.sin(0.3), abs=0.01)
    assert device.latent(3)[6:9] != device.latent(3, worn=True)[6:9]


def test_a_silent_device_is_not_present() -> None:
    """Heard a second ago: gone. One that sends turns alone tells nothing of a hand and is never present."""
    device, _ = play("gyrosc", phones.swing(0.5))
    assert device.is_present(device.arrival_ns + LOST_NS - 1)
    assert not device.is_present(device.arrival_ns + LOST_NS)
    turning, _ = play("tdlidar", phones.swing(0.5))
    assert not turning.is_present(turning.arrival_ns)


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_whatever_is_read_gives_bounded_finite_numbers(data: st.DataObject) -> None:
    """Any readings in any order, at any time, with any stamps: twelve finite numbers within their bounds."""
    number = st.floats(-4000, 4000, width=32)
    reading = st.builds(
        Reading,
        device=st.just("x"),
        app=st.just("osc"),
        quantity=st.sampled_from(QUANTITIES),
        values=st.tuples(number, number, number),
        unit=st.sampled_from(["m/s2", "g", "?"]),
        time_s=st.none() | st.floats(-1e11, 1e11),
    )
    turn = st.builds(
        Reading, st.just("x"), st.just("osc"), st.just("rotation"), st.just((0.0, 0.6, 0.0, 0.8)), st.just(""),
    )  # fmt: skip
    axis = st.builds(
        lambda kind, value, axis: Reading("x", "osc", kind, (value,), "m/s2", None, "", axis),
        st.sampled_from(["acceleration", "gravity", "rotation"]), number, st.integers(0, 2),
    )  # fmt: skip
    device = Device("x", "osc", "h", 0)
    now_ns = 0
    for readings in data.draw(st.lists(st.lists(reading | turn | axis, max_size=6), max_size=30)):
        now_ns += data.draw(st.integers(0, SECOND // 2))
        device.take(readings, now_ns, DELAY_NS)
        latent = np.array(device.latent(now_ns, worn=data.draw(st.booleans())))
        assert np.isfinite(latent).all()
        assert np.linalg.norm(latent[:3]) < 160.1
        assert np.linalg.norm(latent[6:9]) < 1.01
        assert np.linalg.norm(latent[9:]) < 20.1
