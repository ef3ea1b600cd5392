"""A store that cannot be written now: doors are told, what executing runs report is kept for later.

The disk is made full for real, by the limit that the operating system sets to this process's files;
and a server throws everybody out for real.
"""

from contextlib import ExitStack

import pytest

from errands.engine.input import EventHit, Sent
from errands.engine.transition import (
    EventAppended,
    FollowUpQueued,
    ItemMoved,
    RunCreated,
    StepSaved,
)
from errands.executors.committer import QUEUE_ROWS_MAX
from errands.model.call import KEPT, Accepted, RunReturned, StepReturned
from errands.model.errors import InternalError, Unavailable
from errands.model.event import Event, NewEvent
from errands.model.ids import EventId, RunId
from errands.model.item import Item, Place
from errands.model.run import Run
from errands.model.step import Step, StepKind, StepStatus
from errands.store.interface import Store, StoreUnavailable
from tests.store.backdoor import back, unwritable
from tests.store.batch import write
from tests.store.process import NOW, Process, returned
from tests.store.test_conflict import BROKEN
from tests.store.test_queue import fill

SENT = Sent((NewEvent("user/signed.up", b"{}"),))


def test_a_full_disk_is_said_to_be_that_and_nothing_is_kept(store: Store, url: str) -> None:
    before = store.reader.counts()

    with unwritable(url), pytest.raises(StoreUnavailable):
        write(store, EventAppended(Event(EventId(1), "a", b"{}", NOW)))

    back(store)
    assert store.reader.counts() == before
    write(store, EventAppended(Event(EventId(1), "a", b"{}", NOW)))


def test_doors_are_told_that_nothing_was_accepted(process: Process, url: str) -> None:
    ticket = process.submit(SENT, is_door=True)
    with unwritable(url):
        assert process.committer.step() is False

    error = process.answer(ticket)
    assert isinstance(error, Unavailable)
    assert error.retryable
    back(process.store)
    process.drain()
    assert process.store.reader.counts()["event"] == 0


def test_reports_wait_and_are_kept_in_their_order(process: Process, url: str) -> None:
    (run,) = process.enqueue()
    with unwritable(url):
        first = process.submit(StepReturned(run, 1, returned(run, "a")))
        process.committer.step()
        second = process.submit(StepReturned(run, 1, returned(run, "b")))
        last = process.submit(RunReturned(run, 1, b"null"))
        process.committer.step()
        assert not any(map(process.is_told, (first, second, last)))

    back(process.store)
    process.drain()

    assert [process.answer(ticket) for ticket in (first, second, last)] == [KEPT] * 3
    assert process.store.reader.counts()["done"] == 1


def test_a_disk_that_was_full_costs_no_room_in_the_queue(process: Process, url: str) -> None:
    (run,) = process.enqueue()
    with unwritable(url):
        process.submit(StepReturned(run, 1, returned(run, "a", b'"%s"' % (b"x" * 1_000))))
        process.submit(SENT)
        process.committer.step()
        process.committer.step()
    back(process.store)
    process.drain()

    assert fill(process) == QUEUE_ROWS_MAX // 100


def test_what_was_kept_before_the_disk_was_full_is_neither_repeated_nor_denied(
    process: Process,
    url: str,
) -> None:
    # The batch holds one input that cannot be written, so it is decided by halves; the disk becomes
    # full between the two.
    first, second = process.enqueue(2)
    kept = process.submit(StepReturned(first, 1, returned(first, "a")))
    sent = process.submit(SENT)
    broken = process.submit(Sent((BROKEN,)))
    later = process.submit(StepReturned(second, 1, returned(second, "b")))
    with ExitStack() as disk:
        process.after_batch = lambda: disk.enter_context(unwritable(url))
        process.committer.step()
        process.after_batch = lambda: None

    back(process.store)
    process.drain()

    assert process.answer(kept) == process.answer(later) == KEPT
    assert isinstance(process.answer(sent), Accepted)
    assert isinstance(process.answer(broken), InternalError | Unavailable)
    assert set(process.times_told.values()) == {1}
    assert process.store.reader.counts()["event"] == 1


def test_a_follow_up_whose_tries_cannot_be_counted_now_is_tried_again(
    process: Process, url: str
) -> None:
    run, event = RunId(process.new_id()), EventId(process.new_id())
    write(
        process.store,
        EventAppended(Event(event, "paid", b"{", NOW)),
        RunCreated(Run(run, process.function("report"))),
        ItemMoved(Item(run, process.function("report"), Place.PARKED, NOW)),
        StepSaved(Step(run, "paid", StepKind.EVENT, StepStatus.WAITING, match=1)),
        FollowUpQueued(EventHit(run, "paid", event), process.worker.id),
    )
    (hit,) = process.store.reader.inbox(process.worker.id, 0, 9)
    process.submit(Sent((BROKEN,)))
    process.submit(hit)
    with ExitStack() as disk:
        # To find that it cannot be decided takes no writing; to count that does.
        process.after_batch = lambda: disk.enter_context(unwritable(url))
        process.committer.step()
        process.after_batch = lambda: None

    back(process.store)
    process.drain()

    assert [done.run for done in process.store.reader.done([run])] == [run]
