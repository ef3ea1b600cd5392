"""External jobs: work that user code does itself, followed like any other job."""

import asyncio

import pytest

from errands import (
    App,
    InvalidConfig,
    JobCancelled,
    JobFailed,
    JobIsOver,
    JobNotFound,
    JobStatus,
    NotExternal,
    ValueNotStorable,
    step,
    sync,
)
from errands.testing import Harness

app = App("shop")


async def test_a_job_is_created_updated_and_read_as_in_a_browser() -> None:
    async with Harness(app) as harness:
        job = await app.jobs.create("import-7")
        assert job.to_dict().keys() == {"id", "status", "createdAt", "updatedAt"}
        await harness.advance("5s")
        await app.jobs.update("import-7", status="processing", progress=40)
        await app.jobs.update("import-7", message="half of it")

        seen = await app.jobs.get("import-7")

        assert seen.to_dict() == {
            "id": "import-7",
            "status": "processing",
            "progress": 40.0,
            "message": "half of it",
            "createdAt": job.to_dict()["createdAt"],
            "updatedAt": job.to_dict()["createdAt"] + 5_000,
        }


async def test_who_waits_for_it_gets_its_result() -> None:
    async with Harness(app) as harness:
        job = await app.jobs.create()
        waiting = asyncio.create_task(app.jobs.result(job.id, timeout="1h"))
        await harness.settle()

        await app.jobs.update(job.id, result={"rows": 3})

        assert await waiting == {"rows": 3}


async def test_an_error_is_told_as_it_was_given() -> None:
    async with Harness(app):
        await app.jobs.create("a")
        failed = await app.jobs.update("a", error="the disk is full")

        assert (failed.status, failed.error) == ("failed", "the disk is full")
        with pytest.raises(JobFailed, match="Job a failed: the disk is full"):
            await app.jobs.result("a")


async def test_each_change_is_seen_up_to_the_last() -> None:
    async with Harness(app):
        job = await app.jobs.create("a")
        seen: list[JobStatus[object]] = []
        async for status in app.jobs.watch(job.id):
            seen.append(status)
            if len(seen) == 1:
                await app.jobs.update("a", status="processing")
            elif len(seen) == 2:
                await app.jobs.update("a", progress=100, status="completed")

        assert [(s.status, s.progress) for s in seen] == [
            ("pending", None),
            ("processing", None),
            ("completed", 100.0),
        ]


async def test_it_is_forgotten_after_the_time_that_it_is_kept() -> None:
    async with Harness(app) as harness:
        await app.jobs.create("a", keep="1h")
        await app.jobs.update("a", result=1)

        await harness.advance("59m")
        assert (await app.jobs.get("a")).result == 1
        await harness.advance("1m")

        with pytest.raises(JobNotFound):
            await app.jobs.get("a")
        assert (await app.jobs.create("a")).status == "pending"


async def test_a_job_that_nobody_updates_fails_after_that_time_and_says_so() -> None:
    async with Harness(app) as harness:
        await app.jobs.create("a", keep="1h")
        await harness.advance("50m")
        await app.jobs.update("a", progress=1)
        await harness.advance("59m")
        assert (await app.jobs.get("a")).status == "pending"
        await harness.advance("1m")

        lost = await app.jobs.get("a")

        assert lost.status == "failed"
        assert lost.error is not None
        assert "Nobody has updated this job for 1 h" in lost.error
        await harness.advance("59m")
        assert (await app.jobs.get("a")).status == "failed"


async def test_it_survives_a_crash() -> None:
    async with Harness(app) as harness:
        await app.jobs.create("a")
        await app.jobs.update("a", status="processing", progress=1)
        harness.crash()

        await app.jobs.update("a", progress=2)

        assert (await app.jobs.get("a")).progress == 2


async def test_a_cancelled_job_cannot_be_updated() -> None:
    async with Harness(app):
        await app.jobs.create("a")
        await app.jobs.cancel("a", reason="no use")

        with pytest.raises(JobIsOver):
            await app.jobs.update("a", progress=1)
        with pytest.raises(JobCancelled, match="no use"):
            await app.jobs.result("a")


def test_plain_code_creates_and_updates_too(tmp_path: object) -> None:
    plain = App("plain", url=f"sqlite:///{tmp_path}/errands.db")

    sync(plain.jobs.create("a"))
    done = sync(plain.jobs.update("a", result=[1, 2]))

    assert (done.status, sync(plain.jobs.result("a"))) == ("completed", [1, 2])
    plain.backend.close()


async def test_inside_a_run_a_job_may_be_created_for_somebody_else() -> None:
    helper = App("helper")

    @helper.job
    async def order() -> str:
        async def create() -> str:
            return (await helper.jobs.create("from-a-step")).id

        return await step.run("create", create)

    async with Harness(helper) as harness:
        job = await order.enqueue()
        await harness.settle()

        assert await job.result() == "from-a-step"
        assert (await helper.jobs.get("from-a-step")).status == "pending"
        with pytest.raises(NotExternal):
            await helper.jobs.update(job.id, progress=1)


async def test_what_cannot_be_is_refused() -> None:
    async with Harness(app):
        await app.jobs.create("a")

        with pytest.raises(ValueNotStorable):
            await app.jobs.update("a", result=object())
        with pytest.raises(InvalidConfig):
            await app.jobs.create("b", keep="soon")
        with pytest.raises(JobNotFound):
            await app.jobs.update("b", progress=1)
