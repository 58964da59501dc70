"""`sensors`: tables and pictures from rows, and the conversation that finds which phone is in which hand."""

import json
from argparse import ArgumentParser
from typing import Any

import pytest

from echelon_bridges import control
from echelon_bridges.commands import sensors
from echelon_bridges.fusion.calibration import Shaken
from echelon_bridges.sensor_view import FULL_MPS2, Picture, level, plain, sparkline, table
from echelon_engine.errors import UsageError, UserError

PORT = {
    "name": "phones", "performer": 0, "address": "0.0.0.0", "port": 9000, "rate_hz": 119.6, "datagrams": 700,
    "refused": 1, "dropped": 0, "undecodable": 2,
}  # fmt: skip


def phone(name: str, mps2: float = 0.0, **fields: Any) -> dict[str, Any]:
    """A row of a phone."""
    return {
        "name": name, "app": "zigsim", "kind": "phone", "performer": 0, "role": "right", "rate_hz": 59.8,
        "frames": 100, "lost": 1, "loss": 0.0099, "jitter_ms": [1.0, 12.4], "late": 0, "drift_ppm": 41.3,
        "silent_s": 0.0, "mps2": mps2, "mps": mps2 / 10, **fields,
    }  # fmt: skip


BODY = {
    "name": "mocopi@10.0.0.4", "app": "mocopi", "kind": "body", "performer": 0, "role": "body", "rate_hz": 60.0,
    "frames": 600, "lost": 6, "loss": 0.0099, "jitter_ms": None, "drift_ppm": None, "silent_s": 0.0, "rig": False,
    "skeletons": 0, "undecodable": 0, "heading": 0.5, "origin": [0.0, 0.93, 1.0],
}  # fmt: skip


class Engine:
    """A running engine that answers requests; `shakes` says how hard each phone is shaken at every look."""

    def __init__(self, *shakes: dict[str, float]) -> None:
        self.shakes = list(shakes)
        self.asked: list[dict[str, Any]] = []
        self.looks = 0

    def __call__(self, _name: str = "", **fields: Any) -> dict[str, Any]:
        """Answer."""
        if fields["command"] != "sensors":
            self.asked.append(fields)
            return {}
        phase = self.shakes[min(self.looks // 4, len(self.shakes) - 1)] if self.shakes else {"a": 0.0}
        self.looks += 1
        return {"ports": [PORT], "devices": [BODY, *(phone(name, mps2) for name, mps2 in phase.items())]}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four looks a shake, without waiting."""
    clock = iter(range(100_000))
    monkeypatch.setattr("time.monotonic", lambda: next(clock) / 1.0)
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setattr(sensors, "SHAKE_S", 5.0)


def run(engine: Engine, monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """Run the command line `sensors WORDS` against an engine."""
    monkeypatch.setattr(control, "request", engine)
    parser = ArgumentParser()
    sensors.add_arguments(parser)
    return sensors.run(parser.parse_args(list(words)))


def test_the_list_says_what_is_heard(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Every figure of a port and of a device is in its line; --json gives the rows themselves."""
    assert run(Engine({"zigsim:abc": 3.0}), monkeypatch) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["phones", "0.0.0.0:9000", "120", "Hz", "700", "1", "0", "2"]
    of_body = "mocopi@10.0.0.4 mocopi 0 body 60 Hz 1.0% - - 600 not yet 0"
    assert " ".join(lines[4].split()) == of_body
    assert " ".join(lines[5].split()) == "zigsim:abc zigsim 0 right 60 Hz 1.0% 12 ms +41 ppm 100 - -"
    run(Engine({"x": 1.0}), monkeypatch, "--json")
    assert json.loads(capsys.readouterr().out)["devices"][1]["name"] == "x"


def test_nothing_heard_and_silence_are_said() -> None:
    """No device, no port, and a phone that fell silent."""
    assert "nothing is heard yet" in table([PORT], [])
    assert "no port is open" in table([], [])
    assert "silent" in table([PORT], [phone("a", silent_s=2.0)])


def test_names_from_the_network_cannot_drive_the_terminal() -> None:
    """Control characters and endless names are shown harmless."""
    assert plain("a\x1b[2Jb\n") == "a?[2Jb?"
    assert len(plain("x" * 500)) == 32
    assert "\x1b" not in table([PORT], [phone("\x1b]0;gotcha\x07")])
    assert "\x1b" not in "\n".join(Picture().draw([phone("\x1b]0;gotcha\x07")]))


def test_pictures_show_now_and_a_while() -> None:
    """The bar grows with the acceleration, the sparkline keeps the last looks; a silent phone shows nothing."""
    assert level(0.0, 1.0).strip() == ""
    assert level(0.5, 1.0) == "█" * 10 + " " * 10
    assert level(9.0, 1.0) == "█" * 20
    assert sparkline([0.0, 1.5, 3.0, 9.0], 3.0) == " ▄██"
    picture = Picture()
    for step in range(50):
        lines = picture.draw([BODY, phone("a", FULL_MPS2 if step % 2 else 0.0)])
    assert "faces +29°" in lines[1]
    assert lines[2].count("█") == 20
    assert lines[2].count("▅") == 20
    assert picture.draw([phone("a", 9.0, silent_s=3.0)])[1].count("█") == 0
    assert picture.draw([]) == ["nothing is heard yet"]


def test_watch_redraws_and_prints_plainly_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Each look is a block of lines, no escape sequence among them."""
    assert sensors.watch(Engine({"a": 1.0}), looks=3) == 0
    out = capsys.readouterr().out
    assert out.count("acceleration") == 3
    assert "\x1b" not in out


def test_assign_asks_the_engine(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A device that is heard gets its role; wrong devices and roles are refused before anything is asked."""
    engine = Engine({"zigsim:abc": 0.0})
    assert run(engine, monkeypatch, "assign", "zigsim:abc", "1.left") == 0
    assert run(engine, monkeypatch, "assign", "10.0.0.4", "1.body") == 0
    assert engine.asked == [
        {"command": "assign", "device": "zigsim:abc", "performer": 1, "role": "left"},
        {"command": "assign", "device": "10.0.0.4", "performer": 1, "role": "body"},
    ]
    assert "zigsim:abc = 1.left" in capsys.readouterr().out
    for words, message in {
        ("assign", "zigsim:abd", "left"): "did you mean 'zigsim:abc'",
        ("assign", "zigsim:abc", "lefft"): "did you mean 'left'",
        ("assign", "zigsim:abc"): "needs a device and a role",
        ("recentre", "x"): "takes one performer",
        ("recentre", "--json"): "neither --watch nor --json",
        ("list", "x"): "too much",
    }.items():
        with pytest.raises(UsageError, match=message):
            run(engine, monkeypatch, *words)
    assert len(engine.asked) == 2


def test_recentre_asks_for_one_or_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a number that performer, without everybody."""
    engine = Engine()
    run(engine, monkeypatch, "recentre")
    run(engine, monkeypatch, "recentre", "2")
    assert engine.asked == [{"command": "recentre"}, {"command": "recentre", "performer": 2}]


@pytest.mark.parametrize("count", [2, 3])
def test_calibration_finds_the_phone_that_is_shaken(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """The left phone is shaken, then (with more than two) the right one; each gets its hand."""
    calm = {"a": 0.3, "b": 0.5, "c": 0.2} if count == 3 else {"a": 0.3, "b": 0.5}
    engine = Engine(calm, {**calm, "b": 15.0}, {**calm, "a": 12.0})
    engine.looks = 3  # the first look is who is there
    assert run(engine, monkeypatch, "calibrate") == 0
    assert [(each["device"], each["role"]) for each in engine.asked] == [("b", "left"), ("a", "right")]


def test_calibration_gives_up_where_nobody_stands_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both shaken, or neither: after three tries it says how to assign by hand; without phones at once."""
    for shakes in ({"a": 9.0, "b": 8.0}, {"a": 0.2, "b": 0.1}):
        with pytest.raises(UserError, match="assign it"):
            run(Engine(shakes), monkeypatch, "calibrate")
    with pytest.raises(UserError, match="no phone is heard"):
        run(Engine({}), monkeypatch, "calibrate")


def test_shaken_needs_energy_and_a_lead() -> None:
    """RMS over the looks: 3 m/s^2 at least and twice the next; silent phones and bodies do not count."""
    shaken = Shaken()
    assert shaken.which() is None
    for n in range(10):
        shaken.take([BODY, phone("a", 8.0 if n % 2 else 0.0), phone("b", 1.0), phone("c", 30.0, silent_s=5.0)])
    assert shaken.which() == "a"
    assert shaken.rms()["a"] == pytest.approx(32**0.5)
    for _ in range(10):
        shaken.take([phone("b", 7.0)])
    assert shaken.which() is None
