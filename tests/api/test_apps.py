"""What errands' own client does over HTTP: register an app, send events and jobs."""

from typing import Any

import httpx2
import msgspec
import pytest

from errands.embedded import Embedded
from tests.api.conftest import problem
from tests.api.shop import app

FUNCTION = {"slug": "ship", "name": "Ship", "kind": 1, "triggers": [{"event": "order/paid"}]}


def config(**changes: Any) -> dict[str, Any]:
    return {"name": "store", "functions": [FUNCTION | changes]}


async def test_an_app_registers_what_it_has(api: httpx2.AsyncClient) -> None:
    body = msgspec.json.encode(app.config())
    answer = await api.put("/api/apps/shop", content=body)
    assert answer.json() == {"functions": 4}
    assert (await api.put("/api/apps/store", json=config())).json() == {"functions": 1}
    await api.post("/e/any", json={"name": "order/paid"})
    runs = (await api.get("/api/runs")).json()["runs"]
    assert {(run["app"], run["function"]) for run in runs} == {
        ("shop", "ordered"),
        ("store", "ship"),
    }


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"slug": ""}, "slug"),
        ({"slug": "x" * 257}, "slug"),
        ({"name": "a\0"}, "name"),
        ({"kind": 4}, "kind"),
        ({"kind": 9}, "kind"),
        ({"triggers": [{"event": ""}]}, "triggers/0/event"),
        ({"triggers": [{"event": "a", "condition": "1 +"}]}, "triggers/0/condition"),
        ({"cancel": [{"event": "a", "condition": "("}]}, "cancel/0/condition"),
        ({"cancel": [{"event": "a", "timeout_ms": -1}]}, "cancel/0/timeout_ms"),
        ({"start_timeout_ms": 10**18}, "start_timeout_ms"),
        ({"finish_timeout_ms": -5}, "finish_timeout_ms"),
        ({"retries": {"count": -1}}, "retries/count"),
        ({"retries": {"count": 10**30}}, "retries/count"),
        ({"retries": {"delay_ms": -1}}, "retries/delay_ms"),
        ({"retries": {"factor": 0.5}}, "retries/factor"),
        ({"on_failure": ["nobody"]}, "on_failure/0"),
    ],
)
async def test_a_function_that_cannot_be_is_refused_by_name(
    api: httpx2.AsyncClient, changes: Any, pointer: str
) -> None:
    before = (await api.get("/api/functions")).json()
    told = problem(await api.put("/api/apps/store", json=config(**changes)), 422, "invalid_value")
    assert told["errors"][0]["pointer"] == f"/functions/0/{pointer}"
    assert (await api.get("/api/functions")).json() == before


async def test_an_app_is_registered_under_its_own_name(api: httpx2.AsyncClient) -> None:
    problem(await api.put("/api/apps/other", json=config()), 422, "invalid_value")
    twice = {"name": "store", "functions": [FUNCTION, FUNCTION]}
    problem(await api.put("/api/apps/store", json=twice), 422, "invalid_value")
    external = {"name": "errands", "functions": [FUNCTION | {"slug": "external"}]}
    problem(await api.put("/api/apps/errands", json=external), 422, "invalid_config")


async def test_events_and_jobs_are_sent_as_one(process: Embedded, api: httpx2.AsyncClient) -> None:
    items = [
        {"type": "event", "name": "order/paid", "data": {"n": 1}, "key": "o1"},
        {
            "type": "job",
            "app": "shop",
            "function": "add",
            "data": {"a": 1},
            "key": "j1",
            "delayMs": 60_000,
            "retries": {"count": 7},
            "tags": ["customer=c1"],
        },
    ]
    ids = (await api.post("/api/send", json={"items": items})).json()["ids"]
    assert ids[0] == "o1"
    assert (await api.post("/api/send", json={"items": items})).json()["ids"] == ids
    (run,) = (await api.get("/api/runs?tag=customer%3Dc1")).json()["runs"]
    assert (run["id"], run["function"], run["tags"]) == (ids[1], "add", ["customer=c1"])
    shown = (await api.get(f"/api/runs/{run['id']}")).json()
    assert shown["input"] == {"a": 1}
    assert shown["waitingFor"][0]["what"] == "its start"


async def test_one_bad_item_keeps_out_all(api: httpx2.AsyncClient) -> None:
    job = {"type": "job", "app": "shop", "function": "add", "data": {"a": 1}}
    event = {"type": "event", "name": "order/paid", "data": {}}
    for bad, status, code in (
        (job | {"function": "nobody"}, 404, "function_not_found"),
        (job | {"data": {"a": "x" * 3_000}}, 413, "value_too_large"),
        (job | {"delayMs": -1}, 422, "invalid_value"),
        (job | {"delayMs": 5, "at": 5}, 422, "invalid_value"),
        (job | {"tags": ["x"]}, 422, "invalid_value"),
        (job | {"retries": {"count": -1}}, 422, "invalid_value"),
        (job | {"key": "a\nb"}, 422, "invalid_value"),
        (event | {"name": "errands/x"}, 422, "event_refused"),
        (event | {"key": "a\nb"}, 422, "event_refused"),
        (event | {"data": {"a": "x" * 3_000}}, 413, "event_refused"),
        ({"type": "nothing"}, 422, "invalid_value"),
        ({}, 422, "invalid_value"),
    ):
        problem(await api.post("/api/send", json={"items": [job, event, bad]}), status, code)
    assert (await api.get("/api/runs")).json()["runs"] == []
    assert (await api.get("/api/events")).json()["events"] == []
