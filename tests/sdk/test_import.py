"""Importing errands is cheap: an app that only sends should not wait for what it does not use."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import errands

HEAVY = ["cel", "pydantic", "prompt_toolkit", "rich", "sqlite3", "typer", "errands.sdk.term"]
SERVER = (
    "errands.api",
    "errands.engine",
    "errands.executors",
    "errands.server",
    "errands.store",
    "starlette",
    "uvicorn",
)


def loaded_after(code: str) -> set[str]:
    command = [sys.executable, "-c", f"import sys\n{code}\nprint(*sys.modules)"]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def test_import_loads_nothing_heavy() -> None:
    loaded = loaded_after("from errands import *")
    assert "errands.sdk.app" in loaded
    assert loaded.isdisjoint(HEAVY)
    assert not [name for name in loaded if name.startswith(SERVER)]


def test_a_name_is_imported_when_it_is_asked_for() -> None:
    assert "errands.sdk" not in loaded_after("import errands")
    assert "errands.sdk.app" in loaded_after("import errands; errands.App")


def test_what_type_checkers_see_is_what_there_is() -> None:
    tree = ast.parse(Path(errands.__file__).read_text())
    (checked,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {
        one.asname: node.module
        for node in checked.body
        if isinstance(node, ast.ImportFrom)
        for one in node.names
    }
    names = sorted(name for name in seen if name)
    assert names == vars(errands)["__all__"]
    assert set(names) <= set(dir(errands))
    for name, module in seen.items():
        assert module is not None
        assert name is not None
        assert getattr(errands, name) is getattr(importlib.import_module(module), name)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'errands' has no attribute 'Apps'"):
        getattr(errands, "Apps")  # noqa: B009 - a type checker would refuse it, as it should


@pytest.mark.parametrize("heavy", ["cel.cli", "prompt_toolkit", "rich", "typer"])
def test_a_condition_loads_the_cel_library_without_its_command_line(heavy: str) -> None:
    loaded = loaded_after(
        "import errands; errands.Trigger('user/*', if_exp='event.data.plan == \"pro\"')"
    )

    assert "cel" in loaded
    assert heavy not in loaded
