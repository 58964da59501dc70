"""Choosing by density, and what cells can say of wished notes."""

from hypothesis import given, settings
from hypothesis import strategies as st

from echelon_engine.vocabulary import DRUM_SOUND
from echelon_models.music import events as ev
from echelon_models.music.patterns import BAR, Note, chance, fit, onsets, threshold


def test_level_one_always_sounds_and_levels_come_in_order() -> None:
    """A lower level enters at a lower density on the same step; level 1 at none."""
    for step in range(BAR):
        thresholds = [threshold(level, step, 0.5, 0.0) for level in range(1, 10)]
        assert thresholds[0] == 0.0
        assert thresholds == sorted(thresholds)
        assert thresholds[-1] <= 1.0


def test_syncopation_prefers_the_steps_between() -> None:
    """With more syncopation a step between beats enters before one on the beat, with less after it."""
    assert threshold(5, 3, 1.0, 0.0) < threshold(5, 4, 1.0, 0.0)
    assert threshold(5, 3, 0.0, 0.0) > threshold(5, 4, 0.0, 0.0)


def test_chance_is_even_and_depends_on_every_key() -> None:
    """Drawn numbers fill 0..1 evenly and differ where any key differs."""
    drawn = [chance(1, bar, track) for bar in range(100) for track in range(12)]
    assert len(set(drawn)) == len(drawn)
    assert abs(sum(drawn) / len(drawn) - 0.5) < 0.03
    assert chance(2, 5, 5) != chance(1, 5, 5)
    assert chance(3, 4) == chance(3, 4)


sounds = st.one_of(st.integers(36, 84), st.integers(DRUM_SOUND, DRUM_SOUND + 7))
note = st.builds(
    Note,
    step=st.integers(0, 31),
    sound=sounds,
    level=st.integers(1, 9),
    velocity=st.integers(0, 5),
    articulation=st.integers(0, 4),
    duration=st.sampled_from([1, 2, 3, 4, 8]),
    strikes=st.integers(1, 2),
    effects=st.sampled_from([0, 1, 4, 9]),
)
row = st.lists(note, max_size=32, unique_by=lambda n: n.step).map(lambda notes: sorted(notes, key=lambda n: n.step))


@settings(deadline=None, max_examples=30)
@given(st.lists(row, min_size=12, max_size=12))
def test_every_wish_becomes_a_grid_with_the_same_onsets(rows: list[list[Note]]) -> None:
    """`fit` only ever gives up states: the grid it is written to has all onsets, and exactly the fitted states."""
    fitted = [fit(wished) for wished in rows]
    for wished, got in zip(rows, fitted, strict=True):
        assert [(n.step, n.sound) for n in wished] == [(n.step, n.sound) for n in got]
    written = onsets(fitted)
    heard = ev.events(ev.grid(written))
    fields = ["track", "step", "kind", "sound", "count", "articulation", "duration", "effects", "velocity"]
    order = sorted(range(len(written)), key=lambda i: (written["step"][i], written["track"][i]))
    assert heard[fields].tolist() == written[order][fields].tolist()


def test_what_matters_most_is_said_first() -> None:
    """With one silent cell a drum gets its articulation; with more its velocity as well."""
    near = fit([Note(0, DRUM_SOUND), Note(2, DRUM_SOUND, velocity=1, articulation=4)])
    far = fit([Note(0, DRUM_SOUND), Note(3, DRUM_SOUND, velocity=1, articulation=4)])
    assert (near[1].articulation, near[1].velocity) == (4, 3)
    assert (far[1].articulation, far[1].velocity) == (4, 1)
    ghost_then_backbeat = fit([Note(3, DRUM_SOUND, level=7, articulation=4), Note(4, DRUM_SOUND, level=1)])
    assert [n.articulation for n in ghost_then_backbeat] == [0, 0]
