"""Functions: what `@app.function` makes of a handler."""

# pyright: reportPrivateUsage=false
# What the rest of the SDK needs of a Function are functions of this module, not names on it.

import functools
import inspect
import re
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, Generic, TypeVar, cast, overload

from errands.model.errors import InvalidConfig
from errands.model.function import FunctionConfig, FunctionKind
from errands.model.function import Trigger as TriggerConfig
from errands.sdk.definition import Definition, EventInput, FailureInput, place_of
from errands.sdk.event import AnyEvent, EventLike, form_of
from errands.sdk.failure import Failure
from errands.sdk.options import FunctionOptions, Timeouts, Trigger, event_pattern, retries_of
from errands.sdk.owner import Owner

E = TypeVar("E")
R = TypeVar("R")

ON_FAILURE: Final = "on_failure"
_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,200}")
_DURABILITIES: Final = ("step", "run")


class Function(Generic[E, R]):
    """What `@app.function` makes of a handler."""

    def __init__(self, app: Owner, definition: Definition) -> None:
        self.id: str = definition.config.slug
        self._app = app
        self._definition = definition
        functools.update_wrapper(cast("Any", self), definition.handler)

    def on_failure(
        self, handler: Callable[[Failure, E], Awaitable[object]], /
    ) -> Callable[[Failure, E], Awaitable[object]]:
        """Decorator: runs, durably, when a run has failed for good.

        Gets the failure, then what the function got.
        """
        check_takes(handler, f"The failure handler of {self.id!r}", "(failure, event)", None, None)
        add_failure_handler(self._app, self._definition, handler)
        return handler

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._app.id}/{self.id}>"


class AsyncFunction(Function[E, R]):
    def __call__(self, event: E, /) -> Coroutine[Any, Any, R]:
        return self._definition.handler(event)


class SyncFunction(Function[E, R]):
    def __call__(self, event: E, /) -> R:
        return self._definition.handler(event)


class FunctionDecorator(Generic[E]):
    def __init__(self, app: Owner, on: Any, options: FunctionOptions) -> None:
        self._app, self._on, self._options = app, on, options

    @overload
    def __call__(  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]
        self, handler: Callable[[E], Coroutine[Any, Any, R]], /
    ) -> AsyncFunction[E, R]: ...
    @overload
    def __call__(self, handler: Callable[[E], R], /) -> SyncFunction[E, R]: ...
    def __call__(self, handler: Any, /) -> Any:
        slug = id_of(handler, self._options)
        triggers, input = _triggers(self._app, self._on, slug)
        check_takes(handler, f"Function {slug!r}", "(event)", None)
        definition = define(
            self._app, slug, FunctionKind.EVENT, handler, input, self._options, triggers
        )
        if definition.is_async:
            return AsyncFunction[Any, Any](self._app, definition)
        return SyncFunction[Any, Any](self._app, definition)


def define(
    app: Owner,
    slug: str,
    kind: FunctionKind,
    handler: Callable[..., Any],
    input: Any,
    options: FunctionOptions,
    triggers: tuple[TriggerConfig, ...] = (),
) -> Definition:
    """Check the options and add the function to its app. Raises InvalidConfig."""
    if unknown := options.keys() - FunctionOptions.__annotations__.keys():
        raise InvalidConfig(
            f"{slug!r}: unknown option {', '.join(sorted(unknown))}.",
            hint=f"There are: {', '.join(FunctionOptions.__annotations__)}.",
        )
    durability = options.get("durability", "step")
    if durability not in _DURABILITIES:
        raise InvalidConfig(
            f"{slug!r}: durability {durability!r} is refused.", hint='It is "step" or "run".'
        )
    if inspect.isgeneratorfunction(handler) or inspect.isasyncgenfunction(handler):
        raise InvalidConfig(
            f"{slug!r} is a generator.",
            hint="Write a `def` or `async def` that returns its result.",
        )
    cancel = options.get("cancel", ())
    cancels = cancel if isinstance(cancel, tuple) else (cancel,)
    for one in cancels:
        app.know(one.event)
    timeouts = options.get("timeouts") or Timeouts()
    retries = retries_of(options.get("retries"))
    definition = Definition(
        FunctionConfig(
            slug=slug,
            name=options.get("name") or slug,
            kind=kind,
            triggers=triggers,
            retries=retries.policy,
            start_timeout_ms=timeouts.start_ms,
            finish_timeout_ms=timeouts.finish_ms,
            cancel=tuple(one.config for one in cancels),
        ),
        handler,
        input,
        retries=retries,
        durability=durability,
        middleware=(*app.middleware, *options.get("middleware", ())),
    )
    app.add(definition)
    return definition


def add_failure_handler(app: Owner, failed: Definition, handler: Callable[..., Any]) -> None:
    slug = f"{failed.config.slug}/{ON_FAILURE}"
    define(app, slug, FunctionKind.FAILURE, handler, FailureInput(failed.input), {})


def id_of(handler: Callable[..., Any], options: FunctionOptions) -> str:
    slug = options.get("id")
    if slug is None:
        slug = getattr(inspect.unwrap(handler), "__name__", "")
    check_id(slug, "A function's id")
    return slug


def check_id(id: object, what: str) -> None:
    if not isinstance(id, str) or not _ID.fullmatch(id):
        raise InvalidConfig(
            f"{what} cannot be {id!r}.",
            hint='Give it one of 1 to 200 letters, digits, "-", "_", "." or ":": id="…".',
        )


def check_takes(
    handler: Callable[..., Any], what: str, form: str, *args: Any, **kwargs: Any
) -> None:
    """Raises InvalidConfig unless the handler can be called so."""
    try:
        inspect.signature(handler).bind(*args, **kwargs)
    except TypeError as error:
        raise InvalidConfig(
            f"{what} must take {form}: {error}.", hint=f"It is at {place_of(handler)}."
        ) from None


def _triggers(app: Owner, on: Any, slug: str) -> tuple[tuple[TriggerConfig, ...], EventInput]:
    configs: list[TriggerConfig] = []
    classes: dict[str, type[EventLike]] = {}
    any_event: type[EventLike] | None = None
    for one in cast("tuple[Any, ...]", on) if isinstance(on, tuple) else (on,):
        if isinstance(one, Trigger):
            trigger = cast("Trigger[Any]", one)
            config, cls = trigger.config, trigger.event
        else:
            config = TriggerConfig(event_pattern(one, f"Function {slug!r}: on"))
            cls = AnyEvent if isinstance(one, str) else one
        configs.append(config)
        if form_of(cls).name == "*":
            any_event = cls
        else:
            app.know(cls)
            classes[config.event] = cls
    if not configs:
        raise InvalidConfig(f"Function {slug!r}: on is empty.", hint="Pass at least one event.")
    return tuple(configs), EventInput(classes, any_event)


def app_of_function(function: Function[Any, Any]) -> Owner:
    return function._app


def definition_of_function(function: Function[Any, Any]) -> Definition:
    return function._definition
