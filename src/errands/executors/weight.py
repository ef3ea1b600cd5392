"""How much an input weighs in a batch: rows and bytes that it will write, about.

A bound that is cheap to find, not a count: it keeps batches short and the queue small.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from errands.engine.config import Config
from errands.engine.ingest import CHUNK
from errands.engine.input import ChildEnded, EventHit, Expand, Input, JobChanged, Sent, Trim
from errands.model.call import (
    Parked,
    RunFailed,
    RunReturned,
    StepFailed,
    StepReturned,
    StepSent,
    WaitOpened,
)
from errands.model.event import Event, NewEvent
from errands.model.ids import EventId
from errands.model.job import NewJob
from errands.model.step import Step

Weight = tuple[int, int]
ROWS = 3
"""Of an input of which nothing better is known."""
TRIMMED_ROWS = 7
"""Rows of a run in as many tables, at least."""


def weight(given: Input, config: Config, events: Mapping[EventId, Event]) -> Weight:
    """Rows and bytes. events: those that are at hand; a body that is not weighs nothing."""
    weigh = WEIGHTS.get(type(given))
    if weigh is not None:
        return weigh(given, config)
    if isinstance(given, EventHit):
        event = events.get(given.event)
        return ROWS + 1, 0 if event is None else len(event.data)
    return ROWS, 0


def _step_returned(given: StepReturned, config: Config) -> Weight:
    if not given.saves:
        return 1, len(given.step.output or b"")
    return 1 + len(given.saves), _bytes((given.step, *given.saves))


def _run_returned(given: RunReturned, config: Config) -> Weight:
    if not given.saves:
        return ROWS, len(given.output)
    return ROWS + len(given.saves), len(given.output) + _bytes(given.saves)


def _failed(given: StepFailed | RunFailed, config: Config) -> Weight:
    # The failure is kept twice: as a result, and in the history.
    return ROWS + len(given.saves), 2 * len(given.failure) + _bytes(given.saves)


def _parked(given: Parked, config: Config) -> Weight:
    return 1 + len(given.saves), _bytes(given.saves)


def _wait_opened(given: WaitOpened, config: Config) -> Weight:
    rows, size = _sending((given.child,), config) if given.child is not None else (0, 0)
    return ROWS + rows + len(given.saves), size + _bytes(given.saves)


def _step_sent(given: StepSent, config: Config) -> Weight:
    rows, size = _sending(given.items, config)
    return 1 + rows + len(given.saves), size + _bytes(given.saves)


def _sent(given: Sent, config: Config) -> Weight:
    if len(given.items) == 1 and type(job := given.items[0]) is NewJob:
        return 2, len(job.data)
    return _sending(given.items, config)


def _sending(items: Sequence[NewEvent | NewJob], config: Config) -> Weight:
    size = sum([len(item.data) for item in items])
    # Of a large send the runs are made later; then its bodies are written twice.
    return (2 * len(items), 2 * size) if len(items) > CHUNK else (_begun(items, config), size)


def _expand(given: Expand, config: Config) -> Weight:
    return _begun([item for _, item in given.items], config), 0


def _begun(items: Sequence[NewEvent | NewJob], config: Config) -> int:
    started_by = config.started_by
    return sum(
        [2 * (len(started_by(item.name)) or 1) if type(item) is NewEvent else 2 for item in items]
    )


def _job_changed(given: JobChanged, config: Config) -> Weight:
    return ROWS, len(given.output or b"")


def _child_ended(given: ChildEnded, config: Config) -> Weight:
    return ROWS, len(given.output)


def _trim(given: Trim, config: Config) -> Weight:
    return TRIMMED_ROWS * len(given.runs) + len(given.events), 0


def _bytes(steps: Sequence[Step]) -> int:
    return sum([len(step.output or b"") for step in steps])


WEIGHTS: dict[type, Callable[[Any, Config], Weight]] = {
    StepReturned: _step_returned,
    StepFailed: _failed,
    StepSent: _step_sent,
    WaitOpened: _wait_opened,
    Parked: _parked,
    RunReturned: _run_returned,
    RunFailed: _failed,
    Sent: _sent,
    Expand: _expand,
    JobChanged: _job_changed,
    ChildEnded: _child_ended,
    Trim: _trim,
}
