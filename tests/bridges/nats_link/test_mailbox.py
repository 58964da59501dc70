"""What waits for the link: bounded, newest first where only the newest counts, in order where all do."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from nats_rig import NO_CONTROLS, NO_EVENTS, controls, limb_frame, note_event

from echelon_bridges.messages.grids import Book
from echelon_bridges.nats_link.mailbox import NEWEST, OUTBOX, WAITING_EVENTS, Mailbox
from echelon_bridges.performers import PERFORMER
from echelon_engine.memory import ALL_OFF, GRID


def test_newest_wins() -> None:
    """Of many control records nobody took, the newest few are left, with the numbers they had."""
    mailbox = Mailbox("e", "s", 60.0)
    for frame in range(100):
        mailbox.offer(controls(frame, 1), NO_EVENTS, 0, 0.0)
    left = [(numbered.sequence, int(numbered.record["frame"])) for numbered in mailbox.controls.waiting]
    assert left == [(frame + 1, frame) for frame in range(100 - NEWEST, 100)]
    assert int(mailbox.newest["frame"]) == 99


def test_records_are_kept_apart_from_the_ring() -> None:
    """What the bridges do with their arrays afterwards does not reach the mailbox."""
    mailbox = Mailbox("e", "s", 60.0)
    made, event, frame = controls(5, 1), note_event(1), limb_frame(3)
    mailbox.offer(made, event, 0, 0.0)
    mailbox.body(2, frame)
    made["frame"], event["key"], frame["number"] = 0, 0, 0
    assert int(mailbox.controls.waiting[0].record["frame"]) == int(mailbox.newest["frame"]) == 5
    assert int(mailbox.events[0]["key"]) == 1
    assert int(mailbox.bodies[2].waiting[0].record["number"]) == 3


def test_rate_survives_a_clock_that_jumps() -> None:
    """A rate is kept through jitter, a gap, and a time that begins again."""
    mailbox = Mailbox("e", "s", 20.0)
    times = np.concatenate([np.arange(600) / 60, 100 + np.arange(600) / 60, np.arange(600) / 60])
    times += np.random.default_rng(1).uniform(-0.002, 0.002, len(times))
    for i, time_s in enumerate(times):
        made = controls(i, 1)
        made["time_ns"] = round(time_s * 1e9)
        mailbox.offer(made, NO_EVENTS, 0, 0.0)
    assert abs(mailbox.controls.due - 600) <= 6


@pytest.mark.parametrize(("rate_hz", "sent"), [(60.0, 150), (15.0, 150), (5.0, 50), (0.5, 5)])
def test_performers_keep_the_rate(rate_hz: float, sent: int) -> None:
    """Of what is told of performers, 15 times a second, as many are due as nats.rate_hz allows."""
    mailbox = Mailbox("e", "s", rate_hz)
    states = np.zeros(2, PERFORMER)
    for i in range(150):
        states["time_ns"] = round(i * 1e9 / 15)
        mailbox.everybody(states.copy())
    assert mailbox.performers.due == sent


def test_outbox_is_bounded() -> None:
    """An outbox that is full keeps the oldest bars in order and counts the others."""
    mailbox = Mailbox("e", "s", 60.0)
    for bar in range(OUTBOX + 10):
        mailbox.offer(controls(bar, 1, bar_frames=1), NO_EVENTS, 0, 0.0)
    assert OUTBOX >= 2000
    assert [bar.bar for bar in mailbox.outbox] == list(range(OUTBOX))
    assert mailbox.bars_lost == 9
    assert mailbox.newest_bar is not None
    assert mailbox.newest_bar.bar == OUTBOX + 8


def test_grids_are_told_once_in_their_place() -> None:
    """A grid is due when the first record names it, after the bar before; the same again, or an unknown one, is not."""
    book = Book(("house",))
    mailbox = Mailbox("e", "s", 60.0, book)
    made = np.zeros(4, GRID)
    made["number"], made["bar"] = np.arange(1, 5), np.arange(4)
    for bar in range(6):
        if bar < 4:
            book.add(made[bar : bar + 1])
        playing = controls(10 * bar, 10, bar_frames=10)
        playing["grid"] = bar + 1 if bar != 2 else 2
        for part in (playing[:3], playing[3:]):
            mailbox.offer(part, NO_EVENTS, 0, 0.0)
    assert [message.id for message in mailbox.outbox] == [
        "s-1-0-grid", "s-1-0", "s-1-1-grid", "s-1-1", "s-1-2", "s-1-3-grid", "s-1-3", "s-1-4",
    ]  # fmt: skip
    assert mailbox.newest_grid is not None
    assert (mailbox.newest_grid.number, mailbox.newest_grid.sequence) == (4, 3)


def test_notes_are_bounded_and_counted() -> None:
    """Notes nobody takes are counted from a bound on; what sounds is known without them."""
    mailbox = Mailbox("e", "s", 60.0)
    for key in range(WAITING_EVENTS + 5):
        mailbox.offer(NO_CONTROLS, note_event(key), 0, 0.0)
        mailbox.offer(NO_CONTROLS, note_event(key, kind=2), 0, 0.0)
    assert len(mailbox.events) == WAITING_EVENTS
    assert mailbox.events_lost == 2 * (WAITING_EVENTS + 5) - WAITING_EVENTS
    assert len(mailbox.sounding_notes()) == 0
    mailbox.offer(NO_CONTROLS, np.concatenate([note_event(1), note_event(2)]), 0, 0.0)
    assert [int(row["key"]) for row in mailbox.sounding_notes()] == [1, 2]
    mailbox.offer(NO_CONTROLS, note_event(0, kind=ALL_OFF), 0, 0.0)
    assert len(mailbox.sounding_notes()) == 0


def test_client_is_imported_late() -> None:
    """Importing the outlet imports no NATS client: who does not use it does not pay for it, or need it."""
    code = "import sys, echelon_bridges.nats_link.outlet; sys.exit(any(m in sys.modules for m in ('nats', 'nkeys')))"
    subprocess.run([sys.executable, "-c", code], check=True)
