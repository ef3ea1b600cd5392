"""A worker in the test's own loop: real store, engine and executors, that may forget or die.

The same function is executed straight through; with every parked session dropped, so that each wait
is followed by a replay; and with the process killed after each commit, before anybody is told.
"""

import asyncio
import gc
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from errands import App
from errands.embedded import Embedded
from errands.engine.input import Sent, WorkerLost
from errands.engine.state import Here
from errands.executors.committer import Committer, Effects
from errands.model import call
from errands.model.event import NewEvent
from errands.model.ids import RunId, parse_id
from errands.model.job import NewJob
from errands.model.run import Done, Failure, RunStatus
from errands.model.step import Step, StepStatus
from errands.sdk.abandon import abandon, context_of
from errands.sdk.context import SESSION
from errands.sdk.live import LiveCaller
from errands.settings import Settings
from errands.store.cycle import Entry
from errands.store.open import open_store

DIES_AFTER = (
    call.StepReturned,
    call.StepFailed,
    call.StepSent,
    call.StepTaken,
    call.WaitOpened,
    call.Parked,
    call.Resumed,
    call.RunFailed,
)
SECONDS = 5.0
"""How long a test may wait for anything."""


class Rig(Embedded):
    """`mode`: straight | evicted | crashed."""

    def __init__(self, app: App, path: Path, mode: str) -> None:
        settings = Settings(parked=0 if mode == "evicted" else 1_000, lease_ms=3_600_000)
        url = f"sqlite:///{path / 'errands.db'}"
        super().__init__(lambda: open_store(url, is_durable=False), app, settings)
        self.mode = mode
        self.loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self.traces: list[tuple[object, list[Any]]] = []
        """What code said that it saw, by session, in the order in which they began."""
        self.executed: dict[str, int] = {}
        """How often each step was executed."""
        self.kept: dict[str, None] = {}
        self.again: list[str] = []
        """Steps that were executed although their result was kept already: must stay empty."""
        self.heard: list[Any] = []
        """What was committed."""
        self.execute_step: Any = None if mode == "straight" else self._execute_step
        self.crashes = 0
        self.dies_after: tuple[type, ...] = DIES_AFTER
        """The reports after whose commit it is killed."""
        self._steppers: dict[Committer, None] = {}
        self._changed = asyncio.Event()
        self._pools = (ThreadPoolExecutor(4), ThreadPoolExecutor(4))

    # -- the committer, driven by the loop -----------------------------------------------------

    def make_committer(self, here: Here, new_id: Any) -> Committer:
        committer = Committer(
            self.store,
            here,
            self.clock,
            new_id,
            deliver=self.deliver,
            wake=lambda: self._wake(committer),
            config=self.store.reader.config(),
        )
        return committer

    def drive(self) -> None: ...

    def _wake(self, committer: Committer) -> None:
        if committer not in self._steppers:
            self._steppers[committer] = None
            if threading.get_ident() == self._thread:
                self.loop.call_soon(self._step, committer)
            else:
                self.loop.call_soon_threadsafe(self._step, committer)

    def _step(self, committer: Committer) -> None:
        self._steppers.pop(committer, None)
        # What a dead process had queued is gone with it.
        if committer is self.committer and not committer.is_closed and committer.step():
            self._wake(committer)

    def deliver(self, committer: Committer, entries: list[Entry], effects: Effects | None) -> None:
        for entry in entries:
            self.heard.append(entry.input)
            if isinstance(entry.input, call.StepReturned) and entry.answer is call.KEPT:
                if entry.input.step.status == StepStatus.COMPLETED:
                    self.kept[entry.input.step.id] = None
                for step in entry.input.saves:
                    self.kept[step.id] = None
        self._changed.set()
        if self.mode == "crashed" and any(isinstance(e.input, self.dies_after) for e in entries):
            self._die()
            return
        for entry in entries:
            if entry.ticket is not None:
                entry.ticket.settle(entry.answer, entry.error)
        if effects is not None and self.dispatcher is not None:
            self.dispatcher.acted(effects)

    # -- the worker ----------------------------------------------------------------------------

    @asynccontextmanager
    async def work(self) -> AsyncGenerator["Rig"]:
        await self.connect()
        self._home = self.loop
        await self.register(is_complete=True)
        self.begin_again()
        try:
            yield self
        finally:
            self._forget()
            for pool in self._pools:
                # Beside the loop, which its threads may still be waiting for.
                await asyncio.to_thread(pool.shutdown)
            self.close()

    def begin_again(self) -> None:
        caller = LiveCaller(self.app, *self._pools, self.settings.value_bytes)
        caller.execute_step = self.execute_step
        self.dispatcher = self.dispatch(caller)
        self.dispatcher.start()
        self.committer.serve(self._served(), 100)

    async def _execute_step(self, session: Any, key: str, attempt: int, run: Any) -> Any:
        if key in self.kept:
            self.again.append(key)
        return await run()

    def _forget(self) -> None:
        """The process is gone, and with it everything in memory. No code of the runs runs."""
        assert self.dispatcher is not None
        sessions = self.dispatcher.runner.sessions
        theirs = list(sessions.values())

        def is_theirs(task: "asyncio.Task[Any]") -> bool:
            context = context_of(task)
            return context is not None and context.get(SESSION) in theirs

        current = asyncio.current_task() if asyncio._get_running_loop() else None
        tasks = [t for t in asyncio.all_tasks(self.loop) if t is not current and is_theirs(t)]
        abandon(sorted(tasks, key=lambda task: task.get_name()), lambda task: task in tasks)
        for session in theirs:
            session.drop()
        dispatcher, timers = self.dispatcher, self.dispatcher.timers
        dispatcher.sweeper.stop()
        timers._is_stopped = True
        for alarm in (dispatcher._alarm, dispatcher._pace, timers._alarm):
            if alarm is not None:
                alarm.cancel()
        self.dispatcher = None

    def _die(self) -> None:
        """A new process takes over what the dead one held."""
        self.crashes += 1
        dead = self.committer.here.worker
        self._forget()
        self.committer.is_closed = True
        self.membership.leave()
        here, new_id = self.membership.join(0)
        self.committer = self.make_committer(here, new_id)
        beat_at = next(w.beat_at for w in self.store.reader.workers() if w.id == dead)
        self.committer.submit(WorkerLost(dead, beat_at, "killed by the test"))
        self.begin_again()

    # -- what tests ask for --------------------------------------------------------------------

    def saw(self, what: Any) -> None:
        """Called by the function under test: something that it can see."""
        session = SESSION.get()
        if not any(known is session for known, _ in self.traces):
            self.traces.append((session, []))
        next(trace for known, trace in self.traces if known is session).append(what)

    def executes(self, name: str) -> None:
        """Called by a step's function."""
        self.executed[name] = self.executed.get(name, 0) + 1

    @property
    def trace(self) -> list[Any]:
        """What the execution that came to the end saw, from its beginning."""
        return self.traces[-1][1] if self.traces else []

    async def start(self, item: NewEvent | NewJob) -> RunId:
        accepted = await self.committer.submit(Sent((item,)))
        return RunId(accepted.ids[0])

    async def start_job(self, job: Any, *args: Any, **kwargs: Any) -> RunId:
        with self.app.use_backend(self):
            handle = await job.enqueue(*args, **kwargs)
        number = parse_id(handle.id, self.key)
        assert number is not None
        return RunId(number)

    async def until(self, is_so: Callable[[], Any]) -> Any:
        """Wait for a commit after which this is so; gives what it is."""
        async with asyncio.timeout(SECONDS):
            while not (found := is_so()):
                self._changed.clear()
                await self._changed.wait()
        return found

    async def end(self, run: RunId) -> Done:
        """How the run ended; nothing that was kept may have been executed again."""
        done = (await self.until(lambda: self.store.reader.done([run])))[0]
        gc.collect()
        assert self.again == []
        return done

    async def idle(self) -> None:
        """Wait until no code of a run executes here any more."""
        async with asyncio.timeout(SECONDS):
            while self.dispatcher is not None and self.dispatcher.runner.sessions:  # noqa: ASYNC110
                await asyncio.sleep(0)

    async def result(self, job: Any, *args: Any, **kwargs: Any) -> Any:
        """Execute it; its result as JSON."""
        done = await self.end(await self.start_job(job, *args, **kwargs))
        assert done.status == RunStatus.COMPLETED, done.output.decode()
        return msgspec.json.decode(done.output)

    async def failure(self, job: Any, *args: Any, **kwargs: Any) -> Failure:
        """Execute it; why it failed."""
        done = await self.end(await self.start_job(job, *args, **kwargs))
        assert done.status == RunStatus.FAILED, done.output.decode()
        return msgspec.json.decode(done.output, type=Failure)

    def steps(self, run: RunId) -> dict[str, Step]:
        return {step.id: step for step in self.store.reader.steps(run)}
