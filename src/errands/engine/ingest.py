"""From what was sent to runs: deduplicated, matched, started, or woken."""

from collections.abc import Sequence
from typing import Any

import msgspec

from errands.engine import match
from errands.engine.config import Config
from errands.engine.decision import Decision
from errands.engine.input import EventHit, Expand, Sent, WaitsLeft
from errands.engine.lease import readied
from errands.engine.state import PAGE, State
from errands.engine.transition import (
    Deduplicated,
    EventAppended,
    FollowUpDone,
    FollowUpQueued,
    ItemMoved,
    RunCreated,
    StepSaved,
    Transition,
    WaitRegistered,
)
from errands.model.call import Accepted
from errands.model.errors import FunctionNotFound
from errands.model.event import EVENT_SCOPE, Event, NewEvent
from errands.model.function import Function, FunctionKind
from errands.model.ids import EventId, FunctionId, RunId, public_id
from errands.model.item import Item, Place
from errands.model.job import NewJob
from errands.model.run import Label, Run
from errands.model.step import RESERVED, ShapeOf, Step, StepKind, StepStatus, Wait

DEDUP_MS = 24 * 3_600_000
CHUNK = 500
"""Events or jobs of one send that become runs in one batch."""

Prepared = tuple["Matched | None", ...]


class Matched(msgspec.Struct, frozen=True, gc=False):
    """What an event means, found before the cycle: whom it starts, which keys it has for waits."""

    functions: tuple[FunctionId, ...]
    cancels: tuple[tuple[ShapeOf, ...], ...]
    """For each function: the events that cancel its run."""
    keys: tuple[int, ...]
    subject: dict[str, Any] | None
    """The event as expressions see it, if any had to."""


NOTHING = Matched((), (), (), None)


def prepare_items(items: Sequence[NewEvent | NewJob], config: Config, now: int) -> Prepared:
    """Match everything that was sent; pure and outside any lock."""
    if len(items) == 1 and type(job := items[0]) is NewJob:
        return (_match_job(job, config),)
    return tuple(
        _match(item, config, now) if isinstance(item, NewEvent) else _match_job(item, config)
        for item in items
    )


def _match(event: NewEvent, config: Config, now: int) -> Matched:
    starters = config.started_by(event.name)
    shapes = config.shapes_of(event.name)
    if not starters and not shapes:
        return NOTHING
    subject: dict[str, Any] | None = None
    if shapes or any(condition or function.config.cancel for function, condition in starters):
        stored = Event(
            EventId(0), event.name, event.data, event.ts or now, event.key, event.user, event.v
        )
        subject = match.event_object(stored, event.key or "")
    chosen: dict[FunctionId, tuple[ShapeOf, ...]] = {}
    for function, condition in starters:
        if function.id not in chosen and match.holds(condition, event=subject):
            chosen[function.id] = _cancels(function, subject)
    keys: dict[int, None] = {}
    for shape in shapes:
        key = match.keys_of(subject or {}, shape.event or event.name, shape.paths)
        if key is not None:
            keys[key] = None
    return Matched(tuple(chosen), tuple(chosen.values()), tuple(keys), subject)


def _match_job(job: NewJob, config: Config) -> Matched | None:
    function = config.by_slug.get((job.app, job.function))
    if function is None:
        return None
    if not function.config.cancel:
        return Matched((function.id,), ((),), (), None)
    subject = {"name": function.config.slug, "data": msgspec.json.decode(job.data)}
    return Matched((function.id,), (_cancels(function, subject),), (), subject)


def _cancels(function: Function, subject: dict[str, Any] | None) -> tuple[ShapeOf, ...]:
    if not function.config.cancel:
        return ()
    shapes = (match.cancel_shape(cancel, subject or {}) for cancel in function.config.cancel)
    return tuple(shape for shape in shapes if shape is not None)


def sent(input: Sent, state: State, prepared: Prepared) -> Decision:
    return accept(input.items, state, prepared)


def accept(items: Sequence[NewEvent | NewJob], state: State, prepared: Prepared) -> Decision:
    """Accept all of it, or raise and accept nothing. Raises FunctionNotFound."""
    is_large = len(items) > CHUNK
    ids: list[int] = []
    keys: list[str | None] = []
    transitions: list[Transition] = []
    here: dict[tuple[int, str], int] = {}
    later: list[tuple[int, NewEvent | NewJob]] = []
    for item, matched in zip(items, prepared, strict=True):
        if matched is None:
            assert isinstance(item, NewJob)
            raise FunctionNotFound(f"{item.app}/{item.function}", known_slugs(item.app, state))
        keys.append(item.key if isinstance(item, NewEvent) else None)
        if item.key is not None:
            scope = EVENT_SCOPE if isinstance(item, NewEvent) else matched.functions[0]
            first = here.get((scope, item.key)) or _first(state, scope, item.key)
            if first is not None:
                ids.append(first)
                continue
            id = here[scope, item.key] = state.new_id()
            transitions.append(Deduplicated(scope, item.key, id, state.now + DEDUP_MS))
        else:
            id = state.new_id()
        ids.append(id)
        if isinstance(item, NewEvent):
            transitions.append(EventAppended(_event(id, item, state.now)))
        else:
            transitions.append(RunCreated(*_job_run(id, item, matched.functions[0])))
        if is_large:
            later.append((id, item))
        else:
            transitions += _begin(id, item, matched, state, state.now, state.last_wait)
    for at in range(0, len(later), CHUNK):
        chunk = Expand(tuple(later[at : at + CHUNK]), state.now, state.last_wait)
        transitions.append(FollowUpQueued(chunk, state.here.worker))
    return Decision(Accepted(tuple(ids), tuple(keys)), transitions)


def trace_of(run: RunId, state: State) -> str | None:
    """What a run passes on to those that it starts."""
    sender = state.runs.get(run)
    return None if sender is None else sender.trace


def expand(input: Expand, state: State, prepared: Prepared) -> Decision:
    """A chunk of a large send: what it starts and wakes. Bodies and dedup keys are kept already.

    All as if it had been decided when it was accepted, but for one thing: functions that were
    registered meanwhile are started too, and those that were retired are not.
    """
    transitions: list[Transition] = [FollowUpDone(input.inbox)]
    for (id, item), matched in zip(input.items, prepared, strict=True):
        # A job may have been cancelled before it had an item.
        if matched is not None and id not in state.ended:
            transitions += _begin(id, item, matched, state, input.at, input.last)
    return Decision(None, transitions)


def _first(state: State, scope: int, key: str) -> int | None:
    found = state.dedup.get((scope, key))
    return found[0] if found is not None and found[1] > state.now else None


def _event(id: int, new: NewEvent, now: int) -> Event:
    return Event(EventId(id), new.name, new.data, new.ts or now, new.key, new.user, new.v)


def _job_run(id: int, job: NewJob, function: FunctionId) -> tuple[Run, tuple[Label, ...]]:
    run = Run(RunId(id), function, input=job.data, retries=job.retries, trace=job.trace)
    return run, tuple([Label(tag, run.id) for tag in job.tags]) if job.tags else ()


def _begin(
    id: int, item: NewEvent | NewJob, matched: Matched, state: State, at: int, last: int
) -> list[Transition]:
    """What it starts and wakes. `at`: when it was accepted, after the wait of number `last`."""
    if isinstance(item, NewJob):
        function = state.config.functions[matched.functions[0]]
        due = item.at if item.delay_ms is None else at + item.delay_ms + state.here.cut_ms
        return start_item(
            RunId(id),
            function,
            state,
            at=at,
            due=due,
            start_timeout_ms=item.start_timeout_ms,
            finish_timeout_ms=item.finish_timeout_ms,
            cancels=matched.cancels[0],
        )
    transitions: list[Transition] = []
    for function_id, cancels in zip(matched.functions, matched.cancels, strict=True):
        function = state.config.functions[function_id]
        run = Run(RunId(state.new_id()), function.id, EventId(id), trace=item.trace)
        transitions.append(RunCreated(run))
        transitions += start_item(run.id, function, state, at=at, due=item.ts, cancels=cancels)
    for key in matched.keys:
        transitions += _wake(EventId(id), key, matched.subject or {}, state, last)
    return transitions


def new_run(
    run: Run, function: Function, state: State, labels: tuple[Label, ...] = ()
) -> list[Transition]:
    """A run that another run has caused, or that repeats one."""
    parent = (None, None) if run.parent_step is None else (run.parent, run.parent_step)
    cancels = _cancels(function, _subject(run, function, state)) if function.config.cancel else ()
    return [
        RunCreated(run, labels),
        *start_item(run.id, function, state, cancels=cancels, parent=parent),
    ]


def _subject(run: Run, function: Function, state: State) -> dict[str, Any]:
    """What a run was started with, as the expressions of its function see it."""
    event = None if run.event is None else state.events.get(run.event)
    if event is not None:
        return match.event_object(event, public_id(event.id, state.here.key))
    given: Any = msgspec.json.decode(run.input or b"{}")
    # An event function may be invoked with an event; a job is called with its arguments.
    is_event = function.config.kind == FunctionKind.EVENT
    return given if is_event else {"name": function.config.slug, "data": given}


def start_item(
    run: RunId,
    function: Function,
    state: State,
    *,
    at: int | None = None,
    due: int | None = None,
    start_timeout_ms: int | None = None,
    finish_timeout_ms: int | None = None,
    cancels: tuple[ShapeOf, ...] = (),
    parent: tuple[RunId | None, str | None] = (None, None),
) -> list[Transition]:
    """The item of a new run: parked until it is due, leased at once, or ready in its lane.

    at: when it was accepted; None: now.
    """
    at = state.now if at is None else at
    config = function.config
    start_ms = start_timeout_ms if start_timeout_ms is not None else config.start_timeout_ms
    finish_ms = finish_timeout_ms if finish_timeout_ms is not None else config.finish_timeout_ms
    is_later = due is not None and due > state.now
    begins = at if due is None else max(due, at)
    is_leased = not is_later and state.can_lease(function.id)
    item = Item(
        run,
        function.id,
        Place.RUNNING if is_leased else Place.PARKED,
        state.now,
        fence=1 if is_leased else 0,
        due=due if is_later else None,
        worker=state.here.worker if is_leased else None,
        leased_at=state.now if is_leased else None,
        started_at=state.now if is_leased else None,
        start_by=None if start_ms is None else begins + start_ms,
        finish_by=None if finish_ms is None else begins + finish_ms,
        parent=parent[0],
        parent_step=parent[1],
    )
    if not is_later and not is_leased:
        item = readied(item, state)
    transitions: list[Transition] = [ItemMoved(item)]
    for n, shape in enumerate(cancels):
        ends = None if shape.timeout_ms is None else at + shape.timeout_ms + 1
        listens = Step(
            run,
            f"{RESERVED}cancel:{n}",
            StepKind.CANCEL,
            StepStatus.WAITING,
            started_at=state.now,
            due=ends,
        )
        transitions += open_wait(listens, shape, state)
    if item.place == Place.RUNNING:
        state.reserved += 1
    return transitions


def open_wait(step: Step, shape: ShapeOf, state: State) -> tuple[Transition, ...]:
    """The step, found by the events that it waits for."""
    key = match.wait_key(shape.event, shape.paths, shape.values)
    number = state.last_wait + 1
    return (
        StepSaved(msgspec.structs.replace(step, match=key)),
        WaitRegistered(Wait(key, step.run, step.id, number, shape.condition, shape.context)),
    )


def _wake(
    event: EventId, key: int, subject: dict[str, Any], state: State, last: int
) -> list[Transition]:
    transitions = _hits(event, state.waits.get(key, ()), subject, state, last)
    page = state.pages.get((key, RunId(0), ""), ())
    if len(page) >= PAGE:
        left = WaitsLeft(event, key, page[-1].run, page[-1].step, last)
        transitions.append(FollowUpQueued(left, state.here.worker))
    return transitions


def _hits(
    event: EventId, waits: Sequence[Wait], subject: dict[str, Any], state: State, last: int
) -> list[Transition]:
    """Those registered after the event, behind number `last`, are not its own."""
    return [
        FollowUpQueued(EventHit(wait.run, wait.step, event), state.here.worker)
        for wait in waits
        if wait.number <= last and match.wait_holds(wait.condition, wait.context, subject)
    ]


def waits_left(input: WaitsLeft, state: State) -> Decision:
    """The next page of an event's waits."""
    transitions: list[Transition] = [FollowUpDone(input.inbox)]
    event = state.events.get(input.event)
    if event is None:
        return Decision(None, transitions)
    page = state.pages.get((input.match, input.run, input.step), ())
    subject = match.event_object(event, public_id(event.id, state.here.key))
    transitions += _hits(event.id, page, subject, state, input.last)
    if len(page) >= PAGE:
        left = WaitsLeft(event.id, input.match, page[-1].run, page[-1].step, input.last)
        transitions.append(FollowUpQueued(left, state.here.worker))
    return Decision(None, transitions)


def known_slugs(app: str, state: State) -> list[str]:
    """What there is instead of a function that there is not."""
    return [slug for name, slug in state.config.by_slug if name == app]
