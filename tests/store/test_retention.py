"""What is past its time goes, a page at a time; what somebody may still need stays."""

import pytest
from msgspec.structs import replace

from errands.clock import SystemAlarms
from errands.engine.external import FOR_EVER
from errands.engine.input import CancelAsked, JobChanged, JobMade, Sent, Trim, WorkerLeft
from errands.engine.transition import (
    Deduplicated,
    ItemMoved,
    LogsKept,
    RunCreated,
    WorkerKept,
)
from errands.executors.sweeper import PAGE, Sweeper
from errands.model.call import Accepted
from errands.model.event import NewEvent
from errands.model.ids import EventId, FunctionId, RunId, first_id
from errands.model.item import Item, Place
from errands.model.run import LogLine, Run
from errands.model.worker import WorkerState
from errands.store.interface import Store
from tests.store.batch import load, write
from tests.store.process import KEEP_MS, NOW, Process, StillClock, join

KEEP_EVENTS_MS = 5_000
SIGNED_UP = Sent((NewEvent("user/signed.up", b"{}", key="u1"),))


@pytest.fixture
def sweeper(process: Process, clock: StillClock) -> Sweeper:
    return Sweeper(
        process.committer,
        process.store,
        clock,
        SystemAlarms(clock),
        lease_ms=30_000,
        keep_runs_ms=KEEP_MS,
        keep_events_ms=KEEP_EVENTS_MS,
    )


def trim(process: Process, sweeper: Sweeper) -> dict[str, int]:
    """One page; what is left."""
    sweeper.trim_page(process.clock.now())
    process.drain()
    return process.store.reader.counts()


def test_a_finished_run_is_kept_until_its_time(
    process: Process, sweeper: Sweeper, clock: StillClock
) -> None:
    (run,) = process.enqueue(tags=("team=a",))
    process.finish(run)

    clock.ms += KEEP_MS
    assert trim(process, sweeper)["run"] == 1
    clock.ms += 1
    counts = trim(process, sweeper)

    assert (counts["run"], counts["done"], counts["step"]) == (0, 0, 0)
    assert process.store.reader.labels(run) == []


def test_a_run_that_has_not_ended_stays_however_old(
    process: Process, sweeper: Sweeper, clock: StillClock
) -> None:
    (run,) = process.enqueue()

    clock.ms += 1_000 * KEEP_MS
    assert trim(process, sweeper)["run"] == 1
    process.finish(run)

    # Kept from its end on, not from its beginning.
    assert trim(process, sweeper)["run"] == 1
    clock.ms += KEEP_MS
    assert trim(process, sweeper)["run"] == 0


def test_an_event_stays_while_a_run_of_it_has_not_ended(
    process: Process, sweeper: Sweeper, clock: StillClock
) -> None:
    first, second = process.decide(SIGNED_UP, Sent((NewEvent("user/signed.up", b"{}"),)))
    run, other = sorted(process.leases)
    clock.ms += KEEP_EVENTS_MS + 1
    process.finish(other)

    trim(process, sweeper)
    assert [e.id for e in process.store.reader.events([*first.ids, *second.ids])] == [first.ids[0]]
    process.finish(run)

    assert trim(process, sweeper)["event"] == 0


def test_an_event_stays_for_a_run_that_has_begun_since_it_was_listed(process: Process) -> None:
    (used,), (unused,) = (
        answer.ids for answer in process.decide(SIGNED_UP, Sent((NewEvent("nobody", b"{}"),)))
    )

    process.decide(Trim(events=(used, unused)))

    assert [event.id for event in process.store.reader.events([used, unused])] == [used]


def test_pages_go_on_until_all_is_gone(
    process: Process, sweeper: Sweeper, clock: StillClock
) -> None:
    for _ in range(3):
        process.finish(*process.enqueue(400))
    process.decide(*[Sent((NewEvent("nobody", b"{}"),))] * (PAGE + 1))
    clock.ms += KEEP_EVENTS_MS + 1

    pages = [trim(process, sweeper) for _ in range(3)]

    assert [counts["run"] for counts in pages] == [1_200 - PAGE, 1_200 - 2 * PAGE, 0]
    assert [counts["event"] for counts in pages] == [1, 0, 0]


def test_a_page_of_events_that_stay_hides_none_behind_it(
    process: Process, sweeper: Sweeper, clock: StillClock
) -> None:
    process.decide(*[Sent((NewEvent("user/signed.up", b"{}"),))] * (PAGE + 50))
    clock.ms += 1
    process.decide(Sent((NewEvent("nobody", b"{}"),)))
    clock.ms += KEEP_EVENTS_MS

    trim(process, sweeper)
    clock.ms += 1
    trim(process, sweeper)

    assert process.store.reader.counts()["event"] == PAGE + 50


def test_a_key_is_remembered_for_a_day_and_then_forgotten(
    process: Process, sweeper: Sweeper, clock: StillClock
) -> None:
    (first,) = process.decide(SIGNED_UP)
    clock.ms += 24 * 3_600_000 - 1
    trim(process, sweeper)
    (again,) = process.decide(SIGNED_UP)
    clock.ms += 1

    (later,) = process.decide(SIGNED_UP)

    assert isinstance(first, Accepted)
    assert again.ids == first.ids
    assert later.ids != first.ids


def test_expired_keys_go_a_thousand_at_a_time(process: Process) -> None:
    write(process.store, *(Deduplicated(0, f"{n}", n, NOW + n) for n in range(2_500)))
    keys = [(0, f"{n}") for n in range(2_500)]

    left: list[list[int]] = []
    for _ in range(4):
        process.decide(Trim(dedup_before=NOW + 2_400))
        left.append([row[0] for row in load(process.store, dedup=keys).dedup.now.values() if row])

    assert [len(page) for page in left] == [1_500, 500, 100, 100]
    assert left[-1] == list(range(2_400, 2_500))


def test_many_keys_of_one_moment_go_too(process: Process) -> None:
    write(process.store, *(Deduplicated(0, f"{n}", n, NOW) for n in range(1_500)))

    process.decide(Trim(dedup_before=NOW))
    assert len(load(process.store, dedup=[(0, f"{n}") for n in range(1_500)]).dedup.now) == 1_500
    process.decide(Trim(dedup_before=NOW + 1))

    assert load(process.store, dedup=[(0, f"{n}") for n in range(1_500)]).dedup.now == {}


def test_workers_that_have_gone_are_forgotten_and_the_others_are_not(
    store: Store, process: Process, clock: StillClock
) -> None:
    gone = Process(store, clock)
    gone.decide(WorkerLeft(gone.worker.id))
    holding = join(store, clock)
    item = Item(RunId(5), FunctionId(1), Place.RUNNING, NOW, worker=holding.id)
    write(store, ItemMoved(item), WorkerKept(replace(holding, state=WorkerState.DEAD)))

    process.decide(Trim(workers_before=NOW))
    known = [gone.worker.id, holding.id, process.worker.id]
    assert list(load(store, workers=known).workers.now) == sorted(known)
    process.decide(Trim(workers_before=NOW + 1))

    assert list(load(store, workers=known).workers.now) == sorted([holding.id, process.worker.id])


def test_a_page_of_expired_runs_is_bounded_by_age_and_number(
    process: Process, clock: StillClock
) -> None:
    old = process.enqueue(3)
    clock.ms += 1
    process.finish(*old, *process.enqueue(2))
    reader = process.store.reader

    now = clock.ms + KEEP_MS
    assert reader.expired_runs(now - 1, RunId(first_id(now)), 9) == []
    assert reader.expired_runs(now, RunId(first_id(clock.ms)), 9) == old
    assert reader.expired_runs(now, RunId(first_id(now)), 2) == old[:2]
    assert len(reader.expired_runs(now, RunId(first_id(now)), 9)) == 5


def test_expired_events_are_paged_by_position(process: Process, clock: StillClock) -> None:
    answers = process.decide(*[Sent((NewEvent("nobody", b"{}"),))] * 5)
    ids = [answer.ids[0] for answer in answers]
    before = EventId(first_id(clock.ms + 1))

    assert process.store.reader.expired_events(EventId(0), before, 3) == ids[:3]
    assert process.store.reader.expired_events(ids[2], before, 3) == ids[3:]
    assert process.store.reader.expired_events(EventId(0), EventId(first_id(clock.ms)), 3) == []


def test_the_run_that_failed_stays_while_its_failure_handler_runs(
    process: Process, sweeper: Sweeper, clock: StillClock
) -> None:
    (failed,) = process.enqueue()
    handler, function = RunId(process.new_id()), process.function("other")
    begun = [
        RunCreated(Run(handler, function, parent=failed)),
        ItemMoved(Item(handler, function, Place.PARKED, NOW)),
    ]
    process.finish(failed)
    clock.ms += KEEP_MS
    listed = process.store.reader.expired_runs(clock.ms, RunId(first_id(clock.ms)), 9)
    write(process.store, *begun)

    # Neither when it was listed before, nor when it is listed now.
    process.decide(Trim(runs=tuple(listed)))
    assert listed == [failed]
    assert trim(process, sweeper)["done"] == 1
    process.decide(CancelAsked(handler, ""))

    clock.ms += KEEP_MS
    assert trim(process, sweeper)["run"] == 0


def test_a_run_with_very_many_rows_goes_in_pages(
    process: Process, sweeper: Sweeper, clock: StillClock
) -> None:
    (run,) = process.enqueue()
    for kind in (10_000, 20_000):
        lines = (LogLine(run, kind + n, NOW, None, 0, 20, "") for n in range(4_000))
        write(process.store, LogsKept(tuple(lines)))
    process.finish(run)
    clock.ms += KEEP_MS + 1
    reader = process.store.reader

    left: list[tuple[int, bool]] = []
    for _ in range(3):
        _, is_more = sweeper.trim_page(clock.now())
        process.drain()
        left.append((len(reader.logs(run, 0, 9_999)), is_more))

    assert left == [(3_000, True), (0, True), (0, False)]
    assert reader.counts()["run"] == 0


def test_an_external_job_is_kept_as_long_as_it_asked_and_no_longer(
    process: Process, sweeper: Sweeper, clock: StillClock
) -> None:
    long, short = process.decide(JobMade("long", 5 * KEEP_MS), JobMade(None, KEEP_MS // 2))
    process.decide(
        *(JobChanged("x", made.run, status="completed", percent=1.0) for made in (long, short))
    )
    reader = process.store.reader

    # Of runs nothing is old enough yet.
    clock.ms += KEEP_MS // 2 + 1
    trim(process, sweeper)
    assert reader.inputs([short.run]) == []
    clock.ms += 4 * KEEP_MS
    assert trim(process, sweeper)["run"] == 1
    assert reader.external_job("long", clock.ms) == long.run
    clock.ms += KEEP_MS
    counts = trim(process, sweeper)

    assert (counts["run"], counts["done"]) == (0, 0)
    assert not reader.has_expired_dedup(FOR_EVER)


def test_an_external_job_that_is_not_over_stays_and_so_does_its_id(
    process: Process, sweeper: Sweeper, clock: StillClock
) -> None:
    # Nobody looked after the store when it should have been given up.
    (made,) = process.decide(JobMade("mine", KEEP_MS))

    clock.ms += 1_000 * KEEP_MS
    trim(process, sweeper)

    assert process.store.reader.external_job("mine", clock.ms) == made.run
