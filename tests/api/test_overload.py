"""Too much at once: refused at the door, nothing of it kept, and well again by itself."""

import asyncio
import resource
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from errands.embedded import Embedded
from errands.executors.committer import QUEUE_ROWS_MAX
from errands.store.interface import EventFilter
from tests.api.conftest import SECONDS, problem, until

LARGE = [{"name": "large"}] * (QUEUE_ROWS_MAX // 2)


@pytest.fixture
def writer(tmp_path: Path, process: Embedded) -> Iterator[sqlite3.Connection]:
    """Somebody who stands inside a transaction, so that nobody else can write."""
    other = sqlite3.connect(tmp_path / "errands.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield other
    other.close()


@contextmanager
def full_disk() -> Iterator[None]:
    """For this process, by the limit that the operating system sets to its files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def refusal(answer: httpx2.Response) -> dict[str, Any]:
    told = problem(answer, 503, "unavailable")
    assert "Nothing of this call was accepted" in told["hint"]
    assert int(answer.headers["retry-after"]) >= 1
    return told


async def test_a_full_queue_says_come_again_and_empties_by_itself(
    api: httpx2.AsyncClient, process: Embedded, writer: sqlite3.Connection
) -> None:
    sending = [asyncio.ensure_future(api.post("/e/any", json=LARGE)) for _ in range(6)]
    done, _ = await asyncio.wait(sending, timeout=SECONDS, return_when=asyncio.FIRST_COMPLETED)
    assert "full" in refusal(done.pop().result())["detail"]
    body = {"items": [{"type": "job", "app": "shop", "function": "add", "data": {"a": 1}}]}
    for answer in (
        await api.post("/e/any", json={"name": "small"}),
        await api.post("/api/send", json=body),
        await api.post("/api/jobs"),
    ):
        assert "full" in refusal(answer)["detail"]
    # Who only looks is answered meanwhile.
    assert (await api.get("/api/runs")).status_code == 200

    writer.execute("ROLLBACK")
    answers = await asyncio.gather(*sending)
    assert (await api.post("/e/any", json={"name": "small"})).status_code == 200

    taken = [answer for answer in answers if answer.status_code == 200]
    assert taken
    assert len(taken) + sum(answer.status_code == 503 for answer in answers) == 6
    assert process.store.reader.counts()["event"] == len(taken) * len(LARGE) + 1


async def test_a_store_that_cannot_be_written_says_come_again(
    api: httpx2.AsyncClient, process: Embedded
) -> None:
    with full_disk():
        refusal(await api.post("/e/any", json={"name": "a"}))

    async def accepted() -> bool:
        return (await api.post("/e/any", json={"name": "b"})).status_code == 200

    assert await until(accepted)
    names = [event.name for event in process.store.reader.list_events(EventFilter())]
    assert names == ["b"]
