"""Conditions: CEL, or a typed lambda over an event that is translated to CEL at registration."""

import functools
import re
from collections.abc import Callable
from typing import Any, Final

from errands.model.cel import compile_cel
from errands.model.errors import InvalidConfig

CEL_LENGTH_MAX: Final = 4_096
_MACRO: Final = r"\.\s*(all|exists|exists_one|map|filter|bind)\s*\("


def to_condition(
    condition: str | Callable[[Any], object], root: str, event: type | None, what: str = "if_exp"
) -> str:
    """A CEL condition, from CEL or from a lambda over an event of this class.

    root: what the lambda's event is called in CEL: "event", or "async" for the awaited one.
    Field names become wire names; values that the lambda captured become constants.
    Raises InvalidConfig with the cure.
    """
    if isinstance(condition, str):
        _check(condition, what, ("event",) if root == "event" else ("event", "async"))
        return condition
    if not callable(condition):  # pyright: ignore[reportUnnecessaryComparison]
        raise InvalidConfig(
            f"{what}: {condition!r} is no condition.", hint="Pass a CEL string or a lambda."
        )
    # Only now: an app without lambdas does not wait for it at import.
    from errands.sdk.term import translate

    return translate(condition, root, event, what)


@functools.lru_cache(maxsize=1024)
def _check(cel: str, what: str, roots: tuple[str, ...]) -> None:
    if not cel.strip() or len(cel) > CEL_LENGTH_MAX:
        raise InvalidConfig(
            f"{what}: a condition of {len(cel)} characters.",
            hint=f"Allowed are 1 to {CEL_LENGTH_MAX:,}.",
        )
    try:
        program = compile_cel(cel)
    except ValueError as error:
        why = str(error).splitlines()[0]
        raise InvalidConfig(
            f"{what}: {cel!r} is no CEL: {why}.", hint="See https://cel.dev."
        ) from None
    unknown = sorted(set(program.variables()) - set(roots))
    if unknown and not re.search(_MACRO, cel):
        raise InvalidConfig(
            f"{what}: {cel!r} speaks of {', '.join(unknown)}, which nothing has.",
            hint=f"It may speak of: {', '.join(roots)}.",
        )
