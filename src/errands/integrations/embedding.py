"""errands inside a web app's own process: server, worker and store, through its lifespan.

The store is open before the web app's own startup, so that it may send; the worker starts after it
and stops before what the functions use is taken down.
"""

import asyncio
import hashlib
import logging
import os
import signal
import threading
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from types import FrameType
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from errands.api.app import make_api
from errands.api.draining import Draining
from errands.api.keys import OPEN, Keys
from errands.api.problems import Refusal, answer
from errands.embedded import Embedded
from errands.model.duration import Duration, parse_duration
from errands.model.errors import InvalidConfig
from errands.sdk.app import App
from errands.sdk.backend import DEFAULT_URL
from errands.settings import Settings, settings_here
from errands.store.open import check_folder, open_store

log = logging.getLogger("errands.embedding")


def embed(app: App, web_app: Starlette, path: str) -> "Embedding":
    """Put all of errands into a Starlette or FastAPI app; see `App.embed`. Raises InvalidConfig."""
    if not path.startswith("/") or path.endswith("/"):
        raise InvalidConfig(f"embed: path={path!r} cannot be.", hint='Write it like "/errands".')
    embedding = Embedding(app)
    # First, because a mount at "/" or a route with a path parameter would take it all.
    web_app.router.routes.insert(0, Mount(path, embedding, name=f"errands-{app.id}"))
    own = web_app.router.lifespan_context

    @asynccontextmanager
    async def with_errands(running: Any) -> AsyncGenerator[Any]:
        async with embedding.open(), own(running) as state, embedding.work():
            yield state

    web_app.router.lifespan_context = with_errands
    return embedding


class Embedding:
    """errands inside a web app: an ASGI app, under its path."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._keys = OPEN
        self._process: Embedded | None = None
        self._api: Draining | None = None

    def job_token(self, job_id: str, /, *, ttl: Duration = "1h") -> str:
        """For a browser: its bearer may follow this one job for so long, as `?token=…`.

        Raises InvalidConfig before the web app has started.
        """
        if self._process is None:
            raise InvalidConfig("The web app has not started yet.", hint="Ask in a request.")
        until = self._process.clock.now() + parse_duration(ttl, "job_token: ttl")
        return self._keys.job_token([job_id], until)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app: ASGIApp = _not_started() if self._api is None else self._api
        if scope["path"] == f"{scope.get('root_path', '')}/metrics":
            # Beside a server's own port they are for those who run it; this port is everybody's.
            try:
                self._keys.check_token(Headers(scope=scope).get("authorization", ""))
            except Refusal as refusal:
                app = answer(refusal)
        await app(scope, receive, send)

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """The store is open, for the app and the API. Raises InvalidConfig, StoreError."""
        settings, url = settings_here(), _store_url(self._app)
        process = self._process = Embedded(lambda: open_store(url), self._app, settings)
        try:
            await process.connect()
            self._keys = keys_of(settings, process.key)
            api = Draining(make_api(process, self._keys, settings))
            with self._app.use_backend(process), _stopping(api):
                self._api = api
                yield
        finally:
            self._api = self._process = None
            await asyncio.to_thread(process.close)

    @asynccontextmanager
    async def work(self) -> AsyncGenerator[None]:
        """The app's functions are executed."""
        process = self._process
        assert process is not None
        async with process.worker(None):
            yield


def keys_of(settings: Settings, store_key: bytes) -> Keys:
    """What has no key set is shut, unless all is open."""
    if settings.open_api:
        return OPEN
    tokens = (settings.api_token,) if settings.api_token else ()
    # Where nobody says which, job tokens hold for all who use the store, and as long as it lasts.
    of_store = hashlib.blake2b(b"job tokens", key=store_key).hexdigest()
    return Keys(settings.event_keys, tokens, settings.signing_key or of_store)


def _store_url(app: App) -> str:
    url = app.url or os.environ.get("ERRANDS_URL") or DEFAULT_URL
    if url.startswith(("http://", "https://")):
        raise InvalidConfig(
            f"App {app.id!r} is embedded, and cannot be at the server {url} as well.",
            hint="Set ERRANDS_URL or App(url=…) to a store (sqlite:///errands.db), or leave out "
            "app.embed and let `errands worker` execute.",
        )
    if url != DEFAULT_URL:
        check_folder(url)
    return url


@contextmanager
def _stopping(api: Draining) -> Generator[None]:
    """At SIGTERM and SIGINT end what only waits: a web server stops when no request is left.

    The handlers that are there go on doing what they do.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    ending: list[asyncio.Task[None]] = []

    def end() -> None:
        if not ending:
            ending.append(asyncio.ensure_future(api.end()))

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def heard(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(end)
        handler = before[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)

    # Only beside a handler of the web server's: without one a signal ends the process at once.
    ours = [number for number, handler in before.items() if callable(handler)]
    for number in ours:
        signal.signal(number, heard)
    try:
        yield
    finally:
        for number in ours:
            if signal.getsignal(number) is heard:
                signal.signal(number, before[number])
        for task in ending:
            task.cancel()


def _not_started() -> ASGIApp:
    return answer(
        Refusal(
            503,
            "not_started",
            "The errands embedded here has not started.",
            hint="It starts with the web app's lifespan: is that switched off (--lifespan off), or "
            "is this web app mounted into another, which then is the one to embed into?",
        )
    )
