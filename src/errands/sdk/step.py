"""What a durable function asks for: `step` and `progress`.

They belong to the run that the calling code executes in.
"""

import asyncio
import inspect
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
)
from datetime import datetime
from typing import Any, Final, Generic, ParamSpec, TypeVar, cast, overload

import msgspec

from errands.model.duration import Duration, parse_duration
from errands.model.errors import InvalidConfig, NotInRun
from errands.model.job import NewJob
from errands.model.step import StepKind
from errands.sdk.codec import Codec, codec, codec_of_result, encode_json
from errands.sdk.context import SESSION
from errands.sdk.definition import invocation
from errands.sdk.event import (
    AnyEvent,
    EventDict,
    EventLike,
    is_event,
    new_event,
    read_event,
    unix_ms,
)
from errands.sdk.expression import to_condition
from errands.sdk.function import Function, app_of_function, definition_of_function
from errands.sdk.job import ConfiguredJob, Job, app_of_job, definition_of_job, handle, new_job
from errands.sdk.options import Retries, event_pattern, retries_of
from errands.sdk.sending import send_all
from errands.sdk.session import Session
from errands.sdk.shape import shape_of

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
E = TypeVar("E")
EventT = TypeVar("EventT", bound=EventLike)

_DEFAULT_RETRIES: Final = retries_of(None)
_NOTHING: Final = codec(None)


class Step:
    """Each method is remembered under its id: later executions of the run get the stored result.

    An id may repeat in a loop (it is numbered); in parallel branches each needs its own.
    """

    __slots__ = ("_retries", "_returns", "_timeout_ms")

    def __init__(
        self,
        retries: Retries | None = None,
        timeout_ms: int | None = None,
        returns: Codec[Any] | None = None,
    ) -> None:
        self._retries, self._timeout_ms, self._returns = retries, timeout_ms, returns

    def with_options(
        self,
        *,
        retries: int | Retries | None = None,
        timeout: Duration | None = None,
        returns: Any = None,
    ) -> "Step":
        """The same, for the next call, with other retries or a time limit.

        returns: the result's type, where no annotation tells it.
        """
        return Step(
            None if retries is None else retries_of(retries),
            None if timeout is None else parse_duration(timeout, "step.with_options: timeout"),
            None if returns is None else codec(returns),
        )

    @overload
    async def run(
        self, id: str, function: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> R: ...
    @overload
    async def run(
        self, id: str, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> R: ...
    async def run(self, id: Any, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call it once, keep the result, retry on error. `def` functions run in a thread.

        The result is read back as the function's return annotation, on first execution too, so you
        always see what a replay would see. Raises StepError when retries are spent;
        ValueNotStorable.
        """
        session = SESSION.get()
        if session is None:
            result = function(*args, **kwargs)
            return await result if inspect.isawaitable(result) else result
        return await session.run_step(
            id,
            function,
            args,
            kwargs,
            self._returns or codec_of_result(function),
            self._retries or session.definition.retries,
            self._timeout_ms,
        )

    @overload
    async def map(
        self,
        id: str,
        function: Callable[[T], Awaitable[R]],
        items: Iterable[T],
        /,
        *,
        concurrency: int | None = None,
    ) -> list[R]: ...
    @overload
    async def map(
        self,
        id: str,
        function: Callable[[T], R],
        items: Iterable[T],
        /,
        *,
        concurrency: int | None = None,
    ) -> list[R]: ...
    async def map(
        self, id: Any, function: Any, items: Any, /, *, concurrency: int | None = None
    ) -> Any:
        """One step per item, in parallel, results in order: id[0], id[1], …

        If some fail, the others still come to their end; then the first failure (by position) is
        raised.
        """
        if concurrency is not None and concurrency < 1:
            raise InvalidConfig(
                f"step.map: concurrency {concurrency} is refused.", hint="It must be at least 1."
            )
        gate = asyncio.Semaphore(concurrency) if concurrency is not None else None

        async def one(n: int, item: Any) -> Any:
            if gate is None:
                return await self.run(f"{id}[{n}]", function, item)
            async with gate:
                return await self.run(f"{id}[{n}]", function, item)

        # All of them come to their end, whatever happens to one: what is done is kept.
        results = await asyncio.gather(
            *(one(n, item) for n, item in enumerate(items)), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return results

    async def sleep(self, id: str, duration: Duration, /) -> None:
        """Wait, durably; nothing is held meanwhile. Never shorter. Raises NotInRun."""
        session = _session("step.sleep")
        duration_ms = parse_duration(duration, f"step.sleep({id!r})")
        await session.wait(id, StepKind.SLEEP, _NOTHING, duration_ms=duration_ms)

    async def sleep_until(self, id: str, until: datetime, /) -> None:
        """Wait, durably, for a point in time (with a time zone). Raises NotInRun."""
        session = _session("step.sleep_until")
        if until.tzinfo is None:
            raise InvalidConfig(
                f"step.sleep_until({id!r}): {until} has no time zone.",
                hint="For example datetime.now(UTC) + …",
            )
        await session.wait(id, StepKind.SLEEP, _NOTHING, until=unix_ms(until))

    @overload
    async def wait_for_event(
        self,
        id: str,
        event: type[EventT],
        /,
        *,
        timeout: Duration,
        match: str | None = None,
        if_exp: str | Callable[[EventT], bool] | None = None,
    ) -> EventT | None: ...
    @overload
    async def wait_for_event(
        self,
        id: str,
        event: str,
        /,
        *,
        timeout: Duration,
        match: str | None = None,
        if_exp: str | None = None,
    ) -> AnyEvent | None: ...
    async def wait_for_event(
        self,
        id: Any,
        event: Any,
        /,
        *,
        timeout: Duration,
        match: str | None = None,
        if_exp: Any = None,
    ) -> Any:
        """The next such event, or None when `timeout` has passed.

        match: a path that is equal in the run's event and in the awaited one.
        if_exp: CEL over `event` and `async`, or a lambda over the awaited event, whose captured
        values become constants.
        """
        session = _session("step.wait_for_event")
        duration_ms = parse_duration(timeout, f"step.wait_for_event({id!r}): timeout")
        pattern = event_pattern(event, "step.wait_for_event")
        cls: type[Any] = AnyEvent if isinstance(event, str) else event
        condition = None if if_exp is None else to_condition(if_exp, "async", cls)
        return await session.wait(
            id,
            StepKind.EVENT,
            cast("Codec[Any]", _Awaited(cls)),
            duration_ms=duration_ms,
            shape=lambda: shape_of(pattern, match, condition, session.run_event()),
        )

    @overload
    async def invoke(
        self, id: str, job: ConfiguredJob[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> R: ...
    @overload
    async def invoke(self, id: str, function: Function[E, R], event: E, /) -> R: ...
    async def invoke(self, id: Any, job: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Run another job or function and wait for its result. Raises StepError if that fails."""
        session = _session("step.invoke")
        if isinstance(job, ConfiguredJob):
            known = cast("ConfiguredJob[..., Any]", job)
            child = new_job(known, args, kwargs)
            result = definition_of_job(known).result_codec
        else:
            (event,) = args
            app, definition = app_of_function(job), definition_of_function(job)
            new = new_event(event, app.events, session.value_bytes_max)
            child = NewJob(app.id, definition.config.slug, invocation(new))
            result = definition.result_codec
        return await session.wait(id, StepKind.INVOKE, self._returns or result, child=lambda: child)

    async def invoke_by_id(
        self, id: str, function_id: str, data: Mapping[str, Any], returns: type[T], /
    ) -> T:
        """Like invoke, for another app's function: "billing/charge".

        data: its event's data, or a job's arguments.
        """
        session = _session("step.invoke_by_id")
        app, _, slug = function_id.partition("/")
        if not app or not slug:
            raise InvalidConfig(
                f"step.invoke_by_id({id!r}): {function_id!r} is no function id.",
                hint='Write "app/function".',
            )
        child = NewJob(app, slug, encode_json(data))
        return await session.wait(id, StepKind.INVOKE, codec(returns), child=lambda: child)

    async def enqueue(
        self, id: str, job: ConfiguredJob[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> Job[R]:
        """Enqueue a job once, without waiting for it."""
        session = SESSION.get()
        if session is None:
            return await job.enqueue(*args, **kwargs)
        sent = await send_all(
            app_of_job(job),
            [new_job(job, args, kwargs)],
            lambda items: session.send(id, tuple(items)),
        )
        return handle(job, sent[0])

    @overload
    async def send_event(self, id: str, event: EventLike | EventDict, /) -> str: ...
    @overload
    async def send_event(
        self, id: str, events: Iterable[EventLike | EventDict], /
    ) -> list[str]: ...
    async def send_event(self, id: Any, events: Any, /) -> Any:
        """Send events once."""
        session = SESSION.get()
        is_one = is_event(events) or isinstance(events, Mapping)
        items = [cast("EventLike", events)] if is_one else list(cast("Iterable[EventLike]", events))
        if session is None:
            raise NotInRun("step.send_event")
        sent = await send_all(session.app, items, lambda new: session.send(id, tuple(new)))
        return sent[0] if is_one else sent


def _session(what: str) -> Session:
    session = SESSION.get()
    if session is None:
        raise NotInRun(what)
    return session


class _Awaited(Generic[T]):
    """The codec of a wait for an event: an instance of its class, or None after the timeout."""

    def __init__(self, cls: type[T]) -> None:
        self._cls = cls

    def decode(self, data: bytes) -> T | None:
        kept = _read_awaited(data)
        if kept is None:
            return None
        user = None if kept.user is None else bytes(kept.user)
        return read_event(self._cls, kept.name, bytes(kept.data), kept.id, kept.ts, user, kept.v)


class _Kept(msgspec.Struct):
    id: str
    name: str
    ts: int
    data: msgspec.Raw
    user: msgspec.Raw | None = None
    v: str | None = None


_read_awaited = msgspec.json.Decoder(_Kept | None).decode


class Progress:
    """How far the current run is: the latest value wins.

    Never blocks, never fails; outside a run it does nothing.
    """

    def set(self, percent: float, message: str | None = None) -> None:
        """percent: 0 to 100; what lies outside is taken as the nearer end."""
        session = SESSION.get()
        if session is not None:
            session.set_progress(min(100.0, max(0.0, float(percent))), message)

    @overload
    def track(
        self, items: Iterable[T], *, total: int | None = None, message: str | None = None
    ) -> Iterator[T]: ...
    @overload
    def track(
        self, items: AsyncIterable[T], *, total: int | None = None, message: str | None = None
    ) -> AsyncIterator[T]: ...
    def track(self, items: Any, *, total: int | None = None, message: str | None = None) -> Any:
        """Iterate and report: `for row in progress.track(rows)`.

        total: needed where `len()` is not known; without it there is only the message.
        """
        count = len(items) if total is None and hasattr(items, "__len__") else total
        return (
            self._track_async(items, count, message)
            if hasattr(items, "__aiter__")
            else self._track(items, count, message)
        )

    def _track(self, items: Iterable[T], total: int | None, message: str | None) -> Iterator[T]:
        self._tell_start(total, message)
        for n, item in enumerate(items, 1):
            yield item
            self._tell(n, total, message)

    async def _track_async(
        self, items: AsyncIterable[T], total: int | None, message: str | None
    ) -> AsyncIterator[T]:
        self._tell_start(total, message)
        n = 0
        async for item in items:
            yield item
            n += 1
            self._tell(n, total, message)

    def _tell_start(self, total: int | None, message: str | None) -> None:
        if total is None:
            self._tell(0, None, message)

    def _tell(self, n: int, total: int | None, message: str | None) -> None:
        if total:
            self.set(100 * n / total, message)
        elif total is None and message is not None and (session := SESSION.get()) is not None:
            session.set_progress(None, message)


step: Final[Step] = Step()
progress: Final[Progress] = Progress()
