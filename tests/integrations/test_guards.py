"""What is for ourselves only: as ASGI middleware, and as a FastAPI dependency."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from fastapi import APIRouter, Depends, FastAPI, HTTPException
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from errands.background import run_background_job
from errands.integrations.asgi import InternalOnly
from errands.integrations.fastapi import internal_only
from tests.integrations.receiver import served, until

BODY = b'{"error":"Unauthorized"}'
notified: list[Any] = []


def fastapi_app() -> FastAPI:
    app = FastAPI()

    @app.post("/api/internal/notify", dependencies=[Depends(internal_only())])
    async def notify(data: dict[str, Any]) -> dict[str, bool]:
        notified.append(data)
        return {"success": True}

    inner = APIRouter(prefix="/inner", dependencies=[Depends(internal_only(key="other"))])

    @inner.get("/plain")
    def plain() -> str:
        return "plain"

    @app.get("/open")
    async def free() -> str:
        raise HTTPException(401, "of its own")

    app.include_router(inner)
    return app


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERNAL_API_KEY", "k1")
    notified.clear()


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    async with served(fastapi_app()) as url, httpx2.AsyncClient(base_url=url) as client:
        yield client


def refused(answer: httpx2.Response) -> None:
    assert (answer.status_code, answer.content) == (401, BODY)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("given", [None, "Bearer", "Bearer k2", "Bearer other", "Basic k1", "k1"])
async def test_fastapi_answers_401_with_exactly_this_body(
    client: httpx2.AsyncClient, given: str | None
) -> None:
    headers = {} if given is None else {"Authorization": given}
    for _ in range(2):
        refused(await client.post("/api/internal/notify", json={"a": 1}, headers=headers))

    assert notified == []


async def test_fastapi_checks_before_it_reads(client: httpx2.AsyncClient) -> None:
    refused(await client.get("/inner/plain", headers={"Authorization": "Bearer k1"}))
    answer = await client.get("/inner/plain", headers={"Authorization": "Bearer other"})
    assert answer.json() == "plain"


async def test_fastapi_lets_the_bearer_through(client: httpx2.AsyncClient) -> None:
    answer = await client.post(
        "/api/internal/notify", json={"a": 1}, headers={"Authorization": "Bearer k1"}
    )
    assert answer.json() == {"success": True}


async def test_the_applications_own_errors_stay_as_they_are(client: httpx2.AsyncClient) -> None:
    await client.post("/api/internal/notify", json={})
    assert (await client.get("/open")).json() == {"detail": "of its own"}


async def test_an_application_may_answer_401_in_its_own_way() -> None:
    app = fastapi_app()

    @app.exception_handler(401)
    async def own(request: Any, error: Any) -> PlainTextResponse:
        return PlainTextResponse("mine", 401)

    async with served(app) as url, httpx2.AsyncClient(base_url=url) as client:
        assert (await client.post("/api/internal/notify", json={})).text == "mine"


async def test_two_authorizations_are_none(client: httpx2.AsyncClient) -> None:
    headers = [("Authorization", "Bearer k1"), ("Authorization", "Bearer k1")]
    refused(await client.post("/api/internal/notify", json={}, headers=headers))


async def test_a_background_job_reaches_what_is_guarded() -> None:
    async with served(fastapi_app()) as url:
        job = run_background_job("/api/internal/notify", {"userId": "u1"}, base_url=url)
        await until(lambda: job.is_done)

    assert notified == [{"userId": "u1"}]


# -- without a framework ---------------------------------------------------------------------------


async def hello(request: Any) -> PlainTextResponse:
    return PlainTextResponse("hello")


async def talk(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.close()


def mounted() -> Starlette:
    inside = Starlette(routes=[Route("/x", hello), WebSocketRoute("/ws", talk)])
    return Starlette(routes=[Route("/open", hello), Mount("/internal", InternalOnly(inside))])


async def test_middleware_guards_what_it_stands_around() -> None:
    async with served(mounted()) as url, httpx2.AsyncClient(base_url=url) as client:
        assert (await client.get("/open")).text == "hello"
        refused(await client.get("/internal/x"))
        refused(await client.get("/internal/nothing"))
        answer = await client.get("/internal/x", headers={"Authorization": "Bearer k1"})
        assert answer.text == "hello"


def test_middleware_refuses_a_websocket() -> None:
    client = TestClient(mounted())
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/internal/ws"):
        pass
    headers = {"Authorization": "Bearer k1"}
    with client.websocket_connect("/internal/ws", headers=headers):
        pass


def test_middleware_lets_the_lifespan_through() -> None:
    app = Starlette(routes=[Route("/x", hello)])
    app.add_middleware(InternalOnly, key="other")
    with TestClient(app) as client:
        assert client.get("/x").content == BODY
        assert client.get("/x", headers={"Authorization": "Bearer other"}).text == "hello"
