"""Steps side by side: gather, TaskGroup, map."""

import asyncio

import pytest

from errands import App, StepError, step
from errands.testing import Harness


def files() -> tuple[App, list[str]]:
    return App("files"), []


async def test_gathered_steps_execute_at_the_same_time() -> None:
    app, did = files()
    both = asyncio.Barrier(2)

    async def meet(name: str) -> str:
        await both.wait()
        did.append(name)
        return name

    @app.job
    async def work() -> list[str]:
        return list(await asyncio.gather(step.run("a", meet, "A"), step.run("b", meet, "B")))

    async with Harness(app) as harness:
        await work.enqueue()
        await harness.settle()
        assert harness.run(work).result == ["A", "B"]


async def test_a_task_group_keeps_what_was_done_when_one_fails_and_is_tried_again() -> None:
    app, did = files()

    async def act(name: str) -> str:
        did.append(name)
        return name

    @app.job
    async def work() -> list[str]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(step.run(name, act, name)) for name in "abc"]
        return [task.result() for task in tasks]

    async with Harness(app) as harness:
        harness.fail_step(work, "b")
        await work.enqueue()
        await harness.finish()
        assert harness.run(work).result == ["a", "b", "c"]

    assert sorted(did) == ["a", "b", "c"]


async def test_map_gives_results_in_order_and_numbers_its_steps() -> None:
    app, _ = files()

    async def square(n: int) -> int:
        await asyncio.sleep(0.01 / (n + 1))
        return n * n

    @app.job
    async def work() -> list[int]:
        return await step.map("square", square, range(5))

    async with Harness(app) as harness:
        await work.enqueue()
        await harness.settle()
        assert harness.run(work).result == [0, 1, 4, 9, 16]
        assert list(harness.run(work).steps) == [f"square[{n}]" for n in range(5)]


async def test_map_executes_no_more_at_once_than_it_may() -> None:
    app, _ = files()
    now, most = 0, 0

    async def act(n: int) -> int:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.005)
        now -= 1
        return n

    @app.job
    async def work() -> list[int]:
        return await step.map("act", act, range(20), concurrency=3)

    async with Harness(app) as harness:
        await work.enqueue()
        await harness.settle()
        assert harness.run(work).result == list(range(20))

    assert most == 3


async def test_map_lets_the_others_end_when_one_fails_for_good() -> None:
    app, did = files()

    async def act(n: int) -> int:
        if n == 1:
            raise ValueError("one")
        did.append(str(n))
        return n

    @app.job(retries=0)
    async def work() -> str:
        try:
            await step.map("act", act, range(4))
        except StepError as error:
            return f"{error.step_id} {error.name}"
        return "?"

    async with Harness(app) as harness:
        await work.enqueue()
        await harness.finish()
        assert harness.run(work).result == "act[1] ValueError"

    assert sorted(did) == ["0", "2", "3"]


async def test_branches_go_on_after_a_crash_where_each_of_them_was() -> None:
    app, did = files()

    async def act(name: str) -> str:
        did.append(name)
        return name

    async def branch(name: str, hours: int) -> str:
        first = await step.run(f"{name}1", act, f"{name}1")
        await step.sleep(f"{name}-nap", f"{hours}h")
        return first + await step.run(f"{name}2", act, f"{name}2")

    @app.job
    async def work() -> list[str]:
        return list(await asyncio.gather(branch("a", 3), branch("b", 1)))

    async with Harness(app) as harness:
        await work.enqueue()
        await harness.advance("2h")
        harness.crash()
        await harness.finish()
        assert harness.run(work).result == ["a1a2", "b1b2"]

    assert did == ["a1", "b1", "b2", "a2"]


async def test_plain_steps_side_by_side() -> None:
    app, _ = files()

    def act(n: int) -> int:
        return n + 1

    @app.job
    async def work() -> int:
        return sum(await asyncio.gather(*(step.run(f"s{n}", act, n) for n in range(50))))

    async with Harness(app) as harness:
        await work.enqueue()
        await harness.settle()
        assert harness.run(work).result == sum(range(1, 51))


@pytest.mark.parametrize("crashes", [0, 1, 3])
async def test_a_loop_may_use_one_id_again_and_again(crashes: int) -> None:
    app, did = files()

    async def fetch(page: int) -> int:
        did.append(str(page))
        return page

    @app.job
    async def work() -> list[int]:
        pages: list[int] = []
        for page in range(3):
            pages.append(await step.run("fetch", fetch, page))
            await step.sleep("pause", "1m")
        return pages

    async with Harness(app) as harness:
        await work.enqueue()
        for _ in range(crashes):
            await harness.advance("50s")
            harness.crash()
        await harness.finish()
        assert harness.run(work).result == [0, 1, 2]
        assert list(harness.run(work).steps)[::2] == ["fetch", "fetch:1", "fetch:2"]

    assert did == ["0", "1", "2"]
