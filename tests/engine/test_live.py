"""Live settings: each key moves its own field, and a wrong value changes nothing."""

import pytest

from echelon_engine import live, live_table
from echelon_engine.config import SCALES, Config
from echelon_engine.config_file import load
from echelon_engine.errors import UsageError
from echelon_engine.memory import SETTINGS
from echelon_engine.parameters import LANE, PARAMETERS


@pytest.fixture
def record() -> object:
    """Settings of the default configuration."""
    return live.initial_settings(Config())[0]


@pytest.mark.parametrize(
    ("key", "text", "field", "value", "shown"),
    [
        ("master", "-12.5", "master_db", -12.5, "-12.5 dB"),
        ("master", "-3dB", "master_db", -3.0, "-3 dB"),
        ("mute", "on", "mute", 1, "on"),
        ("freeze", "yes", "freeze", 1, "on"),
        ("low_latency", "true", "low_latency", 1, "on"),
        ("notes", "off", "notes_from_motion", 0, "off"),
        ("test_tone", "1", "test_tone", 1, "on"),
        ("snap_ratios", "ON", "snap_ratios", 1, "on"),
        ("tempo", "93", "tempo_bpm", 93.0, "93 bpm"),
        ("scale", "Minor Pentatonic", "scale", SCALES["minor_pentatonic"], "minor_pentatonic"),
        ("root", "C4", "root_note", 60, "60"),
        ("root", "Bb3", "root_note", 58, "58"),
        ("root", "40", "root_note", 40, "40"),
        ("velocity_scale", "1.5 m/s", "velocity_scale", (1.5, 2.0, 2.0, 2.0), "1.5 m/s"),
        ("velocity_scale.2", "1.5 m/s", "velocity_scale", (2.0, 2.0, 1.5, 2.0), "1.5 m/s"),
        ("idle_seconds", "30", "idle_seconds", 30.0, "30 s"),
        ("delay_ms", "0", "motion_delay_ms", 0.0, "0 ms"),
        ("focus", "2", "focus", 2, "2"),
        ("panic", "", "panic", 1, "1"),
    ],
)
def test_key_moves_its_field_and_nothing_else(
    record: object, key: str, text: str, field: str, value: float, shown: str
) -> None:
    """`set` changes the one field, says the effective value and leaves all others."""
    before = {name: record[name].copy() for name in SETTINGS.names}
    assert live.apply(record, key, text) == shown
    assert record[field] == pytest.approx(value)
    # A tempo that is asked for is kept, whatever the style: it says who sets it, too.
    moved = {field, "tempo_source"} if key == "tempo" else {field}
    for name in set(SETTINGS.names) - moved:
        assert (record[name] == before[name]).all(), name


def test_routes_count_from_one_for_people(record: object) -> None:
    """Channel 2 of a person is channel 1 of the callback."""
    assert live.apply(record, "route.left", "2") == "2"
    assert live.apply(record, "route.right", "1") == "1"
    assert record["route"].tolist() == [1, 0]


@pytest.mark.parametrize("name", LANE)
def test_lane_takes_positions_units_and_off(record: object, name: str) -> None:
    """A lane is taken over by position or physical value, by name or number, and released."""
    row = PARAMETERS[LANE[name]]
    live.apply(record, f"lane.{name}", "0.25")
    assert record["override_on"][row.lane] == 1
    assert record["override"][row.lane] == pytest.approx(0.25)
    if row.unit:
        live.apply(record, f"lane.{row.lane}", f"{row.value(0.75):.9g} {row.unit}")
        assert record["override"][row.lane] == pytest.approx(0.75, abs=1e-5)
    assert record["override_on"].sum() == 1
    assert live.apply(record, f"lane.{name}", "off") == "off"
    assert record["override_on"].sum() == 0


@pytest.mark.parametrize("written", [("filter_cutoff", "0.5 kHz", "500 Hz")])
def test_lane_takes_the_units_people_write(record: object, written: tuple[str, str, str]) -> None:
    """Kilohertz are hertz."""
    name, text, same = written
    live.apply(record, f"lane.{name}", text)
    position = record["override"][LANE[name]]
    live.apply(record, f"lane.{name}", same)
    assert record["override"][LANE[name]] == position


@pytest.mark.parametrize(
    ("key", "text", "part"),
    [
        ("temp", "3", "'tempo'"),
        ("zzz", "3", "settable are"),
        ("tempo", "abc", "20 to 300 bpm"),
        ("tempo", "9999", "20 to 300 bpm"),
        ("master", "nan", "-80 to 0 dB"),
        ("master", "-3 Hz", "-80 to 0 dB"),
        ("master", "0.1", "-80 to 0 dB"),
        ("mute", "2", "on or off"),
        ("scale", "dorain", "'dorian'"),
        ("root", "C9", "12 to 96"),
        ("focus", "1.5", "whole number"),
        ("focus", "4", "0 to 3"),
        ("route.left", "0", "1 to 32"),
        ("panic", "later", "now"),
        ("lane.gian", "1", "'gain'"),
        ("lane.99", "1", "0 to 31"),
        ("lane.²", "1", "no such lane"),
        ("lane.gain", "3", "0 to 1"),
        ("lane.gain", "-40 dB", "-18 dB to 0 dB"),
        ("lane.gain", "", "0 to 1"),
    ],
)
def test_wrong_value_is_refused_and_changes_nothing(record: object, key: str, text: str, part: str) -> None:
    """A refused `set` says the rule or the nearest name, and the record stays as it was."""
    before = record.tobytes()
    with pytest.raises(UsageError) as caught:
        live.apply(record, key, text)
    assert part in str(caught.value)
    assert record.tobytes() == before


@pytest.mark.parametrize(
    ("key", "allowed", "refused", "remedy"),
    [
        ("route.left", "4", "5", "audio.channels"),
        ("route.right", "1", "32", "audio.channels"),
        ("focus", "1", "2", "motion.performers"),
    ],
)
def test_running_engine_limits_channels_and_performers(
    record: object, key: str, allowed: str, refused: str, remedy: str
) -> None:
    """A channel that is not open and a performer that nobody listens for are refused, with the setting to change."""
    config = load(None, ["audio.channels=4", "motion.performers=2"])
    assert live.apply(record, key, allowed, config) == allowed
    with pytest.raises(UsageError, match=remedy):
        live.apply(record, key, refused, config)
    assert live.shown(record, key) == allowed


def test_start_values_come_from_the_configuration() -> None:
    """Each live key that has a configuration key starts at its value."""
    config = load(
        None, ["output.master_db=-20", "clock.tempo_bpm=77", "motion.low_latency=on", "audio.left=2", "audio.right=1"]
    )
    record = live.initial_settings(config)[0]
    assert record["master_db"] == -20
    assert record["tempo_bpm"] == 77
    assert record["low_latency"] == 1
    assert record["route"].tolist() == [1, 0]


def test_shown_value_of_every_key_can_be_set_again(record: object) -> None:
    """What a key shows is accepted as its value, so a person can copy it."""
    for key in live_table.LIVE:
        if live_table.LIVE[key].kind not in ("count", *live.STAGED):
            shown = live.shown(record, key)
            assert live.apply(record, key, shown) == shown
