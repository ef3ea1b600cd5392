"""sync(): errands' calls from plain code."""

from collections.abc import AsyncIterator
from contextvars import ContextVar
from pathlib import Path

import pytest

from errands import App, progress, step, sync

inside: ContextVar[str] = ContextVar("inside")


async def value() -> str:
    return inside.get("here")


async def numbers() -> AsyncIterator[int]:
    for n in range(3):
        yield n


def test_it_is_done_in_the_calling_thread_and_context() -> None:
    inside.set("mine")

    assert sync(value()) == "mine"


def test_an_async_iterator_becomes_a_plain_one() -> None:
    assert list(sync(numbers())) == [0, 1, 2]


def test_errors_come_through() -> None:
    async def fail() -> None:
        raise LookupError("gone")

    with pytest.raises(LookupError, match="gone"):
        sync(fail())


async def test_inside_a_running_loop_it_is_refused() -> None:
    with pytest.raises(RuntimeError, match="await"):
        sync(value())


def test_what_waits_for_a_loop_is_refused() -> None:
    class Never:
        def __await__(self):  # type: ignore[no-untyped-def]
            yield

    async def waits() -> None:
        await Never()

    with pytest.raises(RuntimeError, match="event loop"):
        sync(waits())


def test_outside_a_run_a_step_is_just_a_call() -> None:
    def double(n: int) -> int:
        return 2 * n

    async def triple(n: int) -> int:
        return 3 * n

    assert sync(step.run("double", double, 2)) == 4
    assert sync(step.run("triple", triple, 2)) == 6
    assert list(progress.track([1, 2])) == [1, 2]


def test_a_job_is_enqueued_and_asked_for_without_a_loop(tmp_path: Path) -> None:
    app = App("t", url=f"sqlite:///{tmp_path / 'errands.db'}")

    @app.job
    async def add(a: int, b: int) -> int:
        return a + b

    job = sync(add.enqueue(1, b=2))

    assert sync(job.status()).status == "pending"
    app.backend.close()
