"""Several processes at one store: each decides on what the others have committed."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable

from msgspec.structs import replace

from errands.engine.absorb import absorb
from errands.engine.input import CancelAsked, Claim, Input
from errands.engine.transition import ItemMoved, WaitRegistered
from errands.model.call import KEPT, RunReturned
from errands.model.ids import FunctionId, RunId
from errands.model.item import Item, Place
from errands.model.step import Wait
from errands.store.interface import Store
from tests.store.batch import begin, load, until_free, write
from tests.store.process import NOW, Process, StillClock

PARKED = Item(RunId(5), FunctionId(7), Place.PARKED, NOW)


def together(*acts: Callable[[], object]) -> None:
    """In threads that start at one moment."""
    start = threading.Barrier(len(acts))
    errors: list[BaseException] = []

    def act(do: Callable[[], object]) -> None:
        start.wait()
        try:
            do()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=act, args=(do,)) for do in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def count_up(store: Store, times: int) -> None:
    """Read, add one, write."""

    def add_one() -> None:
        with store.transaction() as transaction:
            state = begin(transaction, items=[PARKED.run])
            item = state.items.get(PARKED.run)
            assert item is not None
            absorb(state, [ItemMoved(replace(item, fence=item.fence + 1))])
            transaction.apply(state)

    for _ in range(times):
        until_free(add_one)


def test_two_appliers_lose_no_update(store: Store, open_again: Callable[[], Store]) -> None:
    other = open_again()
    write(store, ItemMoved(PARKED))

    together(lambda: count_up(store, 100), lambda: count_up(other, 100))

    assert load(store, items=[PARKED.run]).items.now == {PARKED.run: replace(PARKED, fence=200)}


def test_threads_of_one_store_take_turns(store: Store) -> None:
    write(store, ItemMoved(PARKED))

    together(*[lambda: count_up(store, 25)] * 4)

    assert load(store, items=[PARKED.run]).items.now == {PARKED.run: replace(PARKED, fence=100)}


COUNTS_UP = """
import sys
from errands.store.open import open_store
from tests.store.test_race import count_up
count_up(open_store(sys.argv[1]), 100)
"""


def test_two_processes_lose_no_update(store: Store, url: str) -> None:
    write(store, ItemMoved(PARKED))

    others = [subprocess.Popen([sys.executable, "-c", COUNTS_UP, url]) for _ in range(2)]
    count_up(store, 100)

    assert [other.wait() for other in others] == [0, 0]
    assert load(store, items=[PARKED.run]).items.now == {PARKED.run: replace(PARKED, fence=300)}


def test_what_was_loaded_stays_true_until_the_commit(
    store: Store, open_again: Callable[[], Store]
) -> None:
    # One stops between load and commit: the other waits, or passes it over until then, and decides
    # on what the first wrote.
    other = open_again()
    write(store, ItemMoved(PARKED))
    has_loaded, may_go_on = threading.Event(), threading.Event()
    seen: list[Item | None] = []

    def stops() -> None:
        with store.transaction() as transaction:
            state = begin(transaction, items=[PARKED.run])
            has_loaded.set()
            may_go_on.wait()
            absorb(state, [ItemMoved(replace(PARKED, fence=1))])
            transaction.apply(state)

    def comes_later() -> None:
        has_loaded.wait()
        threading.Timer(0.05, may_go_on.set).start()
        seen.append(load(other, items=[PARKED.run]).items.get(PARKED.run))
        assert may_go_on.is_set()

    together(stops, comes_later)

    assert seen == [replace(PARKED, fence=1)]


def test_an_item_is_claimed_by_one_process(
    store: Store, open_again: Callable[[], Store], clock: StillClock
) -> None:
    sender = Process(store, clock)
    runs = sender.enqueue(500)
    workers = [Process(open_again(), clock, concurrency=400) for _ in range(2)]

    def work(worker: Process) -> Callable[[], None]:
        def claim() -> None:
            for _ in range(30):
                worker.decide(Claim(20))

        return claim

    together(*map(work, workers))

    leased = [run for worker in workers for run in worker.leases]
    assert sorted(leased) == runs


def decided(process: Process, given: Input) -> object:
    """The answer, when the other one has let go of the row."""
    ticket = process.submit(given)
    process.drain()
    while pause := process.committer.pause_seconds:
        time.sleep(pause)
        process.drain()
    return process.answer(ticket)


def test_one_of_two_who_end_a_run_is_refused(
    process: Process, open_again: Callable[[], Store], clock: StillClock
) -> None:
    runs = process.enqueue(50)
    other = Process(open_again(), clock)
    answers: dict[str, list[object]] = {}

    def returns() -> None:
        answers["returned"] = [decided(process, RunReturned(run, 1, b"1")) for run in runs]

    def cancels() -> None:
        answers["cancelled"] = [decided(other, CancelAsked(run, "")) for run in reversed(runs)]

    together(returns, cancels)

    ends = zip(answers["returned"], reversed(answers["cancelled"]), strict=True)
    assert [(a == KEPT) + (b == KEPT) for a, b in ends] == [1] * 50
    assert process.store.reader.counts()["done"] == 50


def test_two_appliers_of_different_rows_both_keep_theirs(
    store: Store, open_again: Callable[[], Store]
) -> None:
    other = open_again()

    def waits(of: Store, first: int) -> Callable[[], None]:
        def register() -> None:
            for n in range(first, first + 50):
                write(of, WaitRegistered(Wait(1, RunId(n), "paid", NOW)))

        return register

    together(waits(store, 0), waits(other, 1_000))

    assert store.reader.counts()["wait"] == 100
