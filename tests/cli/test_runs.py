"""`errands runs`: what it tells programs."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from errands import sync
from errands.clock import SystemClock
from errands.store.sqlite.turnstile import NEXT, turnstile
from tests.cli import shop
from tests.cli.conftest import SECONDS, Answer, Process

Errands = Callable[..., Answer]
Start = Callable[..., Process]
Sending = Callable[[], Any]
FIELDS = [
    "id", "app", "function", "status", "attempt", "createdAt", "updatedAt", "startedAt", "endedAt",
    "progress", "message", "error", "cancelled", "parent", "tags",
]  # fmt: skip
MORE_FIELDS = [
    "input", "result", "failure", "event", "waitingFor", "steps", "history",
]  # fmt: skip


def executed(start: Start, sending: Sending, *bound: Any) -> list[str]:
    """Ids of runs that a worker has brought to their end."""
    with sending() as app:
        ids = [job.id for job in sync(app.enqueue_many(bound))]
    worker = start("-v")
    left = set(ids)
    while left:
        left.discard(worker.wait_line(r"run (\w{26}) of")[1])
    worker.stop()
    return ids


def whats(run: dict[str, Any]) -> list[str]:
    return [one["what"] for one in run["history"]]


# -- list ------------------------------------------------------------------------------------------


def test_list_gives_an_array_of_runs_the_newest_first(errands: Errands, sending: Sending) -> None:
    with sending():
        first, second = sync(shop.add.enqueue(1)), sync(shop.nap.enqueue())

    found = errands("runs", "list").json

    assert [run["id"] for run in found] == [second.id, first.id]
    assert list(found[0]) == FIELDS


def test_list_of_nothing_is_an_empty_array(errands: Errands) -> None:
    errands("migrate")
    assert errands("runs", "list").json == []


def test_times_are_unix_milliseconds_or_null(
    errands: Errands, start: Start, sending: Sending
) -> None:
    before = SystemClock().now()
    with sending():
        sync(shop.nap.with_options(delay="1h").enqueue())
    executed(start, sending, shop.add.bind(1))

    done, waiting = errands("runs", "list").json

    assert (waiting["startedAt"], waiting["endedAt"]) == (None, None)
    times = [done[name] for name in ("createdAt", "startedAt", "endedAt", "updatedAt")]
    assert [before, *times] == sorted([before, *times])


def test_list_by_status(errands: Errands, start: Start, sending: Sending) -> None:
    ok, bad = executed(start, sending, shop.add.bind(1), shop.refuse.bind("no"))
    with sending():
        waiting = sync(shop.add.enqueue(2))
        gone = sync(shop.add.enqueue(3))
        sync(gone.cancel())

    def ids(status: str) -> list[str]:
        return [run["id"] for run in errands("runs", "list", "--status", status).json]

    assert ids("completed") == [ok]
    assert ids("failed") == [bad]
    assert ids("pending") == [waiting.id]
    assert ids("cancelled") == [gone.id]
    assert ids("processing") == []


def test_list_by_function_by_either_name(errands: Errands, sending: Sending) -> None:
    with sending():
        sync(shop.nap.enqueue())
        job = sync(shop.add.enqueue(1))

    for name in ("add", "shop/add"):
        assert [r["id"] for r in errands("runs", "list", "--function", name).json] == [job.id]


def test_list_by_tag(errands: Errands, sending: Sending) -> None:
    with sending():
        sync(shop.add.enqueue(1))
        job = sync(shop.add.with_options(tags={"tenant": "t1"}).enqueue(2))

    (found,) = errands("runs", "list", "--tag", "tenant=t1").json

    assert (found["id"], found["tags"]) == (job.id, ["tenant=t1"])


def test_list_page_by_page(errands: Errands, sending: Sending) -> None:
    with sending() as app:
        jobs = sync(app.enqueue_many(shop.add.bind(n) for n in range(5)))
    newest_first = [job.id for job in reversed(jobs)]

    first = [run["id"] for run in errands("runs", "list", "--limit", "2").json]
    rest = [run["id"] for run in errands("runs", "list", "--before", first[-1]).json]

    assert (first, rest) == (newest_first[:2], newest_first[2:])


# -- show ------------------------------------------------------------------------------------------


def test_show_gives_all_of_a_run(errands: Errands, start: Start, sending: Sending) -> None:
    (id,) = executed(start, sending, shop.add.bind(2, 3))

    run = errands("runs", "show", id).json

    assert list(run) == [*FIELDS, *MORE_FIELDS]
    assert (run["input"], run["result"], run["event"]) == ({"a": 2, "b": 3}, 5, None)
    assert whats(run) == ["created", "started", "step completed", "completed"]


def test_show_gives_each_step(errands: Errands, start: Start, sending: Sending) -> None:
    (id,) = executed(start, sending, shop.add.bind(2))

    (step,) = errands("runs", "show", id).json["steps"]

    assert step.pop("finishedAt") >= step.pop("startedAt")
    assert step == {
        "id": "sum", "kind": "run", "status": "completed", "attempt": 0, "dueAt": None,
        "error": None, "result": 3,
    }  # fmt: skip


def test_show_of_an_events_run_names_the_event(
    errands: Errands, start: Start, sending: Sending
) -> None:
    with sending() as app:
        event = sync(app.send(shop.Paid(order_id="o1")))
    start("-v").wait_line("shop/thank completed")

    (listed,) = errands("runs", "list").json
    run = errands("runs", "show", listed["id"]).json

    assert run["event"] == {"id": event, "name": "paid"}
    assert run["input"] == {"order_id": "o1"}


def test_show_has_the_logs_when_asked(errands: Errands, start: Start, sending: Sending) -> None:
    (id,) = executed(start, sending, shop.add.bind(2))

    (line,) = errands("runs", "show", id, "--logs").json["logs"]

    assert (line["level"], line["text"], line["step"]) == ("WARNING", "adding 2", None)
    assert "logs" not in errands("runs", "show", id).json


def test_show_of_a_failed_run_has_its_error(
    errands: Errands, start: Start, sending: Sending
) -> None:
    (id,) = executed(start, sending, shop.refuse.bind("no funds"))

    run = errands("runs", "show", id).json

    assert (run["status"], run["error"]) == ("failed", "NonRetriableError: no funds")
    assert "raise NonRetriableError(why)" in run["failure"]["stack"]
    assert run["history"][-1] == {
        "at": run["endedAt"], "what": "failed", "error": "NonRetriableError: no funds"
    }  # fmt: skip


def test_history_has_each_attempt_that_failed(
    errands: Errands, start: Start, sending: Sending, tmp_path: Path
) -> None:
    (id,) = executed(start, sending, shop.twice.bind(str(tmp_path)))

    run = errands("runs", "show", id).json

    (failed,) = [one for one in run["history"] if one["what"] == "attempt failed"]
    assert (failed["step"], failed["attempt"], failed["error"]) == (
        "flaky", 0, "ValueError: not yet",
    )  # fmt: skip
    assert run["result"] == "now"


def test_history_has_the_crash_of_a_worker(
    errands: Errands, start: Start, sending: Sending, tmp_path: Path
) -> None:
    with sending():
        job = sync(shop.hold.enqueue(str(tmp_path)))
    worker = start("-v")
    worker.wait_line("app shop")
    while errands("runs", "show", job.id).json["message"] != "holding":
        pass
    worker.signal(signal.SIGKILL)
    worker.wait()
    (tmp_path / "go").touch()
    start("-v").wait_line(f"run {job.id} of shop/hold completed")

    run = errands("runs", "show", job.id).json

    assert whats(run) == ["created", "started", "crashed", "completed"]
    assert run["history"][2]["why"] == "its process has ended"


def test_a_parked_run_says_what_it_waits_for(
    errands: Errands, start: Start, sending: Sending
) -> None:
    with sending():
        job = sync(shop.nap.enqueue())
    start().wait_line("app shop")
    while "waits" not in whats(run := errands("runs", "show", job.id).json):
        pass

    (waits,) = run["waitingFor"]
    assert (waits["what"], waits["at"] > run["startedAt"]) == ("the end of sleep 'night'", True)
    assert whats(run) == ["created", "started", "waits", "parked"]


def test_a_run_that_nobody_claims_says_so(errands: Errands, sending: Sending) -> None:
    with sending():
        job = sync(shop.add.enqueue(1))
    run = errands("runs", "show", job.id).json
    (waits,) = run["waitingFor"]
    assert waits == {"what": "a worker that serves this function and has room", "at": None}


# -- cancel ----------------------------------------------------------------------------------------


def test_cancel_ends_a_run_that_waits(errands: Errands, sending: Sending) -> None:
    with sending():
        job = sync(shop.add.enqueue(1))

    answer = errands("runs", "cancel", job.id, "--reason", "not wanted")

    assert (answer.code, answer.json["status"]) == (0, "cancelled")
    assert answer.json["cancelled"] == "not wanted"


def test_cancel_stops_a_run_that_executes_in_a_worker(
    errands: Errands, start: Start, sending: Sending, tmp_path: Path
) -> None:
    with sending():
        job = sync(shop.hold.enqueue(str(tmp_path)))
    worker = start("--grace", "1h")
    worker.wait_line("app shop")
    while errands("runs", "show", job.id).json["message"] != "holding":
        pass

    assert errands("runs", "cancel", job.id).json["cancelled"] == ""

    # Nothing executes any more, so the worker has nothing to wait for.
    assert worker.stop() == 0


def test_cancel_of_a_finished_run_changes_nothing(
    errands: Errands, start: Start, sending: Sending
) -> None:
    (id,) = executed(start, sending, shop.add.bind(1))

    answer = errands("runs", "cancel", id)

    assert (answer.code, answer.json["status"], answer.json["cancelled"]) == (0, "completed", None)


def test_ctrl_c_ends_a_command_that_waits_for_its_turn(
    errands: Errands, sending: Sending, tmp_path: Path, environment: dict[str, str], url: str
) -> None:
    with sending():
        job = sync(shop.add.enqueue(1))
    gate = turnstile(tmp_path / "errands.db")
    gate.enter()
    try:
        command = subprocess.Popen(
            [sys.executable, "-m", "errands.cli.main", "runs", "cancel", job.id],
            cwd=tmp_path,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        while gate.pid_at(NEXT) != command.pid:
            assert command.poll() is None
        command.send_signal(signal.SIGINT)
        _, error = command.communicate(timeout=SECONDS)
    finally:
        gate.leave()

    assert (command.returncode, error) == (130, "")
