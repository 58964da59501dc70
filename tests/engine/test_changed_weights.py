"""Other weights while it plays: taken at a control frame, state kept, y glides."""

from typing import Any

import numpy as np
import pytest

from echelon_engine import rings, units
from echelon_engine.block import new_shared
from echelon_engine.memory import CONTROL
from echelon_engine.offline import play_block
from echelon_engine.state import change_gated, new_engine

RATE, BLOCK = 48000, 800  # one control frame a block


class Player:
    """An engine that plays the dance one control frame a block."""

    def __init__(self, dance: Any, settings: Any, weights: Any) -> None:
        units.link()
        self._dance, self._fed, self._record = dance, 0, np.zeros(1, CONTROL)
        self.shared = new_shared(RATE, 512)
        self.engine = new_engine(self.shared, settings[0], weights, rate_hz=RATE)

    def play(self, count: int) -> Any:
        """Play so many control frames; return their records."""
        found = []
        for _ in range(count):
            until_ns = int(self.engine["clock"]["sample"]) * 1e9 / RATE + 5e8
            while self._fed < len(self._dance) and self._dance["time_ns"][self._fed] <= until_ns:
                rings.push(self.shared["frames"][0], self._dance[self._fed : self._fed + 1])
                self._fed += 1
            play_block(np.zeros((BLOCK, 2), np.float32), self.engine, self.shared)
            assert rings.pop(self._record, self.shared["records"])
            found.append(self._record.copy())
        return np.concatenate(found)


def test_new_weights_glide_in_and_the_state_goes_on(dance, settings, weights) -> None:
    """y leaves its old value slowly and is the new net's after 250 ms; its state does not jump."""
    player = Player(dance, settings, weights)
    other = weights.gated.copy()
    other["b_y"] += np.float32(3.0)
    before = player.play(180)[-1]
    slow = player.engine["gated"]["pair"][128:].copy()
    assert change_gated(player.engine, other)
    after = player.play(40)
    steps = np.abs(np.diff(np.concatenate([before["y"][None], after["y"]]), axis=0)).max(axis=1)
    assert steps[:15].max() < 0.8  # 3 over 15 frames, and the body moves
    rise = (after["y"] - before["y"]).mean(axis=1)
    assert 0.0 < rise[0] < 0.6
    assert rise[20:].mean() == pytest.approx(3.0, abs=0.7)
    assert np.abs(player.engine["gated"]["pair"][128:] - slow).max() < 1.0
    assert player.engine["gated_used"] == 1


def test_the_same_weights_again_change_nothing(dance, settings, weights) -> None:
    """A change to equal weights is heard by nobody once it has glided, and both sets are used in turn."""
    changed, untouched = Player(dance, settings, weights), Player(dance, settings, weights)
    changed.play(120)
    assert change_gated(changed.engine, weights.gated)
    assert not change_gated(changed.engine, weights.gated)  # the callback has not taken the first
    changed.play(30)
    assert change_gated(changed.engine, weights.gated)
    changed.play(30)
    assert changed.engine["gated_used"] == 0
    untouched.play(180)
    np.testing.assert_array_equal(changed.play(30)["y"], untouched.play(30)["y"])
