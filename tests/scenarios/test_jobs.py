"""Jobs: functions that are called, and can be asked how they are."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum

import pytest

from errands import App, JobFailed, JobStatus, ResultTimeout, progress, step, sync
from errands.testing import Harness


class Color(Enum):
    RED = "red"


@dataclass
class Report:
    pages: list[int]
    total: Decimal
    made_at: datetime
    color: Color = Color.RED


MADE = Report([1, 2], Decimal("9.90"), datetime(2026, 1, 1, tzinfo=UTC))


async def test_a_result_is_read_back_as_annotated() -> None:
    app = App("reports")

    @app.job
    async def make() -> Report:
        return MADE

    async with Harness(app) as harness:
        job = await make.enqueue()
        assert await job.result() == MADE
        assert harness.run(make).result == MADE
        assert (await make.job(job.id).status()).result == MADE


async def test_a_result_by_id_alone_is_plain_json() -> None:
    app = App("reports")

    @app.job
    async def make() -> Report:
        return MADE

    async with Harness(app):
        job = await make.enqueue()
        assert await app.jobs.result(job.id) == {
            "pages": [1, 2],
            "total": "9.90",
            "made_at": "2026-01-01T00:00:00Z",
            "color": "red",
        }


async def test_a_step_result_is_what_a_replay_would_see_at_once() -> None:
    app = App("reports")
    seen: list[object] = []

    async def made() -> Report:
        return MADE

    async def listed() -> list[tuple[int, str]]:
        return [(1, "a")]

    @app.job
    async def make() -> None:
        seen.append((await step.run("made", made), await step.run("listed", listed)))
        await step.sleep("nap", "1h")

    async with Harness(app) as harness:
        await make.enqueue()
        await harness.settle()
        harness.crash()
        await harness.finish()

    assert seen == [(MADE, [(1, "a")])] * 2


async def test_a_job_goes_through_its_states() -> None:
    app = App("reports")
    has_begun, may_end = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        has_begun.set()
        await may_end.wait()

    @app.job
    async def make(pages: int) -> str:
        await step.run("wait", wait)
        return "done"

    async with Harness(app) as harness:
        job = await make.with_options(delay="1m").enqueue(3)
        created = harness.now
        status = await job.status()
        assert (status.status, status.is_final, status.result) == ("pending", False, None)
        assert status.created_at == created

        moving = asyncio.create_task(harness.advance("1m"))
        await has_begun.wait()
        assert (await job.status()).status == "processing"

        may_end.set()
        await moving
        status = await job.status()
        assert (status.status, status.is_final, status.result) == ("completed", True, "done")
        assert status.updated_at == created + timedelta(minutes=1)
        assert status.to_dict() == {
            "id": job.id,
            "status": "completed",
            "result": "done",
            "createdAt": 1_767_225_600_000,
            "updatedAt": 1_767_225_660_000,
        }


async def test_a_failed_job_says_why() -> None:
    app = App("reports")

    @app.job(retries=0)
    async def make() -> str:
        raise LookupError("no such report")

    async with Harness(app):
        job = await make.enqueue()
        with pytest.raises(JobFailed, match="LookupError: no such report") as failed:
            await job.result()
        status = await job.status()

    assert failed.value.was(LookupError)
    assert failed.value.was(Exception)
    assert (status.status, status.error) == ("failed", "LookupError: no such report")


async def test_progress_is_seen_while_the_job_executes() -> None:
    app = App("reports")
    seen: list[tuple[float | None, str | None]] = []

    @app.job
    async def make(pages: int) -> None:
        for page in progress.track(range(pages), message="pages"):
            await step.sleep(f"page {page}", "1h")

    async with Harness(app) as harness:
        job = await make.enqueue(4)
        for _ in range(5):
            await harness.settle()
            status = await job.status()
            seen.append((status.progress, status.message))
            await harness.advance("1h")

    assert seen == [(None, None), *((percent, "pages") for percent in (25, 50, 75, 100))]


async def test_watching_a_job_ends_with_its_final_status() -> None:
    app = App("reports")

    @app.job
    async def make() -> str:
        progress.set(50, "half")
        await step.sleep("nap", "1h")
        return "done"

    async def watch(id: str) -> list[JobStatus[str]]:
        return [status async for status in make.job(id).watch()]

    async with Harness(app) as harness:
        job = await make.enqueue()
        watching = asyncio.create_task(watch(job.id))
        await harness.finish()
        seen = await watching

    assert (50, "half") in [(status.progress, status.message) for status in seen]
    assert [status.is_final for status in seen] == [False] * (len(seen) - 1) + [True]
    assert seen[-1].result == "done"


async def test_a_delayed_job_starts_when_it_is_due() -> None:
    app = App("reports")
    started: list[datetime] = []

    @app.job
    async def make() -> None:
        started.append(harness.now)

    async with Harness(app) as harness:
        began = harness.now
        await make.with_options(delay="90m").enqueue()
        await make.with_options(at=began + timedelta(days=2)).enqueue()
        await harness.finish()

    assert started == [began + timedelta(minutes=90), began + timedelta(days=2)]


async def test_retries_of_one_call_are_its_own() -> None:
    app = App("reports")
    executed: list[str] = []

    @app.job(retries=5)
    async def make(name: str) -> None:
        executed.append(name)
        raise ValueError(name)

    async with Harness(app) as harness:
        await make.with_options(retries=1).enqueue("once more")
        await make.enqueue("as declared")
        await harness.finish()

    assert executed.count("once more") == 2
    assert executed.count("as declared") == 6


async def test_a_result_that_is_late_leaves_the_job_going_on() -> None:
    app = App("reports")

    @app.job
    async def make() -> str:
        await step.sleep("nap", "1h")
        return "done"

    async with Harness(app) as harness:
        job = await make.enqueue()
        waiting = asyncio.create_task(job.result(timeout="10m"))
        await harness.advance("10m")
        with pytest.raises(ResultTimeout, match=r"still processing after 10 min.*It goes on"):
            await waiting
        await harness.finish()
        assert await job.result() == "done"


async def test_plain_jobs_use_steps_through_sync() -> None:
    app = App("reports")

    def count(n: int) -> int:
        return n + 1

    @app.job
    def make(n: int) -> int:
        first = sync(step.run("count", count, n))
        sync(step.sleep("nap", "1 day"))
        return sync(step.run("count", count, first))

    async with Harness(app) as harness:
        await make.enqueue(1)
        await harness.finish()
        assert harness.run(make).result == 3
        assert list(harness.run(make).steps) == ["count", "nap", "count:1"]
