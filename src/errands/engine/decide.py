"""The one door: which rule an input falls under, and what has to be loaded for it."""

from collections.abc import Callable, Sequence
from typing import Any

from errands.engine import (
    advance,
    cancel,
    external,
    ingest,
    input,
    lease,
    liveness,
    register,
    rerun,
    wait,
)
from errands.engine.config import Config
from errands.engine.decision import Decision
from errands.engine.state import State
from errands.engine.transition import Trimmed
from errands.model import call
from errands.model.event import EVENT_SCOPE, NewEvent
from errands.model.ids import EventId, RunId, WorkerId
from errands.model.job import KEY_SCOPE, NewJob
from errands.model.step import StepStatus
from errands.model.timer import TimerKind

Prepared = ingest.Prepared


class Needs:
    """What a batch has to load; dicts as ordered sets."""

    def __init__(self) -> None:
        self.items: dict[RunId, None] = {}
        self.steps: dict[tuple[RunId, str], None] = {}
        self.unseen: dict[RunId, None] = {}
        """Runs of which the steps are loaded whose results they have not seen."""
        self.runs: dict[RunId, None] = {}
        self.progress: dict[RunId, None] = {}
        self.events: dict[EventId, None] = {}
        self.ended: dict[RunId, None] = {}
        """Runs of which it is asked whether they are over."""
        self.dedup: dict[tuple[int, str], None] = {}
        self.waits: dict[int, None] = {}
        self.waits_after: dict[tuple[int, RunId, str], None] = {}
        self.lanes: dict[int, None] = {}
        self.workers: dict[WorkerId, None] = {}
        self.held_by: dict[WorkerId, None] = {}
        self.inbox: dict[int, None] = {}
        self.claim = 0
        self.finishing = 0
        """Leases that the batch may give back: so much more can be claimed."""

    def end(self, run: RunId) -> None:
        self.items[run] = None
        self.unseen[run] = None


def prepare(given: input.Input, config: Config, now: int) -> Prepared | None:
    """Match triggers, evaluate expressions and keys: pure, outside any lock."""
    items = SENDING_ITEMS.get(type(given))
    return None if items is None else ingest.prepare_items(items(given), config, now)


def needs(given: input.Input, prepared: Prepared | None, config: Config, into: Needs) -> None:
    """Add what this input touches."""
    NEEDS[type(given)](given, into)
    if prepared is not None:
        _needs_sent(given, prepared, into)
    elif type(given) in MAY_FAIL:
        into.lanes.update(dict.fromkeys(config.failure_handlers))
    elif isinstance(given, call.WaitOpened) and given.child is not None:
        into.runs[given.run] = None
        function = config.by_slug.get((given.child.app, given.child.function))
        if function is not None:
            into.lanes[function.id] = None


def _needs_sent(given: Any, prepared: Prepared, into: Needs) -> None:
    for item, matched in zip(SENDING_ITEMS[type(given)](given), prepared, strict=True):
        if matched is None:
            continue
        for function in matched.functions:
            into.lanes[function] = None
        for key in matched.keys:
            into.waits[key] = None
        if item.key is not None:
            is_event = not isinstance(item, NewJob)
            into.dedup[EVENT_SCOPE if is_event else matched.functions[0], item.key] = None


def _needs_follow_up(given: Any, into: Needs) -> None:
    if given.inbox:
        into.inbox[given.inbox] = None


def _needs_item(given: Any, into: Needs) -> None:
    into.items[given.run] = None


def _needs_step(given: Any, into: Needs) -> None:
    """The item and, where there may be one already, the step's row."""
    into.items[given.run] = None
    step = given.step
    if step.attempt or step.status == StepStatus.ABANDONED:
        into.steps[given.run, step.id] = None
    _needs_saves(given, into)


def _needs_step_sent(given: call.StepSent, into: Needs) -> None:
    _needs_step(given, into)
    into.runs[given.run] = None


def _needs_saves(given: Any, into: Needs) -> None:
    """Of the results that were held back, those whose step has a row: an attempt of it failed."""
    for step in given.saves:
        if step.attempt:
            into.steps[given.run, step.id] = None


def _needs_expand(given: input.Expand, into: Needs) -> None:
    _needs_follow_up(given, into)
    for id, item in given.items:
        if isinstance(item, NewJob):
            into.ended[RunId(id)] = None


def _needs_end(given: Any, into: Needs) -> None:
    into.end(given.run)
    into.finishing += 1


def _needs_failure(given: Any, into: Needs) -> None:
    _needs_end(given, into)
    into.runs[given.run] = None


def _needs_named_step(given: Any, into: Needs) -> None:
    into.items[given.run] = None
    into.steps[given.run, given.step] = None


def _needs_park(given: Any, into: Needs) -> None:
    if isinstance(given, call.Parked) or given.park:
        into.finishing += 1
        into.unseen[given.run] = None
    into.items[given.run] = None
    _needs_saves(given, into)


def _needs_timer(given: input.TimerDue, into: Needs) -> None:
    timer = given.timer
    into.items[timer.run] = None
    match timer.kind:
        case TimerKind.STEP:
            into.steps[timer.run, timer.step] = None
        case TimerKind.START:
            pass
        case TimerKind.START_BY | TimerKind.FINISH_BY:
            into.unseen[timer.run] = None
            into.runs[timer.run] = None


def _needs_hit(given: input.EventHit, into: Needs) -> None:
    _needs_follow_up(given, into)
    into.end(given.run)
    into.steps[given.run, given.step] = None
    into.events[given.event] = None


def _needs_page(given: input.WaitsLeft, into: Needs) -> None:
    _needs_follow_up(given, into)
    into.events[given.event] = None
    into.waits_after[given.match, given.run, given.step] = None


def _needs_child(given: input.ChildEnded, into: Needs) -> None:
    _needs_follow_up(given, into)
    _needs_named_step(given, into)


def _needs_poke(given: input.Poke, into: Needs) -> None:
    _needs_follow_up(given, into)
    _needs_item(given, into)


def _needs_cancel(given: input.CancelAsked, into: Needs) -> None:
    _needs_follow_up(given, into)
    _needs_end(given, into)
    into.runs[given.run] = None
    into.ended[given.run] = None


def _needs_job_made(given: input.JobMade, into: Needs) -> None:
    if given.key is not None:
        into.dedup[KEY_SCOPE, given.key] = None


def _needs_job_changed(given: input.JobChanged, into: Needs) -> None:
    into.items[given.run] = None
    into.runs[given.run] = None
    into.progress[given.run] = None


def _needs_rerun(given: input.Rerun, into: Needs) -> None:
    into.runs[given.run] = None
    into.lanes[given.function] = None
    if given.event is not None:
        into.events[given.event] = None


def _needs_undecidable(given: input.Undecidable, into: Needs) -> None:
    _needs_follow_up(given, into)
    _needs_failure(given, into)


def _needs_worker(given: Any, into: Needs) -> None:
    into.workers[given.worker] = None


def _needs_held(given: Any, into: Needs) -> None:
    into.workers[given.worker] = None
    into.held_by[given.worker] = None


def _needs_claim(given: input.Claim, into: Needs) -> None:
    into.claim = max(into.claim, given.limit)


def _needs_nothing(given: Any, into: Needs) -> None: ...


NEEDS: dict[type, Callable[[Any, Needs], None]] = {
    input.Sent: _needs_nothing,
    input.Expand: _needs_expand,
    input.Registered: _needs_nothing,
    input.Beat: _needs_worker,
    input.WorkerLeft: _needs_held,
    input.WorkerLost: _needs_held,
    input.Claim: _needs_claim,
    input.TimerDue: _needs_timer,
    input.JobMade: _needs_job_made,
    input.JobChanged: _needs_job_changed,
    input.Rerun: _needs_rerun,
    input.CancelAsked: _needs_cancel,
    input.EventHit: _needs_hit,
    input.WaitsLeft: _needs_page,
    input.ChildEnded: _needs_child,
    input.Poke: _needs_poke,
    input.Undecidable: _needs_undecidable,
    input.Trim: _needs_nothing,
    call.StepReturned: _needs_step,
    call.StepFailed: _needs_step,
    call.StepSent: _needs_step_sent,
    call.WaitOpened: _needs_park,
    call.StepTaken: _needs_named_step,
    call.Parked: _needs_park,
    call.Resumed: _needs_item,
    call.Released: _needs_item,
    call.RunReturned: _needs_end,
    call.RunFailed: _needs_failure,
    call.ProgressMade: _needs_item,
    call.Logged: _needs_nothing,
}


def _trim(given: input.Trim, state: State) -> Decision:
    gone = Trimmed(given.runs, given.events, given.dedup_before, given.workers_before)
    return Decision(call.KEPT, (gone,))


RULES: dict[type, Callable[[Any, State], Decision]] = {
    input.Registered: register.registered,
    input.Beat: liveness.beat,
    input.WorkerLeft: liveness.worker_left,
    input.WorkerLost: liveness.worker_lost,
    input.Claim: lease.claim,
    input.TimerDue: wait.timer_due,
    input.JobMade: external.job_made,
    input.JobChanged: external.job_changed,
    input.Rerun: rerun.rerun,
    input.CancelAsked: cancel.cancel_asked,
    input.EventHit: wait.event_hit,
    input.WaitsLeft: ingest.waits_left,
    input.ChildEnded: wait.child_ended,
    input.Poke: wait.poke,
    input.Undecidable: cancel.undecidable,
    input.Trim: _trim,
    call.StepReturned: advance.step_returned,
    call.StepFailed: advance.step_failed,
    call.WaitOpened: wait.wait_opened,
    call.StepTaken: wait.step_taken,
    call.Parked: wait.parked,
    call.Resumed: lease.resumed,
    call.Released: lease.released,
    call.RunReturned: advance.run_returned,
    call.RunFailed: advance.run_failed,
    call.ProgressMade: advance.progress_made,
    call.Logged: advance.logged,
}
SENDING_ITEMS: dict[type, Callable[[Any], Sequence[NewEvent | NewJob]]] = {
    input.Sent: lambda given: given.items,
    input.Expand: lambda given: [item for _, item in given.items],
    call.StepSent: lambda given: given.items,
}
SENDING: dict[type, Callable[[Any, State, Prepared], Decision]] = {
    input.Sent: ingest.sent,
    input.Expand: ingest.expand,
    call.StepSent: advance.step_sent,
}


FOLLOW_UPS = frozenset(
    (
        input.CancelAsked,
        input.EventHit,
        input.WaitsLeft,
        input.ChildEnded,
        input.Expand,
        input.Poke,
        input.Undecidable,
    )
)
MAY_FAIL = frozenset((call.RunFailed, input.WorkerLost, input.Undecidable))
"""After which a run may have failed for good, so that its failure handlers are started."""


def decide(given: input.Input, state: State, prepared: Prepared | None) -> Decision:
    """What follows from this input. Raises ErrandsError where the input itself is wrong."""
    inbox: int = given.inbox if type(given) in FOLLOW_UPS else 0  # type: ignore[union-attr] # pyright: ignore
    if inbox and inbox not in state.inbox:
        # Somebody else has decided it: a follow-up may be handed over in memory and read from the
        # inbox.
        return Decision(None)
    if prepared is not None:
        return SENDING[type(given)](given, state, prepared)
    return RULES[type(given)](given, state)
