"""Clocks, jitter, roles, places, seats and the stage's centre: each rule, and what breaks it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echelon_bridges.fusion.centre import Centre
from echelon_bridges.fusion.clocks import DeviceClock
from echelon_bridges.fusion.gravity import RestTest
from echelon_bridges.fusion.jitter import Jitter
from echelon_bridges.fusion.places import DOUBT_NS, Places
from echelon_bridges.fusion.roles import Roles, parse_place, parse_roles
from echelon_bridges.fusion.seats import HELD_NS, Seats
from echelon_bridges.fusion.vectors import shortest_turn
from echelon_bridges.protocol.senderclock import SenderClock
from echelon_engine import quaternion as qt
from echelon_engine.errors import UsageError
from echelon_engine.memory import BREAK, LIMB_FRAME

SECOND = 1_000_000_000
MS = 1_000_000


def floods(_: object) -> bool:
    """Nobody floods."""
    return False


@pytest.mark.parametrize("ppm", [-500.0, 0.0, 40.0, 1667.0])
def test_drift_is_told_through_jitter(ppm: float) -> None:
    """A clock that runs fast by so many millionths is told within 20, though datagrams come up to 80 ms late."""
    rng = np.random.default_rng(2)
    clock = SenderClock()
    assert clock.drift_ppm is None
    for n in range(60 * 40):
        t = n / 60
        delay = 0.002 + (0.08 * rng.random() if rng.random() < 0.5 else 0.002 * rng.random())
        clock.engine_ns(round(t * (1 + ppm * 1e-6) * 1e9), round((t + delay) * 1e9))
    assert clock.drift_ppm == pytest.approx(ppm, abs=20)


def test_device_clock_steps_by_stamps_and_counts_loss_and_restarts() -> None:
    """Steps are the stamps' own; two missing samples are counted; a clock that begins again is a restart."""
    clock = DeviceClock()
    assert clock.step(5.0, SECOND) == (SECOND, 0.0)
    for n in range(1, 20):
        stepped = clock.step(5.0 + n / 50, SECOND + n * 20 * MS + (n % 3) * MS)
        assert stepped is not None
        assert stepped[1] == pytest.approx(0.02)
    assert clock.step(5.0 + 22 / 50, SECOND + 440 * MS) is not None
    assert (clock.lost, clock.late, clock.restarts) == (2, 0, 0)
    assert clock.step(5.0 + 21 / 50, SECOND + 450 * MS) is None
    assert clock.late == 1
    stepped = clock.step(0.0, SECOND + 500 * MS)
    assert stepped == (SECOND + 500 * MS, 0.0)
    assert clock.restarts == 1


def test_a_clock_without_stamps_spreads_bursts() -> None:
    """Four datagrams at once every 66 ms are samples 16.7 ms apart, not 66 and 0."""
    clock = DeviceClock()
    steps = []
    for n in range(400):
        stepped = clock.step(None, SECOND + (n // 4) * 66_667_000 + n % 4)
        assert stepped is not None
        steps.append(stepped[1])
    assert np.mean(steps[200:]) == pytest.approx(1 / 60, rel=0.1)
    assert max(steps[200:]) < 0.03
    assert not clock.stamped
    assert clock.drift_ppm is None


def test_jitter_of_stamped_frames_is_their_lateness() -> None:
    """p50, p99 and how many came later than the de-jitter delay."""
    jitter = Jitter()
    assert jitter.percentiles_ms() is None
    for n in range(100):
        jitter.timed(n * MS, n * MS + (50 * MS if n >= 97 else 3 * MS), 40 * MS)
    assert jitter.percentiles_ms() == (3.0, 50.0)
    assert jitter.late == 3


def test_jitter_of_unstamped_frames_is_told_against_an_even_schedule() -> None:
    """Even frames have none; of frames held back by 0 to 30 ms the p99 is about that."""
    rng = np.random.default_rng(3)
    arrival_ns = 0
    even, uneven = Jitter(), Jitter()
    for n in range(600):
        due_ns = SECOND + n * 16_666_667
        arrival_ns = max(arrival_ns, due_ns + round(rng.uniform(0, 30) * MS))
        even.untimed(due_ns)
        uneven.untimed(arrival_ns)
    calm, wild = even.percentiles_ms(), uneven.percentiles_ms()
    assert calm is not None
    assert wild is not None
    assert calm[1] < 0.1
    assert 20 < wild[1] < 45
    assert 8 < wild[0] < 25


def test_rest_test_waits_for_rest() -> None:
    """Sixteen samples alike decide; before there is no unit, and a sensor that reads 0 says nothing."""
    test = RestTest()
    for magnitude in [0.0] * 40 + [1.2, 0.7] * 7 + [1.01] * 15:
        test.take(magnitude)
        assert test.unit == ""
    test.take(1.0)
    assert test.unit == "g"


def test_roles_are_read_and_mistakes_named() -> None:
    """`PERFORMER.ROLE=DEVICE` entries; every mistake says value, rule and remedy."""
    assert parse_roles("") == {}
    assert parse_roles("0.left=zigsim:abc, 1.body = 192.168.1.7 ,right=x,") == {
        "zigsim:abc": (0, "left"),
        "192.168.1.7": (1, "body"),
        "x": (0, "right"),
    }
    assert parse_place("3.Torso") == (3, "torso")
    for wrong, words in {
        "0.lef=x": "did you mean 'left'",
        "4.left=x": "none of 0 to 3",
        "x.left=x": "performer 'x'",
        "0.left": "no assignment",
        "0.left=": "no assignment",
        "0.left=a, 0.left=b": "given twice",
    }.items():
        with pytest.raises(UsageError, match=words):
            parse_roles(wrong)


def test_phones_get_roles_in_the_order_in_which_they_come() -> None:
    """Right hand, left hand, torso, then none; assigned roles are left out; a silent phone's role is free again."""
    roles = Roles(parse_roles("0.right=known"))
    present = dict.fromkeys("abcd", False)
    assert [roles.admit(name, 0, present.__getitem__)[1] for name in "abc"] == ["left", "torso", "none"]
    assert roles.of("known", "h") == (0, "right")
    assert roles.of("whatever", "known") == (0, "right"), "by address"
    assert roles.of("d", "h") is None
    present["a"] = True
    assert roles.admit("d", 0, present.__getitem__) == (0, "left")
    assert roles.of("a", "h") is None
    assert Roles({}).admit("x", 2, floods) == (2, "right")


def test_assigning_takes_the_role_from_whoever_had_it() -> None:
    """Two phones change hands by two assignments; none silences a phone."""
    roles = Roles({})
    roles.admit("a", 0, floods)
    roles.admit("b", 0, floods)
    roles.assign("b", (0, "right"))
    assert (roles.of("a", ""), roles.of("b", "")) == ((0, "none"), (0, "right"))
    roles.assign("a", (0, "left"))
    assert (roles.of("a", ""), roles.of("b", "")) == ((0, "left"), (0, "right"))
    roles.assign("b", (0, "none"))
    assert roles.of("b", "") == (0, "none")
    with pytest.raises(UsageError, match="no device"):
        roles.assign("", (0, "left"))


def test_a_new_port_continues_the_sender_until_both_speak() -> None:
    """An app's restart keeps its place; two phones at one address are told apart as soon as both are heard."""
    places = Places()
    assert [places.of("h", 1000 + n, n * SECOND) for n in range(9)] == [0] * 9, "restarts"
    assert places.of("other", 1, 0) == 0
    at = 20 * SECOND
    found = [places.of("h", port, at + n) for n, port in enumerate([1, 2] * 6)]
    assert found[-6:] in ([0, 1] * 3, [1, 0] * 3)
    assert places.of("h", 1, at + SECOND) != places.of("h", 2, at + SECOND)
    third = [places.of("h", port, at + SECOND + n) for n, port in enumerate([1, 2, 3] * 6)]
    assert sorted(third[-3:]) == [0, 1, 2]


def test_a_port_that_returns_after_a_while_is_a_restart_too() -> None:
    """A port used again by chance, five seconds after it was left, splits nobody."""
    places = Places()
    now_ns = 0
    for port in [1, 2, 1, 2, 1, 2]:
        now_ns += DOUBT_NS + 1
        for _ in range(5):
            assert places.of("h", port, now_ns) == 0


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 40), st.integers(0, SECOND)), max_size=400))
def test_places_are_bounded(heard: list[tuple[int, int, int]]) -> None:
    """However many addresses and ports send, what is remembered stays small."""
    places = Places()
    now_ns = 0
    for host, port, later in heard:
        now_ns += later
        assert 0 <= places.of(str(host), port, now_ns) < 8
    assert len(places._hosts) <= 128


def test_seats_first_come_first_served() -> None:
    """A body keeps its seat, its port's own first; one too many waits until somebody was silent for a second."""
    seats = Seats(2)
    assert seats.seat("a", 0, 0, floods) == 0
    assert seats.seat("b", 0, 1, floods) == 1, "the port's own is taken"
    assert seats.seat("c", 1, 2, floods) is None
    assert seats.seat("a", 0, HELD_NS, floods) == 0
    assert seats.seat("c", 0, HELD_NS + 1, floods) == 1, "b was silent"
    assert seats.seat("b", 1, HELD_NS + 2, floods) is None
    assert seats.seat("b", 1, HELD_NS + 3, lambda body: body == "a") == 0, "a floods"


def test_assigned_seats_are_kept_for_those_they_belong_to() -> None:
    """An assigned body takes its seat from whoever sits there; nobody else gets it meanwhile."""
    seats = Seats(2)
    assert seats.seat("a", 0, 0, floods, None, lambda at: at == 0) == 1
    assert seats.seat("b", 0, 0, floods, 0, lambda at: at == 0) == 0
    assert seats.seat("b", 0, 0, floods, 1) == 1
    assert seats.player == [None, "b"]


def test_recentre_turns_and_moves_the_stage_and_nothing_else() -> None:
    """Where the performer stands and faces becomes the origin, facing +Z; distances, height and posture stay."""
    rng = np.random.default_rng(5)
    frames = np.zeros(6, LIMB_FRAME)
    frames["heading"] = 2.5 + 0.1 * np.arange(6)
    frames["origin"] = rng.normal(0, 2, (6, 3))
    frames["position"] = rng.normal(0, 1, (6, 27, 3))
    before = frames.copy()
    centre = Centre()
    centre.apply(frames)
    np.testing.assert_array_equal(frames["origin"], before["origin"])
    centre.wanted = True
    centre.apply(frames[2:4])
    centre.apply(frames[4:])
    after = frames[2:]
    assert after["flags"].tolist() == [BREAK, 0, 0, 0]
    np.testing.assert_allclose(after["origin"][0], [0, before["origin"][2, 1], 0], atol=1e-6)
    np.testing.assert_allclose(after["heading"], 0.1 * np.arange(4), atol=1e-6)
    np.testing.assert_array_equal(after["position"], before["position"][2:])
    # world place of every limb relative to the first frame's: the same up to one turn by -2.7
    turn = qt.about([0, 1, 0], np.array(-2.7))
    moved = qt.rotate(turn, before["origin"][2:].astype(float) - before["origin"][2].astype(float))
    np.testing.assert_allclose(after["origin"] - after["origin"][0], moved, atol=1e-5)


@given(
    a=st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda v: np.linalg.norm(v) > 0.1),
    b=st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda v: np.linalg.norm(v) > 0.1),
)
def test_the_shortest_turn_carries_one_onto_the_other(
    a: tuple[float, float, float], b: tuple[float, float, float]
) -> None:
    """`a` lands on `b`, and lengths stay."""
    a, b = (tuple(np.array(v) / np.linalg.norm(v)) for v in (a, b))
    np.testing.assert_allclose(shortest_turn(a, b, a), b, atol=0.03)
    assert np.linalg.norm(shortest_turn(a, b, (1.0, 2.0, 3.0))) == pytest.approx(np.sqrt(14), rel=0.02)
