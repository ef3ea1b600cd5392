"""One transaction on a store, without a committer: load, let something have happened, apply."""

from typing import Any

from errands.clock import IdSource
from errands.engine.absorb import absorb
from errands.engine.decide import Needs
from errands.engine.state import Here, State
from errands.engine.transition import Transition
from errands.model.ids import WorkerId
from errands.store.interface import Store, Transaction
from tests.store.process import StillClock

ME = WorkerId(1)
_clock = StillClock()
# One for all: ids must differ between transactions too.
_new_id = IdSource(1_000, _clock)


def begin(
    transaction: Transaction, serves: frozenset[int] = frozenset(), room: int = 0, **needs: Any
) -> State:
    """What a batch with these needs knows."""
    wanted = Needs()
    for name, keys in needs.items():
        setattr(wanted, name, keys if isinstance(keys, int) else dict.fromkeys(keys))
    here = Here(ME, b"", 0)
    here.serves, here.room = serves, room
    state = State(here, transaction.load_config(), _clock.now(), _new_id)
    transaction.load(wanted, state)
    return state


def load(store: Store, serves: frozenset[int] = frozenset(), room: int = 0, **needs: Any) -> State:
    with store.transaction() as transaction:
        return begin(transaction, serves, room, **needs)


def write(store: Store, *transitions: Transition, **needs: Any) -> State:
    """Load these rows, then let this have happened."""
    with store.transaction() as transaction:
        state = begin(transaction, **needs)
        absorb(state, transitions)
        transaction.apply(state)
    return state
