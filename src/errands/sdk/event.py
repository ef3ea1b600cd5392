"""Events: named, typed facts. A class per event; its fields are the event's data."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Final,
    NotRequired,
    Protocol,
    Self,
    TypedDict,
    TypeVar,
    cast,
    dataclass_transform,
    overload,
)

import msgspec

from errands.model.errors import EventRefused, InvalidConfig
from errands.model.event import NewEvent
from errands.sdk.codec import NOT_STORABLE, VALUE_BYTES_MAX, decode_json, decoder_of, encode_json
from errands.sdk.envelope import NOBODY, Envelope, given_options, with_given

T = TypeVar("T")
EventT = TypeVar("EventT")

NAME_LENGTH_MAX: Final = 256
RESERVED_PREFIX: Final = "errands/"
"""Names of events that errands itself sends."""
RESERVED_FIELDS: Final = ("envelope", "with_options", "event_name")

_UNIX: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)
_KEYS: Final = frozenset({"name", "data", "id", "ts", "user", "v"})
# Not an identifier, so it can be no field's name.
_ENVELOPE: Final = "envelope!"


class EventLike(Protocol):
    """An event instance, of whichever base class (`errands.Event`, `errands.pydantic.Event`)."""

    @property
    def envelope(self) -> Envelope: ...
    def with_options(
        self,
        *,
        id: str | None = None,
        ts: datetime | None = None,
        user: Mapping[str, Any] | None = None,
    ) -> Self: ...


class EventDict(TypedDict):
    """An event as plain data, as on the wire."""

    name: str
    data: NotRequired[Mapping[str, Any]]
    id: NotRequired[str]
    ts: NotRequired[int]
    user: NotRequired[Mapping[str, Any]]
    v: NotRequired[str]


# -- classes ---------------------------------------------------------------------------------------


class EventForm(Protocol):
    """How one class of events is written and read.

    What a base class of events brings as `__errands_event__`.
    """

    name: str
    """Empty: the class is abstract, a place for shared fields."""
    v: str | None

    def write(self, event: Any) -> bytes:
        """Its data as a JSON object that `read` takes. Raises one of NOT_STORABLE."""
        ...

    def check(self, data: bytes, names: frozenset[str]) -> None:
        """Whether this JSON object, with these keys, is such data. Raises one of NOT_STORABLE."""
        ...

    def read(self, data: bytes, envelope: Envelope) -> Any:
        """The event. Keys it does not know are left out: the sender may be newer.

        Raises one of NOT_STORABLE.
        """
        ...


class _StructForm:
    """Of `errands.Event` classes."""

    def __init__(self, cls: Any, name: str, v: str | None) -> None:
        self.cls, self.name, self.v = cls, name, v
        self._decode: Callable[[bytes], Any] | None = None

    def decode(self, data: bytes) -> Any:
        # Made at the first use: at the class statement names in annotations may not exist yet.
        decode = self._decode
        if decode is None:
            decode = self._decode = decoder_of(self.cls)
        return decode(data)

    def write(self, event: Any) -> bytes:
        data = encode_json(event)
        self.decode(data)  # msgspec does not validate on construction
        return data

    def check(self, data: bytes, names: frozenset[str]) -> None:
        if unknown := names.difference(self.cls.__struct_encode_fields__):
            raise ValueError(f"it has no field {', '.join(map(repr, sorted(unknown)))}")
        self.decode(data)

    def read(self, data: bytes, envelope: Envelope) -> Any:
        return make_event(self.decode(data), envelope)


class _AnyForm:
    """Of `AnyEvent`: its one field is all of the data."""

    name, v = "*", None

    def __init__(self, cls: Any) -> None:
        self.cls = cls

    def write(self, event: Any) -> bytes:
        return encode_json(event.data)

    def check(self, data: bytes, names: frozenset[str]) -> None: ...

    def read(self, data: bytes, envelope: Envelope) -> Any:
        return make_event(self.cls(data=decode_json(data)), envelope)


@overload
def field(*, default: T, name: str | None = None) -> T: ...
@overload
def field(*, default_factory: Callable[[], T], name: str | None = None) -> T: ...
@overload
def field(*, name: str) -> Any: ...
def field(**options: Any) -> Any:
    """A field with a default, a default factory, or another name on the wire (`name="userId"`)."""
    return msgspec.field(**options)


if TYPE_CHECKING:
    # Checkers are not shown that events are msgspec structs: mypy would take the rules for their
    # constructor from there (positional, not frozen) instead of from EventMeta.
    class _Meta(type): ...

    class _Base: ...
else:
    _Meta, _Base = msgspec.StructMeta, msgspec.Struct


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
class EventMeta(_Meta):
    """Makes fields keyword-only and frozen, keeps `name` and `v`."""

    if not TYPE_CHECKING:  # checkers look at `Event.__init_subclass__` for the keywords

        def __new__(mcs, class_name, bases, namespace, /, *, name=None, v=None, **unknown):
            _check_class(class_name, name, unknown)
            # dict=True: the envelope has its place beside the fields, so that a field may be
            # called `id`.
            options = {"frozen": True, "kw_only": True, "dict": True}
            return _keep(super().__new__(mcs, class_name, bases, namespace, **options), name, v)

        def __init__(cls, class_name, bases, namespace, /, **keywords):
            super().__init__(class_name, bases, namespace)


def _check_class(class_name: str, name: str | None, unknown: dict[str, object]) -> None:
    if unknown:
        raise InvalidConfig(
            f"class {class_name}: unknown keyword {', '.join(map(repr, unknown))}.",
            hint='An event class takes name="…" and v="…".',
        )
    if name is not None and name != "*":
        check_name(name, lambda why: InvalidConfig(f"class {class_name}: {why}", hint=_NAME_HINT))


def _keep(cls: Any, name: str | None, v: str | None) -> Any:
    for taken in RESERVED_FIELDS:
        if taken in cls.__struct_fields__:
            raise InvalidConfig(
                f"{cls.__name__}.{taken}: this name is reserved by errands.",
                hint="Call the field something else and give it its name on the wire: "
                f'{taken}_: … = field(name="{taken}").',
            )
    form = _AnyForm(cls) if name == "*" else _StructForm(cls, name or "", v)
    type.__setattr__(cls, "event_name", name or "")
    type.__setattr__(cls, "__errands_event__", form)
    return cls


class Event(_Base, metaclass=EventMeta):
    """Base of your events: `class SignedUp(Event, name="user/signed.up"): user_id: str`.

    Without `name` a class is abstract: a place for shared fields.
    Reserved, so not usable as fields: `envelope`, `with_options`, `event_name`
    (use `envelope_: str = field(name="envelope")`).
    """

    event_name: ClassVar[str]

    def __init_subclass__(cls, *, name: str | None = None, v: str | None = None) -> None: ...

    @property
    def envelope(self) -> Envelope:
        """Id, name, time, user and version.

        Of an event not sent yet: what `with_options` set; else NotInRun.
        """
        return envelope_of(self)

    def with_options(
        self,
        *,
        id: str | None = None,
        ts: datetime | None = None,
        user: Mapping[str, Any] | None = None,
    ) -> Self:
        """The same event with an id (idempotency), a time (in the future: sent then), a user."""
        return make_event(_copy(self), with_given(self.envelope, id, ts, user))


class AnyEvent(Event, name="*"):
    """What a wildcard trigger (`on="user/*"`) hands over: any name, untyped data."""

    data: dict[str, Any]


def _copy(event: EventT) -> EventT:
    return msgspec.structs.replace(cast("Any", event))


def envelope_of(event: object) -> Envelope:
    found: Envelope | None = vars(event).get(_ENVELOPE)
    if found is None:
        form = form_of(type(event))
        return Envelope(form.name, form.v)
    return found


def make_event(event: EventT, envelope: Envelope) -> EventT:
    """This event, just made, with its envelope: among its attributes, but not a field of it."""
    vars(event)[_ENVELOPE] = envelope
    return event


def is_event_class(value: object) -> bool:
    return isinstance(value, type) and hasattr(value, "__errands_event__")


def is_event(value: object) -> bool:
    return hasattr(type(value), "__errands_event__")


def form_of(cls: type) -> EventForm:
    form: EventForm = cast("Any", cls).__errands_event__
    return form


# -- out, and in -----------------------------------------------------------------------------------

_NAME_HINT: Final = (
    f'A name is 1 to {NAME_LENGTH_MAX} characters, e.g. "user/signed.up"; '
    f'"*" and "{RESERVED_PREFIX}…" are taken.'
)


def check_name(name: object, error: Callable[[str], Exception]) -> None:
    """Raises `error(why)` if this cannot be the name of an event."""
    if not isinstance(name, str) or not name:
        raise error("an event needs a name.")
    if len(name) > NAME_LENGTH_MAX:
        raise error(f"the event name {name[:40]!r}… has {len(name)} characters.")
    if "*" in name or not name.isprintable():
        raise error(f"the event name {name!r} has a character that is not allowed.")
    if name.startswith(RESERVED_PREFIX):
        raise error(f"the event name {name!r} is reserved.")


def new_event(
    event: EventLike | EventDict,
    registry: Mapping[str, type[EventLike]],
    limit_bytes: int = VALUE_BYTES_MAX,
) -> NewEvent:
    """An event ready to be sent. Raises EventRefused, which names the field.

    registry: the app's event classes by name; a plain dict is validated against its name's class.
    """
    if is_event(event):
        made = _from_instance(cast("EventLike", event))
    elif isinstance(event, Mapping):
        made = _from_dict(event, registry)
    else:
        kind = (
            f"the class {event.__name__}"
            if isinstance(event, type)
            else f"a {type(event).__name__}"
        )
        raise EventRefused(
            f"Not an event: {kind}.",
            hint='Send an instance of an event class, or {"name": …, "data": {…}}.',
        )
    if len(made.data) > limit_bytes:
        raise EventRefused(
            f"Event {made.name!r}: its data are {len(made.data):,} bytes as JSON; the limit is "
            f"{limit_bytes:,}.",
            hint="Keep the large part where it belongs (a file, an object store, your database) "
            "and send its key.",
        )
    return made


def _from_instance(event: EventLike) -> NewEvent:
    form, envelope = form_of(type(event)), event.envelope
    name = envelope.name
    if name == "":
        raise EventRefused(
            f"{type(event).__name__} has no event name, so it cannot be sent.",
            hint=f'class {type(event).__name__}(…, name="…")',
        )
    if form.name == "*":
        check_name(name, _refuse)
    try:
        data = form.write(event)
    except NOT_STORABLE as error:
        raise _refused(name, error) from error
    id, ts, user = given_options(envelope)
    return NewEvent(
        name=name,
        data=data,
        key=None if id is None else _key(name, id),
        ts=None if ts is None else _given_ts(name, ts),
        user=_object(name, "user", user) if user else None,
        v=envelope.v,
    )


def _from_dict(event: Mapping[str, Any], registry: Mapping[str, type[EventLike]]) -> NewEvent:
    name = event.get("name")
    check_name(name, _refuse)
    assert isinstance(name, str)
    if unknown := event.keys() - _KEYS:
        raise EventRefused(
            f"Event {name!r}: unknown field {', '.join(sorted(map(repr, unknown)))}.",
            hint="Beside the name there may be: data, id, ts, user, v. What the event says goes "
            "into data.",
        )
    fields = event.get("data")
    data = b"{}" if fields is None else _object(name, "data", fields)
    known = registry.get(name)
    v = event.get("v")
    if v is not None and not isinstance(v, str):
        raise EventRefused(f"Event {name!r}: v must be a string, not {v!r}.")
    if known is not None:
        form = form_of(known)
        v = form.v if v is None else v
        try:
            form.check(data, frozenset(fields or ()))
        except NOT_STORABLE as error:
            raise _refused(name, error) from error
    id, ts, user = event.get("id"), event.get("ts"), event.get("user")
    if ts is not None and (
        not isinstance(ts, int) or isinstance(ts, bool) or not 0 <= ts <= _TS_MAX
    ):
        raise EventRefused(f"Event {name!r}: ts must be Unix milliseconds, not {ts!r}.")
    return NewEvent(
        name=name,
        data=data,
        key=None if id is None else _key(name, id),
        ts=ts,
        user=None if user is None else _object(name, "user", user),
        v=v,
    )


_TS_MAX: Final = 253_402_300_799_999
"""The last millisecond that a datetime can say."""


def unix_ms(moment: datetime) -> int:
    """Milliseconds since 1970, rounded up, so that nothing is early.

    Raises InvalidConfig on one without a time zone: it could be any of 24 moments.
    """
    if not is_aware(moment):
        raise InvalidConfig(
            f"{moment!r} is no datetime with a time zone.",
            hint="For example datetime.now(UTC) + timedelta(hours=1).",
        )
    return max(0, -((_UNIX - moment) // _MS))


def is_aware(value: object) -> bool:
    return isinstance(value, datetime) and value.tzinfo is not None


def from_unix_ms(ms: int) -> datetime:
    return _UNIX + ms * _MS


def _given_ts(name: str, ts: datetime) -> int:
    try:
        return unix_ms(ts)
    except InvalidConfig as error:
        raise EventRefused(f"Event {name!r}: ts: {error.args[0]}", hint=error.hint) from None


def _key(name: str, id: object) -> str:
    if not isinstance(id, str) or not 0 < len(id) <= NAME_LENGTH_MAX or not id.isprintable():
        raise EventRefused(
            f"Event {name!r}: id {id!r} is refused.",
            hint=f"An id is a string of 1 to {NAME_LENGTH_MAX} printable characters.",
        )
    return id


def _object(name: str, what: str, value: object) -> bytes:
    if not isinstance(value, Mapping):
        raise EventRefused(
            f"Event {name!r}: {what} must be a JSON object, not a {type(value).__name__}."
        )
    try:
        return encode_json(
            value if isinstance(value, dict) else dict(cast("Mapping[str, Any]", value))
        )
    except NOT_STORABLE as error:
        raise EventRefused(
            f"Event {name!r}: {what} cannot be stored as JSON: {error}.", hint="Nothing was sent."
        ) from error


def _refuse(why: str) -> EventRefused:
    return EventRefused(why[:1].upper() + why[1:], hint=_NAME_HINT)


def _refused(name: str, error: BaseException) -> EventRefused:
    return EventRefused(
        f"Event {name!r} does not fit its class: {error}.", hint="Nothing was sent."
    )


def read_event(
    cls: type[T], name: str, data: bytes, id: str, at_ms: int, user: bytes | None, v: str | None
) -> T:
    """An accepted event as an instance of `cls`, with its envelope. Raises one of NOT_STORABLE."""
    who = NOBODY if user is None else decode_json(user)
    event: T = form_of(cls).read(
        data, Envelope(name, v, id=id, ts=from_unix_ms(at_ms), user=who, sent=True)
    )
    return event
