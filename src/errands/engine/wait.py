"""Durable waits: opened, resolved, timed out; the run parked and woken."""

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from errands.engine import match
from errands.engine.cancel import cancel_run
from errands.engine.decision import Decision, holder
from errands.engine.external import given_up
from errands.engine.ingest import known_slugs, new_run, open_wait, trace_of
from errands.engine.input import ChildEnded, EventHit, Poke, TimerDue
from errands.engine.lease import woken
from errands.engine.state import State
from errands.engine.transition import (
    FollowUpDone,
    FollowUpMoved,
    FollowUpQueued,
    ItemMoved,
    Poked,
    Recorded,
    ShapeKept,
    StepSaved,
    TimerForgotten,
    Transition,
)
from errands.model.call import (
    KEPT,
    NOT_IDLE,
    NOT_KNOWN,
    Opened,
    Parked,
    Refused,
    StepTaken,
    WaitOpened,
)
from errands.model.errors import FunctionNotFound
from errands.model.function import EXTERNAL
from errands.model.ids import RunId, public_id
from errands.model.item import Item, Place
from errands.model.run import Moment, Record, Run
from errands.model.step import UNORDERED, Shape, Step, StepKind, StepStatus
from errands.model.timer import TimerKind

_encode = msgspec.json.Encoder().encode
NULL = b"null"


def wait_opened(report: WaitOpened, state: State) -> Decision:
    """Register the wait; with `park`, give the lease back in the same breath, unless the run has
    something to see already.
    """
    item = holder(state, report.run, report.fence)
    if isinstance(item, Refused):
        return Decision(item)
    due = report.until
    if report.duration_ms is not None:
        due = state.after(report.duration_ms)
    step = replace(report.step, status=StepStatus.WAITING, due=due, at=state.now)
    transitions: list[Transition] = [StepSaved(saved) for saved in report.saves]
    if report.shape is not None:
        new = state.config.new_shape(report.shape.event, report.shape.paths)
        if new is not None:
            transitions.append(ShapeKept(Shape(state.new_id(), new, report.shape.paths)))
        transitions += open_wait(step, report.shape, state)
    else:
        transitions.append(StepSaved(step))
    if report.child is not None:
        child = report.child
        function = state.config.by_slug.get((child.app, child.function))
        if function is None:
            raise FunctionNotFound(f"{child.app}/{child.function}", known_slugs(child.app, state))
        run = Run(
            RunId(state.new_id()),
            function.id,
            input=child.data,
            parent=item.run,
            parent_step=step.id,
            retries=child.retries,
            trace=child.trace or trace_of(item.run, state),
        )
        transitions += new_run(run, function, state)
    parks = report.park and not _can_go_on(_waits(item.run, state))
    if parks:
        transitions += _park(item, report.seq, state)
    elif item.crashes:
        # It has got on since the crash, so it is not what crashed the worker.
        transitions.append(ItemMoved(replace(item, crashes=0)))
    return Decision(Opened(due, parks), transitions)


def _waits(run: RunId, state: State) -> list[Step]:
    return [step for step in state.unseen_steps(run) if step.kind != StepKind.CANCEL]


def _can_go_on(waits: Sequence[Step]) -> bool:
    """Is one of them resolved, or may its next attempt begin? Nothing would wake the run later."""
    return any(not step.is_open or is_awake(step) for step in waits)


def _park(item: Item, seq: int, state: State) -> list[Transition]:
    told = _encode({"worker": item.worker, "leased_at": item.leased_at})
    parked = replace(
        item,
        place=Place.PARKED,
        updated_at=state.now,
        worker=None,
        leased_at=None,
        seq=seq,
        crashes=0,
    )
    record = Record(item.run, state.new_id(), state.now, Moment.PARKED, told)
    return [ItemMoved(parked), Recorded(record)]


def parked(report: Parked, state: State) -> Decision:
    """Give the lease back until a wait is resolved; not if one is already, or nothing would wake
    it.
    """
    item = holder(state, report.run, report.fence)
    if isinstance(item, Refused):
        return Decision(item)
    waits = _waits(item.run, state)
    if not waits or _can_go_on(waits):
        return Decision(NOT_IDLE)
    saves: list[Transition] = [StepSaved(saved) for saved in report.saves]
    return Decision(KEPT, saves + _park(item, report.seq, state))


def is_awake(step: Step) -> bool:
    """A step whose next attempt may begin now."""
    return step.status == StepStatus.RETRYING and step.due is None


def step_taken(report: StepTaken, state: State) -> Decision:
    """The run has seen this result as its `seq`-th: every replay will."""
    item = holder(state, report.run, report.fence)
    if isinstance(item, Refused):
        return Decision(item)
    step = state.steps.get((report.run, report.step))
    if step is None or step.is_open or step.seq is not None:
        return Decision(NOT_KNOWN)
    seen = StepSaved(replace(step, seq=report.seq))
    # As for any step: the run has got on since the crash.
    got_on = (ItemMoved(replace(item, crashes=0)),) if item.crashes else ()
    return Decision(KEPT, (seen, *got_on))


def resolve(step: Step, state: State, status: StepStatus, output: bytes) -> list[Transition]:
    """An open wait has its result. Parked runs see it next; executing ones when they look."""
    item = state.items.get(step.run)
    if item is None:
        return []
    closed = replace(step, status=status, at=state.now, due=None, output=output)
    return _tell(item, closed, state)


def _tell(item: Item, step: Step, state: State) -> list[Transition]:
    if item.place == Place.RUNNING:
        told: Transition
        if item.worker == state.here.worker:
            told = Poked(item.run)
        else:
            assert item.worker is not None
            told = FollowUpQueued(Poke(item.run), item.worker)
        return [StepSaved(step), told]
    if not step.is_open and item.place == Place.PARKED:
        # Who parked it said how far it had come. If it stands ready because its worker died,
        # nobody has: then its next session gives the number.
        step = replace(step, seq=item.seq)
        item = replace(item, seq=item.seq + 1)
    # A run that is to start later, or waits for its next attempt, is not woken before its time.
    if item.place == Place.PARKED and item.due is None:
        item = woken(item, state)
    return [StepSaved(step), ItemMoved(item)]


def event_hit(input: EventHit, state: State) -> Decision:
    """An event that matched: the first one resolves the wait, later ones find it closed."""
    transitions: list[Transition] = [FollowUpDone(input.inbox)]
    step, event = state.steps.get((input.run, input.step)), state.events.get(input.event)
    item = state.items.get(input.run)
    if step is None or item is None or event is None or not step.is_open:
        return Decision(None, transitions)
    if step.kind == StepKind.CANCEL:
        reason = f"event {event.name} ({event.key or public_id(event.id, state.here.key)})"
        return Decision(None, transitions + cancel_run(item, state, reason))
    told = _encode(match.event_object(event, public_id(event.id, state.here.key)))
    return Decision(None, transitions + resolve(step, state, StepStatus.COMPLETED, told))


def child_ended(input: ChildEnded, state: State) -> Decision:
    transitions: list[Transition] = [FollowUpDone(input.inbox)]
    step = state.steps.get((input.run, input.step))
    if step is not None and step.is_open:
        status = StepStatus.COMPLETED if input.is_ok else StepStatus.FAILED
        transitions += resolve(step, state, status, input.output)
    return Decision(None, transitions)


def poke(input: Poke, state: State) -> Decision:
    """Tell the session here to look; if the run has gone elsewhere, so does this."""
    item = state.items.get(input.run)
    if input.stop is not None or item is None or item.place != Place.RUNNING:
        done: list[Transition] = [FollowUpDone(input.inbox)]
        if input.stop is not None:
            done.append(Poked(input.run, input.stop))
        return Decision(None, done)
    if item.worker == state.here.worker:
        return Decision(None, (FollowUpDone(input.inbox), Poked(input.run)))
    assert item.worker is not None
    return Decision(None, (FollowUpMoved(input.inbox, item.worker),))


def timer_due(input: TimerDue, state: State) -> Decision:
    """An alarm clock rings. The row that it points to says whether that still means anything."""
    timer = input.timer
    if timer.due > state.now:
        return Decision(timer.due)
    item = state.items.get(timer.run)
    if item is not None:
        match timer.kind:
            case TimerKind.STEP:
                step = state.steps.get((timer.run, timer.step))
                if step is not None and step.is_open and step.due == timer.due:
                    return Decision(None, _step_due(item, step, state))
            case TimerKind.START:
                if item.due == timer.due and item.place == Place.PARKED:
                    return Decision(None, (ItemMoved(woken(replace(item, due=None), state)),))
            case TimerKind.START_BY:
                if item.start_by == timer.due and item.started_at is None:
                    return Decision(
                        None, cancel_run(item, state, "not started in time (timeouts.start)")
                    )
            case TimerKind.FINISH_BY:
                if item.finish_by == timer.due and item.function == EXTERNAL:
                    return Decision(None, given_up(item, state))
                if item.finish_by == timer.due:
                    return Decision(
                        None, cancel_run(item, state, "not finished in time (timeouts.finish)")
                    )
    return Decision(None, (TimerForgotten(timer),))


def _step_due(item: Item, step: Step, state: State) -> list[Transition]:
    if step.kind == StepKind.CANCEL:
        return [StepSaved(replace(step, status=StepStatus.ABANDONED, due=None, seq=UNORDERED))]
    if step.status == StepStatus.RETRYING:
        return _tell(item, replace(step, due=None), state)
    return resolve(step, state, StepStatus.COMPLETED, NULL)
