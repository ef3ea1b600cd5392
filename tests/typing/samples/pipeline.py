"""A data pipeline: several triggers, wildcards, map, branches, middleware."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from errands import (
    JSON,
    AnyEvent,
    App,
    Event,
    Failure,
    Middleware,
    Run,
    Trigger,
    current_run,
    field,
    step,
)


class Timing(Middleware):
    async def on_step(self, run: Run, proceed: Callable[[], Awaitable[object]]) -> object:
        begin = time.monotonic()
        try:
            return await proceed()
        finally:
            print(run.function_id, run.step_id, run.attempt, time.monotonic() - begin)


app = App("pipeline", middleware=[Timing()])


class FileArrived(Event, name="file/arrived", v="2"):
    tenant: str
    url: str
    bytes: int
    tags: dict[str, str] = field(default_factory=dict[str, str])
    owner_id: str = field(default="", name="ownerId")


class FileCorrected(Event, name="file/corrected"):
    tenant: str
    url: str


class Table(msgspec.Struct):
    name: str
    rows: int
    read_at: datetime


async def fetch(url: str) -> Table:
    return Table(url, 3, datetime.now(UTC))


def newest(tables: Sequence[Table]) -> Table | None:
    return max(tables, key=lambda table: table.read_at, default=None)


def settings() -> JSON:
    return {"urls": ["https://example.com"]}


@app.job
async def nightly(pages: int) -> int:
    urls = [f"https://example.com/{n}.csv" for n in range(pages)]
    tables = await step.map("fetch", fetch, urls, concurrency=20)
    best = await step.run("newest", newest, tables)
    return 0 if best is None else best.rows


@app.function(on=(FileArrived, FileCorrected))
async def ingest(event: FileArrived | FileCorrected) -> str:
    tries = 0
    # The id repeats: fetch, fetch:1, fetch:2.
    while (table := await step.run("fetch", fetch, event.url)).rows == 0:
        tries += 1
        await step.sleep("not-yet", timedelta(minutes=tries))
    async with asyncio.TaskGroup() as group:
        left = group.create_task(step.run("left", fetch, event.url))
        group.create_task(step.invoke("export", export, event.tenant, audience="all"))
    return f"{left.result().name} {table.name}"


@app.function(on=Trigger(FileArrived, if_exp=lambda event: event.bytes > 1_000_000))
async def big_file(event: FileArrived) -> None:
    job = await step.enqueue("export", export, event.tenant)
    print(job.id, current_run().attempt)


@app.function(on="file/*")
async def audit(event: AnyEvent) -> None:
    print(event.envelope.name, event.envelope.ts, event.data)


@app.job
async def export(tenant: str, audience: str = "all") -> str:
    return f"{tenant}-{audience}.parquet"


@app.on_failure
async def alarm(failure: Failure) -> None:
    print(failure.function_id, failure.attempts, failure.message)
