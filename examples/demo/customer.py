"""Somebody who uses the shop over HTTP, and does not mind that it is away for a moment."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import httpx2
import msgspec

from examples.demo.failure import DemoFailed

AGAIN_SECONDS = 0.1
"""How soon a lost stream is asked for again; a browser takes a second or more."""


class Status(msgspec.Struct, frozen=True, rename="camel"):
    """A job, as browsers see it."""

    id: str
    status: str
    created_at: int
    updated_at: int
    progress: float | None = None
    message: str | None = None
    result: Any = None
    error: str | None = None

    @property
    def is_final(self) -> bool:
        return self.status in ("completed", "failed")


class Customer:
    def __init__(self, url: str) -> None:
        # What the environment says of proxies does not concern a server on this machine.
        self._http = httpx2.AsyncClient(
            base_url=url, timeout=30, trust_env=False, follow_redirects=True
        )
        self.reconnected = 0
        """How often a stream broke and went on."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *of_error: object) -> None:
        await self._http.aclose()

    async def sign_up(self, name: str, email: str) -> None:
        await self._post("/users", json={"name": name, "email": email})

    async def order(self, email: str, things: dict[str, int]) -> tuple[str, dict[str, str]]:
        """Gives the order's id, and its jobs by what they do."""
        answer = await self._post("/orders", json={"email": email, "things": things})
        return answer["order"], answer["jobs"]

    async def create_album(self, pictures: Sequence[Path]) -> str:
        """Upload them; gives the album's id."""
        with ExitStack() as stack:
            files = [("pictures", stack.enter_context(path.open("rb"))) for path in pictures]
            answer = await self._post("/albums", files=files)
        return answer["album"]

    async def import_products(self, csv: Path) -> str:
        """Upload it; gives the job."""
        with csv.open("rb") as file:
            return (await self._post("/imports", files={"products": file}))["job"]

    async def order_report(self) -> str:
        """Gives the job."""
        return (await self._post("/reports"))["job"]

    async def thumbnails(self, album: str) -> list[str]:
        return (await self._get(f"/albums/{album}")).json()["thumbnails"]

    async def status(self, job: str) -> Status:
        answer = await self._get(f"/jobs/{job}/status")
        return msgspec.json.decode(answer.content, type=Status)

    async def file(self, path: str) -> bytes:
        """The content of what the shop has under /files."""
        return (await self._get(f"/files/{path}")).content

    async def wait_until_open(self) -> None:
        """Until the shop answers."""
        while True:
            try:
                await self._get("/")
                return
            except httpx2.TransportError:
                await asyncio.sleep(AGAIN_SECONDS)

    async def follow(self, job: str) -> AsyncIterator[Status]:
        """What the job's stream says, up to the end; when it breaks, it is taken up again."""
        last_id = ""
        while True:
            try:
                async for id, status in self._listen(job, last_id):
                    if id == last_id:
                        raise DemoFailed(f"message {id!r} of {job} came twice")
                    last_id = id
                    yield status
                    if status.is_final:
                        return
            except httpx2.TransportError:
                self.reconnected += 1
            await asyncio.sleep(AGAIN_SECONDS)

    async def _listen(self, job: str, last_id: str) -> AsyncIterator[tuple[str, Status]]:
        """Each message of one connection, with its id."""
        headers = {"Last-Event-ID": last_id} if last_id else {}
        async with self._http.stream("GET", f"/jobs/{job}/events", headers=headers) as answer:
            expect_ok(answer)
            fields: dict[str, str] = {}
            async for line in answer.aiter_lines():
                name, _, value = line.partition(": ")
                fields[name] = value
                if not line and "data" in fields:
                    status = msgspec.json.decode(fields["data"], type=Status)
                    yield fields["id"], status
                if not line:
                    fields = {}

    async def _get(self, path: str) -> httpx2.Response:
        return expect_ok(await self._http.get(path))

    async def _post(self, path: str, **body: Any) -> Any:
        return expect_ok(await self._http.post(path, **body)).json()


def expect_ok(answer: httpx2.Response) -> httpx2.Response:
    if not answer.is_success:
        raise DemoFailed(f"{answer.request.method} {answer.url}: {answer.status_code}")
    return answer
