"""A timer: an alarm clock for an item or a step. What it means is told by the row it points to."""

import enum

import msgspec

from errands.model.ids import RunId


class TimerKind(enum.IntEnum):
    STEP = 1
    """A sleep ends, a wait times out, a step's next attempt begins."""
    START = 2
    """A delayed run starts, or a run's next attempt."""
    START_BY = 3
    FINISH_BY = 4


class Timer(msgspec.Struct, frozen=True, gc=False, order=True):
    due: int
    run: RunId
    kind: TimerKind
    step: str = ""
