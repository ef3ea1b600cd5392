"""Results and arguments: stored as JSON, read back as the annotation says, at once as on replay."""

import functools
import inspect
import sys
import types
import typing
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import PurePath
from typing import Any, Final, Generic, TypeVar, Union, cast

import msgspec

from errands.model.errors import ValueNotStorable, ValueTooLarge

T = TypeVar("T")

VALUE_BYTES_MAX: Final = 256 * 1024
"""Default limit of an event's data, of a job's arguments and of each result, as JSON."""

CODECS_MAX: Final = 4_096
"""Kept ready to use, so that an app that makes classes as it runs does not grow."""

# Types whose JSON reads back as the very same value, so that reading it back can be left out.
_SCALARS: Final = (type(None), bool, int, str)


class Codec(Generic[T]):
    """How values of one annotated type are stored and read back."""

    __slots__ = ("_decode", "_encode", "_exact", "_is_open", "hint")

    def __init__(
        self,
        hint: Any,
        encode: Callable[[T], bytes],
        decode: Callable[[bytes], T],
        exact: frozenset[type] = frozenset(),
        is_open: bool = False,
    ) -> None:
        self.hint = hint
        self._encode = encode
        self._decode = decode
        self._exact = exact
        self._is_open = is_open

    def encode(self, value: T) -> bytes:
        """JSON. Raises what the libraries raise: see `NOT_STORABLE`."""
        return self._encode(value)

    def decode(self, data: bytes) -> T:
        """Raises what the libraries raise: see `NOT_STORABLE`."""
        return self._decode(data)

    def store(self, value: T, what: str, limit_bytes: int = VALUE_BYTES_MAX) -> tuple[bytes, T]:
        """What is stored, and what the caller gets: exactly what a replay would get.

        what: names the value in errors: "the result of step 'x'".
        Raises ValueNotStorable, ValueTooLarge.
        """
        try:
            stored = self._encode(value)
            if type(value) not in self._exact:
                back = self._decode(stored)
                if self._is_open and not back == value:
                    raise _not_plain(what, value, back)
                value = back
        except NOT_STORABLE as error:
            if isinstance(error, ValueNotStorable):
                raise
            raise not_storable(what, value, self.hint, error) from error
        if len(stored) > limit_bytes:
            raise ValueTooLarge(what, len(stored), limit_bytes)
        return stored, value


NOT_STORABLE: Final = (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError)
"""What encoding or decoding may raise; pydantic's errors are ValueErrors."""


def store(hint: Any, value: T, what: str, limit_bytes: int = VALUE_BYTES_MAX) -> tuple[bytes, T]:
    """`codec(hint).store(…)`, where an annotation that has no codec is also ValueNotStorable."""
    try:
        found = codec(hint)
    except NOT_STORABLE as error:
        raise not_storable(what, value, hint, error) from error
    return found.store(value, what, limit_bytes)


def _not_plain(what: str, value: Any, back: Any) -> ValueNotStorable:
    part = _odd_part(value, back)
    verb = "is" if part is value else "holds"
    return ValueNotStorable(
        f"{_start(what)} {verb} a {_named(part)}, but no annotation says so: "
        f"it would be read back as {back!r:.80}.",
        hint="Annotate the function's return type and pass the function itself, "
        f"or use step.with_options(returns={type(value).__name__}).",
    )


def _odd_part(value: Any, back: Any) -> object:
    """The innermost part of `value` that is not read back as it was."""
    pairs: list[tuple[Any, Any]] = []
    if type(value) is type(back) is dict:
        pairs = [(value[key], back[key]) for key in value if key in back]
    elif type(value) is type(back) is list:
        pairs = list(zip(value, back, strict=False))
    return next((_odd_part(part, read) for part, read in pairs if part != read), value)


def not_storable(what: str, value: object, hint: Any, error: BaseException) -> ValueNotStorable:
    expected = "JSON" if hint is Any else f"the annotated {name_of(hint)}"
    return ValueNotStorable(
        f"{_start(what)}, a {_named(value)}, cannot be stored and read back as {expected}: "
        f"{error}.",
        hint="Use what fits the annotation: JSON values, dataclasses, msgspec structs, pydantic "
        "models, datetime, Decimal, UUID, Path, enum, and lists, tuples, sets, dicts of these.",
    )


def codec(hint: Any) -> Codec[Any]:
    """The codec of an annotation, cached.

    Raises TypeError if the annotation cannot be told apart in JSON.
    """
    try:
        return _codec(hint)
    except TypeError:
        try:
            hash(hint)
        except TypeError:  # e.g. Annotated with a list: cannot be a key of the cache
            return _make(hint)
        raise


def _make(hint: Any) -> Codec[Any]:
    if _uses_pydantic(hint):
        adapter = sys.modules["pydantic"].TypeAdapter(hint)
        # As a model would be read: under its aliases, and without fields that it computes itself.
        options = {"by_alias": True, "round_trip": True, "warnings": "error"}
        return Codec(hint, functools.partial(adapter.dump_json, **options), adapter.validate_json)
    plain = Any if hint is object else hint
    decoder = msgspec.json.Decoder(plain, dec_hook=_read_foreign)
    return Codec(hint, encode_json, decoder.decode, _exact_types(hint), _is_open(hint))


_codec = functools.lru_cache(maxsize=CODECS_MAX)(_make)
_of_functions: dict[tuple[object, object, object], Codec[Any]] = {}


# -- which annotation ------------------------------------------------------------------------------


def returns_of(function: Callable[..., object]) -> Any:
    """The annotation of what a call gives when awaited; `Any` where none tells (lambda, TypeVar).

    Raises ValueNotStorable when the annotation names something that cannot be found.
    """
    return (
        function if inspect.isclass(function) else hints_of(function, "return").get("return", Any)
    )


def hints_of(function: Any, *names: str) -> dict[str, Any]:
    """The annotations of these parameters, or of "return"; those with open TypeVars are left out.

    Raises ValueNotStorable when one of them names something that cannot be found.
    """
    while isinstance(function, functools.partial):
        function = cast("functools.partial[object]", function).func
    if not inspect.isroutine(function) and not inspect.isclass(function):
        function = type(function).__call__
    annotations: dict[str, Any] = getattr(function, "__annotations__", None) or {}
    # Only those asked for: a step may well take what is imported under TYPE_CHECKING.
    wanted = {name: annotations[name] for name in names if name in annotations}
    if not wanted:
        return {}
    holder = types.SimpleNamespace(__annotations__=wanted)
    names_in_sight = getattr(inspect.unwrap(function), "__globals__", {})
    try:
        hints = typing.get_type_hints(holder, names_in_sight, include_extras=True)
    except NameError as error:
        raise ValueNotStorable(
            f"An annotation of {function.__qualname__} cannot be read: {error}.",
            hint="Import or define that name at module level (not only under TYPE_CHECKING), "
            "or use step.with_options(returns=…).",
        ) from error
    if "return" in hints:
        hints["return"] = _awaited(hints["return"])
    return {name: hint for name, hint in hints.items() if not _says_nothing(hint)}


def codec_of_result(function: Callable[..., object]) -> Codec[Any]:
    """The codec of what a call gives. Fast for plain functions. Raises ValueNotStorable."""
    if type(function) is not types.FunctionType:
        return _result_codec(function)
    # The function itself is no key: a closure is a new one each time, and would be kept alive.
    key = function.__code__, function.__annotations__.get("return"), function.__module__
    try:
        found = _of_functions.get(key)
    except TypeError:  # an annotation that cannot be hashed
        return _result_codec(function)
    if found is None:
        found = _result_codec(function)
        if len(_of_functions) >= CODECS_MAX:
            _of_functions.clear()
        _of_functions[key] = found
    return found


def _result_codec(function: Callable[..., object]) -> Codec[Any]:
    hint = returns_of(function)
    try:
        return codec(hint)
    except NOT_STORABLE as error:
        name = getattr(function, "__qualname__", repr(function))
        raise ValueNotStorable(
            f"{name} returns {name_of(hint)}, which cannot be stored: {error}.",
            hint="Give it a return type that JSON can tell apart, or use "
            "step.with_options(returns=…).",
        ) from error


def _awaited(hint: Any) -> Any:
    """Of an annotation that says Awaitable[…], what that gives."""
    origin = typing.get_origin(hint)
    if inspect.isclass(origin) and issubclass(origin, Awaitable):
        arguments = typing.get_args(hint)
        return arguments[2] if issubclass(origin, Coroutine) else arguments[0]
    return hint


def _says_nothing(hint: Any) -> bool:
    """Whether it has open TypeVars, or is the annotation of what never gives anything."""
    if hint in (typing.NoReturn, typing.Never) or isinstance(hint, TypeVar):
        return True
    return any(map(_says_nothing, typing.get_args(hint)))


def _exact_types(hint: Any) -> frozenset[type]:
    if hint is Any or hint is object:
        return frozenset(_SCALARS)
    parts: tuple[Any, ...] = typing.get_args(hint) if _is_union(hint) else (hint,)
    parts = tuple(type(None) if part is None else part for part in parts)
    return frozenset(parts) if all(part in _SCALARS for part in parts) else frozenset()


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (Union, types.UnionType)


def _is_open(hint: Any) -> bool:
    """Whether values may come back as something else unnoticed.

    Plain containers of `Any`, or `Any` itself.
    """
    if hint in (Any, object, dict, list):
        return True
    if typing.get_origin(hint) in (dict, list, tuple, Union, types.UnionType):
        arguments = typing.get_args(hint)
        plain = all(part in (*_SCALARS, None, float, ...) or _is_open(part) for part in arguments)
        return plain and any(map(_is_open, arguments))
    return False


# -- JSON, and what others bring -------------------------------------------------------------------


def _uses_pydantic(hint: Any) -> bool:
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and _mentions(hint, pydantic.BaseModel)


def _mentions(hint: Any, base: type) -> bool:
    if inspect.isclass(hint) and not isinstance(hint, types.GenericAlias):
        return issubclass(hint, base)
    return any(_mentions(part, base) for part in typing.get_args(hint))


def _write_foreign(value: Any) -> Any:
    pydantic = sys.modules.get("pydantic")
    if pydantic is not None and isinstance(value, pydantic.BaseModel):
        return value.model_dump(mode="json", by_alias=True, round_trip=True)
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"a {_named(value)} has no form in JSON")


def _read_foreign(kind: Any, value: Any) -> Any:
    pydantic = sys.modules.get("pydantic")
    if pydantic is not None and _mentions(kind, pydantic.BaseModel):
        return kind.model_validate_json(encode_json(value))
    if _mentions(kind, PurePath) and isinstance(value, str):
        return kind(value)
    raise TypeError(f"a {name_of(kind)} cannot be read back from JSON")


encode_json: Final[Callable[[Any], bytes]] = msgspec.json.Encoder(enc_hook=_write_foreign).encode
decode_json: Final[Callable[[bytes], Any]] = msgspec.json.Decoder().decode


def decoder_of(kind: type[T]) -> Callable[[bytes], T]:
    """Reads JSON as a class whose fields may also be pydantic models."""
    return msgspec.json.Decoder(kind, dec_hook=_read_foreign).decode


def check_storable(hint: Any) -> None:
    """Raises TypeError when no value of this annotation could be stored and read back."""
    codec(hint)
    if not _uses_pydantic(hint):
        _check_parts(msgspec.inspect.type_info(hint))


def _check_parts(info: msgspec.inspect.Type, depth: int = 8) -> None:
    if isinstance(info, msgspec.inspect.CustomType):
        _refuse_foreign(info.cls)
    if depth:
        for name in getattr(type(info), "__struct_fields__", ()):
            part = getattr(info, name)
            for inner in cast("tuple[object, ...]", part) if isinstance(part, tuple) else (part,):
                inner = inner.type if isinstance(inner, msgspec.inspect.Field) else inner
                if isinstance(inner, msgspec.inspect.Type):
                    _check_parts(inner, depth - 1)


def _refuse_foreign(kind: Any) -> None:
    pydantic = sys.modules.get("pydantic")
    is_model = pydantic is not None and _mentions(kind, pydantic.BaseModel)
    if not is_model and not _mentions(kind, PurePath):
        raise TypeError(f"a {name_of(kind)} cannot be stored as JSON")


def name_of(hint: Any) -> str:
    """An annotation as its author wrote it, about."""
    return (
        hint.__name__
        if inspect.isclass(hint) and not typing.get_args(hint)
        else str(hint).replace("typing.", "")
    )


def _named(value: object) -> str:
    return type(value).__qualname__


def _start(text: str) -> str:
    return text[:1].upper() + text[1:]
