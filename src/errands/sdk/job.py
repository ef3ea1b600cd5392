"""Jobs: functions that are called, not triggered; and handles on what was enqueued."""

# pyright: reportPrivateUsage=false
# What the rest of the SDK needs of these classes are the functions at the end, not names on them:
# whatever stands on a Job is what users see.

import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from datetime import datetime
from typing import (
    Any,
    Concatenate,
    Generic,
    Literal,
    ParamSpec,
    TypeVar,
    Unpack,
    cast,
    overload,
)

import msgspec

from errands.model import run
from errands.model.duration import Duration, format_ms, parse_duration
from errands.model.errors import (
    InvalidConfig,
    JobCancelled,
    JobFailed,
    ResultMismatch,
    ResultTimeout,
)
from errands.model.function import FunctionKind
from errands.model.job import JobView, NewJob
from errands.model.text import storable
from errands.sdk.arguments import Arguments
from errands.sdk.codec import NOT_STORABLE, Codec, codec, decode_json, name_of
from errands.sdk.definition import Definition, JobInput
from errands.sdk.event import NAME_LENGTH_MAX, from_unix_ms, is_aware, unix_ms
from errands.sdk.failure import Failure
from errands.sdk.function import add_failure_handler, check_takes, define, id_of
from errands.sdk.options import EnqueueOptions, FunctionOptions, Timeouts, retries_of
from errands.sdk.owner import Owner

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

REASON_LENGTH_MAX = 2_000
"""Longer reasons of a cancellation are cut."""
_read_failure = msgspec.json.Decoder(run.Failure).decode


class JobStatus(Generic[R_co]):
    """One look at a job.

    `to_dict()` is the JSON that browsers get: id, status, progress, result, error, createdAt,
    updatedAt.
    """

    def __init__(self, view: JobView, result_codec: Codec[R_co]) -> None:
        self._view = view
        self._codec = result_codec

    @property
    def id(self) -> str:
        return self._view.id

    @property
    def status(self) -> Literal["pending", "processing", "completed", "failed"]:
        return self._view.status

    @property
    def is_final(self) -> bool:
        return self._view.is_final

    @property
    def progress(self) -> float | None:
        """0 to 100; None: the job has not said."""
        return self._view.progress

    @property
    def message(self) -> str | None:
        """What the job said along with its progress."""
        return self._view.message

    @property
    def result(self) -> R_co | None:
        """None as long as it is not completed."""
        data = self._view.result
        return None if data is None else _decoded(self._view.id, data, self._codec)

    @property
    def error(self) -> str | None:
        """ "CardDeclined: no funds"; of a cancelled job "cancelled: reason"."""
        view = self._view
        if view.cancelled is not None:
            return f"cancelled: {view.cancelled}" if view.cancelled else "cancelled"
        if view.error is None:
            return None
        failure = _read_failure(view.error)
        return f"{failure.name}: {failure.message}" if failure.message else failure.name

    @property
    def created_at(self) -> datetime:
        return from_unix_ms(self._view.created_at)

    @property
    def updated_at(self) -> datetime:
        return from_unix_ms(self._view.updated_at)

    def to_dict(self) -> dict[str, Any]:
        """Times in Unix ms; progress, message, result and error only where there is one."""
        view = self._view
        found: dict[str, Any] = {"id": view.id, "status": view.status}
        if view.progress is not None:
            found["progress"] = view.progress
        if view.message is not None:
            found["message"] = view.message
        if view.result is not None:
            found["result"] = decode_json(view.result)
        if self.error is not None:
            found["error"] = self.error
        return found | {"createdAt": view.created_at, "updatedAt": view.updated_at}

    def __repr__(self) -> str:
        return f"JobStatus({self.to_dict()})"


class Job(Generic[R_co]):
    """A handle on one enqueued job: an id, and questions to ask about it."""

    def __init__(self, app: Owner, id: str, codec_of: Callable[[], Codec[R_co]]) -> None:
        self._app = app
        self._id = id
        self._codec_of = codec_of

    @property
    def id(self) -> str:
        return self._id

    async def status(self) -> JobStatus[R_co]:
        """Raises JobNotFound."""
        backend = await self._app.connected()
        return JobStatus(await backend.job(self._id), self._codec_of())

    async def result(self, *, timeout: Duration | None = None) -> R_co:
        """Waits for the end. Raises JobFailed, JobCancelled, ResultTimeout, JobNotFound."""
        wait_ms = None if timeout is None else parse_duration(timeout, "result: timeout")
        backend = await self._app.connected()
        view = await backend.outcome(self._id, None if wait_ms is None else wait_ms / 1000)
        view = view or await backend.job(self._id)  # it may have ended just now
        if not view.is_final:
            raise ResultTimeout(self._id, format_ms(wait_ms or 0), view.status)
        return _outcome(view, self._codec_of())

    async def watch(self) -> AsyncIterator[JobStatus[R_co]]:
        """The status now and at each change, up to the final one. Raises JobNotFound."""
        backend = await self._app.connected()
        view = await backend.job(self._id)
        while True:
            yield JobStatus(view, self._codec_of())
            if view.is_final:
                return
            before = view
            while view == before:  # without a timeout it may still come back unchanged
                view = await backend.changed(before, None)

    async def cancel(self, *, reason: str | None = None) -> None:
        """It ends as cancelled; of a finished job nothing is changed. Raises JobNotFound.

        reason: cut at 2,000 characters.
        """
        backend = await self._app.connected()
        await backend.cancel(
            self._id, None if reason is None else storable(reason, REASON_LENGTH_MAX)
        )

    def __repr__(self) -> str:
        return f"Job({self._id!r})"


class BoundJob(Generic[R_co]):
    """A job with its arguments, not enqueued yet: for `app.enqueue_many`."""

    def __init__(self, new: NewJob, codec_of: Callable[[], Codec[R_co]]) -> None:
        self._new = new
        self._codec_of = codec_of

    def __repr__(self) -> str:
        return f"BoundJob({self._new.app}/{self._new.function})"


class ConfiguredJob(Generic[P, R]):
    """A job that can be enqueued."""

    def __init__(self, app: Owner, definition: Definition, options: EnqueueOptions) -> None:
        self._app = app
        self._definition = definition
        self._options = options
        self._arguments = cast("JobInput", definition.input).known
        self._blank = _blank(app.id, definition.config.slug, options)
        self._is_plain = not options

    async def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> Job[R]:
        """Durable when it returns. Takes what the function takes; options go into `with_options`.

        Raises ArgumentsRefused, ValueNotStorable, ValueTooLarge, Unavailable.
        """
        ids = await self._app.submit([new_job(self, args, kwargs)])
        return self._handle(ids[0])

    def bind(self, *args: P.args, **kwargs: P.kwargs) -> BoundJob[R]:
        """The job with these arguments, for later use; nothing happens yet."""
        return BoundJob(new_job(self, args, kwargs), self._result_codec)

    def with_options(self, **options: Unpack[EnqueueOptions]) -> "ConfiguredJob[P, R]":
        """The same job, to be enqueued with a delay, key, tags …"""
        merged: EnqueueOptions = {**self._options, **options}
        return ConfiguredJob(self._app, self._definition, merged)

    def _handle(self, id: str) -> Job[R]:
        return Job(self._app, id, self._result_codec)

    def _result_codec(self) -> Codec[R]:
        return self._definition.result_codec

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._app.id}/{self._definition.config.slug}>"


class JobFunction(ConfiguredJob[P, R]):
    """What `@app.job` makes of a function. Calling it calls the function, here and now."""

    def __init__(self, app: Owner, definition: Definition) -> None:
        super().__init__(app, definition, {})
        self.id: str = definition.config.slug
        functools.update_wrapper(cast("Any", self), definition.handler)

    def job(self, id: str) -> Job[R]:
        """A typed handle on a job enqueued earlier, from its id. No I/O."""
        return self._handle(id)

    def on_failure(
        self, handler: Callable[Concatenate[Failure, P], Awaitable[object]], /
    ) -> Callable[Concatenate[Failure, P], Awaitable[object]]:
        """Decorator: runs, durably, when a job has failed for good.

        Gets the failure, then the job's arguments.
        """
        args, kwargs = _sample(self._arguments.signature)
        check_takes(
            handler,
            f"The failure handler of {self.id!r}",
            "the failure, then the job's arguments",
            None,
            *args,
            **kwargs,
        )
        add_failure_handler(self._app, self._definition, handler)
        return handler


class AsyncJobFunction(JobFunction[P, R]):
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        return self._definition.handler(*args, **kwargs)


class SyncJobFunction(JobFunction[P, R]):
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._definition.handler(*args, **kwargs)


class JobDecorator:
    def __init__(self, app: Owner, options: FunctionOptions) -> None:
        self._app, self._options = app, options

    @overload
    def __call__(  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncJobFunction[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> SyncJobFunction[P, R]: ...
    def __call__(self, function: Any, /) -> Any:
        slug = id_of(function, self._options)
        arguments = Arguments(function, slug)
        arguments.check()
        definition = define(
            self._app, slug, FunctionKind.JOB, function, JobInput(arguments), self._options
        )
        kind: Any = AsyncJobFunction if definition.is_async else SyncJobFunction
        return kind(self._app, definition)


# -- for the rest of the SDK -----------------------------------------------------------------------


def new_job(
    job: ConfiguredJob[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> NewJob:
    """The call, ready to be accepted. Raises ArgumentsRefused, ValueNotStorable, ValueTooLarge."""
    app, blank = job._app, job._blank
    data = job._arguments.store(args, kwargs, app.value_bytes_max)
    if job._is_plain:
        return NewJob(blank.app, blank.function, data)
    return msgspec.structs.replace(blank, data=data)


def definition_of_job(job: ConfiguredJob[..., Any]) -> Definition:
    return job._definition


def app_of_job(job: ConfiguredJob[..., Any]) -> Owner:
    return job._app


def handle(job: ConfiguredJob[..., R], id: str) -> Job[R]:
    return job._handle(id)


def unbind(bound: BoundJob[Any]) -> NewJob:
    return bound._new


def handle_of_bound(app: Owner, bound: BoundJob[R], id: str) -> Job[R]:
    return Job(app, id, bound._codec_of)


def untyped(app: Owner, id: str) -> Job[Any]:
    """A handle on a job of which only the id is known; its result is plain JSON."""
    return Job(app, id, _plain_codec)


def status_of(view: JobView) -> JobStatus[Any]:
    """What is known of a job of which only the id is known; its result is plain JSON."""
    return JobStatus(view, _plain_codec())


def _plain_codec() -> Codec[Any]:
    return codec(Any)


def _blank(app: str, function: str, options: EnqueueOptions) -> NewJob:
    """The options as a call without its arguments. Raises InvalidConfig."""
    if unknown := options.keys() - EnqueueOptions.__annotations__.keys():
        raise InvalidConfig(
            f"with_options: unknown option {', '.join(sorted(unknown))}.",
            hint=f"There are: {', '.join(EnqueueOptions.__annotations__)}.",
        )
    delay, at, key = options.get("delay"), options.get("at"), options.get("idempotency_key")
    if delay is not None and at is not None:
        raise InvalidConfig("with_options: both delay and at.", hint="Give one of them.")
    if at is not None and not is_aware(at):
        raise InvalidConfig(
            f"with_options: at {at!r} is refused.", hint="Pass a datetime with a time zone."
        )
    if key is not None and not (_is_short_text(key) and key.isprintable()):
        raise InvalidConfig(
            f"with_options: idempotency_key {key!r:.60} is refused.",
            hint=f"It is a string of 1 to {NAME_LENGTH_MAX} printable characters.",
        )
    timeouts = options.get("timeouts") or Timeouts()
    return NewJob(
        app=app,
        function=function,
        data=b"{}",
        key=key,
        delay_ms=None if delay is None else parse_duration(delay, "with_options: delay"),
        at=None if at is None else unix_ms(at),
        retries=_stored_retries(options),
        start_timeout_ms=timeouts.start_ms,
        finish_timeout_ms=timeouts.finish_ms,
        tags=tuple(
            f"{_tag(name)}={_tag(value)}" for name, value in options.get("tags", {}).items()
        ),
    )


def _stored_retries(options: EnqueueOptions) -> bytes | None:
    given = options.get("retries")
    if given is None:
        return None
    retries = retries_of(given)
    if not retries.is_plain:
        raise InvalidConfig(
            "with_options: retries with a delay function or give_up_on cannot be stored with one "
            "job.",
            hint="Put them on the function: @app.job(retries=Retries(…)).",
        )
    return msgspec.json.encode(retries.policy)


def _tag(text: object) -> str:
    if not isinstance(text, str) or not _is_short_text(text) or not text.isprintable():
        raise InvalidConfig(
            f"with_options: tag {text!r:.60} is refused.",
            hint=f"Tags are a dict of strings of 1 to {NAME_LENGTH_MAX} characters: "
            f'tags={{"customer": "c1"}}.',
        )
    return text


def _is_short_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= NAME_LENGTH_MAX


def _outcome(view: JobView, result_codec: Codec[R]) -> R:
    if view.cancelled is not None:
        raise JobCancelled(view.id, view.cancelled or None)
    if view.status == "failed":
        raise JobFailed(view.id, _read_failure(view.error or b'{"name":"Error","message":""}'))
    return _decoded(view.id, view.result or b"null", result_codec)


def _decoded(job_id: str, data: bytes, result_codec: Codec[R]) -> R:
    try:
        return result_codec.decode(data)
    except NOT_STORABLE as error:
        expected = name_of(result_codec.hint)
        raise ResultMismatch(job_id, expected, str(error)) from error


def _sample(signature: inspect.Signature) -> tuple[list[None], dict[str, None]]:
    """Arguments that this signature takes, all of them."""
    args = [
        None
        for p in signature.parameters.values()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    return args, {p.name: None for p in signature.parameters.values() if p.kind is p.KEYWORD_ONLY}
