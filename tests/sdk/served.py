"""One store with a worker and a server, in a thread of their own; and the ways to reach it."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path

from errands import App
from errands.api.app import make_api
from errands.api.keys import OPEN, Keys
from errands.embedded import Embedded
from errands.executors.process import Process
from errands.listening import address, listen
from errands.model.event import NewEvent
from errands.model.job import NewJob
from errands.sdk.backend import Backend
from errands.sdk.client import Client
from errands.server import serve_http
from errands.settings import Settings
from errands.store.interface import Store
from errands.store.open import open_store

SECONDS = 30.0
KINDS = ("embedded", "store", "http")


class House:
    """A worker for `app`, and a server beside it that executes nothing."""

    def __init__(self, folder: Path, app: App, *, keys: Keys = OPEN, port: int = 0) -> None:
        self.app, self.keys, self.settings = app, keys, Settings(grace_ms=1_000)
        self.store_url = f"sqlite:///{folder / 'errands.db'}"
        self.worker = Embedded(self._open, app, self.settings)
        self.front = Front(self._open, "server", self.settings)
        self.url, self._port = "", port

    def _open(self) -> Store:
        return open_store(self.store_url, is_durable=False)

    def backend(self, kind: str, app: App, token: str = "") -> Backend:
        """A way in for `app`, whose functions the worker has too."""
        match kind:
            case "embedded":
                return self.worker
            case "store":
                return Embedded(self._open, app, self.settings)
            case _:
                return Client(self.url, app, token)

    @asynccontextmanager
    async def _serving(self) -> AsyncIterator[None]:
        await self.front.connect()
        try:
            async with self.worker.worker(20), http(self.front, self.keys, self._port) as self.url:
                yield
        finally:
            self.front.close()
            self.worker.close()

    @contextmanager
    def open(self) -> Iterator["House"]:
        with in_a_thread(self._serving):
            yield self


class Front(Process):
    """A server's process of the store, which counts."""

    asked = 0
    """How often something was sent."""

    async def send(self, items: Sequence[NewEvent | NewJob]) -> list[str]:
        self.asked += 1
        return await super().send(items)


@asynccontextmanager
async def http(process: Process, keys: Keys = OPEN, port: int = 0) -> AsyncIterator[str]:
    """A server in this loop; gives its URL."""
    told, hurry = asyncio.Event(), asyncio.Event()
    with listen("127.0.0.1", port) as listener:
        api = make_api(process, keys, process.settings)
        serving = asyncio.ensure_future(serve_http(api, listener, process.settings, told, hurry))
        try:
            yield address(listener)
        finally:
            told.set()
            await serving


@contextmanager
def in_a_thread(opened: Callable[[], AbstractAsyncContextManager[object]]) -> Iterator[None]:
    """An async context manager, entered in the loop of another thread."""
    started, may_stop = threading.Event(), threading.Event()
    failed: list[BaseException] = []

    async def run() -> None:
        async with opened():
            started.set()
            await asyncio.to_thread(may_stop.wait)

    def run_in_loop() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:
            failed.append(error)
        finally:
            started.set()

    thread = threading.Thread(target=run_in_loop)
    thread.start()
    try:
        assert started.wait(SECONDS)
        yield
    finally:
        may_stop.set()
        thread.join(SECONDS)
        assert not thread.is_alive()
        if failed:
            raise failed[0]
