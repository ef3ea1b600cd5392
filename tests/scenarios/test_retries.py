"""What fails is tried again, by the standard table or as its author says."""

import asyncio
from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from errands import App, NonRetriableError, Retries, RetryAfterError, StepError, current_run, step
from errands.testing import Harness

TABLE = [15, 30, 60, 120, 300, 600, 1200, 2400, 3600, 7200, 7200, 7200]
JITTER = timedelta(seconds=30)


def gaps(times: list[datetime]) -> list[timedelta]:
    return [later - earlier for earlier, later in pairwise(times)]


async def test_a_step_is_tried_again_by_the_standard_table() -> None:
    app = App("shop")
    tried: list[datetime] = []

    async def pay() -> None:
        tried.append(harness.now)
        raise ConnectionError("no route")

    @app.job(retries=12)
    async def order() -> None:
        await step.run("pay", pay)

    async with Harness(app) as harness:
        await order.enqueue()
        await harness.finish()
        assert harness.run(order).error == "ConnectionError: no route"
        assert harness.run(order).steps["pay"].attempts == 13

    assert len(tried) == 13
    for gap, seconds in zip(gaps(tried), TABLE, strict=True):
        assert timedelta(seconds=seconds) <= gap <= timedelta(seconds=seconds) + JITTER


async def test_jitter_differs_from_attempt_to_attempt() -> None:
    app = App("shop")
    tried: list[datetime] = []

    @app.job(retries=12)
    async def order() -> None:
        tried.append(harness.now)
        raise ConnectionError

    async with Harness(app) as harness:
        await order.enqueue()
        await harness.finish()

    extra = [gap - timedelta(seconds=s) for gap, s in zip(gaps(tried), TABLE, strict=True)]
    assert len(set(extra)) > 6


async def test_the_run_is_tried_again_over_what_its_steps_have_done() -> None:
    app = App("shop")
    did: list[str] = []

    async def pay() -> str:
        did.append("pay")
        return "receipt"

    @app.job
    async def order() -> str:
        receipt = await step.run("pay", pay)
        attempt = current_run().attempt
        did.append(f"attempt {attempt}")
        if attempt < 2:
            raise RuntimeError("not yet")
        return receipt

    async with Harness(app) as harness:
        await order.enqueue()
        await harness.settle()
        run = harness.run(order)
        assert run.status == "processing"
        assert (run.waiting_for or "").startswith("its attempt 2 at 2026-01-01T00:00:")
        await harness.finish()
        assert run.result == "receipt"

    assert did == ["pay", "attempt 0", "attempt 1", "attempt 2"]


async def test_by_default_there_are_four_executions() -> None:
    app = App("shop")
    tried: list[int] = []

    @app.job
    async def order() -> None:
        tried.append(current_run().attempt)
        raise RuntimeError

    async with Harness(app) as harness:
        await order.enqueue()
        await harness.finish()
        assert harness.run(order).error == "RuntimeError"

    assert tried == [0, 1, 2, 3]


async def test_a_step_counts_its_own_attempts() -> None:
    app = App("shop")
    tried: list[int] = []

    async def pay() -> int:
        tried.append(current_run().attempt)
        if len(tried) < 3:
            raise ConnectionError
        return len(tried)

    @app.job
    async def order() -> tuple[int, int]:
        return await step.run("pay", pay), current_run().attempt

    async with Harness(app) as harness:
        await order.enqueue()
        await harness.finish()
        assert harness.run(order).result == (3, 0)

    assert tried == [0, 1, 2]


async def test_an_error_that_cannot_be_cured_is_final() -> None:
    app = App("shop")
    tried: list[str] = []

    async def pay() -> None:
        tried.append("step")
        raise NonRetriableError("card stolen")

    @app.job
    async def with_step() -> None:
        await step.run("pay", pay)

    @app.job
    async def without() -> None:
        tried.append("run")
        raise NonRetriableError("no such order")

    async with Harness(app) as harness:
        await with_step.enqueue()
        await without.enqueue()
        await harness.settle()
        assert harness.run(with_step).error == "NonRetriableError: card stolen"
        assert harness.run(without).error == "NonRetriableError: no such order"

    assert sorted(tried) == ["run", "step"]


@pytest.mark.parametrize("after", ["10m", timedelta(minutes=10), "moment"])
async def test_an_error_may_say_when_to_try_again(after: str | timedelta) -> None:
    app = App("shop")
    tried: list[datetime] = []

    async def pay() -> None:
        tried.append(harness.now)
        if len(tried) == 1:
            moment = harness.now + timedelta(minutes=10)
            raise RetryAfterError("busy", moment if after == "moment" else after)

    @app.job
    async def order() -> None:
        await step.run("pay", pay)

    async with Harness(app) as harness:
        await order.enqueue()
        await harness.finish()
        assert harness.run(order).status == "completed"

    assert gaps(tried) == [timedelta(minutes=10)]


async def test_delays_of_ones_own_double_up_to_their_limit() -> None:
    app = App("shop")
    tried: list[datetime] = []

    @app.job(retries=Retries(4, delay="1m", factor=2, delay_max="3m", jitter=False))
    async def order() -> None:
        tried.append(harness.now)
        raise RuntimeError

    async with Harness(app) as harness:
        await order.enqueue()
        await harness.finish()

    assert gaps(tried) == [timedelta(minutes=n) for n in (1, 2, 3, 3)]


async def test_a_function_may_choose_the_delay() -> None:
    app = App("shop")
    tried: list[datetime] = []

    @app.job(retries=Retries(2, delay=lambda attempt, error: f"{attempt + 5}m"))
    async def order() -> None:
        tried.append(harness.now)
        raise RuntimeError

    async with Harness(app) as harness:
        await order.enqueue()
        await harness.finish()

    assert gaps(tried) == [timedelta(minutes=5), timedelta(minutes=6)]


async def test_some_errors_are_given_up_on() -> None:
    app = App("shop")

    @app.job(retries=Retries(9, give_up_on=(LookupError,)))
    async def order() -> None:
        raise KeyError("o1")

    async with Harness(app) as harness:
        await order.enqueue()
        await harness.settle()
        assert harness.run(order).error == "KeyError: 'o1'"


async def test_a_step_may_have_retries_of_its_own() -> None:
    app = App("shop")
    tried: list[int] = []

    async def pay() -> None:
        tried.append(1)
        raise ConnectionError

    @app.job(retries=9)
    async def order() -> str:
        try:
            await step.with_options(retries=1).run("pay", pay)
        except StepError:
            return "unpaid"
        return "?"

    async with Harness(app) as harness:
        await order.enqueue()
        await harness.finish()
        assert harness.run(order).result == "unpaid"

    assert len(tried) == 2


async def test_a_step_that_takes_too_long_is_tried_again() -> None:
    app = App("shop")
    tried: list[int] = []

    async def pay() -> str:
        tried.append(1)
        if len(tried) == 1:
            await asyncio.Event().wait()
        return "paid"

    @app.job
    async def order() -> str:
        return await step.with_options(timeout="50ms").run("pay", pay)

    async with Harness(app) as harness:
        await order.enqueue()
        await harness.settle()
        assert "TimeoutError" in (harness.run(order).waiting_for or "")
        await harness.finish()
        assert harness.run(order).result == "paid"


async def test_an_uncaught_step_error_ends_the_run_without_executing_it_again() -> None:
    app = App("shop")
    executed: list[int] = []

    async def pay() -> None:
        raise PermissionError("declined")

    @app.job(retries=1)
    async def order() -> None:
        executed.append(1)
        await step.run("pay", pay)

    async with Harness(app) as harness:
        await order.enqueue()
        await harness.finish()
        assert harness.run(order).error == "PermissionError: declined"

    assert executed == [1]


async def test_waiting_for_another_attempt_survives_a_crash() -> None:
    app = App("shop")
    tried: list[datetime] = []

    async def pay() -> str:
        tried.append(harness.now)
        if len(tried) == 1:
            raise RetryAfterError("busy", "1h")
        return "paid"

    @app.job
    async def order() -> str:
        return await step.run("pay", pay)

    async with Harness(app) as harness:
        await order.enqueue()
        await harness.advance("30m")
        harness.crash()
        await harness.finish()
        assert harness.run(order).result == "paid"
        assert harness.run(order).steps["pay"].attempts == 2

    assert gaps(tried) == [timedelta(hours=1)]
