"""Somebody is told when a run has failed for good."""

from errands import App, Event, Failure, StepError, step
from errands.testing import Harness


class Ordered(Event, name="ordered"):
    order_id: str


async def test_a_functions_handler_gets_the_failure_and_the_event() -> None:
    app = App("shop")
    told: list[tuple[Failure, Ordered]] = []

    @app.function(on=Ordered, retries=1)
    async def ship(event: Ordered) -> None:
        raise LookupError("no stock")

    @ship.on_failure
    async def tell(failure: Failure, event: Ordered) -> None:
        told.append((failure, event))

    async with Harness(app) as harness:
        event_id = await app.send(Ordered(order_id="o1"))
        await harness.settle()
        assert told == []  # it will be tried again
        await harness.finish()
        run_id = harness.run(ship).id
        ended = harness.now

    [(failure, event)] = told
    assert event == Ordered(order_id="o1")
    assert event.envelope.id == event_id
    assert (failure.name, failure.message) == ("LookupError", "no stock")
    assert failure.was(LookupError)
    assert failure.attempts == 2
    assert (failure.run_id, failure.function_id) == (run_id, "shop/ship")
    assert failure.failed_at == ended
    assert "raise LookupError" in failure.stack


async def test_a_jobs_handler_gets_the_failure_and_its_arguments() -> None:
    app = App("shop")
    told: list[tuple[str, str, int]] = []

    @app.job(retries=0)
    async def make(name: str, *, pages: int = 1) -> None:
        raise LookupError

    @make.on_failure
    async def tell(failure: Failure, name: str, *, pages: int = 1) -> None:
        told.append((failure.name, name, pages))

    async with Harness(app) as harness:
        await make.enqueue("r1", pages=3)
        await harness.finish()

    assert told == [("LookupError", "r1", 3)]


async def test_the_apps_handler_hears_of_every_failure() -> None:
    app = App("shop")
    told: list[str] = []

    @app.job(retries=0)
    async def one() -> None:
        raise ValueError("one")

    @app.job(retries=0)
    async def two() -> None:
        raise ValueError("two")

    @one.on_failure
    async def tell_one(failure: Failure) -> None:
        told.append("its own")

    @app.on_failure
    async def tell(failure: Failure) -> None:
        told.append(f"{failure.function_id} {failure.message}")

    async with Harness(app) as harness:
        await one.enqueue()
        await harness.finish()
        await two.enqueue()
        await harness.finish()

    assert sorted(told[:2]) == ["its own", "shop/one one"]
    assert told[2:] == ["shop/two two"]


async def test_a_handler_is_durable() -> None:
    app = App("shop")
    told: list[str] = []

    async def mail(to: str) -> None:
        told.append(to)

    @app.job(retries=0)
    async def make() -> None:
        raise ValueError("no")

    @make.on_failure
    async def tell(failure: Failure) -> None:
        await step.run("first", mail, "support")
        await step.sleep("a day", "1 day")
        await step.run("second", mail, "boss")

    async with Harness(app) as harness:
        await make.enqueue()
        await harness.settle()
        harness.crash()
        await harness.finish()

    assert told == ["support", "boss"]


async def test_a_handler_that_fails_is_reported_to_the_app_and_no_further() -> None:
    app = App("shop")
    told: list[str] = []

    @app.job(retries=0)
    async def make() -> None:
        raise ValueError("make")

    @make.on_failure
    async def tell(failure: Failure) -> None:
        raise KeyError("tell")

    @app.on_failure
    async def tell_all(failure: Failure) -> None:
        told.append(failure.function_id)
        raise RuntimeError("and again")

    async with Harness(app) as harness:
        await make.enqueue()
        await harness.finish()

    assert sorted(set(told)) == ["shop/make", "shop/make/on_failure"]


async def test_a_failed_step_is_named() -> None:
    app = App("shop")
    told: list[tuple[str, int]] = []

    async def pay() -> None: ...

    @app.job
    async def order() -> None:
        await step.run("pay", pay)

    @order.on_failure
    async def tell(failure: Failure) -> None:
        told.append((failure.name, failure.attempts))

    async with Harness(app) as harness:
        harness.fail_step(order, "pay", times=4, error=PermissionError("declined"))
        await order.enqueue()
        await harness.finish()

    assert told == [("PermissionError", 4)]


async def test_nobody_is_told_of_a_failure_that_the_function_catches() -> None:
    app = App("shop")
    told: list[str] = []

    async def pay() -> None: ...

    @app.job
    async def order() -> str:
        try:
            await step.run("pay", pay)
        except StepError:
            return "unpaid"
        return "paid"

    @app.on_failure
    async def tell(failure: Failure) -> None:
        told.append(failure.name)

    async with Harness(app) as harness:
        harness.fail_step(order, "pay", times=4)
        await order.enqueue()
        await harness.finish()
        assert harness.run(order).result == "unpaid"

    assert told == []
