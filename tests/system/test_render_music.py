"""What a body plays, rendered with the default settings: it follows, falls silent, and is clean."""

import sys

import numpy as np
import pytest
from paths import MOTION, ROOT, needs_shared

sys.path.append(str(ROOT / "benchmarks"))
import follow


def check(row: dict[str, object]) -> None:
    """Compare the figures of one rendering with the bars of a clip longer than 8 s."""
    assert row["finite"]
    assert row["correlation"] >= follow.BAR
    assert row["end_rms_dbfs"] < follow.SILENCE_DB
    assert row["end_peak_dbfs"] < follow.SILENCE_DB
    assert row["peak_dbfs"] <= follow.CEILING_DB + 0.05
    assert row["clicks"] == 0
    assert -28 < row["loudness_lufs"] < -12
    assert 0.5 < row["notes_per_s"] < 8


@needs_shared
@pytest.mark.parametrize(
    "name",
    [
        "bvh/ad-rokoko-jesse_dance.bvh",
        "bvh/ad-fair1-dab.bvh",
        "bvh/mocopi-mobile-arm-raise-turn.bvh",
        "packets/mocopi_stream/mocopi-arm-raise-turn-50hz.smfstream",
    ],
)
def test_sound_follows_a_recorded_body_and_ends_with_it(name: str) -> None:
    """Loudness ranks as motion energy does, nothing clicks or clips, and 20 s of a held pose end in silence."""
    clip, looped = follow.recorded(MOTION / name)
    assert not looped
    row = follow.figures(clip.name, *follow.play(clip))
    check(row)
    assert row["brightness_ratio"] > 1.2


@pytest.mark.parametrize(("seed", "tempo_bpm"), [(1, 96.0), (3, 140.0)])
def test_sound_follows_the_dancer(seed: int, tempo_bpm: float) -> None:
    """The built-in dancer is followed closely, and energetic passages are brighter than calm ones."""
    clip = follow.dance(seed, tempo_bpm, 18.0)
    row = follow.figures(clip.name, *follow.play(clip))
    check(row)
    assert row["correlation"] > 0.8
    assert row["brightness_ratio"] > 1.3


def test_two_renders_are_the_same_bytes() -> None:
    """The same dance rendered twice gives the same samples and the same control records."""
    clip = follow.dance(5, 110.0, 4.0)
    (first, _), (again, _) = (follow.play(clip, 0.5) for _ in range(2))
    assert np.abs(first.sound).max() > 0.01
    assert first.sound.tobytes() == again.sound.tobytes()
    assert first.records.tobytes() == again.records.tobytes()


def test_a_click_between_the_notes_is_found() -> None:
    """One sample set wrong far from every attack is reported; the attacks themselves are not."""
    heard, _ = follow.play(follow.dance(5, 110.0, 4.0), 0.5)
    assert follow.stray_clicks(heard) == []
    at_s = follow.attacks_s(heard)
    middle = int(np.argmax(np.diff(at_s)))
    at = round((at_s[middle] + at_s[middle + 1]) / 2 * follow.RATE_HZ)
    heard.sound[at] += 0.3
    assert follow.stray_clicks(heard) == [pytest.approx(at / follow.RATE_HZ, abs=2e-3)]
