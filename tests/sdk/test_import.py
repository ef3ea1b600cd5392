"""Importing errands is cheap: an app that only sends should not wait for what it does not use."""

import subprocess
import sys

import pytest

HEAVY = ["cel", "pydantic", "prompt_toolkit", "rich", "sqlite3", "typer", "errands.sdk.term"]


def loaded_after(code: str) -> set[str]:
    command = [sys.executable, "-c", f"import sys\n{code}\nprint(*sys.modules)"]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def test_import_loads_nothing_heavy() -> None:
    assert loaded_after("import errands").isdisjoint(HEAVY)


@pytest.mark.parametrize("heavy", ["cel.cli", "prompt_toolkit", "rich", "typer"])
def test_a_condition_loads_the_cel_library_without_its_command_line(heavy: str) -> None:
    loaded = loaded_after(
        "import errands; errands.Trigger('user/*', if_exp='event.data.plan == \"pro\"')"
    )

    assert "cel" in loaded
    assert heavy not in loaded
