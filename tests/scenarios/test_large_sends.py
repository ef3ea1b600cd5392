"""Many at once: accepted whole, executed all."""

from errands import App, Event, step
from errands.testing import Harness


class Uploaded(Event, name="uploaded"):
    n: int


async def test_ten_thousand_jobs_of_one_call_are_all_executed() -> None:
    app = App("images")
    done: list[int] = []

    @app.job
    async def shrink(n: int) -> int:
        done.append(n)
        return n

    async with Harness(app) as harness:
        jobs = await app.enqueue_many(shrink.bind(n) for n in range(10_000))
        assert len({job.id for job in jobs}) == 10_000
        await harness.settle()
        assert await jobs[9_999].result() == 9_999

    assert sorted(done) == list(range(10_000))


async def test_five_thousand_events_in_one_send_start_a_run_each() -> None:
    app = App("images")
    done: list[int] = []

    @app.function(on=Uploaded)
    async def note(event: Uploaded) -> None:
        done.append(event.n)

    async with Harness(app) as harness:
        ids = await app.send([Uploaded(n=n) for n in range(5_000)])
        assert len(set(ids)) == 5_000
        await harness.settle()

    assert sorted(done) == list(range(5_000))


async def test_a_large_send_is_expanded_to_its_end_across_a_crash() -> None:
    app = App("images")
    done: list[int] = []

    @app.function(on=Uploaded)
    async def note(event: Uploaded) -> None:
        done.append(event.n)

    async with Harness(app) as harness:
        await app.send([Uploaded(n=n) for n in range(3_000)])
        harness.crash()
        await harness.settle()
        assert {run.status for run in harness.runs(note)} == {"completed"}

    assert set(done) == set(range(3_000))


async def test_a_function_may_enqueue_thousands() -> None:
    app = App("images")
    done: list[int] = []

    @app.job
    async def shrink(n: int) -> None:
        done.append(n)

    @app.job
    async def album(size: int) -> int:
        ids = await step.send_event("uploads", [Uploaded(n=n) for n in range(size)])
        return len(ids)

    @app.function(on=Uploaded)
    async def upload(event: Uploaded) -> None:
        await step.enqueue("shrink", shrink, event.n)

    async with Harness(app) as harness:
        await album.enqueue(1_500)
        await harness.settle()
        assert harness.run(album).result == 1_500

    assert sorted(done) == list(range(1_500))
