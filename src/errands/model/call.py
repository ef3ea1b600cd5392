"""What a function is called with, what it may report, and what it is answered.

Reports are inputs of the engine that come from whoever executes a run. Each names the lease it
holds (run and fence); a report of a lease that is gone is refused.
"""

from collections.abc import Awaitable, Sequence
from typing import Any, Protocol, TypeAlias

import msgspec

from errands.model.event import Event, NewEvent
from errands.model.function import Function, RetryPolicy
from errands.model.ids import RunId
from errands.model.item import Item
from errands.model.job import NewJob
from errands.model.run import LogLine, Run
from errands.model.step import ShapeOf, Step


class Call(msgspec.Struct, frozen=True, gc=False):
    """One lease of a run: what to execute, and what is already known."""

    item: Item
    run: Run
    event: Event | None
    function: Function
    origin: Run | None = None
    """Of a failure handler: the run that failed."""
    steps: Sequence[Step] = ()


class Again(msgspec.Struct, frozen=True, gc=False):
    """What is known about trying again after a failed attempt."""

    policy: RetryPolicy
    attempt: int
    jitter: float
    """0.0 <= jitter < 1.0, drawn by the caller."""
    is_final: bool = False
    """The error itself says that another attempt is no use."""
    after_ms: int | None = None
    at: int | None = None


class StepReturned(msgspec.Struct, frozen=True, gc=False):
    """A step has succeeded, or failed for good. `saves`: earlier ones that were held back."""

    run: RunId
    fence: int
    step: Step
    saves: tuple[Step, ...] = ()


class StepFailed(msgspec.Struct, frozen=True, gc=False):
    """An attempt of a step has failed. Answered by Retry, or by Kept when the step has failed for
    good.
    """

    run: RunId
    fence: int
    step: Step
    failure: bytes
    again: Again
    saves: tuple[Step, ...] = ()


class StepSent(msgspec.Struct, frozen=True, gc=False):
    """A step sends events or enqueues jobs: once, together with its own result. Answered by
    Accepted.
    """

    run: RunId
    fence: int
    step: Step
    items: tuple[NewEvent | NewJob, ...]
    saves: tuple[Step, ...] = ()


class WaitOpened(msgspec.Struct, frozen=True, gc=False):
    """The run waits durably. `park`: nothing else goes on in it, so the lease is given back too,
    unless another wait is resolved that the run has not seen. Answered by Opened.
    """

    run: RunId
    fence: int
    step: Step
    duration_ms: int | None = None
    until: int | None = None
    shape: ShapeOf | None = None
    child: NewJob | None = None
    park: bool = False
    seq: int = 0
    saves: tuple[Step, ...] = ()


class StepTaken(msgspec.Struct, frozen=True, gc=False):
    """The run has seen the result of a wait that was resolved while it executed."""

    run: RunId
    fence: int
    step: str
    seq: int


class Parked(msgspec.Struct, frozen=True, gc=False):
    """Nothing goes on in the run but waits. Refused if one of them is resolved already."""

    run: RunId
    fence: int
    seq: int
    saves: tuple[Step, ...] = ()


class Resumed(msgspec.Struct, frozen=True, gc=False):
    """A parked run goes on by itself: something outside errands woke it. Answered by Leased."""

    run: RunId
    fence: int


class Released(msgspec.Struct, frozen=True, gc=False):
    """The lease is given back unfinished: the process is stopping."""

    run: RunId
    fence: int
    seq: int
    why: str


class RunReturned(msgspec.Struct, frozen=True, gc=False):
    run: RunId
    fence: int
    output: bytes
    saves: tuple[Step, ...] = ()


class RunFailed(msgspec.Struct, frozen=True, gc=False):
    """An attempt of the run's own code has failed. Answered by Retry, or by Kept: it is over."""

    run: RunId
    fence: int
    failure: bytes
    again: Again
    seq: int
    saves: tuple[Step, ...] = ()


class ProgressMade(msgspec.Struct, frozen=True, gc=False):
    """How far the run says it is: by who holds its lease, or held it last."""

    run: RunId
    fence: int
    percent: float | None
    note: str | None


class Logged(msgspec.Struct, frozen=True, gc=False):
    lines: tuple[LogLine, ...]


Report: TypeAlias = (
    StepReturned
    | StepFailed
    | StepSent
    | WaitOpened
    | StepTaken
    | Parked
    | Resumed
    | Released
    | RunReturned
    | RunFailed
    | ProgressMade
    | Logged
)


class Kept(msgspec.Struct, frozen=True, gc=False):
    """Done as asked."""


class Retry(msgspec.Struct, frozen=True, gc=False):
    """Another attempt begins at `due` (Unix ms)."""

    due: int


class Refused(msgspec.Struct, frozen=True, gc=False):
    """Nothing was changed. Reasons: "lease lost", "run is over", "not idle", "not known"."""

    reason: str


class Leased(msgspec.Struct, frozen=True, gc=False):
    fence: int


class Opened(msgspec.Struct, frozen=True, gc=False):
    """The wait stands. `parked`: and the lease is given back, as was offered."""

    due: int | None
    parked: bool = False


class Accepted(msgspec.Struct, frozen=True, gc=False):
    """Ids of what was sent, in order: of what a key had been given to before, the first one's."""

    ids: tuple[int, ...]
    keys: tuple[str | None, ...]
    """Public ids given by senders, where an event has one."""


class Made(msgspec.Struct, frozen=True, gc=False):
    """The external job that was asked for."""

    run: RunId
    is_new: bool


KEPT = Kept()
LEASE_LOST = Refused("lease lost")
RUN_IS_OVER = Refused("run is over")
NOT_IDLE = Refused("not idle")
NOT_KNOWN = Refused("not known")


class Journal(Protocol):
    """Where whoever executes a run writes what happened."""

    def submit(self, report: Report) -> Awaitable[Any]:
        """Make it durable; gives the engine's answer. In order: what is submitted first is kept
        first.
        """
        ...

    def tell(self, report: Report) -> None:
        """The same, for who does not wait for the answer."""
        ...

    def now(self) -> int:
        """Unix ms."""
        ...

    def new_id(self) -> int: ...

    def draw(self) -> float:
        """A random number, 0.0 <= x < 1.0."""
        ...

    def public_id(self, number: int) -> str: ...

    def look(self, session: "Session") -> None:
        """Something of this run was resolved: read it, and tell the session."""
        ...

    def parked(self, session: "Session") -> None:
        """The session has nothing to do until it is resumed; it may be dropped."""
        ...

    def ended(self, session: "Session") -> None:
        """The session is over."""
        ...


class Session(Protocol):
    """One run being executed in this process."""

    @property
    def run(self) -> RunId: ...

    @property
    def fence(self) -> int: ...

    @property
    def seq(self) -> int:
        """Number of the next result that it will see."""
        ...

    @property
    def can_resume(self) -> bool:
        """Is it parked, so that it can go on where it stands?"""
        ...

    @property
    def can_be_dropped(self) -> bool:
        """Can it be dropped without running any of its code?"""
        ...

    def resume(self, fence: int, steps: Sequence[Step]) -> None:
        """The run is leased again; `steps` are those whose results it has not seen."""
        ...

    def refresh(self, steps: Sequence[Step]) -> None:
        """Waits have been resolved while it executes."""
        ...

    def cancel(self, reason: str) -> None:
        """The run is over: stop executing it."""
        ...

    def drop(self) -> None:
        """Forget it without running any of its code; it will be replayed."""
        ...

    def release(self, why: str) -> Awaitable[None]:
        """Stop executing it and give the lease back."""
        ...


class Caller(Protocol):
    """A way to execute functions."""

    def begin(self, call: Call, journal: Journal) -> Session:
        """Start executing; reports go to the journal."""
        ...
