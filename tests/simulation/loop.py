"""The event loop of one simulated process: callbacks in order, timers by virtual time, no I/O.

A process is its loop: a crash is a loop that is never run again, a stopped process (SIGSTOP) one
that is not run for a while. The world decides which loop runs next.
"""

import asyncio
import heapq
import itertools
from asyncio import events
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING, Any

from errands.sdk.abandon import abandon

if TYPE_CHECKING:
    from tests.simulation.process import Process
    from tests.simulation.world import World


class NumberedTask(asyncio.Task[Any]):
    """asyncio keeps tasks in sets; an address as a hash would make their order differ by chance."""

    number = 0

    def __hash__(self) -> int:
        return self.number


class NumberedFuture(asyncio.Future[Any]):
    number = 0

    def __hash__(self) -> int:
        return self.number


class VirtualLoop(asyncio.AbstractEventLoop):
    """As much of an event loop as asyncio's own tasks, futures and timeouts need."""

    def __init__(self, world: "World", process: "Process") -> None:
        self.world, self.process = world, process
        self.is_dead = self._is_buried = False
        self.blocked_until = 0.0
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._numbers = itertools.count(1)

    # -- what the world does -------------------------------------------------------------------

    @property
    def is_ready(self) -> bool:
        return bool(self._ready) and self.world.time >= self.blocked_until

    def next_at(self) -> float | None:
        """When it has something to do; None: never, by itself."""
        if self.blocked_until > self.world.time:
            return self.blocked_until
        timers = self._timers
        while timers and timers[0][2].cancelled():
            heapq.heappop(timers)
        return timers[0][0] if timers else None

    def ring(self) -> None:
        """Make ready what is due by now."""
        timers, now = self._timers, self.world.time
        while timers and timers[0][0] <= now:
            handle = heapq.heappop(timers)[2]
            if not handle.cancelled():
                self._ready.append(handle)

    def pass_once(self) -> None:
        """One pass: everything that is ready now, in order; no further after a crash or a stop."""
        events._set_running_loop(self)
        try:
            for _ in range(len(self._ready)):
                if self.is_dead or self.process.is_stopped or self.world.time < self.blocked_until:
                    break
                handle = self._ready.popleft()
                if not handle.cancelled():
                    handle._run()
        finally:
            events._set_running_loop(None)

    def kill(self) -> None:
        """Nothing of this process runs again. Nor is anything freed yet: that could run code."""
        self.is_dead = True

    def bury(self) -> None:
        """Nor do its `finally` blocks, when it is freed. Only where none of its code runs now."""
        abandon(asyncio.all_tasks(self), lambda task: task.get_loop() is self)
        self._is_buried = True
        self._ready.clear()
        self._timers.clear()

    # -- what asyncio asks for -----------------------------------------------------------------

    def call_soon(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        if not self._is_buried:
            self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_later(
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self.world.time + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        # Never early; a busy machine is late.
        when += self.world.lateness()
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        if not self._is_buried:
            heapq.heappush(self._timers, (when, next(self._numbers), handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None: ...

    def time(self) -> float:
        return self.world.time

    def create_future(self) -> asyncio.Future[Any]:
        future = NumberedFuture(loop=self)
        future.number = next(self._numbers)
        return future

    def create_task(
        self, coro: Any, *, name: str | None = None, context: Context | None = None, **_: Any
    ) -> asyncio.Task[Any]:
        task = NumberedTask(coro, loop=self, name=name, context=context)
        task.number = next(self._numbers)
        return task

    def run_in_executor(
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> "asyncio.Future[Any]":
        """A thread that is done after a while: at once, as seen from elsewhere in this process."""
        future = self.create_future()

        def run() -> None:
            if future.cancelled():
                return
            try:
                future.set_result(func(*args))
            except Exception as error:
                future.set_exception(error)

        self.call_later(self.world.random.choice((0.0, 0.001, 0.05)), run)
        return future

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return self.is_dead

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if not self.is_dead:
            error = context.get("exception")
            self.world.fault_found(f"{context.get('message')}: {error!r}", error)
