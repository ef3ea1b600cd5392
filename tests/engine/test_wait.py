"""Waits: opened, resolved, and how the run hears of it."""

import pytest

from errands.engine.config import NAMES_MAX, Config
from errands.engine.input import (
    CancelAsked,
    ChildEnded,
    EventHit,
    Poke,
    Sent,
    TimerDue,
    Undecidable,
)
from errands.engine.state import PAGE
from errands.engine.transition import FollowUpQueued, ShapeKept
from errands.model.call import KEPT, NOT_IDLE, NOT_KNOWN, Opened, Parked, StepTaken, WaitOpened
from errands.model.event import Event, NewEvent
from errands.model.ids import EventId, RunId
from errands.model.item import Place, Urgency
from errands.model.job import NewJob
from errands.model.run import RunStatus
from errands.model.step import UNORDERED, Shape, ShapeOf, Step, StepKind, StepStatus, Wait
from errands.model.timer import Timer, TimerKind
from tests.engine.batch import ME, NOW, OTHER, REPORT, WELCOME, Batch

RUN = RunId(10)
NAP = Step(RUN, "nap", StepKind.SLEEP, StepStatus.WAITING, due=NOW)
RING = TimerDue(Timer(NOW, RUN, TimerKind.STEP, "nap"))


def step_now(batch: Batch, id: str) -> Step:
    step = batch.state.steps.get((RUN, id))
    assert step is not None
    return step


def test_a_sleep_is_never_shorter_than_asked() -> None:
    batch = Batch()
    batch.item()
    answer = batch.decide(WaitOpened(RUN, 3, NAP, duration_ms=1_000)).answer
    assert answer.due == NOW + 1_001
    assert list(batch.state.timers.added) == [Timer(NOW + 1_001, RUN, TimerKind.STEP, "nap")]


def test_a_lone_wait_gives_the_lease_back_at_once() -> None:
    batch = Batch()
    batch.item()
    batch.decide(WaitOpened(RUN, 3, NAP, duration_ms=1_000, park=True, seq=4))
    assert (batch.item_now().place, batch.item_now().seq) == (Place.PARKED, 4)
    assert batch.state.room == 1


def test_a_run_is_not_parked_when_a_wait_is_resolved_already() -> None:
    batch = Batch()
    batch.item()
    batch.step(NAP)
    batch.step(Step(RUN, "paid", StepKind.EVENT, StepStatus.COMPLETED, output=b"{}"))
    assert batch.decide(Parked(RUN, 3, 0)).answer is NOT_IDLE
    assert batch.item_now().place == Place.RUNNING


@pytest.mark.parametrize(
    "other",
    [
        Step(RUN, "paid", StepKind.EVENT, StepStatus.COMPLETED, output=b"{}"),
        Step(RUN, "try", StepKind.RUN, StepStatus.RETRYING, due=None),
    ],
    ids=["resolved", "may try again"],
)
def test_a_run_with_something_to_see_keeps_its_lease_when_it_waits(other: Step) -> None:
    batch = Batch()
    batch.item()
    batch.step(other)
    answer = batch.decide(WaitOpened(RUN, 3, NAP, duration_ms=1_000, park=True)).answer
    assert answer == Opened(NOW + 1_001, parked=False)
    assert batch.item_now().place == Place.RUNNING
    assert step_now(batch, "nap").is_open


def test_what_can_cancel_a_run_keeps_it_from_nothing() -> None:
    batch = Batch()
    batch.item()
    batch.step(Step(RUN, "errands/cancel:0", StepKind.CANCEL, StepStatus.WAITING))
    answer = batch.decide(WaitOpened(RUN, 3, NAP, duration_ms=1_000, park=True)).answer
    assert answer == Opened(NOW + 1_001, parked=True)


def test_a_run_is_not_parked_when_an_attempt_may_begin() -> None:
    batch = Batch()
    batch.item()
    batch.step(Step(RUN, "try", StepKind.RUN, StepStatus.RETRYING, due=None))
    assert batch.decide(Parked(RUN, 3, 0)).answer is NOT_IDLE


def test_a_run_that_nothing_would_wake_is_not_parked() -> None:
    batch = Batch()
    batch.item()
    batch.step(Step(RUN, "errands/cancel:0", StepKind.CANCEL, StepStatus.WAITING))
    assert batch.decide(Parked(RUN, 3, 0)).answer is NOT_IDLE


def test_a_parked_run_is_woken_and_its_result_numbered() -> None:
    batch = Batch(REPORT, room=1)
    batch.item(place=Place.PARKED, seq=7)
    batch.step(NAP)
    batch.decide(RING)
    assert (step_now(batch, "nap").status, step_now(batch, "nap").seq) == (StepStatus.COMPLETED, 7)
    assert (batch.item_now().place, batch.item_now().seq) == (Place.RUNNING, 8)


def test_without_room_a_woken_run_is_ready() -> None:
    batch = Batch(REPORT)
    batch.item(place=Place.PARKED)
    batch.step(NAP)
    batch.decide(RING)
    assert batch.item_now().place == Place.READY


def test_a_second_result_while_ready_is_numbered_by_the_next_session() -> None:
    batch = Batch(REPORT)
    batch.item(place=Place.PARKED, seq=2)
    batch.step(NAP)
    batch.step(Step(RUN, "inv", StepKind.INVOKE, StepStatus.WAITING))
    batch.state.inbox[1] = None
    batch.decide(RING)
    batch.decide(ChildEnded(RUN, "inv", True, b"1", inbox=1))
    assert (step_now(batch, "nap").seq, step_now(batch, "inv").seq) == (2, None)


def test_an_executing_run_numbers_its_results_itself() -> None:
    batch = Batch()
    batch.item(worker=ME)
    batch.step(NAP)
    batch.decide(RING)
    assert step_now(batch, "nap").seq is None
    assert list(batch.state.poked) == [RUN]
    assert batch.decide(StepTaken(RUN, 3, "nap", 5)).answer is KEPT
    assert step_now(batch, "nap").seq == 5


def test_a_result_is_taken_once() -> None:
    batch = Batch()
    batch.item()
    batch.step(Step(RUN, "nap", StepKind.SLEEP, StepStatus.COMPLETED, seq=1, output=b"null"))
    assert batch.decide(StepTaken(RUN, 3, "nap", 5)).answer is NOT_KNOWN


def test_who_executes_elsewhere_is_told_through_the_inbox() -> None:
    batch = Batch()
    batch.item(worker=OTHER)
    batch.step(NAP)
    batch.decide(RING)
    assert batch.state.queued == [(Poke(RUN), OTHER)]


def test_a_timer_before_its_time_does_nothing() -> None:
    batch = Batch(now=NOW - 1)
    batch.item(place=Place.PARKED)
    batch.step(NAP)
    assert batch.decide(RING).transitions == ()


def test_a_timer_whose_wait_is_over_is_forgotten() -> None:
    batch = Batch()
    item = batch.item(place=Place.PARKED)
    batch.decide(RING)
    assert batch.item_now() is item
    assert list(batch.state.timers.gone) == [RING.timer]


def test_a_run_that_waits_for_its_next_attempt_is_not_woken_by_an_event() -> None:
    batch = Batch(REPORT, room=1)
    batch.item(place=Place.PARKED, due=NOW + 9_000)
    batch.step(NAP)
    batch.decide(RING)
    assert (batch.item_now().place, batch.item_now().due) == (Place.PARKED, NOW + 9_000)
    assert step_now(batch, "nap").seq == 0


PAID = Step(RUN, "paid", StepKind.EVENT, StepStatus.WAITING, match=5)


def test_the_first_event_resolves_a_wait_and_the_second_finds_it_closed() -> None:
    batch = Batch()
    batch.item(place=Place.PARKED)
    batch.step(PAID)
    for n in (1, 2):
        batch.state.inbox[n] = None
        batch.state.events[EventId(n)] = Event(EventId(n), "paid", b'{"n":%d}' % n, NOW)
        batch.decide(EventHit(RUN, "paid", EventId(n), inbox=n))
    assert b'"n":1' in (step_now(batch, "paid").output or b"")
    assert list(batch.state.wait_rows.gone) == [(5, RUN, "paid")]
    assert batch.state.inbox_done == [1, 2]


def test_an_event_hits_the_waits_of_its_key_whose_condition_holds() -> None:
    batch = Batch()
    batch.item()
    opened = WaitOpened(
        RUN, 3, Step(RUN, "paid", StepKind.EVENT, StepStatus.WAITING), 1_000,
        shape=ShapeOf("paid", ("data.o",), ("o1",), "async.data.cents > 5"),
    )  # fmt: skip
    decision = batch.decide(opened)
    shape = next(t.shape for t in decision.transitions if isinstance(t, ShapeKept))
    batch.config.shapes = (shape,)
    for data in (b'{"o":"o2","cents":9}', b'{"o":"o1","cents":5}', b'{"o":"o1","cents":6}'):
        batch.decide(Sent((NewEvent("paid", data),)))
    hits = [q for q, _ in batch.state.queued]
    assert [(hit.run, hit.step) for hit in hits if isinstance(hit, EventHit)] == [(RUN, "paid")]
    assert isinstance(hits[0], EventHit)
    assert hits[0].event == batch.state.new_events[2].id


def test_many_waits_of_one_event_are_looked_at_a_page_at_a_time() -> None:
    batch = Batch()
    batch.item()
    opened = WaitOpened(RUN, 3, PAID, 1_000, shape=ShapeOf("paid"))
    decision = batch.decide(opened)
    batch.config.shapes = tuple(t.shape for t in decision.transitions if isinstance(t, ShapeKept))
    ((match, _, _),) = batch.state.wait_rows.added
    waits = [Wait(match, RunId(100 + n), "w", 1) for n in range(PAGE)]
    batch.state.waits[match] = batch.state.pages[match, RunId(0), ""] = waits
    batch.decide(Sent((NewEvent("paid", b"{}"),)))
    queued = [q for q, _ in batch.state.queued]
    assert sum(isinstance(q, EventHit) for q in queued) == PAGE
    assert type(queued[-1]).__name__ == "WaitsLeft"


def test_an_invocation_starts_its_child_with_the_wait() -> None:
    batch = Batch()
    batch.item()
    wait = Step(RUN, "pdf", StepKind.INVOKE, StepStatus.WAITING)
    batch.decide(WaitOpened(RUN, 3, wait, child=NewJob("shop", "report", b"{}")))
    (child,) = batch.state.new_runs
    assert (child.parent, child.parent_step) == (RUN, "pdf")


def test_a_cancelled_run_leaves_nothing_open() -> None:
    batch = Batch(REPORT)
    batch.item(place=Place.PARKED, finish_by=NOW + 99, parent=RunId(3), parent_step="inv")
    batch.step(NAP)
    batch.step(PAID)
    batch.decide(CancelAsked(RUN, "enough"))
    assert batch.state.done[0].status == RunStatus.CANCELLED
    assert batch.state.items.get(RUN) is None
    assert {timer.kind for timer in batch.state.timers.gone} == {
        TimerKind.STEP,
        TimerKind.FINISH_BY,
    }
    assert all(step_now(batch, id).seq == UNORDERED for id in ("nap", "paid"))
    told = [t for t, _ in batch.state.queued]
    assert isinstance(told[0], ChildEnded)
    assert not told[0].is_ok


def test_who_executes_a_cancelled_run_is_stopped() -> None:
    batch = Batch(REPORT)
    batch.item(worker=ME)
    batch.decide(CancelAsked(RUN, "enough"))
    assert batch.state.poked == {RUN: "enough"}


def test_a_child_s_end_is_queued_for_its_parent() -> None:
    batch = Batch(REPORT)
    batch.item(parent=RunId(3), parent_step="inv")
    decision = batch.decide(CancelAsked(RUN, ""))
    assert any(isinstance(t, FollowUpQueued) for t in decision.transitions)


def test_a_run_whose_input_cannot_be_decided_fails_and_whoever_executes_it_is_stopped() -> None:
    batch = Batch(REPORT)
    batch.item(worker=ME)
    batch.state.inbox[7] = None
    batch.decide(Undecidable(RUN, "DecodeError: no JSON", inbox=7))
    (done,) = batch.state.done
    assert done.status == RunStatus.FAILED
    assert b'"code":"internal_error"' in done.output
    assert batch.state.poked == {RUN: "DecodeError: no JSON"}
    assert batch.state.inbox_done == [7]


@pytest.mark.parametrize(
    ("ahead", "place"),
    [(Urgency.CONTINUES, Place.READY), (Urgency.STARTS, Place.RUNNING)],
    ids=lambda value: value.name.lower(),
)
def test_a_woken_run_passes_those_that_are_to_start_and_no_others(
    ahead: Urgency, place: Place
) -> None:
    batch = Batch(REPORT, room=1)
    batch.item(place=Place.PARKED)
    batch.step(NAP)
    batch.state.busy_lanes[REPORT.id] = ahead
    batch.decide(RING)
    assert batch.item_now().place == place


def test_a_delayed_run_passes_nobody_when_it_starts() -> None:
    batch = Batch(REPORT, room=1)
    batch.item(place=Place.PARKED, due=NOW, started_at=None)
    batch.state.busy_lanes[REPORT.id] = Urgency.STARTS
    batch.decide(TimerDue(Timer(NOW, RUN, TimerKind.START)))
    assert batch.item_now().place == Place.READY


def test_dynamic_event_names_share_a_shape_and_wake_only_their_own() -> None:
    batch = Batch()
    for n in range(NAMES_MAX + 50):
        batch.item(run=RunId(1_000 + n))
        step = Step(RunId(1_000 + n), "w", StepKind.EVENT, StepStatus.WAITING)
        batch.decide(WaitOpened(step.run, 3, step, shape=ShapeOf(f"order/{n}", ("data.o",), (1,))))
        batch.config = batch.state.config = Config(1, (REPORT,), batch.state.shapes)
    assert len(batch.config.shapes) == NAMES_MAX + 1

    batch.decide(Sent(tuple(NewEvent(f"order/{n}", b'{"o":1}') for n in (5, NAMES_MAX + 7))))
    hits = [q.run for q, _ in batch.state.queued if isinstance(q, EventHit)]
    assert hits == [1_005, 1_000 + NAMES_MAX + 7]


def test_what_is_remembered_of_event_names_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("errands.engine.config.REMEMBERED_MAX", 3)
    config = Config(1, (WELCOME,), (Shape(1, "a"),))
    for n in range(10):
        config.started_by(f"user/{n}")
        config.shapes_of(f"user/{n}")
    assert (len(config._started), len(config._shaped)) == (1, 1)  # pyright: ignore[reportPrivateUsage]
    assert [function for function, _ in config.started_by("user/signed.up")] == [WELCOME]
    assert config.shapes_of("a") == [Shape(1, "a")]
