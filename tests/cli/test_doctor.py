"""`errands doctor`: what is wrong is found, and named with its fix."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from errands import sync
from tests.cli import shop
from tests.cli.conftest import Answer, Process

Errands = Callable[..., Answer]
Start = Callable[..., Process]
Sending = Callable[[], Any]
WRITER = """
import os, signal, sys
from errands.store.open import open_store
with open_store(sys.argv[1]).transaction():
    os.kill(os.getpid(), signal.SIGSTOP)
"""


def problems(answer: Answer) -> list[dict[str, Any]]:
    assert answer.code == (0 if answer.json["ok"] else 1)
    found = [finding for finding in answer.json["findings"] if not finding["ok"]]
    assert bool(found) is not answer.json["ok"]
    return found


def test_a_healthy_store_with_a_worker_has_no_problem(errands: Errands, start: Start) -> None:
    worker = start()
    pid = worker.wait_line(r"process (\d+)")[1]

    answer = errands("doctor")

    assert problems(answer) == []
    (told,) = [f["finding"] for f in answer.json["findings"] if f["check"] == "worker"]
    assert f"app shop, process {pid} on" in told
    assert "executes 0 of 100 runs" in told


def test_each_check_reports(errands: Errands) -> None:
    errands("migrate")
    checks = [finding["check"] for finding in errands("doctor").json["findings"]]
    assert checks == [
        "python", "keys", "store", "database", "wal", "disk", "writing", "clock", "workers",
    ]  # fmt: skip


def test_rows_are_counted(errands: Errands, sending: Sending) -> None:
    with sending():
        sync(shop.add.enqueue(1))
    counts = errands("doctor").json["counts"]
    assert (counts["run"], counts["ready"], counts["done"]) == (1, 1, 0)


def test_work_that_no_living_worker_serves_is_a_problem(errands: Errands, sending: Sending) -> None:
    with sending() as app:
        sync(app.enqueue_many([shop.add.bind(1), shop.add.bind(2)]))

    (problem,) = problems(errands("doctor"))

    assert problem["check"] == "ready"
    assert problem["finding"].startswith("2 of shop/add wait for a worker, the oldest for ")
    assert "errands worker" in problem["fix"]


def test_a_worker_that_died_with_work_is_a_problem(
    errands: Errands, start: Start, sending: Sending, tmp_path: Path
) -> None:
    with sending():
        job = sync(shop.hold.enqueue(str(tmp_path)))
    worker = start()
    pid = worker.wait_line(r"process (\d+)")[1]
    while errands("runs", "show", job.id).json["message"] != "holding":
        pass
    worker.signal(signal.SIGKILL)
    worker.wait()

    (problem,) = problems(errands("doctor"))

    assert problem["check"] == "worker"
    assert f"process {pid}" in problem["finding"]
    assert "it has died" in problem["finding"]


def test_a_worker_that_is_silent_is_a_problem(errands: Errands, start: Start) -> None:
    worker = start(ERRANDS_LEASE="300ms")
    pid = worker.wait_line(r"process (\d+)")[1]
    worker.signal(signal.SIGSTOP)
    try:
        while not (found := problems(errands("doctor", ERRANDS_LEASE="300ms"))):
            pass
    finally:
        worker.signal(signal.SIGCONT)

    assert "silent for" in found[0]["finding"]
    assert f"kill -CONT {pid}" in found[0]["fix"]


def test_a_process_stopped_inside_its_transaction_is_named(errands: Errands, url: str) -> None:
    errands("migrate")
    writer = subprocess.Popen([sys.executable, "-c", WRITER, url])
    try:
        os.waitid(os.P_PID, writer.pid, os.WSTOPPED)
        (problem,) = problems(errands("doctor"))
    finally:
        writer.kill()
        writer.wait()

    assert problem["check"] == "writing"
    assert f"Process {writer.pid} has been inside its write transaction" in problem["finding"]
    assert f"kill -CONT {writer.pid}" in problem["fix"]


def test_a_store_that_lacks_a_migration_is_a_problem(errands: Errands, tmp_path: Path) -> None:
    old = tmp_path / "old.db"
    old.touch()

    (problem,) = problems(errands("doctor", "--store", f"sqlite:///{old}"))

    assert "lacks 0001_create_everything" in problem["finding"]
    assert problem["fix"] == "Run `errands migrate` once."


def test_a_file_that_is_no_database_is_a_problem(errands: Errands, tmp_path: Path) -> None:
    text = tmp_path / "text.db"
    text.write_text("no database, but long enough to be looked at. " * 100)

    (problem,) = problems(errands("doctor", "--store", f"sqlite:///{text}"))

    assert "cannot be used as a store" in problem["finding"]


def test_keys_that_are_not_complete_are_a_problem(errands: Errands) -> None:
    errands("migrate")

    (problem,) = problems(errands("doctor", ERRANDS_EVENT_KEY="k", ERRANDS_API_TOKEN="t"))

    assert problem["check"] == "keys"
    assert "ERRANDS_SIGNING_KEY is not set" in problem["finding"]
    assert "`errands keys new`" in problem["fix"]


def test_a_problem_comes_with_its_fix_and_nothing_else_does(
    errands: Errands, sending: Sending
) -> None:
    with sending():
        sync(shop.add.enqueue(1))
    answer = errands("doctor", ERRANDS_EVENT_KEY="k")
    assert len(problems(answer)) == 2
    for finding in answer.json["findings"]:
        assert bool(finding["fix"]) is not finding["ok"]
