"""Runs executed in this process: their code goes straight through, and is parked on waits.

A session is one run being executed. Steps look their id up in what is remembered; what is not there
is executed and made durable before the code goes on. When nothing but waits is left, the lease is
given back and the coroutine stays, until its run wakes or it is dropped and later replayed.
"""

import asyncio
import concurrent.futures
import contextvars
import logging
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from errands.model.call import Again, Call, Journal, Refused, Released, RunFailed, RunReturned
from errands.model.event import NewEvent
from errands.model.function import FunctionKind
from errands.model.job import NewJob
from errands.model.run import Failure
from errands.model.step import ShapeOf, Step, StepKind
from errands.sdk.attempt import encode_failure, judge
from errands.sdk.branches import Branches
from errands.sdk.calling import Calls, ExecuteStep
from errands.sdk.codec import Codec
from errands.sdk.context import BRANCH, SESSION, STEP
from errands.sdk.course import Course
from errands.sdk.definition import Definition
from errands.sdk.lease import Lease
from errands.sdk.notes import Notes
from errands.sdk.options import Retries
from errands.sdk.owner import Owner
from errands.sdk.steps import run_step
from errands.sdk.threads import Suspend
from errands.sdk.waits import send, wait
from errands.telemetry.spans import find_tracer

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

    from errands.telemetry.running import Running

T = TypeVar("T")
logger = logging.getLogger(__name__)


class LiveCaller:
    """Executes an app's functions in the loop that runs where it is made."""

    def __init__(
        self,
        app: Owner,
        functions: Executor,
        steps: Executor,
        value_bytes_max: int,
    ) -> None:
        self.app = app
        self.loop, self.loop_thread = asyncio.get_running_loop(), threading.get_ident()
        # Two pools: a plain function waits in its thread for steps, which must not need it.
        self.functions, self.steps = functions, steps
        self.value_bytes_max = value_bytes_max
        self.tracer = find_tracer()
        """None: nobody traces."""
        # Every run begins in this one; not in that of whatever code happened to wake it.
        self.context = contextvars.copy_context()
        self.context.run(SESSION.set, None)
        self.context.run(STEP.set, None)
        self.context.run(BRANCH.set, None)
        self.execute_step: ExecuteStep | None = None
        """Called in place of a step's function, if set: a test harness makes steps fail by it."""

    def begin(self, call: Call, journal: Journal) -> "LiveSession":
        return LiveSession(call, journal, self.app.definitions[call.function.config.slug], self)


class LiveSession:
    """See `model.call.Session`, which is the runner's view, and `sdk.session.Session`, the code's.

    Everything here happens on the loop's thread, unless it says otherwise.
    """

    # There may be a hundred thousand of them.
    __slots__ = (
        "__weakref__",
        "_calls_made",
        "_course_made",
        "_failing",
        "_is_over",
        "_lease",
        "_main",
        "_notes_made",
        "_running",
        "app_id",
        "attempt",
        "call",
        "caller",
        "definition",
        "function_id",
        "journal",
        "loop",
        "run",
        "started_at",
    )

    def __init__(
        self, call: Call, journal: Journal, definition: Definition, caller: LiveCaller
    ) -> None:
        self.loop = caller.loop
        self.call, self.journal, self.definition, self.caller = call, journal, definition, caller
        self.run = call.run.id
        self.attempt = call.item.attempt
        self.started_at = call.item.leased_at or 0
        self.app_id, self.function_id = call.function.app, call.function.config.slug
        self._is_over = False
        self._failing: asyncio.Task[None] | None = None
        self._lease = Lease(call, journal, self)
        # Most jobs are one plain call: what steps, threads and notes need is made at the first one.
        self._notes_made: Notes | None = None
        self._course_made: Course | None = None
        self._calls_made: Calls | None = None
        context = caller.context.copy()
        context.run(SESSION.set, self)
        self._running = None if caller.tracer is None else self._begin_span(caller.tracer, context)
        # Not by the loop's factory: an eager one would begin before there is a main task.
        self._main: asyncio.Task[None] | None = asyncio.Task(
            self._execute(), loop=self.loop, context=context
        )
        if call.steps:
            self._make_course()

    # -- what it is made of --------------------------------------------------------------------

    def _begin_span(self, tracer: "Tracer", context: contextvars.Context) -> "Running":
        from errands.telemetry.running import Running

        return Running(
            tracer,
            context,
            f"{self.app_id}/{self.function_id}",
            self.public_id,
            self.attempt,
            self.call.run.trace,
            is_first=self.call.item.fence == 1,
        )

    @property
    def _notes(self) -> Notes:
        if self._notes_made is None:
            notes = Notes(
                self.run, self.attempt, self.journal, self.loop, lambda: self._lease.fence
            )
            if self._is_over:
                notes.end()
            # Threads may come here at the same time: the first one's stands.
            self._notes_made = self._notes_made or notes
        return self._notes_made

    @property
    def _course(self) -> Course:
        return self._course_made or self._make_course()

    def _make_course(self) -> Course:
        branches = Branches(
            self.loop, self.caller.loop_thread, self._lease.spoil, self._more_branches
        )
        branches.main = self._main
        if self._is_over:
            branches.drop()
        self._course_made = Course(
            self.call,
            self.journal,
            self._lease,
            branches,
            self._flush_notes,
            self,
            can_stand=self.definition.is_async,
            saves_later=self.definition.durability == "run",
        )
        return self._course_made

    @property
    def _branches(self) -> Branches:
        return self._course.branches

    @property
    def _calls(self) -> Calls:
        if self._calls_made is None:
            caller = self.caller
            self._calls_made = Calls(
                self,
                self.definition,
                caller.functions,
                caller.steps,
                caller.execute_step,
                self._running,
            )
        return self._calls_made

    def _flush_notes(self) -> None:
        if self._notes_made is not None:
            self._notes_made.flush()

    # -- what the runner says ------------------------------------------------------------------

    @property
    def fence(self) -> int:
        return self._lease.fence

    @property
    def seq(self) -> int:
        return self._lease.seq

    @property
    def can_resume(self) -> bool:
        """Does its coroutine stand at its waits? A plain function's thread does not."""
        return self._lease.is_parked and not self._lease.is_dead and self.definition.is_async

    @property
    def can_be_dropped(self) -> bool:
        return self._branches.can_be_dropped()

    def resume(self, fence: int, steps: Sequence[Step]) -> None:
        if self._running is not None:
            self._running.resume()
        self._course.resume(fence, steps)

    def refresh(self, steps: Sequence[Step]) -> None:
        if not self._lease.is_parked and not self._lease.is_dead:
            self._course.hear(steps)

    def cancel(self, reason: str) -> None:
        if self._lease.is_dead:
            return
        main = self._main
        is_parked = self._lease.is_parked
        self._lease.cancel(reason)
        if is_parked or not self.definition.is_async or main is None or main.done():
            # What stands is let go as it would be after an eviction; a thread cannot be stopped.
            self.drop()
        else:
            main.cancel()

    def drop(self) -> None:
        if not self._is_over:
            self._lease.die()
            self._end()

    async def release(self, why: str) -> None:
        if self._lease.is_dead or self._lease.is_parked:
            self.drop()
            return
        lease = self._lease
        lease.flush_saves()
        self._flush_notes()
        self._stretch_ended("released")
        self.drop()
        await self.journal.submit(Released(self.run, lease.fence, lease.seq, why))

    # -- what its code asks for ----------------------------------------------------------------

    @property
    def public_id(self) -> str:
        return self.journal.public_id(self.run)

    @property
    def app(self) -> Owner:
        return self.caller.app

    @property
    def value_bytes_max(self) -> int:
        return self.caller.value_bytes_max

    def run_step(
        self,
        id: str,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        codec: Codec[T],
        retries: Retries,
        timeout_ms: int | None,
    ) -> Coroutine[Any, Any, T]:
        return run_step(
            self._course, self._calls, id, function, args, kwargs, codec, retries, timeout_ms,
            self.caller.value_bytes_max,
        )  # fmt: skip

    def send(self, id: str, items: tuple[NewEvent | NewJob, ...]) -> Coroutine[Any, Any, list[str]]:
        return send(self._course, id, items)

    def wait(
        self,
        id: str,
        kind: StepKind,
        codec: Codec[T],
        *,
        duration_ms: int | None = None,
        until: int | None = None,
        shape: Callable[[], ShapeOf] | None = None,
        child: Callable[[], NewJob] | None = None,
    ) -> Coroutine[Any, Any, T]:
        return wait(
            self._course, id, kind, codec, duration_ms=duration_ms, until=until, shape=shape,
            child=child,
        )  # fmt: skip

    def run_event(self) -> dict[str, Any]:
        event, run = self.call.event, self.call.run
        if event is not None:
            id = event.key or self.journal.public_id(event.id)
            data = msgspec.json.decode(event.data)
            return {"id": id, "name": event.name, "data": data, "ts": event.at}
        given: dict[str, Any] = msgspec.json.decode(run.input or b"{}")
        if self.call.function.config.kind == FunctionKind.EVENT:
            return given
        return {"id": self.public_id, "name": self.function_id, "data": given}

    def carry(
        self,
        call: Coroutine[Any, Any, Any],
        context: contextvars.Context,
        done: "concurrent.futures.Future[Any]",
    ) -> None:
        self._branches.carry(call, context, done)

    def set_progress(self, percent: float | None, note: str | None) -> None:
        """From any thread."""
        self._notes.set_progress(percent, note)

    def log(self, level: int, text: str, step: tuple[str, int] | None) -> None:
        """From any thread."""
        self._notes.log(level, text, step)

    # -- the run itself ------------------------------------------------------------------------

    async def _execute(self) -> None:
        try:
            args, kwargs = self.definition.arguments(self.call, self.journal.public_id)
            definition = self.definition
            if definition.is_async and not definition.middleware:
                output = await definition.handler(*args, **kwargs)
            else:
                output = await self._calls.handler(args, kwargs, self._thread)
            if self._course_made is not None and (missing := self._course.missing()) is not None:
                raise missing
            what = f"the result of {self.function_id!r}"
            codec = self.definition.result_codec
            stored, _ = codec.store(output, what, self.caller.value_bytes_max)
        except KeyboardInterrupt:
            # Somebody ends the whole process, and means it.
            self.drop()
            raise
        except BaseException as error:  # SystemExit too: one run does not end the worker
            await self._failed(error)
        else:
            try:
                if not self._lease.is_out or await self._may_return():
                    self._returned(stored)
            except BaseException as broken:
                self._break_off(broken)

    async def _may_return(self) -> bool:
        """Is its result what counts? If not, it has been seen to."""
        lease = self._lease
        if lease.mistake is not None:
            await self._failed(lease.mistake)
            return False
        if lease.cancelled is None and await lease.regain():
            return True
        self._end()
        return False

    def _returned(self, output: bytes) -> None:
        lease = self._lease
        self._flush_notes()
        saves = lease.take_saves() if lease.saves else ()
        # What branches still do from here on comes too late.
        lease.die()
        self._report(RunReturned(self.run, lease.fence, output, saves))

    async def _failed(self, error: BaseException) -> None:
        try:
            await self._tell_failure(error)
        except BaseException as broken:
            self._break_off(broken)

    async def _tell_failure(self, error: BaseException) -> None:
        lease = self._lease
        error = lease.mistake or error
        if isinstance(error, Suspend) or lease.cancelled is not None or not await lease.regain():
            self._end()
            return
        if self._running is not None:
            self._running.failed(error)
        _, failure, retry = judge(
            error, self.attempt, self.definition.retries, self.journal, self.call.run.retries
        )
        self._flush_notes()
        saves = lease.take_saves()
        lease.die()
        self._report(RunFailed(self.run, lease.fence, failure, retry, lease.seq, saves))

    def _break_off(self, broken: BaseException) -> None:
        """How the run ended could not be told. It ends all the same: nobody else looks after it."""
        lease = self._lease
        if isinstance(broken, KeyboardInterrupt):
            self.drop()
            raise broken
        if lease.is_dead or lease.is_parked or lease.cancelled is not None:
            self._end()
            return
        logger.error("The end of run %s failed.", self.public_id, exc_info=broken)
        failure = Failure(
            "InternalError", "How the run ended could not be told.", code="internal_error"
        )
        retry = Again(self.definition.retries.policy, self.attempt, 0.0, is_final=True)
        saves = lease.take_saves()
        lease.die()
        self._report(
            RunFailed(self.run, lease.fence, encode_failure(failure), retry, lease.seq, saves)
        )

    def _report(self, report: RunReturned | RunFailed) -> None:
        """The session ends with it, whatever comes of it: nobody waits for an answer."""
        if self._running is not None:
            self._running.over("returned" if isinstance(report, RunReturned) else "failed")
        try:
            self.journal.tell(report)
        finally:
            self._end()

    def _end(self) -> None:
        if self._is_over:
            return
        self._is_over = True
        if self._running is not None:
            self._running.over("dropped" if self._lease.cancelled is None else "cancelled")
        self._lease.die()
        if self._course_made is not None or (
            self._main is not None and not self._is_main_running()
        ):
            self._course.end()
            # A branch that nobody waited for: the run is over, nothing of it is kept any more.
            self._branches.drop()
        if self._notes_made is not None:
            self._notes_made.end()
        # What refers to each other in a circle would have to be found by the garbage collector.
        self._main = self._course_made = self._calls_made = None
        self.journal.ended(self)

    def _stretch_ended(self, outcome: str) -> None:
        if self._running is not None:
            self._running.over(outcome)

    def _is_main_running(self) -> bool:
        return self._main is asyncio.current_task(self.loop)

    @property
    def _thread(self) -> object:
        """The branch of a plain function's own thread; an async one needs none."""
        return None if self.definition.is_async else self._branches.thread

    def _more_branches(self) -> None:
        self._course.turns.is_parallel = True

    # -- what its lease says -------------------------------------------------------------------

    def parked(self) -> None:
        self._stretch_ended("parked")
        # A moment later: it may be dropped at once, and the code has yet to come to its wait.
        self.loop.call_soon(self._tell_parked, self._lease.fence)

    def _tell_parked(self, fence: int) -> None:
        if self._lease.is_parked and not self._lease.is_dead and self._lease.fence == fence:
            self.journal.parked(self)

    def look(self) -> None:
        self.journal.look(self)

    def lost(self, answer: object) -> None:
        over = isinstance(answer, Refused) and answer.reason == "run is over"
        if over and self._lease.cancelled is None:
            self.cancel("the run is over")
        elif not over:
            self.drop()

    def suspend(self) -> None:
        """A plain function ends at its wait; it will be replayed."""
        self._stretch_ended("parked")
        self.drop()

    def give_up(self, error: BaseException) -> None:
        lease = self._lease
        if lease.is_dead or lease.is_closed:
            return
        lease.spoil(error)
        lease.close()
        self._branches.drop()
        self._failing = asyncio.Task(self._failed(error), loop=self.loop)


__all__ = ["LiveCaller", "LiveSession", "Suspend"]
