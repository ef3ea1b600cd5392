"""Fire and forget: the caller goes on at once, the request is made, what fails is logged."""

import asyncio
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator

import pytest

from errands import InvalidConfig, ValueNotStorable
from errands.background import is_internal, run_background_job
from tests.integrations.receiver import SECONDS, Receiver, served, until

SEND = """
import asyncio, sys, time
from errands.background import run_background_job
"""


@pytest.fixture
async def receiver(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Receiver]:
    receiver = Receiver()
    async with served(receiver) as url:
        monkeypatch.setenv("INTERNAL_API_URL", f"{url}/")
        monkeypatch.setenv("INTERNAL_API_KEY", "k1")
        yield receiver
        receiver.may_answer.set()


async def test_the_request_is_what_the_other_side_expects(receiver: Receiver) -> None:
    run_background_job("/api/internal/notify", {"userId": "u1", "message": "ü"})

    await receiver.wait_got(1)
    method, path, headers, body = receiver.got[0]
    assert (method, path, body) == (
        "POST",
        "/api/internal/notify",
        '{"userId":"u1","message":"ü"}'.encode(),
    )
    assert headers["content-type"] == "application/json"
    assert headers["x-background-job"] == "true"
    assert headers["authorization"] == "Bearer k1"


async def test_nobody_waits_for_the_answer_and_many_are_under_way_at_once(
    receiver: Receiver,
) -> None:
    receiver.may_answer.clear()

    jobs = [run_background_job("/x", n) for n in range(50)]

    await receiver.wait_got(50)
    assert not any(job.is_done for job in jobs)
    receiver.may_answer.set()
    await until(lambda: all(job.is_done for job in jobs))


async def test_a_cancelled_one_is_given_up(receiver: Receiver) -> None:
    receiver.may_answer.clear()
    job = run_background_job("/x", 1)
    await receiver.wait_got(1)

    job.cancel()

    await until(lambda: receiver.left == 1)
    assert job.is_done
    job.cancel()


async def test_what_takes_too_long_is_given_up_and_logged(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.may_answer.clear()

    job = run_background_job("/slow", 1, timeout="50ms")

    await until(lambda: job.is_done)
    assert caplog.messages == ["background job /slow: no answer after 0.05 s"]
    assert {record.levelno for record in caplog.records} == {logging.ERROR}


async def test_another_answer_than_success_is_logged_without_the_key(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.status = 401

    job = run_background_job("/x", {"secret": "s1"}, key="other-key")

    await until(lambda: job.is_done)
    assert caplog.messages == ["background job /x: the answer was 401"]
    assert receiver.got[0][2]["authorization"] == "Bearer other-key"


async def test_nobody_there_is_logged_and_not_raised(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    job = run_background_job("/x", 1, base_url=f"http://127.0.0.1:{port}", key="k")

    await until(lambda: job.is_done)
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("background job /x: ")


async def test_from_plain_code_it_returns_at_once_too(receiver: Receiver) -> None:
    receiver.may_answer.clear()

    await asyncio.to_thread(run_background_job, "/x", 1)

    await receiver.wait_got(1)


# -- the end of the process ------------------------------------------------------------------------


async def run(code: str) -> "subprocess.CompletedProcess[str]":
    def call() -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-W", "error", "-c", SEND + code],
            env=dict(os.environ),
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )

    return await asyncio.to_thread(call)


@pytest.mark.parametrize(
    "code",
    [
        "run_background_job('/x', 1)",
        "async def main(): run_background_job('/x', 1)\nasyncio.run(main())",
        "import uvloop\nasync def main(): run_background_job('/x', 1)\nuvloop.run(main())",
    ],
)
async def test_a_process_that_ends_makes_its_requests_first(receiver: Receiver, code: str) -> None:
    done = await run(code)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert len(receiver.got) == 1


async def test_a_process_does_not_wait_for_ever(receiver: Receiver) -> None:
    receiver.may_answer.clear()

    done = await run(
        "from errands.sdk import background; background.EXIT_SECONDS = 0.5\n"
        "run_background_job('/x', 1)"
    )

    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "background job /x: given up, the process ends\n"
    assert len(receiver.got) == 1


async def test_a_forked_child_makes_its_own(receiver: Receiver) -> None:
    done = await run(
        "import os, warnings; warnings.simplefilter('ignore')\n"
        "first = run_background_job('/parent', 1)\n"
        "while not first.is_done: time.sleep(0.01)\n"
        "pid = os.fork()\n"
        "run_background_job('/parent' if pid else '/child', 2)\n"
        "if pid: os.waitpid(pid, 0)\n"
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(path for _, path, _, _ in receiver.got) == ["/child", "/parent", "/parent"]


# -- what cannot be --------------------------------------------------------------------------------


@pytest.mark.parametrize("endpoint", ["", "x", "@evil.example/", "http://evil.example/", "/a\nb"])
def test_the_key_goes_nowhere_else(endpoint: str) -> None:
    with pytest.raises(InvalidConfig, match=r"is no path\. It begins with a slash"):
        run_background_job(endpoint, 1, base_url="http://h", key="k")


def test_what_is_missing_is_said_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("INTERNAL_API_URL", "NEXT_PUBLIC_APP_URL", "INTERNAL_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InvalidConfig, match=r"does not know where.*INTERNAL_API_URL"):
        run_background_job("/x", 1)
    monkeypatch.setenv("NEXT_PUBLIC_APP_URL", "localhost:3000")
    with pytest.raises(InvalidConfig, match="'localhost:3000' is refused"):
        run_background_job("/x", 1)
    monkeypatch.setenv("NEXT_PUBLIC_APP_URL", "http://localhost:3000")
    with pytest.raises(InvalidConfig, match=r"has no key.*INTERNAL_API_KEY"):
        run_background_job("/x", 1)
    monkeypatch.setenv("INTERNAL_API_KEY", "k")
    with pytest.raises(ValueNotStorable, match="What is posted to /x"):
        run_background_job("/x", object())


# -- the guard -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("authorization", "is_ours"),
    [
        ("Bearer k1", True),
        ("bearer k1", True),
        ("Bearer  k1 ", True),
        ("Bearer k2", False),
        ("Bearer k1x", False),
        ("Bearer ", False),
        ("Basic k1", False),
        ("k1", False),
        ("", False),
        (None, False),
        ("Bearer \ud800", False),
    ],
)
def test_only_the_bearer_of_the_key_is_internal(
    authorization: str | None, is_ours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTERNAL_API_KEY", "k1")

    assert is_internal(authorization) is is_ours
    assert is_internal(authorization, key="k1") is is_ours


@pytest.mark.parametrize("given", ["Bearer ", "Bearer", "Bearer undefined", "Bearer None", ""])
def test_without_a_key_nothing_is_internal(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INTERNAL_API_KEY", raising=False)

    assert not is_internal(given)
    assert not is_internal(given, key="")
    assert not is_internal(given, key=" ")


def test_a_wrong_key_takes_as_long_wherever_it_differs() -> None:
    key = "k" * 4_000
    near, far = f"Bearer {'k' * 3_999}x", f"Bearer x{'k' * 3_999}"

    def seconds(given: str) -> float:
        best = 1.0
        for _ in range(200):
            began = time.perf_counter()
            is_internal(given, key=key)
            best = min(best, time.perf_counter() - began)
        return best

    assert 0.5 < seconds(near) / seconds(far) < 2
