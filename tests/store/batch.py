"""One transaction on a store, without a committer: load, let something have happened, apply."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

from errands.clock import IdSource
from errands.engine.absorb import absorb
from errands.engine.decide import Needs
from errands.engine.state import Here, State
from errands.engine.transition import Transition
from errands.model.ids import WorkerId
from errands.store.interface import Store, StoreBusy, Transaction
from tests.store.process import StillClock

T = TypeVar("T")
ME = WorkerId(1)
_clock = StillClock()
# One for all: ids must differ between transactions too.
_new_id = IdSource(1_000, _clock)


def begin(
    transaction: Transaction, serves: frozenset[int] = frozenset(), room: int = 0, **needs: Any
) -> State:
    """What a batch with these needs knows. Raises StoreBusy if another process holds some of it."""
    wanted = Needs()
    for name, keys in needs.items():
        setattr(wanted, name, keys if isinstance(keys, int) else dict.fromkeys(keys))
    here = Here(ME, b"", 0)
    here.serves, here.room = serves, room
    state = State(here, transaction.load_config(), _clock.now(), _new_id)
    if transaction.load(wanted, state) is not None:
        raise StoreBusy
    return state


def until_free(act: Callable[[], T]) -> T:
    """Do it, once nobody else holds what it needs."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return act()
        except StoreBusy:
            assert time.monotonic() < deadline


def load(store: Store, serves: frozenset[int] = frozenset(), room: int = 0, **needs: Any) -> State:
    def act() -> State:
        with store.transaction() as transaction:
            return begin(transaction, serves, room, **needs)

    return until_free(act)


def write(store: Store, *transitions: Transition, **needs: Any) -> State:
    """Load these rows, then let this have happened."""

    def act() -> State:
        with store.transaction() as transaction:
            state = begin(transaction, **needs)
            absorb(state, transitions)
            transaction.apply(state)
        return state

    return until_free(act)
