"""What Prometheus scrapes: read by its own parser, from processes that have really worked."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from errands import App, step
from errands.api.app import make_api
from errands.api.keys import OPEN
from errands.embedded import Embedded
from errands.model.job import NewJob
from errands.settings import Settings
from errands.store.open import open_store
from errands.telemetry import counted, exposition, registry
from errands.telemetry.counters import Histogram

LABELS = {"function", "status", "method", "route", "status_class", "le"}
"""All that there are: each has few values."""
BAD = "5 is no even number"


class Scrape:
    """Samples by name and labels."""

    def __init__(self, text: bytes) -> None:
        self.samples: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        self.kinds: dict[str, str] = {}
        for family in text_string_to_metric_families(text.decode()):
            self.kinds[family.name] = family.type
            for sample in family.samples:
                self.samples[sample.name, frozenset(sample.labels.items())] = sample.value

    def __call__(self, name: str, **labels: str) -> float:
        return self.samples[name, frozenset(labels.items())]

    @property
    def names(self) -> set[str]:
        return {name for name, _ in self.samples}


def make_app() -> App:
    app = App("shop")

    async def half(number: int) -> int:
        if number % 2:
            raise ValueError(BAD)
        return number // 2

    @app.job(retries=0, id="halve")
    async def halve(number: int) -> int:
        return await step.with_options(retries=0).run("half", half, number)

    @app.job(id="sleep")
    async def sleep() -> None:
        await step.sleep("nap", "1h")

    return app


def open_process(folder: Path, app: App) -> Embedded:
    url = f"sqlite:///{folder / 'errands.db'}"
    return Embedded(lambda: open_store(url, is_durable=False), app, Settings())


@asynccontextmanager
async def working(folder: Path, app: App) -> AsyncIterator[Embedded]:
    process = open_process(folder, app)
    counted(process)
    try:
        with app.use_backend(process):
            async with app.worker(concurrency=10):
                yield process
    finally:
        process.close()


async def run(process: Embedded, app: App, function: str, *, data: bytes = b"{}") -> None:
    """To its end."""
    (id,) = await process.send([NewJob(app.id, function, data)])
    assert await process.outcome(id, 20) is not None


async def scrape(process: Embedded) -> Scrape:
    # Who waits for a run is told of its end a moment before it is counted.
    await process.committer.fence()
    return Scrape(await asyncio.to_thread(exposition, process))


async def until_parked(process: Embedded) -> Scrape:
    async with asyncio.timeout(20):
        while True:
            found = await scrape(process)
            if found("errands_runs_parked"):
                return found
            await asyncio.sleep(0.01)


async def test_runs_and_steps_are_counted_by_function_and_outcome(tmp_path: Path) -> None:
    app = make_app()
    async with working(tmp_path, app) as process:
        for number in (2, 4, 5):
            await run(process, app, "halve", data=b'{"number": %d}' % number)
        found = await scrape(process)

    halve = {"function": "shop/halve"}
    assert found("errands_runs_created_total", **halve) == 3
    assert found("errands_runs_total", status="completed", **halve) == 2
    assert found("errands_runs_total", status="failed", **halve) == 1
    assert found("errands_run_duration_seconds_count", **halve) == 3
    assert found("errands_run_duration_seconds_bucket", le="+Inf", **halve) == 3
    assert found("errands_step_duration_seconds_count", status="completed", **halve) == 2
    assert found("errands_step_duration_seconds_count", status="failed", **halve) == 1
    assert found("errands_commit_batch_inputs_count") > 0
    assert found("errands_commit_duration_seconds_sum") > 0


async def test_what_waits_is_told_with_its_age_and_forgotten_when_done(tmp_path: Path) -> None:
    app = make_app()
    sender = open_process(tmp_path, app)
    await sender.connect()
    ids = await sender.send([NewJob("shop", "halve", b'{"number": 2}')] * 3)
    before = await scrape(sender)
    async with working(tmp_path, app) as process:
        for id in ids:
            assert await process.outcome(id, 20) is not None
        after = await scrape(process)
    sender.close()

    assert before("errands_queue_depth", function="shop/halve") == 3
    assert before("errands_queue_depth", function="shop/sleep") == 0
    assert before("errands_queue_oldest_age_seconds", function="shop/halve") >= 0
    assert before("errands_workers") == 0
    assert after("errands_queue_depth", function="shop/halve") == 0
    assert after("errands_queue_oldest_age_seconds", function="shop/halve") == 0
    assert (after("errands_workers"), after("errands_workers_concurrency")) == (1, 10)


async def test_a_run_that_sleeps_is_parked_and_holds_no_lease(tmp_path: Path) -> None:
    app = make_app()
    async with working(tmp_path, app) as process:
        await process.send([NewJob("shop", "sleep", b"{}")])
        found = await until_parked(process)

        assert found("errands_leases") == 0
        assert found("errands_runs_executing") == 0
        assert found("errands_concurrency") == 10
        assert found("errands_schedule_lag_seconds") == 0


async def test_no_label_names_a_run_or_a_key(tmp_path: Path) -> None:
    app = make_app()
    async with working(tmp_path, app) as process:
        await run(process, app, "halve", data=b'{"number": 5}')
        counted(process).request("PROPFIND", "/api/runs/{id}", 405, 0.01)
        found = await scrape(process)

    assert {label for _, labels in found.samples for label, _ in labels} <= LABELS
    assert found.samples[
        "errands_http_requests_total",
        frozenset({"method": "other", "route": "/api/runs/{id}", "status_class": "4xx"}.items()),
    ]


async def test_each_request_is_counted_under_its_route(tmp_path: Path) -> None:
    app = make_app()
    process = open_process(tmp_path, app)
    transport = httpx2.ASGITransport(app=make_api(process, OPEN, process.settings))
    async with httpx2.AsyncClient(transport=transport, base_url="http://errands") as client:
        await client.get("/api/runs/none")
        await client.get("/api/runs/of-these")
        response = await client.get("/metrics")
    process.close()

    found = Scrape(response.content)
    one = {"method": "GET", "route": "/api/runs/{id}"}
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert found("errands_http_requests_total", status_class="4xx", **one) == 2
    assert found("errands_http_request_duration_seconds_count", **one) == 2
    assert found("errands_open_streams") == 0


async def test_two_processes_of_one_program_do_not_mix(tmp_path: Path) -> None:
    app = make_app()
    other = open_process(tmp_path, app)
    await other.connect()
    async with working(tmp_path, app) as process:
        await run(process, app, "halve", data=b'{"number": 2}')
        found, found_there = await scrape(process), await scrape(other)
    other.close()

    assert registry(process) is not registry(other)
    assert found("errands_runs_total", function="shop/halve", status="completed") == 1
    assert "errands_runs_total" not in found_there.names


async def test_a_store_that_cannot_be_read_does_not_end_the_scrape(tmp_path: Path) -> None:
    process = open_process(tmp_path, make_app())
    counted(process)
    await process.connect()
    await process.send([NewJob("shop", "halve", b'{"number": 2}')])
    before = await scrape(process)
    cast("Any", process.store.reader).close()
    found = await scrape(process)
    process.close()

    assert before("errands_store_readable") == 1
    assert found("errands_store_readable") == 0
    assert found("errands_runs_created_total", function="shop/halve") == 1
    assert "errands_queue_depth" not in found.names


@pytest.mark.parametrize(("value", "bucket"), [(0, 0), (1, 0), (1.5, 1), (2, 1), (9, 2)])
def test_a_bound_belongs_to_the_bucket_below_it(value: float, bucket: int) -> None:
    histogram = Histogram((1, 2))

    histogram.add(value)

    assert [n for n, count in enumerate(histogram.counts) if count] == [bucket]
