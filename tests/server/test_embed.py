"""errands inside a web app's own process, under a real uvicorn."""

import asyncio
import json
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from errands import App, InvalidConfig
from tests.server.children import BEARER, KEYS, SECONDS, Running, wait_until
from tests.server.conftest import Start

LIFE = """
from contextlib import asynccontextmanager
from shop import Ordered, app, refuse

@asynccontextmanager
async def life(api):
    print("opened:", await app.send(Ordered(item="at start")), flush=True)
    yield {"from": "the lifespan"}
    print("closed", flush=True)
"""
FASTAPI = f"""{LIFE}
from fastapi import FastAPI, Request

api = FastAPI(lifespan=life)

@api.post("/order")
async def order(request: Request):
    job = await refuse.enqueue("sold out")
    token = errands.job_token(job.id)
    return {{"id": job.id, "token": token, "state": request.state._state["from"]}}

@api.get("/{{everything:path}}")
async def everything(everything: str):
    return "the web app's own"

errands = app.embed(api)
"""
STARLETTE = f"""{LIFE}
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

async def order(request):
    job = await refuse.enqueue("sold out")
    token = errands.job_token(job.id)
    return JSONResponse({{"id": job.id, "token": token, "state": request.state._state["from"]}})

async def everything(request):
    return JSONResponse("the web app's own")

api = Starlette(
    lifespan=life,
    routes=[Route("/order", order, methods=["POST"]), Route("/{{everything:path}}", everything)],
)
errands = app.embed(api)
"""


@pytest.fixture(params=[FASTAPI, STARLETTE], ids=["fastapi", "starlette"])
def web(request: Any, run: Start, folder: Path) -> Running:
    (folder / "web.py").write_text(request.param)
    return start(run)


def start(run: Start, **variables: str) -> Running:
    keys = {**KEYS, **variables}
    return run("-m", "uvicorn", "web:api", "--port", "0", PYTHONPATH=".", **keys)


@pytest.fixture
def client(web: Running) -> Any:
    with httpx2.Client(base_url=web.url(), timeout=SECONDS, trust_env=False) as client:
        yield client


def runs(client: httpx2.Client) -> list[tuple[str, str]]:
    answer = client.get("/errands/api/runs", headers=BEARER)
    return [(one["function"], one["status"]) for one in answer.json()["runs"]]


def test_the_apps_functions_are_executed_there(client: httpx2.Client) -> None:
    answer = client.post("/order").json()
    assert answer["state"] == "the lifespan"

    expected = [("refuse", "failed"), ("pack", "completed")]
    wait_until(lambda: runs(client) == expected, "both runs have ended")


def test_the_web_apps_own_lifespan_is_kept_and_may_send(web: Running) -> None:
    web.url()
    web.stop()

    assert web.wait_said("opened: ")
    assert web.wait_said("closed")
    assert "Traceback" not in web.said


def test_a_job_is_followed_with_a_token_for_it_alone(client: httpx2.Client) -> None:
    one, other = client.post("/order").json(), client.post("/order").json()
    path = f"/errands/api/jobs/{one['id']}"

    assert client.get(f"{path}/status").status_code == 401
    assert client.get(f"{path}/status", params={"token": other["token"]}).status_code == 401
    with client.stream("GET", f"{path}/events", params={"token": one["token"]}) as stream:
        told = [line for line in stream.iter_lines() if line.startswith("data: ")]
    assert json.loads(told[-1].removeprefix("data: "))["status"] == "failed"


def test_nothing_else_is_open(client: httpx2.Client) -> None:
    assert client.get("/errands/health").status_code == 200
    assert client.get("/errands/api/runs").status_code == 401
    assert client.get("/errands/metrics").status_code == 401
    assert client.get("/errands/metrics", headers=BEARER).status_code == 200
    assert client.post("/errands/e/none", json={"name": "shop/ordered"}).status_code == 401


def test_what_is_beside_the_path_stays_the_web_apps(client: httpx2.Client) -> None:
    assert client.get("/other").json() == "the web app's own"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_open_stream_does_not_keep_the_web_server_from_stopping(
    web: Running, client: httpx2.Client, number: int
) -> None:
    client.post("/errands/api/jobs", json={"id": "j1"}, headers=BEARER).raise_for_status()

    with client.stream("GET", "/errands/api/jobs/j1/events", headers=BEARER) as stream:
        lines = stream.iter_lines()
        assert next(line for line in lines if line.startswith("data: "))
        web.signal(number)
        assert [line for line in lines if line.startswith("data: ")] == []

    web.wait()
    assert web.wait_said("closed")


def test_without_any_key_it_is_shut(run: Start, folder: Path) -> None:
    (folder / "web.py").write_text(STARLETTE)
    url = start(run, **dict.fromkeys(KEYS, "")).url()

    bearer = {"Authorization": "Bearer"}
    assert httpx2.get(f"{url}/errands/api/runs", trust_env=False).status_code == 401
    assert httpx2.get(f"{url}/errands/api/runs", headers=bearer, trust_env=False).status_code == 401
    assert httpx2.post(f"{url}/errands/e/", json={}, trust_env=False).status_code in (401, 404)
    one = httpx2.post(f"{url}/order", trust_env=False).json()
    status = f"{url}/errands/api/jobs/{one['id']}/status"
    assert httpx2.get(status, params={"token": one["token"]}, trust_env=False).status_code == 200


def test_it_is_open_where_the_settings_say_so(run: Start, folder: Path) -> None:
    (folder / "web.py").write_text(STARLETTE)
    url = start(run, **dict.fromkeys(KEYS, ""), ERRANDS_OPEN_API="1").url()

    assert httpx2.get(f"{url}/errands/api/runs", trust_env=False).status_code == 200


# -- in this process -------------------------------------------------------------------------------


@pytest.fixture
def shop(tmp_path: Path) -> App:
    return App("shop", url=f"sqlite:///{tmp_path}/errands.db")


def test_before_the_lifespan_it_says_that_it_has_not_started(shop: App) -> None:
    web = Starlette()
    shop.embed(web)

    answer = TestClient(web).get("/errands/health")

    assert answer.status_code == 503
    assert answer.json()["code"] == "not_started"


def test_a_web_app_may_start_again(shop: App) -> None:
    web = Starlette()
    shop.embed(web, path="/jobs")
    for _ in range(2):
        with TestClient(web) as client:
            assert client.get("/jobs/ready").json()["status"] == "ok"


def test_two_apps_are_embedded_side_by_side(shop: App, tmp_path: Path) -> None:
    web, other = Starlette(), App("other", url=f"sqlite:///{tmp_path}/other.db")
    shop.embed(web, path="/shop")
    other.embed(web, path="/other")
    with TestClient(web) as client:
        assert client.get("/shop/ready").status_code == 200
        assert client.get("/other/ready").status_code == 200


def test_what_the_web_app_opens_is_there_before_a_run_and_after(shop: App) -> None:
    seen: list[str] = []
    over = asyncio.Event()

    @shop.job
    async def look() -> None:
        seen.append("executed")
        over.set()

    @asynccontextmanager
    async def life(web: Starlette) -> AsyncGenerator[None]:
        await look.enqueue()
        seen.append("opened")
        yield
        await asyncio.wait_for(over.wait(), SECONDS)
        seen.append("closed")

    web = Starlette(lifespan=life)
    shop.embed(web)
    with TestClient(web) as client:
        wait_until(lambda: "executed" in seen and client.get("/errands/health"), "it is executed")

    assert seen == ["opened", "executed", "closed"]


def test_a_startup_that_fails_leaves_the_store_closed(shop: App) -> None:
    @asynccontextmanager
    async def life(web: Starlette) -> AsyncGenerator[None]:
        raise RuntimeError("no database")
        yield

    web = Starlette(lifespan=life)
    embedding = shop.embed(web)

    with pytest.raises(RuntimeError, match="no database"), TestClient(web):
        pass
    with pytest.raises(InvalidConfig, match="has not started"):
        embedding.job_token("x")


@pytest.mark.parametrize("path", ["errands", "/errands/", ""])
def test_a_path_that_cannot_be_is_refused(shop: App, path: str) -> None:
    with pytest.raises(InvalidConfig, match="path="):
        shop.embed(Starlette(), path=path)


def test_an_app_that_is_at_a_server_cannot_be_embedded() -> None:
    web = Starlette()
    App("shop", url="http://127.0.0.1:1").embed(web)
    with pytest.raises(InvalidConfig, match="cannot be at the server"), TestClient(web):
        pass


def test_it_comes_before_what_takes_every_path(shop: App) -> None:
    web = Starlette(routes=[Mount("/", Starlette())])
    shop.embed(web)
    with TestClient(web) as client:
        assert client.get("/errands/health").status_code == 200
