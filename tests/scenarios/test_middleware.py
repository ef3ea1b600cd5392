"""Middleware: around sending, runs and steps."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from errands import App, Event, Middleware, Run, step
from errands.testing import Harness

Next = Callable[[], Awaitable[object]]
Send = Callable[[Sequence[Any]], Awaitable[list[str]]]


class Ordered(Event, name="ordered"):
    order_id: str


class Named(Middleware):
    def __init__(self, name: str, told: list[str]) -> None:
        self.name, self.told = name, told

    async def start(self) -> None:
        self.told.append(f"{self.name} starts")

    async def stop(self) -> None:
        self.told.append(f"{self.name} stops")

    async def on_run(self, run: Run, proceed: Next) -> object:
        self.told.append(f"{self.name} run {run.function_id} {run.attempt}")
        try:
            return await proceed()
        finally:
            self.told.append(f"{self.name} run over")

    async def on_step(self, run: Run, proceed: Next) -> object:
        self.told.append(f"{self.name} step {run.step_id} {run.attempt}")
        return await proceed()


async def test_the_first_is_the_outermost_and_the_functions_own_are_inside() -> None:
    told: list[str] = []
    app = App("shop", middleware=[Named("a", told), Named("b", told)])

    async def pay() -> None:
        told.append("pay")

    @app.job(middleware=[Named("own", told)])
    async def order() -> None:
        await step.run("pay", pay)

    async with Harness(app) as harness:
        await order.enqueue()
        await harness.finish()

    assert told == [
        "a starts",
        "b starts",
        "a run order 0",
        "b run order 0",
        "own run order 0",
        "a step pay 0",
        "b step pay 0",
        "own step pay 0",
        "pay",
        "own run over",
        "b run over",
        "a run over",
        "a stops",
        "b stops",
    ]


async def test_memoized_steps_pass_by_it() -> None:
    told: list[str] = []
    app = App("shop", middleware=[Named("a", told)])

    async def pay() -> None: ...

    @app.job
    async def order() -> None:
        await step.run("pay", pay)
        await step.sleep("nap", "1h")

    async with Harness(app) as harness:
        harness.fail_step(order, "pay")
        await order.enqueue()
        await harness.settle()
        harness.crash()
        await harness.finish()

    assert [line for line in told if "step" in line] == ["a step pay 0", "a step pay 1"]


async def test_it_may_replace_results() -> None:
    class Double(Middleware):
        async def on_step(self, run: Run, proceed: Next) -> object:
            return 2 * int(str(await proceed()))

        async def on_run(self, run: Run, proceed: Next) -> object:
            return 10 * int(str(await proceed()))

    app = App("shop", middleware=[Double()])

    async def one() -> int:
        return 1

    @app.job
    async def order() -> int:
        return await step.run("one", one)

    async with Harness(app) as harness:
        await order.enqueue()
        await harness.finish()
        assert harness.run(order).result == 20


async def test_it_sees_everything_that_is_sent_and_may_refuse_it() -> None:
    seen: list[str] = []

    class Guard(Middleware):
        async def on_send(self, events: Sequence[Any], proceed: Send) -> list[str]:
            seen.extend(event.envelope.name for event in events)
            if any(event.envelope.name == "secret" for event in events):
                raise PermissionError("secret")
            return await proceed(events)

    app = App("shop", middleware=[Guard()])

    @app.function(on=Ordered)
    async def ship(event: Ordered) -> None:
        await step.send_event("told", {"name": "told", "data": {}})
        await step.enqueue("job", note, "x")

    @app.job
    async def note(text: str) -> None: ...

    async with Harness(app) as harness:
        await app.send(Ordered(order_id="o1"))
        await harness.finish()
        try:
            await app.send([Ordered(order_id="o2"), {"name": "secret", "data": {}}])
        except PermissionError:
            seen.append("refused")
        await harness.finish()
        assert len(harness.runs(ship)) == 1

    assert seen == ["ordered", "told", "shop/note", "ordered", "secret", "refused"]
