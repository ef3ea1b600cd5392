"""The commit cycle: prepare, load, decide, apply, commit. One function for every store."""

from collections.abc import Callable, Sequence
from typing import Any

from errands.engine.absorb import absorb
from errands.engine.config import Config
from errands.engine.decide import FOLLOW_UPS, Needs, Prepared, decide, needs, prepare
from errands.engine.input import Input
from errands.engine.state import Here, State
from errands.model.errors import ErrandsError
from errands.store.interface import Store


class Entry:
    """An input on its way through a cycle, and what came of it."""

    __slots__ = ("answer", "error", "input", "is_counted", "prepared", "rows", "size", "ticket")

    def __init__(self, input: Input, ticket: Any = None, rows: int = 1, size: int = 0) -> None:
        self.input = input
        self.is_counted = type(input) not in FOLLOW_UPS
        """Among what waits, for the doors: not what followed from what they have let in."""
        self.rows, self.size = rows, size
        """What it will write, about: rows and bytes."""
        self.prepared: Prepared | None = None
        self.answer: Any = None
        self.error: BaseException | None = None
        self.ticket = ticket


class Outcome:
    """A committed batch. `left`: entries that have to be prepared again, because what is registered
    changed. `changed_elsewhere`: others may have committed since the batch before.
    """

    __slots__ = ("changed_elsewhere", "config", "left", "state")

    def __init__(
        self, state: State, config: Config, left: Sequence[Entry], changed_elsewhere: bool
    ) -> None:
        self.state, self.config, self.left = state, config, left
        self.changed_elsewhere = changed_elsewhere


def run_cycle(
    store: Store,
    entries: Sequence[Entry],
    here: Here,
    config: Config,
    clock: Callable[[], int],
    new_id: Callable[[], int],
) -> Outcome:
    """Decide all of these in one durable transaction.

    Raises StoreUnavailable, and StoreConflict or whatever a bug raises, when nothing was written.
    An error of a single input is left in its entry.
    """
    now = clock()
    _prepare(entries, config, now)
    with store.transaction() as transaction:
        changed_elsewhere = transaction.changed_elsewhere()
        if changed_elsewhere:
            here.known.clear()
            here.settled.clear()
        # Other processes register too: what was prepared with an older version is prepared again.
        if transaction.config_version() != config.version:
            config = transaction.load_config()
            _prepare(entries, config, now)
        # The turn was waited for: a timer or a lease is judged by the time at which it is decided.
        state = State(here, config, max(now, clock()), new_id)
        if not transaction.is_alive(here.worker):
            # Taken for dead: what it still reports is fenced off, and it is given nothing new.
            state.room, state.is_alive = 0, False
        wanted = Needs()
        for entry in entries:
            needs(entry.input, entry.prepared, config, wanted)
        transaction.load(wanted, state)
        left = _decide(entries, state)
        transaction.apply(state)
    return Outcome(state, config, left, changed_elsewhere)


def _prepare(entries: Sequence[Entry], config: Config, now: int) -> None:
    for entry in entries:
        entry.prepared = prepare(entry.input, config, now)


def _decide(entries: Sequence[Entry], state: State) -> Sequence[Entry]:
    for at, entry in enumerate(entries):
        state.reserved = 0
        entry.answer = entry.error = None
        try:
            decision = decide(entry.input, state, entry.prepared)
        except ErrandsError as error:
            entry.error = error
            continue
        except Exception as error:
            # A bug of ours must not take the batch with it: nothing of this input is kept.
            entry.error = error
            continue
        absorb(state, decision.transitions)
        entry.answer = decision.answer
        if state.config_changed:
            return entries[at + 1 :]
    return ()
