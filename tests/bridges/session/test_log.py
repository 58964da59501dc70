"""The log: everything is kept, once; what fails ends the log alone; a restart goes on and overwrites nothing."""

import json
import resource
import shutil
from pathlib import Path

import numpy as np
import pytest
from engines import wait_for
from performances import BLOCK, RATE, Performance
from sessions import RUN, config, feed, feed_with_a_drop, open_log, same, same_inputs, turns, written

from echelon_bridges.session import folder as folders
from echelon_bridges.session import log as log_module
from echelon_bridges.session.log import SessionLog
from echelon_bridges.session.reader import Session
from echelon_engine.block import new_shared
from echelon_engine.config import Config, Engine, Nats
from echelon_engine.errors import UserError
from echelon_engine.memory import CONTROL, COUNTERS, EVENT


def test_a_session_holds_what_was_given(kept: Path, performance: Performance, second_life: Performance) -> None:
    """Both lives come back whole, with a line for every bar and the stamps of the beginning."""
    session = Session.open(kept)
    assert session.whole
    assert [life.epoch for life in session.lives()] == [1, 2]
    for life, given in zip(session.lives(), (performance, second_life), strict=True):
        assert life.whole
        assert same(life.controls, given.controls)
        assert same(life.events, given.events)
        assert same_inputs(life.inputs, given.inputs)
    played = [(1, int(bar)) for bar in np.unique(performance.controls["bar"])]
    played += [(2, int(bar)) for bar in np.unique(second_life.controls["bar"])]
    assert [(bar["epoch"], bar["bar"]) for bar in session.bars] == played
    bar = session.bars[1]
    assert bar["complete"]
    assert len(bar["z"]) == 32
    assert [bar[name] for name in ("pattern", "activations", "genre", "section", "grid")] == [None] * 5
    assert {"monotonic_ns", "wall_s", "sample"} <= set(session.header["started"])
    assert kept.name.endswith("_echelon")
    assert kept.stat().st_mode & 0o077 == 0


def test_what_waits_is_written_soon(tmp_path: Path, performance: Performance) -> None:
    """Without a close, what was given is in the file; a reader meanwhile finds whole records."""
    log = open_log(tmp_path)
    feed(log, performance)
    written(log)
    session = Session.open(log.path)
    assert same(session.life(1).controls, performance.controls)
    assert not session.whole
    assert "not closed" in session.notes[0]
    assert log.settled == (len(performance.controls), len(performance.events), len(performance.inputs))
    log.close()
    assert Session.open(log.path).whole


def test_a_restart_goes_on_where_the_cut_was(tmp_path: Path, performance: Performance) -> None:
    """After a kill within a record and a line, the same session goes on: the ends are mended, nothing comes twice."""
    first = open_log(tmp_path)
    parts = list(turns(performance))
    for inputs, controls, events in parts[:40]:
        first.inputs(inputs)
        first.offer(controls, events, 0)
    written(first)
    frames, bars = first.path / "frames", first.path / "bars.jsonl"
    cut_frames, cut_bars = frames.read_bytes(), bars.read_bytes()
    first.close()
    frames.write_bytes(cut_frames[:-100])
    bars.write_bytes(cut_bars[:-10])
    assert any("bars.jsonl is cut" in note for note in Session.open(first.path).notes)
    again = open_log(tmp_path, epoch=2)
    for inputs, controls, events in parts[30:]:  # the rings still had some of what was written
        again.inputs(inputs)
        again.offer(controls, events, 0)
    written(again)
    again.close()
    assert again.path == first.path
    session = Session.open(first.path)
    life = session.life(1)
    assert session.whole
    assert life.whole
    assert same(life.controls, performance.controls)
    assert same(life.events, performance.events)
    assert same_inputs(life.inputs, performance.inputs)
    assert [bar["bar"] for bar in session.bars] == np.unique(performance.controls["bar"]).tolist()
    assert all(bar["complete"] for bar in session.bars[:-1])
    assert [note["mended"] > 0 for note in session.opened] == [False, True]


def test_other_runs_and_engines_get_folders_of_their_own(tmp_path: Path) -> None:
    """Only a restart within the same run of the same engine goes on; nothing is ever overwritten."""
    logs = [open_log(tmp_path), open_log(tmp_path)]
    shared = new_shared(RATE, BLOCK)
    shared["header"]["epoch"] = 3
    logs.append(SessionLog.open(config(tmp_path), shared, run="another run"))
    named = Config(engine=Engine(name="two"), session=config(tmp_path).session)
    logs.append(SessionLog.open(named, shared, run=RUN))
    for log in logs:
        log.close()
    assert len({log.path for log in logs}) == 4
    assert len(list(folders.sessions(tmp_path))) == 4


def test_damage_is_left_and_a_new_session_begins(tmp_path: Path, performance: Performance) -> None:
    """A session that is damaged in its middle is not mended over: it stays, and the restart keeps another one."""
    log = open_log(tmp_path)
    feed(log, performance)
    written(log)
    log.close()
    frames = log.path / "frames"
    damaged = bytearray(frames.read_bytes())
    damaged[len(damaged) // 2] ^= 4
    frames.write_bytes(damaged)
    again = open_log(tmp_path, epoch=2)
    feed(again, performance)
    written(again)
    again.close()
    assert again.path != log.path
    assert frames.read_bytes() == damaged
    assert same(Session.open(again.path).life(1).controls, performance.controls)


def test_a_full_disk_ends_the_log_at_a_whole_record(tmp_path: Path, performance: Performance) -> None:
    """Where the system refuses more, the reason is reported, rings get their places back, and the file reads."""
    log = open_log(tmp_path)
    written(log)
    wait_for(lambda: log.report()["bytes"] > 0 and Session.open(log.path).opened, "the beginning")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_001, limits[1]))
    try:
        feed(log, performance)
        wait_for(lambda: log.error, "the failure")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    log.offer(performance.controls, performance.events, 0)
    log.inputs(performance.inputs)
    assert log.settled == tuple(2 * len(x) for x in (performance.controls, performance.events, performance.inputs))
    log.close()
    assert "free some space" in log.report()["error"]
    session = Session.open(log.path)
    assert session.notes == ("it was not closed: it is being played, was killed, or its disk was full",)
    assert 90_000 < session.bytes <= 100_001
    assert same_inputs(session.life(1).inputs, performance.inputs[: len(session.life(1).inputs)])


def test_a_vanished_folder_is_noticed(
    tmp_path: Path, performance: Performance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that somebody removed ends the log with a reason, instead of writing to nowhere."""
    monkeypatch.setattr(log_module, "CHECK_S", 0.05)
    log = open_log(tmp_path)
    feed(log, performance)
    shutil.rmtree(log.path)
    wait_for(lambda: log.error, "the failure")
    assert log.path.name in log.report()["error"]
    log.close()


def test_a_place_that_cannot_be_written_is_said_at_the_start(tmp_path: Path) -> None:
    """A file where the folder should be is refused with value, rule and remedy."""
    (tmp_path / "taken").write_text("")
    with pytest.raises(UserError, match=r"taken.*no session can be kept.*session\.log"):
        open_log(tmp_path / "taken")


def test_the_warning_of_a_hole_names_the_place_up_to_which_it_plays(tmp_path: Path, performance: Performance) -> None:
    """However much waits to be written; note events that are missing make no hole, and it is said once."""
    log = open_log(tmp_path)
    counters = np.zeros(1, COUNTERS)[0]
    said = []
    for number, (inputs, controls, events) in enumerate(turns(performance)):
        if number == 30:
            counters["dropped_events"] = 3
            assert log.gaps(counters) == ""
        if number in (60, 61, 62):
            counters["dropped_records"] += len(controls)
            continue
        log.inputs(inputs)
        log.offer(controls, events, int(controls["time_ns"][-1]))
        last = int(controls["frame"][-1])
        if number == 59:
            hole = last
            counters["dropped_records"] += 1  # seen in the turn that took the last of what was there
        said += [text for text in [log.gaps(counters)] if text]
    log.close()
    assert len(said) == 1
    assert f"the session lacks 1 records after {hole / 60:.1f} s of life 1" in said[0]
    life = Session.open(log.path).life(1)
    assert life.plays == hole


def test_a_stuck_disk_costs_records_not_memory(
    tmp_path: Path, performance: Performance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While nothing can be written the queue stays bounded; what it cannot hold is counted and noted as a gap."""
    monkeypatch.setattr(log_module, "MOST_WAITING", 200_000)
    monkeypatch.setattr(log_module, "PERIOD_S", 0.8)  # asleep meanwhile
    log = open_log(tmp_path)
    counters = np.zeros(1, COUNTERS)[0]
    said = []
    for inputs, controls, events in turns(performance):
        log.inputs(inputs)
        log.offer(controls, events, int(controls["time_ns"][-1]))
        said += [text for text in [log.gaps(counters)] if text]
    assert len(said) == 1, "said once, when it begins"
    assert "it can be played again up to there" in said[0]
    assert log._bytes_in - log._bytes_out < 300_000
    assert log.lost > 100
    oldest = int(performance.controls["time_ns"][-1]) - log_module.PATIENCE_NS
    assert log.settled[0] >= (performance.controls["time_ns"] < oldest - 100_000_000).sum() > 100
    written(log)
    log.close()
    life = Session.open(log.path).life(1)
    assert not life.whole
    assert 0 < life.plays < len(performance.controls)
    assert same(life.controls[: life.plays], performance.controls[: life.plays])


def test_dropped_inputs_end_what_can_be_played(tmp_path: Path, performance: Performance) -> None:
    """What the callback had to drop is noted with its place; the life plays up to there only."""
    log = open_log(tmp_path)
    feed_with_a_drop(log, performance, 30)
    log.mark("a jump")
    written(log)
    log.close()
    session = Session.open(log.path)
    life = session.life(1)
    assert not session.whole
    assert len(session.gaps) == 1
    last = max(int(c["frame"][-1]) for i, (_, c, _) in enumerate(turns(performance)) if i < 30)
    assert life.plays == last
    assert "some of what it took" in life.missing[0]
    assert session.marks[0]["text"] == "a jump"


def test_secrets_do_not_reach_the_header() -> None:
    """Passwords in addresses and the names of key files are left out of what is written."""
    secret = Nats(
        url="nats://me:hu/nter2@host:4222,nats://token@b", credentials="/home/x/my.creds", nkey="n", tls_key="k"
    )
    shown = json.dumps(folders.public(Config(nats=secret)))
    assert "host:4222" in shown
    for word in ("hunter2", "hu/nter2", "token", "my.creds"):
        assert word not in shown


def test_nothing_at_all_is_a_session_too(tmp_path: Path) -> None:
    """A session without a control frame opens, says so, and plays nothing."""
    log = open_log(tmp_path)
    log.offer(np.zeros(0, CONTROL), np.zeros(0, EVENT), 0)
    log.close()
    session = Session.open(log.path)
    assert (session.lives(), session.seconds, session.bars) == ([], 0.0, [])
