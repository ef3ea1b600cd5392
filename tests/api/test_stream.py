"""Jobs followed live over server-sent events, through a real server on a real socket."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn

from errands import App, progress
from errands.api import stream
from errands.api.app import make_api
from errands.api.keys import OPEN, Keys
from errands.embedded import Embedded
from errands.model.job import NewJob
from errands.settings import Settings
from errands.store.open import open_store

app = App("shop")
KEYS = Keys(api_tokens=("secret-token",), signing_key="secret-signing")


class Gate:
    """The job goes on when the test says so."""

    def __init__(self) -> None:
        self.event = asyncio.Event()

    async def __call__(self) -> None:
        await self.event.wait()
        self.event.clear()


gate: Gate


@app.job()
async def report(pages: int) -> str:
    for page in range(pages):
        await gate()
        progress.set(100 * (page + 1) / pages, f"page {page + 1}")
    await gate()
    return "report.pdf"


@app.job(retries=0)
async def broken() -> None:
    raise ValueError("no ink")


class Server:
    def __init__(self, process: Embedded, url: str, client: httpx2.AsyncClient) -> None:
        self.process, self.url, self.client = process, url, client

    async def enqueue(self, function: str, data: dict[str, Any] | None = None) -> str:
        body = json.dumps(data or {}).encode()
        return (await self.process.send([NewJob("shop", function, body)]))[0]

    @asynccontextmanager
    async def follow(self, path: str, **headers: str) -> AsyncIterator["Events"]:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.client.stream("GET", path, headers=given) as answer:
            yield Events(answer)


class Events:
    """Messages of a stream, one after the other."""

    def __init__(self, answer: httpx2.Response) -> None:
        self.answer = answer
        self.comments: list[str] = []
        self._lines = answer.aiter_lines()

    async def next(self) -> tuple[str, dict[str, Any]] | None:
        """Id and data; None at the end."""
        found: dict[str, str] = {}
        async for line in self._lines:
            if line.startswith(":"):
                self.comments.append(line[1:].strip())
            elif line:
                name, _, value = line.partition(": ")
                found[name] = value
            elif "data" in found:
                assert found["event"] == "status"
                return found["id"], json.loads(found["data"])
        return None

    async def until(self, is_it: Callable[[dict[str, Any]], bool]) -> tuple[str, dict[str, Any]]:
        while (message := await self.next()) is not None:
            if is_it(message[1]):
                return message
        raise AssertionError("the stream ended before")

    async def rest(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while (message := await self.next()) is not None:
            found.append(message[1])
        return found


@asynccontextmanager
async def serving(process: Embedded, keys: Keys = OPEN) -> AsyncIterator[Server]:
    config = uvicorn.Config(
        make_api(process, keys, Settings()), host="127.0.0.1", port=0, log_level="warning"
    )
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    running = asyncio.ensure_future(server.serve())
    while not server.started:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    try:
        async with httpx2.AsyncClient(base_url=url, timeout=20, trust_env=False) as client:
            yield Server(process, url, client)
    finally:
        stream.end_streams()
        server.should_exit = True
        await running


def embedded(tmp_path: Path) -> Embedded:
    url = f"sqlite:///{tmp_path / 'errands.db'}"
    return Embedded(lambda: open_store(url, is_durable=False), app, Settings(grace_ms=100))


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    global gate
    gate = Gate()
    process = embedded(tmp_path)
    async with process.worker(10), serving(process) as made:
        yield made
    process.close()


async def test_a_job_is_followed_from_its_beginning_to_its_end(server: Server) -> None:
    job = await server.enqueue("report", {"pages": 1})
    async with server.follow(f"/api/jobs/{job}/events") as events:
        assert events.answer.headers["content-type"].startswith("text/event-stream")
        first = await events.next()
        assert first is not None
        assert first[1]["id"] == job
        assert first[1]["status"] in ("pending", "processing")

        gate.event.set()
        _, halfway = await events.until(lambda data: data.get("progress") == 100)
        assert halfway["message"] == "page 1"

        gate.event.set()
        _, last = await events.until(lambda data: data["status"] == "completed")
        assert last["result"] == "report.pdf"
        assert last["createdAt"] <= last["updatedAt"]
        assert await events.next() is None


async def test_a_failure_is_told_with_its_error(server: Server) -> None:
    job = await server.enqueue("broken")
    async with server.follow(f"/api/jobs/{job}/events") as events:
        assert (await events.rest())[-1]["error"] == "ValueError: no ink"


async def test_who_comes_again_is_told_only_what_it_has_not_seen(server: Server) -> None:
    job = await server.enqueue("report", {"pages": 1})
    path = f"/api/jobs/{job}/events"
    async with server.follow(path) as events:
        id, _ = await events.until(lambda data: data["status"] == "processing")
    gate.event.set()
    async with server.follow(path, last_event_id=id) as events:
        message = await events.next()
        assert message is not None
        assert message[0] != id
        assert message[1]["progress"] == 100
        gate.event.set()
        last, _ = await events.until(lambda data: data["status"] == "completed")
    # An EventSource comes again after every end: there is nothing more, it need not.
    answer = await server.client.get(path, headers={"Last-Event-ID": last})
    assert answer.status_code == 204


async def test_the_id_of_another_stream_hides_nothing(server: Server) -> None:
    job = await server.enqueue("broken")
    async with server.follow(f"/api/jobs/{job}/events", last_event_id="x.y") as events:
        assert (await events.rest())[-1]["status"] == "failed"


async def test_many_jobs_on_one_connection(server: Server) -> None:
    broken, report = await server.enqueue("broken"), await server.enqueue("report", {"pages": 0})
    async with server.follow(f"/api/events/stream?job={broken}&job={report}") as events:
        await events.until(lambda data: data["id"] == broken and data["status"] == "failed")
        gate.event.set()
        id, _ = await events.until(
            lambda data: data["id"] == report and data["status"] == "completed"
        )
        assert await events.next() is None
    assert len(id.split(".")) == 2


async def test_more_jobs_than_a_stream_follows_are_refused(server: Server) -> None:
    asked = "&".join(f"job=j{n}" for n in range(stream.JOBS_MAX + 1))
    answer = await server.client.get(f"/api/events/stream?{asked}")
    assert answer.status_code == 422
    assert answer.json()["code"] == "too_many_jobs"


async def test_an_unknown_job_is_not_found(server: Server) -> None:
    for path in ("/api/jobs/nobody/events", "/api/events/stream?job=nobody"):
        answer = await server.client.get(path)
        assert (answer.status_code, answer.json()) == (404, {"error": "Job not found"})


async def test_a_quiet_stream_gives_signs_of_life(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_SECONDS", 0.02)
    job = await server.enqueue("report", {"pages": 0})
    async with server.follow(f"/api/jobs/{job}/events") as events:
        await events.until(lambda data: data["status"] == "processing")
        asyncio.get_running_loop().call_later(0.5, gate.event.set)
        await events.rest()
    assert "heartbeat" in events.comments


async def test_a_client_that_goes_leaves_nothing_behind(server: Server) -> None:
    job = await server.enqueue("report", {"pages": 0})
    async with server.follow(f"/api/jobs/{job}/events") as events:
        await events.next()
        assert stream.open_streams() == 1
    async with asyncio.timeout(10):
        while stream.open_streams() or server.process.watchers.waiting():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_server_that_stops_ends_its_streams(server: Server) -> None:
    job = await server.enqueue("report", {"pages": 0})
    async with server.follow(f"/api/jobs/{job}/events") as events:
        await events.until(lambda data: data["status"] == "processing")
        stream.end_streams()
        assert await events.rest() == []


async def test_what_another_process_does_is_seen(tmp_path: Path) -> None:
    global gate
    gate = Gate()
    worker, front = embedded(tmp_path), embedded(tmp_path)
    await front.connect()
    async with worker.worker(10), serving(front) as server:
        job = await server.enqueue("report", {"pages": 0})
        async with server.follow(f"/api/jobs/{job}/events") as events:
            await events.until(lambda data: data["status"] == "processing")
            gate.event.set()
            assert (await events.rest())[-1]["status"] == "completed"
    front.close()
    worker.close()


async def test_a_browser_follows_with_a_token_for_that_job_only(tmp_path: Path) -> None:
    process = embedded(tmp_path)
    async with process.worker(10), serving(process, KEYS) as server:
        job, other = await server.enqueue("broken"), await server.enqueue("broken")
        until = process.clock.now() + 60_000
        token, late = KEYS.job_token([job], until), KEYS.job_token([job], until - 120_000)

        for path, status in (
            (f"/api/jobs/{job}/events", 401),
            (f"/api/jobs/{job}/events?token=", 401),
            (f"/api/jobs/{job}/events?token={late}", 401),
            (f"/api/jobs/{job}/events?token={until}.x", 401),
            (f"/api/jobs/{other}/events?token={token}", 401),
            (f"/api/events/stream?job={job}&job={other}&token={token}", 401),
            (f"/api/jobs/{job}/events?token={token}", 200),
            (f"/api/events/stream?job={job}&token={late}&token={token}", 200),
        ):
            answer = await server.client.get(path)
            assert answer.status_code == status, path
        bearer = {"Authorization": "Bearer secret-token"}
        answer = await server.client.get(f"/api/jobs/{other}/events", headers=bearer)
        assert answer.status_code == 200
    process.close()


async def test_one_job_that_is_kept_no_longer_does_not_take_the_others_along(
    server: Server,
) -> None:
    broken = await server.enqueue("broken")
    async with server.follow(f"/api/events/stream?job=nobody&job={broken}") as events:
        assert (await events.rest())[-1]["status"] == "failed"
