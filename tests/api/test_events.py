"""Events over HTTP: in, all of them or none, durable before the answer; and which there were."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from errands.embedded import Embedded
from errands.model.event import NewEvent
from errands.store.interface import EventFilter
from tests.api.conftest import problem, until

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def kept(process: Embedded) -> list[str]:
    """Names of all events, the newest first."""
    return [event.name for event in process.store.reader.list_events(EventFilter(limit=1000))]


async def test_an_event_is_kept_before_the_answer(
    api: httpx2.AsyncClient, process: Embedded
) -> None:
    answer = await api.post("/e/any", json={"name": "order/paid", "data": {"total": 12.5}})
    assert answer.status_code == 200
    assert answer.json() == {"ids": answer.json()["ids"], "status": 200}
    assert kept(process) == ["order/paid"]
    found = (await api.get(f"/api/events/{answer.json()['ids'][0]}")).json()
    assert (found["name"], found["data"]) == ("order/paid", {"total": 12.5})
    assert found["ts"] == found["receivedAt"]
    assert [run["function"] for run in found["runs"]] == ["ordered"]


async def test_all_that_an_event_may_carry_is_kept(api: httpx2.AsyncClient) -> None:
    sent = {
        "name": "order/paid",
        "data": {"ü": [1, None, 10**30, "😀"]},
        "id": "o1",
        "ts": 1_700_000_000_000,
        "user": {"id": "u1"},
        "v": "2",
    }
    answer = await api.post("/e/any", json=sent)
    assert answer.json()["ids"] == ["o1"]
    (found,) = (await api.get("/api/events")).json()["events"]
    assert found["receivedAt"] > found["ts"]
    assert {name: found[name] for name in sent} == sent


async def test_a_batch_is_sent_in_order_and_none_of_nothing(
    api: httpx2.AsyncClient, process: Embedded
) -> None:
    answer = await api.post("/e/any", json=[{"name": "a"}, {"name": "b", "data": {}}])
    assert len(answer.json()["ids"]) == 2
    assert kept(process) == ["b", "a"]
    assert (await api.post("/e/any", json=[])).json() == {"ids": [], "status": 200}


async def test_the_same_id_again_starts_nothing(api: httpx2.AsyncClient) -> None:
    event = {"name": "order/paid", "id": "once"}
    answers = [await api.post("/e/any", json=event) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    assert len((await api.get("/api/runs")).json()["runs"]) == 1


async def test_a_run_carries_the_trace_of_its_request(
    api: httpx2.AsyncClient, process: Embedded
) -> None:
    for given in (TRACE, "nonsense", TRACE + "x", "00-" + "ü" * 52):
        await api.post(
            "/e/any", json={"name": "order/paid"}, headers={b"traceparent": given.encode()}
        )
    runs = [row.id for row in process.store.reader.runs(_all())]
    assert [run.trace for run in process.store.reader.inputs(runs)] == [TRACE, None, None, None]


def _all() -> Any:
    from errands.store.interface import RunFilter

    return RunFilter()


# -- what cannot be accepted -----------------------------------------------------------------------

BAD: list[tuple[Any, int, str, str]] = [
    ({}, 422, "invalid_value", ""),
    ({"data": {}}, 422, "invalid_value", ""),
    ({"name": "a", "nmae": 1}, 422, "invalid_value", "/nmae"),
    ({"name": "a", "a/b~c": 1}, 422, "invalid_value", "/a~1b~0c"),
    ({"name": 1}, 422, "invalid_value", "/name"),
    ({"name": ""}, 422, "invalid_value", "/name"),
    ({"name": "a" * 257}, 422, "invalid_value", "/name"),
    ({"name": "a*"}, 422, "event_refused", "/name"),
    ({"name": "errands/run.finished"}, 422, "event_refused", "/name"),
    ({"name": "a\0b"}, 422, "event_refused", "/name"),
    ({"name": "a", "data": []}, 422, "invalid_value", "/data"),
    ({"name": "a", "data": None}, 422, "invalid_value", "/data"),
    ({"name": "a", "id": ""}, 422, "event_refused", "/id"),
    ({"name": "a", "id": "x" * 257}, 422, "event_refused", "/id"),
    ({"name": "a", "id": 5}, 422, "invalid_value", "/id"),
    ({"name": "a", "ts": -1}, 422, "event_refused", "/ts"),
    ({"name": "a", "ts": 10**18}, 422, "event_refused", "/ts"),
    ({"name": "a", "ts": True}, 422, "invalid_value", "/ts"),
    ({"name": "a", "ts": "now"}, 422, "invalid_value", "/ts"),
    ({"name": "a", "user": "u1"}, 422, "invalid_value", "/user"),
    ({"name": "a", "v": "1" * 257}, 422, "event_refused", "/v"),
    ({"name": "a", "data": {"x": "y" * 3_000}}, 413, "event_refused", "/data"),
    ({"name": "a", "user": {"x": "y" * 3_000}}, 413, "event_refused", "/data"),
]


@pytest.mark.parametrize(("event", "status", "code", "pointer"), BAD)
async def test_a_bad_event_is_refused_by_name(
    api: httpx2.AsyncClient, process: Embedded, event: Any, status: int, code: str, pointer: str
) -> None:
    told = problem(await api.post("/e/any", json=event), status, code)
    assert told["errors"][0]["pointer"] == pointer
    assert told["errors"][0]["detail"]
    assert kept(process) == []


@pytest.mark.parametrize(("event", "status", "code", "pointer"), BAD)
async def test_one_bad_event_of_a_batch_keeps_out_all(
    api: httpx2.AsyncClient, process: Embedded, event: Any, status: int, code: str, pointer: str
) -> None:
    told = problem(
        await api.post("/e/any", json=[{"name": "a"}, event, {"name": "b"}]), status, code
    )
    assert told["errors"][0]["pointer"] == f"/1{pointer}"
    assert kept(process) == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nonsense",
        b'{"name":"a"} {}',
        b'{"name":"\xff"}',
        b'{"name":"\\ud800"}',
        b'\xef\xbb\xbf{"name":"a"}',
        b"name=a&data=b",
        b"{'name':'a'}",
        b'{"name":NaN}',
    ],
)
async def test_what_is_no_json_is_told_so(api: httpx2.AsyncClient, body: bytes) -> None:
    assert "JSON" in problem(await api.post("/e/any", content=body), 400, "invalid_json")["detail"]


@pytest.mark.parametrize("body", [b"5", b"null", b'"a"', b"[5]", b"[[]]"])
async def test_json_that_is_no_event_is_told_so(api: httpx2.AsyncClient, body: bytes) -> None:
    problem(await api.post("/e/any", content=body), 422, "invalid_value")


@pytest.mark.parametrize("depth", [101, 900, 100_000, 1_000_000])
async def test_what_is_nested_without_end_is_refused(api: httpx2.AsyncClient, depth: int) -> None:
    body = b'{"name":"a","data":{"x":' + b"[" * depth + b"]" * depth + b"}}"
    problem(await api.post("/e/any", content=body), 422, "too_deep")


async def test_brackets_in_texts_are_no_depth(api: httpx2.AsyncClient) -> None:
    event = {"name": "a", "data": {"x": '\\"[{' * 300, '\\"[': "]]"}}
    assert (await api.post("/e/any", json=event)).status_code == 200


async def test_a_number_too_large_to_keep_is_refused(api: httpx2.AsyncClient) -> None:
    body = b'{"name":"a","data":{"x":1e999}}'
    told = problem(await api.post("/e/any", content=body), 422, "invalid_value")
    assert told["errors"][0]["pointer"] == "/data"


async def test_no_more_of_a_body_is_read_than_may_be(api: httpx2.AsyncClient) -> None:
    said = {"content-length": str(10**12)}
    problem(await api.post("/e/any", content=b"{}", headers=said), 413, "body_too_large")
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 1
            yield b" " * 1_000_000

    problem(await api.post("/e/any", content=endless()), 413, "body_too_large")
    assert read < 20


async def test_a_body_in_parts_is_one_body(api: httpx2.AsyncClient) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for letter in json.dumps({"name": "a"}):
            yield letter.encode()

    assert (await api.post("/e/any", content=parts())).status_code == 200


# -- which there were ------------------------------------------------------------------------------


async def test_events_are_listed_in_pages(api: httpx2.AsyncClient) -> None:
    await api.post("/e/any", json=[{"name": f"n{k % 2}", "data": {"k": k}} for k in range(7)])
    found: list[int] = []
    cursor: str | None = None
    for _ in range(3):
        query = {"limit": 3} | ({"cursor": cursor} if cursor else {})
        page = (await api.get("/api/events", params=query)).json()
        found += [event["data"]["k"] for event in page["events"]]
        cursor = page["cursor"]
    assert cursor is None
    assert found == [6, 5, 4, 3, 2, 1, 0]
    only = (await api.get("/api/events?name=n1")).json()["events"]
    assert [event["data"]["k"] for event in only] == [5, 3, 1]


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=many", "limit"),
        ("limit=1&limit=2", "limit"),
        ("cursor=x", "cursor"),
        ("colour=red", "colour"),
    ],
)
async def test_a_bad_query_is_refused_by_name(
    api: httpx2.AsyncClient, query: str, name: str
) -> None:
    told = problem(await api.get(f"/api/events?{query}"), 422, "invalid_value")
    assert told["errors"][0]["pointer"] == name
    assert name in told["detail"]


async def test_an_unknown_event_is_not_found(api: httpx2.AsyncClient) -> None:
    for id in ("nobody", "0" * 26, "%2F", "%00", "ü", "x" * 3_000):
        problem(await api.get(f"/api/events/{id}"), 404, "event_not_found")


async def test_an_event_starts_its_run(process: Embedded, api: httpx2.AsyncClient) -> None:
    async with process.worker(10):
        sent = {"name": "user/signed.up", "data": {"user_id": "u1"}}
        (id,) = (await api.post("/e/any", json=sent)).json()["ids"]

        async def ended() -> Any:
            runs = (await api.get(f"/api/events/{id}")).json()["runs"]
            return runs if runs and runs[0]["endedAt"] else None

        (run,) = await until(ended)
    assert (run["function"], run["status"]) == ("welcome", "completed")


def test_an_event_over_http_is_the_sdks() -> None:
    from errands.api.routes.events import new_event
    from errands.api.schemas import SentEvent
    from errands.sdk.event import new_event as of_sdk

    given: dict[str, Any] = {
        "name": "a/b", "data": {"x": [1, 2.5, "ü"]}, "id": "k", "ts": 5, "user": {"u": 1}, "v": "1"
    }  # fmt: skip
    made = new_event(SentEvent(**given), "k", 10_000, None, "")
    assert made == of_sdk(given, {})  # pyright: ignore[reportArgumentType]
    assert isinstance(made, NewEvent)
