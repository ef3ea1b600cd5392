"""The pages about HTTP do what they say."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import httpx2
import pytest

from tests.integrations.receiver import served, until
from tests.repo.test_examples_in_docs import ROOT, code_of
from tests.sdk.served import House

Load = Callable[[str], ModuleType]


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    loaded: list[str] = []

    def load(name: str) -> ModuleType:
        path = tmp_path / "page.py"
        path.write_text(code_of(ROOT / "docs" / "howto" / name))
        spec = importlib.util.spec_from_file_location(f"http_page_{len(loaded)}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        loaded.append(spec.name)
        spec.loader.exec_module(module)
        return module

    yield load
    for name in loaded:
        del sys.modules[name]


async def test_the_app_of_the_http_page_is_served(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executed, shown = load("http.md"), load("http.md")
    with House(tmp_path, executed.app).open() as house:
        monkeypatch.setenv("ERRANDS_URL", house.url)
        assert await shown.order() == "/reports/r1.pdf"
        assert await shown.request("r3") == "request-r3"
        assert await shown.order_or_not("r4")
        async with httpx2.AsyncClient(base_url=house.url) as client:
            said = {"name": "report/requested", "data": {"report_id": "r1"}, "id": "request-r1"}
            answer = await client.post("/e/any", json=said)
            assert answer.text == '{"ids":["request-r1"],"status":200}'
        shown.app.backend.close()


def test_plain_code_of_the_http_page_is_served(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executed, shown = load("http.md"), load("http.md")
    with House(tmp_path, executed.app).open() as house:
        monkeypatch.setenv("ERRANDS_URL", house.url)
        assert shown.order_from_plain_code() == "/reports/r2.pdf"
        shown.app.backend.close()


async def test_the_web_app_of_the_simple_page_notifies_itself(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTERNAL_API_KEY", "k1")
    shown = load("simple-jobs.md")
    async with served(shown.api) as url, httpx2.AsyncClient(base_url=url) as client:
        monkeypatch.setenv("INTERNAL_API_URL", url)

        answer = await client.post("/api/orders", json={"userId": "u1"})

        assert answer.json() == {"success": True}
        await until(lambda: shown.pushed == ["u1"])
        await shown.notify("u2")
        refused = await client.post("/api/internal/send-notification", json={"userId": "u3"})
        assert (refused.status_code, refused.text) == (401, '{"error":"Unauthorized"}')
        assert (await client.get("/internal/x")).status_code == 401
    assert "u3" not in shown.pushed
    assert shown.may_come_in({"Authorization": "Bearer k1"})
    assert not shown.may_come_in({})
