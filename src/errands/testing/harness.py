"""`async with Harness(app) as harness`: a test's own errands, whose time the test moves."""

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any, ParamSpec, Self, TypeVar, cast, overload

from errands.model.duration import Duration, format_ms, parse_duration
from errands.model.errors import InvalidConfig
from errands.model.ids import EPOCH_MS
from errands.sdk.app import App
from errands.sdk.event import EventLike, from_unix_ms, unix_ms
from errands.sdk.function import Function, app_of_function, definition_of_function
from errands.sdk.job import JobFunction, app_of_job, definition_of_job
from errands.store.interface import RunFilter, RunRow
from errands.testing.folder import store_path
from errands.testing.inline import Inline
from errands.testing.recorded import RecordedRun, described
from errands.testing.tape import when
from errands.testing.virtual import VirtualClock

P = ParamSpec("P")
R = TypeVar("R")
E = TypeVar("E")

START = datetime(2026, 1, 1, tzinfo=UTC)
"""What time it is in a harness, unless a test says otherwise: a test must not depend on the day."""
SETTLE_SECONDS = 30.0
QUIET_PASSES = 12
"""Passes of the loop in which nothing happened, after which nothing will: whatever was woken has
got to where it stands, also behind a few tasks that wait for one another."""
ALL = 1_000_000
SHOWN = 5


class Harness:
    """Inside, `app.send`, `enqueue` and `job.result()` reach this harness and nothing else."""

    def __init__(self, app: App, /, *, now: datetime | None = None, seed: int = 0) -> None:
        """now: with a time zone; default 2026-01-01T00:00:00Z.   seed: of the jitter of retries."""
        if now is not None and (now.tzinfo is None or unix_ms(now) < EPOCH_MS):
            raise InvalidConfig(
                f"Harness: now {now!r} is refused.",
                hint="Pass a datetime with a time zone, from 2024 on.",
            )
        self._app = app
        self._clock = VirtualClock(unix_ms(START if now is None else now))
        self._seed = seed
        self._backend: Inline | None = None
        self._exit = ExitStack()
        self.settle_seconds = SETTLE_SECONDS
        """How long, in real time, everything may take to come to rest."""

    async def __aenter__(self) -> Self:
        if self._backend is not None:
            raise RuntimeError("This harness is open already: make another one.")
        path = self._exit.enter_context(store_path())
        self._backend = backend = Inline(self._app, path, self._clock, self._seed)
        self._exit.enter_context(self._app.use_backend(backend))
        try:
            await backend.start()
        except BaseException:
            self._exit.close()
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        unmet = self._open.rules.unmet
        try:
            await self._open.stop()
        finally:
            self._backend = None
            self._exit.close()
        if unmet and error[0] is None:
            raise AssertionError(
                f"The test made steps fail, or faked them, that never came: {', '.join(unmet)}. "
                "Look for a misspelt id."
            )

    @property
    def _open(self) -> Inline:
        if self._backend is None:
            raise RuntimeError(
                "This harness is not open: write `async with Harness(app) as harness`."
            )
        return self._backend

    # -- time ----------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        return from_unix_ms(self._clock.now())

    async def settle(self) -> None:
        """Until nothing can happen without time passing.

        Waits for what steps really do, in threads too. Raises AssertionError when something has
        not come to rest after `settle_seconds`.
        """
        backend = self._open
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.settle_seconds
        quiet = 0
        backend.movers += 1
        try:
            while quiet < QUIET_PASSES:
                left = deadline - loop.time()
                if left <= 0:
                    raise self._restless()
                if backend.is_busy:
                    quiet = 0
                    await self._wait_for_a_change(backend, left)
                    continue
                backend.virtual_alarms.ring()
                await asyncio.sleep(0)
                quiet += 1
                if quiet == QUIET_PASSES and not backend.is_at_rest:
                    quiet = 0
        finally:
            backend.movers -= 1

    async def _wait_for_a_change(self, backend: Inline, seconds: float) -> None:
        backend.stirred.clear()
        try:
            async with asyncio.timeout(seconds):
                await backend.stirred.wait()
        except TimeoutError:
            return

    async def advance(self, duration: Duration, /) -> None:
        """Move time, stopping at each timer on the way; then settle."""
        backend = self._open
        target = self._clock.now() + parse_duration(duration, "advance")
        backend.movers += 1
        try:
            await self.settle()
            while (due := backend.virtual_alarms.next_at) is not None and due <= target:
                self._clock.move_to(max(due, self._clock.now()))
                await self.settle()
            self._clock.move_to(max(target, self._clock.now()))
        finally:
            backend.movers -= 1

    async def finish(self, *, at_most: Duration = "365 days") -> None:
        """Advance from timer to timer until every run is final.

        Raises AssertionError that names what is left after `at_most`.
        """
        backend = self._open
        span_ms = parse_duration(at_most, "finish: at_most")
        target = self._clock.now() + span_ms
        backend.movers += 1
        try:
            await self.settle()
            while self._unfinished(1):
                due = backend.virtual_alarms.next_at
                if due is None or due > target:
                    raise self._endless(span_ms, due)
                self._clock.move_to(max(due, self._clock.now()))
                await self.settle()
        finally:
            backend.movers -= 1

    # -- what happened -------------------------------------------------------------------------

    @property
    def sent(self) -> Sequence[EventLike]:
        """All events sent so far, also by functions."""
        return tuple(self._open.tape.events)

    @overload
    def runs(self, of: Function[E, R], /) -> list[RecordedRun[R]]: ...
    @overload
    def runs(self, of: JobFunction[P, R], /) -> list[RecordedRun[R]]: ...
    def runs(self, of: Any, /) -> Any:
        """All runs of it, in order of creation."""
        slug, codec_of = self._known(of)
        backend = self._open
        rows = backend.store.reader.runs(RunFilter(function=slug, limit=ALL))
        return [RecordedRun[Any](backend.sources, row.id, codec_of) for row in reversed(rows)]

    @overload
    def run(self, of: Function[E, R], /) -> RecordedRun[R]: ...
    @overload
    def run(self, of: JobFunction[P, R], /) -> RecordedRun[R]: ...
    def run(self, of: Any, /) -> Any:
        """The only run of it; AssertionError if there are none or several."""
        runs = self.runs(of)
        if len(runs) == 1:
            return runs[0]
        if runs:
            raise AssertionError(
                f"There are {len(runs)} runs of {of.id!r}, not one: ask harness.runs({of.id})."
            )
        sent = ", ".join(repr(event.envelope.name) for event in self.sent[-SHOWN:]) or "none"
        raise AssertionError(
            f"There is no run of {of.id!r} at {when(self._clock.now())}. "
            f"Events sent so far: {sent}. A trigger may have a condition that does not hold; "
            "a job must be enqueued."
        )

    # -- what happens --------------------------------------------------------------------------

    def fail_step(
        self,
        of: Function[Any, Any] | JobFunction[..., Any],
        step_id: str,
        /,
        *,
        times: int = 1,
        error: BaseException | None = None,
    ) -> None:
        """The next `times` attempts of this step raise `error` instead of executing.

        Default: a RuntimeError. Steps of `step.map` are "id[0]", a repeated id is "id:1".
        """
        slug, _ = self._known(of)
        raised = error or RuntimeError(f"step {step_id!r} was made to fail by the test")
        self._open.rules.fail(slug, step_id, times, raised)

    def fake_step(
        self, of: Function[Any, Any] | JobFunction[..., Any], step_id: str, result: object, /
    ) -> None:
        """This step gives `result` and never executes."""
        slug, _ = self._known(of)
        self._open.rules.fake(slug, step_id, result)

    def crash(self) -> None:
        """Forget all that was in memory, as `kill -9` would; what was committed stays, the rest is
        executed again.

        May also be called by a step, which then does not come to its end. A thread cannot be
        killed: it goes on, but whatever it gives is refused.
        """
        self._open.crash()

    # -- in words ------------------------------------------------------------------------------

    def _known(self, of: Any) -> tuple[str, Any]:
        if isinstance(of, JobFunction):
            job = cast("JobFunction[..., Any]", of)
            app, definition = app_of_job(job), definition_of_job(job)
        elif isinstance(of, Function):
            function = cast("Function[Any, Any]", of)
            app, definition = app_of_function(function), definition_of_function(function)
        else:
            raise TypeError(
                f"{of!r} is no function of errands: pass what @app.function or @app.job made."
            )
        if app is not self._app:
            raise ValueError(f"{of!r} is not of this harness's app, {self._app.id!r}.")
        return definition.config.slug, lambda: definition.result_codec

    def _unfinished(self, limit: int) -> list[RunRow]:
        reader = self._open.store.reader
        rows = reader.runs(RunFilter(status="processing", limit=limit))
        return rows or reader.runs(RunFilter(status="pending", limit=limit))

    def _told(self, rows: Sequence[RunRow]) -> str:
        lines = [f"  {described(self._open.sources, row)}." for row in rows[:SHOWN]]
        return "\n".join(lines)

    def _endless(self, span_ms: int, due: int | None) -> AssertionError:
        rows = self._unfinished(SHOWN)
        why = (
            "No timer is set that would wake what is left"
            if due is None
            else f"Not everything has ended after {format_ms(span_ms)}"
        )
        return AssertionError(f"{why}, at {when(self._clock.now())}:\n{self._told(rows)}")

    def _restless(self) -> AssertionError:
        backend = self._open
        reader = backend.store.reader
        rows = [reader.run(session.run) for session in backend.active.runner.executing]
        told = self._told([row for row in rows if row is not None]) or "  inputs, no run."
        return AssertionError(
            f"After {self.settle_seconds:g} s of real time something still executes:\n{told}\n"
            "What a step waits for must come without time being moved. For more time: "
            "harness.settle_seconds = …"
        )
