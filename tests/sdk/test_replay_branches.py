"""Branches of a run see results in one order, however often the run is replayed."""

import asyncio
from pathlib import Path

import pytest

from errands import App, step
from tests.sdk.rig import Rig

every_way = pytest.mark.parametrize("way", ["straight", "evicted", "crashed"])


async def after(seconds: float, value: str) -> str:
    await asyncio.sleep(seconds)
    return value


@every_way
async def test_the_first_of_two_is_the_same_one(tmp_path: Path, way: str) -> None:
    rig = Rig(App("t"), tmp_path, way)

    @rig.app.job
    async def race() -> str:
        slow = asyncio.create_task(step.run("slow", after, 0.04, "slow"))
        fast = asyncio.create_task(step.run("fast", after, 0.01, "fast"))
        done, _ = await asyncio.wait({slow, fast}, return_when=asyncio.FIRST_COMPLETED)
        names = sorted(task.result() for task in done)
        rig.saw(names)
        winner = await step.run("ship-by-" + "-".join(names), after, 0, names[0])
        rig.saw(await slow)
        await step.sleep("nap", "10ms")
        return winner

    async with rig.work():
        assert await rig.result(race) == "fast"

    assert rig.trace == [["fast"], "slow"]


@every_way
async def test_a_list_filled_by_branches_has_the_same_order(tmp_path: Path, way: str) -> None:
    rig = Rig(App("t"), tmp_path, way)

    @rig.app.job
    async def fill() -> list[str]:
        out: list[str] = []

        async def branch(id: str, seconds: float) -> None:
            out.append(await step.run(id, after, seconds, id))

        await asyncio.gather(branch("p", 0.06), branch("q", 0.01), branch("r", 0.03))
        await step.sleep("nap", "10ms")
        return await step.run("join-" + "".join(out), listed, out)

    async def listed(out: list[str]) -> list[str]:
        return out

    async with rig.work():
        first = await rig.result(fill)

    # A crash starts what was not kept anew, so there the clock decides; but once only.
    assert sorted(first) == ["p", "q", "r"]
    assert way == "crashed" or first == ["q", "r", "p"]
    assert "join-" + "".join(first) in rig.kept


@every_way
async def test_losers_that_are_cancelled_stay_lost(tmp_path: Path, way: str) -> None:
    rig = Rig(App("t"), tmp_path, way)

    @rig.app.job
    async def race() -> list[str]:
        slow = asyncio.create_task(step.run("slow", after, 5, "slow"))
        fast = asyncio.create_task(step.run("fast", after, 0.01, "fast"))
        done, lost = await asyncio.wait({slow, fast}, return_when=asyncio.FIRST_COMPLETED)
        for task in lost:
            task.cancel()
        told = await asyncio.gather(*lost, return_exceptions=True)
        rig.saw([type(each).__name__ for each in told])
        await step.sleep("nap", "10ms")
        rig.saw(await step.run("after", after, 0, "after"))
        return [task.result() for task in done]

    async with rig.work():
        assert await rig.result(race) == ["fast"]

    assert rig.trace == [["CancelledError"], "after"]


@every_way
async def test_losers_that_are_left_running_come_in_later(tmp_path: Path, way: str) -> None:
    rig = Rig(App("t"), tmp_path, way)

    @rig.app.job
    async def race() -> list[str]:
        slow = asyncio.create_task(step.run("slow", after, 0.03, "slow"))
        fast = asyncio.create_task(step.run("fast", after, 0.0, "fast"))
        await asyncio.wait({slow, fast}, return_when=asyncio.FIRST_COMPLETED)
        rig.saw(slow.done())
        await step.sleep("nap", "300ms")
        rig.saw(slow.done())
        return [await fast, await slow]

    async with rig.work():
        assert await rig.result(race) == ["fast", "slow"]

    assert rig.trace == [False, True]


@every_way
async def test_the_first_of_two_waits_is_the_same_one(tmp_path: Path, way: str) -> None:
    rig = Rig(App("t"), tmp_path, way)

    @rig.app.job
    async def race() -> str:
        async def nap(id: str, time: str) -> str:
            await step.sleep(id, time)
            rig.saw(id)
            return id

        tasks = [
            asyncio.create_task(nap("long", "500ms")),
            asyncio.create_task(nap("short", "20ms")),
        ]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        first = "".join(sorted(task.result() for task in done))
        await step.run("after-" + first, after, 0, "x")
        rig.saw("after")
        await asyncio.gather(*tasks)
        return first

    async with rig.work():
        assert await rig.result(race) == "short"

    assert rig.trace == ["short", "after", "long"]


@every_way
async def test_nested_gathers_and_groups(tmp_path: Path, way: str) -> None:
    rig = Rig(App("t"), tmp_path, way)

    @rig.app.job
    async def nest() -> list[str]:
        async def leaf(id: str) -> str:
            value = await step.run(id, after, 0, id)
            rig.saw(value)
            await step.sleep(f"nap-{id}", "10ms")
            return value

        async def group(name: str) -> list[str]:
            async with asyncio.TaskGroup() as tasks:
                all = [tasks.create_task(leaf(f"{name}{n}")) for n in range(2)]
            return [task.result() for task in all]

        async def pair(name: str) -> list[list[str]]:
            return list(await asyncio.gather(group(name + "x"), group(name + "y")))

        both = await asyncio.gather(pair("a"), pair("b"))
        return [id for four in both for two in four for id in two]

    async with rig.work():
        assert await rig.result(nest) == ["ax0", "ax1", "ay0", "ay1", "bx0", "bx1", "by0", "by1"]

    assert sorted(rig.trace) == ["ax0", "ax1", "ay0", "ay1", "bx0", "bx1", "by0", "by1"]
    assert len(rig.kept) == 8


@every_way
async def test_what_a_result_sets_off_is_through_before_the_next_one(
    tmp_path: Path, way: str
) -> None:
    """Two steps end in one batch; between them, five levels of gather have to come to their end."""
    rig = Rig(App("t"), tmp_path, way)

    @rig.app.job
    async def cascade() -> list[str]:
        order: list[str] = []

        async def deep(level: int) -> None:
            if level:
                await asyncio.gather(deep(level - 1))
            else:
                await step.run("first", after, 0, "first")

        async def one() -> None:
            await deep(5)
            order.append("first")

        async def two() -> None:
            await step.run("second", after, 0, "second")
            order.append("second")

        await asyncio.gather(one(), two())
        rig.saw(order)
        await step.sleep("nap", "10ms")
        return order

    async with rig.work():
        result = await rig.result(cascade)

    assert rig.trace == [result]
    assert way == "crashed" or result == ["second", "first"]


@every_way
async def test_map_with_limited_concurrency(tmp_path: Path, way: str) -> None:
    rig = Rig(App("t"), tmp_path, way)

    async def double(n: int) -> int:
        rig.executes(str(n))
        await asyncio.sleep(0.001 * (n % 3))
        return 2 * n

    @rig.app.job
    async def all() -> list[int]:
        doubled = await step.map("d", double, range(7), concurrency=3)
        await step.sleep("nap", "10ms")
        return doubled

    async with rig.work():
        assert await rig.result(all) == [0, 2, 4, 6, 8, 10, 12]

    if way != "crashed":
        assert set(rig.executed.values()) == {1}


@every_way
async def test_a_group_whose_branch_fails_cancels_the_others(tmp_path: Path, way: str) -> None:
    rig = Rig(App("t"), tmp_path, way)

    async def fail() -> None:
        raise ValueError("no")

    @rig.app.job
    async def group() -> str:
        async def long() -> None:
            try:
                await step.sleep("long", "1h")
            except asyncio.CancelledError:
                rig.saw("cancelled")
                raise

        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(long())
                tasks.create_task(step.with_options(retries=0).run("fail", fail))
        except* Exception as caught:
            rig.saw([str(error) for error in caught.exceptions])
        rig.saw("caught")
        await step.sleep("nap", "10ms")
        return await step.run("after", after, 0, "after")

    async with rig.work():
        assert await rig.result(group) == "after"

    assert rig.trace == ["cancelled", ["Step 'fail' failed: ValueError: no"], "caught"]


@every_way
async def test_a_retry_races_another_branch(tmp_path: Path, way: str) -> None:
    rig = Rig(App("t"), tmp_path, way)

    async def flaky() -> str:
        rig.executes("flaky")
        if rig.executed["flaky"] < 3:
            raise ConnectionError("not yet")
        return "flaky"

    @rig.app.job
    async def race() -> list[str]:
        from errands import Retries

        order: list[str] = []
        again = step.with_options(retries=Retries(5, delay="30ms", factor=1.0, jitter=False))

        async def one() -> None:
            order.append(await again.run("flaky", flaky))

        async def two() -> None:
            for n in range(3):
                await step.sleep(f"nap-{n}", "5ms")
                order.append(f"nap-{n}")

        await asyncio.gather(one(), two())
        rig.saw(order)
        return order

    async with rig.work():
        result = await rig.result(race)

    assert sorted(result) == ["flaky", "nap-0", "nap-1", "nap-2"]
    assert rig.executed["flaky"] >= 3
    assert rig.trace == [result]
