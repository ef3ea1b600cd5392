"""Makes what happened durable, many inputs in one transaction.

A batch is whatever arrived while the previous one was being committed: no timer, so no added
latency when idle. The queue is bounded for doors (`submit` raises Unavailable when it is full);
what comes
from work that already executes is never refused.
"""

import asyncio
import heapq
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import msgspec

from errands.clock import Clock, IdSource
from errands.engine.config import Config
from errands.engine.decide import FOLLOW_UPS
from errands.engine.input import (
    Beat,
    CancelAsked,
    Claim,
    Expand,
    FollowUp,
    Input,
    JobChanged,
    JobMade,
    Registered,
    Rerun,
    Sent,
    Undecidable,
    WaitsLeft,
)
from errands.engine.state import Here, Rows, State
from errands.executors.ticket import Ticket
from errands.executors.weight import weight
from errands.model.call import LEASE_LOST, RUN_IS_OVER, Refused
from errands.model.errors import ErrandsError, InternalError, Unavailable
from errands.model.event import Event
from errands.model.ids import EventId, RunId
from errands.model.item import Item, Place
from errands.model.run import Done, Run
from errands.model.step import Step
from errands.store.cycle import Entry, Outcome, run_cycle
from errands.store.interface import TRIES_MAX, Store, StoreConflict, StoreUnavailable

log = logging.getLogger("errands.committer")
BATCH_ROWS_MAX = 2_000
BATCH_BYTES_MAX = 8 * 1024 * 1024
QUEUE_ROWS_MAX = 20_000
QUEUE_BYTES_MAX = 64 * 1024 * 1024
CLAIM_MAX = 500
STALL_SECONDS_MAX, STALLS_AT_CLOSE = 0.05, 100
"""How long it is waited, at most, before what other processes hold is asked for again; and how
often when this one closes.
"""
RETRY_SECONDS = (0.05, 0.2, 1.0, 5.0)
"""Before what could not be written or decided is tried again; the last one from then on."""
_NO_EVENTS: dict[EventId, Event] = {}


class Effects(msgspec.Struct):
    """What a committed batch means for this process."""

    leases: list[tuple[Item, Run | None, Event | None]]
    """Items that are this process's to execute now; with what is known of them already."""
    pokes: dict[RunId, str | None]
    """Sessions that must look; or stop, and why."""
    done: list[Done]
    changed: dict[RunId, None]
    due: int | None
    """The earliest timer that was set."""
    is_ready_for_others: bool
    """Somebody else could do something now."""
    created: list[Run]
    items: Rows[RunId, Item]
    steps: Rows[tuple[RunId, str], Step]
    inputs: int
    """How many were committed."""
    seconds: float
    """How long that took."""


class Committer:
    """Feeds the commit cycle. Drive it with a thread (`start`) or by `step` from elsewhere."""

    def __init__(
        self,
        store: Store,
        here: Here,
        clock: Clock,
        new_id: IdSource,
        *,
        deliver: Callable[["Committer", list[Entry], Effects | None], None],
        wake: Callable[[], None] | None = None,
        config: Config | None = None,
    ) -> None:
        self.store, self.here, self.clock, self.new_id = store, here, clock, new_id
        self.config = config or Config(-1)
        self.concurrency = 0
        self.leases: dict[RunId, int] = {}
        """Fence of each item leased here."""
        self._suspects: dict[RunId, None] = {}
        self.is_ready_maybe = False
        """Somebody may stand ready in a lane that is served here."""
        self.is_closed = False
        self.commits = 0
        """Batches that this process has committed."""
        self.inbox_news = 0
        """Counts what may have left something in the inbox that is not at hand here."""
        self._deliver = deliver
        self._queue: deque[Entry] = deque()
        self._rows = self._bytes = 0
        self._lock = threading.Lock()
        self._in_hand: list[Entry] = []
        """The batch that is being committed."""
        self._at_hand: dict[int, None] = {}
        """Rows of the inbox that are queued here, or are tried again later."""
        self._later: list[tuple[int, int, Input]] = []
        """Follow-ups that could not be decided; a heap by when they are tried again."""
        self._here_lock = threading.Lock()
        """Held while it is counted what is leased, and room for how much more there is."""
        self._claim_at = 0
        self._signal = threading.Event()
        self._leaving = threading.Event()
        self._is_rung = False
        """Whether it is set, without a call; while a batch is looked for it may be behind."""
        self._wake = wake or self._ring
        self._failures = 0
        self._stalls = 0
        """Batches in a row of which nothing could be decided: other processes hold it all."""
        self._unwritable: StoreUnavailable | None = None
        """Why the batch at hand, or a part of it, could not be written."""
        self.broken: BaseException | None = None
        """The bug of ours that has ended it."""
        self.on_broken: Callable[[], None] = lambda: None
        """Called when that has happened, in the committer's thread."""
        self._thread: threading.Thread | None = None
        self.beat_ms = 0
        """How often to say that this process lives; 0: never."""
        self.beats: deque[int] = deque(maxlen=3)
        """When the last ones were committed."""
        self._beat_at = 0
        self.is_declared_dead = False
        """Others have taken over what this process held: it was silent for too long."""

    # -- the queue -----------------------------------------------------------------------------

    def submit(
        self,
        given: Input,
        *,
        is_door: bool = False,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> Ticket[Any]:
        """Queue an input; the ticket gives the engine's answer. Raises Unavailable."""
        rows, size = weight(given, self.config, _NO_EVENTS)
        # Judged by what waits already: a send larger than the whole queue has its turn as well.
        if is_door and (self._rows >= QUEUE_ROWS_MAX or self._bytes >= QUEUE_BYTES_MAX):
            raise Unavailable(
                f"errands is full: {self._rows:,} inputs wait to be written.",
                hint="Nothing of this call was accepted. Try again in a second.",
            )
        if self.broken is not None:
            raise _internal(self.broken)
        ticket: Ticket[Any] = Ticket(loop)
        if type(given) in FOLLOW_UPS:
            self._at_hand[cast("FollowUp", given).inbox] = None
        self._queue_up(Entry(given, ticket, rows, size))
        return ticket

    def tell(self, given: Input) -> None:
        """Queue an input whose answer nobody waits for. Raises Unavailable."""
        rows, size = weight(given, self.config, _NO_EVENTS)
        if self.broken is not None:
            raise _internal(self.broken)
        self._queue_up(Entry(given, None, rows, size))

    def _queue_up(self, entry: Entry) -> None:
        with self._lock:
            # Under the lock: behind the last batch nobody would look.
            if self.is_closed:
                raise _closed()
            if entry.is_counted:
                self._rows += entry.rows
                self._bytes += entry.size
            self._queue.append(entry)
        self._wake()

    def _ring(self) -> None:
        if not self._is_rung:
            self._is_rung = True
            self._signal.set()

    @property
    def waiting(self) -> tuple[int, int]:
        """Rows and bytes, about, of what was let in and waits to be written."""
        return self._rows, self._bytes

    def has_at_hand(self, inbox: int) -> bool:
        """Is this row of the inbox queued here already?"""
        return inbox in self._at_hand

    def fence(self) -> Ticket[Any]:
        """Settled when everything submitted until now has been decided, and told."""
        return self.submit(Beat(self.here.worker))

    def kick(self) -> None:
        """Somebody may stand ready: claim, if there is room."""
        self.is_ready_maybe = True
        self._wake()

    def _take(self) -> list[Entry]:
        if self._later:
            self._take_up_again()
        batch: list[Entry] = []
        rows = size = 0
        queue = self._queue
        # Only this thread takes, and a deque may be added to meanwhile: no lock while it is
        # emptied.
        counted_rows = counted_size = 0
        while queue:
            entry = queue[0]
            rows, size = rows + entry.rows, size + entry.size
            if batch and (rows > BATCH_ROWS_MAX or size > BATCH_BYTES_MAX):
                break
            batch.append(queue.popleft())
            if entry.is_counted:
                counted_rows, counted_size = counted_rows + entry.rows, counted_size + entry.size
        with self._lock:
            self._rows -= counted_rows
            self._bytes -= counted_size
        if self.beat_ms and self.clock.now() >= self._beat_at:
            # From here, not from the loop: user code that blocks the loop does not cost the leases.
            self._beat_at = self.clock.now() + self.beat_ms
            batch.append(Entry(Beat(self.here.worker)))
        if self._may_claim(batch):
            # Whoever kicks from here on may have seen what this claim does not see yet.
            self.is_ready_maybe = False
            batch.append(Entry(Claim(CLAIM_MAX)))
        return batch

    def _may_claim(self, batch: list[Entry]) -> bool:
        if not self.is_ready_maybe or not self.here.serves or not (batch or self.here.room > 0):
            return False
        if self.is_declared_dead:
            return False  # it is given nothing until it has joined anew
        return not self._claim_at or self.clock.now() >= self._claim_at

    def _put_back(self, entries: list[Entry]) -> None:
        with self._lock:
            for entry in reversed(entries):
                if isinstance(entry.input, Claim):
                    self.is_ready_maybe = True
                elif isinstance(entry.input, Beat) and entry.ticket is None:
                    # A new one, as soon as there is a batch again.
                    self._beat_at = 0
                else:
                    if entry.is_counted:
                        self._rows += entry.rows
                        self._bytes += entry.size
                    self._queue.appendleft(entry)

    # -- the thread ----------------------------------------------------------------------------

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="errands-committer", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            log.critical("errands can commit nothing any more in this process", exc_info=error)
            self._break(error)

    def _break(self, error: BaseException) -> None:
        """A bug of ours. Nobody may wait for an answer that never comes."""
        with self._lock:
            self.broken = error
            self.is_closed = True
            left, self._queue = [*self._in_hand, *self._queue], deque[Entry]()
        for entry in left:
            entry.answer, entry.error = None, _internal(error)
        try:
            self._deliver(self, left, None)
        finally:
            self.on_broken()

    def _work(self) -> None:
        while not self.is_closed:
            self._signal.wait(self._idle_seconds)
            # In this order: whoever rings in between is heard by the step that follows.
            self._signal.clear()
            self._is_rung = False
            while self.step():
                pass
            if self.pause_seconds:
                # Not by the bell: whatever is submitted meanwhile waits as well.
                self._leaving.wait(self.pause_seconds)
                self._signal.set()

    @property
    def _idle_seconds(self) -> float | None:
        """For how long there is nothing to do, unless somebody rings."""
        idle = self.beat_ms / 1000 if self.beat_ms else None
        if not self._later:
            return idle
        due = max(0.0, (self._later[0][0] - self.clock.now()) / 1000)
        return due if idle is None else min(due, idle)

    @property
    def pause_seconds(self) -> float:
        """How long to wait before writing is tried again: the disk is full, or somebody stands
        inside a transaction. Less and less often, but no beat is missed for it.
        """
        if not self._failures:
            return min(0.001 * 2**self._stalls, STALL_SECONDS_MAX) if self._stalls else 0.0
        pause = RETRY_SECONDS[min(self._failures, len(RETRY_SECONDS)) - 1]
        return min(pause, self.beat_ms / 1000) if self.beat_ms else pause

    def close(self) -> None:
        """Commit what is queued, and stop. What cannot be written now is told so."""
        with self._lock:
            self.is_closed = True
        if self._thread is not None and self._thread is not threading.current_thread():
            self._leaving.set()
            self._signal.set()
            self._thread.join()
        while not self._failures and self.broken is None:
            if not self.step():
                if not 0 < self._stalls < STALLS_AT_CLOSE:
                    break
                time.sleep(self.pause_seconds)
        with self._lock:
            left, self._queue = list(self._queue), deque[Entry]()
        for entry in left:
            entry.error = _closed()
        if left:
            self._deliver(self, left, None)

    # -- a batch -------------------------------------------------------------------------------

    def step(self) -> bool:
        """One batch; False when there was nothing to do, or the store cannot be written now."""
        batch = self._take()
        if not batch:
            return False
        self._unwritable, self._in_hand = None, batch
        left = self._commit(batch)
        self._in_hand = []
        if self._unwritable is not None:
            self._failures += 1
            self._unavailable(left, self._unwritable)
            return False
        self._put_back(left)
        self._failures = 0
        # Of what others hold they let go in a moment.
        self._stalls = self._stalls + 1 if len(left) == len(batch) else 0
        return not self._stalls

    def _commit(self, batch: list[Entry]) -> list[Entry]:
        """Gives what is left and has to be put back, in its order."""
        self.new_id.tick()
        begun_at = time.perf_counter()
        try:
            outcome = run_cycle(
                self.store, batch, self.here, self.config, self.clock.now, self.new_id
            )
        except StoreUnavailable as error:
            self._unwritable = error
            return batch
        except Exception as error:
            # Whether others had committed was asked, and the answer is lost.
            self.inbox_news += 1
            # One of them cannot be written. Find it by halves; the rest is decided anew.
            if len(batch) == 1:
                self._refuse(batch[0], error)
                return []
            middle = len(batch) // 2
            left = self._commit(batch[:middle])
            return left + batch[middle:] if left else self._commit(batch[middle:])
        self.config = outcome.config
        left = list(outcome.left)
        seconds = time.perf_counter() - begun_at
        if left:
            waiting = dict.fromkeys(left)
            batch = [entry for entry in batch if entry not in waiting]
        self._committed(batch, outcome, seconds)
        return left

    def _committed(self, batch: list[Entry], outcome: Outcome, seconds: float) -> None:
        state = outcome.state
        if not state.is_alive and state.here is self.here:
            self.is_declared_dead = True
        if outcome.changed_elsewhere or state.inbox_freed:
            self.inbox_news += 1
        self.commits += 1
        with self._here_lock:
            self._note_leases(batch, state)
        if state.ready.added:
            self.is_ready_maybe = True
        for entry in batch:
            if isinstance(entry.input, Claim):
                if entry.answer:
                    self.is_ready_maybe = True
            elif isinstance(entry.input, Beat):
                self._beaten(entry, state)
            elif type(entry.input) in FOLLOW_UPS:
                self._at_hand.pop(cast("FollowUp", entry.input).inbox, None)
        effects = _effects(state, len(batch), seconds)
        for follow_up, worker in state.queued:
            if worker == self.here.worker:
                self._decide_soon(follow_up, state.events)
            elif worker is None:
                self.inbox_news += 1
        for entry in batch:
            if entry.error is not None:
                self._not_decided(entry, entry.error)
        self._deliver(self, batch, effects)

    def _note_leases(self, batch: list[Entry], state: State) -> None:
        here = self.here
        for run in state.items.before:
            item = state.items.now[run]
            if item is not None and item.place == Place.RUNNING and item.worker == self.here.worker:
                self.leases[run] = item.fence
                here.known[run] = item
                if state.items.before[run] is None:
                    here.settled[run] = None
                if item.crashes >= 2:
                    self._suspects[run] = None
                elif self._suspects:
                    # It has got something done: another one may have the place.
                    self._suspects.pop(run, None)
            else:
                self._forget_lease(run)
        for entry in batch:
            if entry.answer is LEASE_LOST or entry.answer is RUN_IS_OVER:
                run, fence = getattr(entry.input, "run", None), getattr(entry.input, "fence", None)
                if run is not None and self.leases.get(run) == fence:
                    self._forget_lease(run)
        for run, stop in state.poked.items():
            if stop is not None:
                # It was ended elsewhere, which this process is only told.
                self._forget_lease(run)
        for run in state.unseen:
            here.settled.pop(run, None)
        self._count_room()

    def _forget_lease(self, run: RunId) -> None:
        self.leases.pop(run, None)
        self.here.known.pop(run, None)
        self.here.settled.pop(run, None)
        if self._suspects:
            self._suspects.pop(run, None)

    def _count_room(self) -> None:
        self.here.room = max(0, self.concurrency - len(self.leases)) if self.here.serves else 0
        self.here.suspects = len(self._suspects)

    # -- who this process is -------------------------------------------------------------------

    def serve(self, functions: frozenset[int], concurrency: int) -> None:
        """Take on runs of these functions, so many at once. None: only finish what is leased."""
        with self._here_lock:
            self.here.serves, self.concurrency = functions, concurrency
            self._count_room()
        self.kick()

    def rename(self, here: Here, new_id: IdSource) -> None:
        """Go on under another worker id: the old one was declared dead."""
        with self._here_lock:
            self.here, self.new_id = here, new_id
            self.leases.clear()
            self._suspects.clear()
            self.beats.clear()
            self.is_declared_dead = False
            self._count_room()

    def _beaten(self, entry: Entry, state: State) -> None:
        if entry.input != Beat(self.here.worker):
            return
        if not isinstance(entry.answer, Refused):
            self.beats.append(state.now)

    def _refuse(self, entry: Entry, error: Exception) -> None:
        self._not_decided(entry, error)
        self._deliver(self, [entry], None)

    def _not_decided(self, entry: Entry, error: BaseException) -> None:
        if type(entry.input) in FOLLOW_UPS:
            self._count_try(cast("FollowUp | Undecidable", entry.input), error)
        elif isinstance(entry.input, Claim):
            # Whoever stands ready still does. A little later, for it may go wrong again.
            self.is_ready_maybe = True
            self._claim_at = self.clock.now() + int(RETRY_SECONDS[-1] * 1000)
        entry.error = error if isinstance(error, ErrandsError) else _internal(error)

    def _count_try(self, follow_up: FollowUp | Undecidable, error: BaseException) -> None:
        """A durable input that cannot be decided must not be tried for ever."""
        inbox = follow_up.inbox
        self._at_hand.pop(inbox, None)
        if not inbox:
            return
        try:
            with self.store.transaction() as transaction:
                tries = transaction.count_try(inbox)
        except (StoreUnavailable, StoreConflict):
            tries = 0  # not counted, then: it is tried again all the same
        if tries < TRIES_MAX:
            self._decide_later(follow_up, tries)
        elif isinstance(follow_up, Expand | WaitsLeft | Undecidable):
            # Of no single run (of many items or waits one is bad), or its run cannot even be
            # ended: it stays in the inbox, where `doctor` sees it, and is tried anew by whoever
            # takes over from this process.
            log.error("inbox row %d cannot be decided", inbox, exc_info=error)
        else:
            reason = f"{type(error).__name__}: {error}"
            log.error("run %d fails: %s", follow_up.run, reason, exc_info=error)
            self._decide_soon(Undecidable(follow_up.run, reason, inbox), _NO_EVENTS)

    def _decide_later(self, follow_up: FollowUp | Undecidable, tries: int) -> None:
        self._at_hand[follow_up.inbox] = None
        pause = RETRY_SECONDS[min(max(tries, 1), len(RETRY_SECONDS)) - 1]
        # What never beats is driven by hand, and nobody would come back later: it goes on at once.
        due = self.clock.now() + int(pause * 1000) if self.beat_ms else 0
        heapq.heappush(self._later, (due, follow_up.inbox, follow_up))

    def _take_up_again(self) -> None:
        now = self.clock.now()
        while self._later and self._later[0][0] <= now:
            self._decide_soon(heapq.heappop(self._later)[2], _NO_EVENTS)

    def _decide_soon(self, given: Input, events: dict[EventId, Event]) -> None:
        if type(given) in FOLLOW_UPS:
            self._at_hand[cast("FollowUp", given).inbox] = None
        rows, size = weight(given, self.config, events)
        self._queue.append(Entry(given, None, rows, size))

    def _unavailable(self, batch: list[Entry], error: StoreUnavailable) -> None:
        """Doors are told; what executing runs report is tried again."""
        told = [entry for entry in batch if _is_door(entry.input)]
        self._put_back([entry for entry in batch if not _is_door(entry.input)])
        for entry in told:
            entry.error = Unavailable(
                f"The store cannot be written: {error}.",
                hint="Nothing of this call was accepted. Check disk space and `errands doctor`.",
            )
        if told:
            self._deliver(self, told, None)


def _is_door(given: Input) -> bool:
    """Did somebody ask for it who can ask again?"""
    return isinstance(given, Sent | Registered | JobMade | JobChanged | Rerun) or (
        isinstance(given, CancelAsked) and not given.inbox
    )


def _closed() -> Unavailable:
    return Unavailable(
        "errands is closed in this process.",
        hint="Send before the app or its worker stops.",
    )


def _internal(error: BaseException) -> InternalError:
    wrapped = InternalError(
        f"errands could not decide this: {type(error).__name__}: {error}.",
        hint="This is a bug in errands; nothing of the call was kept. Please report this message.",
    )
    wrapped.__cause__ = error
    return wrapped


def _effects(state: State, inputs: int, seconds: float) -> Effects:
    mine = state.here.worker
    leases: list[tuple[Item, Run | None, Event | None]] = []
    for run, before in state.items.before.items():
        item = state.items.now[run]
        if item is None or item.place != Place.RUNNING or item.worker != mine:
            continue
        if before is None or before.fence != item.fence:
            made = state.runs.get(run) if before is None else None
            event = None
            if made is not None and made.event is not None:
                event = state.events.get(made.event)
                if event is None:
                    # A part of a large send: its events were kept by an earlier batch.
                    made = None
            leases.append((item, made, event))
    changed = dict.fromkeys(state.items.before)
    changed.update(dict.fromkeys(state.progress))
    # Ended elsewhere, and only told: who waits for it here has to look.
    changed.update({run: None for run, stop in state.poked.items() if stop is not None})
    due = min((timer.due for timer in state.timers.added), default=None)
    others = bool(
        state.ready.added
        or state.inbox_moved
        or state.inbox_freed
        or any(worker != mine for _, worker in state.queued)
    )
    return Effects(
        leases,
        dict(state.poked),
        state.done,
        changed,
        due,
        others or due is not None,
        state.new_runs,
        state.items,
        state.steps,
        inputs,
        seconds,
    )
