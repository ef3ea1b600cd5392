"""Events in, and which there were."""

import asyncio
from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.responses import Response

from errands.api import describe, schemas
from errands.api.endpoint import (
    BODY_BYTES_MAX,
    Access,
    Answer,
    Ask,
    Endpoint,
    check_count,
    decode_body,
    json,
    read_body,
)
from errands.api.paging import LIMIT, Cursor, Limit, page, read_cursor, write_cursor
from errands.api.problems import Mistake, Refusal
from errands.api.schemas import ClientEvent, SentEvent
from errands.executors.process import Process
from errands.model.event import Event, NewEvent
from errands.model.event_rules import KEY_HINT, NAME_HINT, TS_MAX, is_key, why_not_name
from errands.model.ids import EventId, parse_id
from errands.store.interface import EventFilter, Reader

V_LENGTH_MAX = 256
OneOrMany = SentEvent | list[SentEvent]
_decoder = msgspec.json.Decoder(OneOrMany)
_encode = msgspec.json.Encoder().encode


class EventQuery(msgspec.Struct, forbid_unknown_fields=True):
    name: Annotated[str | None, Meta(description="Only of this name.")] = None
    limit: Limit = LIMIT
    cursor: Cursor = None


# -- in --------------------------------------------------------------------------------------------


async def send(ask: Ask) -> Response:
    """All of them are durable before the answer, or none is accepted."""
    given = decode_body(await read_body(ask.scope, ask.receive, BODY_BYTES_MAX), _decoder)
    limit, trace = ask.settings.value_bytes, ask.trace
    if type(given) is SentEvent:
        items = [new_event(given, given.id, limit, trace, "")]
    else:
        check_count(len(given))
        items = [new_event(one, one.id, limit, trace, f"/{k}") for k, one in enumerate(given)]
    ids = await ask.process.send(items) if items else []
    return json(schemas.Accepted(ids=ids))


def new_event(
    event: SentEvent | ClientEvent, key: str | None, limit: int, trace: str | None, at: str
) -> NewEvent:
    """By the rules of `model.event_rules`, as the SDK sends it. at: a JSON pointer to it.

    limit: bytes of its data and user. Raises Refusal.
    """
    why = why_not_name(event.name)
    if why is not None:
        raise _refused(f"{at}/name", why, NAME_HINT)
    if key is not None and not is_key(key):
        raise _refused(f"{at}/id", f"the id {key[:40]!r} is not allowed", KEY_HINT)
    if event.ts is not None and not 0 <= event.ts <= TS_MAX:
        raise _refused(f"{at}/ts", f"{event.ts} is no time", "It is Unix milliseconds.")
    if event.v is not None and len(event.v) > V_LENGTH_MAX:
        raise _refused(f"{at}/v", f"a version has at most {V_LENGTH_MAX} characters", "")
    data = _encode(event.data)
    user = None if event.user is None else _encode(event.user)
    size = len(data) if user is None else len(data) + len(user)
    if size > limit:
        raise _too_large(event.name, at, size, limit)
    return NewEvent(event.name, data, key, event.ts, user, event.v, trace)


def _refused(pointer: str, why: str, hint: str) -> Refusal:
    # The code of the SDK's own error: it is the same one.
    return Refusal(
        422,
        "event_refused",
        f"{why[:1].upper()}{why[1:]}. Nothing was accepted.",
        hint=hint,
        errors=(Mistake(pointer, why),),
    )


def _too_large(name: str, at: str, size: int, limit: int) -> Refusal:
    why = f"it is {size:,} bytes as JSON; the limit is {limit:,}"
    return Refusal(
        413,
        "event_refused",
        f"Event {name!r} is too large: {why}. Nothing was accepted.",
        hint="Keep the large part where it belongs (a file, an object store, your database) and "
        "send its key.",
        errors=(Mistake(f"{at}/data", why),),
    )


# -- which there were ------------------------------------------------------------------------------


async def list_events(ask: Ask) -> Response:
    return json(await asyncio.to_thread(_list, ask))


def _list(ask: Ask) -> schemas.EventPage:
    query: EventQuery = ask.query
    reader, key = ask.process.store.reader, ask.process.key
    before = read_cursor(query.cursor, key)
    asked = EventFilter(query.name, None if before is None else EventId(before), query.limit + 1)
    shown, last = page(reader.list_events(asked), query.limit)
    return schemas.EventPage(
        events=[describe.event(one, key) for one in shown],
        cursor=write_cursor(None if last is None else last.id, key),
    )


async def show(ask: Ask) -> Response:
    return json(await asyncio.to_thread(_show, ask))


def _show(ask: Ask) -> schemas.EventDetail:
    reader = ask.process.store.reader
    event = _find(ask.path("id"), reader, ask.process)
    return describe.event_detail(event, reader.runs_of_event(event.id), reader)


def _find(id: str, reader: Reader, process: Process) -> Event:
    """By its id, or by the one that its sender has given it."""
    number = parse_id(id, process.key) or reader.event_of_key(id, process.clock.now())
    found: Sequence[Event] = () if number is None else reader.events([EventId(number)])
    if not found:
        raise Refusal(
            404,
            "event_not_found",
            f"There is no event {id[:80]!r}, or it is past its retention.",
            hint="Events are kept for ERRANDS_KEEP_EVENTS, 7 days by default.",
        )
    return found[0]


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        "POST",
        "/e/{key}",
        send,
        "Send an event, or several: all of them or none.",
        {200: Answer("Durable.", schemas.Accepted)},
        access=Access.EVENT_KEY,
        body=OneOrMany,
        reads_body=False,
    ),
    Endpoint(
        "GET",
        "/api/events",
        list_events,
        "Events, the newest first.",
        {200: Answer("A page.", schemas.EventPage)},
        query=EventQuery,
    ),
    Endpoint(
        "GET",
        "/api/events/{id}",
        show,
        "An event, and the runs that it has started.",
        {200: Answer("The event.", schemas.EventDetail)},
    ),
)
