"""Runs executed in this process: the user's coroutine goes straight through, and is parked on waits.

A session is one run being executed. Steps look their id up in what is remembered; what is not there
is executed and made durable before the code goes on. When nothing but waits is left, the lease is
given back and the coroutine stays, until its run wakes or it is dropped and later replayed.
"""

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import Executor
from typing import Any, NoReturn, TypeVar

import msgspec

from errands.model.call import (
    KEPT,
    Again,
    Call,
    Journal,
    Leased,
    Logged,
    Opened,
    Parked,
    ProgressMade,
    Refused,
    Released,
    Report,
    Resumed,
    Retry,
    RunFailed,
    RunReturned,
    StepFailed,
    StepReturned,
    StepSent,
    StepTaken,
    WaitOpened,
)
from errands.model.duration import parse_duration
from errands.model.errors import (
    DuplicateStep,
    ErrandsError,
    HistoryMismatch,
    NestedStep,
    NonRetriableError,
    RetryAfterError,
    StepError,
)
from errands.model.event import NewEvent
from errands.model.function import FunctionKind, RetryPolicy
from errands.model.job import NewJob
from errands.model.run import Failure, LogLine
from errands.model.step import UNORDERED, ShapeOf, Step, StepKind, StepStatus
from errands.sdk.abandon import abandon, can_abandon, is_understood
from errands.sdk.app import App
from errands.sdk.codec import Codec
from errands.sdk.context import BRANCH, SESSION, STEP, current_run
from errands.sdk.definition import Definition
from errands.sdk.event import unix_ms
from errands.sdk.failure import failure_of
from errands.sdk.middleware import Middleware
from errands.sdk.options import Retries
from errands.sdk.replay import Turns

T = TypeVar("T")

STUCK_SECONDS = 10.0
"""How long a branch may keep remembered results waiting before its history is taken not to fit."""
PROGRESS_SECONDS = 0.1
LOG_SECONDS = 0.5
_encode = msgspec.json.Encoder().encode
_failure = msgspec.json.Decoder(Failure).decode
_policy = msgspec.json.Decoder(RetryPolicy).decode


class Suspend(BaseException):
    """A plain function cannot wait in its thread: it ends here, and is replayed when it may go on."""


class LiveCaller:
    """Executes an app's functions in this process."""

    def __init__(
        self,
        app: App,
        functions: Executor,
        steps: Executor,
        value_bytes_max: int,
    ) -> None:
        self.app = app
        # Two pools: a plain function waits in its thread for steps, which must not need that thread.
        self.functions, self.steps = functions, steps
        self.value_bytes_max = value_bytes_max

    def begin(self, call: Call, journal: Journal) -> "LiveSession":
        return LiveSession(call, journal, self.app.definitions[call.function.config.slug], self)


class LiveSession:
    """See `model.call.Session`; everything here happens on the loop's thread, unless it says otherwise."""

    def __init__(
        self, call: Call, journal: Journal, definition: Definition, caller: LiveCaller
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.call, self.journal, self.definition, self.caller = call, journal, definition, caller
        self.run = call.run.id
        self._fence = call.item.fence
        self.attempt = call.item.attempt
        self.started_at = call.item.leased_at or 0
        self.app_id, self.function_id = call.function.app, call.function.config.slug
        self._known: dict[str, Step] = {step.id: step for step in call.steps}
        self._numbers: dict[str, tuple[object, int]] = {}
        self._seq = call.item.seq
        self._saves: list[Step] = []
        """Results not reported yet, with durability="run"."""
        self._active = 0
        """Steps that execute, and reports on their way: while there are any, the run is not parked."""
        self._opening = 0
        self._opened: asyncio.Future[None] | None = None
        self._held: list[asyncio.Future[None]] = []
        """New steps that wait until everything remembered has been seen."""
        self._wakes: dict[str, asyncio.Future[None]] = {}
        """Steps that wait for their next attempt."""
        self._waits: dict[str, None] = {}
        """Open waits that the code stands at."""
        self._main_waits = False
        self._holding = ""
        """The new step that was asked for last."""
        self._is_dead = self._is_over = self._is_parked = self._is_parking = False
        self._parking: asyncio.Task[bool] | None = None
        self._resuming: asyncio.Future[None] | None = None
        self._cancelled: str | None = None
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._lines: list[LogLine] = []
        self._lines_lock = threading.Lock()
        self._progress: tuple[float | None, str | None] | None = None
        self._stuck: asyncio.TimerHandle | None = None
        self._thread: int | None = None
        self._turns = Turns(self.loop, self._remembered(), self._when_idle)
        self._turns.is_parallel = any(not step.main for step in call.steps)
        context = contextvars.copy_context()
        context.run(SESSION.set, self)
        self._main = self.loop.create_task(self._execute(), context=context)
        self._tasks[self._main] = None

    def _remembered(self) -> list[str]:
        """Ids in the order in which their results were seen; resolved waits not seen yet come last."""
        seen: list[Step] = []
        fresh: list[Step] = []
        for step in self.call.steps:
            if not step.is_open and step.seq != UNORDERED and step.kind != StepKind.CANCEL:
                (fresh if step.seq is None else seen).append(step)
        seen.sort(key=lambda step: step.seq or 0)
        if seen:
            self._seq = max(self._seq, (seen[-1].seq or 0) + 1)
        return [step.id for step in seen] + [self._take_note(step) for step in fresh]

    # -- what the runner says ------------------------------------------------------------------

    @property
    def fence(self) -> int:
        return self._fence

    @property
    def seq(self) -> int:
        return self._seq

    @property
    def public_id(self) -> str:
        return self.journal.public_id(self.run)

    @property
    def can_resume(self) -> bool:
        """Does its coroutine stand at its waits? A plain function's thread does not."""
        return self._is_parked and not self._is_dead and self.definition.is_async

    @property
    def can_be_dropped(self) -> bool:
        return can_abandon and all(is_understood(task) for task in self._tasks if not task.done())

    def resume(self, fence: int, steps: Sequence[Step]) -> None:
        self._fence, self._is_parked = fence, False
        for step in steps:
            known = self._known.get(step.id)
            if step.seq is not None and (known is None or known.is_open):
                self._seq = max(self._seq, step.seq + 1)
        self._hear(steps)
        if self._resuming is not None and not self._resuming.done():
            self._resuming.set_result(None)

    def refresh(self, steps: Sequence[Step]) -> None:
        if not self._is_parked:
            self._hear(steps)

    def _hear(self, steps: Sequence[Step]) -> None:
        for step in steps:
            known = self._known.get(step.id)
            if known is None or not known.is_open:
                continue
            if not step.is_open:
                if step.seq is None:
                    self._take_note(step)
                else:
                    self._known[step.id] = step
                self._turns.push(step.id)
            elif step.status == StepStatus.RETRYING and step.due is None:
                self._known[step.id] = step
                wake = self._wakes.get(step.id)
                if wake is not None and not wake.done():
                    wake.set_result(None)
        self._turns.stir()

    def _take_note(self, step: Step) -> str:
        """A wait was resolved while the run executes: from now on its place in the order is this."""
        self._known[step.id] = msgspec.structs.replace(step, seq=self._seq)
        self.journal.submit(StepTaken(self.run, self._fence, step.id, self._seq))
        self._seq += 1
        return step.id

    def cancel(self, reason: str) -> None:
        if self._is_over or self._is_dead:
            return
        self._cancelled = reason
        if self._is_parked:
            self.drop()
        elif self.definition.is_async:
            self._main.cancel()
        else:
            # A thread cannot be stopped; whatever it still says is refused.
            self.drop()

    def drop(self) -> None:
        if self._is_dead:
            return
        self._is_dead = True
        for task in self._tasks:
            if not task.done():
                abandon(task)
        self._end()

    async def release(self, why: str) -> None:
        fence = self._fence
        self.drop()
        self._flush()
        await self.journal.submit(Released(self.run, fence, self._seq, why))

    # -- the run itself ------------------------------------------------------------------------

    async def _execute(self) -> None:
        try:
            args, kwargs = self.definition.arguments(self.call, self.journal.public_id)
            output = await self._call_handler(args, kwargs)
            if not self._is_dead and (missing := self._unasked()) is not None:
                raise HistoryMismatch(self.public_id, missing, "the end of the function")
            stored, _ = self.definition.result_codec.store(
                output, f"the result of {self.function_id!r}", self.caller.value_bytes_max
            )
        except Suspend:
            self._end()
        except asyncio.CancelledError as error:
            if self._cancelled is not None or self._is_dead:
                self._end()
            else:
                await self._failed(error)
        except (
            BaseException
        ) as error:  # SystemExit and the like too: one run does not end the worker
            await self._failed(error)
        else:
            await self._returned(stored)

    async def _call_handler(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        handler = self.definition.handler
        if self.definition.is_async:
            inner: Callable[[], Awaitable[Any]] = lambda: handler(*args, **kwargs)  # noqa: E731
        else:
            inner = lambda: self._in_thread(self.caller.functions, handler, args, kwargs, True)  # noqa: E731
        for one in reversed(self.definition.middleware):
            if type(one).on_run is not Middleware.on_run:
                inner = _around(one.on_run, inner)
        return await inner()

    async def _in_thread(
        self,
        pool: Executor,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        is_main: bool = False,
    ) -> Any:
        context = contextvars.copy_context()

        def call() -> Any:
            if is_main:
                self._thread = threading.get_ident()
            return context.run(function, *args, **kwargs)

        result = await self.loop.run_in_executor(pool, call)
        return await result if inspect.isawaitable(result) else result

    async def _returned(self, output: bytes) -> None:
        if not await self._leased():
            return
        self._flush()
        saves = self._take_saves()
        await self.journal.submit(RunReturned(self.run, self._fence, output, saves))
        self._end()

    async def _failed(self, error: BaseException) -> None:
        if self._is_dead or not await self._leased():
            self._end()
            return
        again = self._again(error, self.attempt, self.definition.retries, self.call.run.retries)
        failure = _encode(failure_of(error, attempts=self.attempt + 1))
        self._flush()
        saves = self._take_saves()
        await self.journal.submit(
            RunFailed(self.run, self._fence, failure, again, self._seq, saves)
        )
        self._end()

    def _again(
        self, error: BaseException, attempt: int, retries: Retries, override: bytes | None = None
    ) -> Again:
        policy = retries.policy if override is None else _policy(override)
        is_final = (
            isinstance(error, NonRetriableError | StepError)
            or (isinstance(error, ErrandsError) and error.fails_run_at_once)
            or retries.gives_up_on(error)
        )
        after_ms = at = None
        if isinstance(error, RetryAfterError):
            after = error.retry_after
            if isinstance(after, (str,)) or hasattr(after, "total_seconds"):
                after_ms = parse_duration(after, "RetryAfterError")  # type: ignore[arg-type]
            else:
                at = unix_ms("RetryAfterError", after)  # type: ignore[arg-type]
        elif not is_final and attempt < policy.count and isinstance(error, Exception):
            after_ms = retries.delay_ms(attempt, error)
        return Again(policy, attempt, self.journal.draw(), is_final, after_ms, at)

    def _end(self) -> None:
        if not self._is_over:
            self._is_over = self._is_dead = True
            if self._stuck is not None:
                self._stuck.cancel()
            for task in self._tasks:
                if task is not self._main and not task.done():
                    # A branch that nobody waited for: the run is over, nothing of it is kept any more.
                    abandon(task)
            self._flush_logs()
            self.journal.ended(self)

    def _unasked(self) -> str | None:
        """A remembered result that the code has not asked for."""
        head = self._turns.head
        return (
            head
            if head is not None and self._turns.is_replaying and not self._turns.is_asked(head)
            else None
        )

    def run_event(self) -> dict[str, Any]:
        """What started the run, as expressions see it."""
        event, run = self.call.event, self.call.run
        if event is not None:
            data, name, id = event.data, event.name, event.key or self.journal.public_id(event.id)
            return {"id": id, "name": name, "data": msgspec.json.decode(data), "ts": event.at}
        given: dict[str, Any] = msgspec.json.decode(run.input or b"{}")
        if self.call.function.config.kind == FunctionKind.EVENT:
            return given
        return {"id": self.public_id, "name": self.function_id, "data": given}

    # -- steps ---------------------------------------------------------------------------------

    def number(self, id: str) -> tuple[str, bool]:
        """The step's key, numbered where its id repeats, and whether the main branch asks. Raises DuplicateStep."""
        if (outer := STEP.get()) is not None:
            raise NestedStep(id, outer[0])
        branch: object = BRANCH.get()
        task = asyncio.current_task()
        if branch is None:
            branch, is_main = task, task is self._main
        else:
            is_main = branch == self._thread
        if not is_main and task is not None:
            self._turns.is_parallel = True
            self._tasks[task] = None
        first, count = self._numbers.get(id, (branch, 0))
        if first is not branch and first != branch:
            raise DuplicateStep(id)
        self._numbers[id] = (branch, count + 1)
        return (id if count == 0 else f"{id}:{count}"), is_main

    def carry(self, call: Coroutine[Any, Any, Any], context: contextvars.Context) -> None:
        """A call from the thread of a plain function."""
        task = self.loop.create_task(call, context=context)
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    async def run_step(
        self,
        id: str,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        codec: Codec[T],
        retries: Retries,
        timeout_ms: int | None,
    ) -> T:
        key, is_main = await self._ask(id)
        known = self._known.get(key)
        if known is not None:
            self._check_kind(known, StepKind.RUN)
            if known.status == StepStatus.ABANDONED:
                self._active += 1
                try:
                    await self._forever()
                finally:
                    self._active -= 1
            if not known.is_open:
                return await self._recall(known, codec)
        if self._turns.is_replaying or self._opening:
            await self._hold(key, is_main)
        attempt = 0
        if known is not None:
            attempt = known.attempt
            await self._until_next_attempt(key, known)
        while True:
            started_at = self.journal.now()
            step = Step(
                self.run,
                key,
                StepKind.RUN,
                StepStatus.COMPLETED,
                None,
                attempt,
                is_main,
                started_at,
            )
            self._active += 1
            token = STEP.set((key, attempt))
            try:
                value = await self._call_step(function, args, kwargs, timeout_ms)
                output, value = codec.store(
                    value, f"the result of step {key!r}", self.caller.value_bytes_max
                )
            except asyncio.CancelledError:
                self._active -= 1
                self._abandoned(step)
                raise
            except Exception as error:
                failed = error
            else:
                await self._keep(step, output)
                return value
            finally:
                STEP.reset(token)
            if isinstance(failed, ErrandsError) and failed.fails_run_at_once:
                self._active -= 1
                raise failed
            failure = failure_of(failed, attempts=attempt + 1)
            if not await self._step_failed(step, failure, self._again(failed, attempt, retries)):
                raise StepError(key, failure) from failed
            attempt += 1

    async def _call_step(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        timeout_ms: int | None,
    ) -> Any:
        if not self.definition.middleware and timeout_ms is None:
            if inspect.iscoroutinefunction(function):
                return await function(*args, **kwargs)
            return await self._in_thread(self.caller.steps, function, args, kwargs)

        async def inner() -> Any:
            if inspect.iscoroutinefunction(function):
                return await function(*args, **kwargs)
            return await self._in_thread(self.caller.steps, function, args, kwargs)

        call: Callable[[], Awaitable[Any]] = inner
        for one in reversed(self.definition.middleware):
            if type(one).on_step is not Middleware.on_step:
                call = _around(one.on_step, call)
        if timeout_ms is None:
            return await call()
        async with asyncio.timeout(timeout_ms / 1000):
            return await call()

    async def _keep(self, step: Step, output: bytes) -> None:
        """Make a result durable, and wait for its turn."""
        if self._is_parked or self._is_dead:
            await self._lease_again()
        step = msgspec.structs.replace(step, seq=self._seq, output=output)
        self._seq += 1
        self._known[step.id] = step
        if self.definition.durability == "run":
            self._saves.append(step)
        else:
            if self._lines:
                self._flush_logs()
            try:
                answer = await self.journal.submit(StepReturned(self.run, self._fence, step))
            except asyncio.CancelledError:
                self._active -= 1
                self._abandoned(step)
                raise
            if answer is not KEPT:
                self._active -= 1
                await self._refused(answer)
        self._active -= 1
        if self._turns.is_parallel:
            self._turns.push(step.id)
            await self._turns.take(step.id)

    def _abandoned(self, step: Step) -> None:
        """The code was cancelled while it waited for this step: by a timeout of its own, by a group that failed.

        It never saw a result, so no replay may: there the step does nothing until it is cancelled again.
        """
        if self._is_dead or self._cancelled is not None or self._is_parked:
            return
        step = msgspec.structs.replace(
            step, status=StepStatus.ABANDONED, seq=UNORDERED, output=None
        )
        self._known[step.id] = step
        self.journal.submit(StepReturned(self.run, self._fence, step))

    async def _step_failed(self, step: Step, failure: Failure, again: Again) -> bool:
        """Keep that an attempt failed; wait for the next one. False: there is none."""
        if self._is_parked or self._is_dead:
            await self._lease_again()
        self._flush()
        step = msgspec.structs.replace(step, seq=self._seq)
        self._seq += 1
        saves = self._take_saves()
        told = _encode(failure)
        answer = await self.journal.submit(
            StepFailed(self.run, self._fence, step, told, again, saves)
        )
        self._active -= 1
        if isinstance(answer, Retry):
            waiting = msgspec.structs.replace(
                step, status=StepStatus.RETRYING, seq=None, due=answer.due, attempt=step.attempt + 1
            )
            self._known[step.id] = waiting
            await self._until_next_attempt(step.id, waiting)
            return True
        if answer is not KEPT:
            await self._refused(answer)
        self._known[step.id] = msgspec.structs.replace(step, output=told)
        if self._turns.is_parallel:
            self._turns.push(step.id)
            await self._turns.take(step.id)
        return False

    async def _until_next_attempt(self, key: str, step: Step) -> None:
        if step.due is None:
            return
        if not self.definition.is_async and await self._park():
            self._suspend()
        wake = self._wakes[key] = self.loop.create_future()
        self._turns.stir()
        try:
            await wake
        finally:
            self._wakes.pop(key, None)

    async def _recall(self, step: Step, codec: Codec[T]) -> T:
        """A remembered result, at its turn."""
        await self._turns.take(step.id)
        step = self._known[step.id]
        output = step.output or b"null"
        if step.status == StepStatus.FAILED:
            raise StepError(step.id, _failure(output))
        return codec.decode(output)

    async def send(self, id: str, items: tuple[NewEvent | NewJob, ...]) -> list[str]:
        """Send events or enqueue jobs, once."""
        key, is_main = await self._ask(id)
        known = self._known.get(key)
        if known is not None:
            self._check_kind(known, StepKind.SEND)
            await self._turns.take(key)
            return msgspec.json.decode(known.output or b"[]", type=list[str])
        if self._turns.is_replaying or self._opening:
            await self._hold(key, is_main)
        if self._is_parked or self._is_dead:
            await self._lease_again()
        self._active += 1
        self._flush()
        step = Step(
            self.run,
            key,
            StepKind.SEND,
            StepStatus.COMPLETED,
            self._seq,
            0,
            is_main,
            self.journal.now(),
        )
        self._seq += 1
        saves = self._take_saves()
        try:
            ids = await self.journal.submit(StepSent(self.run, self._fence, step, items, saves))
        finally:
            self._active -= 1
        if isinstance(ids, Refused):
            await self._refused(ids)
        self._known[key] = msgspec.structs.replace(step, output=_encode(ids))
        if self._turns.is_parallel:
            self._turns.push(key)
            await self._turns.take(key)
        return list(ids)

    async def wait(
        self,
        id: str,
        kind: StepKind,
        codec: Codec[T],
        *,
        duration_ms: int | None = None,
        until: int | None = None,
        shape: Callable[[], ShapeOf] | None = None,
        child: Callable[[], NewJob] | None = None,
    ) -> T:
        """Wait durably: for time, an event, or the end of another run."""
        key, is_main = await self._ask(id)
        known = self._known.get(key)
        if known is None:
            if self._turns.is_replaying or self._opening:
                await self._hold(key, is_main)
            step = Step(
                self.run, key, kind, StepStatus.WAITING, None, 0, is_main, self.journal.now()
            )
            report = WaitOpened(
                self.run,
                self._fence,
                step,
                duration_ms,
                until,
                shape() if shape is not None else None,
                child() if child is not None else None,
            )
            await self._open(report)
            known = step
        self._check_kind(known, kind)
        if known.is_open:
            self._waits[key] = None
            self._main_waits = self._main_waits or is_main
            if not self.definition.is_async and key not in self._turns and await self._park():
                self._suspend()
            try:
                await self._turns.take(key)
            finally:
                self._waits.pop(key, None)
                if is_main:
                    self._main_waits = False
            known = self._known[key]
            if known.status == StepStatus.FAILED:
                raise StepError(key, _failure(known.output or b"{}"))
            return codec.decode(known.output or b"null")
        return await self._recall(known, codec)

    async def _open(self, report: WaitOpened) -> None:
        if self._is_parked or self._is_dead:
            await self._lease_again()
        is_alone = not (self._active or self._turns.is_parallel or self._waits or self._wakes)
        is_alone = is_alone or not self.definition.is_async
        self._flush()
        saves = self._take_saves()
        report = msgspec.structs.replace(
            report, fence=self._fence, park=is_alone, seq=self._seq, saves=saves
        )
        self._known[report.step.id] = report.step
        # What is asked for after a wait must not happen before it: a step in another branch holds on.
        self._active += 1
        self._opening += 1
        if is_alone:
            self._is_parked = True
        try:
            answer = await self.journal.submit(report)
        except BaseException:
            self._is_parked = False
            raise
        finally:
            self._active -= 1
            self._opening -= 1
            if not self._opening:
                self._let_go()
        if not isinstance(answer, Opened):
            self._is_parked = False
            await self._refused(answer)
        if not self.definition.is_async:
            self._suspend()
        if is_alone and self._fence == report.fence:
            self.journal.parked(self)

    def _suspend(self) -> NoReturn:
        self._end()
        raise Suspend

    # -- replay --------------------------------------------------------------------------------

    async def _ask(self, id: str) -> tuple[str, bool]:
        if self._is_dead or self._cancelled is not None:
            if self._cancelled is not None:
                raise asyncio.CancelledError(self._cancelled)
            await self._forever()
        return self.number(id)

    def _check_kind(self, known: Step, kind: StepKind) -> None:
        if known.kind != kind:
            was = f"{known.id} ({known.kind.name.lower()})"
            raise HistoryMismatch(self.public_id, was, f"{known.id} ({kind.name.lower()})")

    async def _hold(self, key: str, is_main: bool) -> None:
        """A new step begins after everything remembered has been seen, and earlier waits stand."""
        while self._turns.is_replaying or self._opening:
            if (
                not self._turns.is_parallel
                and self._turns.is_replaying
                and self._turns.head is not None
            ):
                raise self._mismatch(key)
            held = self.loop.create_future()
            self._held.append(held)
            self._main_waits = self._main_waits or is_main
            self._holding = key
            self._turns.stir()
            try:
                await held
            finally:
                if is_main:
                    self._main_waits = False

    def _let_go(self) -> None:
        held, self._held = self._held, []
        for future in held:
            if not future.done():
                future.set_result(None)

    def _mismatch(self, found: str) -> HistoryMismatch:
        return HistoryMismatch(self.public_id, self._turns.head or "?", found)

    def _when_idle(self) -> None:
        """The loop is quiet, and the next result in line, if any, is not asked for."""
        if self._is_dead:
            return
        if not self._turns.is_replaying:
            if self._held and not self._opening:
                self._let_go()
                return
            self._try_to_park()
            return
        head = self._turns.head
        if head is None:
            return
        known = self._known.get(head)
        if self._held and known is not None and known.main and self._main_waits:
            # The main branch is a sequence: it asked for this then, and stands elsewhere now.
            self._give_up()
        elif self._stuck is None:
            self._stuck = self.loop.call_later(STUCK_SECONDS, self._look_if_stuck, head)

    def _look_if_stuck(self, head: str) -> None:
        self._stuck = None
        if not self._is_dead and self._turns.head == head and self._held:
            self._give_up()

    def _give_up(self) -> None:
        """The history does not fit the code: the run fails, whatever the code might make of an exception."""
        error = self._mismatch(self._holding)
        self._is_dead = True
        for task in self._tasks:
            if not task.done():
                abandon(task)
        task = self.loop.create_task(self._fail_with(error))
        self._tasks = {task: None}

    async def _fail_with(self, error: BaseException) -> None:
        again = self._again(error, self.attempt, self.definition.retries)
        failure = _encode(failure_of(error, attempts=self.attempt + 1))
        self._flush_logs()
        await self.journal.submit(RunFailed(self.run, self._fence, failure, again, self._seq))
        self._end()

    # -- parking -------------------------------------------------------------------------------

    def _try_to_park(self) -> None:
        idle = not self._active and (self._waits or self._wakes) and not self._is_parked
        if idle and not self._is_parking and self._cancelled is None and self._turns.head is None:
            self._is_parking = True
            self._parking = self.loop.create_task(self._park())

    async def _park(self) -> bool:
        """Give the lease back until a wait is resolved. False: one is, or the lease is gone."""
        self._flush()
        saves = self._take_saves()
        fence = self._fence
        self._is_parked = True
        answer = await self.journal.submit(Parked(self.run, fence, self._seq, saves))
        self._is_parking = False
        if answer is KEPT:
            if self._fence == fence and not self._is_dead:
                self.journal.parked(self)
            return True
        self._is_parked = False
        if isinstance(answer, Refused) and answer.reason == "not idle":
            self.journal.look(self)
        else:
            self._lost(answer)
        return False

    async def _leased(self) -> bool:
        """Hold the lease again, if the run was parked while code of its own went on. False: it is gone."""
        while self._is_parked and not self._is_dead:
            if self._resuming is None:
                self._resuming = self.loop.create_future()
                answer = await self.journal.submit(Resumed(self.run, self._fence))
                resuming, self._resuming = self._resuming, None
                if isinstance(answer, Leased):
                    if self._is_parked:
                        self._fence, self._is_parked = answer.fence, False
                elif self._is_parked:
                    self._lost(answer)
                if not resuming.done():
                    resuming.set_result(None)
            else:
                await self._resuming
        return not self._is_dead

    async def _lease_again(self) -> None:
        if not await self._leased():
            await self._forever()

    # -- the end of a lease --------------------------------------------------------------------

    async def _refused(self, answer: Any) -> None:
        self._lost(answer)
        if self._cancelled is not None:
            raise asyncio.CancelledError(self._cancelled)
        await self._forever()

    def _lost(self, answer: Any) -> None:
        """Somebody else executes the run now, or it is over."""
        if isinstance(answer, Refused) and answer.reason == "run is over":
            self._cancelled = self._cancelled or "the run is over"
            if self.definition.is_async and not self._main.done():
                self._main.cancel()
                return
        self.drop()

    async def _forever(self) -> None:
        """A dead session never answers: no exception, so none of the user's handlers run."""
        await self.loop.create_future()

    # -- beside the steps ----------------------------------------------------------------------

    def set_progress(self, percent: float | None, note: str | None) -> None:
        """From any thread: kept a moment later, the latest value wins."""
        is_first = self._progress is None
        self._progress = (percent, note)
        if is_first:
            self.loop.call_soon_threadsafe(self._later, PROGRESS_SECONDS, self._flush_progress)

    def log(self, level: int, text: str, step: tuple[str, int] | None) -> None:
        """From any thread."""
        id, attempt = step if step is not None else (None, self.attempt)
        line = LogLine(
            self.run, self.journal.new_id(), self.journal.now(), id, attempt, level, text
        )
        with self._lines_lock:
            self._lines.append(line)
            is_first = len(self._lines) == 1
        if is_first:
            self.loop.call_soon_threadsafe(self._later, LOG_SECONDS, self._flush_logs)

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        self.loop.call_later(seconds, call)

    def _flush(self) -> None:
        if self._lines:
            self._flush_logs()
        if self._progress is not None:
            self._flush_progress()

    def _flush_logs(self) -> None:
        with self._lines_lock:
            lines, self._lines = tuple(self._lines), []
        if lines:
            self.journal.submit(Logged(lines))

    def _flush_progress(self) -> None:
        progress, self._progress = self._progress, None
        if progress is not None:
            self.journal.submit(ProgressMade(self.run, *progress))

    def _take_saves(self) -> tuple[Step, ...]:
        saves, self._saves = tuple(self._saves), []
        return saves


def _around(
    door: Callable[..., Awaitable[Any]], inner: Callable[[], Awaitable[Any]]
) -> Callable[[], Awaitable[Any]]:
    async def outer() -> Any:
        return await door(current_run(), inner)

    return outer


__all__ = ["LiveCaller", "LiveSession", "Report", "Suspend"]
