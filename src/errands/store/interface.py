"""What the engine's cycle and everybody else may ask of a store. Grouped by noun.

`Store` writes, in one transaction at a time; `Reader` reads, for the API and for executors.
"""

import enum
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import msgspec

from errands.engine.config import Config
from errands.engine.decide import Needs
from errands.engine.input import FollowUp
from errands.engine.state import State
from errands.model.event import Event
from errands.model.function import Function
from errands.model.ids import EventId, RunId, WorkerId
from errands.model.job import JobState
from errands.model.run import Done, LogLine, Record, Run
from errands.model.step import Step
from errands.model.timer import Timer
from errands.model.worker import Worker

TRIES_MAX = 5
"""Times that a durable input is tried; after that it lies in the inbox, and is not read."""


class Transaction(Protocol):
    """One durable transaction; commits when its block ends without an error."""

    def changed_elsewhere(self) -> bool:
        """May anybody else have committed since this process last asked? What it knows is stale
        then.
        """
        ...

    def hold_config(self) -> bool:
        """Let nobody else change what is registered until this ends. False: somebody is about to,
        and is not waited for.
        """
        ...

    def config_version(self) -> int: ...

    def load_config(self) -> Config: ...

    def is_alive(self, worker: WorkerId) -> bool:
        """Is this worker not taken for dead?"""
        ...

    def load(self, needs: Needs, state: State) -> Needs | None:
        """Bring into `state` what the inputs of the batch touch. Never waits for a lock: gives what
        of it another process holds now, if any. What needs that cannot be decided in this batch.
        """
        ...

    def apply(self, state: State) -> None:
        """Write what `state` has absorbed, grouped by kind."""
        ...

    def free_node(self) -> int:
        """A node number that no living process has, and none had lately."""
        ...

    def count_try(self, inbox: int) -> int:
        """One more attempt to decide this input has failed; how many by now."""
        ...


class Store(Protocol):
    @property
    def reader(self) -> "Reader": ...

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Raises StoreUnavailable (nothing was written), StoreConflict (this batch cannot be)."""
        ...

    def hold_node(self, node: int) -> None:
        """Prove, from now on, that the process that has this node lives."""
        ...

    def drop_node(self, node: int) -> None: ...

    def is_node_dead(self, node: int) -> bool:
        """Is there proof that no process holds this node? False where that cannot be known."""
        ...

    def version(self) -> int:
        """Another number whenever another process has committed. Cheap: made for polling."""
        ...

    def ring(self, topic: "Topic") -> None:
        """Hint to other processes that they should look. Never waits; may be lost."""
        ...

    def listen(self, topic: "Topic") -> "Ear | None":
        """Hear such hints from now on; None where there are none, and polling is all."""
        ...

    def close(self) -> None: ...


class Topic(enum.Enum):
    """What a hint is about."""

    WORK = "w"
    """Somebody else could do something now: items are ready, inputs are queued, timers set."""
    NEWS = "n"
    """Runs have changed or ended."""


class Ear(Protocol):
    """Becomes readable when a hint has come."""

    def fileno(self) -> int: ...

    def drain(self) -> None:
        """Forget the hints that have come."""
        ...

    def close(self) -> None: ...


class StoreUnavailable(Exception):
    """The store cannot be written now: full disk, locked, gone. Nothing was written."""


class StoreBusy(StoreUnavailable):
    """Another process has just changed what was decided on: the same may go well at once."""


class StoreConflict(Exception):
    """The store refuses what this batch would write."""


class RunRow(msgspec.Struct, frozen=True):
    """A run as lists show it. Times are Unix ms."""

    id: RunId
    function: Function
    status: JobState
    created_at: int
    updated_at: int
    started_at: int | None
    ended_at: int | None
    is_cancelled: bool
    is_parked: bool
    attempt: int
    due: int | None
    event: EventId | None
    parent: RunId | None
    output: bytes | None
    percent: float | None
    note: str | None
    key: str | None = None
    """Of an external job: its own id, if the user chose one."""


class RunFilter(msgspec.Struct, frozen=True):
    """None: no filter."""

    function: str | None = None
    status: str | None = None
    """pending, processing, completed, failed or cancelled."""
    tag: str | None = None
    before: RunId | None = None
    """For the next page: runs older than this one."""
    limit: int = 50


class EventFilter(msgspec.Struct, frozen=True):
    """None: no filter."""

    name: str | None = None
    before: EventId | None = None
    """For the next page: events older than this one."""
    limit: int = 50


class ReadyLane(msgspec.Struct, frozen=True):
    """Who stands ready in a lane."""

    lane: int
    count: int
    since: int
    """Unix ms: when the one that waits longest became ready."""


class StoreFacts(msgspec.Struct, frozen=True):
    """What the machine says about the store, for `doctor`."""

    path: str
    engine: str
    """The database's name and version."""
    size_bytes: int
    wal_bytes: int
    free_bytes: int | None
    """Left on the disk; None where that cannot be seen from here."""


class Reader(Protocol):
    """Reads of committed state; each short."""

    def key(self) -> bytes: ...
    def config(self) -> Config: ...

    def run(self, id: RunId) -> RunRow | None: ...
    def runs(self, filter: RunFilter) -> list[RunRow]: ...
    def stamps(self, ids: Sequence[RunId]) -> dict[RunId, tuple[Any, ...]]:
        """For each run that exists something that differs whenever its owner would see a change."""
        ...

    def done(self, ids: Sequence[RunId]) -> list[Done]: ...
    def inputs(self, ids: Sequence[RunId]) -> list[Run]: ...
    def events(self, ids: Sequence[EventId]) -> list[Event]: ...
    def list_events(self, filter: EventFilter) -> list[Event]:
        """Newest first. With a name: among the newest million before `before`."""
        ...

    def runs_of_event(self, id: EventId) -> list[RunRow]:
        """The runs that it started, oldest first; failure handlers and repetitions too."""
        ...

    def external_job(self, key: str, now: int) -> RunId | None:
        """The external job that the user has given this id, if it is still kept."""
        ...

    def event_of_key(self, key: str, now: int) -> EventId | None:
        """The event that its sender has given this id: for 24 h, as long as it is deduplicated."""
        ...

    def labels(self, id: RunId) -> list[str]: ...
    def steps(self, id: RunId) -> list[Step]: ...
    def memo(self, id: RunId, seq: int) -> list[Step]:
        """Steps whose results come `seq`-th or later, in that order; then those not seen yet."""
        ...

    def history(self, id: RunId) -> list[Record]: ...
    def logs(self, id: RunId, after: int, limit: int) -> list[LogLine]: ...

    def inbox(self, worker: WorkerId, after: int, limit: int) -> list[FollowUp]:
        """What this worker or anybody has to decide, after that id."""
        ...

    def inbox_rows(self, worker: WorkerId, after: int, limit: int) -> list[tuple[int, int]]:
        """The same: id and bytes of each only."""
        ...

    def follow_ups(self, inbox: Sequence[int]) -> list[FollowUp]:
        """What lies in these rows of the inbox."""
        ...

    def next_timer(self) -> int | None: ...
    def due_timers(self, now: int, limit: int) -> list[Timer]: ...

    def workers(self) -> list[Worker]:
        """Those that are alive as far as the store knows."""
        ...

    def lanes(self) -> list[int]:
        """Lanes in which somebody is ready."""
        ...

    def ready(self) -> list[ReadyLane]: ...
    def held(self) -> dict[WorkerId, int]:
        """How many items each worker executes."""
        ...

    def inbox_since(self) -> int | None:
        """When the oldest input that is not yet decided came (Unix ms)."""
        ...

    def writer(self) -> int | None:
        """The other process that is inside its write transaction right now, if one is."""
        ...

    def facts(self) -> StoreFacts: ...

    def expired_runs(self, now: int, before: RunId, limit: int) -> list[RunId]: ...
    def expired_events(self, after: EventId, before: EventId, limit: int) -> list[EventId]: ...
    def has_expired_dedup(self, now: int) -> bool: ...
    def counts(self) -> dict[str, int]:
        """How many rows stand in each place, for `doctor`."""
        ...
