"""Health tells that the process lives, ready that work can be accepted and claimed."""

import sqlite3
from pathlib import Path

import httpx2
import pytest

from errands.api.routes import health
from errands.embedded import Embedded
from tests.api.conftest import until


async def test_a_process_that_works_is_ready(api: httpx2.AsyncClient) -> None:
    assert (await api.get("/health")).json() == {"status": "ok"}
    answer = await api.get("/ready")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "checks": {"store": "ok", "committer": "ok"}}
    assert "errands_" in (await api.get("/metrics")).text


async def test_a_process_that_cannot_write_is_alive_and_not_ready(
    api: httpx2.AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "ANSWER_SECONDS", 0.2)
    other = sqlite3.connect(tmp_path / "errands.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    answer = await api.get("/ready")
    assert answer.status_code == 503
    told = answer.json()
    assert told["status"] == "unavailable"
    assert told["checks"]["store"] == "ok"
    assert "written" in told["checks"]["committer"]
    assert (await api.get("/health")).status_code == 200
    other.execute("ROLLBACK")
    other.close()

    async def ready() -> bool:
        return (await api.get("/ready")).status_code == 200

    assert await until(ready)


async def test_a_broken_committer_is_alive_and_not_ready(
    api: httpx2.AsyncClient, process: Embedded, caplog: pytest.LogCaptureFixture
) -> None:
    process.committer._break(RuntimeError("planted"))
    answer = await api.get("/ready")
    assert (answer.status_code, answer.json()["checks"]["committer"]) == (503, "internal_error")
    assert (await api.get("/health")).status_code == 200


async def test_a_store_that_cannot_be_read_is_not_ready(
    api: httpx2.AsyncClient, process: Embedded
) -> None:
    process.store.reader.close()  # pyright: ignore[reportAttributeAccessIssue]
    answer = await api.get("/ready")
    assert answer.status_code == 503
    assert "cannot be read" in answer.json()["checks"]["store"]
