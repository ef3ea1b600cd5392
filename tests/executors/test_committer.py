"""What the committer does with inputs that cannot be written or decided, and how it ends."""

import sqlite3
from pathlib import Path

import pytest

from errands.clock import IdSource
from errands.engine.input import CancelAsked, EventHit, Input, Registered, Sent, WaitsLeft
from errands.engine.state import Here
from errands.engine.transition import (
    EventAppended,
    FollowUpQueued,
    ItemMoved,
    RunCreated,
    StepSaved,
)
from errands.executors.committer import RETRY_SECONDS, Committer
from errands.executors.inbox import Inbox
from errands.model.call import StepReturned
from errands.model.errors import InternalError, Unavailable
from errands.model.event import Event, NewEvent
from errands.model.function import AppConfig
from errands.model.ids import EventId, RunId
from errands.model.item import Item, Place
from errands.model.job import NewJob
from errands.model.run import Run
from errands.model.step import Step, StepKind, StepStatus
from errands.store.interface import TRIES_MAX, Store
from tests.store.backdoor import full_disk
from tests.store.batch import write
from tests.store.process import KEEP_MS, NOW, REPORT, Process, StillClock, join, returned

SENT = Sent((NewEvent("a", b"{}"),))
BROKEN_TEXT = b"{"


def raw(tmp_path: Path, *statements: str) -> None:
    """As if somebody had damaged the file."""
    db = sqlite3.connect(tmp_path / "errands.db")
    db.execute("PRAGMA ignore_check_constraints = ON")
    for statement in statements:
        db.execute(statement)
    db.commit()
    db.close()


@pytest.fixture
def undecidable(process: Process) -> EventHit:
    """In the inbox: its event is no JSON."""
    run, event = RunId(process.new_id()), EventId(process.new_id())
    write(
        process.store,
        EventAppended(Event(event, "paid", BROKEN_TEXT, NOW)),
        RunCreated(Run(run, process.function("report"))),
        ItemMoved(Item(run, process.function("report"), Place.PARKED, NOW)),
        StepSaved(Step(run, "paid", StepKind.EVENT, StepStatus.WAITING, match=1)),
        FollowUpQueued(EventHit(run, "paid", event), process.worker.id),
    )
    (hit,) = process.store.reader.inbox(process.worker.id, 0, 9)
    assert isinstance(hit, EventHit)
    return hit


@pytest.fixture
def of_no_run(process: Process) -> WaitsLeft:
    """The same, but there is no run that could be ended for it."""
    event = EventId(process.new_id())
    write(
        process.store,
        EventAppended(Event(event, "paid", BROKEN_TEXT, NOW)),
        FollowUpQueued(WaitsLeft(event, 1, RunId(0), "", 0), process.worker.id),
    )
    (left,) = process.store.reader.inbox(process.worker.id, 0, 9)
    assert isinstance(left, WaitsLeft)
    return left


# -- durable inputs that cannot be decided ---------------------------------------------------------


def test_what_cannot_be_decided_is_tried_again_later(
    process: Process, clock: StillClock, undecidable: EventHit
) -> None:
    process.committer.beat_ms = 3_600_000
    process.submit(undecidable)
    process.drain()

    assert process.drain() == 0
    clock.ms += int(RETRY_SECONDS[0] * 1000)

    assert process.drain() == 1


def test_what_waits_for_its_next_try_is_not_handed_over_again(
    process: Process, undecidable: EventHit
) -> None:
    process.committer.beat_ms = 3_600_000
    process.submit(undecidable)
    process.drain()

    assert not Inbox(process.committer, process.store.reader).look()


def test_what_was_tried_too_often_stays_for_the_doctor_and_is_not_read_again(
    process: Process, of_no_run: WaitsLeft
) -> None:
    process.submit(of_no_run)

    assert process.drain() == TRIES_MAX

    assert not Inbox(process.committer, process.store.reader).look()
    assert process.store.reader.counts()["inbox"] == 1
    assert process.store.reader.inbox_since() is not None


def test_tries_that_the_store_refuses_to_count_do_not_end_the_committer(
    process: Process, undecidable: EventHit, tmp_path: Path
) -> None:
    raw(
        tmp_path,
        "CREATE TRIGGER no BEFORE UPDATE ON inbox BEGIN SELECT RAISE(ABORT, 'no'); END",
    )
    process.submit(undecidable)

    process.committer.step()

    raw(tmp_path, "DROP TRIGGER no")
    process.drain()
    assert process.store.reader.counts()["inbox"] == 0


def test_a_claim_that_cannot_be_made_is_made_later(
    store: Store, clock: StillClock, tmp_path: Path
) -> None:
    process = Process(store, clock)
    process.enqueue()
    raw(tmp_path, "UPDATE item SET place = 99")
    process.committer.serve(frozenset([process.function("report")]), 1)
    process.drain()
    raw(tmp_path, "UPDATE item SET place = 1")

    assert process.drain() == 0
    clock.ms += int(RETRY_SECONDS[-1] * 1000)
    process.drain()

    assert len(process.leases) == 1


# -- a store that cannot be written ----------------------------------------------------------------


@pytest.mark.parametrize("what", ["send", "cancel", "register"])
def test_in_an_outage_whoever_can_ask_again_is_told(process: Process, what: str) -> None:
    (run,) = process.enqueue()
    given: dict[str, Input] = {
        "send": SENT,
        "cancel": CancelAsked(run, "because"),
        "register": Registered(AppConfig("other", (REPORT,)), False),
    }
    ticket = process.submit(given[what])

    with full_disk():
        process.committer.step()

    assert isinstance(process.answer(ticket), Unavailable)


def test_a_beat_that_could_not_be_written_is_repeated_at_once(
    process: Process, clock: StillClock
) -> None:
    clock.ms += 5
    process.committer.beat_ms = 1_000
    with full_disk():
        process.committer.step()

    process.committer.step()

    assert list(process.committer.beats) == [NOW + 5]


def test_what_is_left_when_it_closes_is_told_so(process: Process) -> None:
    (run,) = process.enqueue()
    left = process.submit(StepReturned(run, 1, returned(run, "a")))
    with full_disk():
        process.committer.step()

        process.committer.close()

    assert isinstance(process.answer(left), Unavailable)


def test_what_a_large_send_left_is_decided_before_it_closes(process: Process) -> None:
    process.submit(Sent((NewJob("shop", "report", b"{}"),) * 600))

    process.committer.close()

    assert process.store.reader.counts()["inbox"] == 0


# -- a bug of ours ---------------------------------------------------------------------------------


@pytest.fixture
def broken(store: Store, clock: StillClock) -> Committer:
    """Its thread meets a bug when it tells what it has committed; `told` is what it says then."""
    worker = join(store, clock)
    here = Here(worker.id, store.reader.key(), KEEP_MS)

    def deliver(committer: Committer, entries: list, effects: object) -> None:
        if effects is not None:
            raise LookupError("a bug")
        for entry in entries:
            entry.ticket.settle(entry.answer, entry.error)

    return Committer(
        store,
        here,
        clock,
        IdSource(worker.node, clock),
        deliver=deliver,
        config=store.reader.config(),
    )


def test_a_bug_in_its_thread_is_told_to_whoever_waits_for_the_batch_in_hand(
    broken: Committer,
) -> None:
    in_hand = broken.submit(SENT)
    broken.start()

    assert in_hand.wait(10)

    with pytest.raises(InternalError, match="a bug"):
        next(iter(in_hand.__await__()), None)


def test_after_a_bug_in_its_thread_it_says_so_and_takes_nothing(broken: Committer) -> None:
    said: list[bool] = []
    broken.on_broken = lambda: said.append(True)
    broken.submit(SENT).wait(0)
    broken.start()
    broken.close()

    assert said == [True]
    with pytest.raises(InternalError):
        broken.submit(SENT)
