"""errands behind a server: the same calls as at a store, over HTTP."""

import os
import secrets
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TypeVar
from urllib.parse import urlsplit

from errands.model.errors import InvalidConfig, ValueTooLarge
from errands.model.event import NewEvent
from errands.model.external_rules import Change
from errands.model.job import JobState, JobView, NewJob
from errands.sdk.app import App
from errands.sdk.backend import Backend
from errands.sdk.carriers import Carriers
from errands.sdk.exchange import Call, Exchange

T = TypeVar("T")

TOKEN = "ERRANDS_API_TOKEN"
_inherited: list[Carriers] = []
"""Of the parents of this process: used by them, and never closed or collected here."""


def open_backend_for(url: str, app: App) -> Backend:
    """The backend for a server's URL. No I/O yet. Raises InvalidConfig."""
    return Client(_checked(url), app, _token())


class Client:
    """See `sdk.backend.Backend`."""

    def __init__(
        self, url: str, app: App, token: str, *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._url, self._app, self._token = url, app, token
        self._exchange = Exchange(url, has_token=bool(token), now=now)
        self._carriers: Carriers | None = None
        self._pid = 0
        """Of the process that the carriers are of."""
        self._is_registered = False

    @property
    def is_connected(self) -> bool:
        return self._is_registered and self._pid == os.getpid()

    async def connect(self) -> None:
        await self._do(self._exchange.register(self._app.config()))
        self._is_registered = True

    async def _do(self, call: Call[T]) -> T:
        return await self._here().drive(call)

    def _here(self) -> Carriers:
        """Those of this process: a forked child shares no connection with its parent."""
        pid = os.getpid()
        carriers = self._carriers
        if carriers is None or self._pid != pid:
            if carriers is not None:
                _inherited.append(carriers)
            self._carriers = carriers = Carriers(self._url, self._token)
            self._pid, self._is_registered = pid, False
            # Also when the process ends: a script that only sends need not close anything.
            weakref.finalize(self, carriers.close)
        return carriers

    # -- Backend -------------------------------------------------------------------------------

    async def send(self, items: Sequence[NewEvent | NewJob]) -> list[str]:
        return await self._do(self._exchange.send(items, secrets.token_urlsafe(12)))

    async def job(self, job_id: str) -> JobView:
        return await self._do(self._exchange.job(job_id))

    async def changed(self, seen: JobView, timeout: float | None) -> JobView:
        return await self._do(self._exchange.changed(seen, timeout))

    async def outcome(self, job_id: str, timeout: float | None) -> JobView | None:
        return await self._do(self._exchange.outcome(job_id, timeout))

    async def cancel(self, job_id: str, reason: str | None) -> None:
        await self._do(self._exchange.cancel(job_id, reason))

    async def create_job(self, key: str | None, keep_ms: int) -> tuple[JobView, bool]:
        return await self._do(self._exchange.create_job(key, keep_ms))

    async def update_job(
        self,
        job_id: str,
        *,
        status: JobState | None = None,
        percent: float | None = None,
        note: str | None = None,
        result: bytes | None = None,
        error: str | None = None,
    ) -> JobView:
        limit = self._app.value_bytes_max
        if result is not None and len(result) > limit:
            raise ValueTooLarge(f"the result of job {job_id!r}", len(result), limit)
        change = Change(status, percent, note, result, error)
        return await self._do(self._exchange.update_job(job_id, change))

    async def rerun(self, run_id: str) -> str:
        return await self._do(self._exchange.rerun(run_id))

    def worker(self, concurrency: int | None) -> AbstractAsyncContextManager[object]:
        raise InvalidConfig(
            f"A worker needs the store itself, and {self._url} is a server.",
            hint="Start it beside the store: `errands worker module:app --store sqlite:///…`. "
            "Through the server this app can send, enqueue and ask.",
        )

    def close(self) -> None:
        if self._carriers is not None and self._pid == os.getpid():
            self._carriers.close()
            self._carriers = None
        self._is_registered = False


def _checked(url: str) -> str:
    """Raises InvalidConfig."""
    try:
        parts = urlsplit(url)
        is_good = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        parts, is_good = urlsplit("http:"), False
    if not is_good or parts.query or parts.fragment or not url.isprintable() or " " in url:
        raise InvalidConfig(
            f"{url!r} is no URL of a server.", hint="For example http://127.0.0.1:8288."
        )
    if parts.username is not None or parts.password is not None:
        raise InvalidConfig(
            f"The URL of the server at {parts.hostname} has a user or a password in it.",
            hint=f"Set {TOKEN} to the server's token instead.",
        )
    return url.rstrip("/")


def _token() -> str:
    """Raises InvalidConfig."""
    token = os.environ.get(TOKEN, "").strip()
    if not (token.isascii() and token.isprintable()):
        raise InvalidConfig(
            f"{TOKEN} has a character that no HTTP header can carry.",
            hint="`errands keys new` prints one that has none.",
        )
    return token
