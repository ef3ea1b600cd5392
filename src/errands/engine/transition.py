"""Transitions: the closed set of what a decision may change. Stores apply them, no more."""

from typing import TypeAlias

import msgspec

from errands.engine.input import FollowUp
from errands.model.event import Event
from errands.model.function import Function
from errands.model.ids import EventId, RunId, WorkerId
from errands.model.item import Item
from errands.model.run import Done, Label, LogLine, Progress, Record, Run
from errands.model.step import Shape, Step, Wait
from errands.model.timer import Timer
from errands.model.worker import Worker


class EventAppended(msgspec.Struct, frozen=True, gc=False):
    event: Event


class Deduplicated(msgspec.Struct, frozen=True, gc=False):
    """Until `expires_at`, this key in this scope means `ref`."""

    scope: int
    key: str
    ref: int
    expires_at: int


class RunCreated(msgspec.Struct, frozen=True, gc=False):
    run: Run
    labels: tuple[Label, ...] = ()


class ItemMoved(msgspec.Struct, frozen=True, gc=False):
    """The item as it is from now on. Its place in the lane and its timers follow from it."""

    item: Item


class RunFinished(msgspec.Struct, frozen=True, gc=False):
    """The run's outcome; its item is gone."""

    done: Done


class StepSaved(msgspec.Struct, frozen=True, gc=False):
    """The step as it is from now on. Its timer follows from it, and the end of its wait."""

    step: Step


class WaitRegistered(msgspec.Struct, frozen=True, gc=False):
    wait: Wait


class Poked(msgspec.Struct, frozen=True, gc=False):
    """The session that executes this run here must look: a wait is resolved, or (`stop`) it is
    over.
    """

    run: RunId
    stop: str | None = None


class TimerForgotten(msgspec.Struct, frozen=True, gc=False):
    """A timer whose reason is gone already."""

    timer: Timer


class Recorded(msgspec.Struct, frozen=True, gc=False):
    record: Record


class LogsKept(msgspec.Struct, frozen=True, gc=False):
    lines: tuple[LogLine, ...]


class ProgressKept(msgspec.Struct, frozen=True, gc=False):
    progress: Progress


class FollowUpQueued(msgspec.Struct, frozen=True, gc=False):
    """An effect on another run: durable with this decision, decided later by `worker`."""

    follow_up: FollowUp
    worker: WorkerId


class FollowUpMoved(msgspec.Struct, frozen=True, gc=False):
    """Another worker has to decide it."""

    inbox: int
    worker: WorkerId


class FollowUpDone(msgspec.Struct, frozen=True, gc=False):
    inbox: int


class InboxFreed(msgspec.Struct, frozen=True, gc=False):
    """What this worker had to decide, anybody may decide."""

    worker: WorkerId


class FunctionKept(msgspec.Struct, frozen=True):
    function: Function


class ShapeKept(msgspec.Struct, frozen=True):
    shape: Shape


class WorkerKept(msgspec.Struct, frozen=True):
    worker: Worker


class BeatKept(msgspec.Struct, frozen=True, gc=False):
    worker: WorkerId
    at: int


class Trimmed(msgspec.Struct, frozen=True, gc=False):
    """Past their time: these rows, and what belongs to them, are gone."""

    runs: tuple[RunId, ...]
    events: tuple[EventId, ...]
    dedup_before: int
    workers_before: int


Transition: TypeAlias = (
    EventAppended
    | Deduplicated
    | RunCreated
    | ItemMoved
    | RunFinished
    | StepSaved
    | WaitRegistered
    | Poked
    | TimerForgotten
    | Recorded
    | LogsKept
    | ProgressKept
    | FollowUpQueued
    | FollowUpMoved
    | FollowUpDone
    | InboxFreed
    | FunctionKept
    | ShapeKept
    | WorkerKept
    | BeatKept
    | Trimmed
)
