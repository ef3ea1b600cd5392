"""Letting go of a suspended coroutine without running any of its code.

When CPython frees a suspended coroutine it closes it: `finally` and `except BaseException` blocks of
the user run, though the run is not over but only evicted, and will be replayed. So each coroutine of
the chain is marked as finalized already, which makes freeing it drop its frame and nothing else. The
mark is a bit in the object's GC header; `gc.is_finalized` shows whether it took, and where it does
not (other builds of Python) `can_abandon` is False and parked coroutines stay until they go on.
"""

import asyncio
import ctypes
import gc
import sys
from collections.abc import Coroutine, Iterator
from types import CoroutineType
from typing import Any

_FINALIZED = 1
_HEADER_BACK = ctypes.sizeof(ctypes.c_size_t)


def _mark(coroutine: object) -> bool:
    ctypes.c_size_t.from_address(id(coroutine) - _HEADER_BACK).value |= _FINALIZED
    return gc.is_finalized(coroutine)


def _chain(coroutine: Coroutine[Any, Any, Any] | None) -> Iterator[Any]:
    """The coroutine, the one it awaits, and so on. Ends at a future."""
    inner: Any = coroutine
    while isinstance(inner, CoroutineType):
        yield inner
        inner = inner.cr_await


def abandon(task: "asyncio.Task[Any]") -> None:
    """Nothing will resume this task: let it be freed in silence."""
    for coroutine in _chain(task.get_coro()):
        _mark(coroutine)
    # asyncio would report a pending task that is freed; this one is meant to be.
    task._log_destroy_pending = False  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue]


def is_understood(task: "asyncio.Task[Any]") -> bool:
    """Does the chain end at a future? An async generator in between cannot be marked."""
    inner: Any = task.get_coro()
    while isinstance(inner, CoroutineType):
        inner = inner.cr_await
    return (
        (inner is not None
        and hasattr(inner, "_asyncio_future_blocking"))
        or _is_future_iterator(inner)
    )


def _is_future_iterator(awaited: object) -> bool:
    return type(awaited).__name__ == "FutureIter"


def _works() -> bool:
    if (
        sys.implementation.name != "cpython"
        or getattr(sys, "_is_gil_enabled", lambda: True)() is False
    ):
        return False
    told: list[str] = []

    class Pause:
        def __await__(self) -> Iterator[None]:
            yield

    async def inner() -> None:
        try:
            await Pause()
        finally:
            told.append("closed")

    async def outer() -> None:
        try:
            await inner()
        finally:
            told.append("closed")

    coroutine = outer()
    coroutine.send(None)
    marked = all([_mark(each) for each in _chain(coroutine)])
    del coroutine
    return marked and not told


can_abandon = _works()
