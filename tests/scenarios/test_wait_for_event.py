"""A run waits, durably, for an event that concerns it."""

import asyncio

from errands import AnyEvent, App, Event, step
from errands.testing import Harness


class Ordered(Event, name="ordered"):
    order_id: str


class Paid(Event, name="paid"):
    order_id: str
    cents: int = 100


async def test_match_wakes_the_run_of_the_same_order_only() -> None:
    app = App("shop")

    @app.function(on=Ordered)
    async def ship(event: Ordered) -> int | None:
        paid = await step.wait_for_event("paid", Paid, match="data.order_id", timeout="3 days")
        return paid and paid.cents

    async with Harness(app) as harness:
        await app.send([Ordered(order_id="o1"), Ordered(order_id="o2")])
        await harness.settle()
        first, second = harness.runs(ship)
        assert first.waiting_for == "event 'paid' (wait 'paid') until 2026-01-04T00:00:00Z"

        await app.send(Paid(order_id="o2", cents=250))
        await harness.settle()

        assert second.result == 250
        assert first.status == "processing"


async def test_an_expression_may_speak_of_both_events() -> None:
    app = App("shop")

    @app.function(on=Ordered)
    async def ship(event: Ordered) -> int | None:
        paid = await step.wait_for_event(
            "paid",
            Paid,
            if_exp="event.data.order_id == async.data.order_id && async.data.cents >= 200",
            timeout="3 days",
        )
        return paid and paid.cents

    async with Harness(app) as harness:
        await app.send(Ordered(order_id="o1"))
        await harness.settle()
        await app.send([Paid(order_id="o1", cents=199), Paid(order_id="o2", cents=300)])
        await harness.settle()
        assert harness.run(ship).status == "processing"

        await app.send(Paid(order_id="o1", cents=200))
        await harness.settle()
        assert harness.run(ship).result == 200


async def test_a_lambda_may_use_what_the_function_knows() -> None:
    app = App("shop")

    @app.function(on=Ordered)
    async def ship(event: Ordered) -> str:
        paid = await step.wait_for_event(
            "paid", Paid, if_exp=lambda paid: paid.order_id == event.order_id, timeout="3 days"
        )
        assert paid is not None
        return paid.order_id

    async with Harness(app) as harness:
        await app.send([Ordered(order_id="o1"), Ordered(order_id="o2")])
        await harness.settle()
        await app.send([Paid(order_id="o2"), Paid(order_id="o1")])
        await harness.settle()
        assert [run.result for run in harness.runs(ship)] == ["o1", "o2"]


async def test_after_the_timeout_there_is_none() -> None:
    app = App("shop")

    @app.function(on=Ordered)
    async def ship(event: Ordered) -> str:
        paid = await step.wait_for_event("paid", Paid, match="data.order_id", timeout="3 days")
        return "paid" if paid else "given up"

    async with Harness(app) as harness:
        await app.send(Ordered(order_id="o1"))
        await harness.advance("3 days")
        assert harness.run(ship).result == "given up"

        await app.send(Paid(order_id="o1"))
        await harness.settle()
        assert harness.run(ship).result == "given up"


async def test_an_event_before_the_wait_does_not_wake_it() -> None:
    app = App("shop")

    @app.function(on=Ordered)
    async def ship(event: Ordered) -> int | None:
        await step.sleep("a moment", "1m")
        paid = await step.wait_for_event("paid", Paid, match="data.order_id", timeout="1h")
        return paid and paid.cents

    async with Harness(app) as harness:
        await app.send(Ordered(order_id="o1"))
        await app.send(Paid(order_id="o1", cents=1))
        await harness.advance("1m")
        assert harness.run(ship).status == "processing"

        await app.send([Paid(order_id="o1", cents=2), Paid(order_id="o1", cents=3)])
        await harness.settle()
        assert (
            harness.run(ship).result == 2
        )  # the next one after the wait; later ones find it closed


async def test_events_of_any_kind_are_waited_for_by_pattern() -> None:
    app = App("shop")

    @app.function(on=Ordered)
    async def ship(event: Ordered) -> str:
        found = await step.wait_for_event("any", "parcel/*", timeout="1h")
        assert isinstance(found, AnyEvent)
        return found.envelope.name

    async with Harness(app) as harness:
        await app.send(Ordered(order_id="o1"))
        await harness.settle()
        await app.send({"name": "parcel/lost", "data": {}})
        await harness.settle()
        assert harness.run(ship).result == "parcel/lost"


async def test_the_awaited_event_arrives_across_a_crash() -> None:
    app = App("shop")

    @app.function(on=Ordered)
    async def ship(event: Ordered) -> int | None:
        paid = await step.wait_for_event("paid", Paid, match="data.order_id", timeout="3 days")
        return paid and paid.cents

    async with Harness(app) as harness:
        await app.send(Ordered(order_id="o1"))
        await harness.settle()
        harness.crash()
        await app.send(Paid(order_id="o1", cents=7))
        harness.crash()
        await harness.settle()
        assert harness.run(ship).result == 7


async def test_one_event_wakes_all_who_wait_for_it() -> None:
    app = App("shop")

    @app.job
    async def wait(n: int) -> int:
        paid = await step.wait_for_event("paid", Paid, if_exp=lambda p: p.cents > 0, timeout="1h")
        return n if paid else -1

    async with Harness(app) as harness:
        await app.enqueue_many(wait.bind(n) for n in range(350))
        await harness.settle()
        await app.send(Paid(order_id="o1"))
        await harness.settle()
        assert [run.result for run in harness.runs(wait)] == list(range(350))


async def test_whichever_comes_first() -> None:
    app = App("shop")

    @app.function(on=Ordered)
    async def ship(event: Ordered) -> list[str]:
        paid = asyncio.create_task(
            step.wait_for_event("paid", Paid, match="data.order_id", timeout="3 days")
        )
        reminder = asyncio.create_task(step.sleep("reminder", "1 day"))
        done, _ = await asyncio.wait((paid, reminder), return_when=asyncio.FIRST_COMPLETED)
        return ["paid" if one is paid else "reminder" for one in done]

    async with Harness(app) as harness:
        await app.send([Ordered(order_id="o1"), Ordered(order_id="o2")])
        await harness.advance("1h")
        await app.send(Paid(order_id="o1"))
        await harness.advance("1 day")
        assert [run.result for run in harness.runs(ship)] == [["paid"], ["reminder"]]
