"""One run calls another and waits for its end."""

from errands import App, Event, StepError, step
from errands.testing import Harness


class Ordered(Event, name="ordered"):
    order_id: str


def shop() -> App:
    return App("shop")


async def test_the_result_of_a_job_is_read_back_as_annotated() -> None:
    app = shop()

    @app.job
    async def invoice(order_id: str, pages: int = 1) -> tuple[str, int]:
        await step.sleep("print", "1h")
        return f"/invoices/{order_id}.pdf", pages

    @app.job
    async def order(order_id: str) -> str:
        path, pages = await step.invoke("invoice", invoice, order_id, pages=3)
        return f"{path} ({pages})"

    async with Harness(app) as harness:
        await order.enqueue("o1")
        await harness.settle()
        assert harness.run(order).waiting_for == "the end of 'invoice' (invoke 'invoice')"
        await harness.finish()
        assert harness.run(order).result == "/invoices/o1.pdf (3)"


async def test_a_function_is_invoked_with_an_event_that_is_never_sent() -> None:
    app = shop()

    @app.function(on=Ordered)
    async def pack(event: Ordered) -> str:
        return f"packed {event.order_id}"

    @app.job
    async def order() -> str:
        return await step.invoke("pack", pack, Ordered(order_id="o1"))

    async with Harness(app) as harness:
        await order.enqueue()
        await harness.finish()
        assert harness.run(order).result == "packed o1"
        assert len(harness.runs(pack)) == 1
        assert harness.sent == ()


async def test_a_function_is_invoked_by_its_id() -> None:
    app = shop()

    @app.job
    async def invoice(order_id: str) -> list[int]:
        return [1, 2]

    @app.job
    async def order() -> list[int]:
        return await step.invoke_by_id("invoice", "shop/invoice", {"order_id": "o1"}, list[int])

    async with Harness(app) as harness:
        await order.enqueue()
        await harness.finish()
        assert harness.run(order).result == [1, 2]


async def test_a_failure_is_a_step_error_with_the_name_of_the_original() -> None:
    app = shop()

    @app.job(retries=0)
    async def invoice() -> None:
        raise LookupError("no paper")

    @app.job
    async def order() -> str:
        try:
            await step.invoke("invoice", invoice)
        except StepError as error:
            return f"{error.step_id}: {error.name} {error.message} {error.was(LookupError)}"
        return "?"

    async with Harness(app) as harness:
        await order.enqueue()
        await harness.finish()
        assert harness.run(order).result == "invoice: LookupError no paper True"


async def test_a_cancelled_child_is_a_failure() -> None:
    app = shop()

    @app.job
    async def invoice() -> None:
        await step.sleep("print", "1h")

    @app.job
    async def order() -> str:
        try:
            await step.invoke("invoice", invoice)
        except StepError as error:
            return error.name
        return "?"

    async with Harness(app) as harness:
        await order.enqueue()
        await harness.settle()
        await app.jobs.cancel(harness.run(invoice).id, reason="out of paper")
        await harness.settle()
        assert harness.run(order).result == "JobCancelled"


async def test_an_unknown_function_is_named() -> None:
    app = shop()

    @app.job(retries=0)
    async def order() -> None:
        await step.invoke_by_id("x", "shop/nothing", {}, int)

    async with Harness(app) as harness:
        await order.enqueue()
        await harness.finish()
        error = harness.run(order).error or ""
        assert error.startswith("FunctionNotFound: No function 'shop/nothing' is registered.")
        assert "order" in error  # what there is instead


async def test_a_child_ends_across_a_crash_of_its_parent() -> None:
    app = shop()

    @app.job
    async def invoice() -> str:
        await step.sleep("print", "1h")
        return "printed"

    @app.job
    async def order() -> str:
        return await step.invoke("invoice", invoice)

    async with Harness(app) as harness:
        await order.enqueue()
        await harness.settle()
        harness.crash()
        await harness.finish()
        assert harness.run(order).result == "printed"
        assert len(harness.runs(invoice)) == 1
