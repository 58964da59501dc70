"""One mocopi performer over time: order, loss, restarts, bodies that come late, and clocks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paths import MOTION, needs_shared
from scipy.spatial.transform import Rotation

from echelon_bridges.motion.skeleton import REST_OFFSETS
from echelon_bridges.protocol import captures, mocopi
from echelon_bridges.protocol.mocopi_stream import MocopiStream
from echelon_engine.memory import BREAK

MS = 1_000_000
CALM = np.tile([0.0, 0.0, 0.0, 1.0], (27, 1))


def packet(number: int, time_s: float, unix_s: float | None = None, turns: np.ndarray = CALM) -> bytes:
    """Return a frame packet of a standing body."""
    return mocopi.encode_frame(number, time_s, turns, [0.0, 0.93, 0.0], REST_OFFSETS, unix_s=unix_s)


def play(stream: MocopiStream, *numbers: int, rate: float = 60.0, unix: bool = False) -> list[int | None]:
    """Feed frames `numbers` of an even stream; return the flags of what came out, None where nothing did."""
    flags: list[int | None] = []
    for n in numbers:
        time_s = n / rate
        frame = stream.feed(packet(n, time_s, 1e9 + time_s if unix else None), round(1e9 + time_s * 1e9))
        flags.append(None if frame is None else int(frame[0]["flags"]))
    return flags


@needs_shared
@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("frame-loss-60hz", {"frames": 6, "lost": 2, "duplicates": 1, "restarts": 1, "refused": 0}),
        ("incomplete-frame-60hz", {"frames": 2, "refused_bones": 3, "refused": 0}),
        ("extended-form", {"frames": 3, "unknown_boxes": 2, "before_skeleton": 1, "refused": 0}),
        ("neutral-standing-60hz", {"frames": 5, "lost": 0, "refused_bones": 0, "unknown_boxes": 0}),
        ("arms-lowered-60hz", {"frames": 3, "skeletons": 1, "before_skeleton": 0}),
    ],
)
def test_reference_captures_count_as_stated(name: str, counts: dict[str, int]) -> None:
    """The reference captures give the counts that their source states."""
    stream = MocopiStream()
    for seconds, data in captures.read(MOTION / "packets" / "mocopi_captures" / f"{name}.mocopipackets"):
        frame = stream.feed(data, round(seconds * 1e9))
        assert frame is None or np.isfinite(frame["position"]).all()
    assert {key: getattr(stream.counts, key) for key in counts} == counts


def test_lost_frames_are_counted_and_do_not_break() -> None:
    """Two missing numbers are two lost frames; the gap is too short to cut velocity."""
    stream = MocopiStream()
    assert play(stream, 1, 2, 5, 6) == [BREAK, 0, 0, 0]
    assert stream.counts.lost == 2


def test_a_long_gap_breaks() -> None:
    """After a quarter of a second without frames no velocity is taken across."""
    stream = MocopiStream()
    assert play(stream, 1, 2, 30) == [BREAK, 0, BREAK]


def test_duplicates_and_late_packets_are_dropped() -> None:
    """A packet twice, and one that comes after its successors, are counted and not played."""
    for unix in (False, True):
        stream = MocopiStream()
        assert play(stream, 1, 2, 2, 4, 3, 5, unix=unix) == [BREAK, 0, None, 0, None, 0]
        assert (stream.counts.duplicates, stream.counts.late, stream.counts.restarts) == (1, 1, 0)


@pytest.mark.parametrize("number", [1, 5000])
def test_stop_and_start_is_a_restart(number: int) -> None:
    """Time back at 0 restarts, whether the app's counter goes on (stop, start) or begins again (new app)."""
    stream = MocopiStream()
    play(stream, *range(4000, 4010))
    frame = stream.feed(packet(number, 0.0), 200 * 10**9)
    assert frame is not None
    assert frame[0]["flags"] == BREAK
    assert frame[0]["time_ns"] == 200 * 10**9
    assert (stream.counts.restarts, stream.counts.lost) == (1, 0)


def test_a_young_stream_that_restarts_is_followed() -> None:
    """Where only order in a row tells a restarted sender from late packets, playing goes on after a few frames."""
    stream = MocopiStream()
    play(stream, *range(50))
    flags = [stream.feed(packet(n, n / 60), (2000 + 17 * n) * MS) is not None for n in range(1, 20)]
    assert flags[-10:] == [True] * 10
    assert stream.counts.restarts == 1


def test_the_counter_may_wrap() -> None:
    """After 2^32 - 1 comes 0, and nothing is lost."""
    stream = MocopiStream()
    for k, number in enumerate([2**32 - 2, 2**32 - 1, 0, 1]):
        assert stream.feed(packet(number, 1 + k / 60), k * 17 * MS) is not None
    assert (stream.counts.lost, stream.counts.restarts) == (0, 0)


def test_rotations_play_before_the_body_is_known() -> None:
    """Frames before the first skeleton use the default body; the sender's own is swapped in when it comes."""
    stream = MocopiStream()
    first = stream.feed(packet(1, 0.0), 0)
    assert stream.feed(mocopi.encode_skeleton(REST_OFFSETS * 1.2), 1) is None
    second = stream.feed(packet(2, 1 / 60), 17 * MS)
    assert first is not None
    assert second is not None
    np.testing.assert_allclose(second["position"], first["position"] * 1.2, atol=1e-6)
    assert (stream.counts.before_skeleton, stream.counts.skeletons) == (1, 1)


def test_other_protocols_are_counted_as_undecodable() -> None:
    """OSC on the mocopi port is refused and told apart from damaged packets."""
    stream = MocopiStream()
    assert stream.feed(b"/VMC/Ext/T\0\0,f\0\0\0\0\0\0", 0) is None
    assert stream.feed(packet(1, 0.0)[:-5], 0) is None
    assert (stream.counts.refused, stream.counts.undecodable) == (2, 1)
    assert stream.refusal is not None
    assert stream.refusal.kind == "truncated"


def test_bursts_are_stamped_by_the_senders_clock() -> None:
    """Frames that arrive in bursts keep the sender's even spacing, and no stamp lies after its arrival."""
    stream = MocopiStream()
    rng = np.random.default_rng(1)
    arrival = 0
    stamps, arrivals = [], []
    for n in range(600):
        made = 5 * 10**9 + n * 10**9 // 60
        arrival = max(arrival + 2_000, made + int(rng.choice([2, 5, 60, 160], p=[0.6, 0.2, 0.1, 0.1]) * MS))
        frame = stream.feed(packet(n, n / 60), arrival)
        assert frame is not None
        stamps.append(int(frame[0]["time_ns"]))
        arrivals.append(arrival)
    assert np.all(np.array(stamps) <= arrivals)
    assert np.abs(np.diff(stamps[60:]) - 1e9 / 60).max() < 0.2 * MS


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.integers(0, 2**32 - 1), st.floats(-1, 1e6, width=32), st.none() | st.floats(0, 2e9)),
            st.binary(max_size=40),
        ),
        max_size=25,
    )
)
def test_no_stream_raises_or_goes_back_in_time(events: list) -> None:
    """Whatever order and clocks come: nothing raises, bodies stay finite, stamps rise."""
    stream = MocopiStream()
    turns = Rotation.random(27, random_state=1).as_quat()
    last = None
    for k, event in enumerate(events):
        data = event if isinstance(event, bytes) else packet(*event, turns)
        frame = stream.feed(data, (k + 1) * 16 * MS)
        if frame is not None:
            assert np.isfinite(frame["position"]).all()
            assert last is None or frame[0]["time_ns"] > last
            last = frame[0]["time_ns"]
    counts = stream.counts
    assert counts.frames + counts.duplicates + counts.late + counts.refused == len(events)
