"""A batch stays near its limits, because what weighs much is known to."""

import pytest

from errands.engine.config import Config
from errands.engine.input import ChildEnded, EventHit, Expand, Input, Sent
from errands.executors.weight import weight
from errands.model.call import Again, Parked, RunFailed, RunReturned, StepSent, WaitOpened
from errands.model.event import Event, NewEvent
from errands.model.function import Function, FunctionConfig, FunctionKind, RetryPolicy, Trigger
from errands.model.ids import EventId, FunctionId, RunId
from errands.model.job import NewJob
from errands.model.step import Step, StepKind, StepStatus
from tests.store.process import Process, returned

RUN = RunId(1)
BODY = b'"' + b"x" * 1_000 + b'"'
STEP = Step(RUN, "s", StepKind.SLEEP, StepStatus.WAITING)
SAVES = (returned(RUN, "a", BODY), returned(RUN, "b", BODY))
AGAIN = Again(RetryPolicy(), 0, 0.0)
JOB = NewJob("shop", "report", BODY)
CONFIG = Config(
    1,
    [
        Function(
            FunctionId(n),
            "shop",
            FunctionConfig(f"f{n}", f"f{n}", FunctionKind.EVENT, (Trigger("paid"),)),
        )
        for n in range(10)
    ],
)


@pytest.mark.parametrize(
    ("given", "bytes"),
    [
        (Sent((JOB,)), 1_002),
        (StepSent(RUN, 1, STEP, (JOB,), SAVES), 3_006),
        (WaitOpened(RUN, 1, STEP, child=JOB, saves=SAVES), 3_006),
        (Parked(RUN, 1, 1, SAVES), 2_004),
        (RunReturned(RUN, 1, BODY, SAVES), 3_006),
        (RunFailed(RUN, 1, BODY, AGAIN, 1, SAVES), 4_008),
        (ChildEnded(RUN, "s", True, BODY), 1_002),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_body_that_is_written_counts(given: Input, bytes: int) -> None:
    assert weight(given, CONFIG, {})[1] == bytes


def test_an_event_weighs_what_its_runs_do() -> None:
    event = NewEvent("paid", b"{}")

    assert weight(Sent((event,)), CONFIG, {})[0] == 20
    assert weight(Expand(((1, event), (2, event)), at=0, last=0), CONFIG, {})[0] == 40


def test_a_hit_weighs_the_body_of_its_event_where_that_is_known() -> None:
    event = Event(EventId(9), "paid", BODY, 0)
    hit = EventHit(RUN, "s", EventId(9))

    assert weight(hit, CONFIG, {event.id: event})[1] == len(BODY)
    assert weight(hit, CONFIG, {})[1] == 0


def test_the_parts_of_a_large_send_do_not_all_go_into_one_batch(process: Process) -> None:
    process.submit(Sent((NewJob("shop", "report", b"{}"),) * 2_000))
    process.committer.step()

    process.committer.step()

    # Two of four.
    assert process.store.reader.counts()["item"] == 1_000


def test_what_follows_from_a_large_send_does_not_shut_the_door(process: Process) -> None:
    process.submit(Sent((NewJob("shop", "report", b"{}"),) * 12_000))
    process.committer.step()

    process.submit(Sent((JOB,)), is_door=True)
