"""`errands worker`: real processes that execute, drain, are told twice, die."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from errands import sync
from tests.cli import shop
from tests.cli.conftest import Answer, Process

Errands = Callable[..., Answer]
Start = Callable[..., Process]
Sending = Callable[[], Any]
WORKS = r"app shop: \d+ functions, store sqlite:///.*, concurrency 100, process (\d+)"


def test_worker_executes_a_job_to_its_end(start: Start, sending: Sending) -> None:
    start().wait_line(WORKS)
    with sending():
        assert sync(sync(shop.add.enqueue(2, 3)).result(timeout="20s")) == 5


def test_worker_ends_with_0_at_sigterm(start: Start) -> None:
    worker = start()
    worker.wait_line(WORKS)
    assert worker.stop() == 0


def test_worker_ends_with_0_at_ctrl_c(start: Start) -> None:
    worker = start()
    worker.wait_line(WORKS)
    worker.signal(signal.SIGINT)
    assert worker.wait() == 0


def test_what_executes_may_finish_in_the_grace(
    start: Start, sending: Sending, tmp_path: Path, errands: Errands
) -> None:
    worker = start("-v")
    worker.wait_line(WORKS)
    with sending():
        job = sync(shop.hold.enqueue(str(tmp_path)))
    _until(tmp_path / "begun")

    worker.signal(signal.SIGTERM)
    worker.wait_line("stopping: 1 run may go on for 20 s")
    (tmp_path / "go").touch()

    assert worker.wait() == 0
    assert errands("runs", "show", job.id).json["result"] == "held"


def test_what_outlasts_the_grace_is_given_back_and_executed_by_the_next(
    start: Start, sending: Sending, tmp_path: Path, errands: Errands
) -> None:
    worker = start("--grace", "0s")
    worker.wait_line(WORKS)
    with sending():
        job = sync(shop.hold.enqueue(str(tmp_path)))
    _until(tmp_path / "begun")
    assert worker.stop() == 0

    (tmp_path / "go").touch()
    other = start("-v")
    other.wait_line(f"run {job.id} of shop/hold completed")

    assert [one["what"] for one in errands("runs", "show", job.id).json["history"]] == [
        "created",
        "started",
        "released",
        "completed",
    ]


def test_a_second_signal_does_not_wait_for_what_executes(
    start: Start, sending: Sending, tmp_path: Path
) -> None:
    worker = start("--grace", "1h")
    worker.wait_line(WORKS)
    with sending():
        sync(shop.hold.enqueue(str(tmp_path)))
    _until(tmp_path / "begun")

    worker.signal(signal.SIGTERM)
    worker.wait_line("stopping: 1 run may go on for 1 h")
    worker.signal(signal.SIGTERM)

    assert worker.wait() == 0


def test_app_is_found_in_the_current_folder(start: Start, tmp_path: Path) -> None:
    (tmp_path / "here.py").write_text('from errands import App\nthis = App("here")\n')
    start(target="here:this").wait_line("app here: 0 functions")


def test_the_apps_own_url_goes_before_the_environments(start: Start, tmp_path: Path) -> None:
    code = f'from errands import App\napp = App("own", url="sqlite:///{tmp_path}/own.db")\n'
    (tmp_path / "own.py").write_text(code)
    start(target="own:app").wait_line(f"store sqlite:///{tmp_path}/own.db")


def test_store_goes_before_all(start: Start, tmp_path: Path) -> None:
    code = f'from errands import App\napp = App("own", url="sqlite:///{tmp_path}/own.db")\n'
    (tmp_path / "own.py").write_text(code)
    given = f"sqlite:///{tmp_path}/given.db"
    start("--store", given, target="own:app").wait_line(f"store {given}")


def test_verbose_says_which_runs_end_and_how(start: Start, sending: Sending) -> None:
    worker = start("-v")
    worker.wait_line(WORKS)
    with sending():
        job = sync(shop.refuse.enqueue("no"))
    worker.wait_line(f"run {job.id} of shop/refuse failed after")


# -- several processes -----------------------------------------------------------------------------


def test_several_processes_share_the_work(start: Start, sending: Sending) -> None:
    worker = start("--processes", "2", "-v")
    worker.wait_line("One worker process is the fastest on SQLite")
    pids = {int(worker.wait_line(WORKS)[1]) for _ in range(2)}
    assert len(pids) == 2
    with sending():
        assert sync(sync(shop.add.enqueue(1)).result(timeout="20s")) == 2
    assert worker.stop() == 0


def test_a_child_that_is_killed_is_started_again(start: Start) -> None:
    worker = start("--processes", "2")
    first = int(worker.wait_line(WORKS)[1])
    worker.wait_line(WORKS)

    os.kill(first, signal.SIGKILL)

    worker.wait_line(r"a worker process has ended \(signal SIGKILL\)")
    assert int(worker.wait_line(WORKS)[1]) != first
    assert worker.stop() == 0


def test_children_end_with_a_parent_that_is_killed(start: Start) -> None:
    worker = start("--processes", "2")
    for _ in range(2):
        worker.wait_line(WORKS)

    worker.signal(signal.SIGKILL)

    worker.wait()
    worker.wait_silence()


def test_a_mistake_in_the_app_is_told_once_by_several_processes(errands: Errands) -> None:
    answer = errands("worker", "nowhere:app", "--processes", "3")
    assert answer.err.count("There is no module 'nowhere'") == 1


def _until(path: Path) -> None:
    """Wait for the worker to say something by a file."""
    end = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < end, f"{path} never came"
        time.sleep(0.01)
