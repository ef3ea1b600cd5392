"""An event id, or a job's idempotency key, counts once in 24 hours."""

from errands import App, Event
from errands.testing import Harness


class Paid(Event, name="paid"):
    order_id: str


def shop() -> tuple[App, list[str]]:
    app, done = App("shop"), list[str]()

    @app.function(on=Paid)
    async def ship(event: Paid) -> None:
        done.append(event.order_id)

    return app, done


async def test_the_same_event_id_starts_nothing_for_a_day() -> None:
    app, done = shop()
    async with Harness(app) as harness:
        first = await app.send(Paid(order_id="o1").with_options(id="p1"))
        await harness.advance("23h")
        second = await app.send(Paid(order_id="o1").with_options(id="p1"))
        await harness.finish()

    assert done == ["o1"]
    assert first == second == "p1"


async def test_the_same_event_id_starts_a_run_again_after_a_day() -> None:
    app, done = shop()
    async with Harness(app) as harness:
        await app.send(Paid(order_id="o1").with_options(id="p1"))
        await harness.advance("24h")
        await app.send(Paid(order_id="o1").with_options(id="p1"))
        await harness.finish()

    assert done == ["o1", "o1"]


async def test_the_same_event_id_twice_in_one_send_counts_once() -> None:
    app, done = shop()
    async with Harness(app) as harness:
        event = Paid(order_id="o1").with_options(id="p1")
        assert await app.send([event, event]) == ["p1", "p1"]
        await harness.finish()

    assert done == ["o1"]


async def test_events_without_an_id_of_their_own_are_all_different() -> None:
    app, done = shop()
    async with Harness(app) as harness:
        ids = await app.send([Paid(order_id="o1"), Paid(order_id="o1")])
        await harness.finish()

    assert len(set(ids)) == 2
    assert done == ["o1", "o1"]


async def test_an_idempotency_key_gives_the_first_job_for_a_day() -> None:
    app = App("shop")

    @app.job
    async def charge(cents: int) -> int:
        return cents

    async with Harness(app) as harness:
        once = charge.with_options(idempotency_key="o1")
        first = await once.enqueue(100)
        await harness.advance("23h")
        second = await once.enqueue(200)
        assert second.id == first.id
        assert await second.result() == 100

        await harness.advance("1h")
        third = await once.enqueue(300)
        assert third.id != first.id
        assert await third.result() == 300


async def test_an_idempotency_key_belongs_to_one_job() -> None:
    app = App("shop")

    @app.job
    async def charge() -> str:
        return "charged"

    @app.job
    async def refund() -> str:
        return "refunded"

    async with Harness(app):
        one = await charge.with_options(idempotency_key="o1").enqueue()
        other = await refund.with_options(idempotency_key="o1").enqueue()
        assert [await one.result(), await other.result()] == ["charged", "refunded"]
