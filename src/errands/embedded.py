"""errands inside the user's own process: store, engine and executors, wired for an App.

Every process that sends opens the store directly; `worker` adds the loops that execute. A process
is one row among the workers, its ids are its own, and what it queues for itself it decides itself.
"""

import asyncio
import atexit
import logging
import os
import socket
import threading
import weakref
from collections.abc import AsyncGenerator, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import (
    AbstractAsyncContextManager,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from typing import Any

import msgspec

from errands.clock import Alarms, Chance, Clock, IdSource, SystemAlarms, SystemClock
from errands.engine.absorb import absorb
from errands.engine.config import Config
from errands.engine.input import CancelAsked, Registered, Sent, WorkerLeft
from errands.engine.state import Here, State
from errands.engine.transition import BeatKept, WorkerKept
from errands.executors.committer import Committer, Effects
from errands.executors.dispatcher import Dispatcher
from errands.executors.listener import Listener
from errands.executors.runner import Runner
from errands.executors.sweeper import Sweeper
from errands.executors.ticket import Ticket
from errands.executors.timers import Timers
from errands.executors.watchers import Watchers
from errands.model.errors import JobNotFound, Unavailable
from errands.model.event import NewEvent
from errands.model.ids import RunId, WorkerId, id_time, make_id, parse_id, public_id
from errands.model.job import JobView, NewJob
from errands.model.run import Done, RunStatus
from errands.model.worker import Worker, WorkerState
from errands.sdk import logs
from errands.sdk.app import App
from errands.sdk.backend import Backend
from errands.sdk.live import LiveCaller
from errands.settings import Settings, settings_from
from errands.store.cycle import Entry
from errands.store.interface import RunRow, Store, StoreConflict, StoreUnavailable, Topic
from errands.store.open import open_store

log = logging.getLogger("errands")
POLL_SECONDS = 0.02
"""How often a process that hears nothing of others asks whether a job has changed."""
WORKER_POLL_SECONDS = 0.5
"""How often whoever is told asks all the same."""
IDS_KEPT = 10_000


Told = dict[asyncio.AbstractEventLoop | None, list[tuple[Ticket[Any], Any, BaseException | None]]]
"""Answers, by the loop in which they are awaited; None: by blocked threads."""


def open_embedded(url: str, app: App) -> Backend:
    """The backend for a store's URL. No I/O yet."""
    return Embedded(lambda: open_store(url), app, settings_from())


class _Forks:
    """How many forks away from the first this process is. Asking for a pid is a system call."""

    count = 0

    @classmethod
    def happened(cls) -> None:
        cls.count += 1


os.register_at_fork(after_in_child=_Forks.happened)
_open: "weakref.WeakSet[Embedded]" = weakref.WeakSet()


@atexit.register
def _leave() -> None:
    """A script that only sends need not close anything: what it has queued is written, and it
    leaves.
    """
    for backend in list(_open):
        backend.close()


class Embedded:
    """See `sdk.backend.Backend`."""

    def __init__(
        self,
        opener: Any,
        app: App,
        settings: Settings,
        *,
        clock: Clock | None = None,
        alarms: Alarms | None = None,
        chance: Chance | None = None,
    ) -> None:
        self._opener, self.app, self.settings = opener, app, settings
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
        """The app's functions could not be registered yet; before anything is sent they must be."""
        self._ids: dict[str, int] = {}
        self._home: asyncio.AbstractEventLoop | None = None
        """The worker's loop."""
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
                await self._register_first(self._registered(is_complete=False))
            return
        with self._opening.setdefault(pid, threading.Lock()):
            if self._pid == pid:
                return
            self.open()
            # Queued before anybody can send: so an event finds the functions of this app.
            registered = self._registered(is_complete=False)
            self._pid = pid
            self._at_fork = _Forks.count
            _open.add(self)
        await self._register_first(registered)

    async def _register_first(self, registered: Ticket[Any]) -> None:
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
                    self.app.id,
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

    def _say_concurrency(self, concurrency: int) -> None:
        """So that others can see that this process executes, and does not only send."""
        committer, now = self.committer, self.clock.now()
        self._worker = msgspec.structs.replace(self._worker, concurrency=concurrency)
        with self.store.transaction() as transaction:
            if transaction.is_alive(self._worker.id):
                state = State(committer.here, Config(0), now, committer.new_id)
                absorb(state, (WorkerKept(self._worker),))
                transaction.apply(state)

    def _say_that_it_stopped(self) -> None:
        """It goes on, and only sends."""
        try:
            self._say_concurrency(0)
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

    async def register(self, *, is_complete: bool) -> None:
        await self._registered(is_complete=is_complete)

    def _registered(self, *, is_complete: bool) -> Ticket[Any]:
        """Queued at once; settled when the app's functions are known to all."""
        config = self.app.config()
        return self.committer.submit(Registered(config, is_complete))

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

    # -- worker --------------------------------------------------------------------------------

    def worker(self, concurrency: int | None) -> AbstractAsyncContextManager[object]:
        return self._working(concurrency or self.settings.concurrency)

    @asynccontextmanager
    async def _working(self, concurrency: int) -> AsyncGenerator["Embedded"]:
        await self.connect()
        self._say_concurrency(concurrency)
        self._home, self._home_thread = asyncio.get_running_loop(), threading.get_ident()
        functions = ThreadPoolExecutor(self.settings.threads, "errands-function")
        steps = ThreadPoolExecutor(self.settings.threads, "errands-step")
        caller = LiveCaller(self.app, functions, steps, self.settings.value_bytes)
        logs.capture()
        for middleware in self.app.middleware:
            await middleware.start()
        try:
            await self.register(is_complete=True)
            self.dispatcher = self.dispatch(caller)
            self.dispatcher.start()
            self.committer.serve(self._served(), concurrency)
            try:
                with self._hearing(self.dispatcher):
                    yield self
            finally:
                await self.dispatcher.stop(self.settings.grace_ms / 1000)
                self._say_that_it_stopped()
        finally:
            self.dispatcher = None
            self._home = None
            functions.shutdown(wait=False, cancel_futures=True)
            steps.shutdown(wait=False, cancel_futures=True)
            logs.release()
            for middleware in self.app.middleware:
                await middleware.stop()

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

    def dispatch(self, caller: LiveCaller) -> Dispatcher:
        committer, store, clock, alarms = self.committer, self.store, self.clock, self.alarms
        settings = self.settings
        runner = Runner(
            committer,
            store.reader,
            caller,
            clock,
            self.chance,
            parked_max=settings.parked,
            loop=caller.loop,
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

    def _served(self) -> frozenset[int]:
        config = self.committer.store.reader.config()
        slugs = self.app.definitions
        return frozenset(
            f.id
            for f in config.functions.values()
            if f.app == self.app.id and f.config.slug in slugs
        )

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


def view_of(job_id: str, row: RunRow) -> JobView:
    """A run as its owner sees it."""
    ok = row.status == "completed"
    return JobView(
        id=job_id,
        status=row.status,
        created_at=row.created_at,
        updated_at=row.updated_at,
        progress=row.percent,
        message=row.note,
        result=row.output if ok else None,
        error=row.output if row.status == "failed" and not row.is_cancelled else None,
        cancelled=_reason(row.output) if row.is_cancelled else None,
    )


def view_of_done(
    job_id: str, created_at: int, done: Done, progress: float | None, message: str | None
) -> JobView:
    ok = done.status == RunStatus.COMPLETED
    is_cancelled = done.status == RunStatus.CANCELLED
    return JobView(
        id=job_id,
        status="completed" if ok else "failed",
        created_at=created_at,
        updated_at=done.at,
        progress=progress,
        message=message,
        result=done.output if ok else None,
        error=None if ok or is_cancelled else done.output,
        cancelled=_reason(done.output) if is_cancelled else None,
    )


def _reason(output: bytes | None) -> str:
    return msgspec.json.decode(output or b'""', type=str)
