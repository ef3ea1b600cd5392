"""Runs: which there are, all of one, its end, and the same once more."""

import asyncio
from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.responses import Response

from errands.api import describe, schemas
from errands.api.endpoint import Answer, Ask, Endpoint, json
from errands.api.paging import LIMIT, Cursor, Limit, page, read_cursor, write_cursor
from errands.api.problems import Refusal
from errands.model.ids import RunId, parse_id
from errands.model.text import storable
from errands.store.interface import RunFilter, RunRow

LOGS_LIMIT = 200


class RunQuery(msgspec.Struct, forbid_unknown_fields=True):
    status: Annotated[schemas.RunState | None, Meta(description="Only these.")] = None
    function: Annotated[
        str | None, Meta(description='Only of this one: "slug" of any app, or "app/slug".')
    ] = None
    tag: Annotated[str | None, Meta(description='Only with this tag, "key=value".')] = None
    limit: Limit = LIMIT
    cursor: Cursor = None


class LogQuery(msgspec.Struct, forbid_unknown_fields=True):
    after: Annotated[str | None, Meta(description="`cursor` of the page before.")] = None
    limit: Limit = LOGS_LIMIT


async def list_runs(ask: Ask) -> Response:
    return json(await asyncio.to_thread(_list, ask))


def _list(ask: Ask) -> schemas.RunPage:
    query: RunQuery = ask.query
    reader, key = ask.process.store.reader, ask.process.key
    before = read_cursor(query.cursor, key)
    asked = RunFilter(
        query.function,
        query.status,
        query.tag,
        None if before is None else RunId(before),
        query.limit + 1,
    )
    shown, last = page(reader.runs(asked), query.limit)
    return schemas.RunPage(
        runs=[describe.run(row, reader) for row in shown],
        cursor=write_cursor(None if last is None else last.id, key),
    )


async def show(ask: Ask) -> Response:
    return json(await asyncio.to_thread(_show, ask))


def _show(ask: Ask) -> schemas.RunDetail:
    return describe.run_detail(find(ask, ask.path("id")), ask.process.store.reader)


async def logs(ask: Ask) -> Response:
    return json(await asyncio.to_thread(_logs, ask))


def _logs(ask: Ask) -> schemas.LogPage:
    query: LogQuery = ask.query
    row, key = find(ask, ask.path("id")), ask.process.key
    after = read_cursor(query.after, key, "after") or 0
    lines = ask.process.store.reader.logs(row.id, after, query.limit)
    return schemas.LogPage(
        logs=[describe.log_line(line) for line in lines],
        cursor=write_cursor(lines[-1].id, key) if lines else query.after,
    )


async def cancel(ask: Ask) -> Response:
    row, body = find(ask, ask.path("id")), ask.body
    assert isinstance(body, schemas.Cancel)
    reason = None if body.reason is None else storable(body.reason, schemas.TEXT_LENGTH_MAX)
    await ask.process.cancel(ask.path("id"), reason)
    reader = ask.process.store.reader
    return json(describe.run(reader.run(row.id) or row, reader))


async def rerun(ask: Ask) -> Response:
    find(ask, ask.path("id"))
    id = await ask.process.rerun(ask.path("id"), ask.trace)
    return json(describe.run(find(ask, id), ask.process.store.reader), 201)


def find(ask: Ask, id: str) -> RunRow:
    """Raises Refusal."""
    number = parse_id(id, ask.process.key)
    row = None if number is None else ask.process.store.reader.run(RunId(number))
    if row is None:
        raise Refusal(
            404,
            "run_not_found",
            f"There is no run {id[:80]!r}, or it is past its retention.",
            hint="Runs that are over are kept for ERRANDS_KEEP_RUNS, 7 days by default.",
        )
    return row


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        "GET",
        "/api/runs",
        list_runs,
        "Runs, the newest first.",
        {200: Answer("A page.", schemas.RunPage)},
        query=RunQuery,
    ),
    Endpoint(
        "GET",
        "/api/runs/{id}",
        show,
        "All that is known of a run: input, steps, history, outcome.",
        {200: Answer("The run.", schemas.RunDetail)},
    ),
    Endpoint(
        "GET",
        "/api/runs/{id}/logs",
        logs,
        "What a run has logged, the oldest first.",
        {200: Answer("A page.", schemas.LogPage)},
        query=LogQuery,
    ),
    Endpoint(
        "POST",
        "/api/runs/{id}/cancel",
        cancel,
        "End a run as cancelled. What it has done stays done; one that is over stays as it is.",
        {200: Answer("The run as it is now.", schemas.Run)},
        body=schemas.Cancel,
        is_body_optional=True,
    ),
    Endpoint(
        "POST",
        "/api/runs/{id}/rerun",
        rerun,
        "Start a new run with what this one was started with.",
        {201: Answer("The new run.", schemas.Run)},
        problems=(409,),
    ),
)
