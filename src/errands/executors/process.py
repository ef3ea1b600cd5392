"""One process among those that use a store: its id, its committer, and who waits here for what.

Every process that sends opens the store directly; `working` adds the loops that execute. A process
is one row among the workers, its ids are its own, and what it queues for itself it decides itself.
"""

import asyncio
import atexit
import logging
import os
import threading
import weakref
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

from errands.clock import Alarms, Chance, Clock, IdSource, SystemAlarms, SystemClock
from errands.engine.input import CancelAsked, Input, Rerun, Sent, WorkerLeft
from errands.engine.state import Here
from errands.executors import external
from errands.executors.committer import Committer, Effects
from errands.executors.dispatcher import Dispatcher
from errands.executors.listener import Listener
from errands.executors.membership import Membership
from errands.executors.runner import Runner
from errands.executors.sweeper import Sweeper
from errands.executors.ticket import Ticket
from errands.executors.timers import Timers
from errands.executors.views import view_of, view_of_done
from errands.executors.watchers import Watchers
from errands.model.call import Caller
from errands.model.errors import InvalidConfig, JobNotFound, NotExternal, Unavailable
from errands.model.event import NewEvent
from errands.model.external_rules import Change
from errands.model.function import EXTERNAL
from errands.model.ids import (
    FunctionId,
    RunId,
    id_time,
    parse_id,
    public_id,
)
from errands.model.job import JobState, JobView, NewJob
from errands.model.run import Done
from errands.settings import Settings
from errands.store.cycle import Entry
from errands.store.interface import Store, Topic

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
    for process in list(_open):
        try:
            process.close()
        except Exception:
            # The others have something to write as well.
            log.exception("a store could not be left in order")


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
        self.on_committed: Callable[[Effects], None] | None = None
        """Called with each batch that was committed, in the committer's thread; must not raise."""
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
            self.membership = Membership(
                self.store, self.clock, self._name, self.settings.keep_runs_ms
            )
            here, new_id = self.membership.join(0)
        except Unavailable:
            self.store.close()
            raise
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

    def say_concurrency(self, concurrency: int) -> None:
        """See `Membership`."""
        self.membership.say_concurrency(concurrency)

    def say_that_it_stopped(self) -> None:
        self.membership.say_that_it_stopped()

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
            if self.on_committed is not None:
                self.on_committed(effects)

    def _tell_changed(self, tickets: list[Ticket[Any]]) -> None:
        """In the listener's thread."""
        told: Told = {}
        for ticket in tickets:
            told.setdefault(ticket.loop, []).append((ticket, None, None))
        self._hand(told, None)

    def _tell_closed(self) -> None:
        """Who still waits here for a run would wait for ever."""
        error = _closed()
        told: Told = {}
        for ticket in self.watchers.all():
            told.setdefault(ticket.loop, []).append((ticket, None, error))
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
        return self.view(job_id, self.run_id(job_id))

    async def changed(self, seen: JobView, timeout: float | None) -> JobView:
        run = self.run_id(seen.id)
        deadline = None if timeout is None else self.clock.now() + timeout * 1000
        while True:
            ticket = self.watchers.watch(run)
            try:
                view = self.view(seen.id, run)
                left = self._left(deadline)
                if view != seen or (left is not None and left <= 0):
                    return view
                await self.hear(ticket, left)
            finally:
                # Also when whoever waits is cancelled.
                self.watchers.forget(run, ticket)

    async def outcome(self, job_id: str, timeout: float | None) -> JobView | None:
        run, loop = self.run_id(job_id), self._loop_here()
        deadline = None if timeout is None else self.clock.now() + timeout * 1000
        while True:
            ticket = self.watchers.watch(run, loop)
            try:
                # What this process holds the lease of has not ended; no need to read that.
                if run not in self.committer.leases:
                    view = self.view(job_id, run)
                    if view.is_final:
                        return view
                left = self._left(deadline)
                if left is not None and left <= 0:
                    return None
                done = await self.hear(ticket, left)
            finally:
                self.watchers.forget(run, ticket)
            if done is not None:
                return view_of_done(job_id, id_time(run), done, None, None)

    def _left(self, deadline: float | None) -> float | None:
        """Seconds until this time (Unix ms)."""
        return None if deadline is None else (deadline - self.clock.now()) / 1000

    async def hear(self, ticket: Ticket[Done | None], timeout: float | None) -> Done | None:
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
        run = self.run_id(job_id)
        self.view(job_id, run)
        await self.committer.submit(CancelAsked(run, reason or ""))

    async def create_job(self, key: str | None, keep_ms: int) -> tuple[JobView, bool]:
        """An external job, and whether it is new: `key` may name one already.

        keep_ms: how long it may go without an update, and is kept once it is over.
        Raises InvalidConfig, NotExternal (key is the id of a job that errands executes).
        """
        made = external.job_made(key, keep_ms)
        if key is not None and (number := parse_id(key, self.key)) is not None:
            # Made here, and given as its own id by who asks again.
            return self._external(key, RunId(number)), False
        answer = await self._ask(made)
        return self.view(key or self._public_id(answer.run), answer.run), answer.is_new

    def _external(self, job_id: str, run: RunId) -> JobView:
        for row in self.store.reader.inputs([run]):
            if row.function != EXTERNAL:
                raise NotExternal(job_id, self._name_of(row.function))
        return self.view(job_id, run)

    async def update_job(
        self,
        job_id: str,
        *,
        status: JobState | None = None,
        percent: float | None = None,
        note: str | None = None,
        result: bytes | None = None,
        error: str | None = None,
    ) -> JobView:
        """Say how an external job goes; None: as it was. A result (JSON) completes it, an error
        fails it.

        Raises JobNotFound, NotExternal, JobIsOver, InvalidConfig, ValueTooLarge.
        """
        run = self.run_id(job_id)
        change = Change(status, percent, note, result, error)
        changed = external.job_changed(job_id, run, change, self.settings.value_bytes)
        await self._ask(changed)
        return self.view(job_id, run)

    async def rerun(self, run_id: str, trace: str | None = None) -> str:
        """Start a run once more; gives the new one's id.

        Raises JobNotFound, NotRepeatable.
        """
        run, reader = self.run_id(run_id), self.store.reader
        for old in reader.inputs([run]):
            tags = tuple(reader.labels(run))
            again = Rerun(run, old.function, old.event, tags, trace)
            return self._public_id(await self._ask(again))
        raise JobNotFound(run_id)

    def _ask(self, given: Input) -> Ticket[Any]:
        return self.committer.submit(given, is_door=True, loop=self._loop_here())

    def _name_of(self, function: FunctionId) -> str:
        found = self.store.reader.config().functions[function]
        return f"{found.app}/{found.config.slug}"

    def run_id(self, job_id: str) -> RunId:
        """The run that is meant; of an external job by its own id too. Raises JobNotFound."""
        number = self._ids.get(job_id)
        if number is None:
            number = parse_id(job_id, self.key)
        if number is None:
            number = self.store.reader.external_job(job_id, self.clock.now())
        if number is None:
            raise JobNotFound(job_id)
        return RunId(number)

    def view(self, job_id: str, run: RunId) -> JobView:
        try:
            row = self.store.reader.run(run)
        except Exception:
            if not self._pid:
                # It was closed meanwhile, by another thread.
                raise _closed() from None
            raise
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
        if self.dispatcher is not None:
            raise InvalidConfig(
                "This process executes already.",
                hint="One worker a process: give that one a higher concurrency.",
            )
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
        self.membership.leave()
        here, new_id = self.membership.join(self.committer.concurrency)
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
        self._tell_closed()
        self.membership.leave()
        if self.listener is not None:
            self.listener.close()
        self._pid = 0
        self.store.close()


def _closed() -> Unavailable:
    return Unavailable(
        "errands is closed in this process.", hint="Ask for the job from another one."
    )


def _settle(tickets: list[tuple[Ticket[Any], Any, BaseException | None]]) -> None:
    for ticket, answer, error in tickets:
        ticket.settle(answer, error)
