"""A run is stopped: by its owner, or by an event."""

import asyncio
import threading

import pytest

from errands import App, Cancel, Event, Failure, JobCancelled, step, sync
from errands.testing import Harness


class Ordered(Event, name="ordered"):
    order_id: str


class Recalled(Event, name="recalled"):
    order_id: str


async def test_a_parked_run_is_cancelled_without_running_its_code() -> None:
    app = App("shop")
    did: list[str] = []

    @app.job
    async def order() -> None:
        try:
            await step.sleep("nap", "1h")
        finally:
            did.append("cleaned up")

    async with Harness(app) as harness:
        job = await order.enqueue()
        await harness.settle()
        await job.cancel(reason="no longer wanted")
        await harness.finish()

        assert harness.run(order).status == "failed"
        assert harness.run(order).error == "cancelled: no longer wanted"
        assert (await job.status()).error == "cancelled: no longer wanted"
        with pytest.raises(JobCancelled, match=f"{job.id} was cancelled: no longer wanted"):
            await job.result()

    assert did == []


async def test_executing_code_gets_a_cancelled_error() -> None:
    app = App("shop")
    did: list[str] = []
    has_begun = asyncio.Event()

    async def pay() -> None:
        has_begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            did.append("step")
            raise

    @app.job
    async def order() -> None:
        try:
            await step.run("pay", pay)
        except asyncio.CancelledError:
            did.append("run")
            raise

    async with Harness(app) as harness:
        job = await order.enqueue()
        await has_begun.wait()
        await job.cancel()
        await harness.finish()
        assert harness.run(order).error == "cancelled"

    assert did == ["step", "run"]


async def test_a_result_that_comes_after_the_end_is_refused() -> None:
    app = App("shop")
    has_begun = asyncio.Event()

    @app.job
    async def order() -> str:
        has_begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "I go on regardless"
        return "?"

    async with Harness(app) as harness:
        job = await order.enqueue()
        await has_begun.wait()
        await job.cancel()
        await harness.finish()
        assert harness.run(order).error == "cancelled"


async def test_a_plain_functions_thread_is_abandoned() -> None:
    app = App("shop")
    has_begun, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    @app.job
    def order() -> str:
        has_begun.set()
        may_end.wait(10)
        ended.set()
        return "done"

    async with Harness(app) as harness:
        job = await order.enqueue()
        await asyncio.to_thread(has_begun.wait, 10)
        await job.cancel()
        await harness.settle()  # does not wait for the thread
        assert harness.run(order).error == "cancelled"

        may_end.set()
        await asyncio.to_thread(ended.wait, 10)
        await harness.settle()
        assert harness.run(order).error == "cancelled"


async def test_a_plain_function_that_waits_is_cancelled() -> None:
    app = App("shop")

    @app.job
    def order() -> str:
        sync(step.sleep("nap", "1h"))
        return "done"

    async with Harness(app) as harness:
        job = await order.enqueue()
        await harness.settle()
        await job.cancel()
        await harness.finish()
        assert harness.run(order).error == "cancelled"


async def test_a_run_that_has_not_begun_is_cancelled() -> None:
    app = App("shop")
    did: list[str] = []

    @app.job
    async def order() -> None:
        did.append("order")

    async with Harness(app) as harness:
        job = await order.with_options(delay="1h").enqueue()
        await app.jobs.cancel(job.id)
        await harness.advance("2h")
        assert harness.run(order).error == "cancelled"

    assert did == []


async def test_cancelling_a_finished_job_changes_nothing() -> None:
    app = App("shop")

    @app.job
    async def order() -> str:
        return "done"

    async with Harness(app) as harness:
        job = await order.enqueue()
        await harness.settle()
        await job.cancel()
        await harness.settle()
        assert await job.result() == "done"


async def test_an_event_cancels_the_runs_that_match_it() -> None:
    app = App("shop")

    @app.function(on=Ordered, cancel=Cancel(Recalled, match="data.order_id"))
    async def ship(event: Ordered) -> str:
        await step.sleep("pack", "1h")
        return event.order_id

    async with Harness(app) as harness:
        await app.send([Ordered(order_id="o1"), Ordered(order_id="o2")])
        await harness.settle()
        await app.send(Recalled(order_id="o1").with_options(id="r1"))
        await harness.settle()
        first, second = harness.runs(ship)
        assert first.error == "cancelled: event recalled (r1)"
        await harness.finish()
        assert second.result == "o2"


async def test_an_event_cancels_by_a_condition_over_both_events() -> None:
    app = App("shop")

    @app.function(
        on=Ordered,
        cancel=Cancel("stopped", if_exp="async.data.all || async.data.id == event.data.order_id"),
    )
    async def ship(event: Ordered) -> str:
        await step.sleep("pack", "1h")
        return event.order_id

    async with Harness(app) as harness:
        await app.send([Ordered(order_id=f"o{n}") for n in range(3)])
        await harness.settle()
        await app.send({"name": "stopped", "data": {"all": False, "id": "o1"}})
        await harness.settle()
        assert [run.status for run in harness.runs(ship)] == ["processing", "failed", "processing"]

        await app.send({"name": "stopped", "data": {"all": True, "id": ""}})
        await harness.settle()
        assert {run.status for run in harness.runs(ship)} == {"failed"}


async def test_an_event_after_the_time_to_listen_cancels_nothing() -> None:
    app = App("shop")

    @app.function(on=Ordered, cancel=Cancel(Recalled, match="data.order_id", timeout="10m"))
    async def ship(event: Ordered) -> str:
        await step.sleep("pack", "1h")
        return "shipped"

    async with Harness(app) as harness:
        await app.send(Ordered(order_id="o1"))
        await harness.advance("11m")
        await app.send(Recalled(order_id="o1"))
        await harness.finish()
        assert harness.run(ship).result == "shipped"


async def test_a_cancelled_run_calls_no_failure_handler() -> None:
    app = App("shop")
    told: list[str] = []

    @app.job
    async def order() -> None:
        await step.sleep("nap", "1h")

    @order.on_failure
    async def tell(failure: Failure) -> None:
        told.append(failure.name)

    async with Harness(app) as harness:
        job = await order.enqueue()
        await harness.settle()
        await job.cancel()
        await harness.finish()

    assert told == []
