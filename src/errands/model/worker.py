"""A worker: a process that may hold leases. Its life is the lease."""

import enum

import msgspec

from errands.model.ids import WorkerId


class WorkerState(enum.IntEnum):
    ALIVE = 1
    LEFT = 2
    DEAD = 3


class Worker(msgspec.Struct, frozen=True):
    """One start of a process. An id is never used again."""

    id: WorkerId
    node: int
    """0 … 1023: part of every id that this process makes; free again when it has left."""
    pid: int
    host: str
    app: str
    state: WorkerState
    started_at: int
    beat_at: int
    concurrency: int = 0
    """0: only sends, executes nothing."""
