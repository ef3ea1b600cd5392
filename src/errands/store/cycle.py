"""The commit cycle: prepare, load, decide, apply, commit. One function for every store."""

from collections.abc import Callable, Sequence
from typing import Any

from errands.engine.absorb import absorb
from errands.engine.config import Config
from errands.engine.decide import FOLLOW_UPS, Needs, Prepared, decide, needs, prepare
from errands.engine.input import Input, Registered
from errands.engine.state import Here, State
from errands.model.call import WaitOpened
from errands.model.errors import ErrandsError
from errands.store.interface import Store, StoreBusy, Transaction

BUSY_TRIES = 5
"""Times that a batch is decided anew at once because another process was a little faster."""


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
    """A committed batch. `left`: entries that it has not decided, in their order: another process
    holds something that they need, or what is registered has changed, so that they have to be
    prepared again. `changed_elsewhere`: others may have committed since the batch before.
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
    for _ in range(BUSY_TRIES - 1):
        try:
            return _cycle(store, entries, here, config, clock, new_id)
        except StoreBusy:
            continue
    return _cycle(store, entries, here, config, clock, new_id)


def _cycle(
    store: Store,
    entries: Sequence[Entry],
    here: Here,
    config: Config,
    clock: Callable[[], int],
    new_id: Callable[[], int],
) -> Outcome:
    now = clock()
    _prepare(entries, config, now)
    with store.transaction() as transaction:
        changed_elsewhere = transaction.changed_elsewhere()
        if changed_elsewhere:
            here.known.clear()
            here.settled.clear()
        waiting = _hold_config(entries, config, transaction)
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
        if (locked := transaction.load(wanted, state)) is not None:
            waiting.update(_touching(locked, entries, config))
        if waiting:
            left = _decide([entry for entry in entries if entry not in waiting], state)
            waiting.update(dict.fromkeys(left))
            left = [entry for entry in entries if entry in waiting]
        else:
            left = _decide(entries, state)
        transaction.apply(state)
    return Outcome(state, config, left, changed_elsewhere)


def _prepare(entries: Sequence[Entry], config: Config, now: int) -> None:
    for entry in entries:
        entry.prepared = prepare(entry.input, config, now)


def _hold_config(
    entries: Sequence[Entry], config: Config, transaction: Transaction
) -> dict[Entry, None]:
    """Those that would change what is registered do it alone; or, if another process is about to,
    have to wait. What is looked for by fewer shapes of waits than are known now needs no new one
    either when more are.
    """
    registering = [entry for entry in entries if _registers(entry.input, config)]
    if not registering or transaction.hold_config():
        return {}
    return dict.fromkeys(registering)


def _registers(given: Input, config: Config) -> bool:
    if isinstance(given, WaitOpened) and given.shape is not None:
        return config.new_shape(given.shape.event, given.shape.paths) is not None
    return isinstance(given, Registered)


def _touching(locked: Needs, entries: Sequence[Entry], config: Config) -> dict[Entry, None]:
    """Those that need something which another process holds."""
    found: dict[Entry, None] = {}
    for entry in entries:
        own = Needs()
        needs(entry.input, entry.prepared, config, own)
        if (
            not locked.items.keys().isdisjoint(own.items)
            or not locked.inbox.keys().isdisjoint(own.inbox)
            or not locked.events.keys().isdisjoint(own.events)
            or not locked.held_by.keys().isdisjoint(own.held_by)
            or not locked.runs.keys().isdisjoint({**own.runs, **own.ended})
        ):
            found[entry] = None
    return found


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
