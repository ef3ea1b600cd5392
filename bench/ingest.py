"""Events over HTTP: a server process of its own, and a client that costs as little as it can.

`python -m bench.ingest errands|floor FOLDER` is the server; it prints its port.
"""

import asyncio
import contextlib
import itertools
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import msgspec
import uvicorn
import uvloop

from bench.load import PAYLOAD, TEXT, USER, rate

CONNECTIONS = 32
BATCH = 100
EVENT = {"name": "bench/ingested", "data": {"user_id": USER, "text": TEXT}}


async def single(folder: Path, n: int) -> float:
    """Events a second, one a request; one function is triggered."""
    return await _load("errands", folder, n, 1)


async def batch(folder: Path, n: int) -> float:
    return await _load("errands", folder, n, BATCH)


async def floor_single(folder: Path, n: int) -> float:
    """The same on a bare ASGI function that decodes the JSON and inserts one row an event."""
    return await _load("floor", folder, n, 1)


async def floor_batch(folder: Path, n: int) -> float:
    return await _load("floor", folder, n, BATCH)


# -- the client ------------------------------------------------------------------------------------


async def _load(side: str, folder: Path, n: int, size: int) -> float:
    body = msgspec.json.encode(EVENT if size == 1 else [EVENT] * size)
    async with _server(side, folder) as port:
        loop = asyncio.get_running_loop()
        pool = [
            (await loop.create_connection(Connection, "127.0.0.1", port))[1]
            for _ in range(CONNECTIONS)
        ]
        free = list(pool)
        request = (
            f"POST /e/bench HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        ).encode() + body

        async def one() -> None:
            connection = free.pop()
            await connection.ask(request)
            free.append(connection)

        await rate(one, max(100, n // size // 20), CONNECTIONS)
        requests = max(1, n // size)
        found = await rate(one, requests, CONNECTIONS) * size
        for connection in pool:
            connection.transport.close()
        return found


class Connection(asyncio.Protocol):
    """One request at a time; of the answer only its status and its end are read."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by class
        self._data = b""

    def ask(self, request: bytes) -> "asyncio.Future[None]":
        self._answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self._answered

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, is_there, body = self._data.partition(b"\r\n\r\n")
        if not is_there:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) >= length:
            self._data = b""
            if head.startswith(b"HTTP/1.1 200"):
                self._answered.set_result(None)
            else:
                self._answered.set_exception(RuntimeError(f"{head!r} {body!r}"))


# -- the servers -----------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _server(side: str, folder: Path) -> AsyncIterator[int]:
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.ingest", side, str(folder), stdout=asyncio.subprocess.PIPE
    )
    assert server.stdout is not None
    try:
        yield int(await server.stdout.readline())
    finally:
        server.terminate()
        await server.wait()


async def _errands(folder: Path) -> Any:
    from errands import App
    from errands.api.app import make_api
    from errands.api.keys import OPEN
    from errands.embedded import Embedded
    from errands.settings import Settings
    from errands.store.open import open_store

    app = App("bench")

    @app.function(on="bench/ingested")
    async def ingested(event: Any) -> None: ...

    process = Embedded(lambda: open_store(f"sqlite:///{folder}/errands.db"), app, Settings())
    await process.connect()
    return make_api(process, OPEN, Settings())


async def _floor(folder: Path) -> Any:
    from bench.floor import INSERT_JOB, Writer

    writer = Writer(folder)
    head = [(b"content-type", b"application/json")]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        data, is_more = b"", True
        while is_more:
            message = await receive()
            data, is_more = data + message.get("body", b""), message.get("more_body", False)
        events = msgspec.json.decode(data)
        ids = [next(writer.ids) for _ in (events if isinstance(events, list) else [events])]
        await asyncio.gather(*(writer.submit(INSERT_JOB, (id, 0, PAYLOAD)) for id in ids))
        body = msgspec.json.encode({"ids": ids})
        size = (b"content-length", str(len(body)).encode())
        await send({"type": "http.response.start", "status": 200, "headers": [*head, size]})
        await send({"type": "http.response.body", "body": body})

    return app


async def _serve(side: str, folder: Path) -> None:
    app = await (_errands(folder) if side == "errands" else _floor(folder))
    config = uvicorn.Config(app, port=0, log_level="warning", access_log=False, lifespan="off")
    server = uvicorn.Server(config)
    serving = asyncio.ensure_future(server.serve())
    for _ in itertools.count():
        if server.started:
            break
        await asyncio.sleep(0.01)
    print(server.servers[0].sockets[0].getsockname()[1], flush=True)
    await serving


if __name__ == "__main__":
    from errands.worker import collect_rarely

    collect_rarely()
    uvloop.run(_serve(sys.argv[1], Path(sys.argv[2])))
