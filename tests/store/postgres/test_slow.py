"""Somebody stands still: with rows locked, or with an old snapshot. The others go on."""

import time
from collections.abc import Callable

import pytest

from errands.engine.absorb import absorb
from errands.engine.transition import ItemMoved
from errands.model.call import KEPT, RunReturned
from errands.store.interface import Store, StoreUnavailable
from errands.store.open import open_store
from errands.store.postgres import heads
from tests.processes.children import wait_until
from tests.store.batch import begin, until_free
from tests.store.postgres.server import connect
from tests.store.postgres.test_together import until_told
from tests.store.process import Process, StillClock


def test_who_stands_still_in_a_batch_loses_its_locks_and_its_batch(
    process: Process, url: str
) -> None:
    (run,) = process.enqueue()
    options = "options=-c%20idle_in_transaction_session_timeout%3D300"
    slow = open_store(f"{url}&{options}")

    def stands_still() -> None:
        with slow.transaction() as transaction:
            state = begin(transaction, items=[run])
            item = state.items.get(run)
            assert item is not None
            (ended,) = until_told(process, process.submit(RunReturned(run, 1, b"1")))
            assert ended == KEPT
            absorb(state, [ItemMoved(item)])
            transaction.apply(state)

    with pytest.raises(StoreUnavailable):
        stands_still()

    slow.close()
    assert process.store.reader.counts()["done"] == 1


def test_others_wait_for_nobody_who_stands_still(
    process: Process, open_again: Callable[[], Store]
) -> None:
    held, *free = process.enqueue(200)
    slow = open_again()
    longest = 0.0
    with slow.transaction() as transaction:
        begin(transaction, items=[held])
        for run in free:
            begun = time.monotonic()
            ticket = process.submit(RunReturned(run, 1, b"1"))
            process.drain()
            assert process.answer(ticket) == KEPT
            longest = max(longest, time.monotonic() - begun)

    assert longest < 2.0
    until_free(lambda: process.finish(held))


def test_who_came_late_with_a_lower_position_is_found_without_another_commit(
    process: Process, open_again: Callable[[], Store], clock: StillClock
) -> None:
    sender = Process(open_again(), clock)
    early = sender.enqueue(3)
    process.committer.kick()
    process.drain()
    assert sorted(process.leases) == early
    past = StillClock(clock.ms - 60_000)
    late = Process(open_again(), past).enqueue(2)
    seen = -1

    def look() -> bool:
        # As a dispatcher does.
        nonlocal seen
        if (version := process.store.version()) != seen:
            seen = version
            if process.store.reader.lanes():
                process.committer.kick()
            process.drain()
        return sorted(process.leases) == sorted([*early, *late])

    wait_until(look, "those behind are found", 10)


def test_a_claim_does_not_walk_over_what_an_old_snapshot_keeps(
    process: Process, open_again: Callable[[], Store], clock: StillClock, url: str
) -> None:
    """By the pages that it reads, not by time."""
    sender = Process(open_again(), clock)
    with connect(url) as db:
        schema = url.rpartition("schema=")[2]
        db.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        db.execute(f"SELECT count(*) FROM {schema}.item".encode())
        for _ in range(20):
            clock.ms += 1_000
            runs = sender.enqueue(500)
            process.committer.kick()
            process.drain()
            process.finish(*runs)
        clock.ms += 1_000
        sender.enqueue(10)
        db.execute("ROLLBACK")
        lane = process.function("report")
        after = process.store._known.heads.after(lane, 1)  # type: ignore[attr-defined] # pyright: ignore
        asked = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT position FROM {}.ready "
        asked += "WHERE lane = {} AND class = 1 AND position >= {} ORDER BY position LIMIT 10"

        def pages(first: int) -> int:
            plan = db.execute(asked.format(schema, lane, first).encode()).fetchall()[0][0][0][
                "Plan"
            ]
            return plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]

        assert after > heads.FIRST
        assert pages(after) * 5 < pages(0)
