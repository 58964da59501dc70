"""The nearest grid: exact where there is an exact one, else what is heard least, and everything lost is told."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from music_grids import GRIDS, grids, needs_music

from echelon_engine.vocabulary import STEPS
from echelon_models.music import events as ev
from echelon_models.music import nearest as near
from echelon_models.music import tokens


@st.composite
def onsets(draw: st.DrawFn) -> ev.Events:
    """Return onsets of any values that the record can hold, on few tracks so that they crowd."""
    rows = draw(st.lists(st.tuples(st.integers(0, 3), st.integers(0, STEPS - 1)), max_size=60))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    found = np.zeros(len(rows), ev.EVENT)
    for event, (track, step) in zip(found, rows, strict=True):
        event["track"], event["step"] = track, step
        event["kind"] = random.integers(2)
        event["sound"] = random.integers(8) if event["kind"] else random.integers(128)
        event["count"], event["articulation"] = random.integers(1, 4), random.integers(5)
        event["duration"], event["effects"] = random.integers(30), random.choice([0, 0, 1, 9, 31])
        event["velocity"] = random.uniform(0, 1.3)
    return found


@settings(max_examples=60, deadline=None)
@given(grids())
def test_nothing_is_lost_where_a_grid_says_it_exactly(grid: ev.Grid) -> None:
    """For the onsets of a grid the nearest grid is the exact one."""
    found = ev.events(grid)
    written, losses = near.nearest(found)
    np.testing.assert_array_equal(written, ev.grid(found))
    assert not losses


@settings(max_examples=60, deadline=None)
@given(onsets())
def test_any_onsets_give_a_grid_and_the_losses_are_the_difference(asked: ev.Events) -> None:
    """Applying the losses to what was asked gives exactly what the grid says."""
    written, losses = near.nearest(asked)
    said = {(int(e["track"]), int(e["step"])): e for e in ev.events(written)}
    assert {(int(e["track"]), int(e["step"])) for e in asked} == set(said)  # no cell is lost, only a second onset in it
    told = {(loss.track, loss.step, loss.field): loss for loss in losses if loss.field != near.DROPPED}
    assert sum(loss.field == near.DROPPED for loss in losses) == len(asked) - len(said)
    for (track, step), event in said.items():
        here = [e for e in asked if (e["track"], e["step"]) == (track, step)]
        loudest = max(e["velocity"] for e in here)
        wanted = next(e for e in here if e["velocity"] == loudest)
        for field in ("sound", "count", *ev.STATE):
            loss = told.get((track, step, field))
            assert (loss is None) == (wanted[field] == event[field])
            if loss is not None:
                assert (loss.wanted, loss.written) == (wanted[field], event[field])
                assert str(loss).startswith(ev.place(track, step))


def test_no_choice_of_changes_is_heard_less() -> None:
    """On a crowded track the path costs as little as the best of all that a search through every grid finds."""
    words = ["16th", "pp", "mf", "half", "C3", "ghost", "C3", "C3", "~", "C3", "C3"]
    row = [tokens.token_of(word) for word in words]
    asked = ev.events(np.array([row + [0] * (STEPS - len(row))] + [[0] * STEPS] * 11))
    asked["velocity"], asked["duration"] = [0.2, 1, 1, 0.2, 0.2], [8, 1, 1, 1, 2]
    asked["step"] -= 3  # a single cell before the first

    def cost(said: ev.Events) -> float:
        full, wanted = ev.derived(said), ev.derived(asked)
        apart = np.abs(np.log2(full["gain"] / wanted["gain"])).sum()
        return float(apart + near.LENGTH_COST * np.abs(np.log2(full["gate"] / wanted["gate"])).sum())

    best = np.inf
    used = list(itertools.product([0.2, 0.65, 1], [0, 4], [1, 2, 8]))
    for path in itertools.product(used, repeat=3):  # states change in three gaps; without a gap they stay
        tried = asked.copy()
        for event, state in zip(tried, [path[0], path[1], path[1], path[2], path[2]], strict=True):
            event["velocity"], event["articulation"], event["duration"] = state
        try:
            ev.grid(tried)
        except ev.EventError:
            continue
        best = min(best, cost(tried))
    found = cost(ev.events(near.nearest(asked)[0]))
    assert found == pytest.approx(best, abs=0.2)  # words that are not as asked cost a little more
    assert found < cost(ev.events(ev.grid(_flat(asked))))


def _flat(asked: ev.Events) -> ev.Events:
    flat = asked.copy()
    flat["velocity"], flat["duration"], flat["articulation"] = 0.65, 1, 0
    return flat


def test_louder_onset_of_a_cell_stays_and_a_foreign_fill_is_one_strike() -> None:
    """Two onsets in a cell, a fill of another sound and a pitch out of range are put right and told."""
    asked = np.zeros(3, ev.EVENT)
    asked["track"], asked["step"], asked["count"], asked["duration"] = 6, [4, 4, 8], [1, 1, 2], 1
    asked["sound"], asked["velocity"] = [60, 96, 40], [0.35, 0.65, 0.65]
    written, losses = near.nearest(asked)
    found = ev.events(written)
    assert (found["sound"].tolist(), found["count"].tolist()) == ([84, 40], [1, 1])
    assert [str(loss) for loss in losses] == [
        "LEAD step 4: dropped",
        "LEAD step 4: sound 96 became 84",
        "LEAD step 8: count 2 became 1",
    ]
    assert near.summary(losses) == {"count": 1, "dropped": 1, "sound": 1}


@needs_music
@pytest.mark.parametrize("name", ["lmms", "freedoom", "gmd"])
def test_real_velocities_and_durations_become_tokens(name: str) -> None:
    """Music with its velocities and lengths is written with every onset kept, and most of its loudness."""
    with np.load(GRIDS / f"{name}.npz") as file:
        chosen = slice(None, None, max(1, len(file["grid"]) // 12))
        sounds, loud, long = (file[key][chosen] for key in ("grid", "vel", "dur"))
    better = []
    for each in zip(sounds, loud, long, strict=True):
        asked = near.observed(*each)
        written, losses = near.nearest(asked)
        found = ev.events(written)
        for field in ("track", "step", "kind", "sound"):
            np.testing.assert_array_equal(found[field], asked[field])
        assert {loss.field for loss in losses} <= {"velocity", "duration"}
        plain = np.abs(np.log2(0.65 / asked["gain"])).sum()
        better.append((np.abs(np.log2(found["gain"] / asked["gain"])).sum(), plain))
    kept, plain = np.sum(better, axis=0)
    assert kept < 0.8 * plain
