"""Somebody or something ends a run before its time."""

import msgspec

from errands.engine.decision import Decision
from errands.engine.finish import end_run
from errands.engine.input import CancelAsked, Poke, Undecidable
from errands.engine.state import State
from errands.engine.transition import (
    FollowUpDone,
    FollowUpQueued,
    Poked,
    RunFinished,
    Transition,
)
from errands.model.call import KEPT, RUN_IS_OVER
from errands.model.item import Item, Place
from errands.model.run import Done, Failure, RunStatus

_encode = msgspec.json.Encoder().encode


def cancel_run(item: Item, state: State, reason: str) -> list[Transition]:
    """The run is over now; whoever executes it is told, and refused from here on."""
    ended = end_run(item, state, RunStatus.CANCELLED, _encode(reason))
    return ended + _stop(item, state, reason)


def _stop(item: Item, state: State, reason: str) -> list[Transition]:
    if item.place != Place.RUNNING:
        return []
    if item.worker == state.here.worker:
        return [Poked(item.run, reason)]
    assert item.worker is not None
    return [FollowUpQueued(Poke(item.run, stop=reason), item.worker)]


def cancel_asked(input: CancelAsked, state: State) -> Decision:
    item = state.items.get(input.run)
    transitions: list[Transition] = [FollowUpDone(input.inbox)] if input.inbox else []
    if item is not None:
        return Decision(KEPT, transitions + cancel_run(item, state, input.reason))
    run = state.runs.get(input.run)
    if run is None or run.id in state.ended:
        return Decision(RUN_IS_OVER, transitions)
    # Part of a large send, and its item still to be made: `expand` finds it over.
    done = Done(
        run.id,
        run.function,
        RunStatus.CANCELLED,
        state.now,
        state.now + state.here.keep_ms,
        _encode(input.reason),
    )
    return Decision(KEPT, [*transitions, RunFinished(done)])


def undecidable(input: Undecidable, state: State) -> Decision:
    """The run fails, so that somebody hears of it: nothing will ever take it further."""
    item = state.items.get(input.run)
    transitions: list[Transition] = [FollowUpDone(input.inbox)]
    if item is None:
        return Decision(None, transitions)
    failure = Failure(
        "InternalError",
        input.reason,
        bases=("InternalError", "ErrandsError"),
        code="internal_error",
        attempts=item.attempt + 1,
    )
    transitions += end_run(item, state, RunStatus.FAILED, _encode(failure))
    return Decision(None, transitions + _stop(item, state, input.reason))
