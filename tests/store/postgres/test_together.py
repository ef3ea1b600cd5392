"""Several processes write at once: none waits for another's rows, or acts on what is stale."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from errands.engine.input import (
    CancelAsked,
    Expand,
    JobMade,
    Registered,
    Sent,
    TimerDue,
    Trim,
    WorkerLost,
)
from errands.engine.transition import FollowUpQueued
from errands.model.call import KEPT, Accepted, Made, RunReturned, StepReturned, WaitOpened
from errands.model.event import NewEvent
from errands.model.function import AppConfig, FunctionConfig, FunctionKind
from errands.model.ids import RunId
from errands.model.item import Place
from errands.model.job import NewJob
from errands.model.run import RunStatus
from errands.model.step import ShapeOf, Step, StepKind, StepStatus
from errands.model.worker import WorkerState
from errands.store.interface import Store
from tests.store.batch import begin, load, write
from tests.store.postgres.server import connect
from tests.store.process import NOW, Process, StillClock, returned
from tests.store.test_race import together


class Standing:
    """Somebody who stands still in the middle of a transaction that holds these rows."""

    def __init__(self, url: str, asked: str, *parameters: Any) -> None:
        schema = url.rpartition("schema=")[2]
        self._db = connect(url)
        self._db.execute(f"SET search_path = {schema}".encode())
        self._db.execute("BEGIN")
        self.found = self._db.execute(asked.encode(), parameters).fetchall()

    def go_on(self) -> None:
        self._db.execute("COMMIT")
        self._db.close()

    def __enter__(self) -> "Standing":
        return self

    def __exit__(self, *_: object) -> None:
        if not self._db.closed:
            # Not only closed: the server would let go a moment later.
            self._db.execute("ROLLBACK")
            self._db.close()


def item(url: str, run: RunId) -> Standing:
    return Standing(url, "SELECT run FROM item WHERE run = %s FOR UPDATE", run)


def until_told(process: Process, *tickets: Any) -> list[Any]:
    deadline = threading.Event()
    for _ in range(2_000):
        process.drain()
        if all(map(process.is_told, tickets)):
            return [process.answer(ticket) for ticket in tickets]
        deadline.wait(0.005)
    raise AssertionError("nobody lets go")


def test_what_another_holds_is_put_back_and_the_rest_of_the_batch_is_decided(
    process: Process, url: str
) -> None:
    held, free = process.enqueue(2)
    with item(url, held) as other:
        first = process.submit(StepReturned(held, 1, returned(held, "a")))
        second = process.submit(RunReturned(held, 1, b"1"))
        ended = process.submit(RunReturned(free, 1, b"2"))
        process.drain()

        assert process.answer(ended) == KEPT
        assert not process.is_told(first)
        assert not process.is_told(second)
        other.go_on()

    assert until_told(process, first, second) == [KEPT, KEPT]
    assert [step.id for step in process.store.reader.steps(held)] == ["a"]


def test_nothing_is_decided_twice_when_it_was_put_back(process: Process, url: str) -> None:
    (run,) = process.enqueue()
    with item(url, run):
        ticket = process.submit(RunReturned(run, 1, b"1"))
        for _ in range(5):
            assert process.committer.step() is False
        assert process.committer.pause_seconds > 0

    until_told(process, ticket)

    assert process.times_told[ticket] == 1
    assert process.committer.pause_seconds == 0


def test_a_claim_passes_over_what_another_is_about_to_take(
    process: Process, url: str, open_again: Callable[[], Store], clock: StillClock
) -> None:
    sender = Process(open_again(), clock)
    first, second = sender.enqueue(2)

    with item(url, first):
        process.committer.kick()
        process.drain()
        assert list(process.leases) == [second]

    process.committer.kick()
    process.drain()
    assert list(process.leases) == [second, first]


def test_one_key_given_by_two_at_once_is_one_job(
    open_again: Callable[[], Store], clock: StillClock
) -> None:
    processes = [Process(open_again(), clock) for _ in range(3)]
    ids: list[set[int]] = []

    def send(process: Process) -> Callable[[], None]:
        def act() -> None:
            told = [
                process.decide(Sent((NewJob("shop", "report", b"{}", key=f"k{n}"),)))[0]
                for n in range(30)
            ]
            ids.append({accepted.ids[0] for accepted in told})

        return act

    together(*map(send, processes))

    assert ids[0] == ids[1] == ids[2]
    assert processes[0].store.reader.counts()["run"] == 30


def test_two_who_give_the_same_keys_in_other_orders_do_not_wait_for_one_another(
    open_again: Callable[[], Store], clock: StillClock
) -> None:
    processes = [Process(open_again(), clock) for _ in range(2)]
    keys = [f"k{n}" for n in range(50)]

    def send(process: Process, keys: list[str]) -> Callable[[], None]:
        def act() -> None:
            for _ in range(5):
                jobs = tuple(NewJob("shop", "report", b"{}", key=key) for key in keys)
                (accepted,) = process.decide(Sent(jobs))
                assert isinstance(accepted, Accepted)

        return act

    together(send(processes[0], keys), send(processes[1], keys[::-1]))

    assert processes[0].store.reader.counts()["run"] == 50


def test_one_id_of_an_external_job_given_by_two_is_one_job(
    open_again: Callable[[], Store], clock: StillClock
) -> None:
    processes = [Process(open_again(), clock) for _ in range(2)]
    made: list[Made] = []

    def make(process: Process) -> Callable[[], None]:
        def act() -> None:
            made.extend(process.decide(*(JobMade(f"j{n}", 1_000) for n in range(20))))

        return act

    together(*map(make, processes))

    assert sum(one.is_new for one in made) == 20
    assert len({one.run for one in made}) == 20


def test_apps_that_register_at_once_have_functions_of_their_own(
    open_again: Callable[[], Store], clock: StillClock
) -> None:
    processes = [Process(open_again(), clock, functions=()) for _ in range(4)]

    def register(process: Process, app: str) -> Callable[[], None]:
        def act() -> None:
            functions = tuple(FunctionConfig(f"f{n}", "f", FunctionKind.JOB) for n in range(10))
            ticket = process.submit(Registered(AppConfig(app, functions), is_complete=True))
            assert until_told(process, ticket) == [KEPT]

        return act

    together(*(register(process, f"app{n}") for n, process in enumerate(processes)))

    config = processes[0].store.reader.config()
    assert len(config.functions) == 41
    assert {f.app for f in config.functions.values()} >= {"app0", "app1", "app2", "app3"}


def test_who_would_register_while_another_does_waits_and_holds_up_nobody(
    process: Process, url: str
) -> None:
    (run,) = process.enqueue()
    app = AppConfig("other", (FunctionConfig("f", "f", FunctionKind.JOB),))
    asked = "SELECT * FROM meta WHERE name = 'config_version' FOR UPDATE"
    with Standing(url, asked):
        registered = process.submit(Registered(app, is_complete=True))
        kept = process.submit(StepReturned(run, 1, returned(run, "a")))
        process.drain()
        assert process.answer(kept) == KEPT
        assert not process.is_told(registered)

    assert until_told(process, registered) == [KEPT]


def test_a_wait_of_a_new_shape_is_found_by_the_next_event_of_any_process(
    open_again: Callable[[], Store], clock: StillClock
) -> None:
    workers = [Process(open_again(), clock, concurrency=50) for _ in range(2)]
    runs = [worker.enqueue(20) for worker in workers]

    def wait(process: Process, own: list[RunId], first: int) -> Callable[[], None]:
        def act() -> None:
            for n, run in enumerate(own):
                step = Step(run, "paid", StepKind.EVENT, StepStatus.WAITING, started_at=NOW)
                shape = ShapeOf("paid", (f"data.field{(n + first) % 10}",), (7,))
                ticket = process.submit(WaitOpened(run, 1, step, shape=shape))
                until_told(process, ticket)
                field = (n + first) % 10
                paid = Sent((NewEvent("paid", b'{"field%d":7}' % field),))
                until_told(process, process.submit(paid))

        return act

    together(*(wait(w, own, 5 * n) for n, (w, own) in enumerate(zip(workers, runs, strict=True))))
    for worker in workers:
        follow_ups = worker.store.reader.inbox(worker.worker.id, 0, 999)
        until_told(worker, *(worker.submit(given) for given in follow_ups))

    statuses = {
        step.status for own in runs for run in own for step in workers[0].store.reader.steps(run)
    }
    assert statuses == {StepStatus.COMPLETED}


def test_numbers_of_waits_only_grow_whoever_registers_them(
    open_again: Callable[[], Store], clock: StillClock, url: str
) -> None:
    workers = [Process(open_again(), clock, concurrency=50) for _ in range(2)]
    runs = [worker.enqueue(30) for worker in workers]

    def wait(process: Process, own: list[RunId]) -> Callable[[], None]:
        def act() -> None:
            for run in own:
                before = load(process.store).last_wait
                step = Step(run, "paid", StepKind.EVENT, StepStatus.WAITING, started_at=NOW)
                ticket = process.submit(WaitOpened(run, 1, step, shape=ShapeOf("paid")))
                until_told(process, ticket)
                assert load(process.store).last_wait > before

        return act

    together(*(wait(w, own) for w, own in zip(workers, runs, strict=True)))

    with Standing(url, "SELECT number FROM wait") as found:
        numbers = [number for (number,) in found.found]
    assert len(set(numbers)) == 60
    assert load(workers[0].store).last_wait >= max(numbers)


def test_a_worker_is_not_declared_dead_in_the_middle_of_its_batch(
    process: Process, url: str, open_again: Callable[[], Store], clock: StillClock
) -> None:
    heir = Process(open_again(), clock, concurrency=10)
    runs = process.enqueue(3)
    lost = WorkerLost(process.worker.id, process.worker.beat_at, "silent")
    asked = "SELECT * FROM worker WHERE id = %s FOR KEY SHARE"
    with Standing(url, asked, process.worker.id):
        ticket = heir.submit(lost)
        heir.drain()
        assert not heir.is_told(ticket)

    until_told(heir, ticket)
    heir.drain()

    assert sorted(heir.leases) == runs
    assert [process.decide(RunReturned(run, 1, b"1"))[0] for run in runs] != [KEPT] * 3


def test_a_worker_s_runs_are_taken_over_all_or_none(
    process: Process, url: str, open_again: Callable[[], Store], clock: StillClock
) -> None:
    heir = Process(open_again(), clock, concurrency=10)
    runs = process.enqueue(3)
    lost = WorkerLost(process.worker.id, process.worker.beat_at, "silent")
    with item(url, runs[1]):
        ticket = heir.submit(lost)
        heir.drain()
        assert not heir.is_told(ticket)
        assert heir.leases == {}
        assert len(heir.store.reader.workers()) == 2

    until_told(heir, ticket)
    heir.drain()

    assert sorted(heir.leases) == runs
    states = load(heir.store, workers=[process.worker.id]).workers.now
    assert [worker.state for worker in states.values() if worker] == [WorkerState.DEAD]


def test_who_was_declared_dead_is_given_nothing_and_keeps_nothing(
    process: Process, open_again: Callable[[], Store], clock: StillClock
) -> None:
    heir = Process(open_again(), clock, concurrency=10)
    (run,) = process.enqueue()
    heir.decide(WorkerLost(process.worker.id, process.worker.beat_at, "silent"))

    reported = process.submit(RunReturned(run, 1, b"1"))
    sent = process.submit(Sent((NewJob("shop", "report", b"{}"),)))
    process.committer.step()

    answers = [process.answer(reported), process.answer(sent)]
    assert answers[0] != KEPT
    items = load(heir.store, items=[RunId(answers[1].ids[0])]).items.now
    assert [one.place for one in items.values() if one] == [Place.READY]
    assert process.committer.is_declared_dead


def test_a_job_cancelled_while_its_part_of_a_send_is_expanded_has_one_end(
    process: Process, open_again: Callable[[], Store], clock: StillClock
) -> None:
    other = Process(open_again(), clock)
    jobs = (NewJob("shop", "report", b"{}"),) * 501
    for _ in range(5):
        sent = process.submit(Sent(jobs))
        process.committer.step()
        run = RunId(process.answer(sent).ids[0])
        together(
            lambda: [process.drain() for _ in range(20)],
            lambda run=run: until_told(other, other.submit(CancelAsked(run, "enough"))),
        )
        process.drain()

        assert [done.status for done in process.store.reader.done([run])] == [RunStatus.CANCELLED]
        assert load(process.store, items=[run]).items.now == {}


def test_a_timer_that_several_ring_rings_once(
    process: Process, open_again: Callable[[], Store], clock: StillClock
) -> None:
    other = Process(open_again(), clock, concurrency=100)
    runs = process.enqueue(40)
    for run in runs:
        nap = Step(run, "nap", StepKind.SLEEP, StepStatus.WAITING, started_at=NOW)
        process.decide(WaitOpened(run, 1, nap, duration_ms=1_000, park=True))
    clock.ms += 2_000
    due = process.store.reader.due_timers(clock.ms, 99)

    def ring(at: Process) -> Callable[[], object]:
        return lambda: until_told(at, *[at.submit(TimerDue(timer)) for timer in due])

    process.leases.clear()
    together(ring(process), ring(other))

    assert sorted([*process.leases, *other.leases]) == runs
    assert process.store.reader.next_timer() is None


def test_an_input_of_the_inbox_that_two_have_at_hand_is_decided_once(
    process: Process, open_again: Callable[[], Store], clock: StillClock
) -> None:
    other = Process(open_again(), clock)
    function = process.function("report")
    jobs = tuple((process.new_id(), NewJob("shop", "report", b"{}")) for _ in range(50))
    write(process.store, FollowUpQueued(Expand(jobs, NOW, 0), process.worker.id))
    (given,) = process.store.reader.inbox(process.worker.id, 0, 9)

    def expand(at: Process) -> Callable[[], object]:
        return lambda: until_told(at, at.submit(given))

    together(expand(process), expand(other))

    assert process.store.reader.counts()["item"] == 50
    assert function in process.committer.here.serves


def test_retention_leaves_alone_what_another_process_removes(
    process: Process, open_again: Callable[[], Store], clock: StillClock
) -> None:
    other = Process(open_again(), clock)
    runs = process.enqueue(100)
    process.finish(*runs)
    trim = Trim(tuple(runs), (), clock.ms + 10_000, clock.ms)

    together(*[lambda at=at: at.decide(trim, trim) for at in (process, other)])
    process.decide(trim)

    counts = process.store.reader.counts()
    assert (counts["run"], counts["done"]) == (0, 0)


@pytest.mark.parametrize("count", [1, 3])
def test_a_batch_takes_no_more_than_it_wants(
    process: Process, open_again: Callable[[], Store], clock: StillClock, count: int
) -> None:
    sender = Process(open_again(), clock)
    for function in ("report", "other"):
        sender.enqueue(20, function)
    serves = frozenset(process.store.reader.config().functions)

    with process.store.transaction() as transaction:
        state = begin(transaction, serves, room=count, claim=count)

    assert count <= len(state.claimable) <= count + 1
