"""A web app on a real socket, which notes what comes and answers as it is told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn

from errands.listening import address, listen

SECONDS = 20.0


class Receiver:
    """An ASGI app. `status`: of its answers.   `may_answer`: until it is set there is none."""

    def __init__(self) -> None:
        self.status = 200
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.got: list[tuple[str, str, dict[str, str], bytes]] = []
        """Method, path, headers and body of each request."""
        self.left = 0
        """Clients that went away before they were answered."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.got.append((scope["method"], scope["path"], headers, body))
        waiting = asyncio.ensure_future(self.may_answer.wait())
        leaving = asyncio.ensure_future(receive())
        await asyncio.wait((waiting, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not self.may_answer.is_set():
            self.left += 1
        waiting.cancel()
        leaving.cancel()
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    async def wait_got(self, count: int) -> None:
        await until(lambda: len(self.got) >= count)


async def until(is_so: Any) -> None:
    async with asyncio.timeout(SECONDS):
        while not is_so():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[str]:
    """The URL of this ASGI app, in this loop."""
    with listen("127.0.0.1", 0) as listener:
        config = uvicorn.Config(app, lifespan="off", log_config=None, access_log=False)
        server = uvicorn.Server(config)
        serving = asyncio.ensure_future(server.serve([listener]))
        await until(lambda: server.started)
        try:
            yield address(listener)
        finally:
            server.should_exit = True
            await serving
