"""The documents say what the product does: every command, option, setting and folder, and nothing else."""

import re
from pathlib import Path

import pytest

from echelon_bridges import cli
from echelon_engine.pages import settings_page

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")
FOLDERS = ("engine", "models", "bridges", "tests", "benchmarks", "deploy")


def options(command: str) -> set[str]:
    """Return the long options of a command."""
    parser = cli.build_parser(command)
    commands = next(action for action in parser._actions if action.dest == "command")
    assert isinstance(commands.choices, dict)
    return {o for a in commands.choices[command]._actions for o in a.option_strings if o.startswith("--")} - {"--help"}


def test_settings_page_is_up_to_date() -> None:
    """SETTINGS.md is what the tables give: a setting cannot exist undocumented."""
    remedy = "run: python -m echelon_engine.pages > engine/SETTINGS.md"
    assert (ROOT / "engine/SETTINGS.md").read_text("utf-8") == settings_page(), remedy


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_command_and_its_options_are_in_the_readme(command: str) -> None:
    """The README's table has a row for each command that names its own options."""
    row = re.search(rf"^\| `{command}` \|(.*)\|$", README, re.MULTILINE)
    assert row, f"no row for {command}"
    shared = {"--name", "--config", "--set"}
    for option in options(command) - shared:
        assert option in row[1], f"{command} {option} is not in the README's table"
    for option in shared:
        assert option in README


def test_readme_shows_only_what_exists() -> None:
    """Every `echelon-engine COMMAND --option` in the README is a real one."""
    for line in re.findall(r"echelon-engine (\w+[^\n#|]*)", README):
        command = line.split()[0]
        assert command in cli.COMMANDS, line
        for option in re.findall(r"--[a-z]+", line):
            assert option in options(command), line


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_folder_has_a_readme_and_is_on_the_map(folder: str) -> None:
    """A newcomer finds each room from the root README."""
    assert (ROOT / folder / "README.md").is_file()
    assert f"({folder}/README.md)" in README


def test_folder_readmes_name_files_that_exist() -> None:
    """A file named in a folder's table is there, and every module of the package's top is named."""
    for folder in ("engine", "bridges"):
        text = (ROOT / folder / "README.md").read_text("utf-8")
        package = ROOT / folder / f"echelon_{folder}"
        table = "\n".join(line for line in text.splitlines() if line.startswith("|"))
        named = set(re.findall(r"`(\w+\.py|\w+/)`", table))
        for name in named:
            assert (package / name).exists(), f"{folder}/README.md names {name}"
        modules = {path.name for path in package.glob("*.py")} - {"__init__.py"}
        assert modules <= named, f"{folder}/README.md does not name {sorted(modules - named)}"
