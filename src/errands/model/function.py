"""A function: a durable handler with triggers and configuration, as registered."""

import enum

import msgspec

from errands.model.ids import FunctionId


class FunctionKind(enum.IntEnum):
    EVENT = 1
    """Started by events."""
    JOB = 2
    """Called with arguments."""
    FAILURE = 3
    """Started when a run of its parent function has failed for good."""
    EXTERNAL = 4
    """Never executed: its runs are external jobs, whose work user code does itself."""


EXTERNAL = FunctionId(0)
"""The one function of that kind: every store has it, and no app registers it."""


class RetryPolicy(msgspec.Struct, frozen=True, omit_defaults=True):
    """How often and when to try again; `delay=None` is the standard back-off table."""

    count: int = 3
    """Attempts after the first."""
    delay_ms: int | None = None
    factor: float = 2.0
    delay_ms_max: int | None = None
    jitter: bool = True


class Trigger(msgspec.Struct, frozen=True, omit_defaults=True):
    """What starts a function: an event name (`*` matches any rest), with a CEL condition over
    `event`.
    """

    event: str
    condition: str | None = None


class CancelOn(msgspec.Struct, frozen=True, omit_defaults=True):
    """An event that cancels the run."""

    event: str
    match: str | None = None
    condition: str | None = None
    timeout_ms: int | None = None
    """How long after its creation the run listens; None: always."""


class FunctionConfig(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an app says about a function when it registers."""

    slug: str
    name: str
    kind: FunctionKind
    triggers: tuple[Trigger, ...] = ()
    retries: RetryPolicy = RetryPolicy()
    start_timeout_ms: int | None = None
    finish_timeout_ms: int | None = None
    cancel: tuple[CancelOn, ...] = ()
    on_failure: tuple[str, ...] = ()
    """Slugs of the functions to run when a run has failed for good."""


class AppConfig(msgspec.Struct, frozen=True):
    name: str
    functions: tuple[FunctionConfig, ...] = ()


class Function(msgspec.Struct, frozen=True):
    """A registered function. Its id is also its lane: what is claimed together."""

    id: FunctionId
    app: str
    config: FunctionConfig
    retired: bool = False
    """The app no longer has it: no event starts it, runs in flight may still finish."""
