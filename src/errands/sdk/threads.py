"""Plain functions: called in threads, beside the loop."""

import asyncio
import contextvars
import inspect
from collections.abc import Callable
from concurrent.futures import Executor
from types import CodeType
from typing import Any

from errands.sdk.context import BRANCH


class Suspend(BaseException):
    """A plain function cannot wait in its thread: it ends here, and is replayed later."""


def is_async(function: Any) -> bool:
    """Does calling it give a coroutine?"""
    code = getattr(function, "__code__", None)
    if type(code) is CodeType and code.co_flags & inspect.CO_COROUTINE:
        return True
    return inspect.iscoroutinefunction(function)


async def in_thread(
    pool: Executor,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    branch: object = None,
) -> Any:
    """Call it in the pool, within the caller's context; what it returns is awaited if it can be.

    branch: whose steps it asks for, by `sync`; default: a branch of its own.
    """
    context = contextvars.copy_context()
    context.run(BRANCH.set, branch if branch is not None else object())

    def call() -> Any:
        try:
            return context.run(function, *args, **kwargs)
        except StopIteration as error:
            # A future cannot carry it: whoever awaits would wait for ever.
            raise RuntimeError(f"{function!r} raised StopIteration") from error

    answer = asyncio.get_running_loop().run_in_executor(pool, call)
    answer.add_done_callback(_retrieved)
    result = await answer
    return await result if inspect.isawaitable(result) else result


def _retrieved(answer: "asyncio.Future[Any]") -> None:
    """Its run may have been let go, and nobody waits for what the thread still says."""
    if not answer.cancelled():
        answer.exception()
