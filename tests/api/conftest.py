"""The API over a real store: in the test's own loop, and as a server on a real socket."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn

from errands.api.app import make_api
from errands.api.keys import OPEN, Keys
from errands.embedded import Embedded
from errands.settings import Settings
from errands.store.open import open_store
from tests.api.shop import app

SECONDS = 20


def embedded(folder: Path, settings: Settings) -> Embedded:
    url = f"sqlite:///{folder / 'errands.db'}"
    return Embedded(lambda: open_store(url, is_durable=False), app, settings)


@pytest.fixture
def settings() -> Settings:
    return Settings(value_bytes=2_000)


@pytest.fixture
async def process(tmp_path: Path, settings: Settings) -> AsyncIterator[Embedded]:
    process = embedded(tmp_path, settings)
    await process.connect()
    yield process
    process.close()


@asynccontextmanager
async def client_of(
    process: Embedded, keys: Keys = OPEN, settings: Settings | None = None
) -> AsyncIterator[httpx2.AsyncClient]:
    made = make_api(process, keys, settings or process.settings)
    transport = httpx2.ASGITransport(app=made)
    async with httpx2.AsyncClient(transport=transport, base_url="http://errands") as client:
        yield client


@pytest.fixture
async def api(process: Embedded) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(process) as client:
        yield client


async def until(look: Callable[[], Any]) -> Any:
    """The first answer that is something."""
    async with asyncio.timeout(SECONDS):
        while True:
            if found := await look():
                return found
            await asyncio.sleep(0.01)


def problem(answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    """The problem document of this answer, which is one of these."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told: dict[str, Any] = answer.json()
    assert (told["status"], told["code"]) == (status, code), told
    assert told["title"]
    assert told["detail"]
    return told


class _Server(uvicorn.Server):
    """In a thread, so signals are not its own; says when it has started, and where."""

    def __init__(self, config: uvicorn.Config, told: Callable[["_Server", str], None]) -> None:
        super().__init__(config)
        self._told = told

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        port = self.servers[0].sockets[0].getsockname()[1]
        self._told(self, f"http://127.0.0.1:{port}")


@contextmanager
def serving(folder: Path, settings: Settings, keys: Keys = OPEN) -> Iterator[str]:
    """A server in a thread, with its worker; gives its URL."""
    started, found = threading.Event(), list[str]()
    stop: list[Callable[[], Any]] = []

    def told(server: _Server, url: str) -> None:
        found.append(url)
        stop.append(lambda: setattr(server, "should_exit", True))
        started.set()

    async def serve() -> None:
        process = embedded(folder, settings)
        try:
            async with process.worker(10):
                config = uvicorn.Config(
                    make_api(process, keys, settings),
                    port=0,
                    log_config=None,
                    access_log=False,
                    lifespan="off",
                    timeout_graceful_shutdown=1,
                )
                await _Server(config, told).serve()
        finally:
            process.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert started.wait(SECONDS)
        yield found[0]
    finally:
        for end in stop:
            end()
        thread.join(SECONDS)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("served"), Settings(value_bytes=20_000)) as found:
        yield found
