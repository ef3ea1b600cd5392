"""How the functions of a run and its steps are called: in threads, with middleware, in time."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, TypeAlias

from errands.sdk.context import current_run
from errands.sdk.definition import Definition
from errands.sdk.middleware import Middleware
from errands.sdk.session import Session
from errands.sdk.threads import in_thread, is_async

if TYPE_CHECKING:
    from errands.telemetry.running import Running

Call: TypeAlias = Callable[[], Awaitable[Any]]
ExecuteStep: TypeAlias = Callable[[Session, str, int, Call], Awaitable[Any]]
"""In place of calling a step's function: (session, key, attempt, the call)."""


class Calls:
    """The calls of one session."""

    def __init__(
        self,
        session: Session,
        definition: Definition,
        functions: Executor,
        steps: Executor,
        execute_step: ExecuteStep | None,
        running: "Running | None",
    ) -> None:
        """running: the run's span, if there is tracing."""
        self._session, self._definition = session, definition
        self._functions, self._steps, self._execute_step = functions, steps, execute_step
        self._running = running
        self.is_plain = not definition.middleware and execute_step is None and running is None
        """Nothing stands around a step."""

    def handler(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], thread: object
    ) -> Awaitable[Any]:
        """Call the function itself. thread: the branch of a plain function."""
        handler = self._definition.handler
        if self._definition.is_async:
            call: Call = lambda: handler(*args, **kwargs)  # noqa: E731
        else:
            call = lambda: in_thread(self._functions, handler, args, kwargs, thread)  # noqa: E731
        for one in reversed(self._definition.middleware):
            if type(one).on_run is not Middleware.on_run:
                call = _around(one.on_run, call)
        return call()

    def step(
        self,
        key: str,
        attempt: int,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        timeout_ms: int | None,
    ) -> Awaitable[Any]:
        """Call a step's function."""

        def inner() -> Awaitable[Any]:
            if is_async(function):
                return function(*args, **kwargs)
            return in_thread(self._steps, function, args, kwargs)

        call: Call = inner
        if (execute := self._execute_step) is not None:
            call = lambda: execute(self._session, key, attempt, inner)  # noqa: E731
        for one in reversed(self._definition.middleware):
            if type(one).on_step is not Middleware.on_step:
                call = _around(one.on_step, call)
        if timeout_ms is not None:
            call = _timed(key, call, timeout_ms / 1000)
        return call() if self._running is None else self._running.step(key, attempt, call)


def _timed(key: str, call: Call, seconds: float) -> Call:
    return lambda: _in_time(key, call, seconds)


async def _in_time(key: str, call: Call, seconds: float) -> Any:
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await call()
    except TimeoutError as error:
        if limit.expired():
            raise TimeoutError(f"Step {key!r} took longer than {seconds:g} s") from error
        raise


def _around(door: Callable[..., Awaitable[Any]], inner: Call) -> Call:
    async def outer() -> Any:
        return await door(current_run(), inner)

    return outer
