"""Every performer's motion state is the one the callback derives."""

import numpy as np

from echelon_bridges.motion.dancer import Dancer
from echelon_bridges.performers import PERIOD_NS, Performers
from echelon_engine import live, offline
from echelon_engine.config import Config
from echelon_models.weights import load_all


def test_performers_are_derived_as_in_the_callback() -> None:
    """Two dancers at once: each has the energy, x and commitment that a render of it alone has."""
    dances = [Dancer(seed).frames(0, 360) for seed in (1, 4)]
    for dance in dances:
        dance["arrival_ns"] = dance["time_ns"]
    performers = Performers(2, 2.0, 0.0)
    settings = live.initial_settings(Config())[0]
    settings["motion_delay_ms"] = 0.0
    alone = [offline.render(dance, 6.0, settings, load_all(Config().models)).records for dance in dances]
    fed = 0
    compared = 0
    for frame in range(330):
        now_ns = int(alone[0]["time_ns"][frame])
        while fed < 360 and dances[0]["time_ns"][fed] <= now_ns + 50_000_000:
            for number, dance in enumerate(dances):
                performers.offer(number, dance[fed : fed + 1])
            fed += 1
        if len(now := performers.advance(now_ns)):
            states = now
        for number in range(len(now)):
            record = alone[number][frame]
            np.testing.assert_allclose(states["energy"][number], record["energy"], atol=2e-3)
            np.testing.assert_allclose(states["x"][number], record["x"], atol=5e-3)
            np.testing.assert_allclose(states["c"][number], record["c"], atol=2e-2)
            compared += 1
    assert compared > 150
    assert states["present"].all()
    assert abs(states["energy"][0] - states["energy"][1]) > 1e-3


def test_silent_performers_are_absent_and_lateness_is_left_out() -> None:
    """Without frames nobody is present; after a pause of a minute only the present is computed."""
    performers = Performers(3, 2.0, 40.0)
    states = performers.advance(10 * PERIOD_NS)
    assert len(states) == 3
    assert not states["present"].any()
    assert len(performers.advance(10 * PERIOD_NS + 1)) == 0
    told = [performers.advance(60_000_000_000 + i * PERIOD_NS) for i in range(8)]
    assert [len(each) for each in told] == [0, 0, 0, 3, 0, 0, 0, 3]
    assert told[3]["time_ns"][0] == 60_000_000_000 + 3 * PERIOD_NS - 40_000_000
