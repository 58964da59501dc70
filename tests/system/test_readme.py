"""The README's two commands are what a newcomer types: here they are taken from it and executed."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from echelon_engine import wav

ROOT = Path(__file__).resolve().parents[2]
SETUP = re.compile(
    r"^    python3 -m venv \.venv && \.venv/bin/pip install -q --no-compile -e (\S+) && (.+)$", re.MULTILINE
)


def commands() -> list[tuple[str, str]]:
    """Return (what pip installs, the command after it) of the README's one-line commands, in order."""
    found = SETUP.findall((ROOT / "README.md").read_text("utf-8"))
    return [(target.strip("'"), command) for target, command in found]


def test_there_are_exactly_two_and_they_do_all_their_set_up() -> None:
    """The first makes music from the bare package, the second runs the tests with an extra that exists."""
    (music, play), (testing, check) = commands()
    assert music == "."
    assert play.startswith(".venv/bin/echelon-engine run --seconds 30 --record ")
    assert testing == ".[test]"
    assert check == ".venv/bin/python -m pytest"
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    assert "test" in extras


@pytest.mark.realtime
def test_first_command_makes_music(tmp_path: Path) -> None:
    """The first command, shortened, in this environment: exit code 0 and a file with sound in it."""
    command = commands()[0][1].replace("--seconds 30", "--seconds 6").split()
    assert command.pop(0) == ".venv/bin/echelon-engine"
    done = subprocess.run(
        [sys.executable, "-m", "echelon_bridges.cli", *command, "--name", "readme", "--device", "null"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    sound, rate_hz = wav.read(tmp_path / command[command.index("--record") + 1])
    assert len(sound) > 4 * rate_hz
    assert np.isfinite(sound).all()
    assert np.sqrt(np.mean(np.square(sound, dtype=np.float64))) > 1e-4, "the recording is silent"


def test_second_command_finds_the_tests() -> None:
    """The second command, in this environment, collects this very file."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "tests/system/test_readme.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tests/system/test_readme.py: 3" in done.stdout
