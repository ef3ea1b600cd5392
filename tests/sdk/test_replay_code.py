"""What steps give back, how they are numbered, and which mistakes in code end a run at once."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from errands import App, NonRetriableError, Retries, StepError, step, sync
from tests.sdk.rig import Rig

every_way = pytest.mark.parametrize("way", ["straight", "evicted", "crashed"])


@dataclass
class User:
    name: str
    born: datetime
    tags: tuple[str, ...] = ()


class Declined(Exception):
    def __init__(self, code: str, *, amount: int) -> None:
        super().__init__(f"declined {code}")
        self.amount = amount


class HardlyDeclined(Declined): ...


async def number(n: int) -> int:
    return n


@every_way
async def test_values_are_read_back_as_annotated(tmp_path: Path, way: str) -> None:
    rig = Rig(App("t"), tmp_path, way)
    born = datetime(2000, 1, 2, tzinfo=UTC)

    async def user() -> User:
        return User("Ada", born, ("a", "b"))

    async def money() -> Decimal:
        return Decimal("1.10")

    async def nothing() -> None:
        return None

    @rig.app.job
    async def read() -> str:
        rig.saw(await step.run("user", user))
        rig.saw(await step.run("money", money))
        rig.saw(await step.run("nothing", nothing))
        await step.sleep("nap", "10ms")
        rig.saw(await step.run("last", number, 1))
        return "ok"

    async with rig.work():
        assert await rig.result(read) == "ok"

    assert rig.trace == [User("Ada", born, ("a", "b")), Decimal("1.10"), None, 1]


@every_way
async def test_a_failed_step_raises_the_same_again(tmp_path: Path, way: str) -> None:
    rig = Rig(App("t"), tmp_path, way)

    async def pay() -> None:
        raise HardlyDeclined("51", amount=3)

    @rig.app.job
    async def buy() -> str:
        try:
            await step.with_options(retries=0).run("pay", pay)
        except StepError as error:
            rig.saw((str(error), error.was(Declined), error.was(KeyError), error.__cause__))
        await step.sleep("nap", "10ms")
        return await step.run("after", say, "after")

    async def say(what: str) -> str:
        return what

    async with rig.work():
        assert await rig.result(buy) == "after"

    assert rig.trace == [("Step 'pay' failed: HardlyDeclined: declined 51", True, False, None)]


@every_way
async def test_an_id_may_repeat_in_a_loop(tmp_path: Path, way: str) -> None:
    rig = Rig(App("t"), tmp_path, way)

    @rig.app.job
    async def loop() -> list[int]:
        out: list[int] = []
        for n in range(3):
            async with asyncio.timeout(60):
                out.append(await step.run("x", number, n))
            await step.sleep("nap", "5ms")
        return out

    async with rig.work():
        assert await rig.result(loop) == [0, 1, 2]

    assert list(rig.kept) == ["x", "x:1", "x:2"]


@every_way
async def test_an_id_may_not_repeat_in_branches(tmp_path: Path, way: str) -> None:
    """Also where they never overlap in time: which of them is first is not certain."""
    rig = Rig(App("t"), tmp_path, way)

    @rig.app.job
    async def branches() -> list[int]:
        async def branch(seconds: float) -> int:
            await asyncio.sleep(seconds)
            return await step.run("x", number, 1)

        return list(await asyncio.gather(branch(0.02), branch(0.0)))

    async with rig.work():
        failure = await rig.failure(branches)

    assert failure.name == "DuplicateStep"
    assert failure.attempts == 1


@every_way
async def test_an_id_of_the_main_branch_may_not_repeat_in_another(tmp_path: Path, way: str) -> None:
    rig = Rig(App("t"), tmp_path, way)

    @rig.app.job
    async def parent_then_child() -> list[int]:
        await step.run("x", number, 1)
        return list(await asyncio.gather(step.run("x", number, 2)))

    async with rig.work():
        failure = await rig.failure(parent_then_child)

    assert failure.name == "DuplicateStep"


@every_way
async def test_loops_in_branches_are_numbered_each(tmp_path: Path, way: str) -> None:
    rig = Rig(App("t"), tmp_path, way)

    @rig.app.job
    async def loops() -> list[list[int]]:
        async def loop(name: str) -> list[int]:
            return [await step.run(name, number, n) for n in range(2)]

        return list(await asyncio.gather(loop("left"), loop("right")))

    async with rig.work():
        assert await rig.result(loops) == [[0, 1], [0, 1]]

    assert sorted(rig.kept) == ["left", "left:1", "right", "right:1"]


@every_way
async def test_a_step_may_not_be_called_what_another_is_numbered(tmp_path: Path, way: str) -> None:
    rig = Rig(App("t"), tmp_path, way)

    @rig.app.job
    async def both() -> None:
        for n in range(2):
            await step.run("x", number, n)
        await step.run("x:1", number, 7)

    async with rig.work():
        assert (await rig.failure(both)).name == "DuplicateStep"


@every_way
async def test_a_step_in_a_step(tmp_path: Path, way: str) -> None:
    rig = Rig(App("t"), tmp_path, way)

    async def outer() -> int:
        return await step.run("inner", number, 1)

    @rig.app.job
    async def nested() -> int:
        return await step.run("outer", outer)

    async with rig.work():
        failure = await rig.failure(nested)

    assert (failure.name, failure.attempts) == ("NestedStep", 1)


@every_way
async def test_a_step_in_the_thread_of_a_step(tmp_path: Path, way: str) -> None:
    rig = Rig(App("t"), tmp_path, way)

    def outer() -> int:
        return sync(step.run("inner", number, 1))

    @rig.app.job
    async def nested() -> int:
        return await step.run("outer", outer)

    async with rig.work():
        assert (await rig.failure(nested)).name == "NestedStep"


@every_way
async def test_a_mistake_ends_the_run_even_if_it_is_swallowed(tmp_path: Path, way: str) -> None:
    rig = Rig(App("t"), tmp_path, way)

    def odd() -> Any:
        return object()

    @rig.app.job
    async def stubborn() -> str:
        for n in range(3):
            try:
                await step.run(f"odd-{n}", odd)
            except Exception as error:
                rig.saw(type(error).__name__)
        return "fine"

    async with rig.work():
        failure = await rig.failure(stubborn)

    assert (failure.name, failure.attempts) == ("ValueNotStorable", 1)
    # Told once; nothing is executed after it.
    assert rig.trace == ["ValueNotStorable"]


@every_way
async def test_a_result_above_the_limit(tmp_path: Path, way: str) -> None:
    rig = Rig(App("t"), tmp_path, way)

    async def huge() -> str:
        return "x" * 300_000

    @rig.app.job
    async def large() -> None:
        await step.run("huge", huge)

    async with rig.work():
        failure = await rig.failure(large)

    assert failure.name == "ValueTooLarge"
    assert "'huge'" in failure.message


@every_way
async def test_a_failed_step_that_nobody_catches_ends_the_run(tmp_path: Path, way: str) -> None:
    rig = Rig(App("t"), tmp_path, way)

    async def fail() -> None:
        rig.executes("fail")
        raise NonRetriableError("no use")

    @rig.app.job
    async def tries() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(step.run("fail", fail))

    async with rig.work():
        failure = await rig.failure(tries)

    # Not the ExceptionGroup that the TaskGroup makes of it.
    assert (failure.name, failure.step) == ("NonRetriableError", "fail")
    assert rig.executed == {"fail": 1}


@every_way
async def test_a_run_is_tried_again_over_what_it_has_kept(tmp_path: Path, way: str) -> None:
    rig = Rig(App("t"), tmp_path, way)
    tries: list[int] = []

    @rig.app.job(retries=Retries(3, delay="10ms", jitter=False))
    async def shaky() -> int:
        value = await step.run("once", number, 5)
        tries.append(1)
        if len(tries) < 3:
            raise ConnectionError("not yet")
        return value

    async with rig.work():
        assert await rig.result(shaky) == 5


@every_way
async def test_cancelled_error_of_something_else_is_a_failed_attempt(
    tmp_path: Path, way: str
) -> None:
    rig = Rig(App("t"), tmp_path, way)

    async def waits() -> None:
        other = asyncio.get_running_loop().create_future()
        other.cancel()
        await other

    @rig.app.job
    async def confused() -> str:
        try:
            await step.with_options(retries=0).run("waits", waits)
        except StepError as error:
            return error.failure.name
        return "nothing"

    async with rig.work():
        assert await rig.result(confused) == "CancelledError"
