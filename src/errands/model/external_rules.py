"""What may be said of an external job, whoever says it: where it is kept, or over HTTP."""

import math
from typing import Final, get_args

import msgspec

from errands.model.duration import DURATION_MS_MAX
from errands.model.errors import InvalidConfig
from errands.model.job import JobState
from errands.model.text import storable

KEY_LENGTH_MAX: Final = 255
TEXT_LENGTH_MAX: Final = 2_000
"""Longer messages and errors are cut."""
STATUSES: Final[tuple[JobState, ...]] = get_args(JobState)


class Change(msgspec.Struct, frozen=True):
    """What is said of it; None: that stays as it was."""

    status: JobState | None = None
    percent: float | None = None
    note: str | None = None
    result: bytes | None = None
    """JSON."""
    error: str | None = None

    @property
    def is_end(self) -> bool:
        return self.status in ("completed", "failed")


def check_made(key: str | None, keep_ms: int) -> None:
    """Raises InvalidConfig."""
    if not (key is None or _is_key(key)):
        raise InvalidConfig(
            f"Job id {key!r:.60} is refused.",
            hint=f"It is a string of 1 to {KEY_LENGTH_MAX} printable characters; leave it out to "
            "get one.",
        )
    if not 0 < keep_ms <= DURATION_MS_MAX:
        raise InvalidConfig(
            f"A job cannot be kept for {keep_ms} ms.", hint="From 1 ms to 100 years."
        )


def _is_key(key: object) -> bool:
    return isinstance(key, str) and 0 < len(key) <= KEY_LENGTH_MAX and key.isprintable()


def checked(job_id: str, change: Change) -> Change:
    """As it is kept: within bounds, and with the status that it means. Raises InvalidConfig."""
    percent, status = change.percent, change.status
    if not (percent is None or _is_number(percent)):
        raise InvalidConfig(
            f"Job {job_id!r}: progress {percent!r:.60} is no number.", hint="It is from 0 to 100."
        )
    if status is not None and status not in STATUSES:
        raise InvalidConfig(
            f"Job {job_id!r}: there is no status {status!r:.60}.",
            hint=f"There are: {', '.join(STATUSES)}.",
        )
    note, error = change.note, change.error
    return Change(
        _status(job_id, change),
        None if percent is None else min(100.0, max(0.0, float(percent))),
        None if note is None else storable(note, TEXT_LENGTH_MAX),
        change.result,
        None if error is None else storable(error, TEXT_LENGTH_MAX),
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not math.isnan(value)


def _status(job_id: str, change: Change) -> JobState | None:
    """A result completes a job and an error fails it, unless something else is said."""
    status, result, error = change.status, change.result, change.error
    if result is not None and (error is not None or status not in (None, "completed")):
        other = "an error" if error is not None else f"the status {status!r}"
        raise InvalidConfig(
            f"Job {job_id!r} is given a result and {other}.",
            hint="A result means that the job is completed: give it alone.",
        )
    if error is not None and status not in (None, "failed"):
        raise InvalidConfig(
            f"Job {job_id!r} is given an error and the status {status!r}.",
            hint="An error means that the job has failed: give it alone. While it goes on, tell "
            "of trouble in its message.",
        )
    if result is not None:
        return "completed"
    return "failed" if error is not None else status
