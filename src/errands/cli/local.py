"""The API of a store, asked inside this process.

To read, the store is only opened: nobody has to wait for a turn to write, and nothing is written.
To change something this process joins those that use the store, as any that sends does.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette

from errands.api.app import make_api
from errands.api.keys import OPEN
from errands.executors.process import Process
from errands.sdk.sync import sync
from errands.settings import Settings
from errands.store.interface import Store

NAME = "cli"


class Local:
    """See `connection.Transport`."""

    def __init__(self, opener: Callable[[], Store], settings: Settings) -> None:
        self._opener, self._settings = opener, settings
        self._runner = asyncio.Runner()
        self._onlooker: Onlooker | None = None
        self._process: Process | None = None
        self._reading: Starlette | None = None
        self._deciding: Starlette | None = None

    def ask(self, method: str, path: str, query: str, body: bytes) -> tuple[int, bytes]:
        api = self._for_reading() if method == "GET" else self._for_deciding()
        return self._runner.run(_call(api, method, path, query, body))

    def _for_reading(self) -> Starlette:
        if self._reading is None:
            onlooker = Onlooker(self._opener, NAME, self._settings)
            onlooker.open()
            self._onlooker = onlooker
            self._reading = make_api(onlooker, OPEN, self._settings)
        return self._reading

    def _for_deciding(self) -> Starlette:
        if self._deciding is None:
            self._process = Process(self._opener, NAME, self._settings)
            # Not in an event loop, which would not let Ctrl-C through while a lock is waited for.
            sync(self._process.connect())
            self._deciding = make_api(self._process, OPEN, self._settings)
        return self._deciding

    def close(self) -> None:
        self._runner.close()
        if self._process is not None:
            self._process.close()
        if self._onlooker is not None:
            self._onlooker.close()


class Onlooker(Process):
    """Reads, and joins nobody: no worker, no committer, nothing written."""

    def open(self) -> None:
        self.store = self._opener()
        self.key = self.store.reader.key()

    @property
    def is_connected(self) -> bool:
        return True

    def close(self) -> None:
        self.store.close()


async def _call(
    api: Starlette, method: str, path: str, query: str, body: bytes
) -> tuple[int, bytes]:
    """One request by the ASGI protocol, as a server would make it."""
    asked, status, parts = False, 0, list[bytes]()

    async def receive() -> dict[str, Any]:
        nonlocal asked
        if asked:
            await asyncio.Event().wait()  # the client does not go away
        asked = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        nonlocal status
        status = message.get("status", status)
        parts.append(message.get("body", b""))

    await api(_scope(method, path, query, body), receive, send)
    return status, b"".join(parts)


def _scope(method: str, path: str, query: str, body: bytes) -> dict[str, Any]:
    from urllib.parse import unquote

    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
        ],
        "client": None,
        "server": ("errands", 80),
    }
