"""What a run has done stays done, whatever crashes."""

from errands import App, Event, step
from errands.testing import Harness


class Asked(Event, name="asked"):
    n: int


class Told(Event, name="told"):
    n: int


async def test_a_kept_step_is_not_executed_again() -> None:
    app = App("shop")
    did: list[str] = []

    async def act(name: str) -> str:
        did.append(name)
        return name.upper()

    @app.job
    async def order() -> list[str]:
        first = await step.run("first", act, "a")
        await step.sleep("nap", "1h")
        return [first, await step.run("second", act, "b")]

    async with Harness(app) as harness:
        await order.enqueue()
        await harness.settle()
        for _ in range(3):
            harness.crash()
            await harness.advance("20m")
        assert harness.run(order).result == ["A", "B"]

    assert did == ["a", "b"]


async def test_events_and_jobs_of_a_function_are_sent_once() -> None:
    app = App("shop")
    told: list[int] = []

    @app.function(on=Asked)
    async def ask(event: Asked) -> list[str]:
        one = await step.send_event("one", Told(n=1))
        more = await step.send_event("more", [Told(n=2), Told(n=3)])
        job = await step.enqueue("job", add, 4)
        await step.sleep("nap", "1h")
        return [one, *more, job.id]

    @app.function(on=Told)
    async def hear(event: Told) -> None:
        told.append(event.n)

    @app.job
    async def add(n: int) -> int:
        told.append(n)
        return n

    async with Harness(app) as harness:
        await app.send(Asked(n=1))
        await harness.settle()
        harness.crash()
        await harness.advance("30m")
        harness.crash()
        await harness.finish()
        ids = harness.run(ask).result
        assert [event.envelope.id for event in harness.sent[1:]] == ids[:3]
        assert harness.run(add).id == ids[3]
        assert harness.run(ask).steps["more"].result == ids[1:3]

    assert sorted(told) == [1, 2, 3, 4]


async def test_a_job_enqueued_by_a_step_can_be_waited_for() -> None:
    app = App("shop")

    @app.job
    async def add(n: int) -> int:
        return n + 1

    @app.job
    async def order() -> str:
        job = await step.enqueue("job", add, 4)
        return job.id

    async with Harness(app) as harness:
        parent = await order.enqueue()
        child = add.job(await parent.result())
        assert await child.result() == 5
        assert harness.run(add).id == child.id
