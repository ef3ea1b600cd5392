"""Jobs over HTTP: external ones made and updated, all of them read and ended."""

import asyncio
from typing import Any

import httpx2
import pytest

from errands.embedded import Embedded
from errands.model.job import NewJob
from tests.api.conftest import problem, until

MISSING = {"error": "Job not found"}


async def test_an_external_job_is_made_updated_and_read(api: httpx2.AsyncClient) -> None:
    answer = await api.post("/api/jobs", json={"id": "import/42", "keep": "2h"})
    assert answer.status_code == 201
    made = answer.json()
    assert set(made) == {"id", "status", "createdAt", "updatedAt"}
    assert (made["id"], made["status"]) == ("import/42", "pending")
    assert made["createdAt"] <= made["updatedAt"]
    again = await api.post("/api/jobs", json={"id": "import/42"})
    assert (again.status_code, again.json()) == (200, made)

    path = "/api/jobs/import%2F42"
    update = {"status": "processing", "progress": 40, "message": "page 4"}
    halfway = (await api.patch(path, json=update)).json()
    assert update.items() <= halfway.items()
    assert (await api.get(path)).json() == halfway
    assert (await api.get(f"{path}/status")).json() == halfway

    done = (await api.patch(path, json={"status": "completed", "result": {"rows": [1]}})).json()
    assert (done["status"], done["result"]) == ("completed", {"rows": [1]})
    problem(await api.patch(path, json={"progress": 50}), 409, "job_is_over")


async def test_a_job_gets_an_id_if_it_has_none(api: httpx2.AsyncClient) -> None:
    job = (await api.post("/api/jobs")).json()
    failed = (await api.patch(f"/api/jobs/{job['id']}", json={"error": "no ink"})).json()
    assert (failed["status"], failed["error"]) == ("failed", "no ink")
    other = (await api.post("/api/jobs", json={})).json()
    assert other["id"] != job["id"]
    done = (await api.patch(f"/api/jobs/{other['id']}", json={"result": None})).json()
    assert (done["status"], done["result"]) == ("completed", None)


async def test_a_job_that_errands_executes_is_not_updated_from_outside(
    process: Embedded, api: httpx2.AsyncClient
) -> None:
    (id,) = await process.send([NewJob("shop", "nap", b"{}")])
    problem(await api.patch(f"/api/jobs/{id}", json={"progress": 5}), 409, "not_external")


async def test_an_id_that_something_else_has_is_refused(api: httpx2.AsyncClient) -> None:
    (event,) = (await api.post("/e/any", json={"name": "order/paid"})).json()["ids"]
    (run,) = (await api.get("/api/runs")).json()["runs"]
    problem(await api.post("/api/jobs", json={"id": event}), 409, "id_taken")
    problem(await api.post("/api/jobs", json={"id": run["id"]}), 409, "not_external")


async def test_a_job_is_ended_from_outside(process: Embedded, api: httpx2.AsyncClient) -> None:
    (id,) = await process.send([NewJob("shop", "nap", b"{}")])
    ended = (await api.post(f"/api/jobs/{id}/cancel", json={"reason": "not wanted"})).json()
    assert (ended["status"], ended["error"]) == ("failed", "cancelled: not wanted")
    assert (await api.post(f"/api/jobs/{id}/cancel")).json() == ended


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("GET", "/status"),
        ("GET", "/view"),
        ("GET", "/view?wait=5"),
        ("PATCH", ""),
        ("POST", "/cancel"),
        ("POST", "/token"),
    ],
)
@pytest.mark.parametrize("id", ["nobody", "0" * 26, "%2F", "a%00b", "ü", "x" * 3_000])
async def test_an_unknown_job_is_not_found(
    api: httpx2.AsyncClient, method: str, path: str, id: str
) -> None:
    answer = await api.request(
        method, f"/api/jobs/{id}{path}", json=None if method == "GET" else {}
    )
    assert (answer.status_code, answer.json()) == (404, MISSING)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"progress": 101}, 422),
        ({"progress": -1}, 422),
        ({"progress": "half"}, 422),
        ({"status": "done"}, 422),
        ({"state": "completed"}, 422),
        ({"message": "x" * 2_001}, 422),
        ({"message": 5}, 422),
        ({"status": "failed", "result": 1}, 422),
        ({"status": "completed", "error": "x"}, 422),
        ({"result": "x" * 2_001}, 413),
    ],
)
async def test_a_bad_update_changes_nothing(
    api: httpx2.AsyncClient, body: Any, status: int
) -> None:
    job = (await api.post("/api/jobs")).json()
    path = f"/api/jobs/{job['id']}"
    answer = await api.patch(path, json=body)
    problem(answer, status, answer.json()["code"])
    assert (await api.get(path)).json() == job


@pytest.mark.parametrize(
    "body",
    [
        {"id": ""},
        {"id": "x" * 256},
        {"id": "a\nb"},
        {"id": 5},
        {"keep": "soon"},
        {"keep": -1},
        {"keep": 0},
        {"keep": 10**30},
        {"keep": "1000000 weeks"},
        {"keeep": "1h"},
        [],
    ],
)
async def test_a_bad_job_is_not_made(api: httpx2.AsyncClient, body: Any) -> None:
    answer = await api.post("/api/jobs", json=body)
    problem(answer, 422, answer.json()["code"])
    assert (await api.get("/api/runs")).json()["runs"] == []


# -- as errands' own client asks -------------------------------------------------------------------


async def test_a_view_tells_all_of_the_outcome(process: Embedded, api: httpx2.AsyncClient) -> None:
    async with process.worker(10):
        added, broken = await process.send(
            [NewJob("shop", "add", b'{"a":2,"b":3}'), NewJob("shop", "add", b'{"a":"x","b":1}')]
        )
        for id in (added, broken):
            await api.get(f"/api/jobs/{id}/view?final=1&wait=20")
    view = (await api.get(f"/api/jobs/{added}/view")).json()
    assert (view["status"], view["result"], view["cancelled"]) == ("completed", 5, None)
    assert "error" not in view
    view = (await api.get(f"/api/jobs/{broken}/view")).json()
    assert view["status"] == "failed"
    assert view["error"]["name"]
    assert "result" not in view


async def test_a_view_is_waited_for_until_it_differs(
    process: Embedded, api: httpx2.AsyncClient
) -> None:
    job = (await api.post("/api/jobs")).json()
    path = f"/api/jobs/{job['id']}/view"
    stamp = (await api.get(path)).json()["stamp"]
    assert (await api.get(path, params={"seen": "x", "wait": 20})).json()["stamp"] == stamp
    waiting = asyncio.ensure_future(api.get(path, params={"seen": stamp, "wait": 20}))

    async def is_waited_for() -> bool:
        return bool(process.watchers.waiting())

    await until(is_waited_for)
    await api.patch(f"/api/jobs/{job['id']}", json={"progress": 5})
    assert (await waiting).json()["progress"] == 5
    assert process.watchers.waiting() == []


async def test_a_wait_that_is_over_answers_as_it_is(api: httpx2.AsyncClient) -> None:
    job = (await api.post("/api/jobs")).json()
    path = f"/api/jobs/{job['id']}/view"
    view = (await api.get(path)).json()
    for query in ({"seen": view["stamp"]}, {"final": "true"}):
        assert (await api.get(path, params=query | {"wait": 0.05})).json() == view
    for query in ({"wait": 31}, {"wait": "long"}, {"final": "perhaps"}, {"since": 1}):
        problem(await api.get(path, params=query), 422, "invalid_value")
