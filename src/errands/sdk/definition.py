"""A definition: what executing a function needs of its code: the handler, and how to call it."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, Protocol, TypeAlias

import msgspec

from errands.model import run
from errands.model.call import Call
from errands.model.errors import InputMismatch
from errands.model.event import NewEvent
from errands.model.function import FunctionConfig
from errands.model.ids import id_time
from errands.sdk.arguments import Arguments
from errands.sdk.codec import NOT_STORABLE, Codec, codec_of_result, decode_json, encode_json
from errands.sdk.event import EventLike, from_unix_ms, read_event
from errands.sdk.failure import Failure
from errands.sdk.middleware import Middleware
from errands.sdk.options import Retries

Arguments_: TypeAlias = tuple[tuple[Any, ...], dict[str, Any]]
PublicId: TypeAlias = Callable[[int], str]
Durability: TypeAlias = Literal["step", "run"]


class Input(Protocol):
    """How what a run was started with becomes the handler's arguments."""

    def arguments(self, call: Call, public_id: PublicId) -> Arguments_:
        """Raises one of NOT_STORABLE when it does not fit the code any more."""
        ...

    def failed_arguments(self, call: Call, origin: run.Run, public_id: PublicId) -> Arguments_:
        """The same for a failure handler: what the run `origin` had been started with."""
        ...


class Definition:
    """One function of an app."""

    def __init__(
        self,
        config: FunctionConfig,
        handler: Callable[..., Any],
        input: Input,
        *,
        retries: Retries,
        durability: Durability = "step",
        middleware: Sequence[Middleware] = (),
    ) -> None:
        self.config = config
        self.handler = handler
        self.input = input
        self.is_async = inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(
            getattr(handler, "__call__", None)  # noqa: B004 - an object with `async def __call__`
        )
        """False: it is called in a thread."""
        self.retries = retries
        self.durability: Durability = durability
        self.middleware = tuple(middleware)
        """The app's, then its own; the first is the outermost."""
        self._result_codec: Codec[Any] | None = None
        self.place = place_of(handler)
        """File and line, for errors."""

    @property
    def result_codec(self) -> Codec[Any]:
        """Raises ValueNotStorable when the return annotation cannot be used."""
        if self._result_codec is None:
            self._result_codec = codec_of_result(self.handler)
        return self._result_codec

    def arguments(self, call: Call, public_id: PublicId) -> Arguments_:
        """What to call the handler with. Raises InputMismatch."""
        try:
            return self.input.arguments(call, public_id)
        except NOT_STORABLE as error:
            what = "this event" if call.event is not None else "these arguments"
            raise InputMismatch(public_id(call.run.id), what, str(error)) from error


class EventInput:
    """Of a function that events start: one argument, the event, as the class of its name."""

    def __init__(
        self, classes: Mapping[str, type[EventLike]], any_event: type[EventLike] | None
    ) -> None:
        self._classes = dict(classes)
        self._any = any_event
        """For names without a class: where a trigger is a name or pattern."""

    def arguments(self, call: Call, public_id: PublicId) -> Arguments_:
        return self.failed_arguments(call, call.run, public_id)

    def failed_arguments(self, call: Call, origin: run.Run, public_id: PublicId) -> Arguments_:
        event = call.event
        if event is not None:
            cls = self._classes.get(event.name, self._any)
            if cls is None:
                raise TypeError(f"no trigger of it names event {event.name!r} any more")
            id = event.key or public_id(event.id)
            return (read_event(cls, event.name, event.data, id, event.at, event.user, event.v),), {}
        if origin.input is None:
            raise TypeError("its event is not there any more")
        given = _read_invocation(origin.input)
        name = given.name or next(iter(self._classes), "")
        cls = self._classes.get(name, self._any) or next(iter(self._classes.values()))
        at = id_time(origin.id) if given.ts is None else given.ts
        user = None if given.user is None else encode_json(given.user)
        id = given.id or public_id(origin.id)
        return (read_event(cls, name, bytes(given.data), id, at, user, given.v),), {}


class JobInput:
    """Of a job: its own arguments."""

    def __init__(self, known: Arguments) -> None:
        self.known = known

    def arguments(self, call: Call, public_id: PublicId) -> Arguments_:
        return self.known.read(call.run.input or b"{}")

    def failed_arguments(self, call: Call, origin: run.Run, public_id: PublicId) -> Arguments_:
        return self.known.read(origin.input or b"{}")


class FailureInput:
    """Of a failure handler: the failure, then what the failed function got.

    `failed=None`: of the whole app's.
    """

    def __init__(self, failed: Input | None) -> None:
        self._failed = failed

    def arguments(self, call: Call, public_id: PublicId) -> Arguments_:
        kept = _read_failure(call.run.input or b"{}")
        failure = Failure(kept, kept.run_id, kept.function_id, from_unix_ms(kept.failed_at))
        if self._failed is None:
            return (failure,), {}
        if call.origin is None:
            raise TypeError("the run that failed is not there any more")
        args, kwargs = self._failed.failed_arguments(call, call.origin, public_id)
        return (failure, *args), kwargs

    def failed_arguments(self, call: Call, origin: run.Run, public_id: PublicId) -> Arguments_:
        raise AssertionError("a failure handler has no failure handler of its own")


# -- stored inputs ---------------------------------------------------------------------------------


class KeptFailure(run.Failure, frozen=True, kw_only=True, omit_defaults=True):
    """The input of a failure handler's run, as JSON."""

    run_id: str
    function_id: str
    """"app/function"."""
    failed_at: int
    """Unix ms."""


class Invocation(msgspec.Struct, frozen=True, omit_defaults=True):
    """The input of an event function that was invoked, as JSON: an event that was never sent."""

    data: msgspec.Raw = msgspec.Raw(b"{}")
    name: str = ""
    id: str | None = None
    ts: int | None = None
    user: dict[str, Any] | None = None
    v: str | None = None


_read_failure: Final = msgspec.json.Decoder(KeptFailure).decode
_read_invocation: Final = msgspec.json.Decoder(Invocation).decode


def invocation(event: NewEvent) -> bytes:
    """The input of a run that is invoked with this event."""
    user = None if event.user is None else decode_json(event.user)
    return msgspec.json.encode(
        Invocation(msgspec.Raw(event.data), event.name, event.key, event.ts, user, event.v)
    )


def place_of(handler: Callable[..., Any]) -> str:
    """Where a function was written: "shop.py:12"."""
    code = getattr(inspect.unwrap(handler), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else repr(handler)
