"""A job's arguments.

Checked against its signature at enqueue, kept as a JSON object by name, read back for the call.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from errands.model.errors import ArgumentsRefused, InvalidConfig, ValueNotStorable, ValueTooLarge
from errands.sdk.codec import (
    NOT_STORABLE,
    VALUE_BYTES_MAX,
    Codec,
    check_storable,
    codec,
    encode_json,
    hints_of,
    name_of,
)

_read_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_POSITIONAL: Final = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_BY_NAME: Final = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_REST: Final = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class _Argument(NamedTuple):
    name: str
    key: bytes
    """Its name and a colon, as they stand in JSON."""
    codec: Codec[Any]
    what: str


class Arguments:
    """The parameters of one job.

    `*args` are kept as a list, `**kwargs` as an object, under their names.
    """

    def __init__(self, function: Callable[..., object], job_id: str) -> None:
        self._function, self._job_id = function, job_id
        self.signature = inspect.signature(function)
        parameters = list(self.signature.parameters.values())
        self._positional = [p.name for p in parameters if p.kind in _POSITIONAL]
        self._by_name = {p.name for p in parameters if p.kind in _BY_NAME}
        self._required = [
            (p.name, at if p.kind in _POSITIONAL else len(parameters))
            for at, p in enumerate(parameters)
            if p.default is p.empty and p.kind not in _REST
        ]
        self._enough = max([at + 1 for _, at in self._required], default=0)
        """So many by position are all that is required."""
        self._rest = [p for p in parameters if p.kind in _REST]
        self._known: dict[str, _Argument] | None = None

    def check(self) -> None:
        """Raises InvalidConfig if an annotation cannot be stored.

        An annotation that names something not defined yet is left for the first use.
        """
        try:
            self._resolve()
        except ValueNotStorable:
            return

    def store(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], limit_bytes: int = VALUE_BYTES_MAX
    ) -> bytes:
        """A JSON object by name; defaults are not filled in.

        Raises ArgumentsRefused, ValueNotStorable, ValueTooLarge.
        """
        known = self._known or self._resolve()
        count = len(args)
        if count > len(self._positional) or self._rest or not self._fits(count, kwargs):
            given = self._bind(args, kwargs)
        else:
            given = {**dict(zip(self._positional, args, strict=False)), **kwargs}
        parts: list[bytes] = []
        for name, value in given.items():
            argument = known[name]
            try:
                stored, _ = argument.codec.store(value, argument.what, limit_bytes)
            except ValueNotStorable as error:
                self._refuse(argument, value, error)
                raise
            parts.append(argument.key + stored)
        data = b"{" + b",".join(parts) + b"}"
        if len(data) > limit_bytes:
            raise ValueTooLarge(
                f"all arguments of job {self._job_id!r} together", len(data), limit_bytes
            )
        return data

    def read(self, data: bytes) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What to call the function with.

        Raises one of NOT_STORABLE when they do not fit its signature any more.
        """
        known = self._known or self._resolve()
        given: dict[str, Any] = {}
        for name, raw in _read_object(data).items():
            argument = known.get(name)
            if argument is None:
                raise TypeError(f"there is no argument {name!r} any more")
            try:
                given[name] = argument.codec.decode(bytes(raw))
            except NOT_STORABLE as error:
                raise TypeError(f"argument {name!r}: {error}") from error
        for name, _ in self._required:
            if name not in given:
                raise TypeError(f"argument {name!r} is missing")
        args: list[Any] = []
        for name in self._positional:
            if name not in given:
                break
            args.append(given.pop(name))
        for rest in self._rest:
            more = given.pop(rest.name, ())
            if rest.kind is inspect.Parameter.VAR_POSITIONAL:
                args.extend(more)
            elif more:
                given.update(more)
        return tuple(args), given

    def _fits(self, count: int, kwargs: Mapping[str, Any]) -> bool:
        if not kwargs and count >= self._enough:
            return True
        for name in kwargs:
            if name not in self._by_name or name in self._positional[:count]:
                return False
        return all(at < count or name in kwargs for name, at in self._required)

    def _bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return self.signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise ArgumentsRefused(
                f"Job {self._job_id!r}: {error}.",
                hint=f"Its signature is {self._job_id}{self.signature}.",
            ) from None

    def _refuse(self, argument: _Argument, value: object, error: ValueNotStorable) -> None:
        """What has an annotation is of the wrong type; what has none is no JSON, as it says."""
        why, hint = error.__cause__, argument.codec.hint
        if why is None or hint is Any:
            return
        raise ArgumentsRefused(
            f"T{argument.what[1:]} is annotated {name_of(hint)}; a {type(value).__name__} does "
            f"not fit: {why}.",
            hint=f"Its signature is {self._job_id}{self.signature}.",
        ) from error

    def _resolve(self) -> dict[str, _Argument]:
        hints = hints_of(self._function, *self.signature.parameters)
        found: dict[str, _Argument] = {}
        for name, parameter in self.signature.parameters.items():
            hint = hints.get(name, Any)
            self._check(name, hint)
            if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                hint = list[hint]
            elif parameter.kind is inspect.Parameter.VAR_KEYWORD:
                hint = dict[str, hint]
            what = f"the argument {name!r} of job {self._job_id!r}"
            found[name] = _Argument(name, encode_json(name) + b":", codec(hint), what)
        self._known = found
        return found

    def _check(self, name: str, hint: Any) -> None:
        try:
            check_storable(hint)
        except NOT_STORABLE as error:
            raise InvalidConfig(
                f"Job {self._job_id!r}: its argument {name!r} is {name_of(hint)}: {error}.",
                hint="Arguments are stored as JSON: pass a key or a path, and open the thing "
                "inside the job.",
            ) from error
