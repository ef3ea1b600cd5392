"""What a rule gives: an answer for whoever submitted the input, and transitions."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from errands.engine.state import State
from errands.engine.transition import Transition
from errands.model.call import LEASE_LOST, RUN_IS_OVER, Refused
from errands.model.ids import RunId
from errands.model.item import Item, Place


class Decision(NamedTuple):
    answer: Any
    transitions: Sequence[Transition] = ()


def holder(state: State, run: RunId, fence: int) -> Item | Refused:
    """The item, if this fence is that of its present lease; else why the report is refused."""
    item = state.items.get(run)
    if item is None:
        return RUN_IS_OVER
    if item.fence != fence or item.place != Place.RUNNING:
        return LEASE_LOST
    return item
