"""What a wait looks for, before it has a key.

Values that an event must have, and what remains to be asked of it.
"""

import json
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from errands.model.errors import InvalidConfig
from errands.model.path import MISSING, value_at
from errands.model.step import ShapeOf
from errands.sdk.tokens import tokens_of

Scalar: TypeAlias = bool | int | float | str | None
_OPEN: Final = {"(": ")", "[": "]", "{": "}"}
_INT64: Final = range(-(2**63), 2**63)
_encode: Final = msgspec.json.Encoder().encode


class Own(NamedTuple):
    """A value of the run's own event, by its path: "data.order_id"."""

    path: str


class Equality(NamedTuple):
    """The awaited event's value at `path` must be this one."""

    path: str
    value: bool | int | float | str | Own


def shape_of(
    event_name: str, match: str | None, condition: str | None, run_event: dict[str, Any]
) -> ShapeOf:
    """What a wait for this event asks for.

    match: a path that is equal in both events.
    condition: CEL over `event` (the run's own) and `async`.
    run_event: the run's own event as on the wire.
    Raises InvalidConfig if that has no single value at `match`.
    """
    wanted: dict[str, Scalar] = {}
    if match is not None:
        wanted[match] = _own_value(match, run_event)
    rest = condition
    if condition is not None:
        conjuncts = _conjuncts(tokens_of(condition))
        covered = [_cover(conjunct, wanted, run_event) for conjunct in conjuncts]
        if covered and all(covered):
            rest = None
    paths = tuple(sorted(wanted))
    speaks_of_event = rest is not None and (not tokens_of(rest) or "event" in tokens_of(rest))
    return ShapeOf(
        event=event_name,
        paths=paths,
        values=tuple(wanted[path] for path in paths),
        condition=rest,
        context=_encode(run_event) if speaks_of_event else None,
    )


def equalities(condition: str) -> list[Equality]:
    """What an event surely has to be equal to, for this condition to hold of it.

    Whatever is uncertain is left out.
    """
    found = [_equality(conjunct) for conjunct in _conjuncts(tokens_of(condition))]
    return [one for one in found if one is not None]


def _cover(conjunct: list[str], wanted: dict[str, Scalar], run_event: dict[str, Any]) -> bool:
    """Add what it demands; False: it demands more than one can look up."""
    equality = _equality(conjunct)
    if equality is None:
        return False
    value: Any = equality.value
    if isinstance(value, Own):
        value = value_at(run_event, value.path)
        # A missing value makes the condition fail for every event, and a null or composite one is
        # no key: both are left to whoever evaluates the condition.
        if not isinstance(value, bool | int | float | str):
            return False
    if equality.path in wanted:
        return same(wanted[equality.path], value)
    wanted[equality.path] = value
    return True


def same(one: Scalar, other: Scalar) -> bool:
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _own_value(match: str, run_event: dict[str, Any]) -> Scalar:
    value = value_at(run_event, match)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    what = "nothing" if value is MISSING else f"a {'list' if isinstance(value, list) else 'object'}"
    raise InvalidConfig(
        f"match: the event that started this run has {what} at {match!r}, so no event can be "
        "equal to it there.",
        hint="Name a path that both events have, with a single value, or use if_exp.",
    )


# -- reading conditions ----------------------------------------------------------------------------


def _conjuncts(tokens: list[str]) -> list[list[str]]:
    """The parts that must all hold; none if it is not sure what they are."""
    tokens = _without_parentheses(tokens)
    if not tokens:
        return []
    parts: list[list[str]] = [[]]
    closing: list[str] = []
    for token in tokens:
        if token in _OPEN:
            closing.append(_OPEN[token])
        elif closing and token == closing[-1]:
            closing.pop()
        elif token in (")", "]", "}"):
            return []
        elif not closing and token in ("||", "?", ":"):
            return [tokens]
        elif not closing and token == "&&":
            parts.append([])
            continue
        parts[-1].append(token)
    if closing:
        return []
    if len(parts) == 1:
        return parts
    return [inner for part in parts for inner in _conjuncts(part) or [part]]


def _without_parentheses(tokens: list[str]) -> list[str]:
    while tokens and tokens[0] == "(" and _end_of_group(tokens) == len(tokens) - 1:
        tokens = tokens[1:-1]
    return tokens


def _end_of_group(tokens: list[str]) -> int:
    depth = 0
    for at, token in enumerate(tokens):
        depth += (token in _OPEN) - (token in _OPEN.values())
        if depth == 0:
            return at
    return -1


def _equality(tokens: list[str]) -> Equality | None:
    """`async.data.x == <literal or event.data.y>`, either side first; anything else gives None."""
    tokens = _without_parentheses(tokens)
    if tokens.count("==") != 1:
        return None
    at = tokens.index("==")
    sides = tokens[:at], tokens[at + 1 :]
    for awaited, other in (sides, sides[::-1]):
        path = _path(awaited, "async")
        if path is not None and path.startswith("data."):
            value = _value(other)
            return None if value is None else Equality(path, value)
    return None


def _path(tokens: list[str], root: str) -> str | None:
    names, dots = tokens[0::2], tokens[1::2]
    if (
        len(names) < 2
        or len(names) != len(dots) + 1
        or names[0] != root
        or any(dot != "." for dot in dots)
    ):
        return None
    return ".".join(names[1:]) if all(name.isidentifier() for name in names) else None


def _value(tokens: list[str]) -> bool | int | float | str | Own | None:
    if tokens in (["true"], ["false"]):
        return tokens == ["true"]
    own = _path(tokens, "event")
    if own is not None:
        return Own(own)
    sign = -1 if tokens[:1] == ["-"] else 1
    rest = tokens[1:] if sign < 0 else tokens
    if len(rest) != 1:
        return None
    token = rest[0]
    if token[0].isdigit():
        return _number(token, sign)
    return _string(token) if sign > 0 else None


def _number(token: str, sign: int) -> int | float | None:
    if token.isdigit():
        number = sign * int(token)
        # As in JSON, a leading zero could mean something else.
        return number if number in _INT64 and (token == "0" or token[0] != "0") else None
    value = sign * float(token)
    return value if value - value == 0 else None  # not infinite


def _string(token: str) -> str | None:
    if len(token) < 2 or token[0] != token[-1] or token[0] not in "\"'":
        return None
    if "\\" not in token:
        return token[1:-1]
    if token[0] == "'":
        return None
    try:
        text: str = json.loads(token)
        text.encode()
    except ValueError:
        return None
    return text
