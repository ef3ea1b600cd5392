"""Runs that wait for events: found by their key, woken a page at a time, none twice."""

from collections.abc import Callable, Sequence
from typing import Any

from errands.engine.input import CancelAsked, Claim, Sent, TimerDue, WorkerLost
from errands.engine.state import PAGE
from errands.model.call import Opened, WaitOpened
from errands.model.event import NewEvent
from errands.model.ids import RunId
from errands.model.item import Place
from errands.model.step import ShapeOf, Step, StepKind, StepStatus
from errands.store.interface import Store
from tests.store.process import NOW, Process, StillClock

PAID = Sent((NewEvent("paid", b'{"order":7}'),))


def wait(run: RunId, step: str = "paid", *, fence: int = 1, park: bool = True) -> WaitOpened:
    """The run waits for the payment of order 7."""
    return WaitOpened(
        run,
        fence,
        Step(run, step, StepKind.EVENT, StepStatus.WAITING, started_at=NOW),
        shape=ShapeOf("paid", ("data.order",), (7,)),
        park=park,
    )


def statuses(store: Store, runs: Sequence[RunId]) -> list[StepStatus]:
    return [step.status for run in runs for step in store.reader.steps(run)]


def test_an_event_behind_the_first_wait_of_a_new_shape_wakes_it(process: Process) -> None:
    (run,) = process.enqueue()

    # One batch: the event was prepared before anybody knew by which values it is looked up.
    opened, _ = process.decide(wait(run), PAID)

    assert isinstance(opened, Opened)
    (step,) = process.store.reader.steps(run)
    assert step.status == StepStatus.COMPLETED
    assert process.leases[run].fence == 2


def test_an_event_before_the_wait_does_not_wake_it(process: Process) -> None:
    (run,) = process.enqueue()

    process.decide(PAID, wait(run))

    assert statuses(process.store, [run]) == [StepStatus.WAITING]


def test_a_process_that_does_not_know_a_new_shape_yet_wakes_it_all_the_same(
    process: Process, open_again: Callable[[], Store], clock: StillClock
) -> None:
    (run,) = process.enqueue()
    sender = Process(open_again(), clock)
    process.decide(wait(run))

    sender.decide(PAID)

    assert statuses(process.store, [run]) == [StepStatus.COMPLETED]
    assert sender.store.reader.lanes() == [process.function("report")]


def test_inputs_that_are_prepared_again_are_decided_once(process: Process) -> None:
    runs = process.enqueue(3)

    # Three new shapes, each of which ends its batch; and what stands behind them.
    opened: list[Any] = []
    for n, run in enumerate(runs):
        step = Step(run, "paid", StepKind.EVENT, StepStatus.WAITING, started_at=NOW)
        shape = ShapeOf("paid", (f"data.field{n}",), (7,))
        opened += [WaitOpened(run, 1, step, shape=shape, park=True), PAID]
    answers = process.decide(*opened)

    assert [type(answer).__name__ for answer in answers] == ["Opened", "Accepted"] * 3
    assert set(process.times_told.values()) == {1}
    assert process.store.reader.counts()["event"] == 3


def test_one_event_wakes_a_thousand_runs_a_page_at_a_time(process: Process) -> None:
    runs = [run for _ in range(2) for run in process.enqueue(500)]
    process.decide(*map(wait, runs))
    before = len(process.leases)

    sent = process.submit(PAID)
    process.committer.step()

    # Accepted with one page looked up: the thousand do not make one giant transaction.
    assert process.is_told(sent)
    assert process.store.reader.counts()["inbox"] == PAGE + 1
    assert process.drain() >= 1_000 // PAGE
    assert before == 1_000
    assert {process.leases[run].fence for run in runs} == {2}
    assert statuses(process.store, runs) == [StepStatus.COMPLETED] * 1_000
    counts = process.store.reader.counts()
    assert (counts["wait"], counts["inbox"]) == (0, 0)


def test_a_wait_opened_while_an_event_is_still_paged_is_not_its_own(
    process: Process, clock: StillClock
) -> None:
    runs = process.enqueue(PAGE + 1)
    early, late = runs[:PAGE], runs[PAGE]
    process.decide(*map(wait, early))
    process.submit(PAID)
    process.committer.step()
    clock.ms += 10

    process.decide(wait(late))

    assert statuses(process.store, early) == [StepStatus.COMPLETED] * PAGE
    assert statuses(process.store, [late]) == [StepStatus.WAITING]


def test_waits_opened_while_an_event_waited_for_its_turn_are_woken_from_each_page(
    process: Process, open_again: Callable[[], Store], clock: StillClock
) -> None:
    runs = process.enqueue(PAGE + 50)
    own_clock = StillClock()
    sender = Process(open_again(), own_clock)
    clock.ms += 4
    process.decide(*map(wait, runs))

    # Its batch is made 3 ms on, before the waits; decided 9 ms on, behind them.
    own_clock.pace = 3
    sender.decide(PAID)

    assert statuses(process.store, runs) == [StepStatus.COMPLETED] * len(runs)


def test_a_wait_opened_in_the_batch_of_an_event_hides_no_page(process: Process) -> None:
    *early, late = process.enqueue(PAGE + 51)
    process.decide(*map(wait, early))

    process.decide(wait(late), PAID)

    assert statuses(process.store, [*early, late]) == [StepStatus.COMPLETED] * (PAGE + 51)


def test_a_wait_that_ends_in_the_batch_of_an_event_hides_no_page(process: Process) -> None:
    first, *others = process.enqueue(PAGE + 50)
    process.decide(*map(wait, [first, *others]))

    process.decide(CancelAsked(first, ""), PAID)

    assert statuses(process.store, [first]) == [StepStatus.ABANDONED]
    assert statuses(process.store, others) == [StepStatus.COMPLETED] * len(others)


def test_two_events_are_paged_each_by_itself(process: Process) -> None:
    # All of them stand under one key; each event is for every second one.
    runs = process.enqueue(3 * PAGE)
    for n, run in enumerate(runs):
        step = Step(run, "paid", StepKind.EVENT, StepStatus.WAITING, started_at=NOW)
        shape = ShapeOf("paid", condition=f"async.data.n == {n % 2}")
        process.submit(WaitOpened(run, 1, step, shape=shape, park=True))
    process.drain()

    process.submit(Sent((NewEvent("paid", b'{"n":0}'),)))
    process.committer.step()
    # One batch with the first event's second page.
    process.decide(Sent((NewEvent("paid", b'{"n":1}'),)))

    assert statuses(process.store, runs) == [StepStatus.COMPLETED] * len(runs)


def test_an_event_with_another_value_wakes_nobody(process: Process) -> None:
    (run,) = process.enqueue()

    process.decide(wait(run), Sent((NewEvent("paid", b'{"order":8}'), NewEvent("paid", b"{}"))))

    assert statuses(process.store, [run]) == [StepStatus.WAITING]


def test_the_second_of_two_events_finds_the_wait_closed(process: Process) -> None:
    (run,) = process.enqueue()
    process.decide(wait(run))

    process.decide(PAID, PAID)

    (item,) = [process.leases[run]]
    assert (item.place, item.fence) == (Place.RUNNING, 2)
    assert process.store.reader.counts()["inbox"] == 0


def test_a_process_that_dies_between_the_pages_leaves_them_to_another(
    process: Process, open_again: Callable[[], Store], clock: StillClock
) -> None:
    runs = process.enqueue(PAGE * 3)
    process.decide(*map(wait, runs))
    process.submit(PAID)
    process.committer.step()

    heir = Process(open_again(), clock, concurrency=1_000)
    heir.decide(WorkerLost(process.worker.id, process.worker.beat_at, "gone"))
    left = heir.store.reader.inbox(heir.worker.id, 0, 9_999)
    heir.decide(*left)
    heir.decide(Claim(500))

    assert statuses(heir.store, runs) == [StepStatus.COMPLETED] * len(runs)
    assert {heir.leases[run].fence for run in runs} == {2}


def test_a_run_is_not_parked_at_a_wait_while_another_is_resolved_and_unseen(
    process: Process, clock: StillClock
) -> None:
    (run,) = process.enqueue()
    nap = Step(run, "nap", StepKind.SLEEP, StepStatus.WAITING, started_at=NOW)
    process.decide(WaitOpened(run, 1, nap, duration_ms=1_000))
    clock.ms += 2_000
    process.decide(*map(TimerDue, process.store.reader.due_timers(clock.now(), 9)))

    (opened,) = process.decide(wait(run))

    assert opened == Opened(None, parked=False)
    assert process.pokes == {run: None}
    assert statuses(process.store, [run]) == [StepStatus.COMPLETED, StepStatus.WAITING]
