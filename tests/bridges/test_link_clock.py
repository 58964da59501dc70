"""Ableton Link: two peers on this machine, ours following the other and leading it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from engines import wait_for

from echelon_bridges.link_clock import EXTERNAL, LinkClock
from echelon_engine.memory import CONTROL

link = pytest.importorskip("link", reason="the extra `link` (Ableton Link, GPL) is not installed")
pytestmark = pytest.mark.realtime
SEARCH_S = 10.0
FIXED = 0


class FakeDesk:
    """Remembers what the external clock says."""

    def __init__(self) -> None:
        self.tempi: list[tuple[int, float, float]] = []

    def tempo(self, time_ns: int, tempo_bpm: float, phase: float) -> bool:
        """Remember it."""
        self.tempi.append((time_ns, tempo_bpm, phase))
        return True


@pytest.fixture
def peer() -> Iterator[Any]:
    """Another program in the session."""
    made = link.Link(97.0)
    made.enabled = True
    yield made
    made.enabled = False


def heard_now(tempo_bpm: float, beat: float) -> Any:
    """Return a control record that is heard now."""
    made = np.zeros(1, CONTROL)
    made["time_ns"] = made["dac_ns"] = time.monotonic_ns()
    made["tempo_bpm"], made["beat"] = tempo_bpm, beat
    return made


def together(clock: LinkClock, peer: Any) -> None:
    """Wait until both know each other; skip where the network lets no peer be found."""
    ends = time.monotonic() + SEARCH_S
    while not (peer.numPeers() and clock.report()["peers"]):
        if time.monotonic() > ends:
            pytest.skip("no multicast on this machine: Link's peers do not find each other")
        time.sleep(0.02)


def turned(clock: LinkClock, source: int, condition: Callable[[], bool], tempo_bpm: float = 120.0) -> None:
    """Let the clock turn, at a beat that goes on, until something holds."""
    began = time.monotonic()

    def turn() -> bool:
        beat = (time.monotonic() - began) * tempo_bpm / 60.0
        clock.turn(heard_now(tempo_bpm, beat), lambda: source, time.monotonic_ns())
        return condition()

    wait_for(turn, "the session")


def test_the_session_leads_while_the_tempo_is_external(peer: Any) -> None:
    """Its tempo and the phase of its beat are told, with the moment at which they held."""
    desk = FakeDesk()
    clock = LinkClock(desk, 130.0)  # type: ignore[arg-type]
    try:
        together(clock, peer)
        state = peer.captureAppSessionState()
        state.setTempo(97.5, peer.clock().micros())
        peer.commitAppSessionState(state)
        turned(clock, EXTERNAL, lambda: len(desk.tempi) > 3 and abs(desk.tempi[-1][1] - 97.5) < 0.01)
        assert clock.report()["follows"]
        time_ns, tempo_bpm, phase = desk.tempi[-1]
        micros, now_ns = peer.clock().micros(), time.monotonic_ns()
        theirs = peer.captureAppSessionState().phaseAtTime(micros - (now_ns - time_ns) // 1000, 1.0)
        assert abs((theirs - phase + 0.5) % 1.0 - 0.5) < 0.02
        assert tempo_bpm == pytest.approx(97.5, abs=0.01)
    finally:
        clock.close()


def test_our_tempo_is_the_sessions_while_it_is_ours(peer: Any) -> None:
    """Set here, the tempo is heard there; nobody is forced to our beat."""
    desk = FakeDesk()
    clock = LinkClock(desk, 120.0)  # type: ignore[arg-type]
    try:
        together(clock, peer)
        turned(clock, FIXED, lambda: abs(peer.captureAppSessionState().tempo() - 143.0) < 0.01, tempo_bpm=143.0)
        assert not desk.tempi
        assert not clock.report()["follows"]
    finally:
        clock.close()


def test_alone_the_session_has_our_beat() -> None:
    """Before anybody joins, the session's bar is ours."""
    clock = LinkClock(FakeDesk(), 120.0)  # type: ignore[arg-type]
    try:
        began_ns = time.monotonic_ns()

        def off() -> float:
            now_ns = time.monotonic_ns()
            beat = 2.7 + (now_ns - began_ns) * 120.0 / 60e9
            clock.turn(heard_now(120.0, beat), lambda: FIXED, now_ns)
            micros = clock._clock.micros()
            state = clock._link.captureAppSessionState()
            here = 2.7 + (time.monotonic_ns() - began_ns) * 120.0 / 60e9
            return abs((state.phaseAtTime(micros, 4.0) - here + 2.0) % 4.0 - 2.0)

        if clock.report()["peers"]:
            pytest.skip("somebody else is in a Link session on this network")
        wait_for(lambda: off() < 0.05, "our beat in the session")
    finally:
        clock.close()
