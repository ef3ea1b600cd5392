"""Raised by users: try again, but not before this time."""

from datetime import datetime, timedelta

from errands.model.duration import parse_duration
from errands.model.errors import InvalidConfig


class RetryAfterError(Exception):
    """Raise it: try again, at that time (or after that duration: "10m", a timedelta).

    Raises InvalidConfig on what is neither. In an ExceptionGroup of several errors the time is not
    honoured: then the back-off of `retries` is.
    """

    def __init__(self, message: str, retry_after: str | timedelta | datetime) -> None:
        _check_retry_after(retry_after)
        super().__init__(message, retry_after)
        self.retry_after = retry_after

    def __str__(self) -> str:
        return str(self.args[0])


def _check_retry_after(given: str | timedelta | datetime) -> None:
    if not isinstance(given, datetime):
        parse_duration(given, "RetryAfterError")
    elif given.utcoffset() is None:
        raise InvalidConfig(
            f"RetryAfterError: {given!r} has no time zone.",
            hint="For example datetime.now(UTC) + timedelta(minutes=10).",
        )
