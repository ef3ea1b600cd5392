"""Fire and forget: POST some JSON to one's own web app, and do not wait for the answer.

Nothing of it is durable: what the process has not sent when it dies is lost, and what fails is only
logged. A job (`@app.job`) is what survives that.
"""

import asyncio
import atexit
import concurrent.futures
import logging
import os
import threading
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from errands.model.duration import Duration, parse_duration
from errands.model.errors import InvalidConfig
from errands.sdk.codec import NOT_STORABLE, encode_json, not_storable
from errands.sdk.guard import KEY

if TYPE_CHECKING:
    import httpx2

log = logging.getLogger("errands.background")
URLS = ("INTERNAL_API_URL", "NEXT_PUBLIC_APP_URL")
HEADER = "X-Background-Job"
EXIT_SECONDS = 10.0
"""How long a process that ends waits for what it has under way."""


class BackgroundJob:
    """A request that is made in the background."""

    def __init__(self, future: "concurrent.futures.Future[None]") -> None:
        self._future = future

    @property
    def is_done(self) -> bool:
        """Answered, failed or cancelled."""
        return self._future.done()

    def cancel(self) -> None:
        """Give it up; the other side may have got it all the same."""
        self._future.cancel()


def run_background_job(
    endpoint: str,
    data: object,
    /,
    *,
    timeout: Duration = "5m",
    base_url: str | None = None,
    key: str | None = None,
) -> BackgroundJob:
    """POST `data` as JSON, with `X-Background-Job: true`; returns at once, in async code too.

    endpoint: a path, "/api/internal/notify".   timeout: until the answer has come.
    base_url: default INTERNAL_API_URL, else NEXT_PUBLIC_APP_URL.   key: default INTERNAL_API_KEY.
    What goes wrong later is logged. Raises InvalidConfig, ValueNotStorable, and then sends nothing.
    """
    url = f"{_base(base_url)}{_path(endpoint)}"
    seconds = parse_duration(timeout, "run_background_job: timeout") / 1000
    headers = {
        "Content-Type": "application/json",
        HEADER: "true",
        "Authorization": f"Bearer {_key(key)}",
    }
    try:
        body = encode_json(data)
    except NOT_STORABLE as error:
        raise not_storable(f"what is posted to {endpoint}", data, Any, error) from error
    return BackgroundJob(_thread().start(endpoint, _post(endpoint, url, headers, body, seconds)))


def _base(given: str | None) -> str:
    """Raises InvalidConfig."""
    found = given or next((value for name in URLS if (value := os.environ.get(name))), "")
    if not found.startswith(("http://", "https://")):
        raise InvalidConfig(
            f"run_background_job: the base URL {found!r} is refused."
            if found
            else "run_background_job does not know where the web app is.",
            hint=f"Set {URLS[0]}, or pass base_url, for example http://127.0.0.1:8000.",
        )
    return found.rstrip("/")


def _path(endpoint: str) -> str:
    """Raises InvalidConfig."""
    # Anything else could lead to another host, with the key.
    if not endpoint.startswith("/") or not endpoint.isprintable():
        raise InvalidConfig(
            f"run_background_job: {endpoint!r} is no path.",
            hint='It begins with a slash: "/api/internal/notify".',
        )
    return endpoint


def _key(given: str | None) -> str:
    """Raises InvalidConfig."""
    key = (os.environ.get(KEY, "") if given is None else given).strip()
    if not key or not (key.isascii() and key.isprintable()):
        raise InvalidConfig(
            "run_background_job has no key, or one that no HTTP header can carry.",
            hint=f"Set {KEY} to the same long random text on both sides, for example from "
            '`python -c "import secrets; print(secrets.token_urlsafe(32))"`.',
        )
    return key


async def _post(
    endpoint: str, url: str, headers: dict[str, str], body: bytes, seconds: float
) -> None:
    import httpx2

    client = _thread().client()
    try:
        async with (
            asyncio.timeout(seconds),
            client.stream("POST", url, content=body, headers=headers) as answer,
        ):
            if not 200 <= answer.status_code < 300:
                log.error("background job %s: the answer was %d", endpoint, answer.status_code)
    except TimeoutError:
        log.error("background job %s: no answer after %g s", endpoint, seconds)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        log.error("background job %s: %s", endpoint, str(error) or type(error).__name__)
    except Exception:
        log.exception("background job %s", endpoint)


class _Background:
    """A thread with a loop of its own: it outlives the caller's loop, and nobody waits for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._client: httpx2.AsyncClient | None = None
        self._open: dict[concurrent.futures.Future[None], str] = {}
        self._runner = threading.Thread(target=self._run, name="errands-background", daemon=True)
        self._runner.start()
        atexit.register(self._leave)

    @property
    def is_here(self) -> bool:
        """A thread does not live through a fork."""
        return self._pid == os.getpid()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def client(self) -> "httpx2.AsyncClient":
        """In this thread, where loading what is needed keeps nobody else waiting."""
        if self._client is None:
            import httpx2

            # A connection that has been idle may be closed just as it is used, and the request be
            # lost: so each has its own.
            limits = httpx2.Limits(max_connections=None, max_keepalive_connections=0)
            self._client = httpx2.AsyncClient(limits=limits, timeout=None)
        return self._client

    def start(
        self, endpoint: str, post: Coroutine[Any, Any, None]
    ) -> "concurrent.futures.Future[None]":
        future = asyncio.run_coroutine_threadsafe(post, self._loop)
        self._open[future] = endpoint
        future.add_done_callback(lambda done: self._open.pop(done, None))
        return future

    def _leave(self) -> None:
        """At the end of the process: finish, but not for ever."""
        if not self.is_here:
            return
        _, late = concurrent.futures.wait(list(self._open), EXIT_SECONDS)
        for future in late:
            log.warning("background job %s: given up, the process ends", self._open.get(future))
            future.cancel()
        asyncio.run_coroutine_threadsafe(self._end(), self._loop)
        self._runner.join(1.0)
        if not self._runner.is_alive():
            self._loop.close()

    async def _end(self) -> None:
        if self._client is not None:
            await self._client.aclose()
        self._loop.stop()


_threads: list[_Background] = []
_starting = threading.Lock()


def _thread() -> _Background:
    """The one of this process, started with the first request."""
    if _threads and _threads[-1].is_here:
        return _threads[-1]
    with _starting:
        if not (_threads and _threads[-1].is_here):
            # Those of a parent stay in the list: to collect their loops here would close them.
            _threads.append(_Background())
        return _threads[-1]


def _renew() -> None:
    """In a forked child, where another thread of its parent may have held it."""
    global _starting
    _starting = threading.Lock()


os.register_at_fork(after_in_child=_renew)
