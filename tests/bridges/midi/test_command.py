"""`echelon-engine midi`: learning and forgetting as a person does it; the controller is a list of messages."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from echelon_bridges import cli
from echelon_bridges.commands import midi
from echelon_bridges.controllers import table
from echelon_bridges.midi.messages import Reader

KNOB = [(0xB0, 21, value) for value in range(3)]
FINE = [(0xB0, number, value) for value in range(3) for number in (7, 39)]
NRPN = [(0xB0, number, value) for value in range(3) for number in (99, 98, 6, 38)]
PAD = [(0x99, 36, 100), (0x99, 36, 0)]
TICKS = [(0xF8,)] * 200


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person's empty configuration folder, whatever the system calls it."""
    monkeypatch.setattr("echelon_engine.config_file.default_path", lambda: tmp_path / "config.toml")
    return tmp_path


@pytest.mark.parametrize(
    ("messages", "key", "source"),
    [
        (KNOB, "lane.gain", "cc 1 21"),
        (FINE, "lane.gain", "cc14 1 7"),
        ([message for message in FINE if message[1] == 39], "lane.gain", "cc 1 39"),
        (NRPN, "lane.gain", "nrpn 1 0"),
        (PAD, "panic", "note 10 36"),
        ([(0xE0, 0, 64), *[(0xE0, 0, value) for value in range(5)]], "lane.gain", "bend 1"),
        (TICKS, "tempo", "clock"),
        (TICKS, "master", ""),
        (TICKS[:50] + KNOB, "tempo", "cc 1 21"),
        (KNOB[:1], "lane.gain", ""),
    ],
)
def test_what_moves_is_recognised(messages: list[tuple[int, ...]], key: str, source: str) -> None:
    """A gesture of each kind of controller is taken for what it is; a single message or another's clock is none."""
    reader = Reader()
    events = [event for message in messages for event in reader.read(message)]
    assert midi.heard(iter(events), key) == source


def test_learn_and_forget_by_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An address learned is in the map and the list; forgotten by its setting, it is gone."""
    assert cli.main(["midi", "learn", "lane.gain", "--osc", "/1/fader1", "--mode", "jump"]) == 0
    assert cli.main(["midi", "learn", "tempo", "--osc", "/1/fader1"]) == 0
    assert "it moved lane.gain" in capsys.readouterr().out
    path = folder / table.FILE
    assert table.read(path)["osc /1/fader1"].key == "tempo"
    assert cli.main(["midi", "forget", "tempo"]) == 0
    assert not table.read(path)


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["learn"], "needs a live setting"),
        (["learn", "lane.gian"], "lane.gain"),
        (["learn", "tempo", "--osc", "fader"], "no controller"),
        (["learn", "tempo", "--osc", "/x", "--mode", "toggle"], "pickup or jump"),
        (["forget"], "needs a live setting"),
        (["forget", "tempo"], "no such controller is learned"),
        (["lurn"], "invalid choice"),
    ],
)
def test_mistakes_are_explained(
    folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], answer: str
) -> None:
    """Each wrong use is one line that says what would be right, and stores nothing."""
    assert cli.main(["midi", *words]) == 2
    assert answer in capsys.readouterr().err
    assert not (folder / table.FILE).exists()


def test_without_the_extra_it_is_said_how_to_get_it(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where python-rtmidi is missing, the command names the extra."""
    monkeypatch.setitem(sys.modules, "rtmidi", None)
    assert cli.main(["midi", "list"]) == 1
    assert cli.main(["midi", "monitor", "x"]) == 1
    captured = capsys.readouterr()
    assert "echelon-engine[midi]" in captured.out
    assert "echelon-engine[midi]" in captured.err
