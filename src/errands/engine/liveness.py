"""Workers come, beat, leave and die. A dead worker's id never revives.

Whatever a worker holds when it dies has one more crash to its name. After two without anything done
between, an item is a suspect: it is executed again, but only one suspect at a time in each worker
(`lease.claim`). The third strike is for that one alone: an item is ended by a crash only if it was
leased as a suspect. Others that die beside it become suspects at most, however many die together.
Others do execute beside it, so a suspect may be struck out for what a newcomer did; who crashes its
worker each time is struck out for certain.
"""

import msgspec
from msgspec.structs import replace

from errands.engine.decision import Decision
from errands.engine.finish import end_run
from errands.engine.input import Beat, WorkerLeft, WorkerLost
from errands.engine.lease import readied
from errands.engine.state import State
from errands.engine.transition import (
    BeatKept,
    InboxFreed,
    ItemMoved,
    Recorded,
    Transition,
    WorkerKept,
)
from errands.model.call import KEPT, NOT_KNOWN
from errands.model.ids import WorkerId
from errands.model.item import Item
from errands.model.run import Failure, Moment, Record, RunStatus
from errands.model.worker import WorkerState

STRIKES = 3
"""Crashes in a row, without anything done between, that end a run."""
_encode = msgspec.json.Encoder().encode


def beat(input: Beat, state: State) -> Decision:
    worker = state.workers.get(input.worker)
    if worker is None or worker.state != WorkerState.ALIVE:
        return Decision(NOT_KNOWN)
    return Decision(KEPT, (BeatKept(worker.id, state.now),))


def _held(worker: WorkerId, state: State) -> list[Item]:
    """What it holds still: an earlier input of the batch may have ended, parked or taken a run."""
    loaded = (state.items.get(item.run) for item in state.held.get(worker, ()))
    return [item for item in loaded if item is not None and item.worker == worker]


def worker_left(input: WorkerLeft, state: State) -> Decision:
    worker = state.workers.get(input.worker)
    if worker is None or worker.state != WorkerState.ALIVE:
        return Decision(NOT_KNOWN)
    transitions: list[Transition] = [
        WorkerKept(replace(worker, state=WorkerState.LEFT)),
        InboxFreed(worker.id),
    ]
    transitions += [ItemMoved(readied(item, state)) for item in _held(worker.id, state)]
    return Decision(KEPT, transitions)


def worker_lost(input: WorkerLost, state: State) -> Decision:
    """Take over what a dead worker held. Nobody's attempt is counted, but the crash is."""
    worker = state.workers.get(input.worker)
    if worker is None or worker.state != WorkerState.ALIVE or worker.beat_at != input.beat_at:
        return Decision(NOT_KNOWN)
    transitions: list[Transition] = [
        WorkerKept(replace(worker, state=WorkerState.DEAD)),
        InboxFreed(worker.id),
    ]
    for item in _held(worker.id, state):
        transitions += _taken_over(item, input.why, state)
    return Decision(KEPT, transitions)


def _taken_over(item: Item, why: str, state: State) -> list[Transition]:
    struck = replace(item, crashes=item.crashes + 1)
    told = _encode({"worker": item.worker, "leased_at": item.leased_at, "why": why})
    record: Transition = Recorded(Record(item.run, state.new_id(), state.now, Moment.CRASHED, told))
    if struck.crashes < STRIKES:
        return [record, ItemMoved(readied(struck, state))]
    failure = Failure(
        "Crashed",
        f"The worker died {STRIKES} times in a row while it executed this run, at last alone. "
        "Look for what ends the process: memory, a signal, a native library.",
        bases=("Crashed", "ErrandsError"),
        code="crashed",
        attempts=item.attempt + 1,
    )
    return [record, *end_run(struck, state, RunStatus.FAILED, _encode(failure))]
