"""Jobs as their owners see them, and external ones, whose work user code does itself."""

import asyncio
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta
from starlette.responses import Response

from errands.api import describe, schemas
from errands.api.endpoint import Access, Answer, Ask, Endpoint, json
from errands.api.problems import Refusal, refuse_value
from errands.api.stream import Jobs, Token, job_events, many_events, stamp_of
from errands.executors.process import Process
from errands.model.duration import DURATION_MS_MAX, parse_duration
from errands.model.errors import InvalidConfig, JobNotFound
from errands.model.job import JobView
from errands.model.text import storable

WAIT_SECONDS_MAX = 30.0
TOKEN_MS_MAX = 24 * 3_600_000
_encode = msgspec.json.Encoder().encode


class ViewQuery(msgspec.Struct, forbid_unknown_fields=True):
    wait: Annotated[
        float, Meta(ge=0, le=WAIT_SECONDS_MAX, description="At most so many seconds.")
    ] = 0
    seen: Annotated[
        str | None, Meta(description="`stamp` of the view before: wait for another one.")
    ] = None
    final: Annotated[bool, Meta(description="Wait for the end, whatever comes before.")] = False


# -- as it is --------------------------------------------------------------------------------------


async def status(ask: Ask) -> Response:
    process, id = ask.process, ask.path("id")
    authorization = ask.header(b"authorization")
    ask.keys.check_job(authorization, ask.query.token, [id], process.clock.now())
    try:
        return json(describe.job_status(await process.job(id)))
    except JobNotFound:
        return _missing()


async def view(ask: Ask) -> Response:
    """For errands' own client, which asks as if it were at the store itself."""
    try:
        found = await _looked(ask.process, ask.path("id"), ask.query)
    except JobNotFound:
        return _missing()
    return json(describe.job_view(found, stamp_of(found)))


async def _looked(process: Process, id: str, query: ViewQuery) -> JobView:
    loop = asyncio.get_running_loop()
    until = loop.time() + query.wait
    run = process.run_id(id)
    while True:
        ticket = process.watchers.watch(run, loop)
        try:
            # Only now: what changes from here on settles the ticket.
            found = process.view(id, run)
            is_other = not query.final and stamp_of(found) != query.seen
            left = until - loop.time()
            if found.is_final or is_other or left <= 0:
                return found
            await process.hear(ticket, left)
        finally:
            process.watchers.forget(run, ticket)


def _missing() -> Response:
    return json(schemas.JobMissing(), 404)


# -- changes ---------------------------------------------------------------------------------------


async def create(ask: Ask) -> Response:
    body: schemas.CreateJob = ask.body
    keep_ms = _keep_ms(body.keep, ask)
    try:
        made, is_new = await ask.process.create_job(body.id, keep_ms)
    except JobNotFound:
        raise Refusal(
            409,
            "id_taken",
            f"{body.id!r} is an id that errands has given to something else.",
            hint="Choose another one, or leave it out to get one.",
        ) from None
    return json(describe.job_status(made), 201 if is_new else 200)


def _keep_ms(keep: str | int | None, ask: Ask) -> int:
    if keep is None:
        return ask.settings.keep_jobs_ms
    if isinstance(keep, str):
        keep = _duration(keep, "keep")
    if not 0 < keep <= DURATION_MS_MAX:
        raise refuse_value("/keep", "keep is from 1 ms to 100 years")
    return keep


def _duration(text: str, name: str) -> int:
    try:
        return parse_duration(text[:100], name)
    except InvalidConfig as error:
        why = str(error.args[0]).removesuffix(".")
        raise refuse_value(f"/{name}", why, hint='For example "24h" or "90m".') from None


async def update(ask: Ask) -> Response:
    body: schemas.UpdateJob = ask.body
    try:
        changed = await ask.process.update_job(
            ask.path("id"),
            status=body.status,
            percent=body.progress,
            note=body.message,
            result=None if body.result is UNSET else _encode(body.result),
            error=body.error,
        )
    except JobNotFound:
        return _missing()
    return json(describe.job_status(changed))


async def cancel(ask: Ask) -> Response:
    body: schemas.Cancel = ask.body
    reason = None if body.reason is None else storable(body.reason, schemas.TEXT_LENGTH_MAX)
    try:
        await ask.process.cancel(ask.path("id"), reason)
        return json(describe.job_status(await ask.process.job(ask.path("id"))))
    except JobNotFound:
        return _missing()


async def token(ask: Ask) -> Response:
    """For a browser, which must not have the API token."""
    body: schemas.MakeToken = ask.body
    ttl = _duration(body.ttl, "ttl")
    if not 0 < ttl <= TOKEN_MS_MAX:
        raise refuse_value("/ttl", "a token is good for at most 24 h, and for more than nothing")
    try:
        await ask.process.job(ask.path("id"))
    except JobNotFound:
        return _missing()
    if not (ask.keys.is_open or ask.keys.signing_key):
        raise Refusal(
            409,
            "no_signing_key",
            "This server has no signing key, so it can make no tokens.",
            hint="Set ERRANDS_SIGNING_KEY; `errands keys new` prints one.",
        )
    until = ask.process.clock.now() + ttl
    made = ask.keys.job_token([ask.path("id")], until)
    return json(schemas.JobToken(token=made, expires_at=until))


_MISSING = Answer("There is no such job.", schemas.JobMissing)
_STATUS = Answer("The job as it is now.", schemas.JobStatus)
_EVENTS = Answer(
    "Messages `status`, each a JobStatus as JSON; comments as signs of life.",
    media_type="text/event-stream",
)
_OVER = Answer("All of it is over, and the client has seen that.", media_type="")
ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        "POST",
        "/api/jobs",
        create,
        "Make an external job, whose work your own code does.",
        {
            201: Answer("It is new.", schemas.JobStatus),
            200: Answer("It was there.", schemas.JobStatus),
        },
        body=schemas.CreateJob,
        is_body_optional=True,
        problems=(409,),
    ),
    *(
        Endpoint(
            "GET",
            path,
            status,
            "A job as it is now.",
            {200: _STATUS, 404: _MISSING},
            access=Access.JOB,
            query=Token,
        )
        for path in ("/api/jobs/{id}", "/api/jobs/{id}/status")
    ),
    Endpoint(
        "PATCH",
        "/api/jobs/{id}",
        update,
        "Say how an external job goes. A result completes it, an error fails it.",
        {200: _STATUS, 404: _MISSING},
        body=schemas.UpdateJob,
        problems=(409,),
    ),
    Endpoint(
        "POST",
        "/api/jobs/{id}/cancel",
        cancel,
        "End a job as cancelled; one that is over stays as it is.",
        {200: _STATUS, 404: _MISSING},
        body=schemas.Cancel,
        is_body_optional=True,
    ),
    Endpoint(
        "POST",
        "/api/jobs/{id}/token",
        token,
        "A token that lets a browser follow this job.",
        {200: Answer("The token.", schemas.JobToken), 404: _MISSING},
        body=schemas.MakeToken,
        is_body_optional=True,
        problems=(409,),
    ),
    Endpoint(
        "GET",
        "/api/jobs/{id}/view",
        view,
        "For errands' own client: a job with all of its outcome, at once or when it changes.",
        {200: Answer("The job.", schemas.JobView), 404: _MISSING},
        query=ViewQuery,
    ),
    Endpoint(
        "GET",
        "/api/jobs/{id}/events",
        job_events,
        "Follow a job live, as server-sent events; resumes with Last-Event-ID.",
        {200: _EVENTS, 204: _OVER, 404: _MISSING},
        access=Access.JOB,
        query=Token,
        has_head=False,
    ),
    Endpoint(
        "GET",
        "/api/events/stream",
        many_events,
        "Follow up to 100 jobs on one connection.",
        {200: _EVENTS, 204: _OVER, 404: _MISSING},
        access=Access.JOB,
        query=Jobs,
        has_head=False,
    ),
)
