"""A run: one execution of a function. `Run` and `Done` are written once and never changed."""

import enum

import msgspec

from errands.model.ids import EventId, FunctionId, RunId, WorkerId


class RunStatus(enum.IntEnum):
    COMPLETED = 3
    FAILED = 4
    CANCELLED = 5


class Run(msgspec.Struct, frozen=True, gc=False):
    id: RunId
    function: FunctionId
    event: EventId | None = None
    input: bytes | None = None
    """JSON: the arguments of a job, the failure for a failure handler, the event of an invoked
    function.
    """
    parent: RunId | None = None
    """The run that invoked this one, or whose failure it handles."""
    parent_step: str | None = None
    retries: bytes | None = None
    """JSON RetryPolicy, where it differs from the function's."""
    trace: str | None = None
    """W3C traceparent of what started it."""


class Done(msgspec.Struct, frozen=True, gc=False):
    """The one final outcome of a run, with its last lease."""

    run: RunId
    function: FunctionId
    status: RunStatus
    at: int
    keep_until: int
    output: bytes
    """JSON: the result, or a Failure, or why it was cancelled."""
    attempt: int = 0
    started_at: int | None = None
    worker: WorkerId | None = None


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """An exception as it is kept: its class name and those of its bases, its message and stack."""

    name: str
    message: str
    stack: str = ""
    bases: tuple[str, ...] = ()
    """Class names of the whole MRO, so that `was(Base)` works on replay."""
    code: str | None = None
    """Of errands' own errors."""
    step: str | None = None
    """The step whose failure ended the run, when that is why."""
    attempts: int = 1


class Label(msgspec.Struct, frozen=True, gc=False):
    """A tag of a run, `key=value`, to find it by."""

    label: str
    run: RunId


class Moment(enum.IntEnum):
    """What a history row tells."""

    PARKED = 1
    ATTEMPT_FAILED = 2
    CRASHED = 3
    RELEASED = 4
    REPEATS = 5
    """It was started as a repetition; tells the public id of the run that it repeats."""
    REPEATED = 6
    """Another run repeats this one; tells its public id."""


class Record(msgspec.Struct, frozen=True, gc=False):
    """One line of a run's history that is not already told by its run, step or done rows."""

    run: RunId
    id: int
    at: int
    moment: Moment
    data: bytes


class LogLine(msgspec.Struct, frozen=True, gc=False):
    run: RunId
    id: int
    at: int
    step: str | None
    attempt: int
    level: int
    text: str


class Progress(msgspec.Struct, frozen=True, gc=False):
    """How far a run says it is; the latest value wins."""

    run: RunId
    percent: float | None
    note: str | None
    at: int
