"""`async with app.worker()`: begun when it may be, ended in order, told when it cannot be."""

import asyncio
import logging
import sqlite3
import threading
from pathlib import Path

import pytest

from errands import App, InvalidConfig, JobCancelled, Middleware, Unavailable, step, sync
from errands.store.sqlite import connection


def app_on(tmp_path: Path) -> App:
    return App("shop", url=f"sqlite:///{tmp_path / 'errands.db'}")


async def test_a_worker_may_begin_after_something_was_sent(tmp_path: Path) -> None:
    app = app_on(tmp_path)

    @app.job
    async def hello() -> str:
        return "hello"

    job = await hello.enqueue()
    async with app.worker():
        assert await job.result(timeout="10s") == "hello"
    later = await hello.enqueue()
    async with app.worker():
        assert await later.result(timeout="10s") == "hello"
    app.backend.close()


async def test_a_second_worker_inside_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    app = app_on(tmp_path)

    @app.job
    async def hello() -> str:
        return "hello"

    async with app.worker():
        with pytest.raises(InvalidConfig, match="executes already"):
            async with app.worker():
                pass
        assert await (await hello.enqueue()).result(timeout="10s") == "hello"
    app.backend.close()


async def test_what_has_begun_is_ended_when_the_next_cannot_begin(tmp_path: Path) -> None:
    told: list[str] = []

    class First(Middleware):
        async def start(self) -> None:
            told.append("first started")

        async def stop(self) -> None:
            told.append("first stopped")

    class Second(Middleware):
        async def start(self) -> None:
            raise RuntimeError("no connection")

    app = App("shop", url=f"sqlite:///{tmp_path / 'errands.db'}", middleware=[First(), Second()])
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    with pytest.raises(RuntimeError, match="no connection"):
        async with app.worker():
            pass
    assert told == ["first started", "first stopped"]
    assert (root.level, root.handlers) == before
    app.backend.close()


async def test_a_store_that_cannot_be_written_is_told_and_the_loop_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "BUSY_SECONDS", 0.3)
    app = app_on(tmp_path)

    @app.job
    async def hello() -> None: ...

    await hello.enqueue()
    other = sqlite3.connect(tmp_path / "errands.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0.01)

    turning = asyncio.ensure_future(turn())
    with pytest.raises(Unavailable, match="cannot be written"):
        async with app.worker():
            pass
    turning.cancel()
    assert turns > 5
    other.execute("ROLLBACK")
    other.close()
    app.backend.close()


async def test_who_waits_when_the_app_closes_is_told(tmp_path: Path) -> None:
    app = app_on(tmp_path)

    @app.job
    async def hello() -> None: ...

    job = await hello.enqueue()
    failed: list[BaseException] = []

    def wait() -> None:
        try:
            sync(job.result())
        except Unavailable as error:
            failed.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    backend = app.backend
    async with asyncio.timeout(10):
        while not backend.watchers.waiting():  # type: ignore[attr-defined]  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    backend.close()
    waiting.join(10)
    assert len(failed) == 1


async def test_a_step_refused_in_a_foreign_loop_does_not_spoil_the_run(tmp_path: Path) -> None:
    app = app_on(tmp_path)
    refused: list[str] = []

    @app.job(retries=0)
    async def mixed() -> str:
        async def inner() -> str:
            return await step.run("inside", str, 1)

        def foreign() -> None:
            try:
                asyncio.run(inner())
            except RuntimeError as error:
                refused.append(str(error))

        await asyncio.to_thread(foreign)
        return await step.run("after", str, 2)

    async with app.worker():
        assert await (await mixed.enqueue()).result(timeout="10s") == "2"
    assert "belong to the event loop" in refused[0]
    app.backend.close()


async def test_a_cancel_by_another_process_is_heard_by_who_waits_here(tmp_path: Path) -> None:
    app, other = app_on(tmp_path), app_on(tmp_path)

    @app.job
    async def endless() -> None:
        await asyncio.Event().wait()

    async with app.worker():
        for _ in range(20):
            job = await endless.enqueue()
            waiting = asyncio.ensure_future(job.result(timeout="4s"))
            async with asyncio.timeout(10):
                while (await job.status()).status != "processing":  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
            await other.jobs.cancel(job.id)
            with pytest.raises(JobCancelled):
                await waiting
    app.backend.close()
    other.backend.close()
