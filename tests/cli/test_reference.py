"""The reference tells of every command, flag and setting, and of none that is not there."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer.main

from errands.cli.config import shown
from errands.cli.main import app
from errands.settings import VARIABLES, Found, Settings

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
CLI = (REFERENCE / "cli.md").read_text()
SETTINGS = (REFERENCE / "settings.md").read_text()
ROOT: Any = typer.main.get_command(app)


def commands(group: Any, name: str) -> list[tuple[str, Any]]:
    """Each command by its full name."""
    found: list[tuple[str, Any]] = []
    for one, command in group.commands.items():
        full = f"{name} {one}"
        found += commands(command, full) if hasattr(command, "commands") else [(full, command)]
    return found


def section(name: str) -> str:
    """The part of the reference about one command."""
    return CLI.partition(f"## `{name}`\n")[2].partition("\n## ")[0]


def flags(command: Any) -> list[str]:
    named = [flag for p in command.params for flag in (*p.opts, *p.secondary_opts)]
    return [flag for flag in named if flag.startswith("-")]


ALL = commands(ROOT, "errands")


@pytest.mark.parametrize(("name", "command"), ALL, ids=[name for name, _ in ALL])
def test_every_flag_is_in_the_reference(name: str, command: Any) -> None:
    text = section(name)
    assert text, f"docs/reference/cli.md has no section for `{name}`"
    for flag in flags(command):
        if flag not in ("-h", "--help"):
            assert f"`{flag}" in text


@pytest.mark.parametrize(("name", "command"), ALL, ids=[name for name, _ in ALL])
def test_the_reference_has_no_flag_that_is_not_there(name: str, command: Any) -> None:
    rows = "".join(line for line in section(name).splitlines() if line.startswith("| `-"))
    assert {*re.findall(r"`(--?[a-z-]+)", rows)} <= {*flags(command), "--concurrency"}


@pytest.mark.parametrize("name", [name.removeprefix("errands ") for name, _ in ALL])
def test_every_command_is_in_the_table_of_the_reference(name: str) -> None:
    assert f"](#errands-{name.replace(' ', '-')})" in CLI


@pytest.mark.parametrize("name", list(ROOT.commands))
def test_the_help_of_all_says_what_the_help_of_each_says(name: str) -> None:
    """Written twice, so that listing the commands does not import them."""
    said, listed = ROOT.commands[name].help, ROOT.table[name].help
    assert said.replace("\n", " ").startswith(listed.rstrip("."))


def test_the_flags_of_errands_itself_are_in_the_reference() -> None:
    for flag in ("--version", "--install-completion", "--show-completion", "--help"):
        assert flag in CLI


@pytest.mark.parametrize("name", VARIABLES)
def test_every_setting_is_in_the_reference_with_its_default(name: str) -> None:
    (row,) = re.findall(rf"^\| `{VARIABLES[name]}` \| ([^|]+) \|", SETTINGS, re.MULTILINE)
    assert row == shown(Found(name, getattr(Settings(), name), "default"))


def test_every_setting_has_a_variable() -> None:
    assert list(VARIABLES) == [field.name for field in msgspec.structs.fields(Settings)]


def test_the_reference_has_no_setting_that_is_not_there() -> None:
    named = {*re.findall(r"^\| `(ERRANDS_\w+)`", SETTINGS, re.MULTILINE)}
    assert named == {*VARIABLES.values(), "ERRANDS_URL", "ERRANDS_DEBUG"}
