"""How an App reaches errands: one interface, chosen by URL.

Every call may be awaited in a running loop, or driven from plain code by `sync`: then it blocks the
calling thread instead of suspending.
"""

import importlib
import os
from collections.abc import Awaitable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from errands.model.errors import InvalidConfig
from errands.model.event import NewEvent
from errands.model.job import JobState, JobView, NewJob

DEFAULT_URL = "sqlite:///.errands/errands.db"
SCHEMES = {
    "sqlite": "errands.embedded",
    "postgresql": "errands.embedded",
    "postgres": "errands.embedded",
    "http": "errands.sdk.client",
    "https": "errands.sdk.client",
}
"""The module behind each scheme; its `open_backend_for` makes the backend."""


class Backend(Protocol):
    @property
    def is_connected(self) -> bool:
        """Is there nothing for `connect` to do?"""
        ...

    def connect(self) -> Awaitable[None]:
        """Open it and register the app's functions, the first time. Raises Unavailable."""
        ...

    def send(self, items: Sequence[NewEvent | NewJob]) -> Awaitable[list[str]]:
        """Accept all, durably, or none; gives their public ids. Raises Unavailable."""
        ...

    def job(self, job_id: str) -> Awaitable[JobView]:
        """Raises JobNotFound."""
        ...

    def changed(self, seen: JobView, timeout: float | None) -> Awaitable[JobView]:
        """The job as soon as it differs from `seen`; after `timeout` seconds, as it is then."""
        ...

    def outcome(self, job_id: str, timeout: float | None) -> Awaitable[JobView | None]:
        """The job once it is final; None after `timeout` seconds. Raises JobNotFound."""
        ...

    def cancel(self, job_id: str, reason: str | None) -> Awaitable[None]:
        """Raises JobNotFound."""
        ...

    def create_job(self, key: str | None, keep_ms: int) -> Awaitable[tuple[JobView, bool]]:
        """An external job, and whether it is new: `key` may name one already.

        Raises InvalidConfig, NotExternal, Unavailable.
        """
        ...

    def update_job(
        self,
        job_id: str,
        *,
        status: JobState | None = None,
        percent: float | None = None,
        note: str | None = None,
        result: bytes | None = None,
        error: str | None = None,
    ) -> Awaitable[JobView]:
        """None: as it was. A result (JSON) completes an external job, an error fails it.

        Raises JobNotFound, NotExternal, JobIsOver, InvalidConfig, ValueTooLarge, Unavailable.
        """
        ...

    def rerun(self, run_id: str) -> Awaitable[str]:
        """Start a run once more, with what it was started with; gives the new one's id.

        Raises JobNotFound, NotRepeatable, Unavailable.
        """
        ...

    def worker(self, concurrency: int | None) -> AbstractAsyncContextManager[object]:
        """Execute the app's functions in this process, for as long as it is entered."""
        ...

    def close(self) -> None: ...


def open_backend(url: str | None, app: object) -> Backend:
    """The backend for `url`, else for ERRANDS_URL, else on an embedded file. No I/O yet.

    Raises InvalidConfig.
    """
    url = url or os.environ.get("ERRANDS_URL") or DEFAULT_URL
    module = SCHEMES.get(url.partition(":")[0])
    if module is None:
        raise InvalidConfig(
            f"{url!r} is no way to errands: it must begin with {', '.join(SCHEMES)}.",
            hint="Set ERRANDS_URL or App(url=…) to sqlite:///errands.db for a file beside you, "
            "sqlite:////var/lib/errands.db for an absolute path, postgresql://user@host/database "
            "for PostgreSQL, http://127.0.0.1:8288 for a server.",
        )
    backend: Backend = importlib.import_module(module).open_backend_for(url, app)
    return backend
