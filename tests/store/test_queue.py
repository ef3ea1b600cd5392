"""The queue in front of the committer is bounded for doors, and never for outcomes."""

import pytest

from errands.engine.input import CancelAsked, Sent
from errands.executors.committer import QUEUE_BYTES_MAX, QUEUE_ROWS_MAX
from errands.model.call import KEPT, Accepted, RunReturned, StepReturned
from errands.model.errors import InternalError, Unavailable
from errands.model.event import NewEvent
from tests.store.process import Process, returned
from tests.store.test_conflict import BROKEN

SMALL = Sent((NewEvent("a", b"{}"),) * 50)
"""100 rows."""


def fill(process: Process, given: Sent = SMALL) -> int:
    """Sends until the door is shut; how many were taken."""
    for count in range(QUEUE_ROWS_MAX):
        try:
            process.submit(given, is_door=True)
        except Unavailable:
            return count
    raise AssertionError("the queue has no end")


def test_a_full_queue_shuts_the_door(process: Process) -> None:
    assert fill(process) == QUEUE_ROWS_MAX // 100

    with pytest.raises(Unavailable, match="full") as refused:
        process.submit(SMALL, is_door=True)

    assert refused.value.retryable


def test_a_queue_full_of_bytes_shuts_the_door(process: Process) -> None:
    large = NewEvent("a", b'"' + b"x" * (8 << 20) + b'"')

    assert fill(process, Sent((large,))) == QUEUE_BYTES_MAX // (8 << 20)


def test_what_is_larger_than_the_queue_is_taken_when_it_is_empty(process: Process) -> None:
    huge = Sent((NewEvent("a", b"{}"),) * QUEUE_ROWS_MAX)

    taken = process.submit(huge, is_door=True)
    with pytest.raises(Unavailable):
        process.submit(SMALL, is_door=True)
    process.drain()

    assert isinstance(process.answer(taken), Accepted)


def test_outcomes_are_taken_by_a_full_queue(process: Process) -> None:
    run, other = process.enqueue(2)
    fill(process)

    kept = process.submit(StepReturned(run, 1, returned(run, "a")))
    ended = process.submit(RunReturned(run, 1, b"null"))
    cancelled = process.submit(CancelAsked(other, ""))
    process.drain()

    assert [process.answer(ticket) for ticket in (kept, ended, cancelled)] == [KEPT] * 3


def test_a_drained_queue_has_all_its_room_again(process: Process) -> None:
    for _ in range(3):
        assert fill(process) == QUEUE_ROWS_MAX // 100
        process.drain()


def test_refused_and_failed_inputs_give_their_room_back(process: Process) -> None:
    (run,) = process.enqueue()
    answers = process.decide(
        Sent((BROKEN,) * 40),
        StepReturned(run, 7, returned(run, "a", b"x" * 1_000)),
        SMALL,
        RunReturned(run, 1, b"null"),
        RunReturned(run, 1, b"null"),
        CancelAsked(run, ""),
    )
    assert isinstance(answers[0], InternalError)

    assert fill(process) == QUEUE_ROWS_MAX // 100


def test_a_closed_committer_takes_nothing(process: Process) -> None:
    ticket = process.submit(SMALL)
    process.committer.close()

    assert isinstance(process.answer(ticket), Accepted)
    with pytest.raises(Unavailable, match="closed"):
        process.submit(SMALL)
