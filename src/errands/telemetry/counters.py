"""What a process counts while it works: numbers in memory, read when somebody asks for them.

Labels are few by design: functions, states, routes; never a run, an id or a key.
"""

import logging
import weakref
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from errands.engine.state import Rows
from errands.model.function import Function
from errands.model.ids import FunctionId, RunId, WorkerId
from errands.model.item import Item
from errands.model.run import Done, Run, RunStatus
from errands.model.step import Step, StepKind, StepStatus
from errands.model.worker import Worker

log = logging.getLogger("errands.telemetry")
# Seconds. Runs sleep for days, so their scale is long; a commit is over in milliseconds.
RUN_SECONDS = (0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3_600, 14_400, 86_400, 604_800)
STEP_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900)
COMMIT_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
REQUEST_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
BATCH_INPUTS = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_000)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class Committed(Protocol):
    """What a batch has changed: `executors.committer.Effects`, as it is seen from here."""

    @property
    def done(self) -> Sequence[Done]: ...
    @property
    def created(self) -> Sequence[Run]: ...
    @property
    def items(self) -> Rows[RunId, Item]: ...
    @property
    def steps(self) -> Rows[tuple[RunId, str], Step]: ...
    @property
    def inputs(self) -> int: ...
    @property
    def seconds(self) -> float: ...


class Config(Protocol):
    @property
    def functions(self) -> Mapping[FunctionId, Function]: ...


class Lane(Protocol):
    @property
    def lane(self) -> int: ...
    @property
    def count(self) -> int: ...
    @property
    def since(self) -> int: ...


class Facts(Protocol):
    @property
    def size_bytes(self) -> int: ...
    @property
    def wal_bytes(self) -> int: ...
    @property
    def free_bytes(self) -> int | None: ...


class Reader(Protocol):
    """Of `store.interface.Reader`, what is asked at a scrape."""

    def config(self) -> Config: ...
    def ready(self) -> Sequence[Lane]: ...
    def next_timer(self) -> int | None: ...
    def inbox_since(self) -> int | None: ...
    def workers(self) -> Sequence[Worker]: ...
    def held(self) -> Mapping[WorkerId, int]: ...
    def facts(self) -> Facts: ...


class Committer(Protocol):
    @property
    def leases(self) -> Mapping[RunId, int]: ...
    @property
    def concurrency(self) -> int: ...
    @property
    def waiting(self) -> tuple[int, int]: ...
    @property
    def broken(self) -> BaseException | None: ...


class Watched(Protocol):
    """A process of a store: `executors.process.Process`, as it is seen from here."""

    on_committed: Any
    """Called with each `Committed`, in the committer's thread."""

    @property
    def is_connected(self) -> bool: ...
    @property
    def store(self) -> Any:
        """Its `reader` is a Reader."""
        ...

    @property
    def committer(self) -> Committer: ...
    @property
    def clock(self) -> Any: ...
    @property
    def dispatcher(self) -> Any:
        """None while it executes nothing."""
        ...


class Histogram:
    """How many values lie at or below each bound, and their sum. One thread adds, any may read."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds, self.counts, self.sum = bounds, [0] * (len(bounds) + 1), 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class Counted:
    """The numbers of one process. Functions are told apart by their numbers until somebody asks."""

    def __init__(self) -> None:
        self.created: dict[FunctionId, int] = {}
        self.ended: dict[tuple[FunctionId, RunStatus], int] = {}
        self.run_seconds: dict[FunctionId, Histogram] = {}
        self.step_seconds: dict[tuple[FunctionId, StepStatus], Histogram] = {}
        """Each attempt by what came of it: COMPLETED, FAILED, or RETRYING."""
        self.batch_inputs = Histogram(BATCH_INPUTS)
        self.commit_seconds = Histogram(COMMIT_SECONDS)
        self.requests: dict[tuple[str, str, int], int] = {}
        """By method, route and class of the status (2 for 200 to 299)."""
        self.request_seconds: dict[tuple[str, str], Histogram] = {}
        self.open_streams: Callable[[], int] | None = None
        """How many clients follow jobs here; set by who serves them."""

    def committed(self, batch: Committed) -> None:
        """A batch is durable. In the committer's thread; never raises."""
        try:
            self._count_runs(batch)
            self._count_steps(batch)
            self.batch_inputs.add(batch.inputs)
            self.commit_seconds.add(batch.seconds)
        except Exception:
            # What cannot be counted must not end what works.
            log.exception("a batch could not be counted")

    def _count_runs(self, batch: Committed) -> None:
        created, ended, seconds = self.created, self.ended, self.run_seconds
        for run in batch.created:
            created[run.function] = created.get(run.function, 0) + 1
        for done in batch.done:
            key = done.function, done.status
            ended[key] = ended.get(key, 0) + 1
            # One that never started has no duration.
            if done.started_at is not None:
                cell = seconds.get(done.function)
                if cell is None:
                    cell = seconds[done.function] = Histogram(RUN_SECONDS)
                cell.add(max(0, done.at - done.started_at) / 1000)

    def _count_steps(self, batch: Committed) -> None:
        rows, items, seconds = batch.steps, batch.items, self.step_seconds
        for key in rows.before:
            step = rows.now[key]
            if step is None or step.kind != StepKind.RUN or not step.at:
                continue
            item = items.before.get(step.run) or items.now.get(step.run)
            if item is None or step.status == StepStatus.ABANDONED:
                continue
            label = item.function, step.status
            cell = seconds.get(label)
            if cell is None:
                cell = seconds[label] = Histogram(STEP_SECONDS)
            cell.add(max(0, step.at - step.started_at) / 1000)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """The API has answered. route: the template, "/api/runs/{id}"; in the loop's thread."""
        method = method if method in METHODS else "other"
        key = method, route, status // 100
        self.requests[key] = self.requests.get(key, 0) + 1
        cell = self.request_seconds.get((method, route))
        if cell is None:
            cell = self.request_seconds[method, route] = Histogram(REQUEST_SECONDS)
        cell.add(seconds)


_counted: "weakref.WeakKeyDictionary[Watched, Counted]" = weakref.WeakKeyDictionary()


def counted_by(process: Watched) -> Counted:
    """What this process counts; from the first time that somebody asks for it."""
    found = _counted.get(process)
    if found is None:
        found = _counted[process] = Counted()
        process.on_committed = found.committed
    return found
