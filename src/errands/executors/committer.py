"""Makes what happened durable, many inputs in one transaction.

A batch is whatever arrived while the previous one was being committed: no timer, so no added
latency when idle. The queue is bounded for doors (`submit` raises Unavailable when it is full);
what comes
from work that already executes is never refused.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, cast

import msgspec

from errands.clock import Clock, IdSource
from errands.engine.config import Config
from errands.engine.decide import FOLLOW_UPS
from errands.engine.input import Beat, CancelAsked, Claim, Expand, FollowUp, Input, Sent
from errands.engine.state import Here, State
from errands.executors.ticket import Ticket
from errands.model.call import Refused, RunReturned, StepReturned
from errands.model.errors import ErrandsError, InternalError, Unavailable
from errands.model.event import Event
from errands.model.ids import RunId
from errands.model.item import Item, Place
from errands.model.run import Done, Run
from errands.store.cycle import Entry, Outcome, run_cycle
from errands.store.interface import Store, StoreUnavailable

log = logging.getLogger("errands.committer")
BATCH_ROWS_MAX = 2_000
BATCH_BYTES_MAX = 8 * 1024 * 1024
QUEUE_ROWS_MAX = 20_000
QUEUE_BYTES_MAX = 64 * 1024 * 1024
CLAIM_MAX = 500
TRIES_MAX = 5
"""Times that a durable input is tried before its run is ended instead."""
RETRY_SECONDS = (0.05, 0.2, 1.0, 5.0)


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


class Listener(Protocol):
    """Who acts on effects, in the loop's thread."""

    def acted(self, effects: Effects) -> None: ...


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
        self._deliver = deliver
        self._queue: deque[Entry] = deque()
        self._rows = self._bytes = 0
        self._lock = threading.Lock()
        self._signal = threading.Event()
        self._wake = wake or self._ring
        self._failures = 0
        self._unwritable: StoreUnavailable | None = None
        """Why the batch at hand, or a part of it, could not be written."""
        self._broken: BaseException | None = None
        self._thread: threading.Thread | None = None
        self.beat_ms = 0
        """How often to say that this process lives; 0: never."""
        self.beats: deque[int] = deque(maxlen=3)
        """When the last ones were committed."""
        self._beat_at = 0
        self.is_declared_dead = False
        """Others have taken over what this process held: it was silent for too long."""

    # -- the queue -----------------------------------------------------------------------------

    def submit(self, given: Input, *, is_door: bool = False) -> Ticket[Any]:
        """Queue an input; the ticket gives the engine's answer. Raises Unavailable."""
        rows, size = _weight(given)
        # Judged by what waits already: a send larger than the whole queue has its turn as well.
        if is_door and (self._rows >= QUEUE_ROWS_MAX or self._bytes >= QUEUE_BYTES_MAX):
            raise Unavailable(
                f"errands is full: {self._rows:,} inputs wait to be written.",
                hint="Nothing of this call was accepted. Try again in a second.",
            )
        if self._broken is not None:
            raise _internal(self._broken)
        if self.is_closed:
            raise Unavailable(
                "errands is closed in this process.",
                hint="Send before the app or its worker stops.",
            )
        ticket: Ticket[Any] = Ticket()
        with self._lock:
            self._rows += rows
            self._bytes += size
            self._queue.append(Entry(given, ticket, rows, size))
        self._wake()
        return ticket

    def _ring(self) -> None:
        if not self._signal.is_set():
            self._signal.set()

    def kick(self) -> None:
        """Somebody may stand ready: claim, if there is room."""
        self.is_ready_maybe = True
        self._wake()

    def _take(self) -> list[Entry]:
        batch: list[Entry] = []
        rows = size = 0
        queue = self._queue
        # Only this thread takes, and a deque may be added to meanwhile: no lock while it is
        # emptied.
        while queue and (not batch or (rows < BATCH_ROWS_MAX and size < BATCH_BYTES_MAX)):
            entry = queue.popleft()
            rows, size = rows + entry.rows, size + entry.size
            batch.append(entry)
        with self._lock:
            self._rows -= rows
            self._bytes -= size
        if self.beat_ms and self.clock.now() >= self._beat_at:
            # From here, not from the loop: user code that blocks the loop does not cost the leases.
            self._beat_at = self.clock.now() + self.beat_ms
            batch.append(Entry(Beat(self.here.worker)))
        if self.is_ready_maybe and self.here.serves and (batch or self.here.room > 0):
            # Whoever kicks from here on may have seen what this claim does not see yet.
            self.is_ready_maybe = False
            batch.append(Entry(Claim(CLAIM_MAX)))
        return batch

    def _put_back(self, entries: list[Entry]) -> None:
        with self._lock:
            for entry in reversed(entries):
                if isinstance(entry.input, Claim):
                    self.is_ready_maybe = True
                elif not isinstance(entry.input, Beat):
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
            # A bug of ours. Nobody may wait for an answer that never comes.
            self._broken = error
            with self._lock:
                left, self._queue = list(self._queue), deque[Entry]()
            for entry in left:
                entry.error = _internal(error)
            self._deliver(self, left, None)
            raise

    def _work(self) -> None:
        while not self.is_closed:
            self._signal.wait(self.beat_ms / 1000 if self.beat_ms else None)
            self._signal.clear()
            while self.step():
                pass
            if self.pause_seconds:
                self._signal.wait(self.pause_seconds)
                self._signal.set()

    @property
    def pause_seconds(self) -> float:
        """How long to wait before writing is tried again: the disk is full, or somebody stands
        inside a transaction. Less and less often, but no beat is missed for it.
        """
        if not self._failures:
            return 0.0
        pause = RETRY_SECONDS[min(self._failures, len(RETRY_SECONDS)) - 1]
        return min(pause, self.beat_ms / 1000) if self.beat_ms else pause

    def close(self) -> None:
        """Commit what is queued, and stop."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self.is_closed = True
            self._signal.set()
            self._thread.join()
        while not self._failures and self.step():
            pass
        self.is_closed = True

    # -- a batch -------------------------------------------------------------------------------

    def step(self) -> bool:
        """One batch; False when there was nothing to do, or the store cannot be written now."""
        batch = self._take()
        if not batch:
            return False
        self._unwritable = None
        left = self._commit(batch)
        if self._unwritable is not None:
            self._failures += 1
            self._unavailable(left, self._unwritable)
            return False
        self._put_back(left)
        self._failures = 0
        return True

    def _commit(self, batch: list[Entry]) -> list[Entry]:
        """Gives what is left: all from the first on that has to wait, so that order is kept."""
        self.new_id.tick()
        try:
            outcome = run_cycle(
                self.store, batch, self.here, self.config, self.clock.now, self.new_id
            )
        except StoreUnavailable as error:
            self._unwritable = error
            return batch
        except Exception as error:
            # One of them cannot be written. Find it by halves; the rest is decided anew.
            if len(batch) == 1:
                self._refuse(batch[0], error)
                return []
            middle = len(batch) // 2
            left = self._commit(batch[:middle])
            return left + batch[middle:] if left else self._commit(batch[middle:])
        self.config = outcome.config
        left = list(outcome.left)
        self._committed(batch[: len(batch) - len(left)], outcome)
        return left

    def _committed(self, batch: list[Entry], outcome: Outcome) -> None:
        state = outcome.state
        if not state.is_alive and state.here is self.here:
            self.is_declared_dead = True
        self._note_leases(batch, state)
        if state.ready.added:
            self.is_ready_maybe = True
        for entry in batch:
            if isinstance(entry.input, Claim):
                if entry.answer:
                    self.is_ready_maybe = True
            elif isinstance(entry.input, Beat):
                self._beaten(entry, state)
        effects = _effects(state)
        for follow_up, worker in state.queued:
            if worker == self.here.worker:
                self._decide_later(follow_up)
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
            else:
                self._forget_lease(run)
        for entry in batch:
            if isinstance(entry.answer, Refused) and entry.answer.reason in (
                "lease lost",
                "run is over",
            ):
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
        self.here.serves, self.concurrency = functions, concurrency
        self._count_room()
        self.kick()

    def rename(self, here: Here, new_id: IdSource) -> None:
        """Go on under another worker id: the old one was declared dead."""
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
            self._count_try(cast("FollowUp", entry.input), error)
        entry.error = error if isinstance(error, ErrandsError) else _internal(error)

    def _count_try(self, follow_up: FollowUp, error: BaseException) -> None:
        """A durable input that cannot be decided ends its run, in the end: it must not be tried for
        ever.
        """
        if not follow_up.inbox:
            return
        try:
            with self.store.transaction() as transaction:
                tries = transaction.count_try(follow_up.inbox)
        except StoreUnavailable:
            tries = 0  # not counted, then: it is tried again all the same
        if tries < TRIES_MAX:
            again: Input = follow_up
        elif isinstance(follow_up, Expand):
            # Many accepted items, of which one is bad: they stay in the inbox, for a better
            # version.
            log.error("inbox row %d cannot be expanded", follow_up.inbox, exc_info=error)
            return
        else:
            reason = f"internal_error: {type(error).__name__}: {error}"
            log.error("run %d ends: %s", follow_up.run, reason, exc_info=error)
            again = CancelAsked(follow_up.run, reason, inbox=follow_up.inbox)
        self._decide_later(again)

    def _decide_later(self, given: Input) -> None:
        with self._lock:
            self._rows += 1
            self._queue.append(Entry(given))

    def _unavailable(self, batch: list[Entry], error: StoreUnavailable) -> None:
        """Doors are told; what executing runs report is tried again."""
        told = [entry for entry in batch if isinstance(entry.input, Sent)]
        self._put_back([entry for entry in batch if not isinstance(entry.input, Sent)])
        for entry in told:
            entry.error = Unavailable(
                f"The store cannot be written: {error}.",
                hint="Nothing of this call was accepted. Check disk space and `errands doctor`.",
            )
        if told:
            self._deliver(self, told, None)


def _internal(error: BaseException) -> InternalError:
    wrapped = InternalError(
        f"errands could not decide this: {type(error).__name__}: {error}.",
        hint="This is a bug in errands; nothing of the call was kept. Please report this message.",
    )
    wrapped.__cause__ = error
    return wrapped


def _weight(given: Input) -> tuple[int, int]:
    """Rows and bytes that it will write, about."""
    kind = type(given)
    if kind is StepReturned:
        return 1, len(cast("StepReturned", given).step.output or b"")
    if kind is RunReturned:
        return 3, len(cast("RunReturned", given).output)
    if kind is Sent:
        items = cast("Sent", given).items
        if len(items) == 1:
            return 2, len(items[0].data)
        return 2 * len(items), sum(len(item.data) for item in items)
    return 3, 0


def _effects(state: State) -> Effects:
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
    due = min((timer.due for timer in state.timers.added), default=None)
    others = bool(
        state.ready.added
        or state.inbox_moved
        or state.inbox_freed
        or any(worker != mine for _, worker in state.queued)
    )
    return Effects(leases, dict(state.poked), state.done, changed, due, others or due is not None)
