"""What goes over the wire: camelCase names, times in Unix ms, ids as ULIDs."""

from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta, UnsetType

from errands.model.duration import DURATION_MS_MAX
from errands.model.event_rules import NAME_LENGTH_MAX, TS_MAX
from errands.model.function import RetryPolicy
from errands.model.job import JobState

Kind = Literal["event", "job", "failure"]
RunState = Literal["pending", "processing", "completed", "failed", "cancelled"]
JOB_ID_LENGTH_MAX = 255
TEXT_LENGTH_MAX = 2_000
"""Characters of a reason, a message, an error."""
TAGS_MAX = 100

Ms: TypeAlias = Annotated[int, Meta(description="Unix milliseconds.")]
AnyJson: TypeAlias = Annotated[msgspec.Raw, Meta(description="Any JSON.")]
Text: TypeAlias = Annotated[str, Meta(max_length=TEXT_LENGTH_MAX)]
Key: TypeAlias = Annotated[
    str, Meta(min_length=1, max_length=NAME_LENGTH_MAX, description="Printable characters.")
]
Timeout: TypeAlias = Annotated[int, Meta(ge=0, le=DURATION_MS_MAX, description="Milliseconds.")]

TRACE = "^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"
Trace: TypeAlias = Annotated[str, Meta(pattern=TRACE)]
"""W3C traceparent."""


class Given(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """What is sent to us."""


class Told(msgspec.Struct, rename="camel"):
    """What we answer."""


# -- events ----------------------------------------------------------------------------------------


class SentEvent(Given, gc=False):
    """An event as it is sent."""

    name: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=NAME_LENGTH_MAX,
            description='For example "user/signed.up". Printable; no "*"; not "errands/…".',
            examples=["user/signed.up"],
        ),
    ]
    data: dict[str, Any] = {}
    id: Annotated[
        str | None,
        Meta(description="Idempotency: within 24 h, a second event with it starts nothing."),
    ] = None
    ts: Annotated[
        int | None,
        Meta(description="Unix milliseconds; in the future: its runs start then."),
    ] = None
    user: dict[str, Any] | None = None
    v: str | None = None


class Accepted(Told):
    """Durable: whatever happens now, these are not lost."""

    ids: list[str]
    status: int = 200


class Event(Told):
    id: Annotated[str, Meta(description="The sender's own, else a ULID.")]
    name: str
    data: dict[str, Any]
    ts: Ms
    received_at: Ms
    user: dict[str, Any] | UnsetType = UNSET
    v: str | UnsetType = UNSET


class EventPage(Told):
    events: list[Event]
    cursor: Annotated[str | None, Meta(description="For the next page; null: this is the last.")]


# -- runs ------------------------------------------------------------------------------------------


class Run(Told):
    id: str
    app: str
    function: Annotated[str, Meta(description="Its id within the app.")]
    status: RunState
    attempt: int
    created_at: Ms
    updated_at: Ms
    started_at: Ms | None
    ended_at: Ms | None
    progress: Annotated[float | None, Meta(description="0 to 100.")]
    message: str | None
    error: Annotated[str | None, Meta(description='"CardDeclined: no funds".')]
    cancelled: Annotated[str | None, Meta(description="Why, if it was; may be empty.")]
    parent: Annotated[str | None, Meta(description="The run that started it.")]
    tags: list[str]


class RunPage(Told):
    runs: list[Run]
    cursor: Annotated[str | None, Meta(description="For the next page; null: this is the last.")]


class EventOfRun(Told):
    id: str
    name: str


class WaitingFor(Told):
    what: str
    at: Annotated[Ms | None, Meta(description="When that comes, or is given up; null: not known.")]


class Step(Told):
    id: str
    kind: str
    status: str
    attempt: int
    started_at: Ms
    finished_at: Ms | None
    due_at: Ms | None
    error: str | None
    result: AnyJson | None


class HistoryLine(Told):
    at: Ms
    what: str
    step: str | UnsetType = UNSET
    kind: str | UnsetType = UNSET
    attempt: int | UnsetType = UNSET
    error: str | UnsetType | None = UNSET
    why: str | UnsetType | None = UNSET
    worker: str | UnsetType = UNSET
    leased_at: Ms | UnsetType = UNSET
    run: Annotated[str | UnsetType, Meta(description="Another run, which this line names.")] = UNSET


class RunDetail(Run):
    """All that is known of a run, without its logs."""

    input: AnyJson | None
    result: AnyJson | None
    failure: Annotated[
        AnyJson | None, Meta(description="Of a failed run: name, message, stack, bases …")
    ]
    event: EventOfRun | None
    waiting_for: list[WaitingFor]
    steps: list[Step]
    history: list[HistoryLine]


class EventDetail(Event, kw_only=True):
    """An event, and what it has started."""

    runs: list[Run]


class LogLine(Told):
    at: Ms
    step: str | None
    attempt: int
    level: str
    text: str


class LogPage(Told):
    logs: list[LogLine]
    cursor: Annotated[str | None, Meta(description="To go on with; null: no line came yet.")]


class Cancel(Given):
    reason: Text | None = None


# -- functions and apps ----------------------------------------------------------------------------


class Trigger(Told):
    event: str
    condition: str | None


class Retries(Told):
    count: Annotated[int, Meta(description="Attempts after the first.")]
    delay_ms: Annotated[int | None, Meta(description="null: the standard back-off.")]
    factor: float
    delay_ms_max: int | None
    jitter: bool


class CancelOn(Told):
    event: str
    match: str | None
    condition: str | None
    timeout_ms: int | None


class Function(Told):
    id: Annotated[str, Meta(description='"app/slug".')]
    app: str
    slug: str
    name: str
    kind: Kind
    triggers: list[Trigger]
    retries: Retries
    start_timeout_ms: int | None
    finish_timeout_ms: int | None
    cancel: list[CancelOn]
    on_failure: list[str]
    retired: Annotated[bool, Meta(description="Its app no longer has it: nothing starts it.")]


class FunctionList(Told):
    functions: list[Function]


class Registered(Told):
    functions: Annotated[int, Meta(description="How many.")]


# -- jobs ------------------------------------------------------------------------------------------


class JobStatus(Told, omit_defaults=True, kw_only=True):
    """What a browser follows. A cancelled job reads as failed, with error "cancelled: reason"."""

    id: str
    status: JobState
    progress: Annotated[float | UnsetType, Meta(description="0 to 100.")] = UNSET
    message: str | UnsetType = UNSET
    result: AnyJson | UnsetType = UNSET
    error: str | UnsetType = UNSET
    created_at: Ms
    updated_at: Ms


class JobMissing(Told):
    error: Literal["Job not found"] = "Job not found"


class CreateJob(Given):
    id: Annotated[
        str | None, Meta(description=f"Your own: 1 to {JOB_ID_LENGTH_MAX} printable characters.")
    ] = None
    keep: Annotated[
        str | int | None,
        Meta(description='How long it is kept, e.g. "24h", or milliseconds; default 24 h.'),
    ] = None


class UpdateJob(Given):
    """Only what is given changes."""

    status: JobState | None = None
    progress: Annotated[float, Meta(ge=0, le=100)] | None = None
    message: Text | None = None
    result: Annotated[Any, Meta(description="Any JSON; with status completed.")] = UNSET
    error: Annotated[Text | None, Meta(description="With status failed.")] = None


class MakeToken(Given):
    ttl: Annotated[str, Meta(description='How long it is good for, e.g. "1h"; at most 24 h.')] = (
        "1h"
    )


class JobToken(Told):
    token: Annotated[str, Meta(description="For `?token=`: lets a browser follow this one job.")]
    expires_at: Ms


# -- for errands' own client -----------------------------------------------------------------------


class ClientEvent(Given, tag="event", tag_field="type", gc=False):
    """An event that a client has checked already; see `model.event.NewEvent`."""

    name: str
    data: dict[str, Any]
    key: Key | None = None
    ts: Annotated[int, Meta(ge=0, le=TS_MAX)] | None = None
    user: dict[str, Any] | None = None
    v: str | None = None
    trace: Trace | None = None


class ClientJob(Given, tag="job", tag_field="type", gc=False):
    """A call of a job; see `model.job.NewJob`. The retry policy is in snake_case, as stored."""

    app: str
    function: str
    data: dict[str, Any]
    key: Key | None = None
    delay_ms: Timeout | None = None
    at: Annotated[int, Meta(ge=0, le=TS_MAX)] | None = None
    retries: RetryPolicy | None = None
    start_timeout_ms: Timeout | None = None
    finish_timeout_ms: Timeout | None = None
    tags: Annotated[list[str], Meta(max_length=TAGS_MAX)] = []
    trace: Trace | None = None


class Send(Given):
    items: list[ClientEvent | ClientJob]


class SendAnswer(Told):
    ids: list[str]


class JobView(Told, kw_only=True):
    """One look at a job: `model.job.JobView`, with its JSON embedded."""

    id: str
    status: JobState
    created_at: Ms
    updated_at: Ms
    progress: float | None
    message: str | None
    result: AnyJson | UnsetType = UNSET
    error: Annotated[
        AnyJson | UnsetType, Meta(description="The failure: name, message, stack, bases …")
    ] = UNSET
    cancelled: str | None
    stamp: Annotated[
        str, Meta(description="Differs when the rest does. `?seen=` waits for another one.")
    ]


# -- health ----------------------------------------------------------------------------------------


class Health(Told):
    status: Literal["ok"] = "ok"


class Ready(Told):
    status: Literal["ok", "unavailable"]
    checks: Annotated[dict[str, str], Meta(description='By name: "ok", or what is wrong.')]
