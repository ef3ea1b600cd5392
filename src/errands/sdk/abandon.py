"""Letting go of suspended code without running any of it.

When CPython frees a suspended coroutine or generator it closes it: `finally` and `except` blocks of
the user run, though the run is not over but only evicted, and will be replayed. So everything that
a task has suspended is marked as finalized already, which makes freeing it drop its frame and
nothing else. The mark is a bit in the object's GC header; `gc.is_finalized` shows whether it took.
Where it does not (other builds of Python), or where something foreign stands in the chain, the run
is not evicted; and if it has to be let go all the same, its tasks are kept, suspended, for good.

See docs/decisions/0006-abandon-without-closing.md.
"""

import asyncio
import ctypes
import functools
import gc
import sys
from collections import deque
from collections.abc import AsyncGenerator, Callable, Generator, Iterable
from types import (
    AsyncGeneratorType,
    BuiltinMethodType,
    CellType,
    CoroutineType,
    FunctionType,
    GeneratorType,
    MethodType,
)
from typing import Any, Final, TypeAlias, cast

Task: TypeAlias = "asyncio.Task[Any]"

_FINALIZED = 1
_HEADER_BACK = ctypes.sizeof(ctypes.c_size_t)
_PARTS_OF: Final[dict[type, tuple[str, str, str]]] = {
    CoroutineType: ("cr_frame", "cr_running", "cr_await"),
    GeneratorType: ("gi_frame", "gi_running", "gi_yieldfrom"),
    AsyncGeneratorType: ("ag_frame", "ag_running", "ag_await"),
}
"""What can be suspended: where it keeps its frame, whether it runs, and what it awaits."""
# What stands between a coroutine and the generator that it awaits; their types have no public name.
_BETWEEN = frozenset(
    ("async_generator_asend", "async_generator_athrow", "anext_awaitable", "coroutine_wrapper")
)
# Whose objects hold suspended code, or tasks, for a frame: `with`, TaskGroup, timeout.
_HOLDERS = frozenset(("contextlib", "asyncio.taskgroups", "asyncio.timeouts"))
_CONTAINERS = (list, tuple, set, frozenset)
_kept: list[Task] = []
"""Tasks that cannot be let go in silence."""


def abandon(tasks: Iterable[Task], is_ours: Callable[[Task], bool]) -> None:
    """Nothing will resume these tasks, nor those they wait for: let them be freed in silence.

    is_ours: of those, which belong to the same run. None of them may be the one that runs now.
    """
    found = _reach(tasks, is_ours)
    for each in found.suspended:
        _mark(each)
    for timeout in found.timeouts:
        # Its alarm would keep the task until it rings.
        timeout.reschedule(None)
    for task in found.tasks:
        _detach(task)
        if not (can_abandon and _is_understood(task)):
            _kept.append(task)


def abandon_later(task: Task) -> None:
    """The same, for one that has come to stand where it will not be answered."""
    if not task.done():
        abandon((task,), lambda other: other is task)


def can_be_abandoned(tasks: Iterable[Task], is_ours: Callable[[Task], bool]) -> bool:
    """Do they all stand at a future, with nothing in between that would run when it is freed?"""
    return can_abandon and all(_is_quiet(task) for task in _reach(tasks, is_ours).tasks)


# -- what a task holds suspended -------------------------------------------------------------------


class _Reached:
    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self.suspended: list[Any] = []
        self.timeouts: list[asyncio.Timeout] = []


def _reach(tasks: Iterable[Task], is_ours: Callable[[Task], bool]) -> _Reached:
    """Everything suspended that hangs together with these tasks, and nothing of anybody else.

    Followed are the chains of awaits, what frames hold (a loop over a generator, a `with`), and the
    callbacks by which tasks wait for each other. Other objects are not looked into.
    """
    reached = _Reached()
    seen: dict[int, Any] = {}
    todo: list[Any] = [task for task in tasks if not task.done()]
    roots = {id(task) for task in todo}
    while todo:
        it = todo.pop()
        if id(it) in seen:
            continue
        seen[id(it)] = it
        if isinstance(it, asyncio.Task):
            task = cast("Task", it)
            if task.done() or not (id(task) in roots or is_ours(task)):
                continue
            reached.tasks.append(task)
        elif type(it) in _PARTS_OF:
            if not _is_suspended(it):
                continue
            reached.suspended.append(it)
        elif isinstance(it, asyncio.Timeout) and it.when() is not None and not it.expired():
            reached.timeouts.append(it)
        todo += _parts(it)
    return reached


def _parts(it: Any) -> Iterable[Any]:
    kind = cast("type[Any]", type(it))
    if asyncio.isfuture(it):
        # A gather's children are in a list of its own.
        return [*gc.get_referents(it), *getattr(it, "_children", ())]
    if kind in _PARTS_OF or kind.__name__ in _BETWEEN:
        return gc.get_referents(it)
    if kind is deque:
        return list(it)
    if kind in _CONTAINERS:
        return [each for each in it if type(each) not in _CONTAINERS and type(each) is not dict]
    if kind is dict:
        return [each for each in it.values() if type(each) not in _CONTAINERS]
    if kind is MethodType or kind is BuiltinMethodType:
        return (it.__self__,)
    if kind.__module__ in _HOLDERS:
        return [*gc.get_referents(it), *getattr(it, "__dict__", {}).values()]
    if kind is CellType or kind is functools.partial:
        return gc.get_referents(it)
    if kind is FunctionType and it.__module__.partition(".")[0] in ("asyncio", "contextlib"):
        return it.__closure__ or ()
    return ()


def _is_suspended(it: Any) -> bool:
    frame, running, _ = _PARTS_OF[type(it)]
    return getattr(it, frame) is not None and not getattr(it, running)


# -- tasks -----------------------------------------------------------------------------------------


def _waiter(task: Any) -> Any:
    return task._fut_waiter


def _is_quiet(task: Task) -> bool:
    waiter = _waiter(task)
    return waiter is not None and not waiter.done() and _is_understood(task)


def _is_understood(task: Task) -> bool:
    """Can every link of its chain of awaits be marked?"""
    inner: Any = task.get_coro()
    while True:
        kind = cast("type[Any]", type(inner))
        if kind in _PARTS_OF:
            inner = getattr(inner, _PARTS_OF[kind][2])
        elif kind.__name__ in _BETWEEN:
            inner = next(each for each in gc.get_referents(inner) if type(each) in _PARTS_OF)
        else:
            # The end: a future, or the bare `yield` of one that is written in Python.
            return inner is None or asyncio.isfuture(inner) or kind.__name__ == "FutureIter"


def _detach(task: Any) -> None:
    """What it waits for does not wake it any more."""
    waiter = _waiter(task)
    callbacks: list[Any] = list(getattr(waiter, "_callbacks", None) or ())
    for callback, _ in callbacks:
        if getattr(callback, "__self__", None) is task:
            waiter.remove_done_callback(callback)
    # asyncio would report a pending task that is freed; this one is meant to be. And a loop that is
    # closed cancels all of its tasks, and waits for them.
    task._log_destroy_pending = False
    asyncio._unregister_task(task)


def context_of(task: Any) -> Any:
    """The context that the task runs in; None where it does not show."""
    if sys.version_info >= (3, 12):
        return task.get_context()
    return next((it for it in gc.get_referents(task) if type(it).__name__ == "Context"), None)


# -- the mark --------------------------------------------------------------------------------------


def _mark(suspended: object) -> bool:
    ctypes.c_size_t.from_address(id(suspended) - _HEADER_BACK).value |= _FINALIZED
    return gc.is_finalized(suspended)


class _Pause:
    def __await__(self) -> Generator[None]:
        yield


async def _wait(told: list[str]) -> None:
    try:
        await _Pause()
    finally:
        told.append("closed")


async def _generate(told: list[str]) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        told.append("closed")


def _works() -> bool:
    """Try it on code of our own."""
    has_gil: Callable[[], bool] = getattr(sys, "_is_gil_enabled", lambda: True)
    if sys.implementation.name != "cpython" or not has_gil():
        return False
    told: list[str] = []
    coroutine, generator = _wait(told), _generate(told)
    coroutine.send(None)
    try:
        generator.asend(None).send(None)
    except StopIteration:
        pass
    marked = _mark(coroutine) and _mark(generator)
    del coroutine, generator
    return marked and not told


can_abandon: Final = _works()
"""Whether this Python lets code be freed in silence."""
