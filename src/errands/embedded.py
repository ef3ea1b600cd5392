"""errands inside the user's own process: a process of the store that knows and executes an App."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

from errands.clock import Alarms, Chance, Clock
from errands.engine.input import Registered
from errands.executors.process import Process
from errands.executors.ticket import Ticket
from errands.sdk import logs
from errands.sdk.app import App
from errands.sdk.backend import Backend
from errands.sdk.live import LiveCaller
from errands.settings import Settings, settings_here
from errands.store.interface import Store
from errands.store.open import open_store


def open_backend_for(url: str, app: App) -> Backend:
    """The backend for a store's URL. No I/O yet."""
    return Embedded(lambda: open_store(url), app, settings_here())


class Embedded(Process):
    """See `sdk.backend.Backend`."""

    def __init__(
        self,
        opener: Callable[[], Store],
        app: App,
        settings: Settings,
        *,
        clock: Clock | None = None,
        alarms: Alarms | None = None,
        chance: Chance | None = None,
    ) -> None:
        super().__init__(opener, app.id, settings, clock=clock, alarms=alarms, chance=chance)
        self.app = app

    def introduce(self) -> Ticket[Any] | None:
        """So an event finds the functions of this app."""
        return self._registered(is_complete=False)

    async def register(self, *, is_complete: bool) -> None:
        await self._registered(is_complete=is_complete)

    def _registered(self, *, is_complete: bool) -> Ticket[Any]:
        """Queued at once; settled when the app's functions are known to all."""
        return self.committer.submit(Registered(self.app.config(), is_complete))

    # -- worker --------------------------------------------------------------------------------

    def worker(self, concurrency: int | None) -> AbstractAsyncContextManager[object]:
        return self._execute(concurrency or self.settings.concurrency)

    @asynccontextmanager
    async def _execute(self, concurrency: int) -> AsyncGenerator["Embedded"]:
        await self.connect()
        async with AsyncExitStack() as stack:
            # What has been started is stopped, the last first, also when the next cannot start.
            caller = LiveCaller(
                self.app,
                self._threads("errands-function", stack),
                self._threads("errands-step", stack),
                self.settings.value_bytes,
            )
            logs.capture()
            stack.callback(logs.release)
            for middleware in self.app.middleware:
                await middleware.start()
                stack.push_async_callback(middleware.stop)
            await asyncio.to_thread(self.say_concurrency, concurrency)
            stack.push_async_callback(asyncio.to_thread, self.say_that_it_stopped)
            await self.register(is_complete=True)
            async with self.working(caller, concurrency, self._served):
                yield self

    def _threads(self, name: str, stack: AsyncExitStack) -> ThreadPoolExecutor:
        pool = ThreadPoolExecutor(self.settings.threads, name)
        stack.callback(pool.shutdown, wait=False, cancel_futures=True)
        return pool

    def _served(self) -> frozenset[int]:
        config = self.store.reader.config()
        slugs = self.app.definitions
        return frozenset(
            f.id
            for f in config.functions.values()
            if f.app == self.app.id and f.config.slug in slugs
        )
