"""Messages: made from records, written and read, and the page that documents them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echelon_bridges import lane_values
from echelon_bridges.messages import build, commands, encoding, fields, limbs, table
from echelon_bridges.messages.commands import COMMANDS, Cue, Get, PlayNote, Set, Status, control_fields
from echelon_bridges.messages.grids import Book
from echelon_bridges.messages.pages import messages_page
from echelon_engine.band import BAND
from echelon_engine.errors import UserError
from echelon_engine.memory import (
    ALL_OFF,
    CONTROL,
    EVENT,
    GRID,
    LATENT_STATE_NAMES,
    LIMB_FRAME,
    LIMBS,
    NOTE_OFF,
    NOTE_ON,
)
from echelon_engine.parameters import PARAMETERS

MADE = build.Stamp("stage", 7, 123, 1.5)
ENCODINGS: tuple[encoding.Name, ...] = ("json", "msgpack")


def record() -> Any:
    """Return one control record whose fields all differ."""
    made = np.zeros(1, CONTROL)
    made["position"] = np.linspace(0.0, 1.0, 32)
    made["latent"] = np.arange(len(LATENT_STATE_NAMES))
    made["x"], made["x_valid"] = np.arange(6) / 10, 0b000101
    made["epoch"], made["frame"], made["time_ns"], made["motion_arrival_ns"] = 3, 4, 5, 6
    made["state"], made["flags"], made["c"], made["energy"] = 2, 8, 0.25, 1.5
    made["beat"], made["bar"], made["tempo_bpm"], made["loudness_db"] = 9.5, 2, 120.0, -np.inf
    made["dac_ns"] = 2_000_006
    return made[0]


def test_values_are_the_parameters_own() -> None:
    """The vectorised curve gives what each parameter's own function gives."""
    for position in (0.0, 0.3, 1.0, 1.5):
        expected = [row.value(position) for row in PARAMETERS]
        np.testing.assert_allclose(lane_values.values(np.full(32, position)), expected, rtol=1e-12)


def test_what_is_not_finite_is_told_as_nothing() -> None:
    """JSON has no word for NaN and infinity: such a position is 0, and so is its value's."""
    told = lane_values.told(np.array([np.nan, np.inf, -np.inf, 0.5] + [1.0] * 28, np.float32))
    assert told[0, :4].tolist() == [0.0, 0.0, 0.0, 0.5]
    assert told[1, :3].tolist() == [row.value(0.0) for row in PARAMETERS[:3]]


@pytest.mark.parametrize("layout", [CONTROL, LIMB_FRAME, EVENT], ids=["control", "frame", "event"])
def test_scalars_are_the_records_own(layout: np.dtype[Any]) -> None:
    """Every field that is no array, whatever its type, as a Python number."""
    raw = np.random.default_rng(4).integers(0, 64, layout.itemsize).astype(np.uint8).tobytes()
    seen, one = fields.Scalars(layout).of(raw), np.frombuffer(raw, layout)[0]
    assert seen == {name: one[name].item() for name in layout.names or () if one[name].ndim == 0}


def test_params_carry_lanes_by_name() -> None:
    """Every lane is there by name, as a position and as a value in its unit."""
    made = build.params(record(), MADE)
    read = json.loads(encoding.encode(made, "json"))
    assert [*read["position"]] == [*read["value"]] == [row.name for row in PARAMETERS]
    assert read["value"]["ceiling"] == PARAMETERS[31].high
    assert (read["version"], read["sequence"], read["engine"], read["monotonic_ns"], read["wall_s"]) == (
        table.VERSION,
        7,
        "stage",
        123,
        1.5,
    )


def test_state_carries_the_record() -> None:
    """The state says what the control record said, in words where there are words."""
    made = build.state(record(), MADE)
    assert (made.state, made.present, made.muted, made.held) == ("active", True, False, False)
    assert (made.commitment, made.energy, made.beat, made.bar, made.tempo_bpm) == (0.25, 1.5, 9.5, 2, 120.0)
    assert made.x_valid == [True, False, True, False, False, False]
    assert made.x == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    assert made.latent.tension == LATENT_STATE_NAMES.index("tension")
    assert made.latency_ms == 2.0
    assert made.loudness_db == -200.0


def test_state_tells_of_the_band() -> None:
    """The band's part has names for section, style and mode, and all 15 parameters; it is null before a grid."""
    assert build.state(record(), MADE).band is None
    playing = record()
    playing["grid"], playing["step"], playing["section"], playing["style"], playing["mode"] = 7, 31, 3, 1, 0
    playing["band"] = np.arange(15) / 15
    told = build.state(playing, MADE, Book(("house", "techno"))).band
    assert told is not None
    assert (told.grid, told.step, told.section, told.style, told.mode) == (7, 31, "climax", "techno", "rules")
    values = [getattr(told.parameters, row.name) for row in BAND]
    np.testing.assert_allclose(values, np.arange(15) / 15, atol=1e-6)
    assert build.state(playing, MADE).band.style is None


def test_grid_is_told_as_it_begins() -> None:
    """The message of a grid has its cells, key and chords, the bar in which it began, and an id that no bar has."""
    book, made = Book(("house",)), np.zeros(1, GRID)
    made["number"], made["bar"], made["section"], made["swing"], made["root"] = 7, 3, 2, 0.55, 9
    made["chord"], made["scale"], made["cell"][0, 4, 5] = (1, 2, 3, 4), 0b101011010101, 80
    playing = record()
    playing["grid"] = 7
    assert build.grid(playing, "s", MADE, book) is None
    book.add(made)
    told = build.grid(playing, "s", MADE, book)
    assert told is not None
    assert (told.number, told.bar, told.epoch, told.id) == (7, 2, 3, "s-3-2-grid")
    assert (told.style, told.section, told.root, told.chords) == ("house", "build", 9, [1, 2, 3, 4])
    assert told.cells[4][5] == 80
    assert told.swing == 0.55
    assert encoding.decode(encoding.encode(told, "json"), table.Grid, "it") == told


def test_notes_are_named() -> None:
    """Events become notes with the words of the table."""
    events = np.zeros(3, EVENT)
    events["kind"], events["source"], events["pitch"] = (NOTE_ON, NOTE_OFF, ALL_OFF), (0, 1, 1), 60.5
    made = build.notes(events)
    assert [(note.kind, note.source) for note in made] == [("on", "body"), ("off", "other"), ("all_off", "other")]
    assert made[0].pitch == 60.5


@pytest.mark.parametrize("name", ENCODINGS)
def test_messages_come_back_as_they_were(name: encoding.Name) -> None:
    """What is written in either encoding is read as the same message."""
    for made in (build.params(record(), MADE), build.state(record(), MADE)):
        assert encoding.decode(encoding.encode(made, name), type(made), "it") == made


def frame_message() -> table.Body:
    """Return a limb frame whose limbs all differ."""
    made = np.zeros(1, LIMB_FRAME)
    angles = np.linspace(0.1, 1.5, LIMBS)
    made["rotation"][0, :, 1], made["rotation"][0, :, 3] = np.sin(angles), np.cos(angles)
    made["position"][0] = np.arange(LIMBS * 3).reshape(LIMBS, 3) / 100
    made["valid"], made["number"], made["time_ns"], made["heading"], made["origin"] = (1 << 27) - 1, 9, 77, 0.5, 1.0
    return build.body(made[0], MADE)


@pytest.mark.parametrize("name", ENCODINGS)
def test_limb_frame_round_trip(name: encoding.Name) -> None:
    """A published limb frame, sent back in, is the same body."""
    message = frame_message()
    data = encoding.encode(message, name)
    assert limbs.is_frame(data)
    (back,) = limbs.frame(data, 500)
    again = build.body(back, MADE)
    np.testing.assert_allclose(again.rotation, message.rotation, atol=2e-6)
    assert msgspec.structs.replace(again, rotation=[]) == msgspec.structs.replace(message, rotation=[])
    assert back["arrival_ns"] == 500


def test_limb_frame_refuses_bad_limbs_alone() -> None:
    """A limb without a usable quaternion or position is not valid; the others are."""
    message = frame_message()
    rotation, position = [list(row) for row in message.rotation], [list(row) for row in message.position]
    rotation[3], rotation[4], position[5] = [0.0] * 4, [float("nan")] * 4, [float("inf"), 0.0, 0.0]
    data = encoding.encode(msgspec.structs.replace(message, rotation=rotation, position=position), "msgpack")
    (back,) = limbs.frame(data, 500)
    assert int(back["valid"]) == ((1 << 27) - 1) & ~0b111000
    assert np.isfinite(back["rotation"]).all()
    assert np.isfinite(back["position"]).all()


def test_sensor_datagrams_are_no_frames() -> None:
    """Datagrams of phones and mocopi are not taken for limb frame messages."""
    for data in (b'{"device":{"uuid":"a"},"sensordata":{}}', b"/accxyz\0,fff\0\0\0\0", b"#bundle\0", b"\x2e\0\0\0head"):
        assert not limbs.is_frame(data)


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode) | st.just(b"[" * 5000) | st.just(b"\x91" * 5000))
def test_garbage_is_refused_with_its_rule(data: bytes) -> None:
    """Whatever arrives is a request or a sentence, never another exception."""
    for command in COMMANDS.values():
        try:
            request = encoding.decode(data, command.request, command.name)
        except UserError as error:
            request = error
        assert isinstance(request, UserError | command.request)
    with pytest.raises(UserError):
        limbs.frame(data, 1)


def test_request_rules() -> None:
    """Unknown fields, numbers out of range or not finite are refused; the sentence says the field."""
    with pytest.raises(UserError, match=r"`file`.*its fields are key, value"):
        encoding.decode(b'{"key":"mute","value":true,"file":"/etc/passwd"}', Set, "set")
    for wrong in (
        {"key": 1, "pitch": 200},
        {"key": -1},
        {"key": 1, "velocity": float("nan")},
        {"key": 1, "pan": 1e400},
    ):
        with pytest.raises(UserError):
            encoding.decode(msgspec.msgpack.encode(wrong), PlayNote, "note")


def test_requests_reach_only_known_commands() -> None:
    """Requests become the harmless commands of the control socket, and keys are checked."""
    assert control_fields(Set("master", -6.0)) == {"command": "set", "key": "master", "value": "-6"}
    assert control_fields(Set("mute", True))["value"] == "on"
    assert control_fields(Get()) == {"command": "get"}
    assert control_fields(Cue()) == {"command": "cue", "which": "next"}
    assert control_fields(Cue(3)) == {"command": "cue", "which": "3"}
    assert control_fields(Status()) == {"command": "status"}
    with pytest.raises(UserError, match="master"):
        control_fields(Get("mastr"))


def test_every_field_is_explained() -> None:
    """No field of any message lacks its explanation."""
    structs = [row.message for row in table.SUBJECTS.values()] + [row.request for row in COMMANDS.values()]
    for struct in (*structs, commands.Reply, fields.Note, fields.Latent, fields.Values):
        shown = msgspec.inspect.type_info(struct)
        assert isinstance(shown, msgspec.inspect.StructType)
        for field in shown.fields:
            assert "description" in repr(field.type), f"{struct.__name__}.{field.name}"


def test_page_is_current() -> None:
    """bridges/MESSAGES.md is what the tables say."""
    page = Path(__file__).resolve().parents[3] / "bridges" / "MESSAGES.md"
    assert page.read_text("utf-8") == messages_page()
