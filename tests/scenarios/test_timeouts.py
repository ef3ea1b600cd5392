"""A run that starts or ends too late is cancelled."""

import asyncio
from pathlib import Path

import pytest

from errands import App, JobCancelled, Timeouts, step
from errands.testing import Harness


async def test_a_run_that_does_not_end_in_time_is_cancelled() -> None:
    app = App("shop")
    did: list[str] = []

    @app.job(timeouts=Timeouts(finish="2h"))
    async def order() -> None:
        await step.sleep("first", "90m")
        did.append("first")
        await step.sleep("second", "90m")
        did.append("second")

    async with Harness(app) as harness:
        job = await order.enqueue()
        began = harness.now
        await harness.finish()
        assert (harness.now - began).total_seconds() == 2 * 3600
        assert harness.run(order).error == "cancelled: not finished in time (timeouts.finish)"
        with pytest.raises(JobCancelled, match=r"timeouts\.finish"):
            await job.result()
        await harness.advance("1 day")

    assert did == ["first"]


async def test_a_run_that_does_not_start_in_time_is_cancelled(tmp_path: Path) -> None:
    # In real time: in a harness nothing waits for its turn while time moves.
    app = App("shop", url=f"sqlite:///{tmp_path}/errands.db")
    has_begun, may_end = asyncio.Event(), asyncio.Event()
    started: list[int] = []

    @app.job
    async def block() -> str:
        has_begun.set()
        await may_end.wait()
        return "done"

    @app.job(timeouts=Timeouts(start="50ms"))
    async def order() -> None:
        started.append(1)

    try:
        async with app.worker(concurrency=1):
            blocking = await block.enqueue()
            await has_begun.wait()
            job = await order.enqueue()
            with pytest.raises(JobCancelled, match=r"not started in time \(timeouts\.start\)"):
                await job.result(timeout="20s")
            may_end.set()
            assert await blocking.result(timeout="20s") == "done"
    finally:
        app.backend.close()

    assert started == []


async def test_the_time_to_start_counts_from_when_a_delayed_job_is_due() -> None:
    app = App("shop")

    @app.job
    async def order() -> str:
        return "done"

    async with Harness(app) as harness:
        late = order.with_options(delay="1 day", timeouts=Timeouts(start="10m"))
        await late.enqueue()
        await harness.finish()
        assert harness.run(order).result == "done"


async def test_one_call_may_have_timeouts_of_its_own() -> None:
    app = App("shop")

    @app.job(timeouts=Timeouts(finish="2h"))
    async def order() -> str:
        await step.sleep("nap", "3h")
        return "done"

    async with Harness(app) as harness:
        await order.enqueue()
        await order.with_options(timeouts=Timeouts(finish="4h")).enqueue()
        await harness.finish()
        assert [run.status for run in harness.runs(order)] == ["failed", "completed"]
