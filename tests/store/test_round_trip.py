"""What is applied is what is loaded and read: each kind of transition, each field."""

from collections.abc import Callable
from typing import Any, get_args

import msgspec
import pytest
from msgspec.structs import replace

from errands.engine import transition as t
from errands.engine.input import CancelAsked, ChildEnded, EventHit, Expand, Poke, WaitsLeft
from errands.model.event import Event, NewEvent
from errands.model.function import (
    EXTERNAL,
    CancelOn,
    Function,
    FunctionConfig,
    FunctionKind,
    RetryPolicy,
    Trigger,
)
from errands.model.ids import EventId, FunctionId, RunId, WorkerId
from errands.model.item import Item, Place, Urgency
from errands.model.job import KEY_SCOPE, ExternalJob, NewJob
from errands.model.run import Done, Label, LogLine, Moment, Progress, Record, Run, RunStatus
from errands.model.step import Shape, Step, StepKind, StepStatus, Wait
from errands.model.timer import Timer, TimerKind
from errands.model.worker import Worker, WorkerState
from errands.store.interface import EventFilter, RunFilter, Store
from tests.store.batch import load, write
from tests.store.process import NOW

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
RUN, EVENT, FUNCTION, WORKER = RunId(5), EventId(6), FunctionId(7), WorkerId(8)
REPORT = Function(
    FUNCTION,
    "shop",
    FunctionConfig(
        "report",
        "Report",
        FunctionKind.EVENT,
        (Trigger("a/*", "event.data.x == 1"),),
        RetryPolicy(9, 100, 1.5, 2_000, jitter=False),
        start_timeout_ms=11,
        finish_timeout_ms=12,
        cancel=(CancelOn("b", "data.id", "async.data.y > 2", 13),),
        on_failure=("told",),
    ),
)
WHOLE_RUN = Run(RUN, FUNCTION, EVENT, b'{"a":1}', RunId(3), "parent-step", b'{"count":1}', TRACE)
READY = Item(
    RUN, FUNCTION, Place.READY, updated_at=NOW, fence=2, attempt=3, crashes=1, seq=4, position=5,
    started_at=NOW - 1, start_by=NOW + 2, finish_by=NOW + 3, parent=RunId(9), parent_step="invoke",
)  # fmt: skip
RUNNING = replace(
    READY, place=Place.RUNNING, position=0, worker=WORKER, leased_at=NOW - 6, finish_by=NOW + 4
)
PARKED = replace(RUNNING, place=Place.PARKED, worker=None, leased_at=None, due=NOW + 7)
DONE = Done(RUN, FUNCTION, RunStatus.FAILED, NOW, NOW + 1, b'{"e":1}', 2, NOW - 3, WORKER)
OPEN_STEP = Step(
    RUN, "paid", StepKind.EVENT, StepStatus.WAITING, seq=None, attempt=2, main=False,
    started_at=NOW - 8, at=NOW - 7, due=NOW + 9, match=-(1 << 63), output=b'"last"',
)  # fmt: skip
CLOSED_STEP = replace(
    OPEN_STEP, status=StepStatus.COMPLETED, seq=3, attempt=4, at=NOW, due=None, output=b"true"
)
WAIT = Wait((1 << 63) - 1, RUN, "paid", 7, "async.data.x == 1", b'{"data":{}}')
ALIVE = Worker(WORKER, 1_023, 77, "höst", "shop", WorkerState.ALIVE, NOW - 9, NOW - 9, 10)
STAMPED = Event(EVENT, "a/b", b'{"x":1}', NOW - 1, "key", b'{"id":2}', "v1")


ROUND_TRIPS: dict[type, Callable[[Store], None]] = {}


def of(kind: type) -> Callable[[Callable[[Store], None]], Callable[[Store], None]]:
    def keep(check: Callable[[Store], None]) -> Callable[[Store], None]:
        ROUND_TRIPS[kind] = check
        return check

    return keep


@of(t.EventAppended)
def event_appended(store: Store) -> None:
    bare = Event(EventId(1 << 62), "b", b"{}", NOW)
    write(store, t.EventAppended(STAMPED), t.EventAppended(bare))
    assert load(store, events=[EVENT, bare.id]).events == {EVENT: STAMPED, bare.id: bare}
    assert store.reader.events([EVENT, EventId(99)]) == [STAMPED]


@of(t.Deduplicated)
def deduplicated(store: Store) -> None:
    write(store, t.Deduplicated(0, "a", 1, NOW), t.Deduplicated(7, "a", 2, NOW + 1))
    write(store, t.Deduplicated(0, "b", 3, NOW + 2), t.Deduplicated(0, "a", 4, NOW + 3))
    keys = [(0, "a"), (7, "a"), (0, "b"), (7, "b"), (0, "")]
    assert load(store, dedup=keys).dedup.now == {
        (0, "a"): (4, NOW + 3),
        (7, "a"): (2, NOW + 1),
        (0, "b"): (3, NOW + 2),
    }


@of(t.RunCreated)
def run_created(store: Store) -> None:
    bare = Run(RunId(50), FUNCTION)
    labels = (Label("team=a", RUN), Label("x=1", RUN), Label("x=1", RUN))
    write(store, t.RunCreated(WHOLE_RUN, labels), t.RunCreated(bare))
    assert load(store, runs=[RUN, bare.id]).runs == {RUN: WHOLE_RUN, bare.id: bare}
    assert store.reader.inputs([bare.id, RUN]) == [WHOLE_RUN, bare]
    assert store.reader.labels(RUN) == ["team=a", "x=1"]


@of(t.ItemMoved)
def item_moved(store: Store) -> None:
    write(store, t.FunctionKept(REPORT), t.ItemMoved(READY))
    state = load(store, frozenset([FUNCTION]), room=9, claim=5, items=[RUN], lanes=[FUNCTION])
    assert state.items.now == {RUN: READY}
    assert state.claimable == [READY]
    assert FUNCTION in state.busy_lanes
    assert store.reader.lanes() == [FUNCTION]
    assert store.reader.due_timers(NOW + 9, 9) == [Timer(NOW + 3, RUN, TimerKind.FINISH_BY)]

    write(store, t.ItemMoved(RUNNING), items=[RUN])
    state = load(store, frozenset([FUNCTION]), room=9, claim=5, held_by=[WORKER], lanes=[FUNCTION])
    assert (state.items.now, state.held) == ({RUN: RUNNING}, {WORKER: [RUNNING]})
    assert (state.claimable, state.busy_lanes) == ([], {})

    write(store, t.ItemMoved(PARKED), items=[RUN])
    assert load(store, items=[RUN]).items.now == {RUN: PARKED}
    assert [(timer.kind, timer.due) for timer in store.reader.due_timers(NOW + 9, 9)] == [
        (TimerKind.FINISH_BY, NOW + 4),
        (TimerKind.START, NOW + 7),
    ]


@of(t.RunFinished)
def run_finished(store: Store) -> None:
    bare = Done(RunId(50), FUNCTION, RunStatus.COMPLETED, NOW, NOW, b"null")
    write(store, t.ItemMoved(PARKED), t.ItemMoved(replace(READY, run=bare.run)))
    write(store, t.RunFinished(DONE), t.RunFinished(bare), items=[RUN, bare.run])
    assert store.reader.done([bare.run, RUN, RunId(51)]) == [DONE, bare]
    assert load(store, items=[RUN, bare.run]).items.now == {}
    assert (store.reader.lanes(), store.reader.next_timer()) == ([], None)


@of(t.StepSaved)
def step_saved(store: Store) -> None:
    bare = Step(RUN, "bare", StepKind.RUN, StepStatus.COMPLETED, seq=0)
    write(store, t.StepSaved(OPEN_STEP), t.StepSaved(bare))
    keys = [(RUN, "paid"), (RUN, "bare"), (RUN, "no"), (RunId(99), "paid")]
    state = load(store, steps=keys)
    assert state.steps.now == {(RUN, "paid"): OPEN_STEP, (RUN, "bare"): bare}
    assert list(load(store, unseen=[RUN]).unseen_steps(RUN)) == [OPEN_STEP]
    assert store.reader.due_timers(NOW + 9, 9) == [Timer(NOW + 9, RUN, TimerKind.STEP, "paid")]

    write(store, t.StepSaved(CLOSED_STEP), steps=[(RUN, "paid")])
    assert store.reader.steps(RUN) == [bare, CLOSED_STEP]
    assert store.reader.memo(RUN, 1) == [CLOSED_STEP]
    assert list(load(store, unseen=[RUN]).unseen_steps(RUN)) == []
    assert store.reader.next_timer() is None


@of(t.WaitRegistered)
def wait_registered(store: Store) -> None:
    bare = Wait(WAIT.match, RunId(3), "z", 6)
    write(store, t.WaitRegistered(WAIT), t.WaitRegistered(bare))
    assert load(store).last_wait == 7
    assert load(store, waits=[WAIT.match, 1]).waits == {WAIT.match: [bare, WAIT]}
    after = (WAIT.match, bare.run, bare.step)
    assert load(store, waits_after=[after]).pages == {after: [WAIT]}


@of(t.Poked)
def poked(store: Store) -> None:
    before = store.reader.counts()
    assert write(store, t.Poked(RUN, "stop")).poked == {RUN: "stop"}
    assert store.reader.counts() == before


@of(t.TimerForgotten)
def timer_forgotten(store: Store) -> None:
    write(store, t.StepSaved(OPEN_STEP), t.StepSaved(replace(OPEN_STEP, id="other")))
    write(store, t.TimerForgotten(Timer(NOW + 9, RUN, TimerKind.STEP, "paid")))
    assert store.reader.due_timers(NOW + 8, 9) == []
    assert store.reader.due_timers(NOW + 9, 9) == [Timer(NOW + 9, RUN, TimerKind.STEP, "other")]


@of(t.Recorded)
def recorded(store: Store) -> None:
    records = [Record(RUN, n, NOW + n, moment, b"%d" % n) for n, moment in enumerate(Moment)]
    write(store, *(t.Recorded(record) for record in reversed(records)))
    assert store.reader.history(RUN) == records


@of(t.LogsKept)
def logs_kept(store: Store) -> None:
    lines = tuple(LogLine(RUN, n, NOW + n, "step" if n else None, n, 20, f"{n}") for n in range(5))
    write(store, t.LogsKept(lines))
    assert store.reader.logs(RUN, -1, 9) == list(lines)
    assert store.reader.logs(RUN, 1, 2) == list(lines[2:4])


@of(t.ProgressKept)
def progress_kept(store: Store) -> None:
    write(store, t.FunctionKept(REPORT), t.RunCreated(WHOLE_RUN))
    write(store, t.ProgressKept(Progress(RUN, 1.0, "old", NOW)))
    write(store, t.ProgressKept(Progress(RUN, 33.3, "half", NOW)))
    row = store.reader.run(RUN)
    assert row is not None
    assert (row.percent, row.note) == (33.3, "half")
    assert load(store, progress=[RUN, RunId(99)]).said == {RUN: Progress(RUN, 33.3, "half", NOW)}


@of(t.FollowUpQueued)
def follow_up_queued(store: Store) -> None:
    mine: list[Any] = [
        CancelAsked(RUN, "because"),
        EventHit(RUN, "paid", EVENT),
        WaitsLeft(EVENT, -5, RUN, "paid", NOW),
        ChildEnded(RUN, "invoke", True, b"1"),
        Expand(
            ((1, NewEvent("a", b"{}", "k", NOW, b"{}", "v", TRACE)), (2, NewJob("a", "f", b"{}"))),
            NOW,
            7,
        ),
        Poke(RUN, "stop"),
    ]
    queued = [t.FollowUpQueued(given, WORKER) for given in mine]
    write(store, *queued, t.FollowUpQueued(Poke(RUN), WorkerId(99)))
    found = store.reader.inbox(WORKER, 0, 99)
    assert [replace(given, inbox=0) for given in found] == mine
    ids = [given.inbox for given in found]
    assert load(store, inbox=[*ids, 1]).inbox == dict.fromkeys(ids)
    assert store.reader.inbox(WORKER, ids[2], 2) == found[3:5]


@of(t.FollowUpDone)
def follow_up_done(store: Store) -> None:
    write(store, t.FollowUpQueued(Poke(RUN), WORKER), t.FollowUpQueued(Poke(RunId(1)), WORKER))
    first, second = store.reader.inbox(WORKER, 0, 9)
    write(store, t.FollowUpDone(first.inbox), inbox=[first.inbox])
    assert store.reader.inbox(WORKER, 0, 9) == [second]


@of(t.FollowUpMoved)
def follow_up_moved(store: Store) -> None:
    write(store, t.FollowUpQueued(Poke(RUN), WORKER))
    (queued,) = store.reader.inbox(WORKER, 0, 9)
    write(store, t.FollowUpMoved(queued.inbox, WorkerId(99)))
    assert store.reader.inbox(WORKER, 0, 9) == []
    assert store.reader.inbox(WorkerId(99), 0, 9) == [queued]


@of(t.InboxFreed)
def inbox_freed(store: Store) -> None:
    write(store, t.FollowUpQueued(Poke(RUN), WORKER))
    write(store, t.InboxFreed(WORKER))
    (freed,) = store.reader.inbox(WorkerId(99), 0, 9)
    assert replace(freed, inbox=0) == Poke(RUN)


@of(t.FunctionKept)
def function_kept(store: Store) -> None:
    before = store.reader.config()
    write(store, t.FunctionKept(REPORT))
    after = store.reader.config()
    assert after.version > before.version
    assert after.functions == before.functions | {FUNCTION: REPORT}
    assert store.reader.config() is after

    changed = replace(REPORT, config=replace(REPORT.config, name="New"), retired=True)
    write(store, t.FunctionKept(changed))
    assert load(store).config.functions[FUNCTION] == changed


@of(t.ShapeKept)
def shape_kept(store: Store) -> None:
    shape = Shape(1 << 62, "order/*", ("data.id", "user.name"))
    write(store, t.ShapeKept(shape))
    assert load(store).config.shapes == (shape,)


@of(t.WorkerKept)
def worker_kept(store: Store) -> None:
    write(store, t.WorkerKept(ALIVE))
    assert store.reader.workers() == [ALIVE]
    busier = replace(ALIVE, concurrency=20)
    write(store, t.WorkerKept(busier), workers=[WORKER])
    assert load(store, workers=[WORKER]).workers.now == {WORKER: busier}

    for state in (WorkerState.LEFT, WorkerState.DEAD):
        write(store, t.WorkerKept(replace(busier, state=state)))
        assert store.reader.workers() == []
        assert load(store, workers=[WORKER]).workers.now == {WORKER: replace(busier, state=state)}


@of(t.BeatKept)
def beat_kept(store: Store) -> None:
    write(store, t.WorkerKept(ALIVE), t.BeatKept(WORKER, NOW))
    write(store, t.BeatKept(WORKER, NOW + 1), t.BeatKept(WORKER, NOW + 2))
    assert store.reader.workers() == [replace(ALIVE, beat_at=NOW + 2)]


@of(t.Trimmed)
def trimmed(store: Store) -> None:
    gone = [
        t.RunCreated(WHOLE_RUN, (Label("x", RUN),)),
        t.RunFinished(DONE),
        t.StepSaved(CLOSED_STEP),
        t.Recorded(Record(RUN, 1, NOW, Moment.PARKED, b"")),
        t.LogsKept((LogLine(RUN, 1, NOW, None, 0, 20, ""),)),
        t.ProgressKept(Progress(RUN, None, None, NOW)),
        t.EventAppended(STAMPED),
        t.Deduplicated(0, "old", 1, NOW - 1),
        t.Deduplicated(0, "new", 1, NOW),
        t.WorkerKept(replace(ALIVE, state=WorkerState.LEFT)),
    ]
    write(store, *gone)
    write(store, t.Trimmed((RUN,), (EVENT,), dedup_before=NOW, workers_before=NOW))
    assert list(load(store, dedup=[(0, "old"), (0, "new")]).dedup.now) == [(0, "new")]
    assert load(store, workers=[WORKER]).workers.now == {}
    assert (store.reader.done([RUN]), store.reader.inputs([RUN])) == ([], [])
    assert (store.reader.steps(RUN), store.reader.history(RUN)) == ([], [])
    assert (store.reader.logs(RUN, 0, 9), store.reader.labels(RUN)) == ([], [])
    assert store.reader.events([EVENT]) == []


@pytest.mark.parametrize("kind", ROUND_TRIPS, ids=lambda kind: kind.__name__)
def test_what_a_transition_says_is_read_back(kind: type, store: Store) -> None:
    ROUND_TRIPS[kind](store)


def test_each_kind_of_transition_is_read_back() -> None:
    assert set(ROUND_TRIPS) == set(get_args(t.Transition))


def test_what_these_tests_write_has_no_field_at_its_default() -> None:
    # Else two columns could be exchanged, and nobody would see it.
    for row in (WHOLE_RUN, RUNNING, DONE, OPEN_STEP, WAIT, STAMPED, REPORT.config):
        fields = msgspec.structs.fields(row)
        assert [
            field.name
            for field in fields
            if not field.required
            and getattr(row, field.name) == field.default
            and field.name not in ("seq", "due", "position")
        ] == []


@pytest.mark.parametrize("urgency", Urgency)
def test_each_class_of_a_lane_is_claimed(urgency: Urgency, store: Store) -> None:
    crashes, started_at = {
        Urgency.CONTINUES: (0, NOW),
        Urgency.STARTS: (0, None),
        Urgency.SUSPECT: (2, NOW),
    }[urgency]
    item = replace(READY, crashes=crashes, started_at=started_at, start_by=None)
    assert item.urgency == urgency
    write(store, t.FunctionKept(REPORT), t.ItemMoved(item))

    assert load(store, frozenset([FUNCTION]), room=1, claim=1).claimable == [item]


def test_a_claim_never_sees_lanes_that_it_does_not_serve(store: Store) -> None:
    write(
        store,
        t.ItemMoved(READY),
        t.ItemMoved(replace(READY, run=RunId(60), function=FunctionId(9))),
    )

    assert [i.run for i in load(store, frozenset([9]), room=9, claim=9).claimable] == [60]


def test_lists_of_runs_are_filtered_and_paged(store: Store) -> None:
    other = replace(REPORT, id=FunctionId(8), app="bank")
    rare = replace(REPORT, id=FunctionId(9), config=replace(REPORT.config, slug="rare"))
    made: list[Any] = [t.FunctionKept(f) for f in (REPORT, other, rare)]
    for n in range(12):
        function = (REPORT, other, rare)[n % 3].id
        run = RunId(100 + n)
        made.append(t.RunCreated(Run(run, function), (Label(f"odd={n % 2}", run),)))
        if n < 6:
            started_at = NOW if n < 3 else None
            made.append(
                t.ItemMoved(
                    replace(READY, run=run, function=function, position=n, started_at=started_at)
                )
            )
        else:
            status = list(RunStatus)[n // 2 - 3]
            made.append(t.RunFinished(replace(DONE, run=run, function=function, status=status)))
    write(store, *made)

    def listed(**filter: Any) -> list[int]:
        return [row.id - 100 for row in store.reader.runs(RunFilter(**filter))]

    assert listed() == list(range(11, -1, -1))
    assert listed(limit=3) == [11, 10, 9]
    assert listed(limit=3, before=RunId(109)) == [8, 7, 6]
    assert listed(status="processing") == [2, 1, 0]
    assert listed(status="pending") == [5, 4, 3]
    assert listed(status="completed") == [7, 6]
    assert listed(status="failed") == [9, 8]
    assert listed(status="cancelled") == [11, 10]
    assert listed(tag="odd=1") == [11, 9, 7, 5, 3, 1]
    assert listed(function="rare") == [11, 8, 5, 2]
    assert listed(function="report") == [10, 9, 7, 6, 4, 3, 1, 0]
    assert listed(function="bank/report") == [10, 7, 4, 1]
    assert listed(function="unknown") == []
    assert listed(function="report", status="pending", limit=1) == [4]
    assert listed(function="report", status="pending", before=RunId(104)) == [3]
    assert listed(function="rare", status="failed", tag="odd=0") == [8]
    assert listed(function="rare", status="failed", tag="odd=1") == []


def test_lists_of_events_are_filtered_and_paged(store: Store) -> None:
    events = [Event(EventId(100 + n), f"e{n % 3}", b"{}", NOW) for n in range(9)]
    write(store, *map(t.EventAppended, events))

    def listed(**filter: Any) -> list[int]:
        return [event.id - 100 for event in store.reader.list_events(EventFilter(**filter))]

    assert store.reader.list_events(EventFilter(limit=1)) == [events[-1]]
    assert listed(limit=4) == [8, 7, 6, 5]
    assert listed(before=EventId(102)) == [1, 0]
    assert listed(name="e1") == [7, 4, 1]
    assert listed(name="e1", limit=2) == [7, 4]
    assert listed(name="e1", before=EventId(104)) == [1]
    assert listed(name="e") == []


def test_the_runs_of_an_event_are_found(store: Store) -> None:
    runs = [replace(WHOLE_RUN, id=RunId(id)) for id in (7, 8)]
    other = replace(WHOLE_RUN, id=RunId(9), event=EventId(99))
    write(store, t.FunctionKept(REPORT), *map(t.RunCreated, [*runs, other]))

    assert [row.id for row in store.reader.runs_of_event(EVENT)] == [7, 8]


def test_an_external_job_is_found_by_its_own_id_until_that_expires(store: Store) -> None:
    asked = msgspec.json.encode(ExternalJob(1_000, "mine"))
    write(
        store,
        t.RunCreated(Run(RUN, EXTERNAL, input=asked)),
        t.Deduplicated(KEY_SCOPE, "mine", RUN, NOW + 5),
    )
    row = store.reader.run(RUN)

    assert row is not None
    assert (row.key, row.function.app, row.function.config.slug) == ("mine", "errands", "external")
    assert store.reader.external_job("mine", NOW + 4) == RUN
    assert store.reader.external_job("mine", NOW + 5) is None
    assert store.reader.external_job("yours", NOW) is None


def test_the_number_of_a_wait_that_came_and_went_in_one_batch_is_not_given_again(
    store: Store,
) -> None:
    write(store, t.WaitRegistered(WAIT), t.StepSaved(replace(OPEN_STEP, match=WAIT.match)),
          t.StepSaved(replace(CLOSED_STEP, match=WAIT.match)))  # fmt: skip

    state = load(store, waits=[WAIT.match])

    assert (state.waits, state.last_wait) == ({}, WAIT.number)


def test_runs_are_asked_whether_they_are_over(store: Store) -> None:
    write(store, t.RunFinished(DONE))

    assert load(store, ended=[RUN, RunId(99)]).ended == {RUN: None}
