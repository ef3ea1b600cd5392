"""For people on a terminal, JSON elsewhere."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from errands import sync
from tests.cli import shop
from tests.cli.conftest import Answer, Process

Errands = Callable[..., Answer]
Start = Callable[..., Process]
Sending = Callable[[], Any]
OnTerminal = Callable[..., str]


def plain(shown: str) -> str:
    """Without bold and dim, which are no colours."""
    return re.sub(r"\x1b\[[012]?m", "", shown)


def test_a_terminal_gets_a_table(on_terminal: OnTerminal, sending: Sending) -> None:
    with sending():
        job = sync(shop.add.enqueue(1))

    shown = plain(on_terminal("runs", "list", NO_COLOR="1"))

    assert shown.splitlines()[0].split() == ["RUN", "FUNCTION", "STATUS", "CREATED", "TOOK"]
    assert shown.splitlines()[1].split()[:3] == [job.id, "shop/add", "pending"]


def test_json_on_a_terminal_when_asked(on_terminal: OnTerminal, sending: Sending) -> None:
    with sending():
        job = sync(shop.add.enqueue(1))
    assert json.loads(on_terminal("runs", "list", "--json"))[0]["id"] == job.id


def test_a_terminal_gets_colours(on_terminal: OnTerminal, sending: Sending) -> None:
    with sending():
        sync(shop.add.enqueue(1))
    assert "\x1b[33mpending" in on_terminal("runs", "list")


def test_no_color_is_obeyed(on_terminal: OnTerminal, sending: Sending) -> None:
    with sending():
        sync(shop.add.enqueue(1))
    assert "\x1b[3" not in on_terminal("runs", "list", NO_COLOR="1")


def test_show_draws_the_steps(on_terminal: OnTerminal, start: Start, sending: Sending) -> None:
    with sending():
        job = sync(shop.add.enqueue(2, 3))
    worker = start("-v")
    worker.wait_line("completed")
    worker.stop()

    shown = plain(on_terminal("runs", "show", job.id, "--logs", NO_COLOR="1"))

    lines = [line.split() for line in shown.splitlines()]
    (step,) = [line for line in lines if line[:2] == ["sum", "run"]]
    assert set(step[2]) == {"━"}
    assert step[-1] == "completed"
    assert ["result", "5"] in lines
    assert "adding 2" in shown


def test_doctor_names_problem_and_fix(on_terminal: OnTerminal, sending: Sending) -> None:
    with sending():
        sync(shop.add.enqueue(1))
    shown = plain(on_terminal("doctor", NO_COLOR="1"))
    assert "problem  ready" in shown
    assert "→ Start one: errands worker" in shown


def test_text_of_users_is_shown_as_it_is(on_terminal: OnTerminal, sending: Sending) -> None:
    with sending():
        job = sync(shop.refuse.enqueue("[red]no[/red]"))
        sync(job.cancel(reason="[bold]why[/]"))
    assert "[bold]why[/]" in on_terminal("runs", "list", NO_COLOR="1")
    assert "[red]no[/red]" in on_terminal("runs", "show", job.id, NO_COLOR="1")


def test_words_of_users_do_not_steer_the_terminal(
    on_terminal: OnTerminal, start: Start, sending: Sending
) -> None:
    nasty = "\x1b]0;owned\x07\x1b[2J\x9b5m\r\u202e"
    with sending():
        job = sync(shop.shout.enqueue(nasty))
        cancelled = sync(shop.nap.with_options(delay="8h").enqueue())
        sync(cancelled.cancel(reason=nasty))
    worker = start("-v")
    worker.wait_line("failed")
    worker.stop()

    shown = on_terminal("runs", "list") + on_terminal("runs", "show", job.id, "--logs")

    for word in ("\x1b]", "\x07", "\x1b[2J", "\x9b", "\u202e"):
        assert word not in shown
    assert "\\x1b]0;owned" in shown


def test_a_list_fits_80_columns(on_terminal: OnTerminal, start: Start, sending: Sending) -> None:
    with sending():
        jobs = [sync(shop.shout.enqueue("a long story " * 20)), sync(shop.nap.enqueue())]
    worker = start("-v")
    worker.wait_line("failed")
    worker.stop()

    shown = plain(on_terminal("runs", "list", NO_COLOR="1", COLUMNS="80"))

    lines = shown.splitlines()
    assert len(lines) == 1 + len(jobs)
    assert max(map(len, lines)) <= 80
    assert [line.split()[1] for line in lines[1:]] == ["shop/nap", "shop/shout"]
    assert lines[2].rstrip().endswith("…")


def test_a_narrow_list_keeps_ids_and_names_whole(on_terminal: OnTerminal, sending: Sending) -> None:
    with sending():
        job = sync(shop.add.enqueue(1))
    shown = plain(on_terminal("runs", "list", NO_COLOR="1", COLUMNS="30"))
    assert shown.splitlines()[1].split() == [job.id, "shop/add", "pending"]


def test_help_lists_the_commands(errands: Errands) -> None:
    answer = errands("--help")
    assert answer.code == 0
    for command in ("worker", "runs", "migrate", "doctor"):
        assert f"  {command} " in answer.out


@pytest.mark.parametrize("arguments", [[], ["runs"]], ids=" ".join)
def test_a_group_alone_shows_its_help(errands: Errands, arguments: list[str]) -> None:
    answer = errands(*arguments)
    assert (answer.code, answer.out[:6]) == (0, "Usage:")


def test_version(errands: Errands) -> None:
    answer = errands("--version")
    assert (answer.code, answer.out.split()[0]) == (0, "errands")


def test_help_loads_neither_engine_nor_store(environment: dict[str, str]) -> None:
    code = (
        "import sys\nfrom errands.cli.main import run\nrun(['--help'])\n"
        "print([m for m in sys.modules if m.startswith(('errands.engine', 'errands.store', "
        "'errands.executors', 'rich', 'sqlite3'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_time_of_help_is_told(errands: Errands, capsys: pytest.CaptureFixture[str]) -> None:
    """A figure, not a limit: the machine may be busy."""
    took: list[float] = []
    for _ in range(3):
        begin = time.perf_counter()
        assert errands("--help").code == 0
        took.append(time.perf_counter() - begin)
    with capsys.disabled():
        print(f"\nerrands --help: {min(took) * 1000:.0f} ms (aim: 150 ms)")


def test_a_reader_that_leaves_early_is_no_error(
    tmp_path: Path, environment: dict[str, str], errands: Errands
) -> None:
    errands("migrate")
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run(
        [sys.executable, "-m", "errands.cli.main", "runs", "list"],
        cwd=tmp_path,
        env=environment,
        stdout=theirs,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(theirs)
    assert done.stderr == ""
