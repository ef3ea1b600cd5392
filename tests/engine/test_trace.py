"""A trace goes from what was sent to each run that it starts, and on from there."""

import pytest
from msgspec.structs import replace

from errands.engine.input import Expand, Sent
from errands.engine.transition import FollowUpQueued
from errands.model.call import Again, RunFailed, StepSent, WaitOpened
from errands.model.event import NewEvent
from errands.model.function import Function, FunctionConfig, FunctionKind, RetryPolicy
from errands.model.ids import FunctionId
from errands.model.job import NewJob
from errands.model.run import Run
from errands.model.step import Step, StepKind, StepStatus
from tests.engine.batch import REPORT, WELCOME, Batch

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
OTHER = "00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-bbbbbbbbbbbbbbbb-01"
EVENT = NewEvent("user/signed.up", b"{}", trace=TRACE)
JOB = NewJob("shop", "report", b"{}", trace=TRACE)
TOLD = Function(FunctionId(3), "shop", FunctionConfig("told", "told", FunctionKind.FAILURE))
DOOMED = replace(REPORT, config=replace(REPORT.config, on_failure=("told",)))


@pytest.fixture
def batch() -> Batch:
    """In which run 10 of the job was started with that trace."""
    batch = Batch(WELCOME, DOOMED, TOLD)
    item = batch.item()
    batch.state.runs[item.run] = Run(item.run, DOOMED.id, trace=TRACE)
    return batch


def traces(batch: Batch) -> list[str | None]:
    return [run.trace for run in batch.state.new_runs]


@pytest.mark.parametrize("item", [EVENT, JOB], ids=["event", "job"])
def test_what_is_sent_gives_its_runs_its_trace(batch: Batch, item: NewEvent | NewJob) -> None:
    batch.decide(Sent((item,)))

    assert traces(batch) == [TRACE]


def test_what_is_sent_without_a_trace_gives_none(batch: Batch) -> None:
    batch.decide(Sent((replace(EVENT, trace=None), replace(JOB, trace=None))))

    assert traces(batch) == [None, None]


def test_the_runs_of_a_large_send_have_its_traces(batch: Batch) -> None:
    decision = batch.decide(Sent((EVENT,) * 501))
    chunks = [one.follow_up for one in decision.transitions if isinstance(one, FollowUpQueued)]

    for n, chunk in enumerate(chunks):
        assert isinstance(chunk, Expand)
        batch.state.inbox[n + 1] = None
        batch.decide(replace(chunk, inbox=n + 1))

    assert traces(batch) == [TRACE] * 501


def test_what_a_step_sends_goes_on_with_the_trace_of_its_run(batch: Batch) -> None:
    step = Step(batch.item_now().run, "send", StepKind.SEND, StepStatus.COMPLETED, seq=0)
    items = (replace(EVENT, trace=None), replace(JOB, trace=OTHER))

    batch.decide(StepSent(step.run, 3, step, items))

    assert traces(batch) == [TRACE, OTHER]


def test_an_invoked_run_goes_on_with_the_trace_of_its_parent(batch: Batch) -> None:
    step = Step(batch.item_now().run, "call", StepKind.INVOKE, StepStatus.WAITING)

    batch.decide(WaitOpened(step.run, 3, step, child=replace(JOB, trace=None)))

    assert traces(batch) == [TRACE]


def test_a_failure_handler_goes_on_with_the_trace_of_the_run_that_failed(batch: Batch) -> None:
    again = Again(RetryPolicy(), attempt=0, jitter=0.0, is_final=True)

    batch.decide(RunFailed(batch.item_now().run, 3, b'{"name":"E","message":""}', again, seq=0))

    assert traces(batch) == [TRACE]
