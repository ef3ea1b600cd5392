"""An App: a named set of functions and jobs, and the way to errands."""

import importlib
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import TYPE_CHECKING, Any, ParamSpec, TypeAlias, TypeVar, Unpack, cast, overload

import msgspec

from errands.model.duration import Duration, parse_duration
from errands.model.errors import InvalidConfig
from errands.model.event import NewEvent
from errands.model.function import AppConfig, FunctionKind
from errands.model.job import JobState
from errands.sdk.backend import Backend, open_backend
from errands.sdk.codec import NOT_STORABLE, VALUE_BYTES_MAX, encode_json, not_storable
from errands.sdk.definition import Definition, FailureInput
from errands.sdk.event import (
    AnyEvent,
    EventDict,
    EventForm,
    EventLike,
    form_of,
    is_event,
    new_event,
)
from errands.sdk.failure import Failure
from errands.sdk.function import ON_FAILURE, FunctionDecorator, check_id, check_takes, define
from errands.sdk.job import (
    AsyncJobFunction,
    BoundJob,
    Job,
    JobDecorator,
    JobStatus,
    SyncJobFunction,
    handle_of_bound,
    status_of,
    unbind,
    untyped,
)
from errands.sdk.middleware import Middleware
from errands.sdk.options import FunctionOptions, Trigger
from errands.sdk.sending import Sendable, send_all

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from errands.integrations.embedding import Embedding

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
E = TypeVar("E")
E1 = TypeVar("E1")
E2 = TypeVar("E2")
E3 = TypeVar("E3")
E4 = TypeVar("E4")
A = TypeVar("A")

On: TypeAlias = type[A] | Trigger[A]


class Jobs:
    """All jobs, by id; and external jobs, whose work your own code does."""

    def __init__(self, app: "App") -> None:
        self._app = app

    async def get(self, id: str, /) -> JobStatus[Any]:
        """Raises JobNotFound."""
        return await untyped(self._app, id).status()

    async def result(self, id: str, /, *, timeout: Duration | None = None) -> Any:
        """Waits for the end; the result as plain JSON.

        Raises JobFailed, JobCancelled, ResultTimeout, JobNotFound.
        """
        return await untyped(self._app, id).result(timeout=timeout)

    def watch(self, id: str, /) -> AsyncIterator[JobStatus[Any]]:
        """The status now and at each change, up to the final one. Raises JobNotFound."""
        return untyped(self._app, id).watch()

    async def cancel(self, id: str, /, *, reason: str | None = None) -> None:
        """It ends as cancelled; of a finished job nothing is changed. Raises JobNotFound."""
        await untyped(self._app, id).cancel(reason=reason)

    async def create(self, id: str | None = None, /, *, keep: Duration = "24h") -> JobStatus[Any]:
        """An external job, pending until you update it; with an id that there is, that job.

        keep: how long it may go without an update before it fails, and is kept once it is over.
        Raises InvalidConfig, NotExternal, Unavailable.
        """
        keep_ms = parse_duration(keep, "create: keep")
        backend = await self._app.connected()
        view, _ = await backend.create_job(id, keep_ms)
        return status_of(view)

    async def update(
        self,
        id: str,
        /,
        *,
        status: JobState | None = None,
        progress: float | None = None,
        message: str | None = None,
        result: object = None,
        error: str | None = None,
    ) -> JobStatus[Any]:
        """Say how an external job goes; what is left out stays. A result completes it, an error
        fails it.

        progress: 0 to 100. Raises JobNotFound, JobIsOver, NotExternal, ValueNotStorable,
        ValueTooLarge, Unavailable.
        """
        data = None if result is None else _json_of(result, f"the result of job {id!r}")
        backend = await self._app.connected()
        view = await backend.update_job(
            id, status=status, percent=progress, note=message, result=data, error=error
        )
        return status_of(view)


class App:
    """A named set of functions and jobs.

    Declaring does no I/O; the first send, enqueue or question connects.
    """

    def __init__(
        self, id: str, /, *, url: str | None = None, middleware: Sequence[Middleware] = ()
    ) -> None:
        """url: where errands is: sqlite:///path; default ERRANDS_URL, else an embedded file."""
        check_id(id, "An app's id")
        self.id = id
        self.middleware = tuple(middleware)
        self.jobs = Jobs(self)
        self.definitions: dict[str, Definition] = {}
        """By slug, failure handlers too."""
        self.events: dict[str, type[EventLike]] = {}
        """The event classes that this app's functions speak of, by name."""
        self.value_bytes_max = VALUE_BYTES_MAX
        self.has_send_middleware = any(
            type(one).on_send is not Middleware.on_send for one in self.middleware
        )
        self._url = url
        self._backend: Backend | None = None

    # -- declaring ---------------------------------------------------------------------------------
    @overload
    def function(
        self, *, on: type[E] | Trigger[E], **options: Unpack[FunctionOptions]
    ) -> FunctionDecorator[E]: ...
    @overload
    def function(
        self, *, on: str, **options: Unpack[FunctionOptions]
    ) -> FunctionDecorator[AnyEvent]: ...
    @overload
    def function(
        self, *, on: tuple[On[E1], On[E2]], **options: Unpack[FunctionOptions]
    ) -> FunctionDecorator[E1 | E2]: ...
    @overload
    def function(
        self, *, on: tuple[On[E1], On[E2], On[E3]], **options: Unpack[FunctionOptions]
    ) -> FunctionDecorator[E1 | E2 | E3]: ...
    @overload
    def function(
        self, *, on: tuple[On[E1], On[E2], On[E3], On[E4]], **options: Unpack[FunctionOptions]
    ) -> FunctionDecorator[E1 | E2 | E3 | E4]: ...
    @overload
    def function(
        self, *, on: tuple[On[Any] | str, ...], **options: Unpack[FunctionOptions]
    ) -> FunctionDecorator[Any]: ...
    def function(self, *, on: Any, **options: Any) -> Any:
        """Decorator: a durable function that events start.

        on: an event class, a name with wildcards, `Trigger(…, if_exp=…)`, or a tuple of these.
        The handler takes exactly one argument: the event. Raises InvalidConfig.
        """
        return FunctionDecorator[Any](self, on, cast("FunctionOptions", options))

    @overload
    def job(  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncJobFunction[P, R]: ...
    @overload
    def job(self, function: Callable[P, R], /) -> SyncJobFunction[P, R]: ...
    @overload
    def job(self, **options: Unpack[FunctionOptions]) -> JobDecorator: ...
    def job(self, *function: Any, **options: Any) -> Any:
        """Decorator: a durable function that is called.

        Its arguments must be storable: checked at import and at enqueue. Raises InvalidConfig.
        """
        decorator = JobDecorator(self, cast("FunctionOptions", options))
        return cast("Any", decorator)(*function) if function else decorator

    def on_failure(
        self, handler: Callable[[Failure], Awaitable[object]], /
    ) -> Callable[[Failure], Awaitable[object]]:
        """Decorator.

        For every run of this app that failed for good, also of a function's own failure handler.
        """
        check_takes(handler, "The app's failure handler", "(failure)", None)
        define(self, ON_FAILURE, FunctionKind.FAILURE, handler, FailureInput(None), {})
        return handler

    def add(self, definition: Definition) -> None:
        """Used by the decorators. Raises InvalidConfig when the id is taken."""
        slug = definition.config.slug
        if (other := self.definitions.get(slug)) is not None:
            raise InvalidConfig(
                f"App {self.id!r} has two functions with the id {slug!r}: at {other.place} and "
                f"at {definition.place}.",
                hint='Rename one, or give it another id: id="…".',
            )
        self.definitions[slug] = definition

    def know(self, event: type[EventLike]) -> None:
        """Used by the decorators.

        Plain dicts of this name are from now on validated against this class.
        """
        name = form_of(event).name
        if name == "*":
            return
        other = self.events.setdefault(name, event)
        if other is not event:
            raise InvalidConfig(
                f"App {self.id!r} has two classes for event {name!r}: {_full_name(other)} and "
                f"{_full_name(event)}.",
                hint="Share one class; fields that only some events have get a default.",
            )

    def form_of_event(self, name: str) -> EventForm:
        """How events of this name are read: by this app's class for it, else as AnyEvent."""
        return form_of(self.events.get(name, AnyEvent))

    def config(self) -> AppConfig:
        """What this app registers."""
        for slug, definition in self.definitions.items():
            handlers = (f"{slug}/{ON_FAILURE}", ON_FAILURE)
            # The app's own handler is not told about itself.
            found = tuple(one for one in handlers if one in self.definitions and slug != ON_FAILURE)
            definition.config = msgspec.structs.replace(definition.config, on_failure=found)
        return AppConfig(
            self.id, tuple(definition.config for definition in self.definitions.values())
        )

    # -- using -------------------------------------------------------------------------------------
    @overload
    async def send(self, event: EventLike | EventDict, /) -> str: ...
    @overload
    async def send(self, events: Iterable[EventLike | EventDict], /) -> list[str]: ...
    async def send(self, events: Any, /) -> Any:
        """Send one event or many, durably, all or nothing; gives the id, or the ids.

        Raises EventRefused, Unavailable.
        """
        if (
            is_event(events)
            or isinstance(events, Mapping | str | type)
            or not isinstance(events, Iterable)
        ):
            ids = await self.submit([cast("EventLike", events)])
            return ids[0]
        return await self.submit(list(cast("Iterable[EventLike]", events)))

    async def enqueue_many(self, jobs: Iterable[BoundJob[R_co]], /) -> list[Job[R_co]]:
        """Enqueue many jobs, also different ones, in one durable call: all or nothing.

        Raises Unavailable.
        """
        bound = list(jobs)
        for one in bound:
            if not isinstance(one, BoundJob):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise InvalidConfig(
                    f"enqueue_many: a {type(one).__name__} is no bound job.",
                    hint="Pass job.bind(…) of each.",
                )
        ids = await self.submit([unbind(one) for one in bound])
        return [handle_of_bound(self, one, id) for one, id in zip(bound, ids, strict=True)]

    def new_event(self, event: EventLike | EventDict) -> NewEvent:
        """The event, validated, ready to be accepted. Raises EventRefused."""
        return new_event(event, self.events, self.value_bytes_max)

    async def submit(self, items: Sequence[Sendable]) -> list[str]:
        """Send these through the app's middleware; gives their ids."""
        if not items:
            return []
        backend = await self.connected()
        return await send_all(self, items, backend.send)

    # -- running -----------------------------------------------------------------------------------
    def worker(self, *, concurrency: int | None = None) -> AbstractAsyncContextManager[object]:
        """A worker in this process, for as long as the `async with` lasts.

        Mostly you use `errands worker module:app`.

        concurrency: runs executed at once; default: as many as suits the machine.
        """
        return self.backend.worker(concurrency)

    def embed(self, web_app: "Starlette", /, *, path: str = "/errands") -> "Embedding":
        """All of errands in a FastAPI or Starlette app's own process: server, worker and store.

        It starts and stops with the web app, whose lifespan is kept. The HTTP API is below `path`,
        for whoever has ERRANDS_API_TOKEN, or for one job a token of `job_token`.
        Raises InvalidConfig.
        """
        # By name, so that nothing of a server is imported where none is embedded.
        embedding = importlib.import_module("errands.integrations.embedding")
        return cast("Embedding", embedding.embed(self, web_app, path))

    @property
    def url(self) -> str | None:
        """Where errands is, as given to App; None: ERRANDS_URL, else an embedded file."""
        return self._url

    @property
    def backend(self) -> Backend:
        """How this app reaches errands. Opened at the first use; no I/O until it connects."""
        if self._backend is None:
            self._backend = open_backend(self._url, self)
        return self._backend

    async def connected(self) -> Backend:
        """The backend, with this app's functions registered. Raises Unavailable."""
        backend = self._backend or self.backend
        if not backend.is_connected:
            await backend.connect()
        return backend

    @contextmanager
    def use_backend(self, backend: Backend) -> Generator[None]:
        """Reach errands through this one instead, inside the `with`."""
        before, self._backend = self._backend, backend
        try:
            yield
        finally:
            self._backend = before

    def __repr__(self) -> str:
        return f"App({self.id!r})"


def _json_of(value: object, what: str) -> bytes:
    """Raises ValueNotStorable."""
    try:
        return encode_json(value)
    except NOT_STORABLE as error:
        raise not_storable(what, value, Any, error) from error


def _full_name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
