"""The command line: what a person types, what a person reads, which code a script gets."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from echelon_bridges import cli, devices, doctor, lock
from echelon_bridges.commands import _options
from echelon_engine import config_file, live
from echelon_engine.config import Config
from echelon_engine.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("numpy", "numba", "msgspec", "sounddevice", "asyncio", "safetensors", "scipy")


@pytest.fixture(autouse=True)
def _nothing_of_this_person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config_file, "default_path", lambda: tmp_path / "none.toml")
    monkeypatch.setattr(lock, "running", list)  # engines that play here
    monkeypatch.delenv("ECHELON_DEBUG", raising=False)


def run(*argv: str) -> int:
    """Run a command line as `echelon-engine` would, in this process."""
    try:
        return cli.main(list(argv))
    except SystemExit as end:  # argparse's --help and --version
        return int(end.code or 0)


def test_help_imports_nothing_heavy() -> None:
    """`--help` of the program and of every command loads neither NumPy nor Numba nor anything else that is slow."""
    script = (
        "import sys\nfrom echelon_bridges import cli\n"
        "for argv in [['--help'], *([name, '--help'] for name in cli.COMMANDS)]:\n"
        "    try: cli.main(argv)\n"
        "    except SystemExit as end: assert not end.code\n"
        f"loaded = [name for name in {HEAVY} if name in sys.modules]\n"
        "assert not loaded, loaded\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in cli.COMMANDS:
        assert f"usage: echelon-engine {name}" in done.stdout


def test_every_command_has_a_module_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    """The table of commands and the folder of modules say the same."""
    modules = {path.stem for path in (ROOT / "bridges/echelon_bridges/commands").glob("[a-z]*.py")}
    assert modules == set(cli.COMMANDS)
    assert run("--help") == 0
    shown = " ".join(capsys.readouterr().out.split())
    for about in cli.COMMANDS.values():
        assert about in shown


@pytest.mark.parametrize(
    ("argv", "code", "parts"),
    [
        (["rnu"], 2, ["rnu", "'run'"]),
        (["config", "--set", "audio.blok=1"], 2, ["audio.blok", "'audio.block'"]),
        (["config", "--bogus"], 2, ["--bogus", "--help"]),
        (["config", "--config", "absent.toml"], 2, ["absent.toml", "cannot read"]),
        (["run", "--seconds", "-1"], 2, ["--seconds", "above 0"]),
        (["run", "--seconds", "nan"], 2, ["above 0"]),
        (["run", "--name", "a b"], 2, ["engine.name", "letters"]),
        (["run", "--motion", "absent.bvh"], 1, ["absent.bvh", "no such motion file"]),
        (["run", "--motion", "."], 1, ["is a folder"]),
        (["run", "--record", "no/such/folder/x.wav"], 1, ["folder does not exist", "mkdir -p no/such/folder"]),
        (["run", "--record", "x.mp3"], 2, ["must end in .wav", "x.wav"]),
        (["run", "--record", "takes/x.mp3"], 2, ["takes/x.wav"]),
        (["run", "--loop"], 2, ["--motion FILE"]),
        (["run", "--set", "osc.targets=nowhere"], 2, ["osc.targets", "HOST:PORT"]),
        (["run", "--set", "sensors.roles=0.left"], 2, ["sensors.roles", "PERFORMER.ROLE=DEVICE"]),
        (["run", "--set", "sensors.relay=x"], 2, ["x"]),
        (["run", "--nats", "http://x:1"], 2, ["http://x", "NATS server"]),
        (["config", "--set", "ports.bind=banana"], 2, ["banana", "IPv4", "0.0.0.0"]),
        (["status", "--name", "nobody-here"], 1, ["nobody-here", "is not running", "echelon-engine run"]),
        (["status", "--name", "../x"], 2, ["letters"]),
        (["set", "tempo", "90", "--name", "nobody-here"], 1, ["is not running"]),
        (["set"], 2, ["needs a key"]),
        (["inspect", "absent.safetensors"], 1, ["no such weights file"]),
        (["infer", "a", "b"], 2, ["OUT.npz"]),
        (["infer", "a", "b", "c.npz"], 1, ["no such weights file"]),
    ],
)
def test_mistake_is_one_clear_line(
    capfd: pytest.CaptureFixture[str], argv: list[str], code: int, parts: list[str]
) -> None:
    """A mistake gives one line on stderr with value, rule and remedy, nothing on stdout, and the right exit code."""
    assert run(*argv) == code
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("echelon-engine: ")
    assert err.count("\n") == 1
    for part in parts:
        assert part in err


def test_debug_shows_the_stack_trace(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """ECHELON_DEBUG=1 adds the trace to the line."""
    monkeypatch.setenv("ECHELON_DEBUG", "1")
    assert run("inspect", "absent") == 1
    assert "Traceback" in capfd.readouterr().err


def test_own_fault_is_named_as_such(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected error says that it is internal and how to see more, in one line."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(devices, "list_devices", broken)
    assert run("devices") == 1
    assert capfd.readouterr().err == (
        "echelon-engine: internal error: ZeroDivisionError: by zero; see it with ECHELON_DEBUG=1\n"
    )


def test_output_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """A folder, a missing folder and a read-only place are told apart."""
    with pytest.raises(UserError, match="is a folder"):
        _options.check_output(tmp_path)
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    if os.access(locked, os.W_OK):
        pytest.skip("this user may write everywhere")
    with pytest.raises(UserError, match="cannot be written"):
        _options.check_output(locked / "x.wav", ".wav")


def test_negative_values_and_units_reach_set(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`set master -6dB` and `set scale minor pentatonic` need no quotes or dashes; options may stand behind."""
    asked: list[dict[str, str]] = []

    def request(name: str, **fields: str) -> dict[str, str]:
        asked.append({"name": name, **fields})
        return {"key": fields["key"], "value": "done"}

    monkeypatch.setattr("echelon_bridges.control.request", request)
    assert run("set", "master", "-6dB", "--name", "x") == 0
    assert run("set", "scale", "minor", "pentatonic") == 0
    assert run("set", "master", "-.5") == 0
    assert [(a["name"], a["value"]) for a in asked] == [
        ("x", "-6dB"), ("echelon", "minor pentatonic"), ("echelon", "-.5")
    ]  # fmt: skip
    assert capsys.readouterr().out.splitlines()[0] == "master = done"


def test_set_list_shows_every_key(capsys: pytest.CaptureFixture[str]) -> None:
    """`set --list` documents each live key and each lane with its range, running engine or not."""
    assert run("set", "--list", "--name", "nobody-here") == 0
    out = capsys.readouterr().out
    for key in live.names():
        assert key in out


def test_config_prints_what_it_was_given(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """`config --set` shows the override in a file that can be used as it is."""
    assert run("config", "--set", "audio.block=128") == 0
    text = capsys.readouterr().out
    (tmp_path / "c.toml").write_text(text)
    assert config_file.load(tmp_path / "c.toml").audio.block == 128


def test_devices_always_offer_null(capsys: pytest.CaptureFixture[str]) -> None:
    """`devices` lists the null device and exactly one default, with or without PortAudio."""
    assert run("devices", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows[-1]["name"] == "null"
    assert sum(row["default"] for row in rows) == 1
    assert run("devices") == 0
    assert capsys.readouterr().out.count("*") >= 1


@pytest.fixture
def without_portaudio(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine where `import sounddevice` fails as it does without the library."""

    def missing() -> None:
        raise UserError("PortAudio", "is not installed, so no sound card can be used", "apt-get install libportaudio2")

    monkeypatch.setattr(devices, "import_sounddevice", missing)


@pytest.mark.usefixtures("without_portaudio")
def test_everything_works_without_portaudio(capsys: pytest.CaptureFixture[str]) -> None:
    """Without PortAudio the null device is the default, and `devices` and `doctor` say what to install."""
    assert devices.find_device("default") == devices.list_devices()[0]
    assert devices.find_device("default").index is None
    assert run("devices") == 0
    assert "libportaudio2" in capsys.readouterr().out
    rows = {row.subject: row for row in doctor.audio(Config())}
    assert rows["audio"].verdict == "warn"
    assert "libportaudio2" in rows["audio"].remedy
    with pytest.raises(UserError, match="not installed"):
        devices.find_device("Scarlett")


class _Sounddevice:
    """Stands in for the module: two cards and a microphone."""

    class default:
        """As there."""

        device = (0, 2)

    @staticmethod
    def query_hostapis() -> list[dict[str, object]]:
        """Two host APIs."""
        return [{"name": "ALSA", "default_output_device": 1}, {"name": "JACK", "default_output_device": 2}]

    @staticmethod
    def query_devices() -> list[dict[str, object]]:
        """Four devices, one without output."""
        common = {"default_samplerate": 48000.0, "default_low_output_latency": 0.01}
        names = [("Mic", 0, 0), ("Scarlett 2i2", 0, 2), ("system", 1, 2), ("Scarlett 18i8", 0, 8)]
        return [{"name": n, "hostapi": h, "max_output_channels": c, **common} for n, h, c in names]


def test_device_is_found_as_people_name_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Index, name, part of a name, host API and default all work; a doubtful or wrong name is refused helpfully."""
    monkeypatch.setattr(devices, "import_sounddevice", lambda: _Sounddevice)
    find = devices.find_device
    assert find("3").name == "Scarlett 18i8"
    assert find("system").index == 2
    assert find("18i8").index == 3
    assert find("jack: system").index == 2
    assert find("default").index == 2
    assert find("null").index is None
    assert [d.name for d in devices.list_devices()] == ["Scarlett 2i2", "system", "Scarlett 18i8", "null"]
    with pytest.raises(UserError, match=r"fits 2 devices.*1 \(ALSA: Scarlett 2i2\)"):
        find("scarlett")
    with pytest.raises(UserError, match="did you mean 'system'"):
        find("sistem")
    with pytest.raises(UserError, match="no output device has this index"):
        find("0")


def test_doctor_survives_a_broken_check(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A check that breaks is a finding itself, the others still report, and the exit code says so."""

    def broken(_: Config) -> object:
        raise RuntimeError("odd machine")

    monkeypatch.setattr(doctor, "CHECKS", (broken, doctor.python, doctor.memory, doctor.priority, doctor.cpu))
    assert run("doctor") == 1
    out = capsys.readouterr().out
    assert "odd machine" in out
    assert "Numba" in out
    monkeypatch.setattr(doctor, "CHECKS", (doctor.python, doctor.memory))
    assert run("doctor", "--json") == 0
    assert {row["verdict"] for row in json.loads(capsys.readouterr().out)} <= {"ok", "warn"}


@pytest.mark.parametrize(("count", "said"), [(1, "1 output device"), (2, "2 output devices")])
def test_doctor_counts_devices_as_people_do(monkeypatch: pytest.MonkeyPatch, count: int, said: str) -> None:
    """One device is no plural."""
    found = [devices.Device(i, f"d{i}", "ALSA", 2, 48000.0, i == 0, "") for i in range(count)]
    monkeypatch.setattr(devices, "portaudio_problem", lambda: "")
    monkeypatch.setattr(devices, "list_devices", lambda: found)
    monkeypatch.setattr(devices, "find_device", lambda _: found[0])
    assert next(doctor.audio(Config())).text == f"PortAudio sees {said}"


def test_doctor_takes_the_engines_name(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`--name` is checked as everywhere, and says whether that engine plays or can be started."""
    monkeypatch.setattr(doctor, "CHECKS", (doctor.engines,))
    monkeypatch.setattr(lock, "running", lambda: ["one"])
    assert run("doctor", "--name", "two") == 0
    assert "running: one; two can be started" in capsys.readouterr().out
    assert run("doctor", "--name", "one") == 0
    assert "can be started" not in capsys.readouterr().out
    assert run("doctor", "--name", "a b") == 2
    assert "letters" in capsys.readouterr().err


def test_doctor_looks_for_the_configured_server_and_ports() -> None:
    """A NATS server that does not answer, one that is no NATS server, and a missing MIDI port are findings."""
    pytest.importorskip("nats")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        rows = list(doctor.nats(config_file.make({"nats.url": f"nats://user:secret@127.0.0.1:{port}"})))
        assert [row.verdict for row in rows] == ["warn"]
        assert "nobody answers" in rows[0].text
        assert "secret" not in str(rows)
        other.listen()
        (row,) = doctor.nats(config_file.make({"nats.url": "embedded", "nats.port": port}))
        assert (row.verdict, row.remedy) == ("fail", "set nats.port")
    (row,) = doctor.nats(config_file.make({"nats.url": "http://x"}))
    assert row.verdict == "fail"
    pytest.importorskip("rtmidi")
    rows = list(doctor.midi(config_file.make({"midi.input": "no such keyboard"})))
    assert {row.subject: row.verdict for row in rows} == {"midi output": "ok", "midi input": "warn"}


def test_doctor_tells_a_configured_port_from_a_default_one() -> None:
    """A taken port, of any performer, is a failure when a person chose it, and a warning when it is a default."""
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        values = {"ports.bind": "127.0.0.1", "ports.mocopi": port}
        rows = {row.subject: row for row in doctor.ports(config_file.make(values))}
        assert rows["port mocopi"].verdict == "fail"
        performers = config_file.make({**values, "ports.mocopi": port - 1, "motion.performers": 2})
        rows = {row.subject: row for row in doctor.ports(performers)}
        assert rows["port mocopi.1"].verdict == "fail"
        assert str(port) in rows["port mocopi.1"].text
        assert {"port mocopi", "port vmc", "port vmc.1"} <= set(rows)
        unchosen = config_file.make(values)
        quiet = Config(ports=unchosen.ports)  # the same ports, chosen by nobody
        rows = {row.subject: row for row in doctor.ports(quiet)}
        assert rows["port mocopi"].verdict == "warn"
