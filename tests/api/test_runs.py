"""Runs over HTTP: listed, shown, ended, repeated."""

from typing import Any

import httpx2
import pytest

from errands.embedded import Embedded
from tests.api.conftest import problem, until

NOBODY = "01JAAAAAAAAAAAAAAAAAAAAAAA"


async def send(api: httpx2.AsyncClient, name: str, **data: Any) -> None:
    assert (await api.post("/e/any", json={"name": name, "data": data})).status_code == 200


async def ended_runs(api: httpx2.AsyncClient, count: int) -> list[dict[str, Any]]:
    async def look() -> Any:
        runs = (await api.get("/api/runs")).json()["runs"]
        return runs if len(runs) == count and all(run["endedAt"] for run in runs) else None

    found: list[dict[str, Any]] = await until(look)
    return found


async def test_all_of_a_run_is_shown(process: Embedded, api: httpx2.AsyncClient) -> None:
    async with process.worker(10):
        await send(api, "user/signed.up", user_id="ada")
        (run,) = await ended_runs(api, 1)
    shown = (await api.get(f"/api/runs/{run['id']}")).json()
    assert run.items() <= shown.items()
    assert (shown["app"], shown["function"], shown["status"]) == ("shop", "welcome", "completed")
    assert shown["input"] == {"user_id": "ada"}
    assert shown["result"] == "Welcome, ada!"
    assert shown["event"]["name"] == "user/signed.up"
    assert shown["failure"] is None
    assert shown["waitingFor"] == []
    (step,) = shown["steps"]
    assert (step["id"], step["kind"], step["status"]) == ("greet", "run", "completed")
    assert step["result"] == "Welcome, ada!"
    whats = [line["what"] for line in shown["history"]]
    assert whats == ["created", "started", "step completed", "completed"]


async def test_a_failure_is_shown_with_its_cause(
    process: Embedded, api: httpx2.AsyncClient
) -> None:
    async with process.worker(10):
        await send(api, "user/signed.up", user_id="nobody")
        (run,) = await ended_runs(api, 1)
    assert run["status"] == "failed"
    assert "there is no such user" in run["error"]
    shown = (await api.get(f"/api/runs/{run['id']}")).json()
    assert shown["result"] is None
    assert "LookupError" in str(shown["failure"])
    assert shown["steps"][0]["error"] == "LookupError: there is no such user"


async def test_what_a_run_logs_is_read_in_pages(process: Embedded, api: httpx2.AsyncClient) -> None:
    async with process.worker(10):
        await send(api, "user/signed.up", user_id="ada")
        (run,) = await ended_runs(api, 1)
        path = f"/api/runs/{run['id']}/logs"

        async def lines() -> Any:
            return (await api.get(path)).json()["logs"]

        (line,) = await until(lines)
    assert (line["level"], line["text"], line["step"]) == ("WARNING", "welcome ada", None)
    cursor = (await api.get(path)).json()["cursor"]
    assert (await api.get(path, params={"after": cursor})).json() == {"logs": [], "cursor": cursor}
    problem(await api.get(path, params={"after": "x"}), 422, "invalid_value")


async def test_a_run_says_what_it_waits_for(process: Embedded, api: httpx2.AsyncClient) -> None:
    await send(api, "order/paid")
    (run,) = (await api.get("/api/runs")).json()["runs"]
    path = f"/api/runs/{run['id']}"
    (waits,) = (await api.get(path)).json()["waitingFor"]
    assert waits == {"what": "a worker that serves this function and has room", "at": None}
    async with process.worker(10):

        async def sleeps() -> Any:
            waits = (await api.get(path)).json()["waitingFor"]
            return waits if waits and waits[0]["at"] else None

        (waits,) = await until(sleeps)
    assert waits["what"] == "the end of sleep 'until tomorrow'"
    assert waits["at"] > run["createdAt"]


async def test_runs_are_filtered_and_paged(api: httpx2.AsyncClient) -> None:
    for _ in range(5):
        await send(api, "order/paid")
    await send(api, "user/signed.up", user_id="ada")
    runs = (await api.get("/api/runs")).json()["runs"]
    await api.post(f"/api/runs/{runs[2]['id']}/cancel")
    ids = [run["id"] for run in runs]
    assert len(ids) == 6

    async def listed(**query: Any) -> list[str]:
        found: list[str] = []
        while True:
            page = (await api.get("/api/runs", params=query)).json()
            found += [run["id"] for run in page["runs"]]
            if page["cursor"] is None:
                return found
            assert page["cursor"] == found[-1]
            query["cursor"] = page["cursor"]

    assert await listed(limit=4) == ids
    assert await listed(limit=6) == ids
    assert await listed(function="shop/ordered", limit=2) == ids[1:]
    assert await listed(status="cancelled") == [ids[2]]
    assert await listed(status="pending", limit=1) == [id for id in ids if id != ids[2]]
    assert await listed(function="nobody") == []
    assert await listed(tag="customer=c1") == []
    problem(await api.get("/api/runs?status=gone"), 422, "invalid_value")


async def test_a_cancelled_run_stays_as_it_is(api: httpx2.AsyncClient) -> None:
    await send(api, "order/paid")
    (run,) = (await api.get("/api/runs")).json()["runs"]
    path = f"/api/runs/{run['id']}/cancel"
    ended = (await api.post(path, json={"reason": "not\0wanted"})).json()
    assert (ended["status"], ended["cancelled"]) == ("cancelled", "not\\x00wanted")
    assert ended["endedAt"] is not None
    assert (await api.post(path, json={"reason": "again"})).json() == ended
    assert (await api.post(path)).json() == ended


async def test_a_run_is_repeated_with_what_it_was_given(
    process: Embedded, api: httpx2.AsyncClient
) -> None:
    async with process.worker(10):
        await send(api, "user/signed.up", user_id="ada")
        (first,) = await ended_runs(api, 1)
        answer = await api.post(f"/api/runs/{first['id']}/rerun")
        assert answer.status_code == 201
        await ended_runs(api, 2)
    again = (await api.get(f"/api/runs/{answer.json()['id']}")).json()
    assert (again["result"], again["input"]) == ("Welcome, ada!", {"user_id": "ada"})
    lines = [line for line in again["history"] if line["what"] == "repeats another run"]
    assert [line["run"] for line in lines] == [first["id"]]


async def test_an_external_job_cannot_be_repeated(api: httpx2.AsyncClient) -> None:
    job = (await api.post("/api/jobs")).json()
    problem(await api.post(f"/api/runs/{job['id']}/rerun"), 409, "not_repeatable")


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", ""), ("GET", "/logs"), ("POST", "/cancel"), ("POST", "/rerun")],
)
@pytest.mark.parametrize("id", [NOBODY, "nobody", "%2F..", "%00", "ü"])
async def test_an_unknown_run_is_not_found(
    api: httpx2.AsyncClient, method: str, path: str, id: str
) -> None:
    problem(await api.request(method, f"/api/runs/{id}{path}"), 404, "run_not_found")


async def test_a_bad_reason_is_refused(api: httpx2.AsyncClient) -> None:
    await send(api, "order/paid")
    (run,) = (await api.get("/api/runs")).json()["runs"]
    path = f"/api/runs/{run['id']}/cancel"
    for body in ({"reason": 5}, {"why": "x"}, {"reason": "x" * 2_001}, []):
        problem(await api.post(path, json=body), 422, "invalid_value")
    problem(await api.post(path, content=b"not wanted"), 400, "invalid_json")
    assert (await api.get(f"/api/runs/{run['id']}")).json()["status"] == "pending"


async def test_functions_are_listed(process: Embedded, api: httpx2.AsyncClient) -> None:
    await api.post("/api/jobs")
    found = (await api.get("/api/functions")).json()["functions"]
    assert [one["id"] for one in found] == ["shop/add", "shop/nap", "shop/ordered", "shop/welcome"]
    assert found[3]["triggers"] == [{"event": "user/signed.up", "condition": None}]
    assert (found[3]["kind"], found[0]["kind"]) == ("event", "job")
    assert found[3]["retries"]["count"] == 0
    assert (await api.get("/api/functions?app=nobody")).json() == {"functions": []}
