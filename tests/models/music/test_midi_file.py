"""MIDI files: grids out and in again, strangers' files in, and what is no file."""

import io

import mido
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from music_grids import GRIDS, grids, needs_music

from echelon_engine.errors import UserError
from echelon_engine.vocabulary import STEPS
from echelon_models.music import arrange, general_midi, midi_file, tokens
from echelon_models.music import events as ev
from echelon_models.music.nearest import nearest, observed
from echelon_models.music.piece import piece
from echelon_models.music.tokens import TRACKS


def song(*notes: tuple[float, float, int], channel: int = 0, bpm: float = 0.0, **more: object) -> bytes:
    """Return a file of one track: notes (begin and end in sixteenths, MIDI note), and more messages at its start."""
    file = mido.MidiFile(type=1, ticks_per_beat=960)
    track = mido.MidiTrack()
    file.tracks.append(track)
    if name := more.get("name"):
        track.append(mido.MetaMessage("track_name", name=name))
    if program := more.get("program"):
        track.append(mido.Message("program_change", channel=channel, program=program))
    if bpm:
        track.append(mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(bpm)))
    if meter := more.get("meter"):
        track.append(mido.MetaMessage("time_signature", numerator=meter, denominator=4))
    timed = [(round(b * 240), 1, m) for b, _, m in notes] + [(round(e * 240), 0, m) for _, e, m in notes]
    now = 0
    for tick, on, midi in sorted(timed):
        velocity = int(more.get("velocity", 83)) if on else 0  # type: ignore[call-overload]
        track.append(mido.Message("note_on", channel=channel, note=midi, velocity=velocity, time=tick - now))
        now = tick
    out = io.BytesIO()
    file.save(file=out)
    return out.getvalue()


@settings(max_examples=30, deadline=None)
@given(st.lists(grids(), min_size=1, max_size=3), st.sampled_from([0, 60, 124, 173.5]))
def test_any_grids_come_back_with_the_same_onsets(several: list[ev.Grid], bpm: float) -> None:
    """Grid to file to grid: every field of every onset is the same, for arbitrary grids of all 81 tokens."""
    data = midi_file.encode(piece(np.array(several), bpm))
    found, report = arrange.decode(data)
    assert len(found) == len(several)
    assert found.bpm.tolist() == [bpm] * len(several)
    for wanted, grid in zip(several, found.grids, strict=True):
        np.testing.assert_array_equal(ev.events(grid), ev.events(wanted))
    assert report.notes == report.written == sum(int(ev.events(grid)["count"].sum()) for grid in several)
    assert (report.deviation_ms, report.lost) == ((0.0, 0.0), {})


@needs_music
@pytest.mark.parametrize("name", ["lmms", "freedoom", "bach"])
def test_real_grids_come_back(name: str) -> None:
    """Twenty grids of real music, with their dynamics and lengths, pass through a file unchanged."""
    with np.load(GRIDS / f"{name}.npz") as file:
        chosen = slice(None, None, len(file["grid"]) // 20)
        several = [
            nearest(observed(*each))[0]
            for each in zip(*(file[key][chosen] for key in ("grid", "vel", "dur")), strict=True)
        ]
    found, _ = arrange.decode(midi_file.encode(piece(np.array(several), 124)))
    for wanted, grid in zip(several, found.grids, strict=True):
        np.testing.assert_array_equal(ev.events(grid), ev.events(wanted))


def test_file_is_what_a_sequencer_expects() -> None:
    """Type 1, tempo, 4/4, a named track each with program and channel, drums on channel 10, velocities and lengths."""
    cells = np.zeros((2, 12, STEPS), np.uint8)
    cells[0, 0, 0] = tokens.token_of("bd")
    cells[0, 4, 0:3] = [tokens.token_of(word) for word in ("8th", "ff", "C2")]
    cells[1, 4, 0] = tokens.token_of("E2")
    file = mido.MidiFile(file=io.BytesIO(midi_file.encode(piece(cells, [100, 130]))))
    assert (file.type, [track.name for track in file.tracks]) == (1, [midi_file.MARK, "KICK", "BASS"])
    tempi = [(m.time, round(mido.tempo2bpm(m.tempo))) for m in file.tracks[0] if m.type == "set_tempo"]
    assert tempi == [(0, 100), (3840, 130)]
    assert file.length == pytest.approx(8 * 60 / 100 + 8 * 60 / 130, rel=1e-6)
    kick = [m for m in file.tracks[1] if not m.is_meta]
    assert (kick[0].type, kick[0].channel, kick[0].note, kick[0].velocity) == ("note_on", 9, 36, 65)
    bass = [m for m in file.tracks[2] if not m.is_meta]
    assert (bass[0].type, bass[0].channel, bass[0].program) == ("program_change", 0, 38)
    assert (bass[1].note, bass[1].velocity, bass[1].time, bass[2].time) == (36, 100, 240, 240)


def test_note_rings_into_the_next_grid_until_the_next_onset() -> None:
    """A half note two steps before the end is written until the first onset of its track in the next grid."""
    cells = np.zeros((2, 12, STEPS), np.uint8)
    cells[0, 5, 0], cells[0, 5, 30], cells[1, 5, 4] = (tokens.token_of(word) for word in ("half", "C4", "E4"))
    part = midi_file.decode(midi_file.encode(piece(cells))).parts[0]
    assert [(note.begin, note.end) for note in part.notes] == [(30, 36), (36, 37)]


def test_timing_is_quantised_and_told_in_ms_at_the_tempo_of_the_place() -> None:
    """Notes go to the nearest sixteenth; at 120 bpm a tenth of one is 12.5 ms."""
    found, report = arrange.decode(song((0.1, 1, 60), (4, 5, 62), (7.8, 9, 64), bpm=120))
    assert ev.events(found.grids[0])["step"].tolist() == [0, 4, 8]
    np.testing.assert_allclose(report.deviation_ms, (12.5, 25.0), rtol=1e-3)
    assert "quantised by 12.5 ms in the mean, 25.0 ms at most" in report.lines()


@pytest.mark.parametrize(("microseconds", "bpm"), [(631578, 95), (631579, 95), (500000, 120), (345821, 173.5)])
def test_tempo_is_as_round_as_it_was_meant(microseconds: int, bpm: float) -> None:
    """Whole microseconds a beat, rounded or cut, give the tempo that a person had set."""
    assert midi_file._bpm(microseconds) == bpm


def test_notes_that_share_a_cell_are_counted() -> None:
    """The same sound twice is merged, others go to a free neighbour, octaves fold; nothing disappears untold."""
    notes = [(0, 4, 60), (0.2, 4, 60), (8, 12, 60), (8, 12, 64), (8, 12, 67), (16, 17, 20)]
    found, report = arrange.decode(song(*notes, program=89))
    assert (report.notes, report.written, report.merged, report.moved, report.folded) == (6, 5, 1, 2, 1)
    heard = {(TRACKS[e["track"]], int(e["step"]), int(e["sound"])) for e in ev.events(found.grids[0])}
    assert heard == {("PAD", 0, 60), ("PAD", 8, 67), ("AMB", 8, 64), ("STAB", 8, 60), ("PAD", 16, 44)}


def test_general_midi_drums_find_their_tracks() -> None:
    """Kick, snare, hats, ride, clap and toms go where the vocabulary has them; a taken cell sends to FX."""
    notes = [(0, 1, 36), (4, 5, 38), (0, 1, 42), (2, 3, 46), (6, 7, 51), (4, 5, 39), (8, 9, 45), (0, 1, 44), (0, 1, 49)]
    found, report = arrange.decode(song(*notes, channel=9))
    heard = [(TRACKS[e["track"]], int(e["step"]), tokens.DRUMS[e["sound"]]) for e in ev.events(found.grids[0])]
    assert heard == [
        ("KICK", 0, "bd"),
        ("HH", 0, "hh"),
        ("FX", 0, "oh"),
        ("HH", 2, "oh"),
        ("SNARE", 4, "sd"),
        ("CLAP", 4, "cp"),
        ("HH", 6, "perc"),
        ("CLAP", 8, "tom"),
    ]
    assert (report.merged, report.moved) == (1, 1)


@pytest.mark.parametrize(
    ("name", "program", "notes", "track"),
    [
        ("Sub Bass", 0, [(0, 4, 70)], "BASS"),
        ("ARP", 0, [(0, 4, 30)], "ARP"),
        ("", 38, [(0, 4, 70)], "BASS"),
        ("", 52, [(0, 4, 70)], "VOX"),
        ("Track 3", 0, [(n * 4, n * 4 + 3, 40 + n) for n in range(4)], "BASS"),
        ("", 0, [(n, n + 1, 60 + 7 * (n % 3)) for n in range(16)], "ARP"),
        ("", 0, [(n * 4, n * 4 + 2, 60 + n) for n in range(4)], "LEAD"),
        ("", 0, [(n * 8, n * 8 + 8, m) for n in range(2) for m in (60, 64, 67)], "PAD"),
        ("", 0, [(n * 8, n * 8 + 1, m) for n in range(2) for m in (60, 64, 67)], "STAB"),
        ("Kick 808", 0, [(0, 1, 60)], "KICK"),
    ],
)
def test_part_goes_where_its_name_program_or_playing_says(
    name: str, program: int, notes: list[tuple[float, float, int]], track: str
) -> None:
    """A part's first onset stands on the track that was chosen for it, and the report says why."""
    found, report = arrange.decode(song(*notes, name=name, program=program))
    assert (ev.events(found.grids[0])["track"] == TRACKS.index(track)).any()
    assert f"to {track} (" in report.parts[0]


def test_edited_file_of_ours_is_read_by_what_is_heard() -> None:
    """A note made longer or louder in a sequencer loses the words it kept, the others keep theirs."""
    cells = np.zeros((12, STEPS), np.uint8)
    cells[6, 0:6] = [tokens.token_of(word) for word in ["half", "stac", "C4", "~", "~", "C4"]]
    data = midi_file.encode(piece(cells))
    file = mido.MidiFile(file=io.BytesIO(data))
    off = [m for m in file.tracks[1] if m.type == "note_off"][1]
    off.time -= midi_file.STEP_TICKS * 2  # half, stac: four steps; now two
    out = io.BytesIO()
    file.save(file=out)
    found = ev.events(arrange.decode(out.getvalue())[0].grids[0])
    assert list(zip(found["duration"], found["articulation"], strict=True)) == [(8, 1), (2, 0)]


def test_unfinished_notes_other_meters_and_tempi_are_told() -> None:
    """A hanging note ends with the file; 3/4 and tempi out of range are remarks, and the music is read."""
    data = song((0, 4, 60), meter=3, bpm=15)
    file = mido.MidiFile(file=io.BytesIO(data))
    file.tracks[0].insert(0, mido.Message("note_on", note=50, velocity=64))
    out = io.BytesIO()
    file.save(file=out)
    found, report = arrange.decode(out.getvalue())
    assert report.unfinished == 1
    assert found.bpm.tolist() == [0]
    assert any("3/4" in line for line in report.remarks)
    assert any("15 bpm" in line for line in report.remarks)
    at_once = mido.MidiFile(file=io.BytesIO(song((0, 4, 60))))
    at_once.tracks[0].insert(0, mido.MetaMessage("set_tempo", tempo=0))
    out = io.BytesIO()
    at_once.save(file=out)
    assert any("inf bpm" in line for line in arrange.decode(out.getvalue())[1].remarks)


def test_a_file_of_hours_is_refused_before_it_is_arranged() -> None:
    """More than 2000 grids are too many, and said with their number."""
    with pytest.raises(midi_file.MidiError, match="lasts 2001 grids of two bars, more than 2000"):
        midi_file.decode(song((2000 * STEPS, 2001 * STEPS, 60)))


def test_a_piece_without_grids_says_so() -> None:
    """Asking it for a part names no range that cannot be."""
    with pytest.raises(UserError, match="holds no grids"):
        piece(np.zeros((0, 12, STEPS), np.uint8)).part(1, 1)


def test_each_velocity_written_is_read_as_its_own_word() -> None:
    """The eighteen velocities of dynamics and articulation are different numbers, and 25 releases as many words."""
    for articulation in range(5):
        for level in range(6):
            row = general_midi.ROW[articulation]
            assert general_midi.level_of(general_midi.velocity(level, articulation)) == (level, row)
        for duration in range(5):
            assert general_midi.words_of(general_midi.release(articulation, duration)) == (articulation, duration)
    assert {general_midi.words_of(release) for release in (0, 26, 64, 127)} == {None}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "byte 0: is no MIDI file"),
        (b"RIFF....", "does not begin with MThd"),
        (b"MThd\0\0\0\6\0\1\0\1\1\xe0MTrk\0\0\0\x20\0\x90", "byte"),
        (b"MThd\0\0\0\6\0\2\0\0\1\xe0", "is of type 2"),
        (b"MThd\0\0\0\6\0\1\0\0\xe7\x28", "SMPTE"),
        (b"MThd\0\0\0\6\0\1\0\0\1\xe0", "holds no note"),
        (
            b"MThd\0\0\0\6\0\0\0\1\0\1MTrk\0\0\0\x0e\0\x90\x40\x40\xff\xff\x7f\x80\x40\0\0\xff\x2f\0",
            "grids of two bars",
        ),
    ],
)
def test_bad_files_are_refused_with_place_and_reason(data: bytes, said: str) -> None:
    """Nothing, another format, a file cut short, types and times that have no steps, an endless one."""
    with pytest.raises(midi_file.MidiError) as caught:
        arrange.decode(data, "a.mid")
    assert str(caught.value).startswith("a.mid")
    assert said in str(caught.value)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_damaged_files_are_read_or_refused(data: st.DataObject) -> None:
    """Any bytes changed, cut or inserted in a file give a piece or a `MidiError`, and nothing else."""
    whole = bytearray(midi_file.encode(piece(data.draw(grids()), 124)))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        if not whole:
            break
    try:
        found, _ = arrange.decode(bytes(whole))
    except midi_file.MidiError:
        return
    ev.many(found.grids)
