"""The end of a run: one final outcome, and everybody who waits for it told."""

from typing import Any

import msgspec
from msgspec.structs import replace

from errands.engine.ingest import new_run
from errands.engine.input import ChildEnded
from errands.engine.state import State
from errands.engine.transition import (
    Deduplicated,
    FollowUpQueued,
    RunFinished,
    StepSaved,
    Transition,
)
from errands.model.function import EXTERNAL
from errands.model.ids import RunId, public_id
from errands.model.item import Item
from errands.model.job import KEY_SCOPE, ExternalJob
from errands.model.run import Done, Failure, Run, RunStatus
from errands.model.step import UNORDERED, StepStatus

_encode = msgspec.json.Encoder().encode


def end_run(item: Item, state: State, status: RunStatus, output: bytes) -> list[Transition]:
    """What follows from the outcome: open steps abandoned, the parent told, failure handlers
    started.
    """
    keep_until = state.now + state.here.keep_ms
    transitions: list[Transition] = []
    if item.function == EXTERNAL:
        keep_until, transitions = _kept_as_it_asked(item, state)
    transitions += [
        StepSaved(replace(step, status=StepStatus.ABANDONED, seq=UNORDERED, due=None))
        if step.is_open
        else StepSaved(replace(step, seq=UNORDERED))
        for step in state.unseen_steps(item.run)
    ]
    transitions.append(
        RunFinished(
            Done(
                run=item.run,
                function=item.function,
                status=status,
                at=state.now,
                keep_until=keep_until,
                output=output,
                attempt=item.attempt,
                started_at=item.started_at,
                worker=item.worker,
            )
        )
    )
    if item.parent is not None and item.parent_step is not None:
        told = _told_parent(status, output)
        ended = ChildEnded(item.parent, item.parent_step, status == RunStatus.COMPLETED, told)
        transitions.append(FollowUpQueued(ended, state.here.worker))
    if status == RunStatus.FAILED:
        transitions += _failure_runs(item, state, output)
    return transitions


def _kept_as_it_asked(item: Item, state: State) -> tuple[int, list[Transition]]:
    """An external job says itself how long it is kept; so long its key stands for it."""
    run = state.runs[item.run]
    asked = msgspec.json.decode(run.input or b"{}", type=ExternalJob)
    keep_until = state.after(asked.keep_ms)
    if asked.key is None:
        return keep_until, []
    return keep_until, [Deduplicated(KEY_SCOPE, asked.key, run.id, keep_until)]


def _told_parent(status: RunStatus, output: bytes) -> bytes:
    if status != RunStatus.CANCELLED:
        return output
    reason = msgspec.json.decode(output, type=str)
    return _encode(Failure("JobCancelled", reason, bases=("JobCancelled", "ErrandsError")))


def _failure_runs(item: Item, state: State, output: bytes) -> list[Transition]:
    function = state.function(item)
    run = state.runs.get(item.run)
    if run is None or not function.config.on_failure:
        return []
    told: dict[str, Any] = msgspec.json.decode(output)
    told["run_id"] = public_id(item.run, state.here.key)
    told["function_id"] = f"{function.app}/{function.config.slug}"
    told["failed_at"] = state.now
    transitions: list[Transition] = []
    for slug in function.config.on_failure:
        handler = state.config.by_slug.get((function.app, slug))
        if handler is not None:
            id = RunId(state.new_id())
            started = Run(
                id, handler.id, run.event, _encode(told), parent=item.run, trace=run.trace
            )
            transitions += new_run(started, handler, state)
    return transitions
