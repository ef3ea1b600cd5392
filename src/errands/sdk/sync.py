"""sync(call): anything that is awaited, from plain code, in the calling thread."""

import asyncio
import concurrent.futures
import contextvars
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any, TypeVar, overload

from errands.sdk.context import BRANCH, SESSION

T = TypeVar("T")


@overload
def sync(call: Coroutine[Any, Any, T], /) -> T: ...
@overload
def sync(call: AsyncIterator[T], /) -> Iterator[T]: ...
def sync(call: Any, /) -> Any:
    """Do it now, from plain (not async) code: `sync(app.send(…))`, `for s in sync(job.watch())`.

    Inside a plain function of a run its steps are executed by the run; elsewhere the calling thread
    blocks. Raises RuntimeError inside a running event loop: write `await` there.
    """
    if hasattr(call, "__anext__"):
        return _iterate(call)
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        call.close()
        raise RuntimeError("sync() inside a running event loop: write `await` instead.")
    if SESSION.get() is not None:
        return _on_the_loop(call)
    return _here(call)


def _iterate(iterator: Any) -> Iterator[Any]:
    while True:
        try:
            item = sync(iterator.__anext__())
        except StopAsyncIteration:
            return
        yield item


def _here(call: Coroutine[Any, Any, T]) -> T:
    # Outside a loop the backends block instead of suspending, so one send() does it all.
    try:
        call.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    call.close()
    raise RuntimeError("sync() can only do errands' own calls: this one waits for an event loop.")


def _on_the_loop(call: Coroutine[Any, Any, T]) -> T:
    """The run's loop does it; this thread waits."""
    session = SESSION.get()
    assert session is not None
    done: concurrent.futures.Future[T] = concurrent.futures.Future()
    if BRANCH.get() is None:
        # From now on this call of a thread (`asyncio.to_thread`) is one branch, as a task is.
        BRANCH.set(object())
    context = contextvars.copy_context()
    try:
        session.loop.call_soon_threadsafe(session.carry, call, context, done)
    except RuntimeError:
        call.close()
        raise
    return done.result()
