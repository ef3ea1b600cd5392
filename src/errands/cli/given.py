"""Values that a user gives on the command line: JSON, a file of it, stdin, pairs, times."""

import re
import sys
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn, cast

import msgspec

from errands.model.errors import InvalidConfig

_PAIR = re.compile(r"(?P<name>[^\s=:{}\[\]\"]+)(?P<sign>:?=)(?P<value>.*)", re.DOTALL)


def given_object(words: list[str], what: str) -> dict[str, Any]:
    """A JSON object, @FILE, - for stdin, or pairs; nothing is {}. Raises InvalidConfig."""
    if len(words) == 1 and not _PAIR.fullmatch(words[0]):
        given = given_json(words[0], what)
        if not isinstance(given, dict):
            _refuse(what, f"is JSON, but no object: {words[0]!r}")
        return cast("dict[str, Any]", given)
    found: dict[str, Any] = {}
    for word in words:
        pair = _PAIR.fullmatch(word)
        if pair is None:
            _refuse(what, f"has {word!r} among its pairs")
        value = pair["value"]
        found[pair["name"]] = given_json(value, pair["name"]) if pair["sign"] == ":=" else value
    return found


def given_json(text: str, what: str) -> Any:
    """JSON, @FILE, or - for stdin. Raises InvalidConfig."""
    if text == "-":
        text = sys.stdin.read()
    elif text.startswith("@"):
        try:
            text = Path(text[1:]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidConfig(
                f"{what}: {text[1:]} cannot be read: {error}.", hint="Which file is it in?"
            ) from None
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        _refuse(what, f"is no JSON ({error}): {text[:200]!r}")


def given_time(text: str, what: str) -> int:
    """Unix milliseconds, given so or as ISO 8601; without a zone it is local time. Raises
    InvalidConfig.
    """
    if text.isdecimal():
        return int(text)
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1000)
    except ValueError:
        raise InvalidConfig(
            f"{what}: {text!r} is no time.",
            hint="Write Unix milliseconds, or 2026-03-01T10:00:00Z.",
        ) from None


def _refuse(what: str, why: str) -> NoReturn:
    raise InvalidConfig(
        f"{what} {why}.",
        hint='Write a JSON object (\'{"name": "Ada"}\'), @file.json, - for stdin, or pairs '
        "(name=Ada count:=3).",
    )
