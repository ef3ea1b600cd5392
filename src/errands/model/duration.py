"""Durations: "5s", "3 days", "1h 30m" or a timedelta in; integer milliseconds inside; words out."""

import re
from datetime import timedelta
from fractions import Fraction
from typing import TypeAlias

from errands.model.errors import InvalidConfig

Duration: TypeAlias = str | timedelta
"""'300ms', '5s', '3 days', '1d2h', or a timedelta.

A bare number is refused: seconds and milliseconds both have users.
"""

_UNITS = {
    "w": 604_800_000,
    "d": 86_400_000,
    "h": 3_600_000,
    "m": 60_000,
    "s": 1_000,
    "ms": 1,
}
_NAMES = {
    **dict.fromkeys(("w", "week", "weeks"), "w"),
    **dict.fromkeys(("d", "day", "days"), "d"),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), "h"),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), "m"),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("ms", "msec", "millisecond", "milliseconds"), "ms"),
}
_PART = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([a-z]+)", re.ASCII)
_FORMS = 'Write "300ms", "5s", "1h 30m", "1d2h", "3 days", "2 weeks", or pass a timedelta.'
_LONGEST = timedelta(days=36_525)
_MS = timedelta(milliseconds=1)
DURATION_MS_MAX = _LONGEST // _MS
"""100 years: far enough for every timer, and no date computed with it overflows."""


def parse_duration(value: Duration, what: str = "duration") -> int:
    """Milliseconds, rounded up, so that nothing is ever early.

    what: names the value in the error.
    Raises InvalidConfig on a bare number, a negative or an unknown form.
    """
    if isinstance(value, timedelta):
        milliseconds = -(-value // _MS)
    elif isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        milliseconds = _parse(value, what)
    else:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        why = "a bare number could be seconds or milliseconds" if number else "it is no duration"
        raise InvalidConfig(f"{what}: {value!r} is refused; {why}.", hint=_FORMS)
    if milliseconds < 0:
        raise InvalidConfig(f"{what}: {value!r} is negative.", hint=_FORMS)
    if milliseconds > DURATION_MS_MAX:
        raise InvalidConfig(f"{what}: {value!r} is longer than 100 years.", hint=_FORMS)
    return milliseconds


def _parse(text: str, what: str) -> int:
    total, before, at = Fraction(0), None, 0
    while match := _PART.match(text, at):
        unit = _NAMES.get(match[2])
        # Each unit once, the larger first: "1m 2m" or "5s 3h" is more likely a slip than meant.
        if unit is None or (before is not None and _UNITS[unit] >= _UNITS[before]):
            break
        total += Fraction(match[1]) * _UNITS[unit]
        before, at = unit, match.end()
    if before is None or text[at:].strip():
        raise InvalidConfig(f"{what}: {text!r} is not a duration.", hint=_FORMS)
    return -(-total.numerator // total.denominator)


def format_ms(milliseconds: int) -> str:
    """For people, the two largest units: "3 days", "1 h 30 min", "2.5 s", "12 ms"."""
    if milliseconds < 0:
        return f"-{format_ms(-milliseconds)}"
    if milliseconds < 1_000:
        return f"{milliseconds} ms"
    if milliseconds < 60_000:
        return f"{milliseconds // 100 / 10:g} s"
    minutes, seconds = divmod(milliseconds // 1_000, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "day" if days == 1 else "days"), (hours, "h"), (minutes, "min"), (seconds, "s")]
    first = next(place for place, (count, _) in enumerate(parts) if count)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count)
