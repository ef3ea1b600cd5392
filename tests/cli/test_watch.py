"""Runs followed and repeated."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from errands import sync
from tests.cli import shop
from tests.cli.conftest import SECONDS, Answer, Process

Errands = Callable[..., Answer]
Start = Callable[..., Process]
Sending = Callable[[], Any]
OnTerminal = Callable[..., str]


def test_watch_gives_a_line_of_json_for_each_change(
    errands: Errands, start: Start, sending: Sending
) -> None:
    with sending():
        job = sync(shop.add.enqueue(1))
    start().wait_line("app shop")

    answer = errands("runs", "watch", job.id)

    lines = [json.loads(line) for line in answer.out.splitlines()]
    assert answer.code == 0
    assert all(line["id"] == job.id for line in lines)
    assert (lines[-1]["status"], lines[-1]["result"]) == ("completed", 2)


def test_watch_ends_with_1_if_one_of_them_failed(
    errands: Errands, start: Start, sending: Sending
) -> None:
    with sending():
        jobs = [sync(shop.add.enqueue(1)), sync(shop.refuse.enqueue("no"))]
    start().wait_line("app shop")
    assert errands("runs", "watch", *(job.id for job in jobs)).code == 1


def test_watch_draws_the_steps_on_a_terminal(
    on_terminal: OnTerminal, start: Start, sending: Sending
) -> None:
    with sending():
        job = sync(shop.add.enqueue(2, 3))
    start().wait_line("app shop")

    shown = on_terminal("runs", "watch", job.id, NO_COLOR="1")

    last = shown[shown.rindex("shop/add") :]
    assert "completed" in last.splitlines()[0]
    assert "━" in last
    assert "result 5" in last


def test_a_run_that_waits_says_for_what(
    on_terminal: OnTerminal, errands: Errands, sending: Sending
) -> None:
    with sending():
        job = sync(shop.nap.with_options(delay="8h").enqueue())
    shown = on_terminal("runs", "show", job.id, NO_COLOR="1")
    assert "its start, at 20" in shown


def test_rerun_starts_a_run_with_the_same_input(
    errands: Errands, start: Start, sending: Sending
) -> None:
    with sending():
        job = sync(shop.add.enqueue(2, 3))
    start().wait_line("app shop")
    errands("runs", "watch", job.id)

    again = errands("runs", "rerun", job.id, "--follow")

    assert again.code == 0
    assert again.json["id"] != job.id
    assert (again.json["input"], again.json["result"]) == ({"a": 2, "b": 3}, 5)
    assert [one["run"] for one in again.json["history"] if "run" in one] == [job.id]
    before = errands("runs", "show", job.id).json
    assert before["result"] == 5
    assert [one["run"] for one in before["history"] if "run" in one] == [again.json["id"]]


def test_rerun_of_a_failure_that_fails_again_ends_with_1(
    errands: Errands, start: Start, sending: Sending
) -> None:
    with sending():
        job = sync(shop.refuse.enqueue("no"))
    start().wait_line("app shop")
    errands("runs", "watch", job.id)
    assert errands("runs", "rerun", job.id, "--follow").code == 1
    assert errands("runs", "rerun", job.id).code == 0


def test_reading_a_store_writes_nothing(errands: Errands, tmp_path: Path) -> None:
    errands("migrate")
    before = (tmp_path / "errands.db").read_bytes()
    for command in (["runs", "list"], ["functions", "list"], ["events", "list"], ["jobs", "list"]):
        assert errands(*command).json == []
    assert (tmp_path / "errands.db").read_bytes() == before


def test_ctrl_c_on_a_terminal_leaves_it_as_it_was(
    errands: Errands, sending: Sending, tmp_path: Path, environment: dict[str, str]
) -> None:
    with sending():
        job = sync(shop.nap.enqueue())
    ours, theirs = pty.openpty()
    command = subprocess.Popen(
        [sys.executable, "-m", "errands.cli.main", "runs", "watch", job.id],
        cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while b"shop/nap" not in shown:
        shown += os.read(ours, 65536)

    command.send_signal(signal.SIGINT)

    with suppress(OSError):  # this is how a terminal says that nobody is left at its other end
        while some := os.read(ours, 65536):
            shown += some
    os.close(ours)
    assert command.wait(SECONDS) == 130
    assert b"goes on without you" in shown
    # The cursor is shown again.
    assert shown.rindex(b"\x1b[?25h") > shown.rindex(b"\x1b[?25l")
    assert errands("runs", "show", job.id).json["status"] == "pending"
