"""What an executing run reports: steps, attempts that failed, its end."""

import msgspec
from msgspec.structs import replace

from errands.engine.decision import Decision, holder
from errands.engine.finish import end_run
from errands.engine.ingest import Prepared, accept, trace_of
from errands.engine.retry import next_attempt_at
from errands.engine.state import State
from errands.engine.transition import (
    ItemMoved,
    LogsKept,
    ProgressKept,
    Recorded,
    StepSaved,
    Transition,
)
from errands.model.call import (
    KEPT,
    LEASE_LOST,
    RUN_IS_OVER,
    Logged,
    ProgressMade,
    Refused,
    Retry,
    RunFailed,
    RunReturned,
    StepFailed,
    StepReturned,
    StepSent,
)
from errands.model.ids import public_id
from errands.model.item import Item, Place
from errands.model.run import Moment, Progress, Record, RunStatus
from errands.model.step import Step, StepStatus

_encode = msgspec.json.Encoder().encode


def step_returned(report: StepReturned, state: State) -> Decision:
    """Keep a step's result, unless the run has gone on without it."""
    item = holder(state, report.run, report.fence)
    if isinstance(item, Refused):
        return Decision(item)
    if _is_past(report.step, state):
        return Decision(KEPT)
    transitions: list[Transition] = [StepSaved(saved) for saved in report.saves]
    transitions.append(StepSaved(replace(report.step, at=state.now)))
    return Decision(KEPT, transitions + _got_on(item))


def _is_past(reported: Step, state: State) -> bool:
    """Does this report come a second time? Then it changes nothing.

    Where nothing was loaded it is a step's first report, or the store refuses the second row.
    """
    step = state.steps.get((reported.run, reported.id))
    if step is None or reported.status == StepStatus.ABANDONED:
        return False
    return not step.is_open or step.attempt > reported.attempt


def _got_on(item: Item) -> list[Transition]:
    # It has done something since the crash, so it is not what crashed the worker.
    return [ItemMoved(replace(item, crashes=0))] if item.crashes else []


def step_failed(report: StepFailed, state: State) -> Decision:
    """Try the step again later, or keep that it has failed."""
    item = holder(state, report.run, report.fence)
    if isinstance(item, Refused):
        return Decision(item)
    if _is_past(report.step, state):
        return Decision(KEPT)
    transitions: list[Transition] = [StepSaved(saved) for saved in report.saves]
    due = next_attempt_at(report.again, state.now, state.here.cut_ms)
    step = replace(report.step, at=state.now, output=report.failure)
    if due is None:
        transitions.append(StepSaved(replace(step, status=StepStatus.FAILED)))
        return Decision(KEPT, transitions + _got_on(item))
    told = _encode({"step": step.id, "attempt": step.attempt, "error": msgspec.Raw(report.failure)})
    later = replace(step, status=StepStatus.RETRYING, seq=None, due=due, attempt=step.attempt + 1)
    record = Record(item.run, state.new_id(), state.now, Moment.ATTEMPT_FAILED, told)
    transitions += [StepSaved(later), Recorded(record)]
    return Decision(Retry(due), transitions + _got_on(item))


def step_sent(report: StepSent, state: State, prepared: Prepared) -> Decision:
    """Send, and keep the ids as the step's result: both or neither."""
    item = holder(state, report.run, report.fence)
    if isinstance(item, Refused):
        return Decision(item)
    if _is_past(report.step, state):
        past = state.steps.get((report.run, report.step.id))
        output = past.output if past is not None else None
        return Decision(tuple(msgspec.json.decode(output or b"[]", type=list[str])))
    items, trace = report.items, trace_of(report.run, state)
    if trace is not None:
        items = tuple(replace(one, trace=one.trace or trace) for one in items)
    decision = accept(items, state, prepared)
    ids = [
        key or public_id(id, state.here.key)
        for id, key in zip(decision.answer.ids, decision.answer.keys, strict=True)
    ]
    step = replace(report.step, at=state.now, output=_encode(ids))
    saves: list[Transition] = [StepSaved(saved) for saved in report.saves]
    return Decision(tuple(ids), [*decision.transitions, *saves, StepSaved(step), *_got_on(item)])


def run_returned(report: RunReturned, state: State) -> Decision:
    item = holder(state, report.run, report.fence)
    if isinstance(item, Refused):
        return Decision(item)
    ended = end_run(item, state, RunStatus.COMPLETED, report.output)
    if report.saves:
        return Decision(KEPT, [StepSaved(saved) for saved in report.saves] + ended)
    return Decision(KEPT, ended)


def run_failed(report: RunFailed, state: State) -> Decision:
    """Execute the run again later, over what it has kept; or end it."""
    item = holder(state, report.run, report.fence)
    if isinstance(item, Refused):
        return Decision(item)
    saves: list[Transition] = [StepSaved(saved) for saved in report.saves]
    due = next_attempt_at(report.again, state.now, state.here.cut_ms)
    if due is None:
        return Decision(KEPT, saves + end_run(item, state, RunStatus.FAILED, report.failure))
    told = _encode({"attempt": item.attempt, "error": msgspec.Raw(report.failure)})
    later = replace(
        item,
        place=Place.PARKED,
        updated_at=state.now,
        attempt=item.attempt + 1,
        crashes=0,
        seq=report.seq,
        due=due,
        worker=None,
        leased_at=None,
    )
    record = Record(item.run, state.new_id(), state.now, Moment.ATTEMPT_FAILED, told)
    return Decision(Retry(due), [*saves, ItemMoved(later), Recorded(record)])


def progress_made(report: ProgressMade, state: State) -> Decision:
    item = state.items.get(report.run)
    if item is None or item.fence != report.fence:
        return Decision(RUN_IS_OVER if item is None else LEASE_LOST)
    progress = Progress(report.run, report.percent, report.note, state.now)
    return Decision(KEPT, (ProgressKept(progress),))


def logged(report: Logged, state: State) -> Decision:
    return Decision(KEPT, (LogsKept(report.lines),))
