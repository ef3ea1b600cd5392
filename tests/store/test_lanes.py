"""Nobody passes who is ready already: what a batch knows of the lanes that it may lease from."""

import pytest

from errands.engine.input import Claim, TimerDue
from errands.engine.transition import ItemMoved, RunCreated
from errands.model.call import Again, RunFailed, StepReturned, WaitOpened
from errands.model.function import FunctionConfig, FunctionKind, RetryPolicy
from errands.model.ids import RunId
from errands.model.item import Item, Place
from errands.model.run import Run
from errands.model.step import Step, StepKind, StepStatus
from errands.store.interface import Store
from tests.store.batch import load, write
from tests.store.process import NOW, Process, StillClock, returned

FAILURE = b'{"name":"E","message":"m"}'


def place(process: Process, run: RunId) -> Place:
    item = load(process.store, items=[run]).items.get(run)
    assert item is not None
    return item.place


def test_a_run_that_a_timer_wakes_queues_up_behind_those_that_continue(
    process: Process, clock: StillClock
) -> None:
    sleeper, other = process.enqueue(2)
    for run in (sleeper, other):
        nap = Step(run, "nap", StepKind.SLEEP, StepStatus.WAITING, started_at=NOW)
        process.decide(WaitOpened(run, 1, nap, duration_ms=1_000, park=True))
    clock.ms += 2_000
    first, second = process.store.reader.due_timers(clock.now(), 9)
    process.committer.serve(frozenset(), 0)
    process.decide(TimerDue(first))
    process.committer.serve(frozenset(process.committer.config.functions), 1)
    process.committer.is_ready_maybe = False

    process.submit(TimerDue(second))
    process.committer.step()

    assert place(process, RunId(second.run)) == Place.READY


@pytest.fixture
def failing(store: Store, clock: StillClock) -> Process:
    report = FunctionConfig("report", "report", FunctionKind.JOB, on_failure=("told",))
    told = FunctionConfig("told", "told", FunctionKind.FAILURE)
    return Process(store, clock, concurrency=2, functions=(report, told))


def test_a_failure_handler_queues_up_behind_those_that_failed_before(failing: Process) -> None:
    first, second = failing.enqueue(2)
    final = Again(RetryPolicy(0), 0, 0.0, is_final=True)
    lane = failing.function("told")
    failing.committer.here.serves = frozenset({failing.function("report")})
    failing.decide(RunFailed(first, 1, FAILURE, final, 0))
    failing.committer.here.serves = frozenset({lane})
    failing.committer.is_ready_maybe = False

    failing.submit(RunFailed(second, 1, FAILURE, final, 0))
    failing.committer.step()

    ready = {at.lane: at.count for at in failing.store.reader.ready()}
    assert ready == {lane: 2}


def test_a_suspect_that_gets_something_done_leaves_its_place_to_the_next(process: Process) -> None:
    lane = process.function("report")
    first, second = (RunId(process.new_id()) for _ in range(2))
    for run in (first, second):
        item = Item(run, lane, Place.READY, NOW, crashes=2, position=run)
        write(process.store, RunCreated(Run(run, lane)), ItemMoved(item))
    process.decide(Claim(9))
    assert list(process.leases) == [first]

    process.decide(StepReturned(first, 1, returned(first, "a")))
    process.decide(Claim(9))

    assert list(process.leases) == [first, second]
