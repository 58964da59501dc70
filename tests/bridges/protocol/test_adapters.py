"""Phones and trackers: what every program sends comes out as one phone in one basis, and nothing raises."""

import json
import math

import pytest
import senders
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from senders import G, Phone

from echelon_bridges.protocol import adapters, osc, sniff
from echelon_bridges.protocol.apps import APPS
from echelon_bridges.protocol.reading import LIMITS, QUANTITIES, Reading, Readings
from echelon_bridges.protocol.refusal import MALFORMED, TOO_LARGE, Refusal

ROTATION = tuple(map(float, Rotation.from_euler("zxy", [40, 20, -70], degrees=True).as_quat()))
PHONE = Phone((0.5, -1.0, 2.0), (1.0, 4.0, math.sqrt(G * G - 17.0)), (0.1, -0.2, 3.0), ROTATION, 1234.5)
TRUTH = {
    "acceleration": PHONE.acceleration,
    "user_acceleration": PHONE.user_acceleration,
    "gravity": PHONE.gravity,
    "angular_rate": PHONE.angular_rate,
    "rotation": ROTATION,
}


def read(datagrams: list[bytes]) -> Readings:
    """Return the readings of several datagrams together."""
    found = Readings()
    for data in datagrams:
        one = adapters.decode(data)
        assert isinstance(one, Readings)
        found.readings += one.readings
        found.refused += one.refused
        found.unknown += one.unknown
    return found


def in_si(reading: Reading) -> list[float]:
    """Return a reading's values in m/s^2 where they are in g."""
    return [value * (G if reading.unit == "g" else 1.0) for value in reading.values]


@pytest.mark.parametrize("app", sorted(senders.PHONES))
def test_every_program_tells_the_same_phone(app: str) -> None:
    """Units, signs and quaternion orders come out alike whoever sends."""
    found = read(senders.PHONES[app](PHONE))
    assert found.readings
    assert found.refused == 0
    for reading in found.readings:
        if reading.quantity == "euler":
            continue
        truth = TRUTH[reading.quantity]
        expected = truth if reading.axis < 0 else [truth[reading.axis]]
        assert in_si(reading) == pytest.approx(expected, abs=1e-5), reading


@pytest.mark.parametrize(
    ("app", "name", "quantities"),
    [
        ("zigsim", "zigsim", {"user_acceleration", "gravity", "angular_rate", "rotation"}),
        ("zigsim_json", "zigsim", {"user_acceleration", "gravity", "angular_rate", "rotation"}),
        ("gyrosc", "gyrosc", {"user_acceleration", "gravity", "angular_rate", "rotation"}),
        ("touchosc", "touchosc", {"acceleration"}),
        ("sensors2osc", "sensors2osc", set(TRUTH)),
        ("sensorlog", "sensorlog", set(TRUTH)),
        ("android", "android", set(TRUTH)),
        ("tdlidar", "tdlidar", {"angular_rate"}),
        ("rime", "rime", {"acceleration", "user_acceleration", "gravity", "angular_rate", "euler"}),
    ],
)
def test_programs_are_told_apart(app: str, name: str, quantities: set[str]) -> None:
    """Each program is known by what it sends, and all of its sensors are read."""
    found = read(senders.PHONES[app](PHONE))
    assert {reading.app for reading in found.readings} == {name}
    assert {reading.quantity for reading in found.readings} == quantities


def test_the_identity_edited_by_a_user_is_the_device() -> None:
    """ZIG SIM's name may be anything, also the name of a sensor; an empty one leaves it to the address."""
    for name in ("abc", "left-hand_1", "gyro", "x", "quaternion"):
        assert {r.device for r in read(senders.zigsim(PHONE, name)).readings} == {f"zigsim:{name}"}
        assert {r.device for r in read(senders.zigsim_json(PHONE, name)).readings} == {f"zigsim:{name}"}
    for build in (senders.zigsim, senders.zigsim_json):
        found = read(build(PHONE, ""))
        assert {(r.app, r.device) for r in found.readings} == {("zigsim", "")}
        assert len(found.readings) == 4


def test_a_bundle_with_one_sensor_is_still_zig_sims() -> None:
    """Whichever sensors are switched on, the device keeps its name; screens and batteries change nothing."""
    for sensor in ("accel", "gravity", "gyro", "quaternion"):
        found = read(senders.zigsim(PHONE, "me", sensors=sensor))
        assert [(r.device, r.app) for r in found.readings] == [("zigsim:me", "zigsim")]
    about = osc.encode_message("/me/deviceinfo", "s", ["iPhone"])
    found = read([osc.encode_bundle([about, senders.floats("/me/touch0", [0.5, 0.5])])])
    assert (found.readings, found.unknown) == ([], 1)


def test_time_stamps_are_the_senders_seconds() -> None:
    """ISO dates, nanoseconds and seconds since reboot become seconds; what is no time is None."""
    for app in ("zigsim_json", "android", "sensorlog"):
        assert {r.time_s for r in read(senders.PHONES[app](PHONE)).readings} == {1234.5}
    for stamp in (None, 5, "yesterday", "2026-13-45T99:00:00Z", "x" * 5000):
        data = json.dumps({"timestamp": stamp, "sensordata": {"gyro": {"x": 1, "y": 2, "z": 3}}}).encode()
        assert [r.time_s for r in read([data]).readings] == [None]
    zoned = {"loggingTime(txt)": "1970-01-01 02:00:01.500 +0200"}
    zoned |= {f"motionRotationRate{a}(rad/s)": "1" for a in "XYZ"}
    assert [r.time_s for r in read([json.dumps(zoned).encode()]).readings] == [1.5]


def test_numbers_of_any_type_are_read() -> None:
    """Ints, doubles, long ints, flags and numbers as text make one reading; other text refuses it."""
    data = osc.encode_message("/gyrosc/rrate", "idh", [1, 2.5, -3])
    assert [r.values for r in read([data]).readings] == [(1.0, 2.5, -3.0)]
    data = osc.encode_message("/gyrosc/rrate", "TFs", [True, False, "-0.5"])
    assert [r.values for r in read([data]).readings] == [(1.0, 0.0, -0.5)]
    text = read(senders.gyrosc(Phone(rotation=ROTATION), text=True))
    assert [r.values for r in text.readings if r.quantity == "rotation"] == [pytest.approx(ROTATION)]
    for bad in ("", "fast", "nan", "inf", "1_0", "0x1p3", "9" * 60):
        found = read([osc.encode_message("/gyrosc/rrate", "ffs", [1.0, 2.0, bad])])
        assert (found.readings, found.refused) == ([], 1), bad


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e30])
def test_what_is_not_finite_refuses_that_reading_alone(bad: float) -> None:
    """One number that is none refuses its reading and is counted; the others of the datagram are read."""
    bundle = osc.encode_bundle([senders.floats("/a/gyro", [1, bad, 3]), senders.floats("/a/gravity", [0, 0, -1])])
    found = read([bundle])
    assert [r.quantity for r in found.readings] == ["gravity"]
    assert found.refused == 1


@pytest.mark.parametrize(
    ("values", "read_as"),
    [
        ((0, 0, 0, 1), (0, 0, 0, 1)),
        ((0, 0, 0, -1.9), (0, 0, 0, -1)),
        ((0.3, 0, 0, 0.4), (0.6, 0, 0, 0.8)),
        ((0, 0, 0, 0.4), None),
        ((0, 0, 0, 2.1), None),
        ((0, 0, 0, 0), None),
        ((0.6, 0, 0), (0.6, 0, 0, 0.8)),
        ((1, 1, 1), None),
        ((1, 0), None),
        ((math.nan, 0, 0, 1), None),
    ],
)
def test_quaternions_are_normalised_or_refused(values: tuple[float, ...], read_as: tuple[float, ...] | None) -> None:
    """Lengths from 0.5 to 2 are made 1, others refused; three numbers are a unit quaternion's vector part."""
    found = read([senders.floats("/rotationvector", values)])
    if read_as is None:
        assert (found.readings, found.refused) == ([], 1)
    else:
        assert found.readings[0].values == pytest.approx(read_as, abs=1e-6)


def test_the_last_element_names_the_sensor_of_an_unknown_program() -> None:
    """Any prefix is the device, spelling is free, a number a message tells its axis, degrees are turned."""
    cases = {
        "/studio/left/Linear_Acceleration": ("osc:studio/left", "user_acceleration", (1.0, 2.0, 3.0), -1),
        "/left/rotation-rate": ("osc:left", "angular_rate", (1.0, 2.0, 3.0), -1),
        "/left/acc/y": ("osc:left", "acceleration", (1.0,), 1),
        "/accelerometer/Z": ("", "acceleration", (1.0,), 2),
        "/accelerometer/": ("", "acceleration", (1.0, 2.0, 3.0), -1),
        "/left/gyro_deg": ("osc:left", "angular_rate", tuple(map(math.radians, (1.0, 2.0, 3.0))), -1),
    }
    for address, expected in cases.items():
        found = read([senders.floats(address, [1, 2, 3])])
        reading = found.readings[0]
        assert (reading.device, reading.quantity, reading.values, reading.axis) == expected, address
    flat = read([senders.floats("/left/sensors", range(18))]).readings
    assert {(r.device, r.quantity) for r in flat} == {
        ("osc:left", q) for q in ("acceleration", "user_acceleration", "euler", "gravity", "angular_rate")
    }
    named = read([osc.encode_message("/polar/acc", "sfff", ["stick", 1.0, 2.0, 3.0])]).readings[0]
    assert (named.device, named.values) == ("osc:polar/stick", (1.0, 2.0, 3.0))
    for address in ("/1/fader1", "/left/touch", "/", "//", "/x", "/gyro/w", "/orientation"):
        found = read([senders.floats(address, [1, 2, 3])])
        assert (found.readings, found.unknown) == ([], 1), address


def test_angles_come_as_pitch_roll_and_yaw() -> None:
    """Whatever order a program tells its angles in, they come about x, y and z."""
    pitch_roll_yaw = (0.1, 0.2, 0.3)
    for address, sent, unit in (
        ("/gyrosc/gyro", (0.1, 0.2, 0.3), "rad"),
        ("/dev/euler", (0.2, 0.1, 0.3), "rad"),
        ("/SceneRotator/ypr", (0.3, 0.1, 0.2), "deg"),
    ):
        reading = read([senders.floats(address, sent)]).readings[0]
        assert (reading.quantity, reading.unit) == ("euler", unit)
        assert reading.values == pytest.approx(pitch_roll_yaw)


def test_trackers_say_which_one_they_are() -> None:
    """Position in metres and Euler degrees of trackers 1 to 8 and the head, as sent; others are unknown."""
    found = read(senders.vrchat({"1": ((1, 2, 3), (10, 20, 30)), "head": ((0, 1.7, 0), None)}))
    assert [(r.part, r.quantity, r.values, r.unit) for r in found.readings] == [
        ("1", "position", (1.0, 2.0, 3.0), "m"),
        ("1", "euler", (10.0, 20.0, 30.0), "deg"),
        ("head", "position", (0.0, pytest.approx(1.7), 0.0), "m"),
    ]
    assert read(senders.vrchat({"9": ((1, 2, 3), None)})).unknown == 1


def test_vmc_is_told_from_phones() -> None:
    """A VMC performer's bundles and messages are known by their first bytes; no phone's are taken for them."""
    for bundle in (True, False):
        assert all(sniff.is_vmc(data) for _, data in senders.vmc_frames(2, bundle=bundle))
    assert not any(sniff.is_vmc(data) for data in CORPUS)


def test_time_tags_are_never_waited_for() -> None:
    """A bundle stamped in a far future is read at once, and says nothing about time."""
    found = adapters.decode(osc.encode_bundle([senders.floats("/gyrosc/rrate", [1, 2, 3])], 2**64 - 1))
    assert isinstance(found, Readings)
    assert found.readings[0].time_s is None


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"{" + b" " * 9000, TOO_LARGE),
        (b'{"a":' + b"[" * 4000, TOO_LARGE),
        (b'{"a":' * 600, TOO_LARGE),
        (b'{"a":' * 500, MALFORMED),
        (b"{}{}", MALFORMED),
        (b'{"a": NaN}', MALFORMED),
        (b'{"a": 1e999}', MALFORMED),
        (b'{"a": ' + b"9" * 5000 + b"}", MALFORMED),
        (b'{"\xff": 1}', MALFORMED),
        (b'{"a": "\\ud800"}', MALFORMED),
        (b"/gyrosc/quat", MALFORMED),
        (b"/" * 8196, TOO_LARGE),
    ],
)
def test_damaged_and_endless_texts_are_refused(data: bytes, kind: str) -> None:
    """Size, depth and numbers are bounded: a refusal, never an exception."""
    refusal = adapters.decode(data)
    if data.startswith(b"/gyrosc/quat"):  # an address without its closing zero
        assert isinstance(refusal, Refusal)
    elif kind == MALFORMED and b"9" * 5000 in data:
        assert isinstance(refusal, Refusal | Readings)
    else:
        assert isinstance(refusal, Refusal)
        assert refusal.kind == kind


def test_json_of_others_is_unknown() -> None:
    """Objects that no adapter knows, and those whose fields have other types, give no reading."""
    for value in ({}, {"sensordata": 5}, {"type": 7}, {"type": "android.sensor.light", "values": [3]}, {"x": [{}]}):
        found = read([json.dumps(value).encode()])
        assert (found.readings, found.refused, found.unknown) == ([], 0, 1), value
    for value in (
        {"sensordata": {"accel": 5}},
        {"sensordata": {"accel": {"x": 1, "y": []}}},
        {"type": "android.sensor.gyroscope", "values": {"x": 1}},
        {"type": "android.sensor.gyroscope", "values": [1, 2]},
        {"motionYaw(rad)": 1},
    ):
        found = read([json.dumps(value).encode()])
        assert (found.readings, found.refused) == ([], 1), value


def test_the_table_of_programs_is_whole() -> None:
    """Every program has a unit for every quantity it sends, orders that are permutations, and a source."""
    for app in APPS.values():
        assert sorted(app.quaternion_order) == [0, 1, 2, 3]
        assert sorted(app.euler_order) == [0, 1, 2]
        assert app.source
        assert set(app.units) <= set(QUANTITIES)
        assert set(app.turned) <= set(app.units)


CORPUS = [data for build in senders.PHONES.values() for data in build(PHONE)] + senders.vrchat(
    {"1": ((1, 2, 3), (10, 20, 30))}
)


def check(data: bytes) -> None:
    """Decode and hold what every reading promises."""
    found = adapters.decode(data)
    sniff.protocol_of(data)
    sniff.is_vmc(data)
    if isinstance(found, Refusal):
        return
    for reading in found.readings:
        assert reading.app in APPS
        assert len(reading.device) <= 64
        limit = LIMITS[reading.quantity]
        assert all(math.isfinite(value) and abs(value) <= limit for value in reading.values)
        assert reading.time_s is None or math.isfinite(reading.time_s)
        if reading.axis >= 0:
            assert len(reading.values) == 1
        elif reading.quantity == "rotation":
            assert math.sqrt(sum(value * value for value in reading.values)) == pytest.approx(1.0)
        else:
            assert len(reading.values) == 3


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from([b"", b"/", b"#bundle\0", b"{", b'{"sensordata":', b"/gyrosc/quat\0\0\0\0,ffff\0\0\0"]),
    st.binary(max_size=90),
)
def test_no_bytes_raise(start: bytes, data: bytes) -> None:
    """Arbitrary bytes behind every beginning give readings within bounds or a refusal."""
    check(start + data)


@settings(deadline=None, max_examples=400)
@given(
    st.sampled_from(CORPUS),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=6),
    st.floats(0, 1),
    st.booleans(),
)
def test_no_damaged_datagram_raises(data: bytes, changes: list[tuple[float, int]], cut: float, whole: bool) -> None:
    """Real datagrams with bytes changed and ends cut off never raise nor leave the bounds."""
    damaged = bytearray(data)
    for where, value in changes:
        damaged[min(int(where * len(damaged)), len(damaged) - 1)] = value
    check(bytes(damaged if whole else damaged[: int(cut * len(damaged)) // 4 * 4]))


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)
JSON_KEYS = st.sampled_from([
    "sensordata", "device", "uuid", "timestamp", "type", "values", "accel", "quaternion", "x", "y", "z", "w",
    "motionYaw(rad)", "motionQuaternionX(R)", "loggingTime(txt)", "motionTimestamp_sinceReboot(s)",
])  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(
    st.dictionaries(JSON_KEYS, JSON_VALUES | st.dictionaries(JSON_KEYS, JSON_VALUES, max_size=4), max_size=6),
    st.sampled_from(["android.sensor.gyroscope", "android.sensor.rotation_vector", None]),
)
def test_no_json_raises(value: dict, kind: str | None) -> None:
    """Objects with the right keys and any values, nested as they like."""
    if kind is not None:
        value["type"] = kind
    check(json.dumps(value).encode("utf-8", errors="surrogatepass"))
