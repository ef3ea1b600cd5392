"""A typed lambda over an event, translated to CEL; or refused, with the cure."""

# pyright: reportPrivateUsage=false
# A Term has no public names of its own, so that every name can be a field's; the functions of this
# module look inside it.

import dataclasses
import enum
import functools
import inspect
import json
import math
import re
import sys
import types
import typing
import uuid
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, NoReturn, Union, cast

import msgspec

from errands.model.errors import InvalidConfig
from errands.sdk.codec import name_of
from errands.sdk.tokens import token_pattern

_CURE: Final = (
    "Write the condition as a CEL string instead, e.g. if_exp=\"event.data.plan == 'pro'\"."
)
_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Words that the grammar keeps for itself, so that they cannot stand after a dot.
_KEYWORDS: Final = frozenset(
    "as break const continue else false for function if import in let loop namespace null package "
    "return true var void while".split()
)
_INT_MAX: Final = 2**63
_COMPARABLE: Final = (bool, int, float, str, enum.Enum, date, uuid.UUID, list, dict)


def translate(condition: Callable[[Any], object], root: str, event: type | None, what: str) -> str:
    """The condition in CEL. Raises InvalidConfig."""
    try:
        made = condition(Term(f"{root}.data", event))
        if not isinstance(made, Term):
            _refuse(
                f"it gives {made!r:.60} for every event (`is`, and comparing only captured "
                "values, are done in Python)"
            )
        return _outer(made)
    except NotTranslatable as error:
        raise InvalidConfig(f"{what}: no translation: {error}.", hint=_CURE) from None
    except (TypeError, AttributeError, ValueError) as error:
        # An operator that a Term does not have, or a slip in the lambda itself.
        raise InvalidConfig(f"{what}: no translation: {error}.", hint=_CURE) from error


class NotTranslatable(Exception):
    """The lambda does something that has no form in CEL."""


class Term:
    """What a lambda is given in place of an event: it writes down what is done to it."""

    __slots__ = ("_errands_cel", "_errands_hint")
    __hash__ = None  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]

    def __init__(self, cel: str, hint: Any) -> None:
        self._errands_cel = cel
        self._errands_hint = hint
        """The annotation of what it stands for; None: not known."""

    def __getattr__(self, name: str) -> "Term":
        if name.startswith("__"):
            raise AttributeError(name)
        wire, hint = _field(self._errands_hint, name)
        return Term(_member(self._errands_cel, wire), hint)

    def __getitem__(self, key: object) -> "Term":
        return Term(f"{self._errands_cel}[{_literal(key)}]", _item_hint(self._errands_hint))

    def __eq__(self, other: object) -> "Term":  # type: ignore[override]
        return _compare(self, "==", other)

    def __ne__(self, other: object) -> "Term":  # type: ignore[override]
        return _compare(self, "!=", other)

    def __lt__(self, other: object) -> "Term":
        return _compare(self, "<", other)

    def __le__(self, other: object) -> "Term":
        return _compare(self, "<=", other)

    def __gt__(self, other: object) -> "Term":
        return _compare(self, ">", other)

    def __ge__(self, other: object) -> "Term":
        return _compare(self, ">=", other)

    def __and__(self, other: object) -> "Term":
        return _join(self, "&&", other)

    def __rand__(self, other: object) -> "Term":
        return _join(other, "&&", self)

    def __or__(self, other: object) -> "Term":
        return _join(self, "||", other)

    def __ror__(self, other: object) -> "Term":
        return _join(other, "||", self)

    def __invert__(self) -> "Term":
        return Term(f"!({self._errands_cel})", bool)

    def __add__(self, other: object) -> "Term":
        return _calculate(self, "+", other)

    def __radd__(self, other: object) -> "Term":
        return _calculate(other, "+", self)

    def __sub__(self, other: object) -> "Term":
        return _calculate(self, "-", other)

    def __rsub__(self, other: object) -> "Term":
        return _calculate(other, "-", self)

    def __mul__(self, other: object) -> "Term":
        return _calculate(self, "*", other)

    def __rmul__(self, other: object) -> "Term":
        return _calculate(other, "*", self)

    # What Python does by itself cannot be seen from here.
    def __bool__(self) -> NoReturn:
        _refuse(
            "`and`, `or`, `not`, `if`, `in` and `a < b < c` cannot be seen from outside: use &, "
            "|, ~ and parentheses"
        )

    def __call__(self, *_: object, **__: object) -> NoReturn:
        _refuse(f"`{self._errands_cel}(…)`: methods and functions have no translation")

    def __iter__(self) -> NoReturn:
        _refuse("loops have no translation")

    def __contains__(self, _: object) -> NoReturn:
        _refuse("`in` has no translation")

    def __len__(self) -> NoReturn:
        _refuse("`len` has no translation")

    def __format__(self, _: str) -> NoReturn:
        _refuse("f-strings have no translation in a condition")

    def __str__(self) -> NoReturn:
        _refuse("`str` has no translation")

    def __repr__(self) -> str:
        return f"<{self._errands_cel}>"


def _refuse(why: str) -> NoReturn:
    raise NotTranslatable(why)


def _compare(left: Term, symbol: str, right: object) -> Term:
    forms = [_comparable(left, right), _comparable(right, left)]
    return Term(f"({forms[0]} {symbol} {forms[1]})", bool)


def _comparable(value: object, other: object) -> str:
    """Its CEL, such that it compares in CEL as in Python: some types are only text in JSON."""
    if not isinstance(value, Term):
        return _literal(value)
    kinds = [kind for kind in _kinds(value._errands_hint) if kind is not type(None)]
    if other is None or kinds in ([], [Any], [object]):
        return value._errands_cel
    if datetime in kinds:
        return f"timestamp({value._errands_cel})" if kinds == [datetime] else _mixed(value)
    if Decimal in kinds:
        return f"double({value._errands_cel})" if kinds == [Decimal] else _mixed(value)
    for kind in kinds:
        is_plain = not inspect.isclass(kind) or issubclass(kind, _COMPARABLE)
        if not is_plain and typing.get_origin(kind) is None:
            _refuse(
                f"`{value._errands_cel}` is a {name_of(kind)}, "
                "which cannot be compared in CEL as in Python"
            )
    return value._errands_cel


def _mixed(value: Term) -> NoReturn:
    _refuse(
        f"`{value._errands_cel}` may be one of several types, and only some of them are text in "
        "JSON"
    )


def _join(left: object, symbol: str, right: object) -> Term:
    for side in (left, right):
        if isinstance(side, Term):
            hint = side._errands_hint
            if inspect.isclass(hint) and hint is not bool:
                _refuse(
                    f"`{side._errands_cel}` is a {hint.__name__}, and {symbol} joins "
                    "conditions; parentheses missing?"
                )
        elif not isinstance(side, bool):
            _refuse(f"{symbol} joins conditions, and {side!r:.40} is none; parentheses missing?")
    return Term(f"({_literal(left)} {symbol} {_literal(right)})", bool)


def _calculate(left: object, symbol: str, right: object) -> Term:
    terms = [side for side in (left, right) if isinstance(side, Term)]
    for term in terms:
        hint = term._errands_hint
        if inspect.isclass(hint) and not (
            issubclass(hint, int | float | str) and not issubclass(hint, bool | enum.Enum)
        ):
            _refuse(
                f"`{term._errands_cel}` is a {hint.__name__}, with which CEL does not calculate "
                "as Python does"
            )
    return Term(f"({_literal(left)} {symbol} {_literal(right)})", terms[0]._errands_hint)


def _literal(value: object) -> str:
    match value:
        case Term():
            return value._errands_cel
        case enum.Enum():
            return _literal(value.value)
        case None | bool():
            return json.dumps(value)
        case int():
            if not -_INT_MAX <= value < _INT_MAX:
                _refuse(f"{value} is too large for CEL")
            return str(int(value))
        case float():
            if not math.isfinite(value):
                _refuse(f"{value} has no form in CEL")
            return repr(float(value))
        case str():
            return _text(value)
        case Decimal():
            return _literal(float(value))
        case datetime():
            if value.tzinfo is None:
                _refuse(f"{value!r} has no time zone")
            return f'timestamp("{value.isoformat()}")'
        case date():
            return _text(value.isoformat())
        case uuid.UUID():
            return _text(str(value))
        case list() | tuple():
            return f"[{', '.join(map(_literal, cast('list[object]', value)))}]"
        case _:
            _refuse(f"a {type(value).__name__} has no form in CEL")


def _text(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        _refuse(f"{value!r:.40} is not valid Unicode")
    return json.dumps(value, ensure_ascii=False)


def _member(cel: str, wire: str) -> str:
    if _IDENTIFIER.fullmatch(wire) and wire not in _KEYWORDS:
        return f"{cel}.{wire}"
    return f"{cel}[{_text(wire)}]"


def _outer(term: Term) -> str:
    """Without the parentheses around it all."""
    cel = term._errands_cel
    return cel[1:-1] if cel.startswith("(") and _closing(cel) == len(cel) - 1 else cel


def _closing(cel: str) -> int:
    """Where the parenthesis closes that it opens with."""
    depth, at = 0, 0
    for token in token_pattern().finditer(cel):
        depth += (token[0] == "(") - (token[0] == ")")
        at = token.start()
        if depth == 0:
            break
    return at


# -- what a class says about its fields ------------------------------------------------------------


def _kinds(hint: Any) -> list[Any]:
    """The types it may be."""
    if typing.get_origin(hint) is typing.Annotated:
        return _kinds(typing.get_args(hint)[0])
    if typing.get_origin(hint) in (Union, types.UnionType):
        return [kind for part in typing.get_args(hint) for kind in _kinds(part)]
    if typing.get_origin(hint) is typing.Literal:
        return [type(value) for value in typing.get_args(hint)]
    if hasattr(hint, "__supertype__"):  # NewType
        return _kinds(hint.__supertype__)
    return [] if hint is None else [hint]


def _field(hint: Any, name: str) -> tuple[str, Any]:
    """A field's name on the wire, and its annotation as far as it is known."""
    kinds = [kind for kind in _kinds(hint) if kind is not type(None)]
    if not kinds or Any in kinds or object in kinds:
        return name, None
    found: list[tuple[str, Any]] = []
    for kind in kinds:
        fields = _fields(kind)
        if fields is None or name not in fields:
            known = f"; it has {', '.join(fields)}" if fields else ""
            _refuse(f"a {name_of(kind)} has no field {name!r}{known}")
        found.append(fields[name])
    if len({wire for wire, _ in found}) > 1:
        _refuse(f"field {name!r} has several names on the wire")
    return found[0] if len(found) == 1 else (found[0][0], _either([hint for _, hint in found]))


def _either(hints: list[Any]) -> Any:
    return None if None in hints else functools.reduce(lambda one, other: one | other, hints)


@functools.lru_cache(maxsize=256)
def _fields(kind: Any) -> Mapping[str, tuple[str, Any]] | None:
    """Fields by Python name, of a class whose fields are keys in JSON."""
    cls = typing.get_origin(kind) or kind
    if not inspect.isclass(cls):
        return None
    pydantic = sys.modules.get("pydantic")
    if issubclass(cls, msgspec.Struct):
        wires = zip(cls.__struct_fields__, cls.__struct_encode_fields__, strict=True)
    elif dataclasses.is_dataclass(cls):
        wires = zip(
            (f.name for f in dataclasses.fields(cls)),
            (f.name for f in dataclasses.fields(cls)),
            strict=True,
        )
    elif pydantic is not None and issubclass(cls, pydantic.BaseModel):
        model = cast("Any", cls).model_fields
        wires = (
            (name, field.serialization_alias or field.alias or name)
            for name, field in model.items()
        )
    else:
        return None
    try:
        hints = typing.get_type_hints(cls, include_extras=True)
    except (
        NameError
    ):  # a name in an annotation that does not exist yet: only the types are not known then
        hints = {}
    known = cls is kind  # of a generic class the fields' types are open
    return {name: (wire, hints.get(name) if known else None) for name, wire in wires}


def _item_hint(hint: Any) -> Any:
    arguments = typing.get_args(hint)
    origin = typing.get_origin(hint)
    if origin is dict and len(arguments) == 2:
        return arguments[1]
    return arguments[0] if origin is list and arguments else None
