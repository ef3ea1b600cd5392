"""The Grafana board and the how-to speak of exactly the metrics that there are."""

import json
import re
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client import start_http_server

from errands import App, InvalidConfig, Middleware
from errands.telemetry import registry
from tests.telemetry.test_metrics import Scrape, make_app, run, scrape, working

ROOT = Path(__file__).parents[2]
BOARD = ROOT / "deploy" / "grafana" / "errands.json"
HOWTO = ROOT / "docs" / "howto" / "observability.md"
NAME = re.compile(r"\b(?:errands|process)_[a-z_]+\b")
PART = re.compile(r"_(bucket|sum|count|created)$")


@pytest.fixture
async def found(tmp_path: Path) -> Scrape:
    """Of a process in which everything has happened once."""
    app = make_app()
    async with working(tmp_path, app) as process:
        await run(process, app, "halve", data=b'{"number": 2}')
        return await scrape(process)


def expressions(board: dict[str, Any]) -> list[str]:
    return [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]


def test_the_board_asks_for_exported_metrics_only(found: Scrape) -> None:
    asked = {
        name for expr in expressions(json.loads(BOARD.read_text())) for name in NAME.findall(expr)
    }
    # A counter without labels has no sample before it has counted.
    families = {
        name + ("_total" if kind == "counter" else "") for name, kind in found.kinds.items()
    }

    unknown = {
        name for name in asked if name not in families and PART.sub("", name) not in families
    }

    assert asked
    assert unknown == set()


def test_the_board_has_panels_with_titles_of_their_own() -> None:
    panels = json.loads(BOARD.read_text())["panels"]

    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({panel["title"] for panel in panels}) == len(panels)
    for panel in panels:
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24


def test_the_howto_lists_every_metric(found: Scrape) -> None:
    rows = re.findall(r"^\| `(errands_[a-z_]+)` \|", HOWTO.read_text(), re.MULTILINE)
    exported = [
        name + ("_total" if kind == "counter" else "")
        for name, kind in found.kinds.items()
        if name.startswith("errands_")
    ]

    assert len(rows) == len(set(rows))
    assert set(rows) == set(exported)


async def test_a_worker_can_serve_its_metrics_itself(tmp_path: Path) -> None:
    seen: list[bytes] = []

    class Metrics(Middleware):
        async def start(self) -> None:
            self.server, self.thread = start_http_server(
                0, "127.0.0.1", registry=registry(app.backend)
            )

        async def stop(self) -> None:
            async with httpx2.AsyncClient() as client:
                answer = await client.get(f"http://127.0.0.1:{self.server.server_port}/metrics")
            seen.append(answer.content)
            self.server.shutdown()
            self.server.server_close()
            self.thread.join()

    app = App("shop", middleware=[Metrics()])

    @app.job
    async def pay() -> None: ...

    async with working(tmp_path, app) as process:
        await run(process, app, "pay")
        await process.committer.fence()

    assert Scrape(seen[0])("errands_runs_total", function="shop/pay", status="completed") == 1


def test_an_app_that_sends_to_a_server_has_no_metrics_of_its_own() -> None:
    with pytest.raises(InvalidConfig, match="sends to a server"):
        registry(object())
