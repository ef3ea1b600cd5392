"""An item: one thing to execute. Here it is a run's head, the only row of a run that moves."""

import enum

import msgspec

from errands.model.ids import FunctionId, RunId, WorkerId


class Place(enum.IntEnum):
    READY = 1
    RUNNING = 2
    PARKED = 4


class Urgency(enum.IntEnum):
    """The class in a lane: what has begun is finished before anything new is started."""

    CONTINUES = 0
    STARTS = 1
    SUSPECT = 2
    """Has crashed its worker twice: executed one at a time, so that only the culprit is struck
    again.
    """


class Item(msgspec.Struct, frozen=True, gc=False):
    run: RunId
    function: FunctionId
    place: Place
    updated_at: int
    fence: int = 0
    """Counts leases; a write that names an older one is refused."""
    attempt: int = 0
    """0-based, of the run's own code."""
    crashes: int = 0
    """Workers that died with it since it last got anything done."""
    seq: int = 0
    """Next number in the order in which the run sees its results. Exact while nobody holds the
    lease.
    """
    position: int = 0
    """Where it stands in its lane while ready."""
    due: int | None = None
    """When a parked run starts: delayed, or waiting for its next attempt."""
    worker: WorkerId | None = None
    leased_at: int | None = None
    started_at: int | None = None
    start_by: int | None = None
    finish_by: int | None = None
    parent: RunId | None = None
    parent_step: str | None = None

    @property
    def urgency(self) -> Urgency:
        if self.crashes >= 2:
            return Urgency.SUSPECT
        return Urgency.STARTS if self.started_at is None else Urgency.CONTINUES
