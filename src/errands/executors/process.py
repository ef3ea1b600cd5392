"""One process among those that use a store: its id, its committer, and who waits here for what.

Every process that sends opens the store directly; `working` adds the loops that execute. A process
is one row among the workers, its ids are its own, and what it queues for itself it decides itself.
"""

import asyncio
import atexit
import logging
import os
import socket
import threading
import weakref
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import msgspec

from errands.clock import Alarms, Chance, Clock, IdSource, SystemAlarms, SystemClock
from errands.engine.absorb import absorb
from errands.engine.config import Config
from errands.engine.input import CancelAsked, Sent, WorkerLeft
from errands.engine.state import Here, State
from errands.engine.transition import BeatKept, WorkerKept
from errands.executors.committer import Committer, Effects
from errands.executors.dispatcher import Dispatcher
from errands.executors.listener import Listener
from errands.executors.runner import Runner
from errands.executors.sweeper import Sweeper
from errands.executors.ticket import Ticket
from errands.executors.timers import Timers
from errands.executors.views import view_of, view_of_done
from errands.executors.watchers import Watchers
from errands.model.call import Caller
from errands.model.errors import JobNotFound, Unavailable
from errands.model.event import NewEvent
from errands.model.ids import RunId, WorkerId, id_time, make_id, parse_id, public_id
from errands.model.job import JobView, NewJob
from errands.model.run import Done
from errands.model.worker import Worker, WorkerState
from errands.settings import Settings
from errands.store.cycle import Entry
from errands.store.interface import Store, StoreConflict, StoreUnavailable, Topic

log = logging.getLogger("errands")
POLL_SECONDS = 0.02
"""How often a process that hears nothing of others asks whether a job has changed."""
WORKER_POLL_SECONDS = 0.5
"""How often whoever is told asks all the same."""
IDS_KEPT = 10_000


Told = dict[asyncio.AbstractEventLoop | None, list[tuple[Ticket[Any], Any, BaseException | None]]]
"""Answers, by the loop in which they are awaited; None: by blocked threads."""


class _Forks:
    """How many forks away from the first this process is. Asking for a pid is a system call."""

    count = 0

    @classmethod
    def happened(cls) -> None:
        cls.count += 1


os.register_at_fork(after_in_child=_Forks.happened)
_open: "weakref.WeakSet[Process]" = weakref.WeakSet()


@atexit.register
def _leave() -> None:
    """A script that only sends need not close anything: what it has queued is written, and it
    leaves.
    """
    for backend in list(_open):
        backend.close()


class Process:
    """Accepts, decides and tells. `app`: how the process is called among the workers."""

    def __init__(
        self,
        opener: Callable[[], Store],
        app: str,
        settings: Settings,
        *,
        clock: Clock | None = None,
        alarms: Alarms | None = None,
        chance: Chance | None = None,
    ) -> None:
        self._opener, self._name, self.settings = opener, app, settings
        self.clock = clock or SystemClock()
        self.alarms = alarms or SystemAlarms(self.clock)
        self.chance = chance or Chance()
        self.watchers = Watchers()
        self.dispatcher: Dispatcher | None = None
        self.listener: Listener | None = None
        """Hears of changes made by other processes; None where nothing listens but polls."""
        self._opening: dict[int, threading.Lock] = {}
        """By process: a forked child takes no lock that another thread of its parent may hold."""
        self._pid = 0
        self._at_fork = -1
        self._is_unregistered = False
        """What must be known first could not be written yet; before anything is sent it must be."""
        self._ids: dict[str, int] = {}
        self._home: asyncio.AbstractEventLoop | None = None
        """The loop in which it executes."""
        self._home_thread = 0

    # -- opening -------------------------------------------------------------------------------

    @property
    def is_connected(self) -> bool:
        if not self._pid or self._at_fork != _Forks.count or self._is_unregistered:
            return False
        return not self.committer.is_declared_dead or self.dispatcher is not None

    async def connect(self) -> None:
        pid = os.getpid()
        if self._pid == pid:
            if self.committer.is_declared_dead and self.dispatcher is None:
                # Stopped for longer than its lease; a worker's dispatcher sees to it.
                with self._opening[pid]:
                    if self.committer.is_declared_dead:
                        self.rejoin()
            if self._is_unregistered:
                await self._register_first(self.introduce())
            return
        with self._opening.setdefault(pid, threading.Lock()):
            if self._pid == pid:
                return
            self.open()
            # Queued before anybody can send: so an event finds the functions of this process.
            registered = self.introduce()
            self._pid = pid
            self._at_fork = _Forks.count
            _open.add(self)
        await self._register_first(registered)

    def introduce(self) -> Ticket[Any] | None:
        """Submit what everybody has to know before anything is sent from here."""
        return None

    async def _register_first(self, registered: Ticket[Any] | None) -> None:
        if registered is None:
            return
        try:
            await registered
        except Unavailable:
            self._is_unregistered = True
            raise
        self._is_unregistered = False

    def open(self) -> None:
        """Open the store and join those who use it. Raises StoreError, Unavailable."""
        if self._pid:
            self._forked()
        self.store: Store = self._opener()
        try:
            self.key = self.store.reader.key()
            here, new_id = self._join(0)
        except StoreUnavailable as error:
            self.store.close()
            raise _unavailable(error) from error
        self.committer = self.make_committer(here, new_id)
        self.drive()

    def _forked(self) -> None:
        """In a forked child: what its parent waits for and executes is not the child's."""
        self.watchers = Watchers()
        self.dispatcher = self.listener = self._home = None

    def make_committer(self, here: Here, new_id: IdSource) -> Committer:
        committer = Committer(
            self.store,
            here,
            self.clock,
            new_id,
            deliver=self.deliver,
            config=self.store.reader.config(),
        )
        committer.beat_ms = self.settings.lease_ms // 3
        return committer

    def drive(self) -> None:
        """Let the committer work: in a thread of its own, which a slow disk may block."""
        self.committer.on_broken = self._on_broken
        self.committer.start()
        self.listener = Listener(
            self.store, self.watchers, self._tell_changed, lambda: self.committer.leases
        )

    def _join(self, concurrency: int) -> tuple[Here, IdSource]:
        """A new worker id, and with it new ids for everything."""
        now, node = self.clock.now(), None
        try:
            with self.store.transaction() as transaction:
                node = transaction.free_node()
                self.store.hold_node(node)
                worker = WorkerId(make_id(now, node, 0))
                here = Here(worker, self.key, self.settings.keep_runs_ms)
                new_id = IdSource(node, self.clock)
                state = State(here, Config(0), now, new_id)
                joined = Worker(
                    worker,
                    node,
                    os.getpid(),
                    socket.gethostname(),
                    self._name,
                    WorkerState.ALIVE,
                    now,
                    now,
                    concurrency,
                )
                absorb(state, (WorkerKept(joined), BeatKept(worker, now)))
                transaction.apply(state)
        except BaseException:
            if node is not None:
                # Nobody has joined under this number.
                self.store.drop_node(node)
            raise
        self._node, self._worker = node, joined
        return here, new_id

    def say_concurrency(self, concurrency: int) -> None:
        """So that others can see that this process executes, and does not only send."""
        committer, now = self.committer, self.clock.now()
        self._worker = msgspec.structs.replace(self._worker, concurrency=concurrency)
        with self.store.transaction() as transaction:
            if transaction.is_alive(self._worker.id):
                state = State(committer.here, Config(0), now, committer.new_id)
                absorb(state, (WorkerKept(self._worker),))
                transaction.apply(state)

    def say_that_it_stopped(self) -> None:
        """It goes on, and only sends."""
        try:
            self.say_concurrency(0)
        except (StoreUnavailable, StoreConflict) as error:
            log.warning("others cannot be told that this worker has stopped: %s", error)

    # -- a bug of ours in the committer --------------------------------------------------------

    def _on_broken(self) -> None:
        """In the committer's thread, which ends."""
        home = self._home
        if home is not None:
            with suppress(RuntimeError):  # its loop is closed
                home.call_soon_threadsafe(self.broke)

    def broke(self) -> None:
        """In the worker's loop: nothing can be committed any more, so nothing more is executed."""
        if self.dispatcher is not None:
            self.dispatcher.halt()
            self.dispatcher.runner.drop_all()

    # -- what callers are told -----------------------------------------------------------------

    def deliver(self, committer: Committer, entries: list[Entry], effects: Effects | None) -> None:
        """In the committer's thread: hand answers to the loops and threads that wait for them."""
        told: Told = {}
        for entry in entries:
            ticket = entry.ticket
            if ticket is not None:
                told.setdefault(ticket.loop, []).append((ticket, entry.answer, entry.error))
        if effects is not None:
            for ticket, done in self.watchers.told(effects):
                told.setdefault(ticket.loop, []).append((ticket, done, None))
            if self._home is not None:
                told.setdefault(self._home, [])
        self._hand(told, effects)
        if effects is not None:
            if effects.is_ready_for_others:
                self.store.ring(Topic.WORK)
            if effects.changed:
                self.store.ring(Topic.NEWS)

    def _tell_changed(self, tickets: list[Ticket[Any]]) -> None:
        """In the listener's thread."""
        told: Told = {}
        for ticket in tickets:
            told.setdefault(ticket.loop, []).append((ticket, None, None))
        self._hand(told, None)

    def _hand(self, told: Told, effects: Effects | None) -> None:
        for loop, tickets in told.items():
            of_home = effects if loop is self._home else None
            if loop is None:
                _settle(tickets)
            else:
                try:
                    loop.call_soon_threadsafe(self._tell, tickets, of_home)
                except RuntimeError:
                    # The loop is closed: nobody is left to be told.
                    continue

    def _tell(
        self, tickets: list[tuple[Ticket[Any], Any, BaseException | None]], effects: Effects | None
    ) -> None:
        _settle(tickets)
        if effects is not None and self.dispatcher is not None:
            self.dispatcher.acted(effects)

    # -- Backend -------------------------------------------------------------------------------

    async def send(self, items: Sequence[NewEvent | NewJob]) -> list[str]:
        sent = Sent(tuple(items))
        accepted = await self.committer.submit(sent, is_door=True, loop=self._loop_here())
        return [
            given or self._public_id(id)
            for id, given in zip(accepted.ids, accepted.keys, strict=True)
        ]

    def _loop_here(self) -> asyncio.AbstractEventLoop | None:
        """The worker's, where that runs in this thread; otherwise it has to be looked up."""
        home = self._home
        if home is None or self._home_thread != threading.get_ident():
            return None
        return home if home.is_running() else None

    def _public_id(self, id: int) -> str:
        """Kept for a while: who has just enqueued a job mostly asks for it next."""
        text = public_id(id, self.key)
        if len(self._ids) >= IDS_KEPT:
            self._ids.clear()
        self._ids[text] = id
        return text

    async def job(self, job_id: str) -> JobView:
        return self._view(job_id, self._run_id(job_id))

    async def changed(self, seen: JobView, timeout: float | None) -> JobView:
        run = self._run_id(seen.id)
        deadline = None if timeout is None else self.clock.now() + timeout * 1000
        while True:
            ticket = self.watchers.watch(run)
            try:
                view = self._view(seen.id, run)
                left = self._left(deadline)
                if view != seen or (left is not None and left <= 0):
                    return view
                await self._hear(ticket, left)
            finally:
                # Also when whoever waits is cancelled.
                self.watchers.forget(run, ticket)

    async def outcome(self, job_id: str, timeout: float | None) -> JobView | None:
        run, loop = self._run_id(job_id), self._loop_here()
        deadline = None if timeout is None else self.clock.now() + timeout * 1000
        while True:
            ticket = self.watchers.watch(run, loop)
            try:
                # What this process holds the lease of has not ended; no need to read that.
                if run not in self.committer.leases:
                    view = self._view(job_id, run)
                    if view.is_final:
                        return view
                left = self._left(deadline)
                if left is not None and left <= 0:
                    return None
                done = await self._hear(ticket, left)
            finally:
                self.watchers.forget(run, ticket)
            if done is not None:
                return view_of_done(job_id, id_time(run), done, None, None)

    def _left(self, deadline: float | None) -> float | None:
        """Seconds until this time (Unix ms)."""
        return None if deadline is None else (deadline - self.clock.now()) / 1000

    async def _hear(self, ticket: Ticket[Done | None], timeout: float | None) -> Done | None:
        """Wait for a change; another process's is only seen by looking."""
        wait = timeout
        if self.listener is not None:
            # Also of changes made elsewhere, so there is no need to look again and again.
            self.listener.attend()
        else:
            poll = POLL_SECONDS if self.dispatcher is None else WORKER_POLL_SECONDS
            wait = poll if timeout is None else min(poll, timeout)
        if ticket.loop is None:
            ticket.wait(wait)
        elif wait is None:
            return await ticket
        else:
            alarm = ticket.loop.call_later(wait, ticket.settle, None)
            try:
                await ticket
            finally:
                alarm.cancel()
        return await ticket if ticket.is_done else None

    async def cancel(self, job_id: str, reason: str | None) -> None:
        run = self._run_id(job_id)
        self._view(job_id, run)
        await self.committer.submit(CancelAsked(run, reason or ""))

    def _run_id(self, job_id: str) -> RunId:
        number = self._ids.get(job_id)
        if number is None:
            number = parse_id(job_id, self.key)
            if number is None:
                raise JobNotFound(job_id)
        return RunId(number)

    def _view(self, job_id: str, run: RunId) -> JobView:
        row = self.store.reader.run(run)
        if row is None:
            raise JobNotFound(job_id)
        return view_of(job_id, row)

    # -- executing -----------------------------------------------------------------------------

    @asynccontextmanager
    async def working(
        self, caller: Caller, concurrency: int, served: Callable[[], frozenset[int]]
    ) -> AsyncGenerator[None]:
        """Look after the store, and execute runs of these functions, until the block ends.

        In the running loop, connected.
        """
        self._home, self._home_thread = asyncio.get_running_loop(), threading.get_ident()
        try:
            self.dispatcher = self.dispatch(caller)
            self.dispatcher.start()
            self.committer.serve(served(), concurrency)
            try:
                with self._hearing(self.dispatcher):
                    yield
            finally:
                await self.dispatcher.stop(self.settings.grace_ms / 1000)
        finally:
            self.dispatcher = None
            self._home = None

    @contextmanager
    def _hearing(self, dispatcher: Dispatcher) -> Generator[None]:
        """Be hinted by other processes' commits, where hints can be had."""
        ear = None if self.listener is None else self.store.listen(Topic.WORK)
        if ear is None or self.listener is None:
            yield
            return
        # What is executed here it is told without looking, and the rest by hints.
        self.listener.poll_seconds = WORKER_POLL_SECONDS
        loop = asyncio.get_running_loop()

        def hinted() -> None:
            ear.drain()
            dispatcher.hinted()

        loop.add_reader(ear.fileno(), hinted)
        try:
            yield
        finally:
            loop.remove_reader(ear.fileno())
            ear.close()
            self.listener.poll_seconds = POLL_SECONDS

    def rejoin(self) -> None:
        """Others took this process for dead, and have what it held: it goes on as a new one.

        Raises Unavailable.
        """
        self.store.drop_node(self._node)
        try:
            here, new_id = self._join(self.committer.concurrency)
        except StoreUnavailable as error:
            raise _unavailable(error) from error
        here.serves = self.committer.here.serves
        self.committer.rename(here, new_id)

    def dispatch(self, caller: Caller) -> Dispatcher:
        committer, store, clock, alarms = self.committer, self.store, self.clock, self.alarms
        settings = self.settings
        runner = Runner(
            committer,
            store.reader,
            caller,
            clock,
            self.chance,
            parked_max=settings.parked,
            loop=asyncio.get_running_loop(),
        )
        timers = Timers(committer, store.reader, clock, alarms)
        sweeper = Sweeper(
            committer,
            store,
            clock,
            alarms,
            lease_ms=settings.lease_ms,
            keep_runs_ms=settings.keep_runs_ms,
            keep_events_ms=settings.keep_events_ms,
        )
        return Dispatcher(committer, store, runner, timers, sweeper, clock, alarms, self.rejoin)

    def close(self) -> None:
        """Commit what is queued, and leave."""
        if self._pid != os.getpid():
            return
        if self.committer.broken is None:
            self.committer.submit(WorkerLeft(self.committer.here.worker))
        self.committer.close()
        self.store.drop_node(self._node)
        if self.listener is not None:
            self.listener.close()
        self.store.close()
        self._pid = 0


def _unavailable(error: StoreUnavailable) -> Unavailable:
    return Unavailable(
        f"The store cannot be written: {error}.",
        hint="Check disk space, permissions, and `errands doctor`.",
    )


def _settle(tickets: list[tuple[Ticket[Any], Any, BaseException | None]]) -> None:
    for ticket, answer, error in tickets:
        ticket.settle(answer, error)
