"""Does this event start, wake or cancel that? Names, values at paths, keys, and CEL behind one
function.
"""

import hashlib
from functools import lru_cache
from typing import Any

import msgspec

from errands.model.cel import compile_cel
from errands.model.event import Event
from errands.model.function import CancelOn
from errands.model.path import MISSING, value_at
from errands.model.step import ShapeOf

_encode = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.Decoder().decode


def matches_name(pattern: str, name: str) -> bool:
    """`user/*` matches all that begin with `user/`; `*` everything."""
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else pattern == name


def event_object(event: Event, public_id: str) -> dict[str, Any]:
    """The event as expressions see it, and as it is on the wire."""
    found: dict[str, Any] = {
        "id": event.key or public_id,
        "name": event.name,
        "data": _decode(event.data),
        "ts": event.at,
    }
    if event.user is not None:
        found["user"] = _decode(event.user)
    if event.v is not None:
        found["v"] = event.v
    return found


def wait_key(event: str, paths: tuple[str, ...], values: tuple[Any, ...]) -> int:
    """The 64-bit key under which waits of this shape for these values are found."""
    told = [event, list(paths), [_plain(value) for value in values]]
    digest = hashlib.blake2b(_encode(told), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def _plain(value: Any) -> Any:
    # 1 and 1.0 are one number in JSON, whoever wrote it; True is none.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def keys_of(subject: dict[str, Any], event: str, paths: tuple[str, ...]) -> int | None:
    """The key that an event has in a shape; None if it lacks one of the values."""
    values = tuple(value_at(subject, path) for path in paths)
    if any(value is MISSING or isinstance(value, dict | list) for value in values):
        return None
    return wait_key(event, paths, values)


def cancel_shape(cancel: CancelOn, subject: dict[str, Any]) -> ShapeOf | None:
    """What a run started by `subject` listens for; None if it lacks the value to match."""
    context = _encode(subject) if cancel.condition and "event" in cancel.condition else None
    if cancel.match is None:
        return ShapeOf(cancel.event, (), (), cancel.condition, context, cancel.timeout_ms)
    value = value_at(subject, cancel.match)
    if value is MISSING or isinstance(value, dict | list):
        return None
    paths, values = (cancel.match,), (value,)
    return ShapeOf(cancel.event, paths, values, cancel.condition, context, cancel.timeout_ms)


@lru_cache(maxsize=4096)
def _program(expression: str) -> Any:
    try:
        return compile_cel(expression)
    except ValueError:
        return None


def holds(expression: str | None, **subjects: Any) -> bool:
    """Is the condition true of these? Where it asks for a missing field, it does not match."""
    if expression is None:
        return True
    program = _program(expression)
    if program is None:
        return False
    try:
        return program.execute(subjects) is True
    except (LookupError, ValueError, TypeError, RuntimeError, ArithmeticError):
        return False


def wait_holds(condition: str | None, context: bytes | None, subject: dict[str, Any]) -> bool:
    """A wait's condition: `async` is the awaited event, `event` the run's own."""
    if condition is None:
        return True
    own: Any = _decode(context) if context is not None else {}
    return holds(condition, **{"async": subject, "event": own})
