"""A run once more, and what does not come twice."""

import msgspec
import pytest
from msgspec.structs import replace

from errands.engine.input import Rerun
from errands.model.errors import JobNotFound, NotRepeatable
from errands.model.event import Event
from errands.model.function import CancelOn, Function, FunctionConfig, FunctionKind
from errands.model.ids import EventId, FunctionId, RunId, public_id
from errands.model.item import Item, Place
from errands.model.run import Label, Moment, Run
from errands.model.step import StepKind
from tests.engine.batch import KEY, NOW, REPORT, WELCOME, Batch
from tests.engine.test_external import RESERVED

TOLD = Function(FunctionId(3), "shop", FunctionConfig("told", "told", FunctionKind.FAILURE))
EVENT = Event(EventId(50), "user/signed.up", b'{"id":7}', NOW - 9)
JOB_RUN = Run(RunId(10), REPORT.id, input=b'{"a":1}', retries=b'{"count":1}', trace="00-aa-bb-01")
EVENT_RUN = Run(RunId(11), WELCOME.id, EVENT.id)


@pytest.fixture
def batch() -> Batch:
    batch = Batch(WELCOME, REPORT, TOLD, RESERVED, room=1)
    batch.state.events[EVENT.id] = EVENT
    for run in (JOB_RUN, EVENT_RUN):
        batch.state.runs[run.id] = run
    return batch


def ask(run: Run, **fields: object) -> Rerun:
    return Rerun(run.id, run.function, run.event, **fields)  # type: ignore[arg-type]


def new(batch: Batch) -> tuple[Run, Item]:
    (run,) = batch.state.new_runs
    return run, batch.item_now(run.id)


def test_a_job_runs_again_with_its_input_its_retries_and_its_tags(batch: Batch) -> None:
    answer = batch.decide(ask(JOB_RUN, tags=("team=a",))).answer

    run, item = new(batch)
    assert run == replace(JOB_RUN, id=answer, trace=None)
    assert batch.state.labels == [Label("team=a", answer)]
    assert item.place == Place.RUNNING


def test_an_event_s_run_runs_again_with_that_event_and_starts_no_other(batch: Batch) -> None:
    batch.decide(ask(EVENT_RUN, trace="00-cc-dd-01"))

    run, _ = new(batch)
    assert (run.function, run.event, run.trace) == (WELCOME.id, EVENT.id, "00-cc-dd-01")


def test_a_child_runs_again_without_a_parent_that_would_be_told(batch: Batch) -> None:
    child = replace(JOB_RUN, id=RunId(12), parent=RunId(1), parent_step="invoke")
    batch.state.runs[child.id] = child

    batch.decide(ask(child))

    run, item = new(batch)
    assert (run.parent, run.parent_step) == (None, None)
    assert (item.parent, item.parent_step) == (None, None)


def test_both_histories_tell_of_the_other_run(batch: Batch) -> None:
    answer = batch.decide(ask(JOB_RUN)).answer

    told = {
        (record.run, record.moment): msgspec.json.decode(record.data)
        for record in batch.state.records
    }
    assert told == {
        (answer, Moment.REPEATS): {"run": public_id(JOB_RUN.id, KEY)},
        (JOB_RUN.id, Moment.REPEATED): {"run": public_id(answer, KEY)},
    }


@pytest.mark.parametrize("run", [JOB_RUN, EVENT_RUN], ids=["job", "event"])
def test_it_can_be_cancelled_by_the_events_that_cancel_the_first(run: Run) -> None:
    path = "data.a" if run is JOB_RUN else "data.id"
    functions = [
        replace(f, config=replace(f.config, cancel=(CancelOn("stop", match=path),)))
        for f in (WELCOME, REPORT)
    ]
    batch = Batch(*functions)
    batch.state.events[EVENT.id] = EVENT
    batch.state.runs[run.id] = run

    answer = batch.decide(ask(run)).answer

    assert [(step.run, step.kind) for step in batch.state.steps.inserted()] == [
        (answer, StepKind.CANCEL)
    ]


@pytest.mark.parametrize(
    ("run", "why"),
    [
        (Run(RunId(20), RESERVED.id, input=b"{}"), "external job"),
        (Run(RunId(20), TOLD.id, input=b"{}", parent=JOB_RUN.id), public_id(JOB_RUN.id, KEY)),
        (Run(RunId(20), WELCOME.id, EventId(99)), "its event is past its retention"),
    ],
    ids=["external", "failure handler", "event gone"],
)
def test_what_cannot_be_repeated_says_why(batch: Batch, run: Run, why: str) -> None:
    batch.state.runs[run.id] = run

    with pytest.raises(NotRepeatable, match=why):
        batch.decide(ask(run))
    assert batch.state.new_runs == []


def test_a_run_of_a_retired_function_is_not_repeated() -> None:
    batch = Batch(replace(REPORT, retired=True))
    batch.state.runs[JOB_RUN.id] = JOB_RUN

    with pytest.raises(NotRepeatable, match="'shop/report' is retired"):
        batch.decide(ask(JOB_RUN))


def test_an_unknown_run_is_not_repeated(batch: Batch) -> None:
    with pytest.raises(JobNotFound):
        batch.decide(Rerun(RunId(77), REPORT.id, None))
