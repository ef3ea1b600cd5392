"""An event: a named JSON fact."""

import msgspec

from errands.model.ids import EventId

EVENT_SCOPE = 0
"""The dedup scope of event ids; that of a job's keys is its function's id."""


class NewEvent(msgspec.Struct, frozen=True, gc=False, tag="event"):
    """An event on its way in; not accepted yet."""

    name: str
    data: bytes
    """JSON object."""
    key: str | None = None
    """The id given by the sender: a second event with it starts nothing for 24 h."""
    ts: int | None = None
    """Unix ms, given by the sender; in the future: its runs start then."""
    user: bytes | None = None
    v: str | None = None
    trace: str | None = None
    """W3C traceparent of whoever sent it; the runs that it starts carry it."""


class Event(msgspec.Struct, frozen=True, gc=False):
    """An accepted event. Never changed."""

    id: EventId
    name: str
    data: bytes
    at: int
    """Unix ms: the sender's `ts`, or when it was accepted."""
    key: str | None = None
    user: bytes | None = None
    v: str | None = None
