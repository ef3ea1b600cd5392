"""A step: a memoized unit within a run, or a durable wait."""

import enum

import msgspec

from errands.model.ids import RunId


class StepKind(enum.IntEnum):
    RUN = 1
    SLEEP = 2
    EVENT = 3
    INVOKE = 4
    SEND = 5
    CANCEL = 6
    """Not asked for by code: the run listens for an event that cancels it."""


class StepStatus(enum.IntEnum):
    WAITING = 0
    RETRYING = 1
    COMPLETED = 3
    FAILED = 4
    ABANDONED = 5
    """Still open when its run ended."""


RESERVED = "errands/"
"""How the ids of steps begin that are errands' own; no code may ask for one."""
UNORDERED = -1
"""The seq of a step that no code will ever see the result of."""


class Step(msgspec.Struct, frozen=True, gc=False):
    run: RunId
    id: str
    kind: StepKind
    status: StepStatus
    seq: int | None = None
    """Place in the order in which the run saw its results; None: not seen yet."""
    attempt: int = 0
    main: bool = True
    """Asked for by the run's main task, not by a branch: then its place in the code is certain."""
    started_at: int = 0
    at: int = 0
    due: int | None = None
    """When an open step wakes: a sleep ends, a wait times out, the next attempt begins."""
    match: int | None = None
    """The key under which an event wait is found."""
    output: bytes | None = None
    """JSON: the result, or a Failure; of an open retry, the last Failure."""

    @property
    def is_open(self) -> bool:
        return self.status <= StepStatus.RETRYING


class Wait(msgspec.Struct, frozen=True, gc=False):
    """How an event finds the step that waits for it."""

    match: int
    run: RunId
    step: str
    number: int
    """Of its registration, among all waits of the store: it only grows, whatever clocks do."""
    condition: str | None = None
    context: bytes | None = None
    """JSON: the run's own event, where the condition speaks of it."""


class Shape(msgspec.Struct, frozen=True):
    """Which values of an event waits are looked up by: an event name (`*` allowed) and paths."""

    id: int
    event: str
    """Empty: any event, by its own name. So dynamic names need no shape each."""
    paths: tuple[str, ...] = ()


class ShapeOf(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a wait asks for, before it has a key: paths of the awaited event, and their values."""

    event: str
    paths: tuple[str, ...] = ()
    values: tuple[bool | int | float | str | None, ...] = ()
    condition: str | None = None
    context: bytes | None = None
    timeout_ms: int | None = None
    """Of a wait that cancels its run: how long it listens; None: always."""
