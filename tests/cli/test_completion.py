"""Shell completion: what a shell asks, and what it is told."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from errands import sync
from tests.cli import shop
from tests.cli.conftest import Answer

Errands = Callable[..., Answer]


def completed(environment: dict[str, str], line: str) -> list[str]:
    """What bash is offered at the end of this line."""
    words = line.split(" ")
    done = subprocess.run(
        [sys.executable, "-m", "errands.cli.main"],
        env={
            **environment,
            "_ERRANDS_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(words) - 1),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("errands ru", ["runs"]),
        ("errands se", ["send", "serve"]),
        ("errands runs ", ["list", "show", "watch", "cancel", "rerun"]),
        ("errands runs list --st", ["--status", "--store"]),
        ("errands runs list --status c", ["completed", "cancelled"]),
        ("errands config ", ["show"]),
        ("errands init --framework d", ["django"]),
    ],
)
def test_a_shell_is_offered_what_fits(
    environment: dict[str, str], line: str, offered: list[str]
) -> None:
    assert completed(environment, line) == offered


def test_a_shell_is_offered_what_the_store_has(
    environment: dict[str, str], sending: Callable[[], Any]
) -> None:
    with sending():
        job = sync(shop.add.enqueue(1))
    assert completed(environment, "errands runs show ") == [job.id]
    assert completed(environment, "errands runs watch 0") == [job.id]
    assert completed(environment, "errands send pa") == ["paid"]
    assert completed(environment, "errands runs list --function shop/a") == ["shop/add"]


def test_where_there_is_no_store_a_shell_is_offered_nothing(
    environment: dict[str, str], tmp_path: Path
) -> None:
    assert completed(environment, "errands runs show ") == []
    assert not (tmp_path / "errands.db").exists()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_is_shown(errands: Errands, shell: str) -> None:
    # Otherwise typer looks which shell has started it, and a test is started by none.
    told = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    answer = errands("--show-completion", shell, **told)
    assert (answer.code, f"_ERRANDS_COMPLETE=complete_{shell}" in answer.out) == (0, True)
