"""Sending through middleware, where events and enqueued jobs alike are events."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from sys import modules
from typing import Any, TypeAlias, cast

import msgspec

from errands.model.errors import ArgumentsRefused
from errands.model.event import NewEvent
from errands.model.job import NewJob
from errands.sdk.codec import NOT_STORABLE, decode_json, encode_json
from errands.sdk.context import SESSION, STEP
from errands.sdk.definition import JobInput
from errands.sdk.envelope import Envelope, given_options
from errands.sdk.event import (
    AnyEvent,
    EventDict,
    EventLike,
    from_unix_ms,
    make_event,
)
from errands.sdk.middleware import wrap_send
from errands.sdk.owner import Owner
from errands.telemetry import spans

Sendable: TypeAlias = EventLike | EventDict | NewJob
Accept: TypeAlias = Callable[[Sequence[NewEvent | NewJob]], Awaitable[list[str]]]


class EnqueuedJob(AnyEvent, name="*"):
    """A job on its way in, as middleware sees it.

    Its name is "app/job", its data are the arguments by name.
    """

    call: NewJob


async def send_all(app: Owner, items: Sequence[Sendable], accept: Accept) -> list[str]:
    """`accept` these, with the app's middleware around it; gives their ids. Raises EventRefused."""
    if spans.API in modules:
        accept = _traced(accept)
    if not app.has_send_middleware:
        return await accept(
            [item if isinstance(item, NewJob) else app.new_event(item) for item in items]
        )

    async def last(events: Sequence[EventLike]) -> list[str]:
        return await accept([_item(app, event) for event in events])

    return await wrap_send(app.middleware, last)([_event(app, item) for item in items])


def _traced(accept: Accept) -> Accept:
    if SESSION.get() is not None and STEP.get() is None:
        # A run sends: in a span only once, when it is not remembered (`sdk.waits.send`).
        return lambda items: accept(spans.stamped(items))
    return lambda items: spans.sent(items, accept)


def _event(app: Owner, item: Sendable) -> EventLike:
    if isinstance(item, NewJob):
        job = EnqueuedJob(data=decode_json(item.data), call=item)
        return make_event(job, Envelope(f"{item.app}/{item.function}", id=item.key))
    new = app.new_event(item)
    if not isinstance(item, Mapping):
        return item
    at = None if new.ts is None else from_unix_ms(new.ts)
    user: dict[str, Any] = {} if new.user is None else decode_json(new.user)
    form = app.form_of_event(new.name)
    return cast(
        "EventLike", form.read(new.data, Envelope(new.name, new.v, id=new.key, ts=at, user=user))
    )


def _item(app: Owner, event: EventLike) -> NewEvent | NewJob:
    if not isinstance(event, EnqueuedJob):
        return app.new_event(event)
    call = event.call
    data = encode_json(event.data)
    definition = app.definitions.get(call.function)
    if definition is not None and isinstance(definition.input, JobInput):
        try:
            definition.input.known.read(data)
        except NOT_STORABLE as error:
            raise ArgumentsRefused(
                f"Job {call.function!r}: what middleware made of its arguments: {error}."
            ) from error
    return msgspec.structs.replace(call, data=data, key=given_options(event.envelope)[0])
