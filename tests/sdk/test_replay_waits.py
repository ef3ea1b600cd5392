"""Code around a wait does the same, whether it is kept, dropped and replayed, or killed."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest

from errands import App, Event, step
from errands.model import call
from tests.sdk.rig import Rig

every_way = pytest.mark.parametrize("way", ["straight", "evicted", "crashed"])


class Paid(Event, name="paid"):
    order: str


async def say(what: str) -> str:
    return what


@every_way
async def test_finally_runs_once_and_its_steps_too(tmp_path: Path, way: str) -> None:
    rig = Rig(App("t"), tmp_path, way)
    ran: list[str] = []

    @rig.app.job
    async def hold() -> str:
        try:
            rig.saw(await step.run("before", say, "before"))
            await step.sleep("nap", "10ms")
            return "done"
        finally:
            ran.append("finally")
            rig.saw(await step.run("cleanup", say, "cleanup"))

    async with rig.work():
        assert await rig.result(hold) == "done"

    assert rig.trace == ["before", "cleanup"]
    # A crash after `cleanup` was kept replays the end of the function.
    assert len(ran) == (1 if way != "crashed" else 2)


@every_way
async def test_handlers_around_a_wait_are_not_run_by_letting_go(tmp_path: Path, way: str) -> None:
    rig = Rig(App("t"), tmp_path, way)

    @rig.app.job
    async def careful() -> str:
        try:
            try:
                await step.sleep("a", "10ms")
                await step.sleep("b", "10ms")
            except asyncio.CancelledError:
                rig.saw("cancelled")
                raise
        except BaseException as error:
            rig.saw(type(error).__name__)
            raise
        return "done"

    async with rig.work():
        assert await rig.result(careful) == "done"

    assert [trace for _, trace in rig.traces] == []


class Manager:
    def __init__(self, told: list[str]) -> None:
        self.told = told

    async def __aenter__(self) -> None:
        self.told.append("in")

    async def __aexit__(self, *error: object) -> None:
        self.told.append("out")


@contextlib.contextmanager
def plain_manager(told: list[str]) -> Generator[None]:
    try:
        yield
    finally:
        told.append("plain out")


@contextlib.asynccontextmanager
async def async_manager(told: list[str]) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        told.append("async out")


def numbers(told: list[str]) -> Generator[int]:
    try:
        yield 1
        yield 2
    finally:
        told.append("numbers out")


async def async_numbers(told: list[str]) -> AsyncGenerator[int]:
    try:
        yield 1
        yield 2
    finally:
        told.append("async numbers out")


@every_way
async def test_managers_and_generators_around_a_wait_are_left_once(
    tmp_path: Path, way: str
) -> None:
    rig = Rig(App("t"), tmp_path, way)
    told: list[str] = []

    @rig.app.job
    async def nested() -> int:
        total = 0
        async with Manager(told), async_manager(told), contextlib.AsyncExitStack() as stack:
            stack.enter_context(plain_manager(told))
            async for a in async_numbers(told):
                for b in numbers(told):
                    await step.sleep(f"nap-{a}-{b}", "5ms")
                    total += a * b
        return total

    async with rig.work():
        assert await rig.result(nested) == 9

    # Entered once an execution; left once, at the end. The loops are left once an outer turn.
    outs = [each for each in told if each in ("out", "async out", "plain out")]
    assert outs == ["plain out", "async out", "out"]
    assert told.count("async numbers out") == 1


async def waiting_numbers() -> AsyncGenerator[int]:
    for n in range(3):
        await step.sleep(f"in-{n}", "5ms")
        yield n


@every_way
async def test_a_wait_inside_an_async_generator(tmp_path: Path, way: str) -> None:
    rig = Rig(App("t"), tmp_path, way)

    @rig.app.job
    async def collect() -> list[int]:
        return [n async for n in waiting_numbers()]

    async with rig.work():
        assert await rig.result(collect) == [0, 1, 2]


@every_way
async def test_waits_in_a_group_and_in_gathers_that_swallow(tmp_path: Path, way: str) -> None:
    rig = Rig(App("t"), tmp_path, way)

    @rig.app.job
    async def both() -> list[str]:
        async def nap(id: str) -> str:
            try:
                await step.sleep(id, "10ms")
            except BaseException as error:
                rig.saw(type(error).__name__)
                raise
            return id

        gathered = await asyncio.gather(nap("a"), nap("b"), return_exceptions=True)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(nap("c")), group.create_task(nap("d"))]
        return [str(each) for each in (*gathered, *(task.result() for task in tasks))]

    async with rig.work():
        assert await rig.result(both) == ["a", "b", "c", "d"]

    assert [trace for _, trace in rig.traces] == []


@every_way
async def test_a_timeout_around_a_wait_that_is_in_time(tmp_path: Path, way: str) -> None:
    rig = Rig(App("t"), tmp_path, way)

    @rig.app.job
    async def in_time() -> str:
        async with asyncio.timeout(60):
            await step.sleep("nap", "10ms")
        return await step.run("after", say, "after")

    async with rig.work():
        assert await rig.result(in_time) == "after"


@pytest.mark.parametrize("way", ["straight", "crashed"])
async def test_a_wait_that_the_code_gave_up_stays_given_up(tmp_path: Path, way: str) -> None:
    rig = Rig(App("t"), tmp_path, way)
    # The timeout is this process's own: until it has been acted on, nobody else knows of it.
    rig.dies_after = (call.StepReturned,)

    @rig.app.job
    async def give_up() -> str:
        try:
            async with asyncio.timeout(0.02):
                await step.sleep("nap", "60ms")
            rig.saw("slept")
        except TimeoutError:
            rig.saw("gave up")
        await step.sleep("longer", "100ms")
        return await step.run("after", say, "after")

    async with rig.work():
        assert await rig.result(give_up) == "after"

    assert rig.trace == ["gave up"]


@every_way
async def test_an_event_races_a_step(tmp_path: Path, way: str) -> None:
    rig = Rig(App("t"), tmp_path, way)

    async def pay() -> str:
        await rig.send([rig.app.new_event(Paid(order="o1"))])
        return "sent"

    async def slow() -> str:
        await asyncio.sleep(0.05)
        return "slow"

    @rig.app.job
    async def race() -> list[str]:
        order: list[str] = []

        async def paid() -> None:
            event = await step.wait_for_event("paid", Paid, timeout="1h")
            order.append("nobody paid" if event is None else event.order)

        async def work() -> None:
            order.append(await step.run("pay", pay))
            order.append(await step.run("slow", slow))

        async with asyncio.TaskGroup() as group:
            group.create_task(paid())
            group.create_task(work())
        await step.sleep("nap", "10ms")
        rig.saw(order)
        return order

    async with rig.work():
        result = await rig.result(race)

    assert sorted(result) == ["o1", "sent", "slow"]
    assert rig.trace == [result]
    assert way == "crashed" or result[2] == "slow"


@every_way
async def test_an_event_that_does_not_come(tmp_path: Path, way: str) -> None:
    rig = Rig(App("t"), tmp_path, way)

    @rig.app.job
    async def wait() -> bool:
        return await step.wait_for_event("paid", Paid, timeout="10ms") is None

    async with rig.work():
        assert await rig.result(wait) is True


@every_way
async def test_invoked_jobs_give_their_result_or_their_error(tmp_path: Path, way: str) -> None:
    from errands import StepError

    rig = Rig(App("t"), tmp_path, way)

    @rig.app.job(retries=0)
    async def child(n: int) -> int:
        if n < 0:
            raise LookupError("below zero")
        return await step.run(f"double-{n}", double, n)

    async def double(n: int) -> int:
        return 2 * n

    @rig.app.job
    async def parent() -> list[int]:
        try:
            await step.invoke("bad", child, -1)
        except StepError as error:
            rig.saw((error.was(LookupError), error.was(ValueError), str(error)))
        return list(await asyncio.gather(*(step.invoke(f"c{n}", child, n) for n in range(3))))

    async with rig.work():
        assert await rig.result(parent) == [0, 2, 4]

    assert rig.trace == [(True, False, "Step 'bad' failed: LookupError: below zero")]


@every_way
async def test_events_are_sent_once(tmp_path: Path, way: str) -> None:
    rig = Rig(App("t"), tmp_path, way)

    @rig.app.job
    async def noted(n: int) -> int:
        return n

    @rig.app.job
    async def sends() -> list[str]:
        ids = await step.send_event("paid", [Paid(order="a"), Paid(order="b")])
        await step.sleep("nap", "10ms")
        job = await step.enqueue("note", noted, 1)
        rig.saw((ids, job.id))
        return [*ids, job.id]

    async with rig.work():
        assert rig.trace == []
        result = await rig.result(sends)
        assert len(set(result)) == 3
        assert rig.store.reader.counts()["event"] == 2
        assert rig.store.reader.counts()["run"] == 2


@every_way
async def test_results_kept_at_waits_only(tmp_path: Path, way: str) -> None:
    rig = Rig(App("t"), tmp_path, way)

    @rig.app.job(durability="run")
    async def lazy() -> list[str]:
        out = [await step.run(f"s{n}", say, str(n)) for n in range(3)]
        await step.sleep("nap", "10ms")
        out += await asyncio.gather(*(step.run(f"p{n}", say, str(n)) for n in range(3)))
        rig.saw(list(out))
        return out

    async with rig.work():
        assert await rig.result(lazy) == ["0", "1", "2", "0", "1", "2"]

    assert rig.trace == [["0", "1", "2", "0", "1", "2"]]
