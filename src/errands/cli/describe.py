"""A run in words and numbers, as `errands runs` shows it. Times are Unix ms."""

from typing import Any

import msgspec

from errands.cli.output import clock_time
from errands.model.ids import EventId, RunId, public_id
from errands.model.run import Failure, Moment, Record
from errands.model.step import Step, StepKind, StepStatus
from errands.store.interface import Reader, RunRow

KINDS = {
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
}
LEVELS = {10: "DEBUG", 20: "INFO", 30: "WARNING", 40: "ERROR", 50: "CRITICAL"}
PAGE = 1_000
_failure = msgspec.json.Decoder(Failure)


def describe(row: RunRow, reader: Reader) -> dict[str, Any]:
    """What lists show of a run."""
    key = reader.key()
    failed = row.status == "failed" and not row.is_cancelled
    return {
        "id": public_id(row.id, key),
        "app": row.function.app,
        "function": row.function.config.slug,
        "status": row.status,
        "attempt": row.attempt,
        "createdAt": row.created_at,
        "updatedAt": row.updated_at,
        "startedAt": row.started_at,
        "endedAt": row.ended_at,
        "progress": row.percent,
        "message": row.note,
        "error": one_line(row.output) if failed else None,
        "cancelled": _json(row.output) if row.is_cancelled else None,
        "parent": public_id(row.parent, key) if row.parent is not None else None,
        "tags": reader.labels(row.id),
    }


def describe_fully(row: RunRow, reader: Reader, *, with_logs: bool) -> dict[str, Any]:
    """All that is known of a run."""
    steps = reader.steps(row.id)
    (run,) = reader.inputs([row.id])
    event = _event(row.event, reader)
    told = describe(row, reader)
    failed = told["error"] is not None
    told |= {
        "input": _json(run.input) if run.input is not None else event and event.pop("data"),
        "result": _json(row.output) if row.status == "completed" else None,
        "failure": _json(row.output) if failed else None,
        "event": event and {"id": event["id"], "name": event["name"]},
        "waitingFor": waiting_for(row, steps),
        "steps": [_step(step) for step in steps],
        "history": history(row, steps, reader),
    }
    if with_logs:
        told["logs"] = _logs(row.id, reader)
    return told


def _event(id: EventId | None, reader: Reader) -> dict[str, Any] | None:
    for event in reader.events([id]) if id is not None else ():
        shown = event.key or public_id(event.id, reader.key())
        return {"id": shown, "name": event.name, "data": _json(event.data)}
    return None


def _step(step: Step) -> dict[str, Any]:
    return {
        "id": step.id,
        "kind": KINDS[step.kind],
        "status": step.status.name.lower(),
        "attempt": step.attempt,
        "startedAt": step.started_at,
        "finishedAt": None if step.is_open else step.at,
        "dueAt": step.due if step.is_open else None,
        "error": one_line(step.output) if _is_error(step) else None,
        "result": _json(step.output) if step.status == StepStatus.COMPLETED else None,
    }


def _is_error(step: Step) -> bool:
    return step.status in (StepStatus.FAILED, StepStatus.RETRYING)


# -- what it waits for -----------------------------------------------------------------------------


def waiting_for(row: RunRow, steps: list[Step]) -> str | None:
    """What has to happen before the run goes on; None while it executes, and when it is over."""
    if row.ended_at is not None:
        return None
    if row.due is not None:
        what = f"attempt {row.attempt}" if row.started_at is not None else "its start"
        return f"{what}, at {clock_time(row.due)}"
    if row.status == "pending":
        return "a worker that serves this function and has room"
    open_steps = [step for step in steps if step.is_open and step.kind != StepKind.CANCEL]
    return "; ".join(map(_step_waits, open_steps)) if row.is_parked and open_steps else None


def _step_waits(step: Step) -> str:
    until = f" until {clock_time(step.due)}" if step.due is not None else ""
    if step.status == StepStatus.RETRYING:
        return f"attempt {step.attempt} of step {step.id!r}, at {clock_time(step.due)}"
    match step.kind:
        case StepKind.SLEEP:
            return f"the end of sleep {step.id!r}, at {clock_time(step.due)}"
        case StepKind.EVENT:
            return f"the event of {step.id!r}{until}"
        case StepKind.INVOKE:
            return f"the run that {step.id!r} has invoked{until}"
        case _:
            return f"step {step.id!r}{until}"


# -- history ---------------------------------------------------------------------------------------


def history(row: RunRow, steps: list[Step], reader: Reader) -> list[dict[str, Any]]:
    """All that happened to the run, in order of time.

    Only what no other row tells is kept as history; the rest is told by the run, its steps and its
    outcome.
    """
    told: list[tuple[int, int, dict[str, Any]]] = [
        (row.created_at, 0, {"what": "created"}),
    ]
    if row.started_at is not None:
        told.append((row.started_at, 1, {"what": "started"}))
    told += [(step.at, 2, _step_ended(step)) for step in steps if not step.is_open]
    told += [(step.started_at, 2, _wait_began(step)) for step in steps if _is_wait(step)]
    told += [(record.at, 3, _moment(record, reader.key())) for record in reader.history(row.id)]
    if row.ended_at is not None:
        told.append((row.ended_at, 4, _outcome(row)))
    told.sort(key=lambda one: one[:2])
    return [{"at": at, **what} for at, _, what in told]


def _is_wait(step: Step) -> bool:
    return step.kind in (StepKind.SLEEP, StepKind.EVENT, StepKind.INVOKE)


def _wait_began(step: Step) -> dict[str, Any]:
    return {"what": "waits", "step": step.id, "kind": KINDS[step.kind]}


def _step_ended(step: Step) -> dict[str, Any]:
    told: dict[str, Any] = {
        "what": f"step {step.status.name.lower()}",
        "step": step.id,
        "kind": KINDS[step.kind],
        "attempt": step.attempt,
    }
    return told | {"error": one_line(step.output)} if _is_error(step) else told


def _moment(record: Record, key: bytes) -> dict[str, Any]:
    told: dict[str, Any] = {"what": WHATS[record.moment]}
    if record.moment == Moment.RELEASED:
        return told | {"why": record.data.decode()}
    data: dict[str, Any] = msgspec.json.decode(record.data)
    if record.moment == Moment.ATTEMPT_FAILED:
        told |= {k: data[k] for k in ("step", "attempt") if k in data}
        return told | {"error": one_line(msgspec.json.encode(data["error"]))}
    told["worker"] = public_id(data["worker"], key)
    told["leasedAt"] = data["leased_at"]
    return told | ({"why": data["why"]} if "why" in data else {})


def _outcome(row: RunRow) -> dict[str, Any]:
    if row.is_cancelled:
        return {"what": "cancelled", "why": _json(row.output)}
    if row.status == "failed":
        return {"what": "failed", "error": one_line(row.output)}
    return {"what": "completed"}


def _logs(run: RunId, reader: Reader) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after = 0
    while page := reader.logs(run, after, PAGE):
        found += [
            {
                "at": line.at,
                "step": line.step,
                "attempt": line.attempt,
                "level": LEVELS.get(line.level, str(line.level)),
                "text": line.text,
            }
            for line in page
        ]
        after = page[-1].id
    return found


# -- values ----------------------------------------------------------------------------------------


def one_line(failure: bytes | None) -> str | None:
    """ "CardDeclined: no funds"."""
    if failure is None:
        return None
    read = _failure.decode(failure)
    return f"{read.name}: {read.message}" if read.message else read.name


def _json(data: bytes | None) -> Any:
    return None if data is None else msgspec.json.decode(data)
