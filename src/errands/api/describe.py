"""Rows of the store as the API tells them."""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import UNSET, Raw

from errands.api import schemas
from errands.api.schemas import HistoryLine, JobStatus, RunDetail, RunState, WaitingFor
from errands.model.event import Event
from errands.model.function import Function, FunctionKind
from errands.model.ids import id_time, public_id
from errands.model.job import JobView
from errands.model.run import Failure, LogLine, Moment, Record
from errands.model.step import Step, StepKind, StepStatus
from errands.store.interface import Reader, RunRow

STEP_KINDS = {
    StepKind.RUN: "run",
    StepKind.SLEEP: "sleep",
    StepKind.EVENT: "wait for event",
    StepKind.INVOKE: "invoke",
    StepKind.SEND: "send",
    StepKind.CANCEL: "listen for cancel",
}
WHATS = {
    Moment.PARKED: "parked",
    Moment.ATTEMPT_FAILED: "attempt failed",
    Moment.CRASHED: "crashed",
    Moment.RELEASED: "released",
    Moment.REPEATS: "repeats another run",
    Moment.REPEATED: "repeated by another run",
}
KINDS: dict[FunctionKind, schemas.Kind] = {
    FunctionKind.EVENT: "event",
    FunctionKind.JOB: "job",
    FunctionKind.FAILURE: "failure",
}
LEVELS = {10: "DEBUG", 20: "INFO", 30: "WARNING", 40: "ERROR", 50: "CRITICAL"}
_failure = msgspec.json.Decoder(Failure)
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


# -- jobs ------------------------------------------------------------------------------------------


def job_status(view: JobView) -> JobStatus:
    """What a browser is told; what there is not is left out."""
    return JobStatus(
        id=view.id,
        status=view.status,
        progress=UNSET if view.progress is None else view.progress,
        message=UNSET if view.message is None else view.message,
        result=UNSET if view.result is None else Raw(view.result),
        error=_error(view) or UNSET,
        created_at=view.created_at,
        updated_at=view.updated_at,
    )


def _error(view: JobView) -> str | None:
    if view.cancelled is not None:
        return f"cancelled: {view.cancelled}" if view.cancelled else "cancelled"
    return one_line(view.error)


def job_view(view: JobView, stamp: str) -> schemas.JobView:
    """All that a client needs to answer as if it were at the store itself."""
    return schemas.JobView(
        id=view.id,
        status=view.status,
        created_at=view.created_at,
        updated_at=view.updated_at,
        progress=view.progress,
        message=view.message,
        result=UNSET if view.result is None else Raw(view.result),
        error=UNSET if view.error is None else Raw(view.error),
        cancelled=view.cancelled,
        stamp=stamp,
    )


# -- runs ------------------------------------------------------------------------------------------


def run(row: RunRow, reader: Reader) -> schemas.Run:
    """What lists show of it."""
    return schemas.Run(**_run(row, reader))


def _run(row: RunRow, reader: Reader) -> dict[str, Any]:
    key = reader.key()
    state: RunState = "cancelled" if row.is_cancelled else row.status
    return {
        "id": public_id(row.id, key),
        "app": row.function.app,
        "function": row.function.config.slug,
        "status": state,
        "attempt": row.attempt,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "started_at": row.started_at,
        "ended_at": row.ended_at,
        "progress": row.percent,
        "message": row.note,
        "error": one_line(row.output) if state == "failed" else None,
        "cancelled": _decode(row.output or b'""') if row.is_cancelled else None,
        "parent": None if row.parent is None else public_id(row.parent, key),
        "tags": reader.labels(row.id),
    }


def run_detail(row: RunRow, reader: Reader) -> RunDetail:
    """All that is known of it."""
    steps = reader.steps(row.id)
    given = [run.input for run in reader.inputs([row.id])]
    event = None if row.event is None else next(iter(reader.events([row.event])), None)
    found = _run(row, reader)
    input = given[0] if given and given[0] is not None else event and event.data
    return RunDetail(
        **found,
        input=_raw(input),
        result=_raw(row.output) if row.status == "completed" else None,
        failure=_raw(row.output) if found["status"] == "failed" else None,
        event=event and schemas.EventOfRun(id=event_id(event, reader.key()), name=event.name),
        waiting_for=waiting_for(row, steps),
        steps=[step(one) for one in steps],
        history=history(row, steps, reader),
    )


def step(row: Step) -> schemas.Step:
    return schemas.Step(
        id=row.id,
        kind=STEP_KINDS[row.kind],
        status=row.status.name.lower(),
        attempt=row.attempt,
        started_at=row.started_at,
        finished_at=None if row.is_open else row.at,
        due_at=row.due if row.is_open else None,
        error=one_line(row.output) if _is_error(row) else None,
        result=_raw(row.output) if row.status == StepStatus.COMPLETED else None,
    )


def _is_error(step: Step) -> bool:
    return step.status in (StepStatus.FAILED, StepStatus.RETRYING)


def log_line(line: LogLine) -> schemas.LogLine:
    return schemas.LogLine(
        at=line.at,
        step=line.step,
        attempt=line.attempt,
        level=LEVELS.get(line.level, str(line.level)),
        text=line.text,
    )


# -- what a run waits for --------------------------------------------------------------------------


def waiting_for(row: RunRow, steps: Sequence[Step]) -> list[WaitingFor]:
    """What has to happen before it goes on; nothing while it executes, and when it is over."""
    if row.ended_at is not None:
        return []
    if row.due is not None:
        what = f"attempt {row.attempt}" if row.started_at is not None else "its start"
        return [WaitingFor(what=what, at=row.due)]
    if row.function.config.kind == FunctionKind.EXTERNAL:
        return [WaitingFor(what="an update of this job", at=None)]
    if row.status == "pending":
        return [WaitingFor(what="a worker that serves this function and has room", at=None)]
    if not row.is_parked:
        return []
    return [_waiting(step) for step in steps if step.is_open and step.kind != StepKind.CANCEL]


def _waiting(step: Step) -> WaitingFor:
    if step.status == StepStatus.RETRYING:
        what = f"attempt {step.attempt} of step {step.id!r}"
    else:
        what = {
            StepKind.SLEEP: f"the end of sleep {step.id!r}",
            StepKind.EVENT: f"the event of {step.id!r}",
            StepKind.INVOKE: f"the run that {step.id!r} has invoked",
        }.get(step.kind, f"step {step.id!r}")
    return WaitingFor(what=what, at=step.due)


# -- history ---------------------------------------------------------------------------------------


def history(row: RunRow, steps: Sequence[Step], reader: Reader) -> list[HistoryLine]:
    """All that happened to the run, in order of time.

    Only what no other row tells is kept as history; the rest is told by the run, its steps and its
    outcome.
    """
    key = reader.key()
    told = [(0, HistoryLine(at=row.created_at, what="created"))]
    if row.started_at is not None:
        told.append((1, HistoryLine(at=row.started_at, what="started")))
    told += [(2, _step_ended(step)) for step in steps if not step.is_open]
    told += [(2, _wait_began(step)) for step in steps if _is_wait(step)]
    told += [(3, _moment(record, key)) for record in reader.history(row.id)]
    if row.ended_at is not None:
        told.append((4, _outcome(row, row.ended_at)))
    return [line for _, line in sorted(told, key=lambda one: (one[1].at, one[0]))]


def _is_wait(step: Step) -> bool:
    return step.kind in (StepKind.SLEEP, StepKind.EVENT, StepKind.INVOKE)


def _wait_began(step: Step) -> HistoryLine:
    return HistoryLine(at=step.started_at, what="waits", step=step.id, kind=STEP_KINDS[step.kind])


def _step_ended(step: Step) -> HistoryLine:
    return HistoryLine(
        at=step.at,
        what=f"step {step.status.name.lower()}",
        step=step.id,
        kind=STEP_KINDS[step.kind],
        attempt=step.attempt,
        error=one_line(step.output) if _is_error(step) else UNSET,
    )


def _moment(record: Record, key: bytes) -> HistoryLine:
    at, what = record.at, WHATS[record.moment]
    if record.moment == Moment.RELEASED:
        return HistoryLine(at=at, what=what, why=record.data.decode())
    data = _decode(record.data)
    if record.moment in (Moment.REPEATS, Moment.REPEATED):
        return HistoryLine(at=at, what=what, run=data["run"])
    if record.moment == Moment.ATTEMPT_FAILED:
        return HistoryLine(
            at=at,
            what=what,
            step=data.get("step", UNSET),
            attempt=data.get("attempt", UNSET),
            error=one_line(_encode(data["error"])),
        )
    return HistoryLine(
        at=at,
        what=what,
        worker=public_id(data["worker"], key),
        leased_at=data["leased_at"],
        why=data.get("why", UNSET),
    )


def _outcome(row: RunRow, at: int) -> HistoryLine:
    if row.is_cancelled:
        return HistoryLine(at=at, what="cancelled", why=_decode(row.output or b'""'))
    if row.status == "failed":
        return HistoryLine(at=at, what="failed", error=one_line(row.output))
    return HistoryLine(at=at, what="completed")


# -- events and functions --------------------------------------------------------------------------


def event_id(event: Event, key: bytes) -> str:
    """The sender's own, else a ULID."""
    return event.key or public_id(event.id, key)


def event(event: Event, key: bytes) -> schemas.Event:
    return schemas.Event(**_event(event, key))


def _event(event: Event, key: bytes) -> dict[str, Any]:
    return {
        "id": event_id(event, key),
        "name": event.name,
        "data": Raw(event.data),
        "ts": event.at,
        "received_at": id_time(event.id),
        "user": UNSET if event.user is None else Raw(event.user),
        "v": UNSET if event.v is None else event.v,
    }


def event_detail(event: Event, runs: Sequence[RunRow], reader: Reader) -> schemas.EventDetail:
    return schemas.EventDetail(
        **_event(event, reader.key()),
        runs=[run(row, reader) for row in runs],
    )


def function(function: Function) -> schemas.Function:
    config = function.config
    return schemas.Function(
        id=f"{function.app}/{config.slug}",
        app=function.app,
        slug=config.slug,
        name=config.name,
        kind=KINDS[config.kind],
        triggers=[
            schemas.Trigger(event=one.event, condition=one.condition) for one in config.triggers
        ],
        retries=msgspec.convert(config.retries, schemas.Retries, from_attributes=True),
        start_timeout_ms=config.start_timeout_ms,
        finish_timeout_ms=config.finish_timeout_ms,
        cancel=[
            msgspec.convert(one, schemas.CancelOn, from_attributes=True) for one in config.cancel
        ],
        on_failure=list(config.on_failure),
        retired=function.retired,
    )


# -- values ----------------------------------------------------------------------------------------


def one_line(failure: bytes | None) -> str | None:
    """ "CardDeclined: no funds"."""
    if failure is None:
        return None
    read = _failure.decode(failure)
    return f"{read.name}: {read.message}" if read.message else read.name


def _raw(data: bytes | None) -> Raw | None:
    return None if data is None else Raw(data)
