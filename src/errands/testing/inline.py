"""The backend of a harness: the real store, engine and executors, in the test's own event loop.

The committer has no thread; the loop drives it, a batch a pass, so that each batch holds what came
meanwhile, as in production. Nothing polls, beats or is trimmed: time moves by hand only, and there
is no other process.
"""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from typing import Any

from errands.clock import Chance, IdSource
from errands.embedded import Embedded
from errands.engine.input import Input, WorkerLost
from errands.engine.state import Here
from errands.executors.committer import Committer, Effects
from errands.executors.dispatcher import Dispatcher
from errands.executors.ticket import Ticket
from errands.model.errors import JobNotFound, Unavailable
from errands.model.ids import RunId, WorkerId, public_id
from errands.model.job import JobView
from errands.sdk import logs
from errands.sdk.app import App
from errands.sdk.context import SESSION
from errands.sdk.live import LiveCaller
from errands.settings import settings_from
from errands.store.cycle import Entry
from errands.store.open import open_store
from errands.testing.recorded import Sources, described
from errands.testing.steps import StepRules
from errands.testing.tape import Tape
from errands.testing.virtual import VirtualAlarms, VirtualClock

LOOK_SECONDS = 0.25
"""How often who waits for a job looks whether it can still get on by itself."""
LOOKS = 4


class InlineCommitter(Committer):
    """Remembers whom to tell when the process is killed: who sent from outside of any run."""

    doors: dict[Ticket[object], None]

    def submit(
        self,
        given: Input,
        *,
        is_door: bool = False,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> Ticket[object]:
        ticket = super().submit(given, is_door=is_door, loop=loop)
        if is_door and SESSION.get() is None:
            self.doors[ticket] = None
        return ticket


class Inline(Embedded):
    """See `sdk.backend.Backend`. Opened in a running loop, which is its home."""

    def __init__(self, app: App, path: Path, clock: VirtualClock, seed: int) -> None:
        super().__init__(
            lambda: open_store(f"sqlite:///{path}", is_durable=False),
            app,
            settings_from(),
            clock=clock,
            alarms=(alarms := VirtualAlarms(clock)),
            chance=Chance(seed),
        )
        self.virtual_alarms = alarms
        self.tape = Tape(app)
        self.rules = StepRules(self.tape.started)
        self.stirred = asyncio.Event()
        """Set at each change that may have brought everything to rest."""
        self.movers = 0
        """Calls that move time, or wait for everything to come to rest."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        # Without it what a step sends would be executed as if inside that step.
        self._context = contextvars.copy_context()
        self._is_driving = False
        self._pools: list[ThreadPoolExecutor] = []
        self._takeover: asyncio.Task[None] | None = None

    def _text(self, id: int) -> str:
        return public_id(id, self.key)

    # -- the committer, driven by the loop -----------------------------------------------------

    def make_committer(self, here: Here, new_id: IdSource) -> Committer:
        here.cut_ms = 0
        committer = InlineCommitter(
            self.store,
            here,
            self.clock,
            new_id,
            deliver=self.deliver,
            wake=self._wake,
            config=self.store.reader.config(),
        )
        committer.doors = {}
        return committer

    def drive(self) -> None:
        """Nothing to start: each submission wakes it."""

    def _wake(self) -> None:
        if self._is_driving:
            return
        self._is_driving = True
        if threading.get_ident() == self._thread:
            self._loop.call_soon(self._step, context=self._context)
        else:
            self._loop.call_soon_threadsafe(self._step, context=self._context)

    def _step(self) -> None:
        # First, so that whoever submits from another thread from here on wakes it again.
        self._is_driving = False
        if self.committer.step():
            self._wake()
        self.stirred.set()

    def deliver(self, committer: Committer, entries: list[Entry], effects: Effects | None) -> None:
        self.tape.heard(entries, self.clock.now(), self._text)
        assert isinstance(committer, InlineCommitter)
        for entry in entries:
            committer.doors.pop(entry.ticket, None)
        super().deliver(committer, entries, effects)

    # -- the worker ----------------------------------------------------------------------------

    def worker(self, concurrency: int | None) -> AbstractAsyncContextManager[object]:
        """There is one already, for as long as the harness is open."""
        return nullcontext(self)

    async def start(self) -> None:
        await self.connect()
        self.sources = Sources(self.store.reader, self._text, self.tape, self.rules)
        self._home = self._loop
        logs.capture()
        for middleware in self.app.middleware:
            await middleware.start()
        await self.register(is_complete=True)
        self._work()

    def _work(self) -> None:
        threads = self.settings.threads
        functions = ThreadPoolExecutor(threads, "errands-function")
        steps = ThreadPoolExecutor(threads, "errands-step")
        self._pools = [functions, steps]
        caller = LiveCaller(self.app, functions, steps, self.settings.value_bytes)
        caller.execute_step = self.rules.execute
        dispatcher = self.dispatcher = self.dispatch(caller)
        dispatcher.runner.on_idle = self.stirred.set
        dispatcher.look()
        self.committer.serve(self._served(), self.settings.concurrency)

    def _forget_work(self) -> None:
        """What executes is let go; none of its code runs any more, but for threads."""
        if self.dispatcher is not None:
            self.dispatcher.runner.drop_all()
        self.dispatcher = None
        self.virtual_alarms.forget()
        self.rules.executing.clear()
        for pool in self._pools:
            pool.shutdown(wait=False, cancel_futures=True)

    def crash(self) -> None:
        """As `kill -9`: whatever is not committed is gone, and a new process takes over."""
        if threading.get_ident() == self._thread:
            # A copy, because it may be called by what is executed in the other one.
            self._context.copy().run(self._crash)
        else:
            asyncio.run_coroutine_threadsafe(self._crash_soon(), self._loop).result()

    async def _crash_soon(self) -> None:
        self.crash()

    def _crash(self) -> None:
        self._forget_work()
        dead = self.committer
        assert isinstance(dead, InlineCommitter)
        # From here on nothing of it is stepped, so what stands in its queue is never written.
        self.membership.leave()
        here, new_id = self.membership.join(self.settings.concurrency)
        self.committer = self.make_committer(here, new_id)
        for ticket in dead.doors:
            self._refuse(ticket)
        self._work()
        self._takeover = self._loop.create_task(self._take_over(dead.here.worker))
        self._takeover.add_done_callback(lambda _: self.stirred.set())

    def _refuse(self, ticket: Ticket[object]) -> None:
        error = Unavailable(
            "The harness's process was killed before this was accepted.",
            hint="Send it again, as a client would.",
        )
        if ticket.loop is None:
            ticket.settle(None, error)
        else:
            ticket.loop.call_soon_threadsafe(ticket.settle, None, error)

    async def _take_over(self, dead: WorkerId) -> None:
        for worker in self.store.reader.workers():
            if worker.id == dead:
                await self.committer.submit(
                    WorkerLost(worker.id, worker.beat_at, "the test killed it")
                )
        if self.dispatcher is not None:
            self.dispatcher.look()

    async def stop(self) -> None:
        self._forget_work()
        if self._takeover is not None:
            self._takeover.cancel()
        self._home = None
        logs.release()
        for middleware in self.app.middleware:
            await middleware.stop()
        self.committer.is_closed = True
        self.sources.close()
        self.membership.leave()
        self.store.close()
        self._pid = 0

    # -- rest ----------------------------------------------------------------------------------

    @property
    def active(self) -> Dispatcher:
        assert self.dispatcher is not None, "the harness is not open"
        return self.dispatcher

    @property
    def is_busy(self) -> bool:
        """Inputs are to be committed, or something executes."""
        is_taking_over = self._takeover is not None and not self._takeover.done()
        return self._is_driving or is_taking_over or bool(self.active.runner.executing)

    @property
    def is_at_rest(self) -> bool:
        """Nothing can happen without time passing, or somebody from outside."""
        if self.is_busy:
            return False
        now, reader = self.clock.now(), self.store.reader
        alarm, timer = self.virtual_alarms.next_at, reader.next_timer()
        if (alarm is not None and alarm <= now) or (timer is not None and timer <= now):
            return False
        return not reader.inbox(self.committer.here.worker, 0, 1)

    # -- who waits for a job -------------------------------------------------------------------

    async def changed(self, seen: JobView, timeout: float | None) -> JobView:
        return await self._until(seen.id, lambda view: view != seen, timeout)

    async def outcome(self, job_id: str, timeout: float | None) -> JobView | None:
        view = await self._until(job_id, lambda view: view.is_final, timeout)
        return view if view.is_final else None

    async def _until(
        self, job_id: str, is_it: Callable[[JobView], bool], timeout: float | None
    ) -> JobView:
        """The job when it is so, or when `timeout` (seconds of virtual time) has passed."""
        run = self.run_id(job_id)
        deadline = None if timeout is None else self.clock.now() + int(timeout * 1000)
        looks = 0
        while True:
            ticket = self.watchers.watch(run)
            view = self.view(job_id, run)
            if is_it(view) or (deadline is not None and deadline <= self.clock.now()):
                self.watchers.forget(run, ticket)
                return view
            looks = looks + 1 if not self.movers and self.is_at_rest else 0
            if looks > LOOKS:
                self.watchers.forget(run, ticket)
                raise self._never(job_id, run)
            await self._hear_in_time(ticket, deadline)
            self.watchers.forget(run, ticket)

    async def _hear_in_time(self, ticket: Ticket[Any], deadline: int | None) -> None:
        if ticket.loop is None:
            ticket.wait(LOOK_SECONDS)
            return
        look = ticket.loop.call_later(LOOK_SECONDS, ticket.settle, None)
        is_home = ticket.loop is self._loop and deadline is not None
        alarm = (
            self.virtual_alarms.call_at(deadline, lambda: ticket.settle(None))
            if is_home and deadline is not None
            else None
        )
        try:
            await ticket
        finally:
            look.cancel()
            if alarm is not None:
                alarm.cancel()

    def _never(self, job_id: str, run: RunId) -> AssertionError:
        row = self.store.reader.run(run)
        if row is None:
            raise JobNotFound(job_id)
        return AssertionError(
            f"{described(self.sources, row)}. Nothing happens before time moves: "
            "`await harness.advance(…)` or `await harness.finish()` first."
        )
