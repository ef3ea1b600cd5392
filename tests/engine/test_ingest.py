"""From what is sent to runs."""

import pytest
from msgspec.structs import replace

from errands.engine.ingest import CHUNK, DEDUP_MS
from errands.engine.input import CancelAsked, EventHit, Expand, Sent, WaitsLeft
from errands.engine.match import wait_key
from errands.engine.state import PAGE
from errands.engine.transition import FollowUpQueued
from errands.model.call import KEPT, RUN_IS_OVER, WaitOpened
from errands.model.errors import FunctionNotFound
from errands.model.event import Event, NewEvent
from errands.model.function import CancelOn
from errands.model.ids import EventId, RunId
from errands.model.item import Place, Urgency
from errands.model.job import NewJob
from errands.model.run import Run, RunStatus
from errands.model.step import RESERVED, Shape, ShapeOf, Step, StepKind, StepStatus, Wait
from tests.engine.batch import ME, NOW, REPORT, WELCOME, Batch

SIGNED_UP = NewEvent("user/signed.up", b'{"user_id":"u1"}')
CALL = NewJob("shop", "report", b'{"n":1}')


def test_an_event_starts_each_function_that_it_triggers() -> None:
    batch = Batch(WELCOME, replace(WELCOME, id=7, config=replace(WELCOME.config, slug="again")))
    batch.decide(Sent((SIGNED_UP,)))
    assert [run.function for run in batch.state.new_runs] == [1, 7]
    assert {run.event for run in batch.state.new_runs} == {batch.state.new_events[0].id}


def test_an_event_that_nobody_awaits_is_kept() -> None:
    batch = Batch(WELCOME)
    batch.decide(Sent((NewEvent("other", b"{}"),)))
    assert len(batch.state.new_events) == 1
    assert batch.state.new_runs == []


def test_a_retired_function_is_not_started() -> None:
    batch = Batch(replace(WELCOME, retired=True))
    batch.decide(Sent((SIGNED_UP,)))
    assert batch.state.new_runs == []


def test_a_run_is_born_leased_where_there_is_room() -> None:
    batch = Batch(REPORT, room=1)
    first, second = batch.decide(Sent((CALL, CALL))).answer.ids
    assert (batch.item_now(first).place, batch.item_now(first).worker) == (Place.RUNNING, ME)
    assert batch.item_now(second).place == Place.READY
    assert list(batch.state.ready.added.values()) == [second]


def test_a_run_is_not_born_leased_past_others_in_its_lane() -> None:
    batch = Batch(REPORT, room=5)
    batch.state.busy_lanes[REPORT.id] = Urgency.STARTS
    (run,) = batch.decide(Sent((CALL,))).answer.ids
    assert batch.item_now(run).place == Place.READY


def test_a_delayed_job_is_parked_until_it_is_due() -> None:
    batch = Batch(REPORT, room=5)
    (run,) = batch.decide(Sent((replace(CALL, delay_ms=5_000),))).answer.ids
    assert batch.item_now(run).place == Place.PARKED
    assert [timer.due for timer in batch.state.timers.added] == [NOW + 5_001]


def test_an_id_seen_within_a_day_starts_nothing_and_gives_the_first_one() -> None:
    batch = Batch(REPORT)
    batch.state.dedup.now[REPORT.id, "k"] = (77, NOW + 1)
    assert batch.decide(Sent((replace(CALL, key="k"),))).answer.ids == (77,)
    assert batch.state.new_runs == []


def test_an_id_seen_more_than_a_day_ago_is_new() -> None:
    batch = Batch(REPORT)
    batch.state.dedup.now[REPORT.id, "k"] = (77, NOW)
    (run,) = batch.decide(Sent((replace(CALL, key="k"),))).answer.ids
    assert run != 77
    assert batch.state.dedup.now[REPORT.id, "k"] == (run, NOW + DEDUP_MS)


def test_one_id_twice_in_a_send_is_one_run() -> None:
    batch = Batch(REPORT)
    ids = batch.decide(Sent((replace(CALL, key="k"), replace(CALL, key="k")))).answer.ids
    assert len(set(ids)) == len(batch.state.new_runs) == 1


def test_the_same_id_in_the_next_input_of_the_batch_is_seen() -> None:
    batch = Batch(REPORT)
    first = batch.decide(Sent((replace(CALL, key="k"),))).answer.ids
    assert batch.decide(Sent((replace(CALL, key="k"),))).answer.ids == first


def test_an_unknown_function_refuses_the_whole_send() -> None:
    batch = Batch(REPORT)
    with pytest.raises(FunctionNotFound, match="shop/nope"):
        batch.decide(Sent((CALL, replace(CALL, function="nope"))))
    assert batch.state.new_runs == []
    assert batch.state.room == 0


def test_a_large_send_is_accepted_whole_and_expanded_in_chunks() -> None:
    batch = Batch(REPORT)
    decision = batch.decide(Sent((CALL,) * (2 * CHUNK + 1)))
    chunks = [t.follow_up for t in decision.transitions if isinstance(t, FollowUpQueued)]
    assert len(batch.state.new_runs) == len(decision.answer.ids) == 2 * CHUNK + 1
    assert [len(c.items) for c in chunks if isinstance(c, Expand)] == [CHUNK, CHUNK, 1]
    assert batch.state.items.before == {}
    for n, chunk in enumerate(chunks, 1):
        batch.state.inbox[n] = None
        batch.decide(replace(chunk, inbox=n))
    assert list(batch.state.items.before) == list(decision.answer.ids)


def test_a_chunk_that_is_handed_over_twice_is_expanded_once() -> None:
    batch = Batch(WELCOME)
    batch.state.inbox[5] = None
    chunk = Expand(((99, SIGNED_UP),), NOW, 0, inbox=5)
    batch.decide(chunk)
    batch.decide(chunk)
    assert len(batch.state.new_runs) == 1


def expand(
    batch: Batch, *items: tuple[int, NewEvent | NewJob], at: int = NOW, last: int = 0
) -> None:
    batch.state.inbox[5] = None
    batch.decide(Expand(items, at, last, inbox=5))


def test_a_job_of_a_large_send_is_cancelled_before_it_has_an_item() -> None:
    batch = Batch(REPORT)
    run = RunId(99)
    batch.state.runs[run] = Run(run, REPORT.id)
    assert batch.decide(CancelAsked(run, "enough")).answer is KEPT
    expand(batch, (99, CALL), (98, CALL))
    (done,) = batch.state.done
    assert (done.run, done.status, done.output) == (run, RunStatus.CANCELLED, b'"enough"')
    assert [run for run, item in batch.state.items.now.items() if item] == [98]


def test_a_run_that_is_over_is_not_cancelled() -> None:
    batch = Batch(REPORT)
    batch.state.runs[RunId(99)] = Run(RunId(99), REPORT.id)
    batch.state.ended[RunId(99)] = None
    assert batch.decide(CancelAsked(RunId(99), "enough")).answer is RUN_IS_OVER
    assert batch.state.done == []


def test_the_delays_of_a_large_send_count_from_when_it_was_accepted() -> None:
    batch = Batch(REPORT)
    expand(batch, (99, replace(CALL, delay_ms=5_000, start_timeout_ms=9)), at=NOW - 2_000)
    item = batch.item_now(99)
    assert (item.due, item.start_by) == (NOW + 3_001, NOW + 3_010)


def test_an_event_of_a_large_send_does_not_wake_who_has_waited_since() -> None:
    batch = Batch()
    batch.config.shapes = (Shape(1, "user/signed.up"),)
    for run in (1, 2):
        batch.item(run=RunId(run))
        step = Step(RunId(run), "w", StepKind.EVENT, StepStatus.WAITING)
        batch.decide(WaitOpened(step.run, 3, step, shape=ShapeOf("user/signed.up")))
    expand(batch, (99, SIGNED_UP), last=1)
    assert [q.run for q, _ in batch.state.queued if isinstance(q, EventHit)] == [1]


def test_a_wait_is_older_than_an_event_by_its_number_not_by_the_clock() -> None:
    batch = Batch()
    batch.state.events[EventId(1)] = Event(EventId(1), "go", b"{}", NOW)
    batch.state.pages[7, RunId(1), "s"] = [Wait(7, RunId(n), "s", n) for n in (2, 3)]
    batch.state.inbox[5] = None
    batch.decide(WaitsLeft(EventId(1), 7, RunId(1), "s", last=2, inbox=5))
    assert [q.run for q, _ in batch.state.queued if isinstance(q, EventHit)] == [2]


def test_waits_are_numbered_in_their_order_even_when_the_clock_goes_back() -> None:
    batch = Batch()
    batch.state.last_wait = 40
    for run in (1, 2):
        batch.item(run=RunId(run))
        step = Step(RunId(run), "w", StepKind.EVENT, StepStatus.WAITING)
        batch.decide(WaitOpened(step.run, 3, step, shape=ShapeOf("go")))
        batch.state.now -= 500
    assert [wait.number for wait in batch.state.wait_rows.added.values()] == [41, 42]


def test_the_rest_of_an_event_s_waits_ends_where_it_was_decided() -> None:
    batch = Batch()
    batch.config.shapes = (Shape(1, "go"),)
    batch.state.last_wait = 140
    key = ShapeOf("go")
    match = wait_key(key.event, key.paths, key.values)
    batch.state.pages[match, RunId(0), ""] = [Wait(match, RunId(n), "s", 1) for n in range(PAGE)]
    batch.decide(Sent((NewEvent("go", b"{}"),)))
    ((left, _),) = batch.state.queued
    assert isinstance(left, WaitsLeft)
    assert left.last == 140


CANCELLED = replace(
    WELCOME, config=replace(WELCOME.config, cancel=(CancelOn("gone", "data.user_id"),))
)


def test_what_an_invoked_event_function_listens_for_is_read_from_its_event() -> None:
    batch = Batch(CANCELLED)
    batch.item(function=CANCELLED.id)
    step = Step(RunId(10), "inv", StepKind.INVOKE, StepStatus.WAITING)
    event = b'{"name":"user/signed.up","data":{"user_id":"u1"}}'
    batch.decide(WaitOpened(RunId(10), 3, step, child=NewJob("shop", "welcome", event)))
    (match, _, _) = next(iter(batch.state.wait_rows.added))
    assert match == wait_key("gone", ("data.user_id",), ("u1",))


def test_what_errands_listens_for_is_no_step_of_the_user_s() -> None:
    batch = Batch(CANCELLED)
    batch.decide(Sent((SIGNED_UP,)))
    assert [id for _, id in batch.state.steps.now] == [f"{RESERVED}cancel:0"]
