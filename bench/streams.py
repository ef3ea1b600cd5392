"""A thousand jobs followed live over SSE: what they cost the server that tells them.

`python -m bench.streams FOLDER` is that server, with a worker in it: it prints its port, then
answers each line on stdin with a line on stdout.
"""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import uvicorn
import uvloop

from bench.load import TEXT, USER, rate
from bench.toy import Toy

JOBS = 20_000
MIB = 1024 * 1024


async def mib(folder: Path, n: int) -> float:
    """What n open streams add to the server's memory."""
    async with _server(folder) as server:
        before = await server.ask("rss")
        async with _open_streams(server.port, await server.ask(f"jobs {n}")):
            return (await server.ask("rss") - before) / MIB


async def slowdown(folder: Path, n: int) -> float:
    """No-op jobs a second without any stream ÷ the same beside n open streams."""
    async with _server(folder) as server:
        jobs = min(JOBS, n * 20)
        await server.ask(f"rate {jobs}")
        alone = await server.ask(f"rate {jobs}")
        async with _open_streams(server.port, await server.ask(f"jobs {n}")):
            return alone / await server.ask(f"rate {jobs}")


class Server:
    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self._process, self.port = process, port

    async def ask(self, command: str) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{command}\n".encode())
        return json.loads(await self._process.stdout.readline())


@contextlib.asynccontextmanager
async def _server(folder: Path) -> AsyncIterator[Server]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench.streams",
        str(folder),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=MIB,
    )
    assert process.stdout is not None
    try:
        yield Server(process, int(await process.stdout.readline()))
    finally:
        process.terminate()
        await process.wait()


@contextlib.asynccontextmanager
async def _open_streams(port: int, jobs: list[str]) -> AsyncIterator[None]:
    """All connected, each told the present state of its job."""
    writers: list[asyncio.StreamWriter] = []
    for job in jobs:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET /api/jobs/{job}/events HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        await reader.readuntil(b"data: ")
        writers.append(writer)
    try:
        yield
    finally:
        for writer in writers:
            writer.close()


# -- the server ------------------------------------------------------------------------------------


async def _serve(folder: Path) -> None:
    from errands.api.app import make_api
    from errands.api.keys import OPEN
    from errands.settings import Settings

    toy = Toy(folder)

    async def one() -> None:
        job = await toy.noop.enqueue(USER, TEXT)
        await job.result()

    async with toy.app.worker(concurrency=1_000):
        process: Any = toy.app.backend
        app = make_api(process, OPEN, Settings())
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", lifespan="off"))
        serving = asyncio.ensure_future(server.serve())
        while not server.started:  # noqa: ASYNC110 - it has no event of its own
            await asyncio.sleep(0.01)
        print(server.servers[0].sockets[0].getsockname()[1], flush=True)
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            command, _, number = line.strip().partition(" ")
            answer: Any
            if command == "rss":
                answer = psutil.Process().memory_info().rss
            elif command == "jobs":
                later = toy.noop.with_options(delay="1h")
                bound = [later.bind(USER, TEXT) for _ in range(int(number))]
                answer = [job.id for job in await toy.app.enqueue_many(bound)]
            else:
                answer = await rate(one, int(number), 1_000)
            print(json.dumps(answer), flush=True)
        await serving


if __name__ == "__main__":
    from errands.worker import collect_rarely

    collect_rarely()
    uvloop.run(_serve(Path(sys.argv[1])))
