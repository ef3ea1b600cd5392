"""One row that several inputs of a batch move is written once, as it is in the end."""

from msgspec.structs import replace

from errands.engine.transition import (
    FunctionKept,
    ItemMoved,
    ProgressKept,
    RunCreated,
    RunFinished,
    StepSaved,
    TimerForgotten,
    WaitRegistered,
)
from errands.model.function import Function
from errands.model.ids import FunctionId, RunId, WorkerId
from errands.model.item import Item, Place
from errands.model.run import Done, Progress, Run, RunStatus
from errands.model.step import UNORDERED, Step, StepKind, StepStatus, Wait
from errands.model.timer import Timer, TimerKind
from errands.store.interface import Store
from tests.store.batch import load, write
from tests.store.process import NOW, REPORT

RUN, LANE = RunId(5), FunctionId(7)
PARKED = Item(RUN, LANE, Place.PARKED, NOW, due=NOW + 5)
READY = Item(RUN, LANE, Place.READY, NOW, position=1)
RUNNING = Item(RUN, LANE, Place.RUNNING, NOW, fence=1, worker=WorkerId(1), leased_at=NOW)
DONE = Done(RUN, LANE, RunStatus.COMPLETED, NOW, NOW, b"1")
OPEN = Step(RUN, "paid", StepKind.EVENT, StepStatus.WAITING, due=NOW + 9, match=3)
CLOSED = replace(OPEN, status=StepStatus.COMPLETED, due=None, seq=0, output=b"1")
WAIT = Wait(3, RUN, "paid", NOW)


def test_a_run_that_begins_and_ends_in_one_batch_leaves_its_outcome_only(store: Store) -> None:
    write(store, ItemMoved(PARKED), ItemMoved(READY), ItemMoved(RUNNING), RunFinished(DONE))

    counts = store.reader.counts()
    assert {table for table, count in counts.items() if count} == {"done"}


def test_an_item_that_moves_twice_stands_where_it_went_last(store: Store) -> None:
    write(store, ItemMoved(PARKED))

    write(store, ItemMoved(READY), ItemMoved(replace(READY, position=2)), items=[RUN])

    state = load(store, frozenset([LANE]), room=9, claim=9)
    assert [item.position for item in state.claimable] == [2]
    assert store.reader.next_timer() is None


def test_an_item_that_comes_back_to_its_place_keeps_it(store: Store) -> None:
    write(store, ItemMoved(READY))

    write(store, ItemMoved(RUNNING), ItemMoved(READY), items=[RUN])

    assert load(store, frozenset([LANE]), room=9, claim=9).claimable == [READY]


def test_an_item_moved_and_ended_in_one_batch_is_gone(store: Store) -> None:
    write(store, ItemMoved(READY))

    write(store, ItemMoved(RUNNING), ItemMoved(PARKED), RunFinished(DONE), items=[RUN])

    assert store.reader.counts() | {"done": 0} == dict.fromkeys(store.reader.counts(), 0)


def test_a_wait_that_opens_and_ends_in_one_batch_was_never_there(store: Store) -> None:
    write(store, StepSaved(OPEN), WaitRegistered(WAIT), StepSaved(CLOSED))

    assert load(store, waits=[3]).waits == {}
    assert store.reader.next_timer() is None
    assert store.reader.steps(RUN) == [CLOSED]


def test_a_step_saved_twice_in_a_batch_is_kept_as_it_was_last(store: Store) -> None:
    write(store, StepSaved(OPEN), WaitRegistered(WAIT))

    resolved = replace(CLOSED, seq=None)
    write(
        store,
        StepSaved(resolved),
        StepSaved(replace(resolved, seq=UNORDERED)),
        steps=[(RUN, "paid")],
    )

    assert store.reader.steps(RUN) == [replace(CLOSED, seq=UNORDERED)]
    assert load(store, waits=[3]).waits == {}


def test_a_timer_armed_again_for_the_same_moment_is_one_timer(store: Store) -> None:
    timer = Timer(NOW + 9, RUN, TimerKind.STEP, "paid")
    write(store, StepSaved(OPEN))

    write(store, TimerForgotten(timer), StepSaved(OPEN), steps=[(RUN, "paid")])

    assert store.reader.due_timers(NOW + 9, 9) == [timer]


def test_the_last_progress_of_a_batch_wins(store: Store) -> None:
    write(store, FunctionKept(Function(LANE, "shop", REPORT)), RunCreated(Run(RUN, LANE)))

    write(store, *(ProgressKept(Progress(RUN, n, f"{n:.0f} %", NOW)) for n in (1.0, 3.0, 2.0)))

    row = store.reader.run(RUN)
    assert row is not None
    assert (row.percent, row.note) == (2.0, "2 %")


def test_many_rows_of_a_kind_are_all_written(store: Store) -> None:
    # Statements take 64, 16, 4 or 1 rows; 173 needs each of them.
    steps = [replace(OPEN, run=RunId(n), due=NOW + n) for n in range(173)]
    items = [replace(READY, run=RunId(n), position=n) for n in range(173)]
    write(store, *map(StepSaved, steps), *map(ItemMoved, items))
    write(
        store,
        *(StepSaved(replace(step, status=StepStatus.FAILED, due=None)) for step in steps),
        *(ItemMoved(replace(item, place=Place.PARKED, position=0)) for item in items),
        steps=[(step.run, step.id) for step in steps],
        items=[item.run for item in items],
    )

    state = load(store, steps=[(s.run, s.id) for s in steps], items=[item.run for item in items])
    assert [step.status for step in state.steps.now.values() if step] == [StepStatus.FAILED] * 173
    assert [item.place for item in state.items.now.values() if item] == [Place.PARKED] * 173
    assert store.reader.next_timer() is None
    assert store.reader.lanes() == []
