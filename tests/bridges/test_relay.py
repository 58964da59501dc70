"""The relay: what another program decodes is the body that was sent on, in datagrams that travel in one piece."""

import socket

import numpy as np
import pytest

from echelon_bridges.motion.dancer import Dancer
from echelon_bridges.protocol.vmc import VmcStream
from echelon_bridges.relay import MOST_BYTES, Relay, parse_target
from echelon_engine.errors import UsageError

SECOND = 1_000_000_000


def test_another_program_decodes_the_same_body() -> None:
    """Rotations, heading and place come back from VMC as they went in; every datagram fits into one packet."""
    frames = Dancer(seed=4).frames(600, 30)
    frames["heading"] += 1.0
    told: list[str] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as program:
        program.bind(("127.0.0.1", 0))
        program.settimeout(5.0)
        relay = Relay(f"127.0.0.1:{program.getsockname()[1]}", told.append)
        stream, found = VmcStream(), []
        for frame in frames:
            relay.body(0, frame.reshape(1))
            for _ in range(2):
                data = program.recv(65536)
                assert len(data) <= MOST_BYTES
                made = stream.feed(data, int(frame["time_ns"]) + SECOND)
                if made is not None:
                    found.append(made)
        relay.close()
    back = np.concatenate(found)
    assert len(back) >= len(frames) - 1
    assert stream.counts.refused == stream.counts.refused_bones == stream.counts.malformed == 0
    sent = frames[-len(back) :]
    np.testing.assert_allclose(back["heading"], np.remainder(sent["heading"] + np.pi, 2 * np.pi) - np.pi, atol=1e-4)
    np.testing.assert_allclose(back["origin"], sent["origin"], atol=1e-4)
    # The spine has three bones in VMC and seven here: limbs, head and the sum of the spine must agree.
    np.testing.assert_allclose(back["rotation"][:, 11:], sent["rotation"][:, 11:], atol=1e-4)
    np.testing.assert_allclose(back["rotation"][:, 0], sent["rotation"][:, 0], atol=1e-4)
    np.testing.assert_allclose(back["position"][:, [14, 18]], sent["position"][:, [14, 18]], atol=0.02)
    # The first frame is known to be whole when the second begins; from then on the times are the sender's.
    assert np.ptp((back["time_ns"] - sent["time_ns"])[2:]) < 2_000_000
    assert relay.report() == {"target": relay.target, "frames": 30, "dropped": 0}
    assert told == []


def test_performers_go_to_ports_of_their_own() -> None:
    """Performer 1's body is sent to the port above."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as first,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as second,
    ):
        for base in range(42000, 42100, 2):
            try:
                first.bind(("127.0.0.1", base))
                second.bind(("127.0.0.1", base + 1))
                break
            except OSError:
                continue
        second.settimeout(5.0)
        relay = Relay(f"127.0.0.1:{first.getsockname()[1]}", print)
        relay.body(1, Dancer(seed=4).frames(0, 1))
        assert second.recv(65536).startswith(b"#bundle")
        first.setblocking(False)
        with pytest.raises(BlockingIOError):
            first.recv(65536)
        relay.close()


def test_what_cannot_be_sent_is_counted_and_said_once() -> None:
    """A port beyond the last, for every frame: dropped, and one sentence."""
    told: list[str] = []
    relay = Relay("127.0.0.1:65535", told.append)
    relay.body(3, Dancer(seed=4).frames(0, 5))
    relay.close()
    assert relay.report()["dropped"] == 5
    assert len(told) == 1


@pytest.mark.parametrize("text", ["", "host", "host:", ":9", "host:0", "host:65536", "host:x"])
def test_targets_that_are_none_are_refused(text: str) -> None:
    """Value, rule and an example."""
    with pytest.raises(UsageError, match=r"for example 127\.0\.0\.1"):
        parse_target(text)
