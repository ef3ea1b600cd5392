"""Carry calls to a server: in an event loop, or blocking the calling thread where none runs."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncGenerator, Iterator
from typing import TYPE_CHECKING, Any, TypeVar, cast

from errands.model.errors import Unavailable
from errands.sdk.exchange import Call, Lost, Pause, Reply, Request

if TYPE_CHECKING:
    import ssl

    import httpx2

T = TypeVar("T")

CONNECT_SECONDS = 5.0
READ_SECONDS = 30.0
"""How long an answer may take, beside what the server holds on purpose."""
IDLE_SECONDS = 30.0
"""How long an idle connection is kept; less than servers and proxies do."""
IDLE_MAX = 100
LAST_SECONDS = 0.05
"""A program often ends when it has closed. Its loop cancels every task then, and a client whose
closing is cancelled leaves connections open: so this begins when the loop goes on."""


class Carriers:
    """The connections of one process to one server; none is opened before it is needed."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._headers = {"Content-Type": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._tls: ssl.SSLContext | None = None
        self._blocking: httpx2.Client | None = None
        self._by_loop: dict[asyncio.AbstractEventLoop, _Open] = {}
        self._is_closed = False
        self._pid = os.getpid()

    async def drive(self, call: Call[T]) -> T:
        """Do it; without a running loop it never suspends."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return self._drive_blocking(call)
        return await self._drive_async(call)

    def close(self) -> None:
        """Calls under way end with Unavailable."""
        if self._pid != os.getpid():
            return  # they are the parent's, who goes on
        self._is_closed = True
        if self._blocking is not None:
            self._blocking.close()
        for loop, opened in list(self._by_loop.items()):
            opened.close_in(loop)

    def _check(self) -> None:
        if self._is_closed:
            raise Unavailable(
                "errands is closed in this process.", hint="Ask for the job from another one."
            )

    # -- blocking ------------------------------------------------------------------------------

    def _drive_blocking(self, call: Call[T]) -> T:
        try:
            step = next(call)
            while True:
                step = call.send(self._step_blocking(step))
        except StopIteration as stop:
            done: T = stop.value
            return done

    def _step_blocking(self, step: Request | Pause) -> Reply | Lost | None:
        self._check()
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        client = self._blocking or self._open_blocking()
        import httpx2

        try:
            response = client.request(
                step.method, self._url + step.path, content=step.body, timeout=_timeout(step)
            )
        except httpx2.TransportError as error:
            self._check()
            return _lost(error)
        except RuntimeError:
            self._check()
            raise
        return _reply(response)

    def _open_blocking(self) -> "httpx2.Client":
        import httpx2

        made = httpx2.Client(**self._options())
        # Another thread may have made one meanwhile.
        if self._blocking is None:
            self._blocking = made
        if self._blocking is not made:
            made.close()
        return self._blocking

    # -- in a loop -----------------------------------------------------------------------------

    async def _drive_async(self, call: Call[T]) -> T:
        try:
            step = next(call)
            while True:
                step = call.send(await self._step_async(step))
        except StopIteration as stop:
            done: T = stop.value
            return done
        finally:
            call.close()

    async def _step_async(self, step: Request | Pause) -> Reply | Lost | None:
        self._check()
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            return None
        client = await self._client()
        import httpx2

        try:
            response = await client.request(
                step.method, self._url + step.path, content=step.body, timeout=_timeout(step)
            )
        except httpx2.TransportError as error:
            self._check()
            return _lost(error)
        except RuntimeError:
            self._check()
            raise
        return _reply(response)

    async def _client(self) -> "httpx2.AsyncClient":
        loop = asyncio.get_running_loop()
        if (found := self._by_loop.get(loop)) is not None:
            return found.client
        if "httpx2" not in sys.modules or (self._is_tls and self._tls is None):
            # A tenth of a second, for which the loop had better not stand still.
            await asyncio.to_thread(self._load)
        if (found := self._by_loop.get(loop)) is None:
            for gone in [loop for loop in self._by_loop if loop.is_closed()]:
                del self._by_loop[gone]
            found = self._by_loop[loop] = _Open(self._options())
            await found.begin()
        return found.client

    # -- both ----------------------------------------------------------------------------------

    @property
    def _is_tls(self) -> bool:
        return self._url.startswith("https:")

    def _load(self) -> None:
        import httpx2

        if self._is_tls and self._tls is None:
            self._tls = httpx2.create_ssl_context()

    def _options(self) -> dict[str, Any]:
        import httpx2

        self._load()
        limits = httpx2.Limits(
            max_connections=None,  # who follows a job has one for itself
            max_keepalive_connections=IDLE_MAX,
            keepalive_expiry=IDLE_SECONDS,
        )
        # Without TLS there is nothing to verify, and no need to load certificates.
        return {"headers": self._headers, "limits": limits, "verify": self._tls or False}


class _Open:
    """The client of one loop.

    A loop ends its asynchronous generators before it is closed; so one that holds the client closes
    it in time, even if nobody says that errands is not needed any more.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        import httpx2

        self.client = httpx2.AsyncClient(**options)
        self._holder = _hold(self.client)
        self._closing: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        await anext(self._holder)

    def close_in(self, loop: asyncio.AbstractEventLoop) -> None:
        """Soon, if that loop runs; if it does not, it has its generators to end."""
        if loop.is_running():
            loop.call_soon_threadsafe(loop.call_later, LAST_SECONDS, self._close)

    def _close(self) -> None:
        self._closing = asyncio.ensure_future(self._holder.aclose())


async def _hold(client: "httpx2.AsyncClient") -> AsyncGenerator[None]:
    try:
        yield
    finally:
        await client.aclose()


def _timeout(request: Request) -> "httpx2.Timeout":
    import httpx2

    return httpx2.Timeout(
        READ_SECONDS, connect=CONNECT_SECONDS, read=READ_SECONDS + request.hold, pool=None
    )


def _reply(response: "httpx2.Response") -> Reply:
    after = response.headers.get("retry-after", "")
    return Reply(
        response.status_code,
        response.content,
        float(after) if after.isdecimal() else 0.0,
        response.headers.get("location", ""),
    )


def _lost(error: "httpx2.TransportError") -> Lost:
    import httpx2

    before = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)
    return Lost(_why(error), not isinstance(error, before))


def _why(error: BaseException) -> str:
    """The operating system's own word, if there is one: what the libraries say of it is vague."""
    for cause in _causes(error):
        if isinstance(cause, OSError) and cause.errno is not None and cause.errno > 0:
            return os.strerror(cause.errno)
    text = str(error) or type(error).__name__
    return text.rstrip(".")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            # One a way that was tried, such as IPv6 and IPv4.
            yield from _causes(cast("BaseExceptionGroup[BaseException]", error).exceptions[0])
        error = error.__cause__ or error.__context__
