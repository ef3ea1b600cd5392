"""Somebody or something ends a run before its time."""

import msgspec

from errands.engine.decision import Decision
from errands.engine.finish import end_run
from errands.engine.input import CancelAsked, Poke
from errands.engine.state import State
from errands.engine.transition import FollowUpDone, FollowUpQueued, Poked, Transition
from errands.model.call import KEPT, RUN_IS_OVER
from errands.model.item import Item, Place
from errands.model.run import RunStatus

_encode = msgspec.json.Encoder().encode


def cancel_run(item: Item, state: State, reason: str) -> list[Transition]:
    """The run is over now; whoever executes it is told, and refused from here on."""
    transitions = end_run(item, state, RunStatus.CANCELLED, _encode(reason))
    if item.place == Place.RUNNING:
        if item.worker == state.here.worker:
            transitions.append(Poked(item.run, reason))
        else:
            assert item.worker is not None
            transitions.append(FollowUpQueued(Poke(item.run, stop=reason), item.worker))
    return transitions


def cancel_asked(input: CancelAsked, state: State) -> Decision:
    item = state.items.get(input.run)
    transitions: list[Transition] = [FollowUpDone(input.inbox)] if input.inbox else []
    if item is None:
        return Decision(RUN_IS_OVER, transitions)
    return Decision(KEPT, transitions + cancel_run(item, state, input.reason))
