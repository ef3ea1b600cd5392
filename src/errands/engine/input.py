"""Inputs: everything that can happen. Reports of executing runs are in `model.call`.

Those with `inbox` may lie in the inbox, durable but not yet decided; the number is that row's id.
"""

from typing import TypeAlias

import msgspec

from errands.model.call import Report
from errands.model.event import NewEvent
from errands.model.function import AppConfig
from errands.model.ids import EventId, FunctionId, RunId, WorkerId
from errands.model.job import JobState, NewJob
from errands.model.timer import Timer


class Sent(msgspec.Struct, frozen=True, gc=False):
    """Events were sent, jobs enqueued: all of them or none."""

    items: tuple[NewEvent | NewJob, ...]


class Registered(msgspec.Struct, frozen=True):
    """An app says which functions it has. `is_complete`: and no others, so those missing are
    retired.
    """

    app: AppConfig
    is_complete: bool


class Beat(msgspec.Struct, frozen=True, gc=False):
    """A worker says that it lives. Refused if it has been declared dead."""

    worker: WorkerId


class WorkerLeft(msgspec.Struct, frozen=True, gc=False):
    worker: WorkerId


class WorkerLost(msgspec.Struct, frozen=True, gc=False):
    """A worker was found dead, or silent for longer than a lease since `beat_at`."""

    worker: WorkerId
    beat_at: int
    why: str


class Claim(msgspec.Struct, frozen=True, gc=False):
    """This process has room for more; always the last input of its batch."""

    limit: int


class TimerDue(msgspec.Struct, frozen=True, gc=False):
    timer: Timer


class JobMade(msgspec.Struct, frozen=True, gc=False):
    """Somebody wants an external job: a new one, or the one that has this key. Answered by Made."""

    key: str | None
    keep_ms: int


class JobChanged(msgspec.Struct, frozen=True, gc=False):
    """User code says how its external job goes. None: as it was."""

    job: str
    """Its id, as errors name it."""
    run: RunId
    status: JobState | None = None
    percent: float | None = None
    note: str | None = None
    output: bytes | None = None
    """JSON, with a final status: the result, or a Failure."""


class Rerun(msgspec.Struct, frozen=True, gc=False):
    """Somebody wants a run once more. Answered by the id of the new one."""

    run: RunId
    function: FunctionId
    event: EventId | None
    tags: tuple[str, ...] = ()
    trace: str | None = None


class CancelAsked(msgspec.Struct, frozen=True, gc=False, tag="cancel"):
    """Somebody wants a run to end."""

    run: RunId
    reason: str
    inbox: int = 0


class EventHit(msgspec.Struct, frozen=True, gc=False, tag="hit"):
    """An event has matched a wait."""

    run: RunId
    step: str
    event: EventId
    inbox: int = 0


class WaitsLeft(msgspec.Struct, frozen=True, gc=False, tag="scan"):
    """An event has more waits under one key than were looked at; go on after `(run, step)`."""

    event: EventId
    match: int
    run: RunId
    step: str
    last: int
    """Number of the last wait that was registered before the event was decided."""
    inbox: int = 0


class ChildEnded(msgspec.Struct, frozen=True, gc=False, tag="child"):
    """A run that another one invoked has ended."""

    run: RunId
    """The one that waits."""
    step: str
    is_ok: bool
    output: bytes
    inbox: int = 0


class Expand(msgspec.Struct, frozen=True, gc=False, tag="expand"):
    """A part of a send that was too large for one batch: accepted, its runs not yet made."""

    items: tuple[tuple[int, NewEvent | NewJob], ...]
    at: int
    """When it was accepted (Unix ms): delays count from here."""
    last: int
    """Number of the last wait that was registered before."""
    inbox: int = 0


class Undecidable(msgspec.Struct, frozen=True, gc=False):
    """A follow-up of this run cannot be decided, however often: it takes its place in the inbox."""

    run: RunId
    reason: str
    inbox: int


class Poke(msgspec.Struct, frozen=True, gc=False, tag="poke"):
    """For the worker that executes a run: something of it has changed; `stop`: it is over."""

    run: RunId
    stop: str | None = None
    inbox: int = 0


class Trim(msgspec.Struct, frozen=True, gc=False):
    """Retention: these are past their time."""

    runs: tuple[RunId, ...] = ()
    events: tuple[EventId, ...] = ()
    dedup_before: int = 0
    workers_before: int = 0


FollowUp: TypeAlias = CancelAsked | EventHit | WaitsLeft | ChildEnded | Expand | Poke
Input: TypeAlias = (
    Sent
    | Registered
    | Beat
    | WorkerLeft
    | WorkerLost
    | Claim
    | TimerDue
    | JobMade
    | JobChanged
    | Rerun
    | FollowUp
    | Undecidable
    | Trim
    | Report
)
