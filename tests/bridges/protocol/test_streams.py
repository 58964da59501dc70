"""Bodies over time as networks and people treat them: stop, start, restart, loss, order, clocks; and real captures."""

import numpy as np
import pytest
import senders
from hypothesis import given, settings
from hypothesis import strategies as st
from paths import MOTION, needs_shared
from senders import Stream

from echelon_bridges.protocol import captures, mocopi, vmc
from echelon_bridges.protocol.mocopi_stream import MocopiStream
from echelon_bridges.protocol.vmc import VmcStream
from echelon_engine.memory import BREAK

BEGIN_NS = 50 * 10**9


def play(stream: MocopiStream | VmcStream, datagrams: Stream) -> np.ndarray:
    """Feed a stream; return its frames, whose stamps rise and never lie after their arrival."""
    found = []
    for seconds, data in datagrams:
        frames = stream.feed(data, BEGIN_NS + round(seconds * 1e9))
        if frames is not None:
            found.append(frames)
    joined = np.concatenate(found)
    assert np.all(np.diff(joined["time_ns"]) > 0)
    assert np.isfinite(joined["position"]).all()
    return joined


def counts(stream: MocopiStream | VmcStream, *names: str) -> tuple[int, ...]:
    """Return some of a stream's counts."""
    return tuple(getattr(stream.counts, name) for name in names)


@needs_shared
def test_the_recorded_mocopi_stream_is_whole() -> None:
    """All 852 frames and 5 skeletons of the real motion come out, nothing lost, refused or broken but the first."""
    stream = MocopiStream()
    frames = play(stream, captures.read(MOTION / "packets" / "mocopi_stream" / "mocopi-arm-raise-turn-50hz.smfstream"))
    assert counts(stream, "frames", "skeletons", "lost", "refused", "refused_bones", "restarts") == (852, 5, 0, 0, 0, 0)
    assert len(frames) == 852
    assert np.flatnonzero(frames["flags"] & BREAK).tolist() == [0]
    assert stream.rig_declared


@needs_shared
def test_sample_datagrams_of_the_app_are_read() -> None:
    """The published frame and skeleton of the app make one frame of a T-pose with its own body."""
    folder = MOTION / "packets" / "mocopi_sample"
    stream = MocopiStream()
    assert stream.feed((folder / "sample_skdf.bin").read_bytes(), 0) is None
    frame = stream.feed((folder / "sample_fram.bin").read_bytes(), 1)
    assert frame is not None
    assert counts(stream, "frames", "before_skeleton", "unknown_boxes") == (1, 0, 0)
    turned = np.abs(frame[0]["rotation"][:, 3])
    assert turned.min() > 0.99


@needs_shared
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("arm-raise-30hz", (5, 0, 0, 0)),
        ("neutral-standing-30hz", (5, 0, 0, 0)),
        ("mixed-traffic-30hz", (3, 0, 0, 0)),
        ("extended-forms", (1, 0, 0, 0)),
    ],
)
def test_vmc_captures_lose_nothing(name: str, expected: tuple[int, ...]) -> None:
    """Every VMC capture plays each of its frames once."""
    stream = VmcStream()
    play(stream, captures.read(MOTION / "packets" / "vmc_captures" / f"{name}.vmcpackets"))
    assert counts(stream, "frames", "duplicates", "late", "restarts") == expected


def test_stop_and_start_restarts_once() -> None:
    """Time back at 0 while the number goes on: one break, no loss counted, played from the first frame on."""
    stream = MocopiStream()
    frames = play(stream, senders.stopped_and_started(120))
    assert counts(stream, "frames", "restarts", "lost", "late", "duplicates") == (240, 1, 0, 0, 0)
    assert np.flatnonzero(frames["flags"] & BREAK).tolist() == [0, 120]


@pytest.mark.parametrize("unix", [True, False])
def test_an_app_that_starts_anew_is_followed(unix: bool) -> None:
    """Number and time both begin again; the body of before serves until the next skeleton packet."""
    stream = MocopiStream()
    frames = play(stream, senders.stopped_and_started(120, app_too=True, unix=unix))
    assert counts(stream, "frames", "restarts", "lost") == (240, 1, 0)
    assert (frames["flags"][120] & BREAK) == BREAK


def test_a_packet_from_before_the_stop_does_not_restart_again() -> None:
    """A datagram of the stream before that arrives after the start is late: no second restart, no break."""
    stream = MocopiStream()
    datagrams = senders.stopped_and_started(60, skeleton_every_s=99.0)
    old = datagrams.pop(58)[1]
    at = 64
    datagrams.insert(at, (datagrams[at][0], old))
    play(stream, datagrams)
    assert counts(stream, "frames", "restarts", "late") == (119, 1, 1)


@pytest.mark.parametrize("unix", [True, False])
def test_reordered_and_doubled_packets_are_counted(unix: bool) -> None:
    """Two that change places cost the later one, doubles nothing; neither is a restart."""
    stream = MocopiStream()
    datagrams = senders.mocopi_frames(300, unix=unix, skeleton_every_s=99.0)
    play(stream, senders.swapped(datagrams, 30))
    late = stream.counts.late
    assert late == 9
    assert counts(stream, "frames", "restarts", "lost") == (300 - late, 0, late)
    stream = MocopiStream()
    play(stream, senders.doubled(datagrams, 10))
    assert counts(stream, "frames", "duplicates", "restarts", "lost") == (300, 30, 0, 0)


def test_lost_fragments_are_lost_frames() -> None:
    """A datagram of which one fragment is lost never arrives: the numbers tell how many, skeletons do not matter."""
    datagrams = senders.mocopi_frames(600, skeleton_every_s=99.0)
    kept = [datagrams[0], datagrams[1], *senders.lossy(datagrams[2:-1], 0.1), datagrams[-1]]
    stream = MocopiStream()
    play(stream, kept)
    assert stream.counts.lost == len(datagrams) - len(kept) > 30
    assert stream.counts.frames + stream.counts.lost == 600


def test_a_first_fragment_alone_is_refused() -> None:
    """Where a cut datagram is delivered after all it is refused as truncated, and nothing of it is played."""
    stream = MocopiStream()
    for seconds, data in senders.mocopi_frames(5):
        assert stream.feed(senders.truncated(data), round(seconds * 1e9)) is None
    assert stream.counts.refused == 6
    assert stream.refusal is not None
    assert stream.refusal.kind == "truncated"


def test_frames_before_the_rig_are_counted_apart() -> None:
    """A performer met between two skeleton packets plays at once; its rig is undeclared till it comes."""
    datagrams = senders.mocopi_frames(240, skeleton_every_s=3.0)[1:]
    stream = MocopiStream()
    play(stream, datagrams[:100])
    assert not stream.rig_declared
    play_on = [stream.feed(data, BEGIN_NS + round(seconds * 1e9)) for seconds, data in datagrams[100:]]
    assert sum(frame is not None for frame in play_on) == 140
    assert stream.rig_declared
    assert counts(stream, "before_skeleton", "skeletons", "frames") == (180, 1, 240)


@pytest.mark.parametrize("kind", ["mocopi", "vmc"])
@pytest.mark.parametrize("drift_ppm", [1700.0, -1700.0])
def test_drifting_clocks_stay_near_the_arrival(kind: str, drift_ppm: float) -> None:
    """A clock 1700 ppm off, 100 ms in a minute, moves no stamp more than 15 ms; the drift is reported."""
    still = senders.CALM
    if kind == "mocopi":
        stream: MocopiStream | VmcStream = MocopiStream()
        datagrams = senders.mocopi_frames(30 * 60, rate_hz=30.0, drift_ppm=drift_ppm, pose=lambda n: still)
    else:
        stream = VmcStream()
        datagrams = senders.vmc_frames(30 * 30, rate_hz=30.0, drift_ppm=drift_ppm, pose=lambda n: still)
    frames = play(stream, datagrams)
    late_ms = (frames["arrival_ns"] - frames["time_ns"]) / 1e6
    assert late_ms.min() >= 0
    assert late_ms.max() < 15.0
    assert np.all(frames["flags"][1:] == 0)
    assert stream.clock.drift_ppm == pytest.approx(drift_ppm, abs=60)


def test_bursts_keep_the_senders_spacing() -> None:
    """Held back for up to 166 ms and delivered together, frames keep their even spacing."""
    stream = MocopiStream()
    frames = play(stream, senders.bursty(senders.mocopi_frames(600, skeleton_every_s=99.0)))
    assert np.abs(np.diff(frames["time_ns"][60:]) - 1e9 / 60).max() < 1e6


def test_vmc_tells_late_from_doubled_and_restarted() -> None:
    """T equal is a double, a little lower is late, far lower is a restart."""
    stream = VmcStream()
    datagrams = senders.vmc_frames(90)
    play(stream, senders.swapped(datagrams, 30))
    assert counts(stream, "frames", "late", "duplicates", "restarts") == (88, 2, 0, 0)
    stream = VmcStream()
    play(stream, senders.doubled(datagrams, 10))
    assert counts(stream, "frames", "late", "duplicates", "restarts") == (90, 0, 9, 0)
    stream = VmcStream()
    frames = play(stream, datagrams + senders.vmc_frames(60, begin_s=3.0))
    assert counts(stream, "frames", "late", "duplicates", "restarts") == (150, 0, 0, 1)
    assert np.flatnonzero(frames["flags"] & BREAK).tolist() == [0, 90]


def test_vmc_without_a_running_clock_plays_by_arrival() -> None:
    """A sender whose T stands still is played by arrival after a few frames, and goes back to T when that runs."""
    stream = VmcStream()
    datagrams = [(n / 60, vmc.encode_frame(7.0, senders.gesture(n), [0, 0.9, 0])[0]) for n in range(60)]
    frames = play(stream, datagrams)
    assert len(frames) == 60 - vmc.STILL
    assert np.all(frames["time_ns"][1:] == frames["arrival_ns"][1:])
    running = senders.vmc_frames(30, begin_s=1.0, first_time_s=8.0)
    assert len(play(stream, running)) == 30


def test_vmc_rig_is_declared_by_its_legs() -> None:
    """The default body plays until both bones of a leg have told their length."""
    stream = VmcStream()
    assert not stream.rig_declared
    play(stream, senders.vmc_frames(3))
    assert stream.rig_declared


MOCOPI = [data for _, data in senders.mocopi_frames(6)]
VMC = [data for _, data in senders.vmc_frames(3)] + vmc.encode_frame(9.0, senders.CALM, [0, 1, 0], bundle=False)[:6]


@settings(deadline=None, max_examples=150)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(range(len(MOCOPI))),
            st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=4),
            st.sampled_from([0, 0, 0, 3, 46, 800]),
        ),
        min_size=1,
        max_size=8,
    ),
    st.sampled_from(["mocopi", "vmc"]),
)
def test_no_damaged_stream_raises(events: list, kind: str) -> None:
    """Real datagrams with bytes changed or cut, in any order: no exception, frames finite and stamps rising."""
    stream: MocopiStream | VmcStream = MocopiStream() if kind == "mocopi" else VmcStream()
    corpus = MOCOPI if kind == "mocopi" else VMC
    last = 0
    for k, (which, changes, cut) in enumerate(events):
        data = bytearray(corpus[which % len(corpus)])
        for where, value in changes:
            data[min(int(where * len(data)), len(data) - 1)] = value
        frames = stream.feed(bytes(data[: len(data) - cut]), BEGIN_NS + k * 16_000_000)
        for frame in frames if frames is not None else ():
            assert np.isfinite(frame["position"]).all()
            assert np.isfinite(frame["origin"]).all()
            assert np.abs(frame["rotation"]).max() <= 1.0 + 1e-6
            assert frame["time_ns"] > last
            last = frame["time_ns"]
    assert mocopi.decode(MOCOPI[1]) is not None
