"""What all paths have in common: methods, unknown paths, pages of other origins."""

import logging

import httpx2
import pytest

from errands.embedded import Embedded
from errands.settings import Settings
from tests.api.conftest import client_of, problem


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/e/any", "POST, OPTIONS"),
        ("DELETE", "/api/runs", "GET, HEAD, OPTIONS"),
        ("PUT", "/api/jobs/nobody", "GET, HEAD, PATCH, OPTIONS"),
        ("GET", "/api/runs/nobody/cancel", "POST, OPTIONS"),
        ("POST", "/api/openapi.json", "GET, HEAD, OPTIONS"),
        ("HEAD", "/api/jobs/nobody/events", "GET, OPTIONS"),
        ("TRACE", "/health", "GET, HEAD, OPTIONS"),
        ("NONSENSE", "/health", "GET, HEAD, OPTIONS"),
    ],
)
async def test_a_wrong_method_is_told_the_right_ones(
    api: httpx2.AsyncClient, method: str, path: str, allowed: str
) -> None:
    answer = await api.request(method, path)
    assert answer.headers["allow"] == allowed
    assert answer.status_code == 405
    if method != "HEAD":
        assert allowed in problem(answer, 405, "method_not_allowed")["detail"]
    answer = await api.options(path)
    assert (answer.status_code, answer.headers["allow"]) == (204, allowed)


@pytest.mark.parametrize("path", ["/", "/api", "/api/", "/api/runs/", "/e", "/e/", "/e/a/b", "/x"])
async def test_an_unknown_path_is_not_found(api: httpx2.AsyncClient, path: str) -> None:
    for method in ("GET", "POST"):
        problem(await api.request(method, path), 404, "no_such_path")


async def test_head_is_get_without_its_body(api: httpx2.AsyncClient) -> None:
    got, head = await api.get("/api/runs"), await api.head("/api/runs")
    assert head.status_code == got.status_code
    assert head.headers == got.headers


async def test_pages_of_a_named_origin_may_ask(process: Embedded) -> None:
    settings = Settings(cors_origins=("https://mine.example",))
    async with client_of(process, settings=settings) as api:
        asked = {
            "Origin": "https://mine.example",
            "Access-Control-Request-Method": "PATCH",
            "Access-Control-Request-Headers": "authorization, content-type, last-event-id",
        }
        answer = await api.options("/api/jobs/x", headers=asked)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "https://mine.example"
        assert "PATCH" in answer.headers["access-control-allow-methods"]
        asked["Origin"] = "https://evil.example"
        assert (await api.options("/api/jobs/x", headers=asked)).status_code == 400
        answer = await api.get("/api/runs", headers={"Origin": "https://mine.example"})
        assert answer.headers["access-control-allow-origin"] == "https://mine.example"
        answer = await api.post("/e/x", json={"name": "a"}, headers={"Origin": asked["Origin"]})
        assert "access-control-allow-origin" not in answer.headers


async def test_a_bug_is_logged_and_not_shown(
    process: Embedded, api: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    process.store.reader.close()  # pyright: ignore[reportAttributeAccessIssue]
    with caplog.at_level(logging.ERROR, "errands.api"):
        told = problem(await api.get("/api/runs"), 500, "internal_error")
    assert "sqlite" not in str(told).lower()
    assert "Traceback" in caplog.text
