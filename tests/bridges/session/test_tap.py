"""Taps: everything once and in order, places given back only when said, also around the ring's end."""

import numpy as np

from echelon_bridges.session.tap import Tap
from echelon_engine import rings
from echelon_engine.memory import EVENT, ring


def test_everything_comes_once_and_places_stay_taken() -> None:
    """A tap gives what is new, over the ring's end too; the producer finds room only after the release."""
    shared = np.zeros(1, ring(EVENT, 8))[0]
    item, tap, seen, pushed = np.zeros(1, EVENT), Tap(shared), [], 0
    for count in (5, 0, 3, 6, 8, 1):
        for _ in range(count):
            item["sample"] = pushed
            pushed += 1
            assert rings.push(shared, item)
        seen += tap.take()["sample"].tolist()
        if tap.taken == 5:
            continue  # three more fit beside what is not given back
        tap.release(tap.taken)
    assert seen == list(range(pushed))
    for _ in range(8):
        assert rings.push(shared, item)
    assert not rings.push(shared, item)
    assert len(tap.take()) == 8
    tap.release(tap.taken - 3)
    assert Tap(shared).take().shape == (3,)  # the next reader finds what was not given back
    assert tap.take().shape == (0,)
