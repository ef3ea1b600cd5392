"""`errands send`: an event goes in, and what it starts is followed to its end."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from errands.cli.given import given_object, given_time
from errands.model.errors import InvalidConfig
from tests.cli.conftest import SECONDS, Answer, Process

Errands = Callable[..., Answer]
Start = Callable[..., Process]
OnTerminal = Callable[..., str]


@pytest.fixture
def worker(start: Start) -> Process:
    worker = start("-v")
    worker.wait_line("app shop")
    return worker


@pytest.mark.usefixtures("worker")
def test_send_gives_the_runs_once_they_are_over(errands: Errands) -> None:
    answer = errands("send", "paid", '{"order_id": "o1"}')

    assert (answer.code, answer.err) == (0, "")
    (run,) = answer.json["runs"]
    assert (run["function"], run["status"], run["result"]) == (
        "thank",
        "completed",
        "thanks for o1",
    )


@pytest.mark.usefixtures("worker")
def test_send_ends_with_1_if_a_run_fails(errands: Errands) -> None:
    answer = errands("send", "refund", "order_id=o1")

    assert answer.code == 1
    (run,) = answer.json["runs"]
    assert (run["status"], run["error"]) == ("failed", "ValueError: no money for o1")


@pytest.mark.usefixtures("worker")
def test_send_without_following_comes_back_at_once(errands: Errands, tmp_path: Path) -> None:
    answer = errands("send", "signed", f"folder={tmp_path}", "--no-follow")
    assert (answer.code, list(answer.json)) == (0, ["id", "name"])
    (tmp_path / "go").touch()


@pytest.mark.usefixtures("worker")
def test_what_is_said_of_an_event_is_kept(errands: Errands) -> None:
    sent = errands(
        "send", "paid", "order_id=o1", "--user", '{"id": "u1"}', "--ts", "2024-03-01T10:00:00Z"
    ).json

    event = errands("events", "show", sent["id"]).json

    assert (event["data"], event["user"]) == ({"order_id": "o1"}, {"id": "u1"})
    assert event["ts"] == 1_709_287_200_000
    assert [run["id"] for run in event["runs"]] == [run["id"] for run in sent["runs"]]


@pytest.mark.usefixtures("worker")
def test_the_same_id_starts_nothing_twice(errands: Errands) -> None:
    first, second = (errands("send", "paid", "order_id=o1", "--id", "my/own").json for _ in "ab")

    assert (first["id"], second["id"]) == ("my/own", "my/own")
    assert [run["id"] for run in first["runs"]] == [run["id"] for run in second["runs"]]
    assert len(errands("runs", "list").json) == 1


@pytest.mark.usefixtures("worker")
def test_an_event_that_nobody_listens_to_is_told_to_be_so(errands: Errands) -> None:
    answer = errands("send", "payd")
    assert (answer.code, answer.json["runs"]) == (0, [])
    assert "no function listens to 'payd'. Did you mean 'paid'?" in answer.err


def test_an_event_that_cannot_be_is_refused(errands: Errands) -> None:
    errands("migrate")
    answer = errands("send", "errands/failed")
    assert (answer.code, answer.out) == (2, "")
    assert "Nothing was accepted" in answer.err


def test_data_may_come_from_stdin(
    tmp_path: Path, environment: dict[str, str], errands: Errands
) -> None:
    errands("migrate")
    done = subprocess.run(
        [sys.executable, "-m", "errands.cli.main", "send", "paid", "-", "--no-follow"],
        cwd=tmp_path,
        env=environment,
        input='{"order_id": "piped"}',
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
    )
    event = errands("events", "show", json.loads(done.stdout)["id"]).json
    assert event["data"] == {"order_id": "piped"}


def test_ctrl_c_ends_the_following_and_not_the_run(
    worker: Process, errands: Errands, tmp_path: Path, environment: dict[str, str]
) -> None:
    command = subprocess.Popen(
        [sys.executable, "-m", "errands.cli.main", "send", "signed", f"folder={tmp_path}"],
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    _until(lambda: [run["message"] for run in errands("runs", "list").json] == ["on its way"])

    command.send_signal(signal.SIGINT)
    _, error = command.communicate(timeout=SECONDS)

    assert (command.returncode, error) == (130, "")
    (tmp_path / "go").touch()
    worker.wait_line("shop/deliver completed")


@pytest.mark.usefixtures("worker")
def test_a_terminal_shows_progress_steps_and_outcome(
    on_terminal: OnTerminal, tmp_path: Path, errands: Errands
) -> None:
    (tmp_path / "go").touch()

    shown = on_terminal("send", "signed", f"folder={tmp_path}", NO_COLOR="1")

    last = shown[shown.rindex("shop/deliver") :].splitlines()
    assert "completed" in last[0]
    assert [line.split()[0] for line in last[1:3]] == ["pack", "ship"]
    assert all("━" in line for line in last[1:3])
    assert 'result "shipped"' in last[3]


# -- what is given ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ([], {}),
        (['{"a": 1}'], {"a": 1}),
        (['{"a": "b=c"}'], {"a": "b=c"}),
        (["name=Ada"], {"name": "Ada"}),
        (["a=1", "b:=1", "c:=[1, 2]", "d="], {"a": "1", "b": 1, "c": [1, 2], "d": ""}),
        (["url=http://x/?a=b"], {"url": "http://x/?a=b"}),
    ],
)
def test_data_is_a_json_object_or_pairs(words: list[str], value: dict[str, Any]) -> None:
    assert given_object(words, "DATA") == value


def test_data_may_be_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text('{"a": "ö"}', encoding="utf-8")
    assert given_object([f"@{tmp_path}/data.json"], "DATA") == {"a": "ö"}


def test_json_too_deep_is_refused() -> None:
    with pytest.raises(InvalidConfig, match="DATA is no JSON"):
        given_object(["[" * 100_000], "DATA")


@pytest.mark.parametrize(
    ("text", "ms"),
    [("1709287200000", 1_709_287_200_000), ("2024-03-01T10:00:00+00:00", 1_709_287_200_000)],
)
def test_a_time_is_unix_milliseconds_or_iso_8601(text: str, ms: int) -> None:
    assert given_time(text, "--ts") == ms


def _until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < end
