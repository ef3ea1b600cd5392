"""What is memoized stays, and an input that cannot be written takes no other along."""

from collections.abc import Callable

import pytest

from errands.engine.input import CancelAsked, EventHit, Sent, WaitsLeft
from errands.engine.transition import (
    EventAppended,
    FollowUpQueued,
    ItemMoved,
    RunCreated,
    StepSaved,
)
from errands.model.call import KEPT, Accepted, StepReturned
from errands.model.errors import InternalError
from errands.model.event import Event, NewEvent
from errands.model.ids import EventId, RunId
from errands.model.item import Item, Place
from errands.model.run import Run, RunStatus
from errands.model.step import Step, StepKind, StepStatus
from errands.store.interface import Store, StoreConflict
from tests.store.batch import write
from tests.store.process import NOW, Process, StillClock, returned

BROKEN = NewEvent("user/\ud800", b"{}")
"""A name that is no text: half of a surrogate pair."""
HUGE = NewEvent("user/at", b"{}", ts=1 << 63)


def test_a_second_result_of_a_step_is_a_conflict(store: Store) -> None:
    write(store, StepSaved(returned(RunId(5), "a", b"1")))

    with pytest.raises(StoreConflict):
        write(store, StepSaved(returned(RunId(5), "b")), StepSaved(returned(RunId(5), "a", b"2")))

    assert [(step.id, step.output) for step in store.reader.steps(RunId(5))] == [("a", b"1")]


def test_a_second_outcome_of_a_run_is_a_conflict(process: Process) -> None:
    (run,) = process.enqueue()
    process.finish(run)

    with pytest.raises(StoreConflict):
        write(process.store, RunCreated(Run(run, process.function("other"))))


def test_a_second_result_is_refused_and_the_rest_of_its_batch_is_kept(process: Process) -> None:
    first, second = process.enqueue(2)
    process.decide(StepReturned(first, 1, returned(first, "a", b"1")))

    answers = process.decide(
        StepReturned(second, 1, returned(second, "a", b"3")),
        StepReturned(first, 1, returned(first, "a", b"2")),
        StepReturned(first, 1, returned(first, "b", b"4")),
    )

    assert [type(answer) for answer in answers] == [type(KEPT), InternalError, type(KEPT)]
    assert [(s.id, s.output) for s in process.store.reader.steps(first)] == [
        ("a", b"1"),
        ("b", b"4"),
    ]
    assert [s.output for s in process.store.reader.steps(second)] == [b"3"]


@pytest.mark.parametrize("poison", [BROKEN, HUGE], ids=["no text", "no 64-bit number"])
@pytest.mark.parametrize("place", [0, 123, 499])
def test_one_poisoned_input_of_500_is_found_and_the_others_are_kept(
    process: Process, poison: NewEvent, place: int
) -> None:
    sent = [Sent((NewEvent("user/signed.up", b"{}"),)) for _ in range(500)]
    sent[place] = Sent((NewEvent("user/signed.up", b"{}"), poison))

    answers = process.decide(*sent)

    assert isinstance(answers.pop(place), InternalError)
    assert all(isinstance(answer, Accepted) for answer in answers)
    counts = process.store.reader.counts()
    assert (counts["event"], counts["run"], counts["item"]) == (499, 499, 499)
    assert len(process.leases) == 499


def test_inputs_around_a_poisoned_one_are_decided_in_their_order(process: Process) -> None:
    (run,) = process.enqueue()
    steps = [StepReturned(run, 1, returned(run, f"{n:03}")) for n in range(100)]

    answers = process.decide(*steps[:50], Sent((BROKEN,)), *steps[50:])

    assert [answer == KEPT for answer in answers] == [True] * 50 + [False] + [True] * 50
    assert len(process.store.reader.steps(run)) == 100


@pytest.fixture
def hit(process: Process) -> RunId:
    """A run with a follow-up in the inbox that cannot be decided: its event is no JSON."""
    run, event = RunId(process.new_id()), EventId(process.new_id())
    function = process.function("report")
    write(
        process.store,
        EventAppended(Event(event, "paid", b"{", NOW)),
        RunCreated(Run(run, function)),
        ItemMoved(Item(run, function, Place.PARKED, NOW)),
        StepSaved(Step(run, "paid", StepKind.EVENT, StepStatus.WAITING, match=1)),
        FollowUpQueued(EventHit(run, "paid", event), process.worker.id),
    )
    return run


def test_a_durable_input_that_fails_five_times_ends_its_run(process: Process, hit: RunId) -> None:
    (follow_up,) = process.store.reader.inbox(process.worker.id, 0, 9)
    process.submit(follow_up)

    # Four more tries, and what takes its place.
    assert process.drain() == 6

    (done,) = process.store.reader.done([hit])
    assert done.status == RunStatus.FAILED
    assert b'"code":"internal_error"' in done.output
    assert process.store.reader.counts()["inbox"] == 0


def test_what_is_of_no_single_run_stays_in_the_inbox(process: Process) -> None:
    event = EventId(process.new_id())
    write(
        process.store,
        EventAppended(Event(event, "paid", b"{", NOW)),
        FollowUpQueued(WaitsLeft(event, 7, RunId(1), "paid", 0), process.worker.id),
    )
    (left,) = process.store.reader.inbox(process.worker.id, 0, 9)
    process.submit(left)

    assert process.drain() == 5
    assert process.store.reader.counts()["inbox"] == 1


def test_tries_are_counted_across_processes(
    process: Process, hit: RunId, open_again: Callable[[], Store], clock: StillClock
) -> None:
    (follow_up,) = process.store.reader.inbox(process.worker.id, 0, 9)
    process.submit(follow_up)
    for _ in range(3):
        process.committer.step()

    heir = Process(open_again(), clock)
    heir.submit(follow_up)

    assert heir.drain() == 3
    assert [done.run for done in heir.store.reader.done([hit])] == [hit]


def test_an_input_that_fails_for_its_caller_is_not_tried_again(process: Process) -> None:
    process.decide(Sent((BROKEN,)))

    assert process.drain() == 0
    assert process.store.reader.counts()["inbox"] == 0


def test_a_follow_up_that_another_process_has_decided_is_decided_once(process: Process) -> None:
    (run,) = process.enqueue()
    write(process.store, FollowUpQueued(CancelAsked(run, "because"), process.worker.id))
    (asked,) = process.store.reader.inbox(process.worker.id, 0, 9)

    process.decide(asked, asked)
    process.decide(asked)

    assert len(process.store.reader.done([run])) == 1
    assert process.store.reader.counts()["inbox"] == 0
