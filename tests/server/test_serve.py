"""`errands serve`: a real process that demands keys, answers, drains and leaves."""

import json
import signal
import socket
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.server.children import BEARER, KEYS, SECONDS, Running, wait_until
from tests.server.conftest import Start

EVENT = "/e/event-key-of-this-test"


@pytest.fixture
def server(errands: Start) -> Running:
    return errands("serve", "--port", "0", **KEYS)


@pytest.fixture
def client(server: Running) -> Any:
    with httpx2.Client(base_url=server.url(), timeout=SECONDS, trust_env=False) as client:
        yield client


def test_it_answers_that_it_is_ready(client: httpx2.Client) -> None:
    assert client.get("/ready").json()["status"] == "ok"


def test_an_event_is_accepted_and_found_again(client: httpx2.Client) -> None:
    answer = client.post(EVENT, json={"name": "shop/ordered", "data": {"item": "tea"}})

    (id,) = answer.json()["ids"]
    assert client.get(f"/api/events/{id}", headers=BEARER).json()["data"] == {"item": "tea"}


def test_a_worker_beside_it_executes_what_it_accepts(errands: Start, client: httpx2.Client) -> None:
    errands("worker", "shop:app").wait_said("app shop: 2 functions")

    client.post(EVENT, json={"name": "shop/ordered", "data": {"item": "tea"}}).raise_for_status()

    def is_packed() -> bool:
        runs = client.get("/api/runs", headers=BEARER).json()["runs"]
        return [one["status"] for one in runs] == ["completed"]

    wait_until(is_packed, "the run is completed")


# -- keys ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", KEYS)
def test_it_does_not_start_without_each_of_its_keys(errands: Start, missing: str) -> None:
    server = errands("serve", "--port", "0", **{k: v for k, v in KEYS.items() if k != missing})

    assert server.wait() == 2
    assert f"A server needs keys, and is missing {missing}." in server.said
    assert "errands keys new" in server.said


def test_without_keys_it_accepts_nothing(client: httpx2.Client) -> None:
    assert client.post("/e/another", json={"name": "x"}).status_code == 401
    assert client.get("/api/runs").status_code == 401
    assert client.get("/api/runs", headers={"Authorization": "Bearer x"}).status_code == 401


def test_no_key_is_ever_in_its_log(server: Running, client: httpx2.Client) -> None:
    client.post(EVENT, json={"name": "x"})
    client.get("/api/runs", headers=BEARER)
    client.post(EVENT, content=b"\xff")

    server.stop()

    for key in KEYS.values():
        assert key not in server.said


def test_it_logs_as_json_where_that_is_asked_for(errands: Start) -> None:
    server = errands("serve", "--port", "0", ERRANDS_LOG_FORMAT="json", **KEYS)
    server.wait_said("serving")
    server.stop()
    assert {json.loads(line)["logger"] for line in server.lines} == {"errands.server"}


# -- what goes wrong at the start ------------------------------------------------------------------


def test_a_port_in_use_is_told(errands: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        server = errands("serve", "--port", str(port), **KEYS)
        assert server.wait() == 2
    assert f"127.0.0.1:{port} is in use: another program listens there." in server.said


def test_a_store_that_is_none_is_told_in_one_line(errands: Start, folder: Path) -> None:
    (folder / "no.db").write_text("this is no database, and long enough to see that" * 100)

    server = errands("serve", "--port", "0", "--store", "sqlite:///no.db", **KEYS)

    assert server.wait() in (1, 2)
    assert "Traceback" not in server.said
    assert [line for line in server.lines if line.startswith("Error: ")] == server.lines


def test_a_server_is_no_store(errands: Start) -> None:
    server = errands("serve", "--port", "0", ERRANDS_URL="http://127.0.0.1:1", **KEYS)
    assert server.wait() == 2
    assert "is not the URL of a store" in server.said


# -- browsers --------------------------------------------------------------------------------------


def test_pages_of_an_origin_that_is_set_may_ask(errands: Start) -> None:
    server = errands("serve", "--port", "0", ERRANDS_CORS_ORIGINS="https://shop.example", **KEYS)
    ask = {
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "authorization",
    }

    def allowed(origin: str) -> str | None:
        headers = {**ask, "Origin": origin}
        answer = httpx2.options(f"{server.url()}/api/runs", headers=headers, trust_env=False)
        return answer.headers.get("access-control-allow-origin")

    assert allowed("https://shop.example") == "https://shop.example"
    assert allowed("https://evil.example") is None


# -- leaving ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_leaves_with_0(server: Running, number: int) -> None:
    server.url()
    server.signal(number)
    assert server.wait() == 0
    assert "Traceback" not in server.said


def test_a_stream_ends_when_the_server_stops(server: Running, client: httpx2.Client) -> None:
    client.post("/api/jobs", json={"id": "j1"}, headers=BEARER).raise_for_status()

    with client.stream("GET", "/api/jobs/j1/events", headers=BEARER) as stream:
        lines = stream.iter_lines()
        data = next(line for line in lines if line.startswith("data: "))
        assert json.loads(data.removeprefix("data: "))["status"] == "pending"
        server.signal(signal.SIGTERM)
        assert [line for line in lines if line.startswith("data")] == []

    assert server.wait() == 0


def test_a_request_that_only_waits_is_told_to_ask_again(
    server: Running, client: httpx2.Client
) -> None:
    client.post("/api/jobs", json={"id": "j1"}, headers=BEARER).raise_for_status()
    host, port = server.url().removeprefix("http://").split(":")
    ask = f"GET /api/jobs/j1/view?wait=30&final=1 HTTP/1.1\r\nHost: {host}\r\n"
    with socket.create_connection((host, int(port)), SECONDS) as waiting:
        waiting.sendall(f"{ask}Authorization: {BEARER['Authorization']}\r\n\r\n".encode())
        # What comes after it is answered: so it has arrived.
        client.get("/health").raise_for_status()
        server.signal(signal.SIGTERM)
        answer = waiting.makefile("rb").read().decode()

    assert server.wait() == 0
    head, _, body = answer.partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 503 ")
    assert "retry-after: 1" in head.lower()
    assert json.loads(body)["code"] == "stopping"


def test_what_was_accepted_is_there_after_it_was_killed(errands: Start, server: Running) -> None:
    with httpx2.Client(base_url=server.url(), trust_env=False) as client:
        (id,) = client.post(EVENT, json={"name": "shop/ordered", "data": {}}).json()["ids"]
    server.signal(signal.SIGKILL)
    server.wait()

    other = errands("serve", "--port", "0", **KEYS)

    answer = httpx2.get(f"{other.url()}/api/events/{id}", headers=BEARER, trust_env=False)
    assert answer.json()["id"] == id
