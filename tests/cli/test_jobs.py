"""`errands jobs`: what owners see, and external jobs, reported by their own code."""

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from errands import sync
from tests.cli import shop
from tests.cli.conftest import Answer
from tests.cli.test_bad_input import refused

Errands = Callable[..., Answer]
Sending = Callable[[], Any]
OnTerminal = Callable[..., str]


@pytest.fixture
def made(errands: Errands) -> dict[str, Any]:
    errands("migrate")
    return errands("jobs", "create", "import 7/b", "--keep", "2h").json


def test_create_makes_a_job_that_waits(made: dict[str, Any], errands: Errands) -> None:
    assert (made["id"], made["status"]) == ("import 7/b", "pending")
    assert errands("jobs", "show", "import 7/b").json == made


def test_create_with_the_same_id_gives_the_same_job(made: dict[str, Any], errands: Errands) -> None:
    assert errands("jobs", "create", "import 7/b").json == made


def test_create_without_an_id_makes_one(errands: Errands) -> None:
    errands("migrate")
    job = errands("jobs", "create").json
    assert errands("jobs", "show", job["id"]).json == job


def test_update_changes_what_is_named_and_nothing_else(
    made: dict[str, Any], errands: Errands
) -> None:
    first = ["--status", "processing", "--progress", "40", "--message", "halfway"]
    errands("jobs", "update", made["id"], *first)

    job = errands("jobs", "update", made["id"], "--progress", "60").json

    assert (job["status"], job["progress"], job["message"]) == ("processing", 60, "halfway")


def test_update_ends_a_job_with_its_result(made: dict[str, Any], errands: Errands) -> None:
    job = errands(
        "jobs", "update", made["id"], "--status", "completed", "--result", '{"rows": 3}'
    ).json
    assert (job["status"], job["result"]) == ("completed", {"rows": 3})
    over = errands("jobs", "update", made["id"], "--progress", "1")
    assert (over.code, "is over" in over.err) == (1, True)


def test_a_job_that_others_execute_is_not_updated(errands: Errands, sending: Sending) -> None:
    with sending():
        job = sync(shop.add.enqueue(1))
    answer = errands("jobs", "update", job.id, "--progress", "1")
    assert (answer.code, answer.out) == (1, "")
    assert "no external job" in answer.err


def test_watch_tells_each_change_and_ends_with_the_job(
    made: dict[str, Any], errands: Errands
) -> None:
    answers: list[Answer] = []
    watcher = threading.Thread(target=lambda: answers.append(errands("jobs", "watch", made["id"])))
    watcher.start()
    errands("jobs", "update", made["id"], "--status", "failed", "--error", "no rows")
    watcher.join(60)

    (answer,) = answers
    last = json.loads(answer.out.splitlines()[-1])
    assert (answer.code, last["status"], last["error"]) == (1, "failed", "no rows")


def test_cancel_ends_a_job_as_failed_with_the_reason(
    made: dict[str, Any], errands: Errands
) -> None:
    job = errands("jobs", "cancel", made["id"], "--reason", "not wanted").json
    assert (job["status"], job["error"]) == ("failed", "cancelled: not wanted")
    assert errands("jobs", "cancel", made["id"]).json == job


def test_list_gives_jobs_as_their_owners_see_them(errands: Errands, sending: Sending) -> None:
    with sending():
        job = sync(shop.add.enqueue(1))
        gone = sync(shop.add.enqueue(2))
        sync(gone.cancel(reason="why"))

    newest, first = errands("jobs", "list").json

    assert (first["id"], first["status"], first["function"]) == (job.id, "pending", "shop/add")
    assert (newest["id"], newest["status"], newest["error"]) == (
        gone.id, "failed", "cancelled: why",
    )  # fmt: skip


def test_a_terminal_gets_words(
    made: dict[str, Any], on_terminal: OnTerminal, errands: Errands
) -> None:
    errands("jobs", "update", made["id"], "--progress", "40", "--message", "half\x1b[2J")
    shown = on_terminal("jobs", "show", made["id"], NO_COLOR="1")
    assert "40 %" in shown
    assert "\x1b[2J" not in shown
    assert "half" in on_terminal("jobs", "list", NO_COLOR="1")


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["--progress", "101"], ["progress"]),
        (["--status", "odd"], ["--status"]),
    ],
)
def test_an_update_that_cannot_be_is_refused(
    made: dict[str, Any], errands: Errands, arguments: list[str], names: list[str]
) -> None:
    refused(errands("jobs", "update", made["id"], *arguments), *names)
