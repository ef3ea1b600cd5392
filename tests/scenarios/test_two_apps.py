"""Two apps on one store, each with its own worker, in real time."""

from pathlib import Path

from errands import App, Event, step


class Ordered(Event, name="ordered"):
    order_id: str


async def test_each_app_executes_its_own_and_they_call_each_other(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/errands.db"
    shop, billing = App("shop", url=url), App("billing", url=url)
    heard: list[str] = []

    @billing.job
    async def charge(cents: int) -> str:
        return f"charged {cents}"

    @shop.job
    async def order(cents: int) -> str:
        return await step.invoke_by_id("charge", "billing/charge", {"cents": cents}, str)

    @shop.function(on=Ordered)
    async def ship(event: Ordered) -> None:
        heard.append(f"ship {event.order_id}")

    @billing.function(id="ship", on=Ordered)
    async def bill(event: Ordered) -> None:
        heard.append(f"bill {event.order_id}")

    try:
        async with shop.worker(), billing.worker():
            job = await order.enqueue(5)
            assert await job.result(timeout="20s") == "charged 5"
            await shop.send(Ordered(order_id="o1"))
            while len(heard) < 2:
                last = await order.enqueue(1)
                await last.result(timeout="20s")
    finally:
        shop.backend.close()
        billing.backend.close()

    assert sorted(heard) == ["bill o1", "ship o1"]
