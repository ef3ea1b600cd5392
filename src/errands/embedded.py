"""errands inside the user's own process: a process of the store that knows and executes an App."""

from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from errands.clock import Alarms, Chance, Clock
from errands.engine.input import Registered
from errands.executors.process import Process
from errands.executors.ticket import Ticket
from errands.sdk import logs
from errands.sdk.app import App
from errands.sdk.backend import Backend
from errands.sdk.live import LiveCaller
from errands.settings import Settings, settings_from
from errands.store.interface import Store
from errands.store.open import open_store


def open_embedded(url: str, app: App) -> Backend:
    """The backend for a store's URL. No I/O yet."""
    return Embedded(lambda: open_store(url), app, settings_from())


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
        return self._worker(concurrency or self.settings.concurrency)

    @asynccontextmanager
    async def _worker(self, concurrency: int) -> AsyncGenerator["Embedded"]:
        await self.connect()
        self.say_concurrency(concurrency)
        functions = ThreadPoolExecutor(self.settings.threads, "errands-function")
        steps = ThreadPoolExecutor(self.settings.threads, "errands-step")
        caller = LiveCaller(self.app, functions, steps, self.settings.value_bytes)
        logs.capture()
        for middleware in self.app.middleware:
            await middleware.start()
        try:
            await self.register(is_complete=True)
            try:
                async with self.working(caller, concurrency, self._served):
                    yield self
            finally:
                self.say_that_it_stopped()
        finally:
            functions.shutdown(wait=False, cancel_futures=True)
            steps.shutdown(wait=False, cancel_futures=True)
            logs.release()
            for middleware in self.app.middleware:
                await middleware.stop()

    def _served(self) -> frozenset[int]:
        config = self.store.reader.config()
        slugs = self.app.definitions
        return frozenset(
            f.id
            for f in config.functions.values()
            if f.app == self.app.id and f.config.slug in slugs
        )
