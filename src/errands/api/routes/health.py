"""Is it alive, can it do its work, how much has it done."""

import asyncio

from starlette.responses import Response

from errands.api import schemas
from errands.api.endpoint import Access, Answer, Ask, Endpoint, json
from errands.executors.process import Process
from errands.model.errors import ErrandsError
from errands.telemetry import CONTENT_TYPE, exposition

ANSWER_SECONDS = 2.0
"""How long the committer may take to answer, through all that waits before."""
METRICS = "text/plain"


async def health(ask: Ask) -> Response:
    return json(schemas.Health())


async def ready(ask: Ask) -> Response:
    """Goes the way that claiming work goes: through the committer's queue, into the store."""
    checks = {"store": await _store(ask.process), "committer": await _committer(ask.process)}
    is_ok = all(found == "ok" for found in checks.values())
    told = schemas.Ready(status="ok" if is_ok else "unavailable", checks=checks)
    return json(told, 200 if is_ok else 503)


async def _store(process: Process) -> str:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await asyncio.to_thread(process.store.reader.config)
    except TimeoutError:
        return f"it could not be read within {ANSWER_SECONDS:g} s"
    except Exception as error:
        # Whatever a driver raises: that it cannot be read is the answer, not a failure of ours.
        return f"it cannot be read: {type(error).__name__}"
    return "ok"


async def _committer(process: Process) -> str:
    if process.committer.is_declared_dead:
        return "this process was silent for too long, and others have taken over"
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await process.committer.fence()
    except TimeoutError:
        return f"nothing could be written within {ANSWER_SECONDS:g} s"
    except ErrandsError as error:
        return error.code
    return "ok"


async def metrics(ask: Ask) -> Response:
    return Response(await asyncio.to_thread(exposition, ask.process), media_type=CONTENT_TYPE)


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        "GET",
        "/health",
        health,
        "The process lives.",
        {200: Answer("It does.", schemas.Health)},
        access=Access.PUBLIC,
    ),
    Endpoint(
        "GET",
        "/ready",
        ready,
        "Work can be accepted and claimed.",
        {200: Answer("It can.", schemas.Ready), 503: Answer("It cannot.", schemas.Ready)},
        access=Access.PUBLIC,
    ),
    Endpoint(
        "GET",
        "/metrics",
        metrics,
        "Counters for Prometheus.",
        {200: Answer("As text.", media_type=METRICS)},
        access=Access.PUBLIC,
    ),
)
