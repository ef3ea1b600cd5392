"""Plain functions in threads: their steps by sync(), their waits by ending and being replayed."""

import asyncio
import threading
from pathlib import Path

import pytest

from errands import App, Retries, StepError, progress, step, sync
from tests.sdk.rig import Rig

every_way = pytest.mark.parametrize("way", ["straight", "evicted", "crashed"])


def double(n: int) -> int:
    return 2 * n


@every_way
async def test_a_plain_function_with_steps_and_waits(tmp_path: Path, way: str) -> None:
    rig = Rig(App("t"), tmp_path, way)

    @rig.app.job
    def plain(n: int) -> int:
        total = 0
        for i in progress.track(range(n)):
            total += sync(step.run("double", double, i))
            sync(step.sleep("nap", "5ms"))
        return total

    async with rig.work():
        assert await rig.result(plain, 3) == 6

    assert list(rig.kept) == ["double", "double:1", "double:2"]


@every_way
async def test_branches_within_one_call_of_sync(tmp_path: Path, way: str) -> None:
    rig = Rig(App("t"), tmp_path, way)

    @rig.app.job
    def plain() -> list[int]:
        async def both() -> list[int]:
            return list(await asyncio.gather(*(step.run(f"d{n}", double, n) for n in range(3))))

        found = sync(both())
        sync(step.sleep("nap", "5ms"))
        return found

    async with rig.work():
        assert await rig.result(plain) == [0, 2, 4]


@every_way
async def test_branches_within_one_call_of_sync_may_not_share_an_id(
    tmp_path: Path, way: str
) -> None:
    rig = Rig(App("t"), tmp_path, way)

    @rig.app.job
    def plain() -> list[int]:
        async def both() -> list[int]:
            return list(await asyncio.gather(step.run("d", double, 1), step.run("d", double, 2)))

        return sync(both())

    async with rig.work():
        assert (await rig.failure(plain)).name == "DuplicateStep"


@every_way
async def test_steps_of_an_async_function_from_a_thread(tmp_path: Path, way: str) -> None:
    rig = Rig(App("t"), tmp_path, way)

    @rig.app.job
    async def mixed() -> list[int]:
        def inside() -> list[int]:
            return [sync(step.run("in-thread", double, n)) for n in range(2)]

        found = await asyncio.to_thread(inside)
        await step.sleep("nap", "5ms")
        return [*found, await step.run("after", double, 5)]

    async with rig.work():
        assert await rig.result(mixed) == [0, 2, 10]

    assert list(rig.kept) == ["in-thread", "in-thread:1", "after"]


@every_way
async def test_two_threads_may_not_share_an_id(tmp_path: Path, way: str) -> None:
    """Whether they are the same thread of the pool or not."""
    rig = Rig(App("t"), tmp_path, way)

    @rig.app.job
    async def twice() -> list[int]:
        def inside() -> int:
            return sync(step.run("x", double, 1))

        return [await asyncio.to_thread(inside), await asyncio.to_thread(inside)]

    async with rig.work():
        assert (await rig.failure(twice)).name == "DuplicateStep"


@every_way
async def test_a_step_of_a_plain_function_is_tried_again(tmp_path: Path, way: str) -> None:
    rig = Rig(App("t"), tmp_path, way)

    def flaky() -> int:
        rig.executes("flaky")
        if rig.executed["flaky"] < 3:
            raise ConnectionError("not yet")
        return 7

    @rig.app.job
    def plain() -> int:
        again = step.with_options(retries=Retries(4, delay="10ms", factor=1.0, jitter=False))
        return sync(again.run("flaky", flaky))

    async with rig.work():
        assert await rig.result(plain) == 7

    assert rig.executed["flaky"] == 3


@every_way
async def test_a_failed_step_in_a_plain_function(tmp_path: Path, way: str) -> None:
    rig = Rig(App("t"), tmp_path, way)

    def fail() -> None:
        raise LookupError("gone")

    @rig.app.job
    def plain() -> bool:
        try:
            sync(step.with_options(retries=0).run("fail", fail))
        except StepError as error:
            sync(step.sleep("nap", "5ms"))
            return error.was(LookupError)
        return False

    async with rig.work():
        assert await rig.result(plain) is True


@every_way
async def test_a_plain_function_that_swallows_everything_still_ends(
    tmp_path: Path, way: str
) -> None:
    rig = Rig(App("t"), tmp_path, way)
    threads: dict[str, None] = {}

    @rig.app.job
    def greedy() -> int:
        threads[threading.current_thread().name] = None
        for _ in range(3):
            try:
                sync(step.sleep("nap", "5ms"))
                return sync(step.run("d", double, 4))
            except BaseException:
                continue
        return -1

    async with rig.work():
        assert await rig.result(greedy) == 8


@every_way
async def test_stop_iteration_of_a_thread_is_an_error(tmp_path: Path, way: str) -> None:
    rig = Rig(App("t"), tmp_path, way)

    def ends() -> int:
        return next(iter(()))

    @rig.app.job
    async def asks() -> str:
        try:
            await step.with_options(retries=0).run("ends", ends)
        except StepError as error:
            return error.failure.name
        return "nothing"

    async with rig.work():
        assert await rig.result(asks) == "RuntimeError"


async def test_a_loop_of_ones_own_in_a_thread_is_refused(tmp_path: Path) -> None:
    rig = Rig(App("t"), tmp_path, "straight")

    @rig.app.job(retries=0)
    def plain() -> int:
        return asyncio.run(step.run("d", double, 1))  # type: ignore[arg-type]

    async with rig.work():
        failure = await rig.failure(plain)

    assert failure.name == "RuntimeError"
    assert "event loop" in failure.message
