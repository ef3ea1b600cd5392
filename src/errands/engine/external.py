"""External jobs: runs whose work user code does itself. Their item is parked for good and never
executed; what user code says of them moves it on, and in the end ends it.

A job that nobody has updated for as long as it is to be kept has been forgotten: it fails.
"""

import msgspec
from msgspec.structs import replace

from errands.engine.decision import Decision
from errands.engine.finish import end_run
from errands.engine.input import JobChanged, JobMade
from errands.engine.state import State
from errands.engine.transition import (
    Deduplicated,
    ItemMoved,
    ProgressKept,
    RunCreated,
    Transition,
)
from errands.model.call import KEPT, Made
from errands.model.duration import format_ms
from errands.model.errors import JobIsOver, JobNotFound, NotExternal
from errands.model.function import EXTERNAL
from errands.model.ids import RunId
from errands.model.item import Item, Place
from errands.model.job import KEY_SCOPE, ExternalJob
from errands.model.run import Failure, Progress, Run, RunStatus

FOR_EVER = (1 << 63) - 1
NULL = b"null"
_encode = msgspec.json.Encoder().encode
_asked = msgspec.json.Decoder(ExternalJob).decode


def job_made(input: JobMade, state: State) -> Decision:
    """A new job; or the one that has this key, as long as that is kept."""
    if input.key is not None:
        found = state.dedup.get((KEY_SCOPE, input.key))
        if found is not None and found[1] > state.now:
            return Decision(Made(RunId(found[0]), is_new=False))
    asked = ExternalJob(input.keep_ms, input.key)
    run = Run(RunId(state.new_id()), EXTERNAL, input=_encode(asked))
    finish_by = state.after(input.keep_ms)
    item = Item(run.id, EXTERNAL, Place.PARKED, state.now, finish_by=finish_by)
    transitions: list[Transition] = [RunCreated(run), ItemMoved(item)]
    if input.key is not None:
        # Until it is over, and then for as long as it is kept: see `finish`.
        transitions.append(Deduplicated(KEY_SCOPE, input.key, run.id, FOR_EVER))
    return Decision(Made(run.id, is_new=True), transitions)


def job_changed(input: JobChanged, state: State) -> Decision:
    """Raises JobNotFound, NotExternal, JobIsOver."""
    run = state.runs.get(input.run)
    if run is None:
        raise JobNotFound(input.job)
    if run.function != EXTERNAL:
        function = state.function(run)
        raise NotExternal(input.job, f"{function.app}/{function.config.slug}")
    item = state.items.get(input.run)
    if item is None:
        raise JobIsOver(input.job)
    transitions = _said(input, state)
    match input.status:
        case "completed" | "failed":
            ok = input.status == "completed"
            status = RunStatus.COMPLETED if ok else RunStatus.FAILED
            return Decision(KEPT, transitions + end_run(item, state, status, input.output or NULL))
        case "processing":
            started_at = state.now if item.started_at is None else item.started_at
        case "pending":
            started_at = None
        case None:
            started_at = item.started_at
    finish_by = state.after(_asked(run.input or b"{}").keep_ms)
    moved = replace(item, updated_at=state.now, started_at=started_at, finish_by=finish_by)
    return Decision(KEPT, [*transitions, ItemMoved(moved)])


def _said(input: JobChanged, state: State) -> list[Transition]:
    """What it says now of its progress, with what it said before of the rest."""
    if input.percent is None and input.note is None:
        return []
    before = state.progress.get(input.run) or state.said.get(input.run)
    percent = input.percent if before is None or input.percent is not None else before.percent
    note = input.note if before is None or input.note is not None else before.note
    return [ProgressKept(Progress(input.run, percent, note, state.now))]


def given_up(item: Item, state: State) -> list[Transition]:
    """Nobody has updated it for as long as it is kept: whoever waits for it is told so."""
    keep_ms = _asked(state.runs[item.run].input or b"{}").keep_ms
    failure = Failure(
        "NotUpdated",
        f"Nobody has updated this job for {format_ms(keep_ms)}, so its work is taken for lost. "
        "Update a job while you work on it, or create it with a longer `keep`.",
        bases=("NotUpdated", "ErrandsError"),
        code="not_updated",
    )
    return end_run(item, state, RunStatus.FAILED, _encode(failure))
