"""Suspended code is let go without running any of it."""

import asyncio
import contextlib
import gc
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import Any

import pytest

from errands.sdk.abandon import abandon, can_abandon, can_be_abandoned

pytestmark = pytest.mark.skipif(not can_abandon, reason="this Python closes what it frees")
Code = Callable[[list[str], "asyncio.Future[None]"], Awaitable[Any]]


async def plain(told: list[str], future: "asyncio.Future[None]") -> None:
    try:
        await future
    except BaseException as error:
        told.append(type(error).__name__)
        raise
    finally:
        told.append("finally")


async def nested(told: list[str], future: "asyncio.Future[None]") -> None:
    try:
        await plain(told, future)
    finally:
        told.append("outer finally")


async def in_group(told: list[str], future: "asyncio.Future[None]") -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(nested(told, future))
        group.create_task(plain(told, future))


async def in_gathers(told: list[str], future: "asyncio.Future[None]") -> None:
    async def deep(level: int) -> None:
        try:
            await (asyncio.gather(deep(level - 1)) if level else plain(told, future))
        finally:
            told.append(f"level {level}")

    await asyncio.gather(deep(3), deep(2), return_exceptions=True)


async def in_wait(told: list[str], future: "asyncio.Future[None]") -> None:
    tasks = [asyncio.create_task(plain(told, future)) for _ in range(2)]
    await asyncio.wait(tasks)


async def in_timeout(told: list[str], future: "asyncio.Future[None]") -> None:
    async with asyncio.timeout(60):
        await plain(told, future)


async def in_wait_for(told: list[str], future: "asyncio.Future[None]") -> None:
    await asyncio.wait_for(plain(told, future), 60)


async def generator(told: list[str], future: "asyncio.Future[None]") -> AsyncGenerator[int]:
    try:
        await future
        yield 1
    finally:
        told.append("generator")


async def in_generator(told: list[str], future: "asyncio.Future[None]") -> None:
    async for n in generator(told, future):
        told.append(f"item {n}")  # noqa: PERF401


@contextlib.contextmanager
def manager(told: list[str]) -> Generator[None]:
    try:
        yield
    finally:
        told.append("manager")


@contextlib.asynccontextmanager
async def async_manager(told: list[str]) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        told.append("async manager")


async def in_managers(told: list[str], future: "asyncio.Future[None]") -> None:
    with manager(told):
        async with async_manager(told), contextlib.AsyncExitStack() as stack:
            stack.enter_context(manager(told))
            await stack.enter_async_context(async_manager(told))
            await plain(told, future)


def loop(told: list[str]) -> Generator[int]:
    try:
        yield 1
    finally:
        told.append("loop")


async def in_loop(told: list[str], future: "asyncio.Future[None]") -> None:
    for _ in loop(told):
        await future


class Awaited:
    def __init__(self, told: list[str], future: "asyncio.Future[None]") -> None:
        self.told, self.future = told, future

    def __await__(self) -> Generator[Any]:
        try:
            yield from self.future
        finally:
            self.told.append("awaited")


async def in_awaitable(told: list[str], future: "asyncio.Future[None]") -> None:
    await Awaited(told, future)


CODES: list[Code] = [
    plain,
    nested,
    in_group,
    in_gathers,
    in_wait,
    in_timeout,
    in_wait_for,
    in_generator,
    in_managers,
    in_loop,
    in_awaitable,
]


async def quiet() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.mark.parametrize("code", CODES, ids=lambda code: code.__name__)
async def test_freeing_runs_nothing(code: Code) -> None:
    told: list[str] = []
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    mine = asyncio.all_tasks()
    main = asyncio.create_task(code(told, future))  # type: ignore[arg-type]
    await quiet()
    assert can_be_abandoned([main], lambda task: True)
    gone = weakref.ref(main)

    abandon([main], lambda task: True)
    del main
    gc.collect()
    await quiet()

    assert told == []
    assert gone() is None
    assert asyncio.all_tasks() == mine


@pytest.mark.parametrize("code", CODES, ids=lambda code: code.__name__)
async def test_what_it_waited_for_does_not_wake_it(code: Code) -> None:
    told: list[str] = []
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    main = asyncio.create_task(code(told, future))  # type: ignore[arg-type]
    await quiet()

    abandon([main], lambda task: True)
    future.set_result(None)
    await quiet()

    assert told == []


async def test_tasks_of_others_are_left_alone() -> None:
    told: list[str] = []
    loop = asyncio.get_running_loop()
    shared: asyncio.Future[None] = loop.create_future()
    ours = asyncio.create_task(plain([], shared))
    theirs = asyncio.create_task(plain(told, shared))
    await quiet()

    abandon([ours], lambda task: False)
    shared.set_result(None)
    await theirs

    assert told == ["finally"]


async def test_code_that_runs_on_is_not_quiet() -> None:
    async def busy() -> None:
        while True:  # noqa: ASYNC110
            await asyncio.sleep(0)

    task = asyncio.create_task(busy())
    await quiet()

    assert not can_be_abandoned([task], lambda task: True)
    task.cancel()


class Foreign:
    """An iterator that is no generator, as extensions have them: it cannot be marked."""

    def __init__(self, future: "asyncio.Future[None]") -> None:
        self.inner = future.__await__()

    def __await__(self) -> "Foreign":
        return self

    def __iter__(self) -> "Foreign":
        return self

    def __next__(self) -> Any:
        return next(self.inner)


async def test_a_chain_with_something_foreign_in_it_stays() -> None:
    told: list[str] = []
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def foreign() -> None:
        try:
            await Foreign(future)  # type: ignore[misc]
        finally:
            told.append("finally")

    task = asyncio.create_task(foreign())
    await quiet()
    assert not can_be_abandoned([task], lambda task: True)

    # It has to go all the same: then it is kept, and stands there for good.
    abandon([task], lambda task: True)
    del task
    gc.collect()
    future.set_result(None)
    await quiet()

    assert told == []
