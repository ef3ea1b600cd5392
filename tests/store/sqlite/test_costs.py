"""What things cost, counted and not timed: rows written, and steps of SQLite's virtual machine.

The budgets are exact on purpose: whoever adds a write to a run has to say so here.
"""

import sqlite3
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from errands.engine.input import Claim, Input, JobChanged, JobMade, Rerun, Sent, TimerDue
from errands.model.call import Again, RunFailed, RunReturned, StepFailed, StepReturned, WaitOpened
from errands.model.event import NewEvent
from errands.model.function import RetryPolicy
from errands.model.ids import RunId
from errands.model.job import NewJob
from errands.model.step import ShapeOf, Step, StepKind, StepStatus
from errands.store.sqlite.store import SqliteStore, SqliteTransaction
from tests.store.process import NOW, Process, returned

JOB = Sent((NewJob("shop", "report", b"{}"),))
FAILURE = b'{"name":"E","message":"m"}'


class Counted(SqliteStore):
    """Counts what happens between BEGIN and COMMIT."""

    steps = writes = 0

    @property
    def db(self) -> sqlite3.Connection:
        return self._db

    @contextmanager
    def transaction(self) -> Generator[SqliteTransaction]:
        with super().transaction() as transaction:
            before = self.db.total_changes
            with self.counting():
                yield transaction
            self.writes += self.db.total_changes - before

    @contextmanager
    def counting(self) -> Generator[None]:
        self.db.set_progress_handler(self._count, 1)
        try:
            yield
        finally:
            self.db.set_progress_handler(None, 1)

    def _count(self) -> int:
        self.steps += 1
        return 0


@pytest.fixture
def counted(tmp_path: Path) -> Iterator[Counted]:
    counted = Counted(tmp_path / "errands.db")
    yield counted
    counted.close()


@pytest.fixture
def store(counted: Counted) -> Counted:
    """Of the processes in these tests."""
    return counted


class Bench:
    """One batch at a time, and what it costs."""

    def __init__(self, process: Process, counted: Counted) -> None:
        self.process, self.counted = process, counted

    def batch(self, *inputs: Input) -> list[Any]:
        tickets = [self.process.submit(given) for given in inputs]
        self.process.committer.step()
        return [self.process.answer(ticket) for ticket in tickets]

    def writes(self, *inputs: Input) -> int:
        before = self.counted.writes
        self.batch(*inputs)
        return self.counted.writes - before

    def steps(self, *inputs: Input) -> int:
        before = self.counted.steps
        self.batch(*inputs)
        return self.counted.steps - before

    def enqueue(self) -> RunId:
        (accepted,) = self.batch(JOB)
        return RunId(accepted.ids[0])


@pytest.fixture
def bench(process: Process, counted: Counted) -> Bench:
    return Bench(process, counted)


# -- rows written ----------------------------------------------------------------------------------


def test_a_job_that_does_nothing_writes_four_rows(bench: Bench) -> None:
    # Born leased: run, item.
    assert bench.writes(JOB) == 2
    (run,) = bench.process.store.reader.inputs([RunId(i) for i in newest(bench)])
    # Its outcome, and the end of its item. Its history is told by these rows.
    assert bench.writes(RunReturned(run.id, 1, b"null")) == 2


def newest(bench: Bench) -> list[int]:
    return [bench.counted.db.execute("SELECT max(id) FROM run").fetchone()[0]]


def test_an_event_that_starts_a_run_writes_one_row_more(bench: Bench) -> None:
    assert bench.writes(Sent((NewEvent("user/signed.up", b"{}"),))) == 3


def test_an_event_that_starts_nothing_writes_one_row(bench: Bench) -> None:
    assert bench.writes(Sent((NewEvent("nobody", b"{}"),))) == 1


def test_a_key_and_a_tag_write_a_row_each(bench: Bench) -> None:
    job = NewJob("shop", "report", b"{}", key="k", tags=("team=a",))

    assert bench.writes(Sent((job,))) == 2 + 2


def test_each_step_writes_one_row(bench: Bench) -> None:
    run = bench.enqueue()

    writes = [bench.writes(StepReturned(run, 1, returned(run, f"s{n}"))) for n in range(5)]
    end = bench.writes(RunReturned(run, 1, b"null"))

    # With the two of its beginning: nine for a run of five steps.
    assert (writes, end) == ([1] * 5, 2)


def test_a_run_that_keeps_its_steps_for_the_end_writes_the_same_rows(bench: Bench) -> None:
    run = bench.enqueue()
    saves = tuple(returned(run, f"s{n}") for n in range(5))

    assert bench.writes(RunReturned(run, 1, b"null", saves)) == 5 + 2


def test_a_job_begun_and_ended_in_one_batch_with_others_writes_no_more(bench: Bench) -> None:
    assert bench.writes(*[JOB] * 100) == 200


def test_a_sleep_writes_four_rows_and_three_when_it_ends(bench: Bench) -> None:
    run = bench.enqueue()
    nap = Step(run, "nap", StepKind.SLEEP, StepStatus.WAITING, started_at=NOW)

    # The step, its timer, the item parked, and a line of history, which alone knows this lease.
    assert bench.writes(WaitOpened(run, 1, nap, duration_ms=1_000, park=True)) == 4
    bench.process.clock.ms += 2_000
    (timer,) = bench.process.store.reader.due_timers(bench.process.clock.now(), 9)
    # The timer gone, the step resolved, the item leased again.
    assert bench.writes(TimerDue(timer)) == 3
    assert bench.writes(RunReturned(run, 2, b"null")) == 2


def test_a_wait_for_an_event_writes_five_rows_and_four_when_it_ends(bench: Bench) -> None:
    run = bench.enqueue()
    step = Step(run, "paid", StepKind.EVENT, StepStatus.WAITING, started_at=NOW)
    shape = ShapeOf("paid", ("data.order",), (7,))
    first = bench.enqueue()
    # Once for each shape: its row, and the number of the configuration. Here and below, once a
    # batch: how many waits there have been.
    register = WaitOpened(
        first, 1, Step(first, "paid", StepKind.EVENT, StepStatus.WAITING), shape=shape
    )
    assert bench.writes(register) == 2 + 2 + 1

    # The step, how it is found, the item parked, a line of history.
    assert bench.writes(WaitOpened(run, 1, step, shape=shape, park=True)) == 4 + 1
    # The event, and a follow-up for each run that it wakes.
    assert bench.writes(Sent((NewEvent("paid", b'{"order":7}'),))) == 1 + 2
    # For each: the follow-up gone, the wait gone, the step resolved. The parked item leased again.
    assert bench.writes() == 2 * 3 + 1


def test_an_attempt_that_fails_writes_three_rows(bench: Bench) -> None:
    run = bench.enqueue()
    again = Again(RetryPolicy(), attempt=0, jitter=0.0)
    step = Step(run, "s", StepKind.RUN, StepStatus.RETRYING, started_at=NOW)

    # A step's: its row, its timer, a line of history. A run's: its item, its timer, and that line.
    assert bench.writes(StepFailed(run, 1, step, FAILURE, again)) == 3
    assert bench.writes(RunFailed(run, 1, FAILURE, again, seq=0)) == 3


def test_a_job_for_another_worker_writes_its_place_in_the_lane_too(bench: Bench) -> None:
    bench.process.committer.serve(frozenset(), 0)
    assert bench.writes(JOB) == 3

    bench.process.committer.serve(frozenset(bench.process.store.reader.config().functions), 9)
    assert bench.writes(Claim(9)) == 2


def test_an_external_job_writes_its_run_its_item_its_timer_and_its_id(bench: Bench) -> None:
    assert bench.writes(JobMade("mine", 1_000)) == 4
    run = bench.process.store.reader.external_job("mine", NOW)
    assert run is not None

    # Its progress; the item moved, and its timer put off. At the end the timer and the item go, the
    # outcome comes, and the id is kept with it.
    assert bench.writes(JobChanged("mine", run, percent=1.0)) == 2
    bench.process.clock.ms += 1
    assert bench.writes(JobChanged("mine", run, percent=2.0)) == 4
    assert bench.writes(JobChanged("mine", run, status="completed")) == 4


def test_a_repeated_run_writes_two_lines_of_history_more(bench: Bench) -> None:
    run = bench.enqueue()

    assert bench.writes(Rerun(run, bench.process.function("report"), None)) == 2 + 2


def test_looking_for_work_writes_nothing(bench: Bench) -> None:
    assert bench.writes(Claim(100)) == 0


# -- steps of a claim ------------------------------------------------------------------------------


def fill(bench: Bench, lane: int, count: int, first: int) -> None:
    """So many runs that have not begun, ready in a lane."""
    db = bench.counted.db
    db.execute(
        "WITH RECURSIVE n(i) AS (SELECT :first UNION ALL SELECT i + 1 FROM n LIMIT :count) "
        "INSERT INTO item"
        "(run, function, place, updated_at, fence, attempt, crashes, seq, position) "
        "SELECT i, :lane, 1, 1, 0, 0, 0, 0, i FROM n",
        {"first": first, "count": count, "lane": lane},
    )
    db.execute(
        "INSERT INTO ready(lane, class, position, run) "
        "SELECT function, 1, position, run FROM item WHERE run >= :first AND function = :lane",
        {"first": first, "lane": lane},
    )


def claim_cost(bench: Bench, each: int, *, is_served_last: bool = False) -> int:
    """Steps of claiming 100, with so many runs ready in each of several lanes."""
    process = bench.process
    served = (process.function("report"), process.function("other"))
    if is_served_last:
        # In front of a worker's own lanes stand those of other apps.
        served = (served[1],)
    process.committer.serve(frozenset(served), 100)
    for n, lane in enumerate(sorted(process.store.reader.config().functions)):
        fill(bench, lane, each, 10_000_000 * (n + 1))
    return bench.steps(Claim(100))


@pytest.mark.parametrize("is_served_last", [False, True])
def test_a_claim_from_100_000_ready_runs_costs_what_it_costs_from_1_000(
    bench: Bench, is_served_last: bool
) -> None:
    small = claim_cost(bench, 333, is_served_last=is_served_last)
    bench.counted.db.executescript("DELETE FROM item; DELETE FROM ready;")

    large = claim_cost(bench, 33_333, is_served_last=is_served_last)

    assert large <= 1.2 * small


def test_a_report_costs_the_same_beside_100_000_others(bench: Bench) -> None:
    lone, crowded = bench.enqueue(), bench.enqueue()
    cost = bench.steps(StepReturned(lone, 1, returned(lone, "a")), RunReturned(lone, 1, b"1"))
    fill(bench, bench.process.function("other"), 100_000, 1_000)
    db = bench.counted.db
    db.execute(
        "INSERT INTO step(run, id, kind, status, attempt, main, started_at, at) "
        "SELECT run, 'a', 1, 0, 0, 1, 1, 1 FROM item"
    )
    db.execute("INSERT INTO timer(due, run, kind, step) SELECT run, run, 1, 'a' FROM item")

    among_many = bench.steps(
        StepReturned(crowded, 1, returned(crowded, "b")), RunReturned(crowded, 1, b"1")
    )

    assert among_many <= 1.2 * cost


@pytest.mark.parametrize("rows", [1, 5, 70])
def test_deleting_and_loading_by_key_costs_the_same_in_a_large_table(
    counted: Counted, rows: int
) -> None:
    # Statements for several rows once read the whole table, where those for one did not.
    keyed = {
        "load_dedup": (0, "x"),
        "load_steps": (1, "x"),
        "delete_ready": (9, 9, 9),
        "delete_waits": (9, 9, "x"),
        "delete_timers": (9, 9, 9, "x"),
    }
    small = {name: keyed_cost(counted, name, key, rows) for name, key in keyed.items()}
    counted.db.executescript("""
        WITH RECURSIVE n(i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n LIMIT 20000)
        INSERT INTO dedup(scope, key, ref, expires_at) SELECT 0, 'k' || i, i, i FROM n;
        INSERT INTO ready(lane, class, position, run) SELECT 9, 1, ref, ref FROM dedup;
        INSERT INTO wait(match, run, step, number) SELECT 9, ref, 'y', 1 FROM dedup;
        INSERT INTO timer(due, run, kind, step) SELECT 9, ref, 1, 'y' FROM dedup;
        INSERT INTO step(run, id, kind, status, attempt, main, started_at, at)
        SELECT 1, key, 1, 0, 0, 1, 1, 1 FROM dedup;
    """)

    large = {name: keyed_cost(counted, name, key, rows) for name, key in keyed.items()}

    assert {name for name in keyed if large[name] > 1.2 * small[name] + 20} == set()


def keyed_cost(counted: Counted, name: str, key: tuple[Any, ...], rows: int) -> int:
    """Steps of a statement for so many keys, none of which is there."""
    before = counted.steps
    with counted.counting():
        counted.db.execute(counted.queries.rows(name, rows), key * rows).fetchall()
    return counted.steps - before
